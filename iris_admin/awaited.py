"""Calls that are awaited on an event loop, which reads their answers itself.

Handing each answer over from the I/O thread would take longer than the call. Yet a loop that is busy must not lose the
connection, so the I/O thread reads again when the loop has not for a while, and all else stays its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from iris_admin.calls import Called, encode_call
from iris_admin.errors import IrisAdminError
from iris_admin.proto.events import CallEnded
from iris_admin.terms import Term
from iris_admin.transport.link import Link
from iris_admin.transport.retry import retry_policy

if TYPE_CHECKING:
    from iris_admin.client import Node

#: From this size on an answer is decoded in the I/O thread, or the loop would stand still meanwhile. In bytes.
_LARGE = 64 << 10


class LoopReader:
    """Reads a link on an event loop, and sends what calls of the same turn of the loop have to say in one piece.

    :param loop: the one that runs in this thread.
    """

    def __init__(self, link: Link, loop: asyncio.AbstractEventLoop) -> None:
        self.link = link
        self.loop = loop
        self.thread = threading.get_ident()
        self._sends_soon = False
        # One of our own: the link's may be closed by another thread, and its number given to somebody else.
        self._descriptor = os.dup(link.socket.fileno())
        loop.add_reader(self._descriptor, self._on_readable)

    def __del__(self) -> None:
        self._close_descriptor()

    def send_soon(self) -> None:
        """Send what calls have to say, when whoever is about to make one has done so."""
        if not self._sends_soon:
            self._sends_soon = True
            self.loop.call_soon(self._send)

    def link_lost(self) -> None:
        """Stop reading. Called from any thread."""
        if threading.get_ident() == self.thread and not self.loop.is_closed():
            self._stop()
            return
        try:
            self.loop.call_soon_threadsafe(self._stop)
        except RuntimeError:  # the loop was closed
            self._close_descriptor()

    def _send(self) -> None:
        self._sends_soon = False
        self.link.send_queued()

    def _on_readable(self) -> None:
        self.link.on_readable()
        if self.link.lost is not None:
            self._stop()

    def _stop(self) -> None:
        if self._descriptor >= 0:
            self.loop.remove_reader(self._descriptor)
        self._close_descriptor()

    def _close_descriptor(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def reader_of(link: Link) -> LoopReader:
    """Who reads a link on the running loop.

    :raises NodeDown: the link is lost.
    """
    loop = asyncio.get_running_loop()
    reader = link.loop_readers.get(loop)
    if not isinstance(reader, LoopReader):
        for other in [other for other in tuple(link.loop_readers) if other.is_closed()]:
            link.loop_readers.pop(other, None)
        try:
            reader = link.loop_readers[loop] = LoopReader(link, loop)
        except OSError:
            if link.lost is None:
                raise
            raise link.lost.copy() from None  # its socket is closed
    return reader


async def ask(
    node: Node,
    module: str,
    function: str,
    args: Sequence[Term],
    timeout: float | None,
    idempotent: bool,
    *,
    capture: bool = False,
) -> Any:
    """What :meth:`iris_admin.client.Node.call` does, awaited; with ``capture``, what ``capture`` does."""
    encoded = encode_call(module, function, args)
    called = Called(node.name, module, function, len(args))
    seconds = node._time(timeout)
    deadline = time.monotonic() + seconds
    connector = node._connector

    async def attempt() -> Any:
        link = connector.link
        if link is None:
            link = await asyncio.to_thread(connector.connect, deadline)
        return await _AwaitedCall.make(link, called, encoded, seconds, deadline, capture=capture)

    try:
        return await attempt()
    except IrisAdminError as error:
        if not (idempotent and error.transient):
            raise
    from tenacity import AsyncRetrying

    return await AsyncRetrying(**retry_policy(deadline))(attempt)


class _AwaitedCall:
    """The waiter of a call that is awaited."""

    __slots__ = ("_called", "_capture", "_future", "_reader", "_seconds", "deadline")

    #: Its loop reads.
    is_read_for = True

    def __init__(self, reader: LoopReader, called: Called, seconds: float, deadline: float, capture: bool) -> None:
        self.deadline = deadline
        self._reader = reader
        self._called = called
        self._seconds = seconds
        self._capture = capture
        self._future: asyncio.Future[Any] = reader.loop.create_future()

    @classmethod
    async def make(
        cls, link: Link, called: Called, args: bytes, seconds: float, deadline: float, *, capture: bool
    ) -> Any:
        """Make a call, and wait for what it returns. Cancelling it kills the remote process.

        :param args: its argument list, encoded.
        :param seconds: its time-out, for the error that tells of it.
        :param deadline: when that is over, on the clock of :func:`time.monotonic`.
        :param capture: whether the result is a tuple of the returned value and the printed text.
        """
        reader = reader_of(link)
        waiter = cls(reader, called, seconds, deadline, capture)
        call_id = link.queue_call(called.module, called.function, args, waiter, capture=capture)
        reader.send_soon()
        link.watch_deadline(deadline)
        try:
            return await waiter._future
        except asyncio.CancelledError:
            link.cancel(call_id)
            raise

    # What a link expects of a waiter

    def ended(self, event: CallEnded | IrisAdminError) -> None:
        """Take the call's end."""
        if isinstance(event, CallEnded) and event.size >= _LARGE:
            self._reader.link.run_soon(lambda: self._in_loop(*self._result(event)))
        elif threading.get_ident() == self._reader.thread:
            self._settle(*self._result(event))
        else:
            self._in_loop(*self._result(event))

    def timed_out(self) -> None:
        """Take that the deadline has passed."""
        self._in_loop(None, self._called.timeout(self._seconds))

    def _result(self, event: CallEnded | IrisAdminError) -> tuple[Any, Exception | None]:
        try:
            return self._called.result(event, capture=self._capture), None
        except Exception as error:
            return None, error

    def _in_loop(self, value: Any, error: Exception | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed, and nobody waits any more
            self._reader.loop.call_soon_threadsafe(self._settle, value, error)

    def _settle(self, value: Any, error: Exception | None) -> None:
        if self._future.done():
            return
        if error is not None:
            self._future.set_exception(error)
        else:
            self._future.set_result(value)
