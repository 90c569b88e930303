"""The usual call in C does what the connection does, and gives back whatever is not the usual answer."""

from __future__ import annotations

import contextlib
import errno
import gc
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_admin import client
from iris_admin.client import Node
from iris_admin.errors import CallTimeout, DecodeError, NodeDown, RemoteError
from iris_admin.proto import rpc
from iris_admin.proto.etf import decode_term, encode_term
from iris_admin.proto.events import CallEnded
from iris_admin.proto.rpc import Outcome, Returned
from iris_admin.terms import Atom, Term
from iris_admin.transport import exchanges
from tests.proto.compiled import compiled_exchange
from tests.proto.node_side import NodeSide, Signal, pid, reference
from tests.support.erlang import ErlangNode, NodeFactory
from tests.support.term_strategies import terms

RETURN = Atom("return")
ARGS = encode_term([1, b"two"])
#: What it receives at most, in bytes.
ROOM = 4096


class Scene:
    """A connection that knows the usual answers, and a socket to a node that the test plays."""

    def __init__(self) -> None:
        self.node = NodeSide()
        _, request = self.node.running_call(49)
        self.node.exited(request, 49, RETURN, 1)
        self.node.ended()
        self.socket, self.peer = socket.socketpair()
        self.socket.setblocking(False)
        begun = self.node.connection.begin_exchange()
        assert begun is not None
        self.pieces, self.creation, self.number = begun
        # What the connection itself would send for this call, and so what the node answers to.
        self.node.connection.take_back(self.number, 0.0)
        other = NodeSide()
        other.running_call(49)
        other.connection.call("m", "f", ARGS, 0.0)
        self.request = other.connection.data_to_send()
        (signal,) = other.read(self.request)
        assert isinstance(signal, Signal)
        self.signal = signal

    def __enter__(self) -> Scene:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
        self.peer.close()

    def answer(self, *reason: Term, ended: int = 50) -> bytes:
        """The two frames that answer the call, the end being that of another process, maybe."""
        _, request_id, client, *_ = self.signal.control
        told = NodeSide.frame((31, request_id, client, 1, pid(50)))
        return told + NodeSide.frame((24, pid(ended), client), (self.signal.payload[0], *reason))

    def exchange(self, looks: int = 1) -> bytes | tuple[bytes, int, bytes, int]:
        outcome: bytes | tuple[bytes, int, bytes, int] = compiled_exchange().exchange(
            self.socket.fileno(), self.pieces, self.creation, self.number, rpc.names("m", "f"), ARGS, looks
        )
        return outcome

    def ended(self, data: bytes) -> list[object]:
        """What the connection makes of the same bytes."""
        self.node.connection.receive_data(data, 0.0)
        events = self.node.events()
        return [event.outcome() if isinstance(event, CallEnded) else event for event in events]


def read(decode: Callable[[], Outcome]) -> object:
    """What decoding gives, whatever it is."""
    try:
        return decode()
    except DecodeError:
        return DecodeError


def test_the_request_is_that_of_the_connection() -> None:
    with Scene() as scene:
        assert scene.exchange() == (scene.request, len(scene.request), b"", 0)
        assert scene.peer.recv(65536) == scene.request


@given(terms())
def test_the_usual_answer(value: Term) -> None:
    with Scene() as scene:
        answer = scene.answer(RETURN, value)
        scene.peer.sendall(answer)
        outcome = scene.exchange()
        if len(answer) > ROOM:
            assert outcome == (scene.request, len(scene.request), answer[:ROOM], 0)
        else:
            assert outcome == encode_term(value)
        assert scene.ended(answer) == [Returned(value)]


@given(st.data())
def test_an_answer_that_is_cut_or_damaged(data: st.DataObject) -> None:
    with Scene() as scene:
        answer = scene.answer(RETURN, data.draw(st.binary(max_size=50), label="value"))
        if data.draw(st.booleans(), label="cut"):
            answer = answer[: data.draw(st.integers(0, len(answer)), label="where")]
        else:
            at = data.draw(st.integers(0, len(answer) - 1), label="where")
            answer = answer[:at] + bytes([data.draw(st.integers(0, 255), label="byte")]) + answer[at + 1 :]
        scene.peer.sendall(answer)
        outcome = scene.exchange()
        if isinstance(outcome, bytes):  # only the value is damaged, if anything
            scene.node.connection.receive_data(answer, 0.0)
            (event,) = scene.node.events()
            assert isinstance(event, CallEnded)
            assert read(lambda: Returned(decode_term(outcome)[0])) == read(event.outcome)
        else:
            assert outcome == (scene.request, len(scene.request), answer, 0)


