"""Answers that are decoded while they come, whatever happens meanwhile."""

from __future__ import annotations

import gc
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import iris_admin
from iris_admin.client import Node
from iris_admin.errors import CallTimeout, DecodeError, IrisAdminError, NodeDown
from iris_admin.proto import etf
from iris_admin.proto.etf import encode_term
from iris_admin.terms import Atom, Term
from tests.proto.node_side import NodeSide, Signal, pid
from tests.support.erlang import ErlangNode
from tests.support.failures import SLACK
from tests.transport.test_link import let_join, read_signal

RETURN = Atom("return")
ROWS: list[Term] = [(Atom("row"), b"x" * 200, number) for number in range(20_000)]


@pytest.fixture
def joined(played: Callable[..., Node]) -> Callable[[Callable[[socket.socket], object]], Node]:
    """Connect to a node whose side is played by a function from the moment on at which we have joined."""

    def connect(serve: Callable[[socket.socket], object]) -> Node:
        def join_and_serve(connection: socket.socket) -> None:
            let_join(connection)
            serve(connection)

        return played(join_and_serve)

    return connect


@pytest.fixture
def early(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was decoded while it came; without the compiled codec that is nothing."""
    if etf.IMPLEMENTATION == "pure":
        pytest.skip("the pure codec decodes when all has come")
    found: list[object] = []

    def note(*arguments: Any) -> object:
        found.append(None)
        found[-1] = real(*arguments)
        return found[-1]

    real = etf.decode_coming
    monkeypatch.setattr("iris_admin.transport.link.decode_coming", note)
    return found


def begin(connection: socket.socket, number: int = 9) -> Signal:
    """Read a call, and answer by the pid of its process."""
    request = read_signal(connection)
    assert isinstance(request, Signal)
    _, request_id, client, *_ = request.control
    connection.sendall(NodeSide.frame((31, request_id, client, 1, pid(number))))
    return request


def ended(request: Signal, value: Term, number: int = 9) -> list[bytes]:
    """The frames of the answer."""
    return NodeSide().fragments(7, (24, pid(number), request.control[2]), (request.payload[0], RETURN, value))


def see_it_killed(connection: socket.socket, rest: list[bytes]) -> None:
    """Read that the call is over for us, send the rest of its answer all the same, and answer the next call by 42."""
    killed = read_signal(connection)
    assert isinstance(killed, Signal)
    assert killed.payload == "kill"
    connection.sendall(b"".join(rest))
    connection.sendall(b"".join(ended(begin(connection, 10), 42, 10)))
    connection.recv(1)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until that holds, or for ten seconds."""
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)


class Poll:
    """A poll object that tells when somebody waits on it, while an answer is decoded."""

    def __init__(self, real: Any, early: list[object]) -> None:
        self.is_waited_on = threading.Event()
        self._real = real
        self._early = early

    def poll(self, milliseconds: float) -> object:
        if self._early:
            self.is_waited_on.set()
        return self._real.poll(milliseconds)


def test_real_answers_of_all_sizes(erlang_node: ErlangNode, early: list[object]) -> None:
    with iris_admin.connect(erlang_node.name, cookie=erlang_node.cookie, epmd_port=erlang_node.epmd_port) as node:
        for count in (4000, 5000, 6000, 60_000):
            row = (Atom("row"), b"y" * 200, 2**62, 1.5, [1, 2, 300], {Atom("key"): True})
            found = node.call("lists", "duplicate", count, row)
            assert found == [row] * count
        # What is rare is decoded when all has come.
        assert node.call("lists", "duplicate", 20_000, (2**100, b"y" * 100)) == [(2**100, b"y" * 100)] * 20_000
        assert node.call("binary", "copy", b"z", 3_000_000) == b"z" * 3_000_000
        assert node.call("erlang", "node") == node.name
    assert len(early) >= 4
    assert None in early


def test_while_the_node_is_silent_the_collector_is_at_work(joined: Callable[..., Node], early: list[object]) -> None:
    seen: list[bool] = []

    def serve(connection: socket.socket) -> None:
        frames = ended(begin(connection), ROWS)
        connection.sendall(b"".join(frames[:30]))
        wait_until(lambda: bool(early) and gc.isenabled())
        seen.append(gc.isenabled())
        connection.sendall(b"".join(frames[30:]))
        connection.recv(1)

    assert joined(serve).call("m", "f", timeout=30) == ROWS
    assert seen == [True]
    (found,) = early
    assert found is not None


def test_with_the_pure_codec(erlang_node: ErlangNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etf, "_decode_coming", None)
    with iris_admin.connect(erlang_node.name, cookie=erlang_node.cookie, epmd_port=erlang_node.epmd_port) as node:
        assert node.call("lists", "duplicate", 20_000, b"y" * 200) == [b"y" * 200] * 20_000


