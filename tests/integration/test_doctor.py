"""``doctor`` on faults made on purpose: each is found and named; and on a cluster in which all is well, nothing is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from demo_cluster import DemoCluster, DemoNode

import iris_admin
from iris_admin import aio
from iris_admin.discovery import connect_somewhere
from iris_admin.errors import NodeNotFound
from iris_admin.operations.checks.finding import Finding
from iris_admin.operations.checks.registry import CHECKS
from iris_admin.operations.doctor import Diagnosis
from tests.cli.support import invoke
from tests.support.demo import LogIn


@pytest.fixture(scope="module")
def cluster() -> Iterator[DemoCluster]:
    """Two cores, a visible and a hidden edge; each test leaves it as it was."""
    with DemoCluster(cores=2, edges=2, hidden_edges=1) as started:
        yield started


@pytest.fixture
def look(cluster: DemoCluster) -> Callable[..., Diagnosis]:
    """Join the cluster anew, and let the doctor look."""

    def diagnose(user: str | None = None, *, expected: tuple[str, ...] = ()) -> Diagnosis:
        options = {"cookie_file": cluster.cookie_file, "epmd_port": cluster.epmd_port}
        with connect_somewhere(cluster.seed, expected=expected, **options) as joined:
            return joined.doctor(user, expected=expected)

    return diagnose


def wrong(diagnosis: Diagnosis, verdict: str = "fail") -> list[Finding]:
    return [finding for finding in diagnosis.findings if finding.verdict == verdict]


def the_only(diagnosis: Diagnosis, check: str, verdict: str = "fail") -> Finding:
    found = wrong(diagnosis, verdict)
    assert [finding.check for finding in found] == [check], found
    return found[0]


@contextmanager
def killed(cluster: DemoCluster, node: DemoNode) -> Iterator[None]:
    cluster.kill_node(node)
    try:
        yield
    finally:
        cluster.restart_node(node)


class TestHealth:
    def test_nothing_is_wrong(self, cluster: DemoCluster, look: Callable[..., Diagnosis]) -> None:
        everybody = tuple(node.name for node in cluster.nodes)
        diagnosis = look(expected=everybody)
        assert diagnosis.is_healthy
        assert (wrong(diagnosis), wrong(diagnosis, "warn")) == ([], [])
        assert set(diagnosis.nodes) == set(everybody)
        assert {finding.check for finding in diagnosis.findings} == set(CHECKS) - {"user"}

    def test_what_looks_green_and_means_nothing_is_not_taken_for_health(self, look: Callable[..., Diagnosis]) -> None:
        unknown = {finding.check: finding.summary for finding in wrong(look(), "cannot tell")}
        assert set(unknown) == {"nodes", "quorum", "metrics"}
        assert "expected_nodes = []" in unknown["quorum"]
        assert "no list says which nodes should be there" in unknown["nodes"]

    def test_edges_are_not_asked_what_only_cores_can_tell(
        self, cluster: DemoCluster, look: Callable[..., Diagnosis]
    ) -> None:
        edges = {edge.name for edge in cluster.edges}
        asked = {finding.check for finding in look().findings if finding.node in edges}
        assert not asked & {"quorum", "mnesia", "write-ahead log", "backlog", "pressure"}

    def test_an_edge_whose_breaker_of_itself_is_open(
        self, cluster: DemoCluster, look: Callable[..., Diagnosis]
    ) -> None:
        edge = cluster.edges[1]
        edge.evaluate(
            "lists:foreach(fun(_) -> gen_server:cast(iris_circuit_breaker, {failure, node()}) end, lists:seq(1, 6)), "
            "iris_circuit_breaker:get_all_status()."
        )
        assert wrong(look(), "warn") == []

    def test_awaited(self, cluster: DemoCluster) -> None:
        async def diagnose() -> Diagnosis:
            options = {"cookie_file": cluster.cookie_file, "epmd_port": cluster.epmd_port}
            async with await aio.connect_cluster(cluster.seed, **options) as joined:
                return await joined.doctor("nobody")

        assert asyncio.run(diagnose()).is_healthy


class TestSevenFaults:
    @pytest.mark.parametrize("number", [0, 1], ids=["visible", "hidden"])
    def test_an_edge_that_was_killed(self, cluster: DemoCluster, look: Callable[..., Diagnosis], number: int) -> None:
        edge = cluster.edges[number]
        with killed(cluster, edge):
            finding = the_only(look(), "nodes")
            assert (finding.node, finding.level) == (edge.name, "P1")
            assert finding.summary.startswith("the edge is down")
            assert finding.evidence["role"] == "edge"
            assert look(expected=(edge.name,)).findings[0].node == edge.name

    def test_a_core_that_was_killed(self, cluster: DemoCluster, look: Callable[..., Diagnosis]) -> None:
        core = cluster.cores[1]
        with killed(cluster, core):
            finding = the_only(look(), "nodes")
            assert (finding.node, finding.level) == (core.name, "P1")
            assert finding.summary.startswith("the core is down")
            assert "Mnesia schema" in " ".join(finding.evidence["known"])

    def test_the_very_node_that_was_named(self, cluster: DemoCluster, look: Callable[..., Diagnosis]) -> None:
        with killed(cluster, cluster.cores[0]):
            assert the_only(look(), "nodes").node == cluster.seed
            options = {"cookie_file": cluster.cookie_file, "epmd_port": cluster.epmd_port}
            with pytest.raises(NodeNotFound):
                iris_admin.connect_cluster(cluster.seed, **options)

    def test_a_partition(self, cluster: DemoCluster, look: Callable[..., Diagnosis]) -> None:
        one, other = cluster.cores
        for here, there in ((one, other), (other, one)):
            here.evaluate(f"erlang:set_cookie('{there.name}', parted), erlang:disconnect_node('{there.name}').")
        try:
            for core in cluster.cores:  # as long as Mnesia takes to notice
                core.evaluate(
                    "Wait = fun Wait() -> case mnesia:system_info(running_db_nodes) of [_] -> ok; "
                    "_ -> timer:sleep(20), Wait() end end, Wait()."
                )
            finding = the_only(look(), "links")
            assert finding.level == "P0"
            assert finding.summary.startswith("partition:")
            assert "not connected to each other" in finding.summary
            assert finding.evidence["nodes"] == [one.name, other.name]
            # Connected again, Mnesia stays parted.
            for here, there in ((one, other), (other, one)):
                here.evaluate(f"erlang:set_cookie('{there.name}', erlang:get_cookie()).")
            one.evaluate(f"pong = net_adm:ping('{other.name}').")
            finding = the_only(look(), "links")
            assert "Mnesia has not joined them" in finding.summary
        finally:
            for here, there in ((one, other), (other, one)):
                here.evaluate(f"erlang:set_cookie('{there.name}', erlang:get_cookie()).")
            cluster.restart_node(other)

    def test_mnesia_that_was_stopped(self, cluster: DemoCluster, look: Callable[..., Diagnosis]) -> None:
        core = cluster.cores[1]
        core.evaluate("mnesia:stop().")
        try:
            finding = next(finding for finding in wrong(look()) if finding.check == "mnesia")
            assert (finding.node, finding.level) == (core.name, "P1")
            assert "Mnesia is stopped" in finding.summary
        finally:
            cluster.restart_node(core)

    def test_a_stale_presence_entry_of_a_core(
        self, cluster: DemoCluster, look: Callable[..., Diagnosis], user: str
    ) -> None:
        core, edge = cluster.cores[0], cluster.edges[1]
        number = edge.evaluate("Pid = spawn(fun() -> ok end), pid_to_list(Pid).").strip('"')
        # The same process as another node sees it.
        core.evaluate(
            f"[Pid] = [rpc:call('{edge.name}', erlang, list_to_pid, [\"{number}\"])], "
            f"iris_core:register_user(<<\"{user}\">>, '{edge.name}', Pid)."
        )
        try:
            finding = the_only(look(), "presence")
            assert (finding.node, finding.level) == (core.name, "P2")
            assert "stale" in finding.summary
            assert finding.evidence["users"] == [user]
            with_user = look(user)
            assert "user" in {finding.check for finding in wrong(with_user)}
        finally:
            core.evaluate(f'iris_presence:unregister(<<"{user}">>).')

    def test_a_stale_presence_entry_of_an_edge(
        self, cluster: DemoCluster, look: Callable[..., Diagnosis], user: str
    ) -> None:
        edge = cluster.edges[0]
        edge.evaluate(f'ets:insert(local_presence_v2, {{<<"{user}">>, spawn(fun() -> ok end)}}).')
        try:
            finding = the_only(look(), "presence")
            assert (finding.node, finding.evidence["stale"]) == (edge.name, 1)
        finally:
            edge.evaluate(f'ets:delete(local_presence_v2, <<"{user}">>).')

    def test_a_backlog_of_20_000_messages(
        self, cluster: DemoCluster, look: Callable[..., Diagnosis], user: str
    ) -> None:
        core = cluster.cores[0]
        core.evaluate(
            f'mnesia:dirty_write({{user_meta, <<"{user}">>, 16}}), '
            f'[mnesia:dirty_write({{offline_msg, {{<<"{user}">>, N rem 16}}, N, <<N:32>>}}) || '
            "N <- lists:seq(1, 20000)], ok."
        )
        try:
            finding = the_only(look(), "backlog")
            assert finding.level == "P2"
            assert finding.evidence["messages"] == 20_000
            assert f"20000 messages are stored for {user}" in finding.summary
            assert {finding.check for finding in wrong(look(user))} == {"backlog", "user"}
        finally:
            core.evaluate(f'[mnesia:dirty_delete(offline_msg, {{<<"{user}">>, B}}) || B <- lists:seq(0, 15)].')

    def test_a_mailbox_of_100_000_messages(self, cluster: DemoCluster, look: Callable[..., Diagnosis]) -> None:
        edge = cluster.edges[0]
        edge.evaluate(
            "register(hoarder, spawn(fun() -> receive stop -> ok end end)), "
            "lists:foreach(fun(N) -> hoarder ! N end, lists:seq(1, 100000))."
        )
        try:
            finding = the_only(look(), "mailboxes")
            assert (finding.node, finding.level) == (edge.name, "P1")
            assert finding.evidence["message_queue_len"] == 100_000
            assert finding.evidence["registered_name"] == "hoarder"
            assert finding.next is not None
            assert finding.evidence["pid"] in finding.next
        finally:
            edge.evaluate("exit(whereis(hoarder), kill).")


class TestOtherFaults:
    def test_a_node_that_hangs(self, cluster: DemoCluster, look: Callable[..., Diagnosis]) -> None:
        edge = cluster.edges[0]
        options = {"cookie_file": cluster.cookie_file, "epmd_port": cluster.epmd_port}
        with iris_admin.connect_cluster(cluster.seed, connect_timeout=1.0, **options) as joined:
            cluster.suspend_node(edge)
            try:
                finding = wrong(joined.doctor())[0]
            finally:
                cluster.resume_node(edge)
        assert (finding.check, finding.node) == ("nodes", edge.name)
        assert "hangs" in finding.summary

    def test_a_user_whom_the_cores_have_forgotten(
        self, cluster: DemoCluster, look: Callable[..., Diagnosis], log_in: LogIn, user: str
    ) -> None:
        log_in(cluster.edges[0], user)
        for core in cluster.cores:
            core.evaluate(f'iris_presence:unregister(<<"{user}">>).')
        finding = the_only(look(), "presence", "warn")
        assert "no core knows it" in finding.summary
        assert [finding.check for finding in wrong(look(user), "warn")] == ["presence", "user"]

    def test_an_edge_that_no_core_can_be_reached_from(
        self, cluster: DemoCluster, look: Callable[..., Diagnosis]
    ) -> None:
        edge, core = cluster.edges[1], cluster.cores[1]
        edge.evaluate(f"erlang:set_cookie('{core.name}', parted), erlang:disconnect_node('{core.name}').")
        core.evaluate(f"erlang:set_cookie('{edge.name}', parted).")
        try:
            finding = the_only(look(), "links")
            assert (finding.node, finding.evidence["not_connected"]) == (edge.name, [core.name])
        finally:
            edge.evaluate(f"erlang:set_cookie('{core.name}', erlang:get_cookie()).")
            core.evaluate(f"erlang:set_cookie('{edge.name}', erlang:get_cookie()).")
            edge.evaluate(f"pong = net_adm:ping('{core.name}').")


class TestOnlyEdge:
    def test_the_last_edge_is_missed_though_none_is_left_to_compare_it_with(self) -> None:
        with DemoCluster(cores=1, edges=1, hidden_edges=0) as cluster:
            cluster.kill_node(cluster.edges[0])
            options = {"cookie_file": cluster.cookie_file, "epmd_port": cluster.epmd_port}
            with iris_admin.connect_cluster(cluster.seed, **options) as joined:
                finding = the_only(joined.doctor(), "nodes")
        assert (finding.level, finding.evidence["remembered_by_epmd"]) == ("P0", [cluster.edges[0].name])


class TestCommand:
    def test_fields_are_stable(self, cluster: DemoCluster) -> None:
        result = invoke("doctor", "-o", "json", environment=cluster.environment)
        assert result.exit_code == 0, result.stderr
        document = json.loads(result.stdout)
        assert list(document) == ["verdict", "nodes", "seconds", "findings"]
        assert {tuple(finding) for finding in document["findings"]} == {
            ("check", "verdict", "level", "node", "summary", "evidence", "next")
        }

    def test_a_failure_is_shown_first_and_is_the_exit_code(self, cluster: DemoCluster) -> None:
        edge = cluster.edges[0]
        with killed(cluster, edge):
            result = invoke("doctor", environment=cluster.environment)
        assert result.exit_code == 69
        first, *_ = result.stdout.splitlines()
        assert first == (
            f"FAIL         P1  nodes on {edge.name}: the edge is down: its host's EPMD does not have it any more"
        )
