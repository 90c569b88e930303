"""Where a user is, by made-up answers: agreement, every kind of disagreement, and nodes that cannot say."""

from __future__ import annotations

from typing import Any

import pytest

from iris_admin.errors import EncodeError, NodeDown, NotApplicable
from iris_admin.operations.presence import Belief, Presence, find_connections, presence_show
from iris_admin.operations.steps import Call
from iris_admin.terms import Atom, Pid, Term
from tests.operations.conftest import Run
from tests.operations.test_figures import CORE, EDGE

UNDEFINED = Atom("undefined")
NOW = 1_700_000_100_000
NODES = ("core1@h", "edge1@h", "edge2@h")


def pid(number: int, node: str = "edge1@h") -> Pid:
    return Pid(Atom(node), number, 0, 1)


def tcp(process: Pid) -> Term:
    return process, True, (Atom("iris_edge_conn"), Atom("init"), 1)


def websocket(process: Pid) -> Term:
    return process, True, (Atom("iris_ws_lite"), Atom("init"), 1)


def dead(process: Pid) -> Term:
    return process, False, UNDEFINED


def entry(process: Pid, age: int = 1000) -> Term:
    """A core's row, as today's Iris keeps it."""
    made = NOW - age
    return b"bob", (Atom("presence_entry"), b"bob", process.node, process, made, made)


class Cluster:
    """Answers of one core and two edges.

    :param rows: of the core's table.
    :param edges: rows of each edge's table.
    :param alive: processes that live although no table has them.
    """

    def __init__(self, rows: Any = (), *, edges: dict[str, Any] | None = None, **options: Any) -> None:
        self.rows = rows
        self.edges = {"edge1@h": [], "edge2@h": []} | (edges or {})
        self.alive: tuple[Pid, ...] = options.get("alive", ())
        self.dead: tuple[str, ...] = options.get("dead", ())
        self.backend: str = options.get("backend", "ets")

    def __call__(self, call: Call) -> Any:
        node = str(call.node)
        if node in self.dead:
            return NodeDown(f"{node} is gone")
        if call.function == "which_applications":
            return CORE if node.startswith("core") else EDGE if node.startswith("edge") else []
        if call.function == "presence_core":
            rows = self.rows if isinstance(self.rows, Atom) else list(self.rows)
            return Atom(self.backend), rows, NOW, 30_000
        assert call.function == "presence_edge"
        rows = self.edges[node]
        if isinstance(rows, Exception):
            return rows
        described = [tcp(each) if each in self.alive else dead(each) for each in call.args[0]["Pids"]]
        return rows, described


def show(cluster: Cluster, nodes: tuple[str, ...] = NODES) -> Presence:
    return Run(cluster)(presence_show("bob", nodes))


def belief(cluster: Cluster) -> Belief:
    (found,) = show(cluster).beliefs
    return found


class TestConnections:
    def test_tcp(self) -> None:
        found = show(Cluster([entry(pid(1))], edges={"edge1@h": [tcp(pid(1))]}))
        assert found.online is True
        assert found.connections[0].to_dict() == {
            "node": "edge1@h",
            "pid": "<edge1@h.1.0>",
            "alive": True,
            "kind": "tcp",
            "initial_call": "iris_edge_conn:init/1",
            "problem": None,
        }

    def test_websocket(self) -> None:
        (connection,) = show(Cluster(edges={"edge1@h": [websocket(pid(1))]})).connections
        assert (connection.kind, connection.problem) == ("websocket", None)

    def test_a_process_of_some_other_kind(self) -> None:
        row = (pid(1), True, (Atom("proc_lib"), Atom("init_p"), 5))
        (connection,) = show(Cluster(edges={"edge1@h": [row]})).connections
        assert (connection.kind, connection.initial_call) == ("other", "proc_lib:init_p/5")
        assert connection.problem

    def test_stale_entry_of_an_edge(self) -> None:
        found = show(Cluster(edges={"edge1@h": [dead(pid(1))]}))
        assert found.online is False
        assert found.connections[0].kind is None
        assert str(found.connections[0].problem).startswith("stale")

    def test_two_connections_contradict(self) -> None:
        found = show(Cluster(edges={"edge1@h": [tcp(pid(1))], "edge2@h": [tcp(pid(2, "edge2@h"))]}))
        assert all("more than once" in str(each.problem) for each in found.connections)

    def test_a_stale_and_a_live_one(self) -> None:
        found = show(Cluster(edges={"edge1@h": [dead(pid(1))], "edge2@h": [tcp(pid(2, "edge2@h"))]}))
        assert [each.problem and each.problem[:5] for each in found.connections] == ["stale", None]

    def test_find_connections(self) -> None:
        gone = NodeDown("gone")
        cluster = Cluster(edges={"edge1@h": [tcp(pid(1))], "edge2@h": gone})
        connections, blind = Run(cluster)(find_connections(b"bob", ["edge1@h", "edge2@h"]))
        assert [each.pid for each in connections] == [pid(1)]
        assert blind == {"edge2@h": gone}

    def test_edge_without_its_table(self) -> None:
        _, blind = Run(Cluster(edges={"edge1@h": UNDEFINED}))(find_connections(b"bob", ["edge1@h"]))
        assert "no table local_presence_v2" in str(blind["edge1@h"])


