"""A whole connection, after it was joined, with calls under way."""

from __future__ import annotations

from unittest.mock import patch

from iris_admin.errors import DecodeError, EncodeError, ProtocolError
from iris_admin.proto import framing, long_message
from iris_admin.proto.connection import Connection
from iris_admin.proto.control import OPERATIONS as KNOWN_OPERATIONS
from iris_admin.proto.etf import encode_term
from iris_admin.proto.events import AnswerBegun, CallEnded, Connected, Lost
from iris_admin.proto.rpc import Returned
from iris_admin.terms import Atom, ImproperList, Pid, Reference
from tests.fuzz.choices import Choices
from tests.proto import test_handshake as golden
from tests.proto.node_side import receive_in_place

CREATION = int.from_bytes(golden.STATUS_NAMED[-4:], "big")
OUR_NAME = Atom(golden.GIVEN_NAME)
NODE = Atom(golden.PEER)
REMOTE = Pid(NODE, 90, 0, 7)
ALIAS = Reference(NODE, 7, (1, 2, 3))
OUR_PIDS = [Pid(OUR_NAME, number, 0, CREATION) for number in range(1, 5)]
OUR_REFERENCES = [Reference(OUR_NAME, CREATION, (number, 0, 0)) for number in range(1, 5)]
LEAVES = [
    *(*OUR_PIDS, *OUR_REFERENCES, REMOTE, ALIAS, Atom("io_request"), Atom("put_chars"), Atom("unicode"), b"text"),
    *(Atom("requests"), Atom("return"), Atom("error"), Atom("throw"), Atom("erpc"), Atom("rex"), Atom("net_kernel")),
    *(Atom("$gen_call"), Atom("call"), Atom("erlang"), Atom("whereis"), Atom("monitor"), Atom("link"), [], 4),
    *(ImproperList((Atom("alias"),), ALIAS), (Atom("io_request"), REMOTE, ALIAS, (Atom("put_chars"), Atom("x"), b"y"))),
    *((Atom("erpc"), Atom("execute_call"), 4), [Atom("link"), Atom("monitor")], Atom("io_lib"), Atom("format")),
]
OPERATIONS = [*KNOWN_OPERATIONS, 12, 13, 16, 18, 23, 25, 27, 30, 32, 34]


def joined() -> Connection:
    """A connection with four calls: one just begun, one that runs and is captured, one cancelled, one that runs."""
    connection = Connection(
        peer=golden.PEER,
        cookie=golden.COOKIE,
        host="127.0.0.1",
        challenge=golden.OUR_CHALLENGE,
        creation=0,
        now=0.0,
    )
    connection.receive_data(golden.STATUS_NAMED + golden.CHALLENGE + golden.CHALLENGE_ACK, 0.0)
    assert isinstance(connection.next_event(), Connected)
    for capture in (False, True, False, False):
        connection.call("io", "format", encode_term([b"x"]), 0.0, capture=capture)
    for number in (2, 4):
        connection.receive_data(
            framed(encode_term((31, OUR_REFERENCES[number - 1], OUR_PIDS[number - 1], 1, REMOTE))), 0.0
        )
    connection.cancel(3, 0.0)
    connection.data_to_send()
    return connection


def framed(message: bytes) -> bytes:
    """A whole message as a frame."""
    return (len(message) + 3).to_bytes(4, "big") + b"\x83D\0" + message


