"""SIGTERM ends a command as Ctrl-C does, so that what it started on a node is killed."""

from __future__ import annotations

import signal
from types import FrameType
from typing import NoReturn

_INTERRUPTED = 128 + signal.SIGINT
_TERMINATED = 128 + signal.SIGTERM


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