class TestOnline:
    def test_an_edge_that_cannot_be_asked_leaves_it_open(self) -> None:
        found = show(Cluster(dead=("edge2@h",)))
        assert found.online is None
        assert [(each.node, each.reason) for each in found.cannot_tell] == [("edge2@h", "edge2@h is gone")]

    def test_a_live_connection_settles_it(self) -> None:
        assert show(Cluster(edges={"edge1@h": [tcp(pid(1))]}, dead=("edge2@h",))).online is True

    def test_a_core_that_cannot_be_asked_does_not_matter(self) -> None:
        found = show(Cluster(UNDEFINED))
        assert found.online is False
        assert found.cannot_tell[0].node == "core1@h"
        assert not found.beliefs


LIVE = {"edge1@h": [tcp(pid(1))]}


class TestBeliefs:
    @pytest.mark.parametrize(
        ("cluster", "verdict"),
        [
            (Cluster(), "agrees"),
            (Cluster(edges=LIVE), "missing"),
            (Cluster(dead=("edge2@h",)), "cannot tell"),
            (Cluster([entry(pid(1))], edges=LIVE), "agrees"),
            (Cluster([entry(pid(1), age=31_000)], edges=LIVE), "expired"),
            (Cluster([entry(pid(1), age=31_000)]), "expired"),
            (Cluster([entry(pid(1), age=30_000)], edges=LIVE), "agrees"),
            (Cluster([entry(pid(1))]), "stale"),
            (Cluster([entry(pid(1))], dead=("edge1@h",)), "cannot tell"),
            (Cluster([entry(pid(1))], edges={"edge2@h": [tcp(pid(2, "edge2@h"))]}), "contradicts"),
            (Cluster([entry(pid(1))], alive=(pid(1),)), "contradicts"),
            (Cluster([entry(pid(1, "left@h"))]), "stale"),
            (Cluster([entry(pid(1, "left@h"))], edges=LIVE), "contradicts"),
        ],
    )
    def test_verdict(self, cluster: Cluster, verdict: str) -> None:
        found = belief(cluster)
        assert (found.verdict, bool(found.explanation)) == (verdict, True)

    def test_entry_of_today_s_iris(self) -> None:
        found = belief(Cluster([entry(pid(1))], edges=LIVE))
        assert found.to_dict() == {
            "core": "core1@h",
            "backend": "ets",
            "online": True,
            "edge": "edge1@h",
            "pid": "<edge1@h.1.0>",
            "registered": "2023-11-14T22:14:59.000Z",
            "age": 1.0,
            "verdict": "agrees",
            "explanation": "The edge has this connection.",
        }

    def test_entry_without_a_record(self) -> None:
        row = (b"bob", Atom("edge1@h"), pid(1), NOW - 40_000, NOW - 2000)
        found = belief(Cluster([row], edges=LIVE))
        assert (found.age, found.verdict) == (2.0, "agrees")

    def test_entry_in_mnesia_never_expires(self) -> None:
        row = (Atom("presence"), b"bob", Atom("edge1@h"), pid(1))
        found = belief(Cluster([row], edges=LIVE, backend="mnesia"))
        assert (found.backend, found.age, found.registered, found.verdict) == ("mnesia", None, None, "agrees")

    def test_an_expired_entry_counts_as_offline(self) -> None:
        assert belief(Cluster([entry(pid(1), age=31_000)], edges=LIVE)).online is False

    def test_entry_of_an_unknown_form(self) -> None:
        found = show(Cluster([(b"bob", Atom("somewhere"))]))
        assert '{<<"bob">>,somewhere}' in found.cannot_tell[0].reason


class TestRefusals:
    def test_nobody_runs_iris(self) -> None:
        with pytest.raises(NotApplicable, match="runs Iris"):
            show(Cluster(), ("shell@h",))

    def test_nothing_is_sent_for_an_empty_user(self) -> None:
        run = Run(Cluster())
        with pytest.raises(EncodeError):
            run(presence_show(b"", NODES))
        assert run.calls == []
