"""Memory, stats and roles, by made-up answers."""

from __future__ import annotations

from typing import Any

import pytest

from iris_admin.errors import NodeDown
from iris_admin.operations.memory import memory
from iris_admin.operations.memory_change import memory_change
from iris_admin.operations.results import Table
from iris_admin.operations.roles import cores, edges, members, role, role_of
from iris_admin.operations.stats import Link, LinkChange, Stats, change, stats, stats_change
from iris_admin.operations.steps import Call
from iris_admin.records import replace
from iris_admin.terms import Atom, Term, charlist
from tests.operations.conftest import Run

KINDS = ("total", "processes", "processes_used", "system", "atom", "atom_used", "binary", "code", "ets")


def applications(**versions: str) -> Term:
    return [(Atom(name), charlist("about it"), charlist(version)) for name, version in versions.items()]


CORE = applications(iris_core="0.1.0", mnesia="4.21.3", kernel="8.5")
EDGE = applications(iris_edge="0.2.0", kernel="8.5")


class TestRoles:
    @pytest.mark.parametrize(
        ("running", "expected"),
        [
            (CORE, "core"),
            (EDGE, "edge"),
            ([*CORE, *EDGE], "core+edge"),
            (applications(kernel="8.5"), "other"),
            ([], "other"),
        ],
    )
    def test_by_applications(self, running: Term, expected: str) -> None:
        found = role_of("edge@host", running)
        assert (found.role, str(found)) == (expected, expected)
        assert (found.is_core, found.is_edge) == ("core" in expected, "edge" in expected)

    def test_versions(self) -> None:
        found = role_of("a@b", CORE)
        assert (found.iris_core, found.iris_edge, found.mnesia) == ("0.1.0", None, "4.21.3")

    def test_own_node_is_asked_for_its_name(self) -> None:
        run = Run(lambda call: Atom("a@b") if call.function == "node" else EDGE)
        assert run(role()).node == "a@b"
        assert all(call.idempotent and call.node is None for call in run.calls)

    def test_a_named_node_is_not(self) -> None:
        run = Run(lambda call: EDGE)
        assert run(role("a@b")).node == "a@b"
        assert run.calls == [Call("application", "which_applications", node="a@b", idempotent=True)]

    def test_members(self) -> None:
        down = NodeDown("gone")

        def answer(call: Call) -> Any:
            return {"core1": CORE, "edge1": EDGE, "both": [*CORE, *EDGE], "shell": [], "dead": down}[str(call.node)]

        nodes = ("core1", "dead", "edge1", "both", "shell")
        found = Run(answer)(members(nodes))
        assert found.cores == ["core1", "both"]
        assert found.edges == ["edge1", "both"]
        assert found.unanswered == {"dead": down}
        assert found.roles["shell"].role == "other"
        assert Run(answer)(cores(nodes)) == ["core1", "both"]
        assert Run(answer)(edges(nodes)) == ["edge1", "both"]

    def test_a_mistake_of_ours_is_not_taken_for_a_silent_node(self) -> None:
        with pytest.raises(TypeError):
            Run(lambda call: TypeError("a mistake"))(members(["a"]))


class TestMemory:
    def test_kinds(self) -> None:
        answer = [(Atom(kind), number) for number, kind in enumerate((*KINDS, "a_kind_of_tomorrow"), 1)]
        found = Run(lambda call: answer)(memory("a@b"))
        assert found.to_dict() == {"node": "a@b", **{kind: number for number, kind in enumerate(KINDS, 1)}}

    def test_error_passes_through(self) -> None:
        with pytest.raises(NodeDown):
            Run(lambda call: NodeDown("gone"))(memory())


class TestStats:
    ANSWER = (
        Atom("a@b"),
        [charlist("25"), charlist("13.1.5"), 8, 10, 100, 2, 20, 3000, 1048576, 40, 8192, 4],
        [
            7,
            [3, 4, 0, 0],
            (1000, 10),
            (50, 2000, 0),
            (600, 0),
            ((Atom("input"), 70), (Atom("output"), 80)),
            Atom("undefined"),
        ],
        12345,
        3,
        1,
        CORE,
        [
            (Atom("edge@b"), True, 9000, 8192, [1, 2]),
            (Atom("core@b"), False, Atom("undefined"), Atom("undefined"), [Atom("undefined"), Atom("undefined")]),
        ],
    )

    def test_figures(self) -> None:
        run = Run(lambda call: self.ANSWER)
        assert run(stats("a@b")).to_dict() == {
            "node": "a@b",
            "role": "core",
            "uptime": 12.345,
            "otp_release": "25",
            "erts_version": "13.1.5",
            "processes": 10,
            "process_limit": 100,
            "ports": 2,
            "port_limit": 20,
            "atoms": 3000,
            "atom_limit": 1048576,
            "ets_tables": 40,
            "ets_limit": 8192,
            "run_queue": 7,
            "schedulers_online": 4,
            "visible_nodes": 3,
            "hidden_nodes": 1,
            "run_queues": [3, 4, 0, 0],
            "reductions": 1000,
            "garbage_collections": 50,
            "reclaimed_bytes": 16000,
            "context_switches": 600,
            "input_bytes": 70,
            "output_bytes": 80,
            "scheduler_wall_time": None,
            "links": [
                {
                    "node": "core@b",
                    "hidden": False,
                    "queue_bytes": None,
                    "busy": None,
                    "received_bytes": None,
                    "sent_bytes": None,
                },
                {
                    "node": "edge@b",
                    "hidden": True,
                    "queue_bytes": 9000,
                    "busy": True,
                    "received_bytes": 1,
                    "sent_bytes": 2,
                },
            ],
        }
        assert run.names == ["remote:stats"]

    def test_what_a_release_does_not_know_is_none(self) -> None:
        undefined = Atom("undefined")
        items: list[Term] = [charlist("19"), charlist("8.0"), 8, *[undefined] * 9]
        found = Run(lambda call: (Atom("a@b"), items, [0, [0], *[undefined] * 5], 0, 0, 0, undefined, []))(stats())
        assert (found.ets_tables, found.role, found.otp_release) == (None, None, "19")
        assert (found.reductions, found.reclaimed_bytes, found.input_bytes) == (None, None, None)


