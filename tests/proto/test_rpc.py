"""What an exit reason says about a call."""

from __future__ import annotations

import pytest

from iris_admin.errors import DecodeError
from iris_admin.proto.etf import decode_term, encode_term
from iris_admin.proto.rpc import Failed, Returned, execute_call_arguments, outcome_of_exit, read_outcome
from iris_admin.terms import Atom, Map, Reference, Term

OURS = Atom("3KXVFBSZJI4PX@127.0.0.1")
REF = Reference(OURS, 0x86813D2E, (1, 0, 0))
OTHER = Reference(OURS, 0x86813D2E, (2, 0, 0))
RES = encode_term(REF)
STACK = [(Atom("m"), Atom("f"), 0, [])]

OUTCOMES: list[tuple[Term, Returned | Failed]] = [
    ((REF, Atom("return"), 42), Returned(42)),
    ((REF, Atom("return"), Atom("undefined")), Returned(Atom("undefined"))),
    ((REF, Atom("return"), (Atom("EXIT"), Atom("a"))), Returned((Atom("EXIT"), Atom("a")))),
    ((REF, Atom("throw"), [1, 2]), Failed("throw", [1, 2])),
    ((REF, Atom("exit"), Atom("normal")), Failed("exit", Atom("normal"))),
    ((REF, Atom("error"), Atom("badarg"), STACK), Failed("error", Atom("badarg"), STACK)),
    ((REF, Atom("error"), (Atom("erpc"), Atom("badarg"))), Failed("erpc", Atom("badarg"))),
    # The function failed with what erpc itself would say: it has a stack trace.
    ((REF, Atom("error"), (Atom("erpc"), Atom("x")), []), Failed("error", (Atom("erpc"), Atom("x")), [])),
    # Not what execute_call ends with: somebody killed it.
    (Atom("killed"), Failed("killed", Atom("killed"))),
    (Atom("normal"), Failed("killed", Atom("normal"))),
    (Atom("noconnection"), Failed("killed", Atom("noconnection"))),
    ((OTHER, Atom("return"), 42), Failed("killed", (OTHER, Atom("return"), 42))),
    ((REF, Atom("return")), Failed("killed", (REF, Atom("return")))),
    ((REF, Atom("error"), Atom("badarg")), Failed("killed", (REF, Atom("error"), Atom("badarg")))),
    ((), Failed("killed", ())),
    (Map([([1], 2)]), Failed("killed", Map([([1], 2)]))),
]


@pytest.mark.parametrize(("reason", "outcome"), OUTCOMES)
def test_every_exit_reason(reason: Term, outcome: Returned | Failed) -> None:
    assert outcome_of_exit(reason, REF) == outcome
    assert read_outcome(b"before" + encode_term(reason), 6, RES) == outcome


def test_a_value_that_equals_false_is_returned() -> None:
    assert outcome_of_exit((REF, Atom("return"), False), REF) == Returned(False)
    assert read_outcome(encode_term((REF, Atom("return"), [])), 0, RES) == Returned([])


def test_a_reference_that_came_back_in_another_form() -> None:
    # As a term it is the same, so the answer is.
    other_bytes = RES.replace(b"w\x17", b"v\x00\x17")
    message = b"h\3" + other_bytes + encode_term(Atom("return")) + encode_term(42)
    assert decode_term(message, 0)[0][0] == REF
    assert read_outcome(message, 0, RES) == Returned(42)


@pytest.mark.parametrize("cut", range(1, 12))
def test_cut_short(cut: int) -> None:
    with pytest.raises(DecodeError):
        read_outcome(encode_term((REF, Atom("return"), b"value"))[:-cut], 0, RES)


def test_recorded_answer_of_a_node() -> None:
    reason = bytes.fromhex(
        "68035a00037717334b58564642535a4a49345058403132372e302e302e3186813d2e0000000100000000000000007706726574"
        "75726e770d646231403132372e302e302e31"
    )
    assert read_outcome(reason, 0, RES) == Returned(Atom("db1@127.0.0.1"))


def test_arguments_of_execute_call() -> None:
    encoded = execute_call_arguments(RES, "lists", "seq", encode_term([1, 3]))
    assert decode_term(encoded, 0) == ([REF, Atom("lists"), Atom("seq"), [1, 3]], len(encoded))
