"""One call, before it is sent and after it has ended: its encoding, its value, its errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iris_admin.errors import CallTimeout, DecodeError, EncodeError, IrisAdminError, RemoteError
from iris_admin.proto.etf import encode_term
from iris_admin.proto.events import CallEnded
from iris_admin.proto.rpc import NIL, Failed, Returned
from iris_admin.terms import MAX_ATOM_CHARACTERS, Term

#: Reasons are terms of any size; an error message shows this much, in characters.
_SHOWN_REASON = 400


def encode_call(module: str, function: str, args: Sequence[Term]) -> bytes:
    """Encode the argument list of a call, and see that its names can be atoms, before anything is sent.

    :raises EncodeError: an argument is no term, or a name is no atom.
    """
    if not (0 < len(module) <= MAX_ATOM_CHARACTERS and 0 < len(function) <= MAX_ATOM_CHARACTERS):
        wrong = function if 0 < len(module) <= MAX_ATOM_CHARACTERS else module
        raise EncodeError(f"{wrong!r} cannot name a module or function")
    return encode_term(list(args)) if args else NIL


def encode_calls(module: str, function: str, arguments: Sequence[Sequence[Term]], in_flight: int) -> list[bytes]:
    """Encode the argument lists of many calls, before anything is sent.

    :param in_flight: how many calls are to be under way at once.
    :raises ValueError: ``in_flight`` is less than 1.
    :raises EncodeError: an argument is no term, or a name is no atom.
    """
    if in_flight < 1:
        raise ValueError(f"{in_flight} calls cannot be under way")
    return [encode_call(module, function, args) for args in arguments]


def answer(ended: CallEnded, node: str, module: str, function: str, arity: int) -> Term:
    """What a function returned that was called on a node.

    :raises RemoteError: it did not return.
    :raises DecodeError: the node sent what is no term.
    """
    try:
        if ended.has_returned:
            return ended.value()
        outcome = ended.outcome()
    except DecodeError as error:
        error.node = node
        raise
    if isinstance(outcome, Returned):
        return outcome.value
    raise Called(node, module, function, arity).failure(outcome)


class Called:
    """What was called, and where."""

    # No record: there is one for each call, and this is made faster.
    __slots__ = ("arity", "function", "module", "node")

    def __init__(self, node: str, module: str, function: str, arity: int) -> None:
        self.node = node
        self.module = module
        self.function = function
        self.arity = arity

    def __str__(self) -> str:
        return f"{self.module}:{self.function}/{self.arity} on {self.node}"

    def result(self, event: CallEnded | IrisAdminError, *, capture: bool) -> Any:
        """What whoever does not block for the call gets of its end.

        :param capture: whether that is a tuple of the returned value and the printed text.
        :raises IrisAdminError: the link was lost, or :func:`answer` raises it.
        """
        if isinstance(event, IrisAdminError):
            raise event
        value = answer(event, self.node, self.module, self.function, self.arity)
        return (value, event.output or "") if capture else value

    def failure(self, failed: Failed) -> RemoteError:
        """The error that tells how the function failed."""
        from iris_admin.syntax import format_term

        reason = format_term(failed.reason, width=None)
        if len(reason) > _SHOWN_REASON:
            reason = reason[:_SHOWN_REASON] + "…"
        happened = {
            "throw": "threw",
            "exit": "exited with",
            "error": "failed with",
            "erpc": "could not be called:",
            "killed": "was ended from outside:",
        }[failed.kind]
        error = RemoteError(
            f"{self} {happened} {reason}",
            node=self.node,
            kind=failed.kind,
            reason=failed.reason,
            stacktrace=failed.stacktrace,
            mfa=(self.module, self.function, self.arity),
        )
        if error.is_undef:
            error.hint = f"The node has no {self.module}:{self.function}/{self.arity}, or cannot load its module."
        return error

    def timeout(self, seconds: float) -> CallTimeout:
        """The error that tells that the call took too long."""
        return CallTimeout(
            f"{self} did not answer within {seconds:g} s; its process was told to die",
            node=self.node,
            timeout=seconds,
            hint="Give it more time (--timeout), or see whether the node answers at all: iris-admin ping",
        )