def seeds() -> list[bytes]:
    """Messages that a node sends; see also the recorded sessions in the corpus."""
    messages = [
        encode_term((24, REMOTE, OUR_PIDS[1])) + encode_term((OUR_REFERENCES[1], Atom("return"), [1, 2])),
        encode_term((24, REMOTE, OUR_PIDS[3])) + encode_term((OUR_REFERENCES[3], Atom("error"), Atom("undef"), [])),
        encode_term((3, REMOTE, OUR_PIDS[3], Atom("killed"))),
        encode_term((31, OUR_REFERENCES[0], OUR_PIDS[0], 0, Atom("notsup"))),
        encode_term((2, Atom(""), OUR_PIDS[1])) + encode_term(LEAVES[-5]),
        encode_term((19, REMOTE, OUR_PIDS[1], ALIAS)),
        encode_term((20, REMOTE, OUR_PIDS[1], ALIAS)),
        encode_term((1, REMOTE, OUR_PIDS[2])),
        encode_term((35, 7, REMOTE, OUR_PIDS[2])),
        encode_term((6, REMOTE, Atom(""), Atom("net_kernel")))
        + encode_term((Atom("$gen_call"), (REMOTE, ALIAS), (Atom("is_auth"), NODE))),
        encode_term((29, ALIAS, REMOTE, REMOTE, LEAVES[-4], [Atom("link"), Atom("monitor")]))
        + encode_term([ALIAS, Atom("erlang"), Atom("whereis"), [Atom("x")]]),
    ]
    res, pid = encode_term(OUR_REFERENCES[3]), encode_term(OUR_PIDS[3])
    exited = b"h\3a\x18" + encode_term(REMOTE) + pid + b"h\3" + res + encode_term(Atom("return"))
    long = b"".join(
        b"\2" + kind + bytes((7, fragment)) + len(piece).to_bytes(2, "big") + piece
        for kind, fragment, piece in (
            (b"E", 3, b"\0" + exited + b"m\0\0\0\x50" + bytes(20)),
            (b"F", 2, bytes(40)),
            (b"F", 1, bytes(20)),
        )
    )
    items = [b"\0" + len(message).to_bytes(2, "big") + message for message in messages]
    return [*items, b"".join(items), long, b"\0" + items[3][1:] + long, b"\1\x00\x00\x00\x00", b"\5\7\5\6\1"]


def run(data: bytes) -> None:
    """Receive what the bytes say."""
    choices = Choices(data)
    connection = joined()
    now = 0.0
    received = sent = 0
    for _ in range(100):
        if not choices.left:
            break
        match choices.byte() % 8:
            case 5:
                now += choices.byte() / 4
                connection.handle_timer(now)
            case 6:
                connection.cancel(choices.byte() % 8, now)
            case 7:
                if connection.is_open:
                    connection.call("erlang", "node", b"j", now, capture=bool(choices.byte() & 1))
            case kind:
                piece = _piece(choices, kind)
                received += len(piece)
                # Messages are long here that have so few bytes; behind a head there may be a place for what comes.
                with patch.object(long_message, "_ROOM_FROM", 32), patch.object(framing, "_LONG_BODY", 8):
                    receive_in_place(connection, piece, now, size=30)
        sent += sum(map(len, iter(connection.data_to_send, b"")))
        while (event := connection.next_event()) is not None:
            if isinstance(event, Lost):
                # Silence is the other way in which a link is lost.
                assert isinstance(event.error, ProtocolError) or "has sent nothing" in str(event.error), repr(event)
                assert len(str(event.error)) < 2000, "an error that quotes all that it was sent"
                assert not connection.is_open
            if isinstance(event, CallEnded):
                _look_at(event)
            if isinstance(event, AnswerBegun):
                assert 0 < event.offset <= event.message.filled <= len(event.message.room())
    assert sent < 20 * received + 50_000, "the peer makes us send far more than it does"


def _look_at(event: CallEnded) -> None:
    try:
        outcome = event.outcome()
    except DecodeError:
        return
    assert isinstance(outcome, Returned) or outcome.kind in ("throw", "exit", "error", "erpc", "killed")


def _piece(choices: Choices, kind: int) -> bytes:
    match kind:
        case 0:
            return framed(choices.sized())
        case 1:
            operation = int(choices.choice(OPERATIONS))
            elements = [choices.term(LEAVES, 3) for _ in range(choices.randrange(7))]
            try:
                payload = encode_term(choices.term(LEAVES, 4)) if choices.byte() else choices.take(20)
                return framed(encode_term((operation, *elements)) + payload)
            except EncodeError:
                return b""
        case 2:
            head = b"\x83" + choices.take(1) + choices.byte().to_bytes(8, "big") + choices.byte().to_bytes(8, "big")
            body = head + choices.sized()
            return len(body).to_bytes(4, "big") + body
        case 3:
            body = choices.sized()
            return len(body).to_bytes(4, "big") + body
        case _:
            return choices.sized()
