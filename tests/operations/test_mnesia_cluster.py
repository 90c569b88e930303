"""Mnesia on several nodes, by made-up answers: what is put together, and what is called a problem."""

from __future__ import annotations

from typing import Any

import pytest

from iris_admin.errors import NodeDown, NotApplicable, RemoteError
from iris_admin.operations.mnesia_locks import mnesia_locks, mnesia_transactions
from iris_admin.operations.mnesia_status import mnesia_status
from iris_admin.operations.mnesia_tables import mnesia_tables
from iris_admin.operations.steps import Call
from iris_admin.terms import Atom, Pid, Term, charlist
from tests.operations.conftest import Run

UNDEFINED = Atom("undefined")
A, B = Atom("core1@h"), Atom("core2@h")


def applications(*names: str) -> Term:
    return [(Atom(name), charlist(""), charlist("1")) for name in names]


CORE = applications("kernel", "mnesia", "iris_core")
EDGE = applications("kernel", "iris_edge")


def table(node: Term, **changed: Term) -> list[Term]:
    """The values of a table's items, as a node with a healthy copy gives them; by default there are two copies."""
    items: dict[str, Term] = {
        "storage_type": Atom("disc_copies"),
        "type": Atom("bag"),
        "size": 5,
        "memory": 100,
        "where_to_read": node,
        "where_to_write": [A, B],
        "ram_copies": [],
        "disc_copies": [A, B],
        "disc_only_copies": [],
        "load_node": node,
        "load_reason": Atom("local_only"),
        "master_nodes": [],
        "cookie": (1, A),
        "access_mode": Atom("read_write"),
        "local_content": False,
    }
    assert set(changed) <= set(items)
    return list((items | changed).values())


class Cluster:
    """Answers for several nodes.

    :ivar tables: by node and name, the values of a table's items; or an error in their place.
    """

    def __init__(self, **tables: Any) -> None:
        self.applications: dict[str, Any] = {str(A): CORE, str(B): CORE, "edge1@h": EDGE}
        self.tables: dict[str, Any] = {str(A): {"t": table(A)}, str(B): {"t": table(B)}} | tables
        self.run = Run(self.answer)

    def answer(self, call: Call) -> Any:
        if call.function == "which_applications":
            return self.applications[str(call.node)]
        found = self.tables[str(call.node)]
        if isinstance(found, Exception):
            return found
        return 8, len(found), [(Atom(name), values) for name, values in sorted(found.items())]

    def look(self) -> Any:
        return self.run(mnesia_tables([str(A), str(B), "edge1@h"]))

    def problems(self, first: list[Term] | None, second: list[Term] | None) -> tuple[str, ...]:
        """What is said of a table that the cores see like that; None for one that does not know it."""
        self.tables = {str(node): {} if values is None else {"t": values} for node, values in ((A, first), (B, second))}
        (row,) = self.look().tables
        problems: tuple[str, ...] = row.problems
        return problems


