"""Which nodes a host's EPMD knows, and who answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from demo_cluster import DemoCluster

from iris_admin.discovery import FoundNode, find_nodes, hosts_around
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


def test_hosts_around(fresh_node: NodeFactory, erlang_epmd: Epmd) -> None:
    here, other = fresh_node(), fresh_node("elsewhere@127.0.0.2", flags=["-setcookie", "x"])
    here.evaluate(f"erlang:set_cookie('{other.name}', x), pong = net_adm:ping('{other.name}')")
    options = {"cookie": here.cookie, "epmd_port": erlang_epmd.port}
    assert hosts_around(here.name, **options) == ["127.0.0.1", "127.0.0.2"]
    assert hosts_around("unknown@127.0.0.3", connect_timeout=1, **options) == ["127.0.0.3"]
