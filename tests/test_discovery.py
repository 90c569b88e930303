"""Which nodes a host's EPMD knows, and who answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from demo_cluster import DemoCluster

from iris_admin.discovery import FoundNode, find_cluster_nodes, find_nodes
from iris_admin.errors import EpmdUnreachable
from tests.support.erlang import Epmd, ErlangNode, NodeFactory, free_port


@pytest.fixture
def epmd() -> Epmd:
    return Epmd()


def by_name(epmd: Epmd, node: ErlangNode, host: str = "127.0.0.1") -> dict[str | None, FoundNode]:
    found = find_nodes(host, cookie=node.cookie, epmd_port=epmd.port, connect_timeout=2)
    return {row.node: row for row in found}


def test_each_node_says_who_it_is(demo_cluster: DemoCluster) -> None:
    found = find_nodes("localhost", cookie=demo_cluster.cookie, epmd_port=demo_cluster.epmd_port)
    assert [(row.node, row.role, row.answers, row.problem) for row in found] == [
        (node.name, node.role, True, None) for node in demo_cluster.nodes
    ]
    assert {row.otp_release for row in found} == {
        demo_cluster.cores[0].evaluate("erlang:system_info(otp_release).").strip('"')
    }


def test_host_by_another_name_than_the_nodes_have_it(demo_cluster: DemoCluster) -> None:
    found = find_nodes("127.0.0.1", cookie=demo_cluster.cookie, epmd_port=demo_cluster.epmd_port)
    assert [(row.host, row.node, row.role) for row in found] == [
        ("127.0.0.1", node.name, node.role) for node in demo_cluster.nodes
    ]


def test_who_does_not_answer(epmd: Epmd, fresh_node: NodeFactory) -> None:
    well, suspended, foreign = fresh_node(epmd=epmd), fresh_node(epmd=epmd), fresh_node(epmd=epmd)
    suspended.suspend()
    found = by_name(epmd, well)
    assert (found[well.name].answers, found[well.name].role) == (True, "other")
    assert found[suspended.name].answers is False
    assert "did not finish the handshake" in str(found[suspended.name].problem)
    # It does answer, although it does not let us in.
    assert (found[foreign.name].answers, found[foreign.name].role) == (True, None)
    assert "does not share our cookie" in str(found[foreign.name].problem)
    suspended.stop()
    epmd.stop()


def test_no_cookie_is_needed_for_the_list(
    erlang_node: ErlangNode, erlang_epmd: Epmd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "IRIS_ADMIN_COOKIE", "IRIS_ADMIN_COOKIE_FILE"):
        monkeypatch.delenv(name, raising=False)
    found = {row.node: row for row in find_nodes("127.0.0.1", epmd_port=erlang_epmd.port)}
    assert found[erlang_node.name].port == erlang_node.port
    assert found[erlang_node.name].answers is None
    assert "no cookie" in str(found[erlang_node.name].problem)


def test_host_without_epmd(erlang_epmd: Epmd) -> None:
    port = free_port()
    with pytest.raises(EpmdUnreachable):
        find_nodes("127.0.0.1", epmd_port=port)
    # One host of several is no reason to say nothing about the others.
    found = find_nodes("nowhere.invalid", "127.0.0.1", epmd_port=erlang_epmd.port, cookie="any")
    assert found[0].host == "nowhere.invalid"
    assert (found[0].node, found[0].answers) == (None, None)
    assert "cannot be resolved" in str(found[0].problem)


class TestCluster:
    def test_all_hosts(self, fresh_node: NodeFactory, erlang_epmd: Epmd) -> None:
        here, other = fresh_node(), fresh_node("elsewhere@127.0.0.2", flags=["-setcookie", "x"])
        here.evaluate(f"erlang:set_cookie('{other.name}', x), pong = net_adm:ping('{other.name}')")
        found = find_cluster_nodes(here.name, cookie=here.cookie, epmd_port=erlang_epmd.port)
        assert {row.host for row in found} == {"127.0.0.1", "127.0.0.2"}
        by_host = {(row.host, row.node): row.answers for row in found}
        assert by_host["127.0.0.1", here.name] is True
        # It has another cookie.
        assert by_host["127.0.0.2", other.name] is True

    def test_of_a_node_that_nobody_knows(self, erlang_epmd: Epmd, erlang_node: ErlangNode) -> None:
        options: dict[str, Any] = {"cookie": erlang_node.cookie, "epmd_port": erlang_epmd.port, "connect_timeout": 1}
        found = {row.node: row for row in find_cluster_nodes("unknown@127.0.0.1", **options)}
        assert found["unknown@127.0.0.1"].answers is False
        assert "knows no node 'unknown'" in str(found["unknown@127.0.0.1"].problem)
        assert found[erlang_node.name].answers is True

    def test_node_without_epmd(self, fresh_node: NodeFactory, erlang_epmd: Epmd) -> None:
        node = fresh_node(epmd="none")
        options: dict[str, Any] = {"cookie": node.cookie, "epmd_port": erlang_epmd.port}
        found = {row.node: row for row in find_cluster_nodes(f"{node.name}:{node.port}", **options)}
        assert found[node.name].answers is True
        assert found[node.name].problem == "the EPMD of 127.0.0.1 does not know it"

    def test_nodes_that_have_died_are_missed(self) -> None:
        with DemoCluster(cores=2, edges=2, hidden_edges=1) as demo:
            options: dict[str, Any] = {"cookie_file": demo.cookie_file, "epmd_port": demo.epmd_port}

            def answers(**more: Any) -> dict[str | None, bool | None]:
                return {row.node: row.answers for row in find_cluster_nodes(demo.seed, **options, **more)}

            first, second = demo.cores
            visible, hidden = demo.edges
            assert answers() == dict.fromkeys([first.name, second.name, visible.name, hidden.name], True)
            demo.kill_node(second)
            demo.kill_node(visible)
            assert answers() == {first.name: True, second.name: False, visible.name: False, hidden.name: True}
            # The one that is asked for is down itself, and one is expected of which nobody knows.
            demo.kill_node(first)
            found = answers(expected=("iris_edge3@localhost",))
            assert found[hidden.name] is True
            assert not any(found[name] for name in (first.name, second.name, "iris_edge3@localhost"))
            demo.kill_node(hidden)
            assert answers(expected=(second.name,)) == {first.name: False, second.name: False}

    def test_hidden_and_for_how_long(self, demo_cluster: DemoCluster) -> None:
        found = find_nodes("localhost", cookie=demo_cluster.cookie, epmd_port=demo_cluster.epmd_port)
        assert [row.hidden for row in found] == [getattr(node, "hidden", False) for node in demo_cluster.nodes]
        assert all(row.iris_version == "1.0.0" for row in found)
        for row, node in zip(found, demo_cluster.nodes, strict=True):
            up = "(erlang:monotonic_time() - erlang:system_info(start_time))"
            seconds = int(node.evaluate(f"erlang:convert_time_unit({up}, native, second)."))
            assert row.uptime is not None
            assert 0 <= seconds + 1 - row.uptime < 10