class TestTables:
    def test_healthy(self) -> None:
        cluster = Cluster()
        found = cluster.look()
        (row,) = found.tables
        assert found.nodes == ("core1@h", "core2@h")
        assert (row.name, row.type, row.rows, row.bytes, row.problems) == ("t", "bag", 5, 1600, ())
        assert [(copy.node, copy.rows, copy.bytes, copy.load_reason) for copy in row.copies] == [
            ("core1@h", 5, 800, "local_only"),
            ("core2@h", 5, 800, "local_only"),
        ]
        assert cluster.run.paused == []

    def test_one_core_alone_has_no_problem(self) -> None:
        cluster = Cluster()
        cluster.applications[str(B)] = EDGE
        cluster.tables = {str(A): {"t": table(A, disc_copies=[A], where_to_write=[A])}}
        assert cluster.look().tables[0].problems == ()

    def test_rows_that_differ_are_looked_at_twice(self) -> None:
        cluster = Cluster()
        assert cluster.problems(table(A), table(B, size=4)) == ("rows differ: core1@h 5, core2@h 4",)
        assert cluster.run.paused == [0.5]

    def test_rows_that_were_under_way_are_no_problem(self) -> None:
        sizes = iter([5, 4, 6, 6])
        cluster = Cluster()

        def answer(call: Call) -> Any:
            if call.function == "which_applications":
                return cluster.answer(call)
            return 8, 1, [(Atom("t"), table(Atom(str(call.node)), size=next(sizes)))]

        (row,) = Run(answer)(mnesia_tables([str(A), str(B)])).tables
        assert (row.rows, row.problems) == (6, ())

    @pytest.mark.parametrize(
        ("first", "second", "expected"),
        [
            (table(A), None, ("unknown on core2@h",)),
            (
                table(A, disc_copies=[A], where_to_write=[A]),
                table(B, disc_copies=[A], where_to_write=[A], storage_type=Atom("unknown"), where_to_read=A),
                ("only one copy, on core1@h",),
            ),
            (
                table(A, cookie=(1, A), disc_copies=[A], where_to_write=[A]),
                table(B, cookie=(2, B), disc_copies=[B], where_to_write=[B], size=9),
                (
                    "not one table: each of core1@h, core2@h has created its own",
                    "the nodes disagree on where it is written: core1@h writes to core1@h; core2@h writes to core2@h",
                ),
            ),
            (
                table(A, where_to_write=[A]),
                table(B, where_to_write=[A], where_to_read=A, size=0),
                ("not loaded on core2@h",),
            ),
            (
                table(A, disc_copies=[A, B, Atom("core3@h")]),
                table(B),
                ("nobody answers for the copy on core3@h",),
            ),
            (
                table(A),
                table(B, storage_type=Atom("ram_copies")),
                ("storage differs: core1@h disc_copies, core2@h ram_copies",),
            ),
            (
                table(A, storage_type=Atom("unknown")),
                table(B, storage_type=Atom("unknown")),
                ("no node that answers has a copy",),
            ),
            # Such a table is each node's own.
            (table(A, local_content=True, size=1), table(B, local_content=True, size=2, cookie=(2, B)), ()),
        ],
    )
    def test_problems(self, first: Any, second: Any, expected: tuple[str, ...]) -> None:
        assert Cluster().problems(first, second) == expected

    def test_a_copy_that_is_not_loaded_has_no_numbers(self) -> None:
        cluster = Cluster()
        cluster.problems(
            table(A, where_to_write=[A]), table(B, where_to_write=[A], where_to_read=Atom("nowhere"), size=0)
        )
        copy = cluster.look().tables[0].copies[1]
        assert (copy.loaded, copy.rows, copy.bytes) == (False, None, None)

    def test_disc_only_copies_are_counted_in_bytes(self) -> None:
        cluster = Cluster()
        storage = Atom("disc_only_copies")
        cluster.problems(
            table(A, storage_type=storage), table(B, storage_type=(Atom("ext"), Atom("leveldb"), Atom("m")))
        )
        first, second = cluster.look().tables[0].copies
        assert (first.bytes, second.bytes, second.storage) == (100, 800, "leveldb")

    def test_a_core_that_fails_is_named(self) -> None:
        cluster = Cluster(**{str(B): RemoteError("node_not_running", kind="exit", reason=Atom("x"))})
        found = cluster.look()
        assert (found.nodes, found.unanswered) == (("core1@h",), {"core2@h": "node_not_running"})
        cluster.applications["edge1@h"] = NodeDown("gone")
        assert cluster.look().unanswered == {"core2@h": "node_not_running", "edge1@h": "gone"}

    def test_nowhere(self) -> None:
        cluster = Cluster()
        cluster.applications = dict.fromkeys(cluster.applications, EDGE)
        with pytest.raises(NotApplicable, match=r"core1@h \(edge\)"):
            cluster.look()


ITEMS: dict[str, Term] = {
    "is_running": Atom("yes"),
    "version": charlist("4.21"),
    "directory": charlist("/d"),
    "use_dir": True,
    "db_nodes": [A, B],
    "running_db_nodes": [A, B],
    "transaction_commits": 100,
    "transaction_failures": 1,
    "transaction_restarts": 2,
    "transaction_log_writes": 50,
    "dump_log_write_threshold": 1000,
    "dump_log_time_threshold": 180000,
    "master_node_tables": [],
}


