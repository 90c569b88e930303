"""What a called function prints."""

from __future__ import annotations

from iris_admin.errors import EncodeError
from iris_admin.proto.etf import encode_term
from iris_admin.proto.io_protocol import MAX_CAPTURED, Format, GroupLeader, chardata_to_str
from iris_admin.terms import Atom, ImproperList, Pid
from tests.fuzz.choices import Choices

CALLER = Pid(Atom("db1@127.0.0.1"), 90, 0, 7)
LEAVES = [
    *(Atom("io_request"), Atom("put_chars"), Atom("unicode"), Atom("latin1"), Atom("requests"), Atom("getopts")),
    *(Atom("get_line"), Atom("get_geometry"), Atom("io_lib"), Atom("format"), CALLER, b"text", "é€".encode(), b"\xff"),
    *(8364, 0xD800, 0x110000, -1, [], ImproperList((97,), b"b"), [97, [98, b"c"]], (Atom("put_chars"), b"x")),
    *((Atom("put_chars"), Atom("unicode"), Atom("io_lib"), Atom("format"), [[126, 112], [1]]),),
    *((Atom("requests"), [(Atom("put_chars"), b"x"), (Atom("put_chars"), Atom("unicode"), b"y")]),),
]


def seeds() -> list[bytes]:
    """One of each of the leaves, as a request."""
    return [b"\1" + bytes((1, 0, number)) for number in range(len(LEAVES))] + [b"\1" + bytes(range(200))]


def run(data: bytes) -> None:
    """Send a group leader requests that are made of the bytes."""
    choices = Choices(data)
    leader = GroupLeader(keep=bool(choices.byte() & 1))
    unanswered = answered = 0
    for _ in range(100):
        if not choices.left:
            break
        request = choices.term(LEAVES, 5)
        message = (Atom("io_request"), CALLER, Atom("reply"), request) if choices.byte() & 7 else request
        unanswered += leader.receive(message)
        step = leader.proceed()
        while step is not None:
            if isinstance(step, Format):
                encode_term(step.args) if _is_term(step.args) else None
                step = leader.formatted(choices.term(LEAVES, 5) if choices.byte() & 3 else None)
                if step is None:
                    step = leader.proceed()
            else:
                answered += 1
                step = leader.proceed()
        assert answered == unanswered, "a caller that waits for good"
    assert len(leader.text()) <= MAX_CAPTURED + 100
    leader.text().encode()
    chardata_to_str(choices.term(LEAVES, 5), "utf-8")


def _is_term(value: object) -> bool:
    try:
        encode_term(value)
    except EncodeError:
        return False
    return True
