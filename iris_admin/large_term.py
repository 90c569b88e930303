"""What is different for the whole process while a large term is decoded.

Nothing that is decoded can be part of a cycle, and yet Python's cyclic garbage collector walks through all of it again
and again while it grows: that takes half the time or more. So it is paused. And other threads, which may make a short
call meanwhile, do not wait for the interpreter as long as usual until they ask for their turn. For a very large term,
memory for the objects comes from the system in large pages, where there are such.

All of it concerns the whole process, so those who decode are counted: when the last one has finished, in whatever
thread, all is as it was before the first. (What another part of the program does to the collector in the meantime is
lost: whether it is on cannot be told from the outside during a pause.)
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from threading import RLock
from typing import ParamSpec, TypeVar

try:
    from iris_admin._large_pages import begin as begin_large_pages  # type: ignore[import-not-found]
    from iris_admin._large_pages import end as end_large_pages
except ImportError:  # they were not built

    def begin_large_pages() -> None:
        """See ``_large_pages.c``."""

    end_large_pages = begin_large_pages

_P = ParamSpec("_P")
_T = TypeVar("_T")

#: How long other threads wait until they ask for their turn, in seconds; else it is 5 ms.
_SWITCH_INTERVAL = 0.00002

# Reentrant, because a signal handler may decode something too, whatever it has interrupted.
_lock = RLock()
_decoding = 0
_in_large_pages = 0
_was_enabled = False
_switch_interval = 0.0


def decode_large(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call a function that decodes a large term.

    Calls may overlap, in one thread or in several.

    :return: what the function returns.
    """
    global _decoding, _was_enabled, _switch_interval
    is_counted = False
    try:
        with _lock:
            if not _decoding:
                _was_enabled = gc.isenabled()
                _switch_interval = sys.getswitchinterval()
            # Ctrl-C arrives at calls, so never between these two.
            _decoding += 1
            is_counted = True
            _pause()
        return function(*args, **kwargs)
    finally:
        if is_counted:
            with _lock:
                _decoding -= 1
                if not _decoding:
                    _resume()


def decode_very_large(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """The same for a term of a megabyte or more."""
    global _in_large_pages
    is_counted = False
    try:
        with _lock:
            _in_large_pages += 1
            is_counted = True
            begin_large_pages()
        return decode_large(function, *args, **kwargs)
    finally:
        if is_counted:
            with _lock:
                _in_large_pages -= 1
                if not _in_large_pages:
                    end_large_pages()


def wait_within(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call a function that waits for more of the term, within :func:`decode_large`; that may take long.

    Meanwhile the collector and the turns of threads are as usual.

    :return: what the function returns.
    """
    with _lock:
        _resume()
    try:
        return function(*args, **kwargs)
    finally:
        with _lock:
            _pause()


def take_turns() -> None:
    """Let another thread run that has asked for its turn. Called now and then by what is no Python."""


def _pause() -> None:
    gc.disable()
    if _switch_interval > _SWITCH_INTERVAL:
        sys.setswitchinterval(_SWITCH_INTERVAL)


def _resume() -> None:
    if _was_enabled:
        gc.enable()
    if abs(sys.getswitchinterval() - _SWITCH_INTERVAL) < 1e-6:  # nobody has changed it in the meantime
        sys.setswitchinterval(_switch_interval)


def _forget() -> None:
    """In the child of a fork, the threads that were decoding do not exist."""
    global _lock, _decoding, _in_large_pages
    _lock = RLock()
    if _decoding:
        _resume()
    end_large_pages()
    _decoding = _in_large_pages = 0


os.register_at_fork(after_in_child=_forget)