class Status:
    """Answers about the state of Mnesia on two cores.

    :ivar looks: how often a node was looked at.
    """

    def __init__(self, **changed: Any) -> None:
        self.changed = {str(A): dict(changed), str(B): {}}
        self.overloads: Term = [(Atom("mnesia_tm"), False), (Atom("mnesia_dump_log"), False)]
        self.guard: Any = {Atom("expected_nodes"): [B], Atom("safe_for_writes"): True, Atom("mode"): Atom("normal")}
        self.applications: dict[str, Any] = {str(A): CORE, str(B): CORE}
        self.looks: dict[str, int] = {}
        self.run = Run(self.answer)

    def answer(self, call: Call) -> Any:
        node = str(call.node)
        items = ITEMS | self.changed[node]
        match call.function:
            case "which_applications":
                return self.applications[node]
            case "system_info":
                return items["is_running"]
            case "get_status":
                return self.guard
        number = self.looks[node] = self.looks.get(node, 0) + 1
        if number > 1 and node == str(A):
            items = items | {"transaction_commits": 150, "transaction_restarts": 1}
        return list(items.values()), self.overloads, (3, 1), 0, False, 4096, 7, 2, 9, []

    def look(self, interval: float = 2.0) -> Any:
        return self.run(mnesia_status([str(A), str(B)], interval=interval))


class TestStatus:
    def test_figures(self) -> None:
        status = Status()
        found = status.look()
        first, second = found.nodes
        assert (first.node, first.running, first.version, first.directory) == ("core1@h", "yes", "4.21", "/d")
        assert (first.commits, first.commits_per_second, second.commits_per_second) == (150, 25.0, 0.0)
        # The counter began anew, as Mnesia did.
        assert (first.restarts, first.restarts_per_second) == (1, None)
        assert (first.transactions, first.participating, first.held_locks, first.queued_locks) == (3, 1, 7, 2)
        assert (first.log_bytes, first.undecided, first.dumping, first.loading) == (4096, 9, False, 0)
        assert (first.dump_time_threshold_seconds, first.overloaded) == (180.0, ())
        assert (first.partition_note, first.partition_guard["mode"]) == (None, "normal")
        assert (found.problems, found.unanswered, found.interval_seconds) == ((), {}, 2.0)
        assert status.run.paused == [2.0]

    def test_without_an_interval(self) -> None:
        status = Status()
        found = status.look(0)
        assert [row.commits_per_second for row in found.nodes] == [None, None]
        assert status.looks == {"core1@h": 1, "core2@h": 1}

    @pytest.mark.parametrize(
        ("guard", "note"),
        [
            (
                {Atom("expected_nodes"): [], Atom("safe_for_writes"): True},
                "says nothing: it expects no other node, so it always has its quorum",
            ),
            (RemoteError("undef", reason=Atom("undef")), "cannot tell: undef"),
            (Atom("hello"), "cannot tell: the answer is none of Iris's"),
        ],
    )
    def test_a_guard_that_says_nothing(self, guard: Any, note: str) -> None:
        status = Status()
        status.guard = guard
        assert status.look(0).nodes[0].partition_note == note

    def test_no_guard_is_asked_where_no_core_runs(self) -> None:
        status = Status()
        status.applications = dict.fromkeys(status.applications, applications("mnesia"))
        (first, _) = status.look(0).nodes
        assert (first.partition_guard, first.partition_note) == (None, None)
        assert "iris_partition_guard:get_status" not in status.run.names

    @pytest.mark.parametrize(
        ("changed", "expected"),
        [
            ({"is_running": Atom("no")}, ["Mnesia is stopped on core1@h", "core2@h has Mnesia"]),
            ({"is_running": Atom("starting")}, ["Mnesia is starting on core1@h"]),
            ({"master_node_tables": [Atom("t")]}, ["core1@h loads t from chosen nodes only"]),
            (
                {"running_db_nodes": [A], "db_nodes": [A, B]},
                ["partitioned: Mnesia runs on core1@h and on core2@h, and they"],
            ),
        ],
    )
    def test_problems(self, changed: dict[str, Term], expected: list[str]) -> None:
        problems = Status(**changed).look(0).problems
        assert problems[0].startswith(expected[0])

    def test_two_schemas(self) -> None:
        status = Status(running_db_nodes=[A], db_nodes=[A])
        status.changed[str(B)] = {"running_db_nodes": [B], "db_nodes": [B]}
        assert status.look(0).problems == (
            "core1@h and core2@h have schemas of their own: nothing is replicated between them",
        )

    def test_a_guard_that_refuses_writes(self) -> None:
        status = Status()
        status.guard = {Atom("expected_nodes"): [B], Atom("safe_for_writes"): False}
        assert status.look(0).problems == tuple(
            f"the partition guard of {node} does not allow writes" for node in ("core1@h", "core2@h")
        )

    def test_what_cannot_be_told(self) -> None:
        status = Status(use_dir=False, running_db_nodes=UNDEFINED, db_nodes=UNDEFINED)
        status.overloads = UNDEFINED
        first = status.look(0).nodes[0]
        assert (first.overloaded, first.directory, first.running_nodes) == (None, None, ())

    def test_a_core_without_mnesia(self) -> None:
        status = Status()
        status.applications[str(B)] = applications("iris_core")
        status.changed[str(A)] = {"running_db_nodes": [A]}
        assert status.look(0).problems == (
            "Mnesia does not run on core2@h, which is a core",
            "core1@h has Mnesia down on core2@h",
        )

    def test_a_node_that_goes_down_between_the_looks(self) -> None:
        status = Status()
        answer = status.answer

        def then_down(call: Call) -> Any:
            gone = call.function == "mnesia_state" and call.node == str(B) and status.looks.get(str(B))
            return NodeDown("gone") if gone else answer(call)

        status.run = Run(then_down)
        found = status.look()
        assert [row.node for row in found.nodes] == ["core1@h"]
        assert found.unanswered == {"core2@h": "gone"}


