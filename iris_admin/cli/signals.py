"""SIGTERM ends a command as Ctrl-C does, so that what it started on a node is killed."""

from __future__ import annotations

import os
import sys
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import signal as signal
else:
    # What the module signal is made of: that one adds enums, and they take almost as long as a call.
    import _signal as signal

_INTERRUPTED = 128 + signal.SIGINT
_TERMINATED = 128 + signal.SIGTERM
#: How soon a signal that was dropped comes again, in seconds.
_AGAIN = 0.02


class Terminated(KeyboardInterrupt):
    """Raised in the main thread on SIGTERM."""


def raise_terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    """Handle the signal."""
    # A second one ends the process at once, even if what the first one set off takes long.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise Terminated


def interrupted(error: BaseException) -> int:
    """The exit code of a command that a signal ended."""
    return int(_TERMINATED if isinstance(error, Terminated) else _INTERRUPTED)


def heed_dropped_signals() -> None:
    """See to it that no signal is lost where Python drops exceptions: in a finalizer, or a callback of its import."""
    sys.unraisablehook = _repeat


def _repeat(dropped: sys.UnraisableHookArgs) -> None:
    if not isinstance(dropped.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(dropped)
        return
    import threading

    number = signal.SIGINT
    if isinstance(dropped.exc_value, Terminated):
        number = signal.SIGTERM
        signal.signal(number, raise_terminated)
    # From here it would be dropped once more.
    again = threading.Timer(_AGAIN, os.kill, (os.getpid(), number))
    again.daemon = True
    again.start()
