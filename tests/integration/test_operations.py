"""The operations on the demo cluster, held against what its nodes themselves say, past iris_admin."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import pytest
from demo_cluster import DemoCluster, DemoNode, WebSocketClient

import iris_admin
from iris_admin.cluster import Cluster
from iris_admin.errors import CallTimeout, NotApplicable, UnsafeOperation
from iris_admin.operations import offline
from iris_admin.operations.offline import pick_core, read_user_records
from iris_admin.operations.results import Table
from tests.support.demo import LogIn
from tests.support.erlang import ErlangNode, NodeFactory

ClusterWith = Callable[..., DemoCluster]
WebSocketLogIn = Callable[[DemoNode, str], WebSocketClient]


@contextmanager
def joined(demo: DemoCluster, seed: str | None = None, **options: Any) -> Iterator[Cluster]:
    """A connection to every node of a demo cluster."""
    with iris_admin.connect_cluster(
        seed or demo.seed, cookie_file=demo.cookie_file, epmd_port=demo.epmd_port, **options
    ) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def two_cores() -> Iterator[DemoCluster]:
    """Two cores that keep presence in Mnesia, and a hidden edge; this module alone has it."""
    with DemoCluster(cores=2, edges=1, hidden_edges=1, core_env={"presence_backend": "mnesia"}) as demo:
        yield demo


@pytest.fixture(params=["bucketed", "bare"])
def demo(request: pytest.FixtureRequest, demo_cluster_with: ClusterWith, demo_cluster: DemoCluster) -> DemoCluster:
    """A cluster of each scheme of keys."""
    if request.param == "bucketed":
        return demo_cluster
    return demo_cluster_with(schema="bare", redeliver_exported=False)


def quoted(user: str) -> str:
    return f'<<"{user}">>'


def number(node: DemoNode, expression: str) -> int:
    return int(node.evaluate(f"{expression}."))


class TestFigures:
    def test_memory(self, demo_cluster: DemoCluster) -> None:
        core = demo_cluster.cores[0]
        with joined(demo_cluster) as cluster:
            memory = cluster.seed.memory()
        assert memory.node == core.name
        assert memory.total == memory.processes + memory.system
        assert memory.code == number(core, "erlang:memory(code)")
        kinds = core.evaluate("[Kind || {Kind, _} <- erlang:memory()].").strip("[]").split(",")
        assert list(memory.to_dict()) == ["node", *kinds]
        truth = number(core, "erlang:memory(total)")
        assert truth / 1.5 < memory.total < truth * 1.5

    @pytest.mark.parametrize("index", [0, 1, 2])
    def test_stats(self, demo_cluster: DemoCluster, index: int) -> None:
        node = demo_cluster.nodes[index]
        with joined(demo_cluster) as cluster:
            stats = cluster.node(node.name).stats()
            uptime = number(node, "element(1, erlang:statistics(wall_clock))") / 1000
            processes = number(node, "erlang:system_info(process_count)")
            visible = number(node, "length(nodes(visible))")
            hidden = number(node, "length(nodes(hidden))")
        truth = {
            field: number(node, f"erlang:system_info({item})")
            for field, item in {
                "process_limit": "process_limit",
                "port_limit": "port_limit",
                "atom_limit": "atom_limit",
                "ets_limit": "ets_limit",
                "schedulers_online": "schedulers_online",
            }.items()
        }
        assert stats.to_dict() | truth == stats.to_dict()
        assert stats.role == node.role
        assert stats.otp_release == node.evaluate("erlang:system_info(otp_release).").strip('"')
        assert stats.erts_version == node.evaluate("erlang:system_info(version).").strip('"')
        assert 0 < stats.uptime <= uptime < stats.uptime + 10
        assert stats.processes is not None
        assert abs(stats.processes - processes) < 20
        assert stats.visible_nodes == visible
        # This client is connected, but no node of the cluster.
        assert stats.hidden_nodes == hidden - 1

    def test_every_node_at_once(self, demo_cluster: DemoCluster) -> None:
        with joined(demo_cluster) as cluster:
            for answers in (cluster.memory(), cluster.stats()):
                assert not answers.errors_by_node
                assert [answer.node for answer in answers.values()] == [node.name for node in demo_cluster.nodes]

    def test_role_is_found_by_what_runs_and_not_by_the_name(
        self, demo_cluster: DemoCluster, fresh_node: NodeFactory
    ) -> None:
        liar = fresh_node("iris_core9")
        with connected(liar) as node:
            assert node.role().role == "other"
        with joined(demo_cluster) as cluster:
            roles = [cluster.node(name).role() for name in cluster.nodes]
        assert [role.role for role in roles] == ["core", "edge", "edge"]
        assert (roles[0].iris_core, roles[0].iris_edge) == ("1.0.0", None)
        assert roles[0].mnesia is not None
        assert roles[1].mnesia is None

    def test_a_node_that_hangs_is_no_other_node_s_trouble(self, demo_cluster: DemoCluster) -> None:
        edge = demo_cluster.edges[0]
        with joined(demo_cluster, timeout=1.0) as cluster:
            demo_cluster.suspend_node(edge)
            try:
                answers = cluster.stats()
            finally:
                demo_cluster.resume_node(edge)
        assert set(answers.errors_by_node) == {edge.name}
        assert isinstance(answers[edge.name], CallTimeout)


@contextmanager
def connected(node: ErlangNode) -> Iterator[iris_admin.Node]:
    with iris_admin.connect(node.name, cookie_file=node.cookie_file, epmd_port=node.epmd_port) as joined:
        yield joined


def printed_by(node: DemoNode) -> str:
    """What ``mnesia:info/0`` prints on a node, into a file there."""
    answer = node.evaluate(
        'Leader = group_leader(), {ok, File} = file:open("printed", [write, {encoding, utf8}]), '
        "group_leader(File, self()), mnesia:info(), group_leader(Leader, self()), ok = file:close(File), "
        '{ok, Text} = file:read_file("printed"), base64:encode(Text).'
    )
    return base64.b64decode(answer[3:-3]).decode()


def without_counters(text: str) -> str:
    return re.sub(r"\d+ transactions committed, .* logged to disc", "", text)


class TestMnesia:
    def test_text_is_what_the_node_prints_itself(self, fresh_node: NodeFactory) -> None:
        erlang_node = fresh_node(mnesia=True)
        erlang_node.evaluate(
            "{atomic, ok} = mnesia:create_table(a_table_of_a_long_name, [{ram_copies, [node()]}, {index, [val]}]),"
            "{atomic, ok} = mnesia:transaction(fun() -> mnesia:write({a_table_of_a_long_name, 1, 2}) end)"
        )
        with connected(erlang_node) as node:
            text = node.mnesia_info().text
            before = len(erlang_node.output)
            erlang_node.evaluate("mnesia:info()")
        assert text is not None
        assert text.splitlines() == erlang_node.output[before:]

    def test_text_of_a_core_is_what_it_prints_itself(self, two_cores: DemoCluster) -> None:
        core = two_cores.cores[0]
        core.evaluate("{atomic, ok} = mnesia:create_table('größe', [{disc_only_copies, [node()]}]).")
        with joined(two_cores) as cluster:
            text = cluster.seed.mnesia_info().text
        assert text is not None
        assert without_counters(text) == without_counters(printed_by(core))
        assert "größe" in text

    def test_data(self, two_cores: DemoCluster) -> None:
        core = two_cores.cores[0]
        core.evaluate(
            "{atomic, ok} = mnesia:create_table(only_here, [{ram_copies, [node()]}, {index, [val]}]), "
            "[mnesia:dirty_write({only_here, N, N}) || N <- lists:seq(1, 5)], ok."
        )
        with joined(two_cores) as cluster:
            here, there = (cluster.node(node.name).mnesia_info() for node in two_cores.cores)
        names = tuple(node.name for node in two_cores.cores)
        assert here.node == core.name
        assert (here.running_nodes, here.stopped_nodes) == (names, ())
        assert here.version == core.evaluate("mnesia:system_info(version).").strip('"')
        assert here.directory == core.evaluate("mnesia:system_info(directory).").strip('"')
        assert here.commits == number(core, "mnesia:system_info(transaction_commits)")
        tables = {table.name: table for table in here.tables}
        known = core.evaluate("lists:sort(mnesia:system_info(tables)).").strip("[]").split(",")
        assert list(tables) == [name.strip("'") for name in known]
        for table in tables.values():
            assert table.rows == number(core, f"mnesia:table_info('{table.name}', size)")
        words = number(core, "mnesia:table_info(only_here, memory)")
        assert (tables["only_here"].rows, tables["only_here"].bytes) == (5, 8 * words)
        assert tables["only_here"].index == ("val",)
        assert tables["offline_msg"].disc_copies == tables["offline_msg"].active_on == names
        assert tables["offline_msg"].attributes == ("key", "timestamp", "msg")
        # The other core says that the table has no rows; it means that it has no copy.
        assert number(two_cores.cores[1], "mnesia:table_info(only_here, size)") == 0
        (remote,) = (table for table in there.tables if table.name == "only_here")
        assert (remote.storage, remote.rows, remote.bytes, remote.loaded) == ("remote", None, None, True)

    @pytest.mark.parametrize("index", [0, 1])
    def test_an_edge_is_refused_and_a_core_named(self, demo_cluster: DemoCluster, index: int) -> None:
        edge = demo_cluster.edges[index]
        with joined(demo_cluster) as cluster:
            with pytest.raises(NotApplicable, match="Mnesia does not run on") as caught:
                cluster.node(edge.name).mnesia_info()
        assert demo_cluster.cores[0].name in str(caught.value.hint)

    def test_a_node_without_mnesia_does_not_even_load_it(self, erlang_node: ErlangNode) -> None:
        with connected(erlang_node) as node, pytest.raises(NotApplicable):
            node.mnesia_info()
        assert erlang_node.evaluate("code:is_loaded(mnesia)") == "false"


class TestOffline:
    PAYLOADS = tuple(b"message %d" % number for number in range(20))

    def test_agrees_with_the_store(self, demo: DemoCluster, user: str) -> None:
        demo.store(user, self.PAYLOADS)
        with joined(demo, demo.edges[-1].name) as cluster:
            found = cluster.offline_show(user, payload=True)
        assert [message.payload for message in found.messages] == demo.stored(user) == list(self.PAYLOADS)
        assert found.scheme == demo.schema
        assert (found.total_records, found.total_messages, found.cut) == (20, 20, False)
        assert found.total_bytes == sum(map(len, self.PAYLOADS))
        assert found.messages[0].digest == sha256(self.PAYLOADS[0]).hexdigest()[:16]
        assert [waiting.rows for waiting in found.waiting] == [0]
        assert found.notes == ()

    def test_looking_changes_nothing(self, demo: DemoCluster, user: str) -> None:
        demo.store(user, self.PAYLOADS)
        with joined(demo) as cluster:
            for _ in range(2):
                assert cluster.offline_show(user).total_messages == 20
                assert len(cluster._run(read_user_records(user.encode(), demo.seed))) == 20
        assert demo.stored(user) == list(self.PAYLOADS)

    def test_buckets_batches_and_what_an_edge_stores(self, demo_cluster: DemoCluster, user: str) -> None:
        core = demo_cluster.cores[0]
        core.evaluate(f"{{atomic, ok}} = iris_core:set_bucket_count({quoted(user)}, 4).")
        demo_cluster.store(user, self.PAYLOADS)
        core.evaluate(
            f'iris_core:store_batch({quoted(user)}, [<<"one">>, <<255, 0>>]), '
            f'mnesia:dirty_write({{offline_msg, {{{quoted(user)}, 13}}, 1, <<"of an edge">>}}), '
            f"mnesia:dirty_write({{offline_msg, {quoted(user)}, 2, #{{a => 1}}}})."
        )
        with joined(demo_cluster) as cluster:
            found = cluster.offline_show(user, payload=True)
            records = cluster._run(read_user_records(user.encode(), core.name))
        assert (found.bucket_count, found.scheme) == (4, "both")
        assert found.total_messages == 24
        assert {key.bucket for key in found.keys} == {None, 0, 1, 2, 3, 13}
        assert found.messages[0].payload == b"of an edge"
        assert (found.messages[1].kind, found.messages[1].payload) == ("term", {iris_admin.Atom("a"): 1})
        assert {b"one", b"\xff\x00"} <= {message.payload for message in found.messages if message.kind == "binary"}
        assert sum(key.records for key in found.keys) == len(records)
        assert [message.timestamp for message in found.messages] == sorted(
            message.timestamp or 0 for message in found.messages
        )

    def test_rows_in_the_log_are_told_apart(self, demo_cluster_with: ClusterWith, user: str) -> None:
        demo = demo_cluster_with(core_env={"flush_interval_ms": "3600000"})
        core = demo.cores[0]
        core.evaluate("ok = iris_durable_batcher:force_flush().")
        core.evaluate(f'ok = iris_core:store_offline_durable({quoted(user)}, <<"hello">>).')
        with joined(demo) as cluster:
            before = cluster.offline_show(user)
            core.evaluate("ok = iris_durable_batcher:force_flush().")
            after = cluster.offline_show(user)
        assert (before.total_messages, before.waiting[0].rows) == (0, 1)
        assert (after.total_messages, after.waiting[0].rows) == (1, 0)

    def test_pages_fit_together(self, demo_cluster: DemoCluster, user: str, monkeypatch: pytest.MonkeyPatch) -> None:
        core = demo_cluster.cores[0]
        core.evaluate(
            f"[mnesia:dirty_write({{offline_msg, {{{quoted(user)}, N rem 5}}, N div 7, <<N:64>>}}) "
            "|| N <- lists:seq(1, 300)], ok."
        )
        told: list[str] = []
        with joined(demo_cluster, on_progress=told.append) as cluster:
            monkeypatch.setattr(offline, "PAGE_RECORDS", 50)
            records = cluster._run(read_user_records(user.encode(), core.name))
            monkeypatch.setattr(offline, "PAGE_BYTES", 1000)
            again = cluster._run(read_user_records(user.encode(), core.name))
            shown = cluster.offline_show(user, limit=60)
            monkeypatch.setattr(offline, "MAX_RECORDS", 299)
            with pytest.raises(UnsafeOperation, match="holds 300 records"):
                cluster._run(read_user_records(user.encode(), core.name))
        assert len(told) > 5
        assert sorted(int.from_bytes(record[3]) for record in records) == list(range(1, 301))
        assert [record[2] for record in records] == sorted(record[2] for record in records)
        assert tuple(again) == tuple(records)
        assert (len(shown.messages), shown.total_messages, shown.cut) == (60, 300, True)

    def test_the_reader_ends_rather_than_the_node(
        self, demo_cluster: DemoCluster, user: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        demo_cluster.cores[0].evaluate(
            f"[mnesia:dirty_write({{offline_msg, {{{quoted(user)}, 0}}, N, <<N:512>>}}) "
            "|| N <- lists:seq(1, 1000)], ok."
        )
        with joined(demo_cluster) as cluster:
            monkeypatch.setattr(offline, "_MAX_HEAP", 10_000)
            with pytest.raises(UnsafeOperation, match="without harm"):
                cluster.offline_show(user)
            assert cluster.seed.ping() < 10

    def test_a_user_whom_nobody_knows(self, demo_cluster: DemoCluster, user: str) -> None:
        with joined(demo_cluster) as cluster:
            found = cluster.offline_show(user)
        assert (found.total_messages, found.scheme, found.bucket_count, found.last_seen) == (0, None, None, None)
        assert found.messages == Table(offline.StoredMessage)

    def test_last_seen(self, demo_cluster: DemoCluster, user: str) -> None:
        demo_cluster.cores[0].evaluate(f"ok = iris_core:update_status({quoted(user)}, offline).")
        with joined(demo_cluster) as cluster:
            last_seen = cluster.offline_show(user).last_seen
        assert last_seen is not None
        assert abs(last_seen - number(demo_cluster.cores[0], "os:system_time(second)")) < 60

    def test_two_cores_with_one_store(self, two_cores: DemoCluster, user: str) -> None:
        two_cores.store(user, self.PAYLOADS)
        with joined(two_cores, two_cores.edges[0].name) as cluster:
            found = cluster.offline_show(user)
            assert cluster._run(pick_core(cluster.nodes)) in {core.name for core in two_cores.cores}
        assert (found.total_messages, found.notes) == (20, ())
        assert [waiting.core for waiting in found.waiting] == [core.name for core in two_cores.cores]

    def test_an_edge_alone(self, demo_cluster: DemoCluster) -> None:
        edge = demo_cluster.edges[0]
        with joined(demo_cluster) as cluster:
            with pytest.raises(NotApplicable, match="edge"):
                cluster._run(offline.offline_show("bob", [edge.name]))


class TestPresence:
    def test_tcp(self, demo_cluster: DemoCluster, user: str, log_in: LogIn) -> None:
        edge = demo_cluster.edges[0]
        log_in(edge, user)
        wait_for_registration(demo_cluster, user)
        with joined(demo_cluster) as cluster:
            found = cluster.presence_show(user)
        (connection,) = found.connections
        assert found.online is True
        assert (connection.node, connection.kind, connection.alive, connection.problem) == (
            edge.name,
            "tcp",
            True,
            None,
        )
        assert connection.initial_call == "iris_edge_conn:init/1"
        (truth,) = re.findall(
            r"<0\.(\d+)\.", edge.evaluate(f"[Pid || {{_, Pid}} <- ets:lookup(local_presence_v2, {quoted(user)})].")
        )
        assert connection.pid.id == int(truth)
        (belief,) = found.beliefs
        assert (belief.verdict, belief.online, belief.backend) == ("agrees", True, "ets")
        assert (belief.edge, belief.pid) == (edge.name, connection.pid)
        assert belief.age is not None
        assert 0 <= belief.age < 30

    def test_websocket_on_a_hidden_edge(
        self, demo_cluster: DemoCluster, user: str, log_in_by_websocket: WebSocketLogIn
    ) -> None:
        edge = demo_cluster.edges[1]
        assert edge.hidden
        log_in_by_websocket(edge, user)
        with joined(demo_cluster) as cluster:
            (connection,) = cluster.presence_show(user).connections
        assert (connection.node, connection.kind) == (edge.name, "websocket")

    def test_two_edges_at_once(
        self, demo_cluster: DemoCluster, user: str, log_in: LogIn, log_in_by_websocket: WebSocketLogIn
    ) -> None:
        log_in(demo_cluster.edges[0], user)
        log_in_by_websocket(demo_cluster.edges[1], user)
        with joined(demo_cluster) as cluster:
            found = cluster.presence_show(user)
        assert [connection.kind for connection in found.connections] == ["tcp", "websocket"]
        assert all("more than once" in str(connection.problem) for connection in found.connections)

    def test_offline(self, demo: DemoCluster, user: str) -> None:
        with joined(demo) as cluster:
            found = cluster.presence_show(user)
        assert found.online is False
        assert not found.connections
        assert [belief.verdict for belief in found.beliefs] == ["agrees"]

    def test_stale_entries(self, demo_cluster: DemoCluster, user: str) -> None:
        edge, core = demo_cluster.edges[0], demo_cluster.cores[0]
        edge.evaluate(
            "{Pid, Monitor} = spawn_monitor(fun() -> ok end), receive {'DOWN', Monitor, _, _, _} -> ok end, "
            f"ets:insert(local_presence_v2, {{{quoted(user)}, Pid}}), "
            f"rpc:call('{core.name}', iris_presence, register, [{quoted(user)}, node(), Pid])."
        )
        with joined(demo_cluster) as cluster:
            found = cluster.presence_show(user)
        assert found.online is False
        assert (found.connections[0].alive, found.connections[0].kind) == (False, None)
        assert [belief.verdict for belief in found.beliefs] == ["stale"]
        edge.evaluate(f"ets:delete(local_presence_v2, {quoted(user)}).")

    def test_looking_does_not_remove_an_expired_entry(
        self, demo_cluster_with: ClusterWith, user: str, log_in: LogIn
    ) -> None:
        demo = demo_cluster_with(core_env={"presence_expiry_ms": "-1"})
        core = demo.cores[0]
        log_in(demo.edges[0], user)
        # Its own cleaning, every 5 s, might be quicker than we are.
        core.evaluate("ok = sys:suspend(iris_presence).")
        try:
            core.evaluate(f"Pid = self(), iris_presence:register({quoted(user)}, '{demo.edges[0].name}', Pid).")
            with joined(demo) as cluster:
                verdicts = [cluster.presence_show(user).beliefs[0].verdict for _ in range(2)]
            assert verdicts == ["expired", "expired"]
            assert number(core, f"length(ets:lookup(presence_local, {quoted(user)}))") == 1
        finally:
            core.evaluate("ok = sys:resume(iris_presence).")

    def test_presence_in_mnesia(self, two_cores: DemoCluster, user: str, log_in: LogIn) -> None:
        log_in(two_cores.edges[0], user)
        two_cores.cores[0].evaluate(
            f"Wait = fun Wait() -> case mnesia:dirty_read(presence, {quoted(user)}) of [] -> "
            "receive {mnesia_table_event, _} -> Wait() after 10000 -> timeout end; _ -> ok end end, "
            "{ok, _} = mnesia:subscribe({table, presence, simple}), ok = Wait()."
        )
        with joined(two_cores) as cluster:
            found = cluster.presence_show(user)
        assert [(belief.backend, belief.verdict) for belief in found.beliefs] == [("mnesia", "agrees")] * 2

    def test_an_edge_that_hangs_leaves_it_open(self, demo_cluster: DemoCluster, user: str) -> None:
        edge = demo_cluster.edges[1]
        with joined(demo_cluster, timeout=1.0) as cluster:
            demo_cluster.suspend_node(edge)
            try:
                found = cluster.presence_show(user)
            finally:
                demo_cluster.resume_node(edge)
        assert found.online is None
        assert [silent.node for silent in found.cannot_tell] == [edge.name]


def wait_for_registration(demo: DemoCluster, user: str) -> None:
    """Wait until the core has an entry for a user who logs in; the edge sends it in a process of its own."""
    # There is no event to wait for: an ETS table tells nobody.
    demo.cores[0].evaluate(
        f"Wait = fun Wait(0) -> timeout; Wait(N) -> case ets:lookup(presence_local, {quoted(user)}) of "
        "[] -> timer:sleep(10), Wait(N - 1); _ -> ok end end, ok = Wait(1000)."
    )


class TestCluster:
    @pytest.mark.parametrize("index", [0, 1, 2])
    def test_is_found_from_any_of_its_nodes(self, demo_cluster: DemoCluster, index: int) -> None:
        # The hidden edge is connected to the core alone, and the core's list of visible nodes does not have it.
        with joined(demo_cluster, demo_cluster.nodes[index].name) as cluster:
            assert cluster.nodes == tuple(sorted(node.name for node in demo_cluster.nodes))
            assert cluster.unreachable == {}
            cluster.refresh()
            assert len(cluster.nodes) == 3

    def test_another_administrator_is_a_guest_and_no_node(self, demo_cluster: DemoCluster) -> None:
        with joined(demo_cluster) as first, joined(demo_cluster) as second:
            assert first.nodes == second.nodes
            assert first.seed.our_name in second.guests

    def test_a_node_that_hangs_is_unreachable(self, demo_cluster: DemoCluster) -> None:
        edge = demo_cluster.edges[1]
        demo_cluster.suspend_node(edge)
        try:
            with joined(demo_cluster, connect_timeout=1.0) as cluster:
                assert set(cluster.unreachable) == {edge.name}
                assert edge.name in cluster.nodes
        finally:
            demo_cluster.resume_node(edge)


class TestTraces:
    """Nothing of us stays on a node."""

    COUNTS = (
        "{erlang:system_info(atom_count), length(code:all_loaded()), erlang:system_info(ets_count), "
        "erlang:system_info(port_count)}."
    )

    def test_no_operation_leaves_an_atom_a_module_or_a_table(
        self, demo_cluster: DemoCluster, user: str, log_in: LogIn
    ) -> None:
        log_in(demo_cluster.edges[0], user)
        demo_cluster.store(user, [b"hello"])

        def ask_everything(cluster: Cluster, name: str) -> None:
            cluster.memory()
            cluster.stats()
            cluster.offline_show(name)
            cluster.presence_show(name)
            for node in cluster.nodes:
                cluster.node(node).role()
                try:
                    cluster.node(node).mnesia_info()
                except NotApplicable:
                    assert "edge" in node

        with joined(demo_cluster) as cluster:
            ask_everything(cluster, user)
            before = [node.evaluate(self.COUNTS) for node in demo_cluster.nodes]
            ask_everything(cluster, f"{user} whom nobody knows")
            assert [node.evaluate(self.COUNTS) for node in demo_cluster.nodes] == before
