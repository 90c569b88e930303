"""A peer that sends garbage at each step of a session: a typed error within the time-out, and memory is bounded."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import time
import tracemalloc
from collections.abc import Callable, Iterator

import pytest

import iris_admin
from iris_admin.errors import (
    CallTimeout,
    ConnectError,
    EpmdUnreachable,
    IrisAdminError,
    NodeDown,
    ProtocolError,
    RemoteError,
)
from iris_admin.proto import connection as connection_module
from iris_admin.proto import framing
from iris_admin.proto.control import read as read_control
from iris_admin.proto.etf import encode_term
from iris_admin.proto.handshake import digest
from iris_admin.terms import Atom, Pid, Reference
from tests.support.failures import HTTP, SLACK
from tests.transport.peer import Script, peer

NAME = "db1@127.0.0.1"
COOKIE = "SECRET"
CONNECT_TIMEOUT = 0.8
CALL_TIMEOUT = 0.5
LONG = 30.0
NODE = Atom(NAME)
REMOTE = Pid(NODE, 90, 0, 7)
#: What one session may hold at its peak, in bytes. What the peer sends is far more.
MOST_MEMORY = 32 << 20

_random = random.Random(1)
#: Bytes that mean nothing at any step, or something else than they should.
GARBAGE = {
    "random": _random.randbytes(3000),
    "zeros": bytes(3000),
    "ones": b"\xff" * 3000,
    "http": HTTP,
    "a long length": b"\x7f\xff\xff\xff" + bytes(100),
    "one byte": b"x",
    "nothing": b"",
}
#: The same for ever.
ENDLESS = {f"endless {name}": data for name, data in GARBAGE.items() if len(data) > 1}


def receive_exactly(sock: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        piece = sock.recv(length - len(data))
        if not piece:
            raise ConnectionError
        data += piece
    return data


def receive_frame(sock: socket.socket, length_bytes: int) -> bytes:
    return receive_exactly(sock, int.from_bytes(receive_exactly(sock, length_bytes), "big"))


def send_frame(sock: socket.socket, body: bytes, length_bytes: int = 4) -> None:
    sock.sendall(len(body).to_bytes(length_bytes, "big") + body)


def message(control: object, *payload: object) -> bytes:
    return b"\x83D\0" + b"".join(map(encode_term, (control, *payload)))  # type: ignore[arg-type]


# The steps of a session; each goes on from the one before it.


def hello(sock: socket.socket) -> None:
    receive_frame(sock, 2)


def status(sock: socket.socket) -> None:
    hello(sock)
    name = b"3KXVFBSZJI4PX@127.0.0.1"
    send_frame(sock, b"snamed:" + struct.pack(">H", len(name)) + name + struct.pack(">I", 7), 2)


def challenge(sock: socket.socket) -> bytes:
    status(sock)
    send_frame(sock, struct.pack(">cQIIH", b"N", (1 << 64) - 1, 5, 7, len(NAME)) + NAME.encode(), 2)
    return receive_frame(sock, 2)


def joined(sock: socket.socket) -> None:
    reply = challenge(sock)
    send_frame(sock, b"a" + digest(COOKIE, int.from_bytes(reply[1:5], "big")), 2)


def called(sock: socket.socket) -> tuple[Reference, Pid]:
    """Joined, and a call's process is said to run; the reference and the pid of the call."""
    joined(sock)
    body = b""
    while not body:
        body = receive_frame(sock, 4)
    control, _ = read_control(body, 3)
    reference, caller = control[1], control[2]
    assert isinstance(reference, Reference)
    assert isinstance(caller, Pid)
    send_frame(sock, message((31, reference, caller, 1, REMOTE)))
    return reference, caller


def in_an_answer(sock: socket.socket) -> None:
    """The frame is right, and what tells whose answer it is; its value is not."""
    reference, caller = called(sock)
    beginning = message((24, REMOTE, caller)) + b"h\3" + encode_term(reference) + encode_term(Atom("return"))
    sock.sendall((len(beginning) + 1000).to_bytes(4, "big") + beginning)