class TestChange:
    BEFORE = Stats(
        node="a@b",
        role="core",
        uptime=10.0,
        otp_release="25",
        erts_version="13.1.5",
        processes=100,
        process_limit=1000,
        ports=10,
        port_limit=100,
        atoms=5000,
        atom_limit=10000,
        ets_tables=30,
        ets_limit=100,
        run_queue=0,
        schedulers_online=2,
        visible_nodes=1,
        hidden_nodes=1,
        run_queues=(0, 0, 0, 0),
        reductions=1000,
        garbage_collections=10,
        reclaimed_bytes=800,
        context_switches=50,
        input_bytes=100,
        output_bytes=None,
        scheduler_wall_time=((1, 100, 1000), (2, 0, 1000)),
        links=Table(Link, [Link("c@b", False, 0, False, 100, 200), Link("again@b", True, 0, False, 500, 500)]),
    )
    AFTER = replace(
        BEFORE,
        uptime=12.0,
        processes=90,
        reductions=3000,
        garbage_collections=11,
        reclaimed_bytes=900,
        input_bytes=100,
        output_bytes=7,
        run_queue=5,
        run_queues=(2, 3, 0, 0),
        scheduler_wall_time=((1, 600, 2000), (2, 0, 2000)),
        links=Table(
            Link,
            [
                Link("c@b", False, 9000, True, 300, 200),
                Link("again@b", True, 0, False, 10, 600),
                Link("new@b", False, None, None, None, None),
            ],
        ),
    )

    def test_per_second(self) -> None:
        found = change(self.BEFORE, self.AFTER)
        assert (found.node, found.interval_seconds, found.now) == ("a@b", 2.0, self.AFTER)
        assert (found.processes, found.ports, found.reductions) == (-5.0, 0.0, 1000.0)
        assert (found.garbage_collections, found.reclaimed_bytes) == (0.5, 50.0)
        assert (found.input_bytes, found.output_bytes) == (0.0, None)
        assert (found.run_queue, found.run_queues) == (5, (2, 3, 0, 0))
        assert found.scheduler_utilization == (0.5, 0.0)

    def test_links(self) -> None:
        steady, again, new = change(self.BEFORE, self.AFTER).links
        assert steady == LinkChange("c@b", False, 9000, True, 100.0, 0.0)
        assert (again.received_bytes, again.sent_bytes) == (None, 50.0)
        assert (new.queue_bytes, new.busy, new.received_bytes) == (None, None, None)

    def test_a_restarted_node_has_no_rates(self) -> None:
        found = change(self.AFTER, self.BEFORE)
        assert (found.interval_seconds, found.reductions, found.processes) == (0.0, None, None)
        assert found.scheduler_utilization is None

    def test_wall_time_that_was_switched_off_and_on(self) -> None:
        again = replace(self.AFTER, scheduler_wall_time=((1, 1, 2), (2, 1, 2)))
        assert change(self.BEFORE, again).scheduler_utilization is None
        assert change(self.BEFORE, replace(self.AFTER, scheduler_wall_time=None)).scheduler_utilization is None

    def test_watching_looks_once_each_time(self) -> None:
        run = Run(lambda call: TestStats.ANSWER)
        first = run(stats_change(0.5))
        assert (run.names, run.paused) == (["remote:stats"] * 2, [0.5])
        second = run(stats_change(0.5, since=first))
        assert run.names == ["remote:stats"] * 3
        assert second.now == first.now
        run(stats_change(0.5, since=second.now))
        assert run.names == ["remote:stats"] * 4


def test_memory_changes() -> None:
    answers = iter([dict.fromkeys(KINDS, 1000), dict.fromkeys(KINDS, 1500), dict.fromkeys(KINDS, 1400)])
    run = Run(lambda call: [(Atom(kind), size) for kind, size in next(answers).items()], clock=[10.0, 12.0, 13.0])
    first = run(memory_change(2.0, node="a@b"))
    assert (first.interval_seconds, first.total, first.ets, first.now.total) == (2.0, 250.0, 250.0, 1500)
    second = run(memory_change(1.0, since=first, node="a@b"))
    assert (second.interval_seconds, second.total, second.now.total) == (1.0, -100.0, 1400)
