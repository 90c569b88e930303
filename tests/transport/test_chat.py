"""Our client of an edge, against edges of the demo, and against peers that play tricks."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator

import pytest
from demo_cluster import DemoCluster

from iris_admin.errors import ChatError
from iris_admin.operations.local_steps import ChatExchange, ChatLogIn, ChatLogOut, Exchanged
from iris_admin.transport.chat import ChatClient, exchange, perform_chat
from tests.support.erlang import free_port
from tests.transport.peer import Peer, answering, peer, read_all

OK = b"\x03LOGIN_OK"


def soon() -> float:
    return time.monotonic() + 10


def message(message_id: bytes, payload: bytes) -> bytes:
    return b"\x10" + struct.pack(">H", len(message_id)) + message_id + struct.pack(">I", len(payload)) + payload


def status(user: bytes) -> bytes:
    return b"\x06" + struct.pack(">H", len(user)) + user + b"\x01" + bytes(8)


@pytest.fixture
def log_in_to() -> Iterator[Callable[..., ChatClient]]:
    clients: list[ChatClient] = []

    def log_in(server: Peer, user: bytes = b"bob", timeout: float = 5.0) -> ChatClient:
        clients.append(ChatClient.log_in("127.0.0.1", server.port, user, timeout=timeout))
        return clients[-1]

    yield log_in
    for client in clients:
        client.close()


class TestOnAnEdge:
    def test_messages_are_delivered_and_acknowledged(self, demo_cluster: DemoCluster, user: str) -> None:
        edge = demo_cluster.edges[0]
        alice, bob = f"{user}-alice".encode(), f"{user}-bob".encode()
        with (
            ChatClient.log_in("127.0.0.1", edge.port, alice) as sender,
            ChatClient.log_in("127.0.0.1", edge.port, bob) as receiver,
        ):
            assert 0 < sender.login_seconds < 5
            outcome = exchange(sender, receiver, [b"one", b"", b"x" * 60_000], 10)
            assert (len(outcome.delivered), outcome.acknowledged, outcome.problem) == (3, 3, None)
            held = edge.evaluate(
                f'[{{_, Pid}}] = ets:lookup(local_presence_v2, <<"{bob.decode()}">>), '
                "{connected, Data} = sys:get_state(Pid), map_size(element(6, Data))."
            )
            assert held == "0"
        # Nothing was left to be stored when the connection ended.
        assert demo_cluster.stored(bob) == []

    def test_what_was_stored_arrives_behind_the_login(self, demo_cluster: DemoCluster, user: str) -> None:
        demo_cluster.store(user, [b"first", b"second"])
        with ChatClient.log_in("127.0.0.1", demo_cluster.edges[0].port, user.encode()) as client:
            assert [client.receive(soon()).payload for _ in range(2)] == [b"first", b"second"]

    def test_by_steps(self, demo_cluster: DemoCluster, user: str) -> None:
        ends = [
            perform_chat(ChatLogIn("localhost", demo_cluster.edges[0].port, name, None, False, 5))
            for name in (f"{user}-1".encode(), f"{user}-2".encode())
        ]
        sender, receiver = ends
        assert isinstance(sender, ChatClient)
        assert isinstance(receiver, ChatClient)
        outcome = perform_chat(ChatExchange(sender, receiver, (b"hello",), 10))
        assert isinstance(outcome, Exchanged)
        assert outcome.acknowledged == 1
        for end in (sender, receiver):
            assert perform_chat(ChatLogOut(end)) is None
            end.close()  # may be closed more than once
        with pytest.raises(TypeError, match="no session of ours"):
            perform_chat(ChatLogOut("bob"))  # type: ignore[arg-type]


class TestLogin:
    def test_packet(self, log_in_to: Callable[..., ChatClient]) -> None:
        received: list[bytes] = []

        def script(connection: socket.socket) -> None:
            received.append(connection.recv(100))
            connection.sendall(OK)
            received.append(read_all(connection))

        with peer(script) as server:
            log_in_to(server, b"bob").close()
        assert received == [b"\x01bob", b""]

    def test_with_a_token(self) -> None:
        received: list[bytes] = []

        def script(connection: socket.socket) -> None:
            received.append(connection.recv(100))
            connection.sendall(OK)

        with peer(script) as server:
            ChatClient.log_in("127.0.0.1", server.port, b"bob", token=b"a.b.c").close()
        assert received == [b"\x01bob:a.b.c"]

    def test_answer_in_pieces(self, log_in_to: Callable[..., ChatClient]) -> None:
        def script(connection: socket.socket) -> None:
            connection.recv(100)
            for byte in OK + message(b"id", b"payload"):
                connection.sendall(bytes([byte]))
            read_all(connection)

        with peer(script) as server:
            client = log_in_to(server)
            assert client.receive(soon()) == (b"id", b"payload")
            client.close()

    @pytest.mark.parametrize("answer", [b"AUTH_FAILED", b"RATE_LIMITED", b"\x03LOGIN_NO"])
    def test_refused(self, answer: bytes, log_in_to: Callable[..., ChatClient]) -> None:
        with (
            peer(answering(answer)) as server,
            pytest.raises(ChatError, match="the edge refuses the log-in") as raised,
        ):
            log_in_to(server)
        assert raised.value.reached

    def test_hung_up(self, log_in_to: Callable[..., ChatClient]) -> None:
        with (
            peer(lambda connection: connection.recv(100)) as server,
            pytest.raises(ChatError, match="the edge hung up"),
        ):
            log_in_to(server)

    def test_silence(self, log_in_to: Callable[..., ChatClient]) -> None:
        with (
            peer(read_all) as server,
            pytest.raises(ChatError, match="does not answer the log-in in time"),
        ):
            log_in_to(server, timeout=0.1)

    def test_nobody_there(self) -> None:
        with pytest.raises(ChatError, match="does not accept the connection: connection refused") as raised:
            ChatClient.log_in("127.0.0.1", free_port(), b"bob")
        assert not raised.value.reached

    def test_host_that_does_not_resolve(self) -> None:
        with pytest.raises(ChatError, match="cannot be resolved") as raised:
            ChatClient.log_in("nowhere.invalid", 1, b"bob")
        assert not raised.value.reached

    @pytest.mark.parametrize(("user", "token"), [(b"a:b", None), (b"x" * 257, None), (b"bob", b"t" * 253)])
    def test_names_that_no_edge_takes(self, user: bytes, token: bytes | None) -> None:
        with pytest.raises(ChatError, match="no edge takes this log-in"):
            ChatClient.log_in("127.0.0.1", free_port(), user, token=token)


class TestAcknowledging:
    def test_nothing_is_sent_behind_an_acknowledgement(self, log_in_to: Callable[..., ChatClient]) -> None:
        received: list[bytes] = []

        def script(connection: socket.socket) -> None:
            connection.recv(100)
            connection.sendall(OK + message(b"1", b"a") + message(b"2", b"b"))
            for _ in range(2):
                received.append(connection.recv(100))
                connection.sendall(status(b"bob"))
            read_all(connection)

        with peer(script) as server:
            client = log_in_to(server)
            for _ in range(2):
                client.acknowledge(client.receive(soon()).message_id, soon())
            client.close()
        question = b"\x05\x00\x03bob"
        assert received == [question + b"\x031", question + b"\x032"]

    def test_messages_may_arrive_while_the_edge_answers(self, log_in_to: Callable[..., ChatClient]) -> None:
        def script(connection: socket.socket) -> None:
            connection.recv(100)
            connection.sendall(OK + message(b"1", b"a"))
            connection.recv(100)
            connection.sendall(message(b"2", b"b") + status(b"bob"))
            read_all(connection)

        with peer(script) as server:
            client = log_in_to(server)
            client.acknowledge(client.receive(soon()).message_id, soon())
            assert client.receive(soon()).payload == b"b"
            client.close()

    def test_edge_that_does_not_answer(self, log_in_to: Callable[..., ChatClient]) -> None:
        def script(connection: socket.socket) -> None:
            connection.recv(100)
            connection.sendall(OK + message(b"1", b"a"))
            read_all(connection)

        with peer(script) as server:
            client = log_in_to(server)
            received = client.receive(soon())
            with pytest.raises(ChatError, match="the edge does not answer in time"):
                client.acknowledge(received.message_id, time.monotonic() + 0.05)
            client.close()


class TestExchange:
    def test_earlier_messages_are_acknowledged_and_do_not_count(self, log_in_to: Callable[..., ChatClient]) -> None:
        def script(connection: socket.socket) -> None:
            if connection.recv(100) == b"\x01bob":
                connection.sendall(OK + message(b"0", b"from before") + message(b"1", b"now"))
                for _ in range(2):
                    connection.recv(100)
                    connection.sendall(status(b"bob"))
            else:
                connection.sendall(OK)
            read_all(connection)

        with peer(script) as alices, peer(script) as bobs:
            sender, receiver = log_in_to(alices, b"alice"), log_in_to(bobs, b"bob")
            outcome = exchange(sender, receiver, [b"now"], 10)
            assert (len(outcome.delivered), outcome.acknowledged, outcome.problem) == (1, 1, None)
            for client in (sender, receiver):
                client.close()

    @pytest.mark.parametrize(
        ("behind", "problem"),
        [
            (b"\xff\x00\x00\x00\x0a", "the edge's rate limit refuses the message"),
            (b"\xfe\x00\x05error", "the edge says what is not in the protocol"),
            (b"", "no message arrived in time"),
        ],
    )
    def test_what_ends_it(self, behind: bytes, problem: str, log_in_to: Callable[..., ChatClient]) -> None:
        def script(connection: socket.socket) -> None:
            connection.recv(100)
            connection.sendall(OK + behind)
            read_all(connection)

        with peer(script) as alices, peer(script) as bobs:
            sender, receiver = log_in_to(alices, b"alice"), log_in_to(bobs, b"bob")
            outcome = exchange(sender, receiver, [b"one", b"two"], 0.1)
            assert (outcome.delivered, outcome.acknowledged) == ((), 0)
            assert str(outcome.problem).startswith(problem)
            for client in (sender, receiver):
                client.close()
