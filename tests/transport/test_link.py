"""A connection to a node that the test plays at the other end of a real socket: what no real node does on demand."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from hashlib import md5
from itertools import count
from queue import SimpleQueue
from typing import Any

import pytest

import iris_admin
from iris_admin.client import Node
from iris_admin.errors import CallTimeout, NodeDown, ProtocolError
from iris_admin.proto.events import CallEnded
from iris_admin.terms import Atom
from tests.proto.node_side import COOKIE, OUR_NAME, NodeSide, Signal, pid, reference
from tests.support.failures import SLACK

PEER = "db1@127.0.0.1"


def read_exactly(connection: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        piece = connection.recv(length - len(data))
        if not piece:
            raise OSError("the other side has closed")
        data += piece
    return data


def read_message(connection: socket.socket, length_bytes: int) -> bytes:
    return read_exactly(connection, int.from_bytes(read_exactly(connection, length_bytes), "big"))


def let_join(connection: socket.socket, then: bytes = b"") -> None:
    """The node's side of the handshake, and what it sends in one segment with the end of that."""
    read_message(connection, 2)
    status, challenge, _ = NodeSide.handshake_messages()
    for message in (status, challenge):
        connection.sendall(len(message).to_bytes(2, "big") + message)
    their_challenge = int.from_bytes(read_message(connection, 2)[1:5], "big")
    ack = b"a" + md5(f"{COOKIE}{their_challenge}".encode()).digest()
    connection.sendall(len(ack).to_bytes(2, "big") + ack + then)


def read_signal(connection: socket.socket) -> Signal | str:
    body = read_message(connection, 4)
    (signal,) = NodeSide().read(len(body).to_bytes(4, "big") + body)
    return signal


def answer(connection: socket.socket, value: Any) -> bytes:
    """Read a call; the bytes of its answer."""
    request = read_signal(connection)
    assert isinstance(request, Signal)
    _, request_id, client, *_ = request.control
    spawned = NodeSide.frame((31, request_id, client, 1, pid(9)))
    return spawned + NodeSide.frame((24, pid(9), client), (request.payload[0], Atom("return"), value))


def test_a_question_that_comes_with_the_end_of_the_handshake(played: Callable[..., Node]) -> None:
    """As from a process that waits for ``nodeup``. Nothing else is said for a quarter of a minute."""
    answers: SimpleQueue[Signal | str] = SimpleQueue()
    ping = (Atom("$gen_call"), (pid(5), reference(1)), (Atom("is_auth"), Atom(PEER)))

    def serve(connection: socket.socket) -> None:
        let_join(connection, NodeSide.frame((6, pid(5), Atom(""), Atom("net_kernel")), ping))
        answers.put(read_signal(connection))

    node = played(serve)
    assert node.our_name == OUR_NAME
    assert answers.get(timeout=SLACK) == Signal((2, Atom(""), pid(5)), (reference(1), Atom("yes")))


def test_a_question_after_a_call(played: Callable[..., Node]) -> None:
    """A caller has read the socket itself; then nobody calls, and the I/O thread reads again."""
    answers: SimpleQueue[Signal | str] = SimpleQueue()
    ping = (Atom("$gen_call"), (pid(5), reference(1)), (Atom("is_auth"), Atom(PEER)))

    def serve(connection: socket.socket) -> None:
        let_join(connection)
        for _ in range(2):
            for _ in range(3):
                connection.sendall(answer(connection, 42))
            answers.put(read_signal(connection))
            connection.sendall(NodeSide.frame((6, pid(5), Atom(""), Atom("net_kernel")), ping))
            answers.put(read_signal(connection))

    node = played(serve)
    for _ in range(2):
        assert [node.call("m", "f") for _ in range(3)] == [42] * 3
        waiting = node.submit("m", "f", timeout=SLACK)  # asked once more, and not answered
        assert isinstance(answers.get(timeout=SLACK), Signal)
        assert answers.get(timeout=SLACK) == Signal((2, Atom(""), pid(5)), (reference(1), Atom("yes")))
        waiting.cancel()


def test_a_question_when_nobody_calls_any_more(played: Callable[..., Node]) -> None:
    answers: SimpleQueue[Signal | str] = SimpleQueue()
    ping = (Atom("$gen_call"), (pid(5), reference(1)), (Atom("is_auth"), Atom(PEER)))
    called = threading.Event()

    def serve(connection: socket.socket) -> None:
        let_join(connection)
        connection.sendall(answer(connection, 42))
        called.wait(SLACK)
        connection.sendall(NodeSide.frame((6, pid(5), Atom(""), Atom("net_kernel")), ping))
        answers.put(read_signal(connection))

    node = played(serve)
    assert node.call("m", "f") == 42
    called.set()
    assert answers.get(timeout=SLACK) == Signal((2, Atom(""), pid(5)), (reference(1), Atom("yes")))