def test_it_is_decoded_while_it_comes(joined: Callable[..., Node], early: list[object]) -> None:
    """The second half comes when the decoding of the first has begun."""

    def serve(connection: socket.socket) -> None:
        frames = ended(begin(connection), ROWS)
        connection.sendall(b"".join(frames[:30]))
        wait_until(lambda: bool(early))
        connection.sendall(b"".join(frames[30:]))
        connection.recv(1)

    assert joined(serve).call("m", "f") == ROWS
    (found,) = early
    assert found is not None


def test_others_get_their_answers_meanwhile(joined: Callable[..., Node], early: list[object]) -> None:
    """The long answer goes on when the short one has come."""
    short_is_there = threading.Event()

    def serve(connection: socket.socket) -> None:
        frames = ended(begin(connection), ROWS)
        connection.sendall(b"".join(frames[:30]))
        short = begin(connection, 10)
        connection.sendall(NodeSide.frame((24, pid(10), short.control[2]), (short.payload[0], RETURN, 42)))
        assert short_is_there.wait(10)
        connection.sendall(b"".join(frames[30:]))
        connection.recv(1)

    def call_shortly() -> None:
        wait_until(lambda: bool(early))
        assert node.call("m", "short") == 42
        short_is_there.set()

    node = joined(serve)
    other = threading.Thread(target=call_shortly)
    other.start()
    assert node.call("m", "f", timeout=30) == ROWS
    other.join()
    (found,) = early
    assert found is not None


def test_ctrl_c(joined: Callable[..., Node], early: list[object]) -> None:
    """The link stands, and who called next is answered."""

    def serve(connection: socket.socket) -> None:
        frames = ended(begin(connection), ROWS)
        connection.sendall(b"".join(frames[:30]))
        assert poll.is_waited_on.wait(10)
        os.kill(os.getpid(), signal.SIGINT)
        see_it_killed(connection, frames[30:])

    node = joined(serve)
    link: Any = node._connector.link
    poll = link._poll = Poll(link._poll, early)
    with pytest.raises(KeyboardInterrupt):
        node.call("m", "f", timeout=30)
    assert early == [None]
    assert node.is_connected
    assert node.call("m", "f") == 42


def test_a_time_out(joined: Callable[..., Node], early: list[object]) -> None:
    go_on = threading.Event()

    def serve(connection: socket.socket) -> None:
        frames = ended(begin(connection), ROWS)
        connection.sendall(b"".join(frames[:30]))
        assert go_on.wait(10)
        see_it_killed(connection, frames[30:])

    node = joined(serve)
    start = time.monotonic()
    with pytest.raises(CallTimeout):
        node.call("m", "f", timeout=0.3)
    assert time.monotonic() - start < 0.3 + SLACK
    assert early == [None]
    go_on.set()
    assert node.call("m", "f") == 42


@pytest.mark.parametrize("count", [20, 30, 60])
def test_a_node_that_hangs_up(joined: Callable[..., Node], count: int) -> None:
    def serve(connection: socket.socket) -> None:
        connection.sendall(b"".join(ended(begin(connection), ROWS)[:count]))

    node = joined(serve)
    with pytest.raises(NodeDown):
        node.call("m", "f", timeout=30)
    assert not node.is_connected


def test_a_node_that_breaks_the_protocol(joined: Callable[..., Node], early: list[object]) -> None:
    def serve(connection: socket.socket) -> None:
        connection.sendall(b"".join(ended(begin(connection), ROWS)[:30]) + b"\0\0\0\5hello")
        connection.recv(1)

    with pytest.raises(IrisAdminError, match="no distribution message"):
        joined(serve).call("m", "f", timeout=30)
    assert early == [None]


@pytest.mark.parametrize("wrong", [b"R", b"m\xff\xff\xff\xff", b"F\x7f\xf0\0\0\0\0\0\0", b""])
def test_an_answer_that_is_no_term(joined: Callable[..., Node], early: list[object], wrong: bytes) -> None:
    """It begins as one. The link stands, for the frames were in order."""

    def serve(connection: socket.socket) -> None:
        request = begin(connection)
        answer = encode_term((request.payload[0], RETURN, ROWS))[:-1] + wrong
        connection.sendall(b"".join(NodeSide.fragments_of(7, (24, pid(9), request.control[2]), answer)))
        connection.sendall(b"".join(ended(begin(connection, 10), 42, 10)))
        connection.recv(1)

    node = joined(serve)
    with pytest.raises(DecodeError) as caught:
        node.call("m", "f", timeout=30)
    assert caught.value.node == "db1@127.0.0.1"
    assert early == [None]
    assert node.call("m", "f") == 42
