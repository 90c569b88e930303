"""Control messages, plain and with a trace token."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_admin.errors import ProtocolError
from iris_admin.proto import control
from iris_admin.proto.control import OPERATIONS, Operation
from iris_admin.proto.etf import encode_term
from iris_admin.terms import Atom, Pid, Reference, Term

PEER = Atom("db1@127.0.0.1")
OURS = Atom("3KXVFBSZJI4PX@127.0.0.1")
FROM = Pid(PEER, 88, 0, 0x6B03FC86)
TO = Pid(OURS, 1, 0, 0x86813D2E)
REF = Reference(PEER, 0x6B03FC86, (1, 2, 3))
TOKEN = (1, 5, Atom("label"), FROM, 3)
MFA = (Atom("erpc"), Atom("execute_call"), 4)

#: The tuples of the protocol guide: number, elements, number of the variant with a trace token, place of the token.
CONTROL_MESSAGES: list[tuple[int, tuple[Term, ...], int | None, int]] = [
    (1, (FROM, TO), None, 0),
    (2, (Atom(""), TO), 12, 3),
    (3, (FROM, TO, Atom("normal")), 13, 3),
    (6, (FROM, Atom(""), Atom("rex")), 16, 4),
    (7, (FROM, TO), None, 0),
    (8, (FROM, TO, Atom("kill")), 18, 3),
    (19, (FROM, TO, REF), None, 0),
    (20, (FROM, TO, REF), None, 0),
    (21, (FROM, TO, REF, Atom("noproc")), None, 0),
    (22, (FROM, TO), 23, 3),
    (24, (FROM, TO), 25, 3),
    (26, (FROM, TO), 27, 3),
    (28, (FROM, TO, REF), None, 0),
    (29, (REF, FROM, FROM, MFA, [Atom("monitor")]), 30, 6),
    (31, (REF, TO, 2, FROM), 32, 5),
    (33, (FROM, REF), 34, 3),
    (35, (7, FROM, TO), None, 0),
    (36, (7, FROM, TO), None, 0),
]


@pytest.mark.parametrize(("number", "elements", "traced", "place"), CONTROL_MESSAGES)
class TestEveryOperation:
    def test_plain(self, number: int, elements: tuple[Term, ...], traced: int | None, place: int) -> None:
        message = encode_term((number, *elements))
        assert control.read(message, 0) == ((number, *elements), len(message))

    def test_payload_begins_behind(
        self, number: int, elements: tuple[Term, ...], traced: int | None, place: int
    ) -> None:
        message = encode_term((number, *elements))
        assert control.read(b"\x83D\0" + message + b"payload", 3)[1] == 3 + len(message)

    def test_with_trace_token(self, number: int, elements: tuple[Term, ...], traced: int | None, place: int) -> None:
        if traced is None:
            return
        whole = (traced, *elements)
        message = encode_term((*whole[:place], TOKEN, *whole[place:]))
        assert control.read(message, 0) == ((number, *elements), len(message))

    def test_too_long_or_too_short(
        self, number: int, elements: tuple[Term, ...], traced: int | None, place: int
    ) -> None:
        for wrong in ((number, *elements[:-1]), (number, *elements, TOKEN)):
            with pytest.raises(ProtocolError, match="no control message"):
                control.read(encode_term(wrong), 0)
        if traced is not None:
            with pytest.raises(ProtocolError, match="no control message"):
                control.read(encode_term((traced, *elements[:-1])), 0)

    def test_cut_short(self, number: int, elements: tuple[Term, ...], traced: int | None, place: int) -> None:
        message = encode_term((number, *elements))
        for length in range(0, len(message), 7):
            with pytest.raises(ProtocolError):
                control.read(message[:length], 0)


def test_recorded_spawn_reply() -> None:
    message = bytes.fromhex(
        "8344006805611f5a00037717334b58564642535a4a49345058403132372e302e302e3186813d2e00000001000000000000000058"
        "7717334b58564642535a4a49345058403132372e302e302e31000000010000000086813d2e610158770d646231403132372e302e30"
        "2e3100000059000000006b03fc86"
    )
    reply, end = control.read(message, 3)
    request = Reference(OURS, 0x86813D2E, (1, 0, 0))
    assert reply == (Operation.SPAWN_REPLY, request, TO, 1, Pid(PEER, 0x59, 0, 0x6B03FC86))
    assert end == len(message)


def test_every_operation_is_tested() -> None:
    assert {message[0] for message in CONTROL_MESSAGES} == set(OPERATIONS)


@pytest.mark.parametrize(
    "term",
    [(), [], Atom("tick"), (Atom("a"), 2, 3), (2.0, 1, 2), (True, FROM, TO), (99, 1, 2), (4, FROM, TO), (-1,), {}, 2],
)
def test_no_control_message(term: Term) -> None:
    with pytest.raises(ProtocolError, match="no control message"):
        control.read(encode_term(term), 0)


@given(st.binary(max_size=60))
def test_any_bytes(message: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        control.read(message, 0)
