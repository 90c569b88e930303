"""Doors, tried: plain ones, EPMD, and WebSockets, whose greeting is never broken off."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest
from demo_cluster import DemoCluster, DemoNode, WebSocketClient

from iris_admin.operations.local_steps import Door
from iris_admin.transport.knock import knock
from tests.support.erlang import free_port
from tests.transport.peer import answering, peer, read_all

WebSocketLogIn = Callable[[DemoNode, str], WebSocketClient]

SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"


def test_doors_of_the_demo_cluster(demo_cluster: DemoCluster) -> None:
    edge = demo_cluster.edges[0]
    doors = [
        Door("localhost", edge.port),
        Door("127.0.0.1", edge.ws_port, "websocket"),
        Door("localhost", demo_cluster.epmd_port, "epmd"),
        Door("127.0.0.1", free_port()),
        Door("127.0.0.1", free_port(), "epmd"),
        Door("nowhere.invalid", 1),
    ]
    plain, websocket, epmd, closed, no_epmd, nowhere = knock(doors, 5)
    for open_door in (plain, websocket, epmd):
        assert open_door.seconds is not None
        assert open_door.problem is None
    assert epmd.names is not None
    assert set(epmd.names) == {node.name.partition("@")[0] for node in demo_cluster.nodes}
    assert (closed.seconds, closed.problem) == (None, "connection refused")
    assert "does not answer: connection refused" in str(no_epmd.problem)
    assert "cannot be resolved" in str(nowhere.problem)


def test_nobody_loses_a_connection_by_it(
    demo_cluster: DemoCluster, user: str, log_in_by_websocket: WebSocketLogIn
) -> None:
    edge = demo_cluster.edges[0]
    client = log_in_by_websocket(edge, user)
    listeners = edge.evaluate("supervisor:which_children(iris_edge_sup).")
    for _ in range(20):
        knock([Door("127.0.0.1", edge.port), Door("127.0.0.1", edge.ws_port, "websocket")] * 2, 5)
    assert edge.evaluate("supervisor:which_children(iris_edge_sup).") == listeners
    assert client.connected


def test_and_a_mere_connection_would_cost_everybody_theirs(user: str, log_in_by_websocket: WebSocketLogIn) -> None:
    """Why the greeting is never broken off; the real system does the same."""
    with DemoCluster(edges=1, hidden_edges=0) as cluster:
        client = log_in_by_websocket(cluster.edges[0], user)
        socket.create_connection(("127.0.0.1", cluster.edges[0].ws_port)).close()
        client.wait_closed(10)


def test_whole_greeting_is_sent_and_the_end_as_the_protocol_wants_it() -> None:
    received: list[bytes] = []

    def script(connection: socket.socket) -> None:
        head = connection.recv(4096)
        connection.sendall(SWITCHING)
        received.append(head + read_all(connection))

    with peer(script) as server:
        (outcome,) = knock([Door("127.0.0.1", server.port, "websocket")], 5)
    assert outcome.problem is None
    head, _, frame = received[0].partition(b"\r\n\r\n")
    assert b"Sec-WebSocket-Key: " in head
    assert frame == bytes([0x88, 0x80, 0, 0, 0, 0])


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "answers a WebSocket's greeting with 'HTTP/1.1 404 Not Found'"),
        (b"", "answers a WebSocket's greeting with ''"),
    ],
)
def test_what_is_no_websocket(answer: bytes, problem: str) -> None:
    with peer(answering(answer)) as server:
        (outcome,) = knock([Door("127.0.0.1", server.port, "websocket")], 5)
    assert outcome.seconds is not None
    assert outcome.problem == f"it accepts connections, but {problem}"


def test_silence() -> None:
    with peer(read_all) as server:
        (outcome,) = knock([Door("127.0.0.1", server.port, "websocket")], 0.2)
    assert "does not answer a WebSocket's greeting" in str(outcome.problem)


def test_all_at_the_same_time() -> None:
    with peer(read_all) as first, peer(read_all) as second:
        start = time.monotonic()
        outcomes = knock([Door("127.0.0.1", server.port, "websocket") for server in (first, second)], 0.5)
        assert time.monotonic() - start < 0.9
    assert all("in time" in str(outcome.problem) for outcome in outcomes)


def test_what_is_no_epmd() -> None:
    with peer(answering(b"HTTP/1.1 400 no\r\n")) as server:
        (outcome,) = knock([Door("127.0.0.1", server.port, "epmd")], 5)
    assert outcome.seconds is None
    assert "no line of EPMD's names" in str(outcome.problem)