HERE, THERE = Pid(A, 1, 0, 1), Pid(B, 2, 0, 1)


class TestLocks:
    def run(self, answer: Any) -> Run:
        answers: dict[str, Any] = {"which_applications": CORE, "system_info": Atom("yes")}
        return Run(lambda call: answers.get(call.function, answer))

    def test_locks(self) -> None:
        write, read = Atom("write"), Atom("read")
        answer = (
            2,
            1,
            [(Atom("t"), (Atom("value"), b"bob"), write, 5, HERE), (Atom("u"), (Atom("big"), 999), read, 6, THERE)],
            [(Atom("t"), (Atom("value"), Atom("______WHOLETABLE_____")), write, 4, HERE)],
            [(Atom("u"), 1, 0), (Atom("t"), 1, 1)],
        )
        found = self.run(answer)(mnesia_locks(node=str(A)))
        assert (found.held, found.waiting, found.cut) == (2, 1, None)
        assert [
            (lock.table, lock.key, lock.whole_table, lock.waiting, lock.pid, lock.pid_node) for lock in found.locks
        ] == [
            ("t", None, True, True, "<0.1.0>", "core1@h"),
            ("t", '<<"bob">>', False, False, "<0.1.0>", "core1@h"),
            ("u", None, False, False, "<0.2.0>", "core2@h"),
        ]
        assert [row.table for row in found.tables] == ["t", "u"]

    @pytest.mark.parametrize("look", [mnesia_locks, mnesia_transactions])
    @pytest.mark.parametrize("count", [0, 1001])
    def test_out_of_range(self, look: Any, count: int) -> None:
        with pytest.raises(ValueError, match="count is"):
            self.run(None)(look(count=count))

    def test_transactions(self) -> None:
        def answer(call: Call) -> Any:
            match call.function:
                case "which_applications":
                    return CORE
                case "system_info":
                    return 8 if call.module == "erlang" else Atom("yes")
                case "mnesia_transactions":
                    coordinator, participant = Atom("coordinator"), Atom("participant")
                    return 9, [(4, HERE, coordinator, 2, 0), (5, THERE, participant, UNDEFINED, UNDEFINED)]
            assert call.args[0]["Pids"] == [HERE]  # a process of another node is not asked for here
            items = {"registered_name": Atom("me"), "initial_call": (Atom("m"), Atom("f"), 0), "message_queue_len": 3}
            items |= {"current_function": (Atom("timer"), Atom("sleep"), 1), "status": Atom("waiting")}
            pairs = [(Atom(name), value) for name, value in (items | {"memory": 1, "reductions": 2}).items()]
            return [(HERE, pairs, 0, UNDEFINED)]

        found = Run(answer)(mnesia_transactions(node=str(A)))
        first, second = found.transactions
        assert (found.count, first.registered_name, first.current_function) == (9, "me", "timer:sleep/1")
        assert (first.held_locks, first.message_queue_len) == (2, 3)
        assert (second.pid, second.pid_node, second.kind, second.current_function) == (
            "<0.2.0>",
            "core2@h",
            "participant",
            None,
        )
        assert (second.held_locks, second.waiting_locks) == (None, None)
