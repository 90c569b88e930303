"""Holding back Python's cyclic garbage collector while a large term is decoded.

Nothing that is decoded can be part of a cycle, and yet the collector walks through all of it again and again while it
grows: that takes half the time or more. The collector belongs to the whole process, so pauses are counted: when the
last one ends, in whatever thread, the collector is as it was before the first. (What another part of the program does
to it in the meantime is lost: whether it is on cannot be told from the outside during a pause.)
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from threading import RLock
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

# Reentrant, because a signal handler may decode something too, whatever it has interrupted.
_lock = RLock()
_pauses = 0
_was_enabled = False


def without_collector(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call a function while the cyclic garbage collector is paused.

    Calls may overlap, in one thread or in several.

    :return: what the function returns.
    """
    global _pauses, _was_enabled
    is_counted = False
    try:
        with _lock:
            if not _pauses:
                _was_enabled = gc.isenabled()
            # Ctrl-C arrives at calls, so never between these two.
            _pauses += 1
            is_counted = True
            gc.disable()
        return function(*args, **kwargs)
    finally:
        if is_counted:
            with _lock:
                _pauses -= 1
                if not _pauses and _was_enabled:
                    gc.enable()


def _forget_pauses() -> None:
    """In the child of a fork, the threads that paused the collector do not exist."""
    global _lock, _pauses
    _lock = RLock()
    if _pauses and _was_enabled:
        gc.enable()
    _pauses = 0


os.register_at_fork(after_in_child=_forget_pauses)