@pytest.mark.parametrize(
    "other",
    ["error", "another process", "monitor", "more behind it", "a tick before it", "nothing"],
)
def test_any_other_answer_is_given_back(other: str) -> None:
    with Scene() as scene:
        usual = scene.answer(RETURN, 1)
        client = scene.signal.control[2]
        answer = {
            "error": scene.answer(Atom("throw"), 1),
            "another process": scene.answer(RETURN, 1, ended=51),
            "monitor": NodeSide.frame((19, pid(50), client, reference(1))) + usual,
            "more behind it": usual + b"\0\0\0\0",
            "a tick before it": b"\0\0\0\0" + usual,
            "nothing": b"",
        }[other]
        scene.peer.sendall(answer)
        assert scene.exchange() == (scene.request, len(scene.request), answer, 0)


def test_the_end_and_an_error_of_the_socket() -> None:
    with Scene() as scene:
        scene.peer.shutdown(socket.SHUT_WR)
        assert scene.exchange() == (scene.request, len(scene.request), b"", 0)
    with Scene() as scene:
        scene.peer.close()
        assert scene.exchange() == (scene.request, 0, b"", 0)  # whoever sends on meets it


def test_an_error_while_it_looks() -> None:
    with Scene() as scene, socket.create_server(("127.0.0.1", 0)) as server:
        scene.socket.close()
        scene.socket = socket.create_connection(server.getsockname())
        scene.socket.setblocking(False)
        peer, _ = server.accept()

        def reset() -> None:
            peer.recv(65536)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.close()

        resetting = threading.Thread(target=reset)
        resetting.start()
        outcome = scene.exchange(looks=100_000_000)
        resetting.join()
        assert outcome == (scene.request, len(scene.request), b"", errno.ECONNRESET)


def test_what_does_not_fit_into_the_socket_is_left() -> None:
    with Scene() as scene:
        with contextlib.suppress(BlockingIOError):
            while scene.socket.send(bytes(65536)):
                pass
        request, sent, data, error = scene.exchange()
        assert (request, data, error) == (scene.request, b"", 0)
        assert sent < len(request)


@pytest.mark.parametrize("arguments", [(), (0, (), 1, 1, b"", b"", 1), (0, [b""] * 10, 1, 1, b"", b"", 1)])
def test_arguments_of_another_kind(arguments: tuple[object, ...]) -> None:
    with pytest.raises(TypeError):
        compiled_exchange().exchange(*arguments)
    with Scene() as scene:
        usual = (scene.socket.fileno(), scene.pieces, scene.creation, scene.number, b"", b"", 1)
        for index, wrong in ((0, "a"), (1, (1,) * 10), (2, -1), (3, 2**70), (4, "a"), (5, bytearray()), (6, None)):
            with pytest.raises((TypeError, OverflowError)):
                compiled_exchange().exchange(*usual[:index], wrong, *usual[index + 1 :])


def test_no_memory_is_kept() -> None:
    with Scene() as scene:
        answer = scene.answer(RETURN, 1)

        def exchange() -> None:
            for data in (answer, answer[:30], b""):
                scene.peer.sendall(data)
                scene.exchange()
                scene.peer.recv(65536)

        exchange()
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(1000):
            exchange()
        gc.collect()
        assert abs(sys.getallocatedblocks() - before) < 100


def connect(erlang: ErlangNode) -> Node:
    return client.connect(erlang.name, cookie=erlang.cookie, epmd_port=erlang.epmd_port)


class TestLink:
    """With it and without, calls are what they are."""

    @pytest.fixture(params=["compiled", "in Python"], autouse=True)
    def way(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
        """What it gave, where it is there."""
        gave: list[object] = []

        def noting(*arguments: object) -> object:
            gave.append(compiled_exchange().exchange(*arguments))
            return gave[-1]

        found = noting if request.param == "compiled" else None
        monkeypatch.setattr(exchanges, "compiled_exchange", lambda: found)
        yield gave
        assert bool(gave) == (request.param == "compiled")

    def test_values(self, erlang_node: ErlangNode) -> None:
        with connect(erlang_node) as node:
            for _ in range(3):
                assert node.call("erlang", "node") == erlang_node.name
                assert node.call("lists", "seq", 1, 10_000) == list(range(1, 10_001))
                assert node.call("erlang", "byte_size", bytes(100_000)) == 100_000
                assert node.capture("io", "put_chars", [72, 105]) == (Atom("ok"), "Hi")

    def test_failures(self, erlang_node: ErlangNode) -> None:
        with connect(erlang_node) as node:
            node.call("erlang", "node")
            for _ in range(3):
                with pytest.raises(RemoteError, match="threw 1"):
                    node.call("erlang", "throw", 1)
                with pytest.raises(CallTimeout):
                    node.call("timer", "sleep", 60_000, timeout=0.1)
                assert node.call("erlang", "abs", -1) == 1

    def test_the_node_ends(self, fresh_node: NodeFactory) -> None:
        erlang = fresh_node()
        with connect(erlang) as node:
            node.call("erlang", "node")
            erlang.kill()
            with pytest.raises(NodeDown):
                node.call("erlang", "node")
