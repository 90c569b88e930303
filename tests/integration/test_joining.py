"""Joining a real node, by every kind of name, of ours and of its own."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

import iris_admin
from iris_admin.client import Node
from iris_admin.errors import ConfigError, CookieMismatch, HandshakeRefused, NodeDown, NodeNotFound
from iris_admin.node_name import short_host_name
from iris_admin.terms import Atom
from tests.integration.conftest import join
from tests.support.erlang import ErlangNode, NodeFactory

PROBE = "iris_admin_test_probe"


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ERL_EPMD_PORT", "IRIS_ADMIN_COOKIE", "IRIS_ADMIN_COOKIE_FILE"):
        monkeypatch.delenv(name, raising=False)


class TestNameOfTheNode:
    def test_long(self, probed_node: ErlangNode, connect: Callable[..., Node]) -> None:
        node = connect(probed_node)
        assert node.name == probed_node.name
        assert node.call("erlang", "node") == Atom(probed_node.name)

    def test_short(self, fresh_node: NodeFactory) -> None:
        erlang = fresh_node(f"short1@{short_host_name()}")
        for name in ("short1", erlang.name):
            with iris_admin.connect(name, cookie=erlang.cookie, epmd_port=erlang.epmd_port) as node:
                assert node.name == erlang.name
                assert node.call("erlang", "node") == Atom(erlang.name)
                assert (node.our_name or "").endswith(f"@{short_host_name()}")

    def test_localhost(self, fresh_node: NodeFactory, connect: Callable[..., Node]) -> None:
        node = connect(fresh_node("short2@localhost"))
        assert node.call("erlang", "node") == Atom("short2@localhost")

    @pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")
    def test_ipv6(self, fresh_node: NodeFactory) -> None:
        erlang = fresh_node("six1@::1", epmd="none")
        for name in (f"six1@[::1]:{erlang.port}",):
            with iris_admin.connect(name, cookie=erlang.cookie) as node:
                assert node.call("erlang", "node") == Atom("six1@::1")
                assert (node.our_name or "").endswith("@::1")

    def test_without_epmd(self, fresh_node: NodeFactory, connect: Callable[..., Node]) -> None:
        erlang = fresh_node(epmd="none")
        name, _, host = erlang.name.partition("@")
        # EPMD is not asked, so its port does not matter.
        with iris_admin.connect(f"{name}@{host}:{erlang.port}", cookie=erlang.cookie, epmd_port=1) as node:
            assert node.name == erlang.name
            assert node.ping() < 5

    def test_port_of_epmd_by_the_variable(self, probed_node: ErlangNode, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ERL_EPMD_PORT", str(probed_node.epmd_port))
        with iris_admin.connect(probed_node.name, cookie=probed_node.cookie) as node:
            assert node.ping() < 5
        # The option counts more.
        monkeypatch.setenv("ERL_EPMD_PORT", "1")
        join(probed_node).close()

    @pytest.mark.parametrize("port", ["x", "0", "65536", "-1"])
    def test_a_variable_that_is_no_port(self, port: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ERL_EPMD_PORT", port)
        with pytest.raises(ConfigError, match="ERL_EPMD_PORT"):
            iris_admin.connect("db1@127.0.0.1", cookie="x")

    def test_another_node_listens_on_that_port(self, probed_node: ErlangNode) -> None:
        with pytest.raises(HandshakeRefused, match=f"calls itself {probed_node.name}") as caught:
            iris_admin.connect(f"other@127.0.0.1:{probed_node.port}", cookie=probed_node.cookie)
        assert probed_node.name in (caught.value.hint or "")

    def test_the_name_has_the_wrong_host(self, probed_node: ErlangNode) -> None:
        name = probed_node.name.partition("@")[0]
        with pytest.raises(HandshakeRefused, match=f"calls itself {probed_node.name}"):
            iris_admin.connect(f"{name}@localhost", cookie=probed_node.cookie, epmd_port=probed_node.epmd_port)


class TestNameOfOurs:
    def test_it_is_given_and_given_back(self, probed_node: ErlangNode) -> None:
        names = set()
        for _ in range(5):
            with join(probed_node) as node:
                assert node.our_name is not None
                assert node.our_name.endswith("@127.0.0.1")
                names.add(node.our_name)
                name = node.our_name
            probed_node.evaluate(f"{PROBE}:gone('{name}')")
        assert len(names) == 1  # the node's pool has it again

    def test_we_are_hidden(self, probed_node: ErlangNode, connect: Callable[..., Node]) -> None:
        node = connect(probed_node)
        name = Atom(node.our_name or "")
        assert name in node.call("erlang", "nodes", Atom("hidden"))
        assert name not in node.call("erlang", "nodes")
        assert name not in node.call("erlang", "nodes", Atom("this"))

    def test_a_fixed_one(self, probed_node: ErlangNode, connect: Callable[..., Node]) -> None:
        node = connect(probed_node, name="iris_operator")
        assert node.our_name == "iris_operator@127.0.0.1"
        assert Atom("iris_operator@127.0.0.1") in node.call("erlang", "nodes", Atom("hidden"))
        assert node.capture("io", "put_chars", b"x") == (Atom("ok"), "x")

    def test_a_fixed_one_again(self, probed_node: ErlangNode) -> None:
        for _ in range(5):
            with join(probed_node, name="iris_operator") as node:
                assert node.ping() < 5

    def test_a_fixed_one_that_is_taken_is_taken_over(
        self, probed_node: ErlangNode, connect: Callable[..., Node]
    ) -> None:
        """As a node does that was restarted before the others have noticed."""
        first = connect(probed_node, name="iris_operator")
        waiting = first.submit(PROBE, "block")
        probed_node.evaluate(f"{PROBE}:blocked(1)")
        second = connect(probed_node, name="iris_operator")
        with pytest.raises(NodeDown):
            waiting.result(10)
        assert not first.is_connected
        assert second.ping() < 5
        assert probed_node.evaluate(f"{PROBE}:reasons(1)") == "[noconnection]"

    def test_two_operators_at_once(self, probed_node: ErlangNode, connect: Callable[..., Node]) -> None:
        first, second = connect(probed_node), connect(probed_node)
        assert first.our_name != second.our_name
        hidden = first.call("erlang", "nodes", Atom("hidden"))
        assert {first.our_name, second.our_name} <= set(hidden)
        held = first.submit(PROBE, "hold", 1)
        probed_node.evaluate(f"{PROBE}:blocked(1)")
        assert second.call("erlang", "abs", -2) == 2
        second.close()
        assert first.call("erlang", "abs", -3) == 3
        probed_node.evaluate(f"[Pid ! go_on || Pid <- {PROBE}:blocked(1)]")
        assert held.result(10) == 1
        probed_node.evaluate(f"{PROBE}:reasons(1)")


class TestCookie:
    def test_argument_file_variable_home(
        self, probed_node: ErlangNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def ping(**options: object) -> None:
            with iris_admin.connect(probed_node.name, epmd_port=probed_node.epmd_port, **options) as node:  # type: ignore[arg-type]
                assert node.ping() < 5

        ping(cookie=probed_node.cookie)
        ping(cookie_file=probed_node.cookie_file)
        monkeypatch.setenv("HOME", str(tmp_path))
        with pytest.raises(ConfigError, match="no cookie"):
            ping()
        monkeypatch.setenv("IRIS_ADMIN_COOKIE", probed_node.cookie)
        ping()
        monkeypatch.delenv("IRIS_ADMIN_COOKIE")
        monkeypatch.setenv("IRIS_ADMIN_COOKIE_FILE", str(probed_node.cookie_file))
        ping()
        monkeypatch.delenv("IRIS_ADMIN_COOKIE_FILE")
        monkeypatch.setenv("HOME", str(probed_node.home))
        ping()

    @pytest.mark.parametrize("cookie", [" blanks count  ", "!\"'~{}[]\\"])
    def test_a_file_is_read_as_the_node_reads_it(self, fresh_node: NodeFactory, cookie: str) -> None:
        erlang = fresh_node(cookie=cookie)
        with iris_admin.connect(erlang.name, cookie_file=erlang.cookie_file, epmd_port=erlang.epmd_port) as node:
            assert node.call("erlang", "get_cookie") == Atom(cookie)

    def test_the_wrong_one(self, probed_node: ErlangNode) -> None:
        with pytest.raises(CookieMismatch, match="does not share our cookie") as caught:
            iris_admin.connect(probed_node.name, cookie="WRONG", epmd_port=probed_node.epmd_port)
        error = caught.value
        assert (error.node, error.exit_code) == (probed_node.name, 77)
        assert probed_node.cookie not in f"{error} {error.hint}"
        assert "WRONG" not in f"{error} {error.hint}"

    def test_beyond_ascii(self, fresh_node: NodeFactory) -> None:
        # Not from a file, but the node itself may set it.
        erlang = fresh_node()
        erlang.evaluate("erlang:set_cookie('Grüße')")
        with iris_admin.connect(erlang.name, cookie="Grüße", epmd_port=erlang.epmd_port) as node:
            assert node.call("erlang", "get_cookie") == Atom("Grüße")


class TestNotThere:
    def test_the_other_names_are_told(self, probed_node: ErlangNode, erlang_node: ErlangNode) -> None:
        with pytest.raises(NodeNotFound, match="knows no node 'nobody'") as caught:
            iris_admin.connect("nobody@127.0.0.1", cookie="x", epmd_port=probed_node.epmd_port)
        here = probed_node.name.partition("@")[0]
        assert here in caught.value.registered
        assert here in str(caught.value)
        assert caught.value.node == "nobody@127.0.0.1"


@pytest.mark.skipif(not hasattr(os, "register_at_fork"), reason="no fork here")
def test_hosts_that_allow_only_some(fresh_node: NodeFactory) -> None:
    """``net_kernel:allow/1`` refuses us with a status of its own."""
    erlang = fresh_node()
    erlang.evaluate("net_kernel:allow(['friend@127.0.0.1'])")
    with pytest.raises(HandshakeRefused, match="not_allowed") as caught:
        join(erlang, name="stranger")
    assert caught.value.status == "not_allowed"
    assert "net_kernel:allow" in (caught.value.hint or "")
    with join(erlang, name="friend") as node:
        assert node.ping() < 5
