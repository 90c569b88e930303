"""The one thread that keeps every connection of this process alive.

It reads whatever no waiting caller reads itself, answers ticks while a notebook cell is idle or busy, finishes
what a socket could not take at once, and minds the deadlines of futures. It is a daemon: a script need not end it.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from iris_admin.transport.stream import Stream

#: When to mind the time of a connection again that raised something, in seconds.
_AFTER_FAILURE = 1.0


if sys.version_info < (3, 14):
    Lock = threading.Lock
else:

    class Lock:
        """A lock that Ctrl-C does not leave taken for good.

        Since Python 3.14 a signal's handler may run between the moment at which ``with`` has taken a lock and the one
        from which on it would give it back. Whoever is interrupted gives its connection up, and takes the lock again
        for that; then it is given back for both times, and the threads that wait for it go on.
        """

        __slots__ = ("_lock",)

        def __init__(self) -> None:
            self._lock = threading.RLock()

        def __enter__(self) -> None:
            self._lock.acquire()

        def __exit__(self, *_: object) -> None:
            while self._lock._is_owned():  # type: ignore[attr-defined]  # as Condition does
                self._lock.release()


class Watched(Protocol):
    """What the thread looks after."""

    socket: Stream

    def on_readable(self) -> None:
        """Data can be read."""

    def on_writable(self) -> None:
        """The socket takes data again."""

    def on_time(self, now: float) -> float:
        """Do what is due; give the time of the next call, on the clock of :func:`time.monotonic`."""


class IOThread:
    """A selector in a thread. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self.forked = False
        self._selector = selectors.DefaultSelector()
        self._wake_receiver, self._wake_sender = socket.socketpair()
        self._wake_receiver.setblocking(False)
        self._wake_sender.setblocking(False)
        self._selector.register(self._wake_receiver, selectors.EVENT_READ)
        self._lock = Lock()
        self._masks: dict[Watched, int] = {}
        self._times: dict[Watched, float] = {}
        self._soon: deque[Callable[[], None]] = deque()
        self._wakes_at = 0.0
        self._thread = threading.Thread(target=self._run, name="iris_admin I/O", daemon=True)
        self._thread.start()
        self.ident = self._thread.ident

    def is_current_thread(self) -> bool:
        """Whether the caller runs in this thread, and so must not wait for it."""
        return threading.get_ident() == self.ident

    def add(self, watched: Watched, first_time: float) -> None:
        """Look after a connection.

        :param first_time: when to call its ``on_time`` first.
        """
        with self._lock:
            self._masks[watched] = selectors.EVENT_READ
            self._times[watched] = first_time
            self._selector.register(watched.socket, selectors.EVENT_READ, watched)
        self._wake()

    def remove(self, watched: Watched) -> None:
        """Forget a connection; to be called before its socket is closed."""
        with self._lock:
            self._times.pop(watched, None)
            self._masks.pop(watched, None)
            # Not a matter of the mask: Ctrl-C may have come between that and the selector.
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(watched.socket)

    def watch(self, watched: Watched, event: int, wanted: bool) -> None:
        """Switch the interest in ``EVENT_READ`` or ``EVENT_WRITE`` on or off. Takes effect at once."""
        with self._lock:
            mask = self._masks.get(watched)
            if mask is None:
                return
            new_mask = mask | event if wanted else mask & ~event
            if new_mask == mask:
                return
            self._masks[watched] = new_mask
            try:
                if not mask:
                    self._selector.register(watched.socket, new_mask, watched)
                elif not new_mask:
                    self._selector.unregister(watched.socket)
                else:
                    self._selector.modify(watched.socket, new_mask, watched)
            except (KeyError, ValueError, OSError):
                # An earlier change was interrupted half-way; whoever was interrupted is giving the connection up.
                pass

    def watches(self, watched: Watched, event: int) -> bool:
        """Whether the thread is interested in ``EVENT_READ`` or ``EVENT_WRITE``."""
        return bool(self._masks.get(watched, 0) & event)

    def schedule(self, watched: Watched, when: float) -> None:
        """See to it that ``on_time`` is called at ``when`` or before."""
        with self._lock:
            if watched not in self._times or self._times[watched] <= when:
                return
            self._times[watched] = when
        if when < self._wakes_at:
            self._wake()

    def run_soon(self, function: Callable[[], None]) -> None:
        """Have the thread call a function. Takes no lock, so a finalizer may use it."""
        self._soon.append(function)
        self._wake()

    def _wake(self) -> None:
        try:
            self._wake_sender.send(b"\0")
        except BlockingIOError:
            pass  # It was woken so often that it is bound to wake.

    def _run(self) -> None:
        while True:
            with self._lock:
                self._wakes_at = min(self._times.values(), default=float("inf"))
            delay = None if self._wakes_at == float("inf") else max(0.0, self._wakes_at - time.monotonic())
            for key, events in self._selector.select(delay):
                if key.data is None:
                    self._wake_receiver.recv(4096)
                    continue
                if events & selectors.EVENT_READ:
                    self._guarded(key.data.on_readable)
                if events & selectors.EVENT_WRITE:
                    self._guarded(key.data.on_writable)
            while self._soon:
                self._guarded(self._soon.popleft())
            now = time.monotonic()
            with self._lock:
                due = [watched for watched, when in self._times.items() if when <= now]
                # From here on, schedule() may ask for an earlier time than on_time() will give.
                self._times.update(dict.fromkeys(due, float("inf")))
            for watched in due:
                self._guarded(self._mind_time, watched, now)

    def _mind_time(self, watched: Watched, now: float) -> None:
        when = now + _AFTER_FAILURE
        try:
            when = watched.on_time(now)
        finally:
            with self._lock:
                if watched in self._times:
                    self._times[watched] = min(when, self._times[watched])

    def _guarded(self, function: Callable[..., None], *args: object) -> None:
        """Call a function; what it raises must not end the thread, on which all other connections depend."""
        try:
            function(*args)
        except BaseException:
            threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), self._thread)))


_current: IOThread | None = None
_current_lock = Lock()


def io_thread() -> IOThread:
    """The I/O thread of this process, started when it is first needed."""
    global _current
    with _current_lock:
        if _current is None:
            _current = IOThread()
        return _current


def _after_fork_in_child() -> None:
    global _current, _current_lock
    _current_lock = Lock()
    if _current is not None:
        _current.forked = True
        _current = None


_register: Callable[..., None] | None = getattr(os, "register_at_fork", None)
if _register is not None:
    _register(after_in_child=_after_fork_in_child)
