"""Calls that nobody waits for yet. A module of its own, since few commands need futures and their imports."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from iris_admin.calls import Called
from iris_admin.errors import IrisAdminError
from iris_admin.proto.events import CallEnded
from iris_admin.transport.link import Link


class CallFuture(Future[Any]):
    """The future of a call. Cancelling it kills the remote process."""

    is_read_for = False

    def __init__(self, link: Link, called: Called, seconds: float, deadline: float, *, capture: bool) -> None:
        super().__init__()
        self.deadline = deadline
        self._link = link
        self._called = called
        self._seconds = seconds
        self._capture = capture
        self._call_id: int | None = None

    @classmethod
    def start(
        cls, link: Link, called: Called, args: bytes, seconds: float, deadline: float, *, capture: bool
    ) -> CallFuture:
        """Send a call.

        :param args: its argument list, encoded.
        :param seconds: its time-out, for the error that tells of it.
        :param deadline: when that is over, on the clock of :func:`time.monotonic`.
        :param capture: whether the result is a tuple of the returned value and the printed text.
        """
        future = cls(link, called, seconds, deadline, capture=capture)
        future._call_id = link.start_call(called.module, called.function, args, future, capture=capture)
        link.watch_deadline(future.deadline)
        return future

    def cancel(self) -> bool:
        """Cancel the call, if it has not ended, and kill its remote process."""
        if self._call_id is None or not self._link.cancel(self._call_id):
            return self.cancelled()
        super().cancel()
        # Without this, concurrent.futures.wait() and as_completed() would wait on.
        self.set_running_or_notify_cancel()
        return True

    # What a link expects of a waiter

    def ended(self, event: CallEnded | IrisAdminError) -> None:
        """Take the call's end."""
        # Callbacks run in the I/O thread only. In that of a caller, who may happen to read, they would be in the way
        # of its own call, and Ctrl-C in theirs.
        self._link.run_soon(lambda: self._settle(event))

    def _settle(self, event: CallEnded | IrisAdminError) -> None:
        if self.done():
            return
        try:
            result = self._called.result(event, capture=self._capture)
        except Exception as error:
            self.set_exception(error)
        else:
            self.set_result(result)

    def timed_out(self) -> None:
        """Take that the deadline has passed."""
        self.set_exception(self._called.timeout(self._seconds))
