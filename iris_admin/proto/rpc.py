"""Calls by ``erpc``: one spawned process for each, whose exit reason is the answer.

``erpc:execute_call/4`` runs the function and exits with ``{Res, return, V}``, ``{Res, throw, T}``, ``{Res, exit,
E}``, ``{Res, error, E, Stack}`` or ``{Res, error, {erpc, R}}``, where ``Res`` is a reference of ours; anything else
means that the process was killed. We spawn it *linked*, and not monitored as ``erpc:call/5`` does: the link
brings the same exit reason, and it ends the process when we vanish. With both, each answer would cross the
network twice.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeAlias

from iris_admin.proto.etf import decode_term, encode_term
from iris_admin.records import record
from iris_admin.terms import Atom, Reference, Term

if TYPE_CHECKING:
    from iris_admin.proto.long_message import Body

FailureKind: TypeAlias = Literal["throw", "exit", "error", "erpc", "killed"]

LIST_OF_FOUR = b"l\0\0\0\4"
NIL = b"j"
ERPC_EXECUTE_CALL = encode_term((Atom("erpc"), Atom("execute_call"), 4))
OPTION_LINK = encode_term([Atom("link")])
#: What ``{Res, return, V}`` begins with, before and behind the reference.
TRIPLE = b"h\3"
RETURN = encode_term(Atom("return"))


@record
class Returned:
    """The function returned ``value``."""

    value: Term


@record
class Failed:
    """The function did not return.

    :param kind: ``throw``, ``exit`` and ``error`` as in Erlang's ``catch Class:Reason:Stack``; ``erpc`` where the
        call was refused before the function ran; ``killed`` where the process was ended from outside.
    :param reason: the reason.
    :param stacktrace: of an ``error``, else None.
    """

    kind: FailureKind
    reason: Term
    stacktrace: Term = None


Outcome: TypeAlias = Returned | Failed


def execute_call_arguments(res: bytes, module: str, function: str, args: bytes) -> bytes:
    """The argument list of ``erpc:execute_call/4``, encoded.

    :param res: our reference, encoded.
    :param args: the argument list of the function, encoded.
    """
    return b"".join((LIST_OF_FOUR, res, names(module, function), args, NIL))


@lru_cache(maxsize=256)
def names(module: str, function: str) -> bytes:
    """Two names as atoms, encoded."""
    return encode_term(Atom(module)) + encode_term(Atom(function))


def read_outcome(message: Body, offset: int, res: bytes) -> Outcome:
    """Read the exit reason of a call's process.

    :param message: holds the reason at ``offset``, encoded.
    :param res: the call's reference, encoded: a node sends it back byte for byte, so the usual answer is
        recognised without decoding what is around it.
    :raises DecodeError: for a reason that is no term.
    """
    usual = TRIPLE + res + RETURN
    if message[offset : offset + len(usual)] == usual:
        value, _ = decode_term(message, offset + len(usual))
        return Returned(value)
    reason, _ = decode_term(message, offset)
    return outcome_of_exit(reason, decode_term(res)[0])


def outcome_of_exit(reason: Term, reference: Reference) -> Outcome:
    """What an exit reason says about the call that has this reference."""
    match reason:
        case (res, "return", value) if res == reference:
            return Returned(value)
        case (res, "throw" | "exit" as kind, thrown) if res == reference:
            return Failed(_KINDS[kind], thrown)
        case (res, "error", ("erpc", refusal)) if res == reference:
            return Failed("erpc", refusal)
        case (res, "error", error, stacktrace) if res == reference:
            return Failed("error", error, stacktrace)
    return Failed("killed", reason)


_KINDS: dict[str, FailureKind] = {"throw": "throw", "exit": "exit"}
