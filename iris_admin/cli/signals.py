"""SIGTERM ends a command as Ctrl-C does, so that what it started on a node is killed."""

from __future__ import annotations

import signal
from types import FrameType
from typing import NoReturn


class Terminated(KeyboardInterrupt):
    """Raised in the main thread on SIGTERM."""


def raise_terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    """Handle the signal."""
    # A second one ends the process at once, even if what the first one set off takes long.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise Terminated
