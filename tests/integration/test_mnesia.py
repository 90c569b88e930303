"""Mnesia across two cores: copies, state, locks, transactions; and what goes wrong with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from demo_cluster import DemoCluster, DemoNode

import iris_admin
from iris_admin.cluster import Cluster
from iris_admin.errors import NotApplicable
from iris_admin.operations import mnesia_locks as locks_module


@contextmanager
def joined(demo: DemoCluster) -> Iterator[Cluster]:
    """A connection to every node of a demo cluster."""
    with iris_admin.connect_cluster(demo.seed, cookie_file=demo.cookie_file, epmd_port=demo.epmd_port) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def demo() -> Iterator[DemoCluster]:
    """Two cores and an edge; the tests leave them as they were."""
    with DemoCluster(cores=2, edges=1, hidden_edges=0) as cluster:
        yield cluster


@pytest.fixture
def fresh_demo() -> Iterator[DemoCluster]:
    """The same, for one test alone."""
    with DemoCluster(cores=2, edges=1, hidden_edges=0) as cluster:
        yield cluster


@contextmanager
def transaction(core: DemoNode, body: str) -> Iterator[str]:
    """A transaction that has come to the end of its body, and stays there; its pid."""
    pid = core.evaluate(
        f"Me = self(), Pid = spawn(fun() -> mnesia:transaction(fun() -> {body}, Me ! {{locked, self()}}, "
        "receive stop -> ok end end) end), receive {locked, Pid} -> ok end, pid_to_list(Pid)."
    ).strip('"')
    try:
        yield pid
    finally:
        core.evaluate(
            f'Pid = list_to_pid("{pid}"), Ref = monitor(process, Pid), Pid ! stop, '
            "receive {'DOWN', Ref, _, _, _} -> ok end."
        )


WRITE = 'mnesia:write({user_meta, <<"bob">>, 1})'


class TestTables:
    def test_copies_of_two_cores(self, demo: DemoCluster) -> None:
        demo.store("alice", [b"one", b"two"])
        with joined(demo) as cluster:
            found = cluster.mnesia_tables()
        cores = tuple(core.name for core in demo.cores)
        assert (found.nodes, found.unanswered, found.tables_cut) == (cores, {}, False)
        by_name = {table.name: table for table in found.tables}
        table = by_name["offline_msg"]
        assert (table.type, table.rows, table.problems, table.without_copy) == ("bag", 2, (), ())
        assert [(copy.node, copy.storage, copy.loaded, copy.rows) for copy in table.copies] == [
            (core, "disc_copies", True, 2) for core in cores
        ]
        assert table.bytes == sum(
            int(core.evaluate("mnesia:table_info(offline_msg, memory) * erlang:system_info(wordsize)."))
            for core in demo.cores
        )
        assert by_name["presence"].copies[0].storage == "ram_copies"
        assert all(table.problems == () for table in found.tables)

    def test_missing_copies_are_named(self, demo: DemoCluster) -> None:
        first, second = demo.cores
        first.evaluate(f"{{atomic, ok}} = mnesia:create_table(lonely, [{{ram_copies, ['{first.name}']}}]).")
        try:
            with joined(demo) as cluster:
                table = next(table for table in cluster.mnesia_tables().tables if table.name == "lonely")
        finally:
            first.evaluate("{atomic, ok} = mnesia:delete_table(lonely).")
        assert table.problems == (f"only one copy, on {first.name}",)
        assert table.without_copy == (second.name,)
        assert [copy.node for copy in table.copies] == [first.name]

    def test_masters_and_read_only(self, demo: DemoCluster) -> None:
        first = demo.cores[0]
        first.evaluate(f"ok = mnesia:set_master_nodes(dedup_log, ['{first.name}']).")
        first.evaluate("{atomic, ok} = mnesia:change_table_access_mode(dedup_log, read_only).")
        try:
            with joined(demo) as cluster:
                table = next(table for table in cluster.mnesia_tables().tables if table.name == "dedup_log")
                status = cluster.mnesia_status(interval=0)
        finally:
            first.evaluate("{atomic, ok} = mnesia:change_table_access_mode(dedup_log, read_write).")
            first.evaluate("ok = mnesia:set_master_nodes(dedup_log, []).")
        assert (table.master_nodes, table.read_only) == ((first.name,), True)
        assert [node.master_node_tables for node in status.nodes] == [("dedup_log",), ()]
        assert status.problems == (f"{first.name} loads dedup_log from chosen nodes only",)

    def test_undecided_transactions(self, demo: DemoCluster) -> None:
        # The table has rows of other kinds too: a serial number always, and here a table's chosen nodes.
        first = demo.cores[0]
        rows = "[{decision, {tid, N, self()}, unclear, [node()], []} || N <- [-1, -2]]"
        with joined(demo) as cluster:
            before = cluster.mnesia_status(interval=0)
            first.evaluate(f"ok = mnesia:set_master_nodes(dedup_log, ['{first.name}']).")
            first.evaluate(f"ets:insert(mnesia_decision, {rows}).")
            try:
                status = cluster.mnesia_status(interval=0)
            finally:
                first.evaluate("ets:match_delete(mnesia_decision, {decision, {tid, '_', '_'}, unclear, '_', '_'}).")
                first.evaluate("ok = mnesia:set_master_nodes(dedup_log, []).")
        assert [node.undecided for node in before.nodes] == [0, 0]
        assert [node.undecided for node in status.nodes] == [2, 0]

    def test_a_core_that_has_stopped_mnesia(self, fresh_demo: DemoCluster) -> None:
        first, second = fresh_demo.cores
        second.evaluate("mnesia:stop().")
        with joined(fresh_demo) as cluster:
            found = cluster.mnesia_tables()
            status = cluster.mnesia_status(interval=0)
        assert found.nodes == (first.name,)
        assert {table.problems for table in found.tables} == {(f"nobody answers for the copy on {second.name}",)}
        assert status.problems == (
            f"Mnesia does not run on {second.name}, which is a core",
            f"{first.name} has Mnesia down on {second.name}",
        )

    def test_partitioned_cores(self, fresh_demo: DemoCluster) -> None:
        first, second = fresh_demo.cores
        # They lose one another, and each notes that the other is down; then they connect again.
        first.evaluate(
            f"erlang:disconnect_node('{second.name}'), Wait = fun Wait() -> "
            "case mnesia:system_info(running_db_nodes) of [_] -> ok; _ -> timer:sleep(10), Wait() end end, Wait()."
        )
        second.evaluate(
            "Wait = fun Wait() -> case mnesia:system_info(running_db_nodes) of [_] -> ok; _ -> timer:sleep(10), Wait() "
            f"end end, Wait(), net_adm:ping('{first.name}')."
        )
        fresh_demo.store("alice", [b"only on the first"])
        with joined(fresh_demo) as cluster:
            status = cluster.mnesia_status(interval=0)
            tables = {table.name: table for table in cluster.mnesia_tables().tables}
        assert any(problem.startswith("partitioned: Mnesia runs on ") for problem in status.problems), status.problems
        assert f"rows differ: {first.name} 1, {second.name} 0" in tables["offline_msg"].problems
        assert any(
            problem.startswith("the nodes disagree on where it is written") for problem in tables["presence"].problems
        )

    def test_without_mnesia(self, demo: DemoCluster) -> None:
        edge = demo.edges[0]
        with iris_admin.connect(edge.name, cookie_file=demo.cookie_file, epmd_port=demo.epmd_port) as node:
            from iris_admin.operations.mnesia_tables import mnesia_tables

            with pytest.raises(NotApplicable, match=r"Mnesia runs on no node that answers; those are: .* \(edge\)"):
                node._run(mnesia_tables([edge.name]))
            for look in (node.mnesia_locks, node.mnesia_transactions):
                with pytest.raises(NotApplicable, match="it is an edge"):
                    look()


class TestStatus:
    def test_transactions_per_second(self, demo: DemoCluster) -> None:
        first = demo.cores[0]
        first.evaluate(
            "register(writer, spawn(fun Write() -> mnesia:transaction(fun() -> "
            f"{WRITE} end), receive stop -> ok after 1 -> Write() end end))."
        )
        with joined(demo) as cluster:
            found = cluster.mnesia_status(interval=0.5)
        first.evaluate("Ref = monitor(process, writer), writer ! stop, receive {'DOWN', Ref, _, _, _} -> ok end.")
        busy, idle = found.nodes
        assert (busy.node, busy.role, busy.running) == (first.name, "core", "yes")
        assert busy.commits_per_second is not None
        assert idle.commits_per_second is not None
        assert busy.commits_per_second > 10 > idle.commits_per_second
        assert busy.running_nodes == idle.running_nodes == tuple(core.name for core in demo.cores)
        assert busy.directory == first.evaluate("mnesia:system_info(directory).").strip('"')
        assert busy.log_bytes is not None
        assert busy.log_bytes > 0
        assert busy.overloaded == ()
        assert busy.dump_write_threshold == 1000
        assert found.problems == ()

    def test_the_partition_guard_that_expects_nobody_says_nothing(self, demo: DemoCluster) -> None:
        with joined(demo) as cluster:
            node = cluster.mnesia_status(interval=0).nodes[0]
        assert node.partition_guard is not None
        assert node.partition_guard["safe_for_writes"] is True
        assert node.partition_note == "says nothing: it expects no other node, so it always has its quorum"

    def test_overload(self, demo: DemoCluster) -> None:
        first = demo.cores[0]
        first.evaluate("mnesia_lib:overload_set(mnesia_dump_log, true).")
        try:
            with joined(demo) as cluster:
                found = cluster.mnesia_status(interval=0)
        finally:
            first.evaluate("mnesia_lib:overload_set(mnesia_dump_log, false).")
        assert found.nodes[0].overloaded == ("mnesia_dump_log",)
        assert found.problems == (f"overloaded on {first.name}: mnesia_dump_log",)


class TestLocks:
    def test_who_holds_and_who_waits(self, demo: DemoCluster) -> None:
        core = demo.cores[0]
        # An older transaction waits for a younger one; a younger one would begin again.
        older = core.evaluate(
            "Me = self(), Pid = spawn(fun() -> mnesia:transaction(fun() -> Me ! begun, receive go -> ok end, "
            "mnesia:write_lock_table(user_meta) end) end), receive begun -> ok end, pid_to_list(Pid)."
        ).strip('"')
        with transaction(core, WRITE) as younger:
            core.evaluate(
                f'list_to_pid("{older}") ! go, Wait = fun Wait() -> case ets:info(mnesia_lock_queue, size) of '
                "0 -> timer:sleep(5), Wait(); _ -> ok end end, Wait()."
            )
            with joined(demo) as cluster:
                found = cluster.node(core.name).mnesia_locks()
                transactions = cluster.node(core.name).mnesia_transactions()
        assert (found.held, found.waiting, found.cut) == (1, 1, None)
        waits, held = found.locks
        assert (waits.table, waits.whole_table, waits.key, waits.operation) == ("user_meta", True, None, "write")
        assert (waits.waiting, waits.pid, waits.pid_node) == (True, older, core.name)
        assert (held.waiting, held.key, held.pid) == (False, '<<"bob">>', younger)
        assert waits.transaction < held.transaction
        assert [(table.table, table.held, table.waiting) for table in found.tables] == [("user_meta", 1, 1)]
        rows = [(row.pid, row.kind, row.held_locks, row.waiting_locks) for row in transactions.transactions]
        assert rows == [(older, "coordinator", 0, 1), (younger, "coordinator", 1, 0)]
        assert transactions.transactions[0].current_function == "mnesia_locker:receive_wlocks/4"

    def test_a_long_key_is_not_sent(self, demo: DemoCluster) -> None:
        core = demo.cores[0]
        with transaction(core, "mnesia:read(user_meta, binary:copy(<<0>>, 1000))"), joined(demo) as cluster:
            (lock,) = cluster.node(core.name).mnesia_locks().locks
        assert (lock.key, lock.whole_table, lock.operation) == (None, False, "read")

    def test_too_many_are_only_counted(self, demo: DemoCluster, monkeypatch: pytest.MonkeyPatch) -> None:
        core = demo.cores[0]
        reads = "[mnesia:read(user_meta, integer_to_binary(N)) || N <- lists:seq(1, 50)]"
        with transaction(core, reads), joined(demo) as cluster:
            node = cluster.node(core.name)
            some = node.mnesia_locks(count=5)
            monkeypatch.setattr(locks_module, "MAX_LOCKS", 10)
            none = node.mnesia_locks()
            counted = node.mnesia_transactions().transactions[0]
        assert (some.held, len(some.locks), some.cut) == (50, 5, "at most 5 of each kind were asked for")
        assert (none.held, len(none.locks)) == (50, 0)
        assert none.cut == "there are more than 10, and Mnesia shows all or none"
        assert (counted.held_locks, counted.waiting_locks) == (None, None)

    def test_nothing_is_under_way(self, demo: DemoCluster) -> None:
        with joined(demo) as cluster:
            node = cluster.node(demo.cores[0].name)
            assert (node.mnesia_locks().held, list(node.mnesia_locks().locks)) == (0, [])
            assert (node.mnesia_transactions().count, list(node.mnesia_transactions().transactions)) == (0, [])
