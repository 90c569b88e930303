"""What happens on a connection, as its driver is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from iris_admin.errors import IrisAdminError
from iris_admin.proto import rpc
from iris_admin.proto.etf import decode_term
from iris_admin.proto.handshake import Joined
from iris_admin.proto.rpc import Outcome, Returned
from iris_admin.records import record
from iris_admin.terms import Term

if TYPE_CHECKING:
    from iris_admin.proto.long_message import Body, LongMessage


@record
class Connected:
    """The handshake is done; calls can be made."""

    joined: Joined


class CallEnded:
    """A call's process is gone, and its exit reason tells why.

    :ivar call_id: what :meth:`Connection.call` gave.
    :ivar output: what was printed, where the call was to capture it.
    """

    # No record, as the other events are: there is one for each call, and this is made in a third of the time.
    __slots__ = ("_message", "_offset", "_outcome", "_res", "call_id", "output")

    def __init__(
        self,
        call_id: int,
        output: str | None,
        message: Body,
        offset: int,
        res: bytes | None,
        outcome: Outcome | None = None,
    ) -> None:
        self.call_id = call_id
        self.output = output
        self._message = message
        self._offset = offset
        # None where the offset is that of a value that was returned.
        self._res = res
        self._outcome = outcome

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CallEnded):
            return NotImplemented
        ours, theirs = (self.call_id, self.output), (other.call_id, other.output)
        return ours == theirs and self.outcome() == other.outcome()

    __hash__ = None  # type: ignore[assignment]  # as of everything that can be compared and changed

    def __repr__(self) -> str:
        return f"CallEnded(call_id={self.call_id}, output={self.output!r})"

    @property
    def has_returned(self) -> bool:
        """Whether the function is known to have returned; where it is not, :meth:`outcome` tells."""
        return self._res is None

    @property
    def size(self) -> int:
        """How much there is to decode, in bytes."""
        return len(self._message) - self._offset

    def value(self) -> Term:
        """Decode what the function returned; to be asked where :attr:`has_returned` is true.

        :raises DecodeError: it is no term.
        """
        return decode_term(self._message, self._offset)[0]

    def returned(self, value: Term, end: int) -> None:
        """Take a value that was decoded while it came.

        :param end: the offset behind it; if that is not the end of the message, the value is decoded again.
        """
        if end == len(self._message):
            self._outcome = Returned(value)

    def outcome(self) -> Outcome:
        """Decode the answer. A large one takes its time, so this is left to whoever waits for it.

        :raises DecodeError: the answer is no term.
        """
        if self._outcome is not None:
            return self._outcome
        if self._res is None:
            return Returned(self.value())
        return rpc.read_outcome(self._message, self._offset, self._res)


class AnswerBegun:
    """The value that a function returned has begun to come, and is long.

    Whoever likes may decode it while the rest comes: :class:`CallEnded` is told all the same, when all has come.

    :ivar call_id: what :meth:`Connection.call` gave.
    :ivar message: what has come of it, and what will.
    :ivar offset: where the value begins in it.
    """

    __slots__ = ("call_id", "message", "offset")

    def __init__(self, call_id: int, message: LongMessage, offset: int) -> None:
        self.call_id = call_id
        self.message = message
        self.offset = offset


@record
class Lost:
    """The connection is over; no call that was waiting will be answered."""

    error: IrisAdminError


Event: TypeAlias = Connected | AnswerBegun | CallEnded | Lost