def test_what_has_come_is_answered_before_we_leave(played: Callable[..., Node]) -> None:
    """Iris's durable batcher takes a node that leaves with its question for one that holds its log."""
    go_on = threading.Event()
    answers: SimpleQueue[Signal | str | bytes] = SimpleQueue()
    ping = (Atom("$gen_call"), (pid(5), reference(1)), (Atom("is_auth"), Atom(PEER)))

    def serve(connection: socket.socket) -> None:
        let_join(connection)
        go_on.wait(SLACK)
        connection.sendall(NodeSide.frame((6, pid(5), Atom(""), Atom("net_kernel")), ping))
        answers.put(read_signal(connection))
        answers.put(connection.recv(1))

    node = played(serve)
    link = node._connector.link
    assert link is not None
    assert link._try_to_lead()  # so that no other thread reads it
    go_on.set()
    assert link._poll.poll(SLACK * 1000)
    node.close()
    assert answers.get(timeout=SLACK) == Signal((2, Atom(""), pid(5)), (reference(1), Atom("yes")))
    assert answers.get(timeout=SLACK) == b""


def test_nonsense_that_comes_with_the_end_of_the_handshake(played: Callable[..., Node]) -> None:
    def serve(connection: socket.socket) -> None:
        let_join(connection, b"\xff\xff\xff\xff")
        connection.recv(1)

    node = played(serve)
    assert not node.is_connected


def test_a_node_that_breaks_the_protocol_in_a_call(played: Callable[..., Node]) -> None:
    visits = count(1)

    def serve(connection: socket.socket) -> None:
        let_join(connection)
        if next(visits) == 1:
            read_signal(connection)
            connection.sendall(b"\0\0\0\5hello")
        else:
            connection.sendall(answer(connection, 42))
        connection.recv(1)

    node = played(serve)
    waiting = node.submit("m", "f")
    with pytest.raises(ProtocolError, match="no distribution message") as caught:
        waiting.result(10)
    assert caught.value.node == PEER
    assert not node.is_connected
    assert node.call("m", "f") == 42


def test_an_answer_byte_by_byte(played: Callable[..., Node]) -> None:
    def serve(connection: socket.socket) -> None:
        let_join(connection)
        stream = answer(connection, b"value")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in stream:
            connection.sendall(bytes((byte,)))
        connection.recv(1)

    assert played(serve).call("m", "f") == b"value"


def test_a_node_that_does_not_read(played: Callable[..., Node]) -> None:
    """What it does not take stays with us, and nobody waits for longer than they said."""
    go_on = threading.Event()

    def serve(connection: socket.socket) -> None:
        let_join(connection)
        go_on.wait(30)
        while connection.recv(1 << 20):
            pass

    node = played(serve)
    start = time.monotonic()
    futures = [node.submit("m", "f", bytes(8_000_000), timeout=0.5) for _ in range(3)]
    with pytest.raises(CallTimeout):
        node.call("m", "f", timeout=0.3)
    for future in futures:
        with pytest.raises(CallTimeout):
            future.result(10)
    assert time.monotonic() - start < 0.5 + SLACK
    assert node.is_connected
    waiting = node.submit("m", "f", timeout=30)
    go_on.set()
    node.close()
    with pytest.raises(NodeDown):
        waiting.result(10)


def test_a_node_that_hangs_up_while_we_send(played: Callable[..., Node]) -> None:
    def serve(connection: socket.socket) -> None:
        let_join(connection)
        connection.recv(1000)

    node = played(serve)
    with pytest.raises(NodeDown):
        node.call("m", "f", bytes(50_000_000), timeout=30)
    assert not node.is_connected


def test_what_it_said_last_is_heard(played: Callable[..., Node]) -> None:
    """An answer and then the end: the answer counts."""

    def serve(connection: socket.socket) -> None:
        let_join(connection)
        connection.sendall(answer(connection, b"last words"))

    node = played(serve)
    assert node.call("m", "f") == b"last words"


def test_what_was_read_is_told_by_who_has_read_it(played: Callable[..., Node]) -> None:
    """Not by the I/O thread, which minds the time: a caller that reads is woken by the socket, and by nothing else."""

    def serve(connection: socket.socket) -> None:
        let_join(connection)
        connection.recv(1)

    link: Any = played(serve)._connector.link
    ended = CallEnded(99, None, b"", 0, None)
    link._connection._events.append(ended)
    link.on_time(time.monotonic())
    assert link._connection.next_event() is ended


def test_a_refused_spawn(played: Callable[..., Node]) -> None:
    def serve(connection: socket.socket) -> None:
        let_join(connection)
        request = read_signal(connection)
        assert isinstance(request, Signal)
        connection.sendall(NodeSide.frame((31, request.control[1], request.control[2], 0, Atom("notsup"))))
        connection.recv(1)

    with pytest.raises(iris_admin.errors.RemoteError, match="could not be called: notsup") as caught:
        played(serve).call("m", "f")
    assert caught.value.kind == "erpc"
