"""Who waits for the ends of calls on a link: a thread, for one call or for many, or a future."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from typing import Protocol

from iris_admin.errors import IrisAdminError
from iris_admin.proto.events import AnswerBegun, CallEnded

FOREVER = float("inf")


class Waiter(Protocol):
    """Who waits for the end of a call."""

    #: When it stops waiting, on the clock of :func:`time.monotonic`.
    deadline: float
    #: Whether it sees to it itself that its answer is read.
    is_read_for: bool

    def ended(self, event: CallEnded | IrisAdminError) -> None:
        """The call ended, or the link was lost. Called from any thread; again if that was interrupted."""

    def timed_out(self) -> None:
        """The deadline has passed, and the remote process was told to die."""


class LoopReader(Protocol):
    """Who reads a link on an event loop."""

    def link_lost(self) -> None:
        """There is nothing to be read any more. Called from any thread."""


class BlockedCaller:
    """The waiter of a thread that waits."""

    __slots__ = ("_semaphore", "begun", "call_id", "deadline", "event", "in_order", "leading")

    is_read_for = False

    def __init__(self, deadline: float) -> None:
        # The waiting thread minds its deadline itself.
        self.deadline = deadline
        self.call_id: int | None = None
        self.event: CallEnded | IrisAdminError | None = None
        #: What has begun to come, if it is long.
        self.begun: AnswerBegun | None = None
        #: Whether Ctrl-C would find everything in order. It does while the thread waits, which is nearly always. At any
        #: other moment who reads, or what the I/O thread watches, may be half changed: then the link is given up.
        self.in_order = False
        #: Whether the thread reads.
        self.leading = False
        self._semaphore = threading.Lock()
        self._semaphore.acquire()

    def ended(self, event: CallEnded | IrisAdminError) -> None:
        """Take the call's end, and wake the thread that waits for it."""
        self.event = event
        if self._semaphore.locked():
            self._semaphore.release()

    def timed_out(self) -> None:
        """Never called: see :attr:`deadline`."""

    @property
    def wants_to_start(self) -> bool:
        """Whether its call has not been sent."""
        return self.call_id is None

    @property
    def is_over(self) -> bool:
        """Whether there is nothing to wait for any more."""
        return self.event is not None

    def unended(self) -> Sequence[int]:
        """The call, if it was sent and has not ended."""
        return () if self.event is not None or self.call_id is None else (self.call_id,)

    def wait(self, timeout: float) -> None:
        """Wait until another thread calls :meth:`ended`, or for ``timeout`` seconds."""
        self._semaphore.acquire(timeout=min(timeout, threading.TIMEOUT_MAX))


class BlockedMapper:
    """A thread that waits for many calls of one function.

    :param count: how many calls there are.
    :param seconds: the time-out of each.
    :param in_flight: how many may be under way at once.
    """

    def __init__(self, count: int, seconds: float, in_flight: int) -> None:
        self.events: list[CallEnded | None] = [None] * count
        self.error: IrisAdminError | None = None
        #: As of :class:`BlockedCaller`.
        self.begun = None
        self.in_order = False
        self.leading = False
        self._seconds = seconds
        self._in_flight = in_flight
        self._deadlines: list[float] = []
        self._under_way: dict[int, int] = {}
        self._first = 0
        # Held while nobody has told of an end since the last wait.
        self._nothing_ended = threading.Lock()
        self._nothing_ended.acquire()

    @property
    def deadline(self) -> float:
        """When the time of the oldest call that has not ended is over."""
        while self._first < len(self._deadlines) and self.events[self._first] is not None:
            self._first += 1
        return self._deadlines[self._first] if self._first < len(self._deadlines) else FOREVER

    @property
    def wants_to_start(self) -> bool:
        """Whether it is worth while to send more: several at once cost hardly more than one."""
        return len(self._deadlines) < len(self.events) and 2 * len(self._under_way) <= self._in_flight

    @property
    def is_over(self) -> bool:
        """Whether there is nothing to wait for any more."""
        return self.error is not None or (len(self._deadlines) == len(self.events) and not self._under_way)

    def next_ones(self) -> range:
        """Which calls to start now."""
        started = len(self._deadlines)
        return range(started, min(len(self.events), started + self._in_flight - len(self._under_way)))

    def waiter(self, index: int, call_id: int, now: float) -> Waiter:
        """The waiter of one call, which is started now."""
        self._under_way[index] = call_id
        self._deadlines.append(now + self._seconds)
        return _Mapped(self, index)

    def ended(self, index: int, event: CallEnded | IrisAdminError) -> None:
        """Take a call's end, and wake the thread that waits."""
        if isinstance(event, IrisAdminError):
            self.error = event
        else:
            self.events[index] = event
        self._under_way.pop(index, None)
        if self._nothing_ended.locked():
            with contextlib.suppress(RuntimeError):  # another thread has told just now
                self._nothing_ended.release()

    def unended(self) -> Sequence[int]:
        """The calls that were sent and have not ended."""
        return tuple(self._under_way.values())

    def wait(self, timeout: float) -> None:
        """Wait until another thread tells of an end, or for ``timeout`` seconds."""
        self._nothing_ended.acquire(timeout=min(timeout, threading.TIMEOUT_MAX))


class _Mapped:
    """The waiter of one of many calls; the waiting thread minds the deadline."""

    __slots__ = ("_index", "_mapper", "deadline")

    is_read_for = False

    def __init__(self, mapper: BlockedMapper, index: int) -> None:
        self.deadline = FOREVER
        self._mapper = mapper
        self._index = index

    def ended(self, event: CallEnded | IrisAdminError) -> None:
        """Pass the call's end on."""
        self._mapper.ended(self._index, event)

    def timed_out(self) -> None:
        """Never called: see the class."""