def between_fragments(sock: socket.socket) -> None:
    _, caller = called(sock)
    send_frame(sock, b"\x83E" + struct.pack(">QQ", 1, 3) + b"\0" + encode_term((24, REMOTE, caller)) + b"h\3")
    send_frame(sock, b"\x83F" + struct.pack(">QQ", 1, 2) + b"a\1")


def at_a_tick(sock: socket.socket) -> None:
    called(sock)
    sock.sendall(bytes(8))


BEFORE_JOINING: dict[str, Callable[[socket.socket], object]] = {
    "hello": hello,
    "status": status,
    "challenge": challenge,
}
AFTER_JOINING: dict[str, Callable[[socket.socket], object]] = {
    "joined": joined,
    "called": called,
    "in an answer": in_an_answer,
    "between fragments": between_fragments,
    "at a tick": at_a_tick,
}


def sending(step: Callable[[socket.socket], object], data: bytes, *, endless: bool = False) -> Script:
    """A script that goes as far as to a step, then sends bytes, and waits for the client to hang up."""

    def script(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            step(sock)
            sock.sendall(data)
            while endless:
                sock.sendall(data * (65536 // len(data)))
            while sock.recv(65536):
                pass

    return script


@contextlib.contextmanager
def bounded_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MOST_MEMORY


def session(port: int, timeout: float = CALL_TIMEOUT) -> object:
    with iris_admin.connect(f"{NAME}:{port}", cookie=COOKIE, timeout=timeout, connect_timeout=CONNECT_TIMEOUT) as node:
        return node.call("erlang", "node")


def outcome(script: Script, timeout: float = CALL_TIMEOUT) -> IrisAdminError:
    """The error that a session with such a peer ends in, within its time-outs.

    :param timeout: of the call, in seconds; longer where a limit is to be reached first.
    """
    with peer(script) as server, bounded_memory():
        start = time.monotonic()
        with pytest.raises(IrisAdminError) as caught:
            session(server.port, timeout)
        assert time.monotonic() - start < CONNECT_TIMEOUT + timeout + SLACK
    assert str(caught.value).replace("\n", "").isprintable()
    return caught.value


def test_this_peer_can_be_joined() -> None:
    def script(sock: socket.socket) -> None:
        reference, caller = called(sock)
        send_frame(sock, message((24, REMOTE, caller), (reference, Atom("return"), 42)))
        while sock.recv(65536):
            pass

    with peer(script) as server:
        assert session(server.port) == 42


@pytest.mark.parametrize("garbage", [*GARBAGE, *ENDLESS])
def test_epmd(garbage: str) -> None:
    data = (GARBAGE | ENDLESS)[garbage]
    with peer(sending(lambda sock: sock.recv(100), data, endless=garbage in ENDLESS)) as server, bounded_memory():
        start = time.monotonic()
        with pytest.raises(EpmdUnreachable) as caught:
            iris_admin.connect(NAME, cookie=COOKIE, epmd_port=server.port, connect_timeout=CONNECT_TIMEOUT)
        assert time.monotonic() - start < CONNECT_TIMEOUT + SLACK
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("garbage", [*GARBAGE, *ENDLESS])
@pytest.mark.parametrize("step", BEFORE_JOINING)
def test_before_joining(step: str, garbage: str) -> None:
    data = (GARBAGE | ENDLESS)[garbage]
    error = outcome(sending(BEFORE_JOINING[step], data, endless=garbage in ENDLESS))
    assert isinstance(error, ConnectError), repr(error)
    assert error.node == NAME


@pytest.mark.parametrize("garbage", [*GARBAGE, *ENDLESS])
@pytest.mark.parametrize("step", AFTER_JOINING)
def test_after_joining(step: str, garbage: str) -> None:
    data = (GARBAGE | ENDLESS)[garbage]
    error = outcome(sending(AFTER_JOINING[step], data, endless=garbage in ENDLESS))
    assert isinstance(error, ProtocolError | NodeDown | CallTimeout | RemoteError), repr(error)
    assert error.node == NAME


class TestFloods:
    """What is right by itself, and is sent without an end."""

    def test_messages_that_never_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(framing, "MAX_MESSAGE", 4 << 20)

        def script(sock: socket.socket) -> None:
            with contextlib.suppress(OSError):
                joined(sock)
                for sequence in range(10_000_000):
                    send_frame(sock, b"\x83E" + struct.pack(">QQ", sequence, 1 << 60) + b"\0")

        error = outcome(script, LONG)
        assert isinstance(error, ProtocolError)
        assert "incomplete messages" in str(error)

    def test_questions_whose_answers_are_not_taken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connection_module, "MAX_OWED", 1 << 20)
        ping = message((6, REMOTE, Atom(""), Atom("rex")), (Atom("$gen_call"), (REMOTE, b"x" * 10_000), Atom("x")))

        def script(sock: socket.socket) -> None:
            with contextlib.suppress(OSError):
                joined(sock)
                while True:
                    send_frame(sock, ping)

        error = outcome(script, LONG)
        assert isinstance(error, ProtocolError)
        assert "does not take" in str(error)

    def test_monitors_of_a_call(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connection_module, "MAX_MONITORS", 1000)

        def script(sock: socket.socket) -> None:
            with contextlib.suppress(OSError):
                _, caller = called(sock)
                for number in range(1_000_000):
                    send_frame(sock, message((19, REMOTE, caller, Reference(NODE, 7, (number, 0, 0)))))

        error = outcome(script, LONG)
        assert isinstance(error, ProtocolError)
        assert "monitors us" in str(error)

    def test_ticks(self) -> None:
        def script(sock: socket.socket) -> None:
            with contextlib.suppress(OSError):
                called(sock)
                while True:
                    sock.sendall(bytes(65536))

        error = outcome(script, LONG)
        assert isinstance(error, ProtocolError)
        assert "ticks at once" in str(error)

    def test_messages_to_nobody(self) -> None:
        nobody = message((2, Atom(""), Pid(NODE, 1, 2, 3)), Atom("x"))
        frames = (len(nobody).to_bytes(4, "big") + nobody) * 1000

        def script(sock: socket.socket) -> None:
            with contextlib.suppress(OSError):
                called(sock)
                while True:
                    sock.sendall(frames)

        assert isinstance(outcome(script), CallTimeout)


class TestAnswers:
    """Answers of a shape that no node gives."""

    @pytest.mark.parametrize(
        "reason",
        [
            Atom("killed"),
            (Atom("x"),) * 5,
            b"\x1b[2J\xe2\x80\xae",
            Atom("\x1b]0;pwned\x07\u202e"),
        ],
    )
    def test_an_exit_that_is_no_answer(self, reason: object) -> None:
        def script(sock: socket.socket) -> None:
            with contextlib.suppress(OSError):
                _, caller = called(sock)
                send_frame(sock, message((24, REMOTE, caller), reason))
                while sock.recv(65536):
                    pass

        error = outcome(script)
        assert isinstance(error, RemoteError)
        assert error.reason == reason

    def test_one_that_nests_to_the_limit(self) -> None:
        nested = b"h\1" * 9_990 + b"j"

        def script(sock: socket.socket) -> None:
            with contextlib.suppress(OSError):
                _, caller = called(sock)
                send_frame(sock, message((24, REMOTE, caller)) + nested)
                while sock.recv(65536):
                    pass

        assert isinstance(outcome(script, LONG), RemoteError)

    def test_a_question_whose_answer_would_nest_too_deeply(self) -> None:
        # A process that is spawned exits with its arguments, some levels further down.
        control = (29, Reference(NODE, 7, (1, 2, 3)), REMOTE, REMOTE, (Atom("m"), Atom("f"), 1), [Atom("monitor")])
        question = message(control) + b"l\0\0\0\1" + b"h\1" * 9_998 + b"jj"

        def script(sock: socket.socket) -> None:
            with contextlib.suppress(OSError):
                called(sock)
                send_frame(sock, question)
                while sock.recv(65536):
                    pass

        error = outcome(script, LONG)
        assert isinstance(error, ProtocolError)
        assert "cannot be answered" in str(error)
