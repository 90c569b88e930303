"""Where a connection fails, and what is said about it: one failure for each layer, on real nodes."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from iris_admin.cookie import Cookie
from iris_admin.errors import IrisAdminError, NodeDown
from iris_admin.node_name import NodeName
from iris_admin.records import replace
from iris_admin.transport.diagnosis import LAYERS, Layer, diagnose
from iris_admin.transport.dialing import Dialing
from tests.support.erlang import ErlangNode, NodeFactory, free_port


@pytest.fixture
def dialing(erlang_node: ErlangNode) -> Dialing:
    assert erlang_node.epmd_port is not None
    return Dialing(
        NodeName.parse(erlang_node.name), Cookie(erlang_node.cookie, "the test"), epmd_port=erlang_node.epmd_port
    )


def failed(dialing: Dialing) -> dict[str, Layer]:
    """Dial, and have the failure explained."""
    with pytest.raises(IrisAdminError) as caught:
        dialing.dial(time.monotonic() + dialing.connect_timeout)
    return explained(dialing, caught.value)


def explained(dialing: Dialing, error: IrisAdminError | None) -> dict[str, Layer]:
    layers = diagnose(dialing, error)
    assert tuple(layer.name for layer in layers) == LAYERS
    assert all(bool(layer.advice) == (layer.status == "failed") for layer in layers)
    assert dialing.cookie.value not in str(layers)
    return {layer.name: layer for layer in layers}


def statuses(layers: dict[str, Layer]) -> list[str]:
    return [layer.status for layer in layers.values()]


def stops_at(layer: str) -> list[str]:
    index = LAYERS.index(layer)
    return ["ok"] * index + ["failed"] + ["not reached"] * (len(LAYERS) - index - 1)


def test_all_is_well(dialing: Dialing, erlang_node: ErlangNode) -> None:
    layers = explained(dialing, None)
    assert statuses(layers) == ["ok"] * len(LAYERS)
    assert f"port {erlang_node.port}" in layers["registration"].detail
    assert layers["TCP"].detail == f"127.0.0.1:{erlang_node.port} accepts connections"
    assert layers["application"].detail == "running: kernel, stdlib"


def test_host_name(dialing: Dialing) -> None:
    layers = failed(replace(dialing, target=NodeName("db1", "nowhere.invalid")))
    assert statuses(layers) == stops_at("name resolution")
    assert "getent hosts nowhere.invalid" in layers["name resolution"].advice[0]


def test_no_epmd(dialing: Dialing) -> None:
    port = free_port()
    layers = failed(replace(dialing, epmd_port=port))
    assert statuses(layers) == stops_at("EPMD")
    assert layers["name resolution"].detail == "127.0.0.1 is 127.0.0.1"
    assert f"127.0.0.1:{port} does not answer: connection refused" in layers["EPMD"].detail


def test_what_listens_on_epmds_port_is_none(dialing: Dialing, erlang_node: ErlangNode) -> None:
    layers = failed(replace(dialing, epmd_port=erlang_node.port))
    assert statuses(layers) == stops_at("EPMD")
    assert "no reply of EPMD" in layers["EPMD"].detail


def test_unknown_node(dialing: Dialing, erlang_node: ErlangNode) -> None:
    layers = failed(replace(dialing, target=NodeName("unknown", "127.0.0.1")))
    assert statuses(layers) == stops_at("registration")
    name = erlang_node.name.partition("@")[0]
    assert f"{name} (port {erlang_node.port})" in layers["EPMD"].detail
    assert "knows no node 'unknown'" in layers["registration"].detail


def test_closed_port(dialing: Dialing) -> None:
    layers = failed(replace(dialing, target=NodeName("gone", "127.0.0.1", free_port())))
    assert statuses(layers) == ["ok", "not needed", "not needed", "failed", *["not reached"] * 3]
    assert "connection refused" in layers["TCP"].detail


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port that takes no more connections, as one behind a firewall that drops them."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def test_port_that_does_not_answer(dialing: Dialing, full_port: int) -> None:
    layers = failed(replace(dialing, target=NodeName("gone", "127.0.0.1", full_port), connect_timeout=0.3))
    assert layers["TCP"].status == "failed"
    assert "no answer in time" in layers["TCP"].detail


def test_suspended_node(dialing: Dialing, fresh_node: NodeFactory) -> None:
    node = fresh_node()
    node.suspend()
    layers = failed(replace(dialing, target=NodeName.parse(node.name), connect_timeout=0.3))
    assert statuses(layers) == stops_at("handshake")
    assert "did not finish the handshake" in layers["handshake"].detail


def test_no_node_listens_there(dialing: Dialing) -> None:
    layers = failed(replace(dialing, target=NodeName("db1", "127.0.0.1", dialing.epmd_port)))
    assert layers["handshake"].status == "failed"


def test_speaks_another_protocol(dialing: Dialing) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        target = NodeName("db1", "127.0.0.1", server.getsockname()[1])

        def greet() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"220 mail.example.com ESMTP ready, what can we do for you?\r\n" * 100)
                while connection.recv(4096):
                    pass

        thread = threading.Thread(target=greet)
        thread.start()
        layers = failed(replace(dialing, target=target))
        thread.join()
    assert layers["handshake"].status == "failed"
    assert "sent no handshake message" in layers["handshake"].detail


def test_other_name(dialing: Dialing, erlang_node: ErlangNode) -> None:
    layers = failed(replace(dialing, target=replace(dialing.target, host="localhost")))
    assert layers["handshake"].status == "failed"
    assert f"calls itself {erlang_node.name}" in layers["handshake"].detail


def test_wrong_cookie(dialing: Dialing, erlang_node: ErlangNode) -> None:
    wrong = Cookie("wrong", "/some/file")
    layers = failed(replace(dialing, cookie=wrong))
    assert statuses(layers) == stops_at("cookie")
    assert "/some/file" in layers["cookie"].detail
    assert wrong.fingerprint in layers["cookie"].detail
    # What it tells to type on the node shows a hash in the same notation.
    expression = layers["cookie"].advice[0].split()[0]
    shown = erlang_node.evaluate(expression)
    assert shown == f'<<"{dialing.cookie.fingerprint}">>'


def test_lost_link_has_the_node_dialled_again(dialing: Dialing, fresh_node: NodeFactory) -> None:
    node = fresh_node()
    lost = NodeDown("lost")
    there = replace(dialing, target=NodeName.parse(node.name), cookie=Cookie(node.cookie, "the test"))
    assert statuses(explained(there, lost)) == ["ok"] * len(LAYERS)
    node.kill()
    port = replace(there, target=NodeName(there.target.name, there.target.host, node.port))
    assert explained(port, lost)["TCP"].status == "failed"


def test_node_that_answers_no_call(dialing: Dialing, fresh_node: NodeFactory, otp_release: int) -> None:
    if otp_release >= 29:
        pytest.skip("the handshake of OTP 29 waits for the application controller, too")
    node = fresh_node()
    # Without its application controller no call of ours gets an answer; the kernel's listener goes on.
    node.evaluate("sys:suspend(application_controller)")
    there = replace(dialing, target=NodeName.parse(node.name), cookie=Cookie(node.cookie, "the test"))
    layers = explained(there, None)
    assert statuses(layers) == stops_at("application")
    assert "does not answer a call" in layers["application"].detail
    node.kill()


def test_cookie_is_described_even_where_it_was_not_reached(dialing: Dialing) -> None:
    layers = failed(replace(dialing, target=NodeName("unknown", "127.0.0.1")))
    assert layers["cookie"].status == "not reached"
    assert dialing.cookie.fingerprint in layers["cookie"].detail
