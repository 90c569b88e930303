"""Memory, stats and roles, by made-up answers."""

from __future__ import annotations

from typing import Any

import pytest

from iris_admin.errors import NodeDown
from iris_admin.operations.memory import memory
from iris_admin.operations.roles import cores, edges, members, role, role_of
from iris_admin.operations.stats import stats
from iris_admin.operations.steps import Call
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
        [charlist("25"), charlist("13.1.5"), 10, 100, 2, 20, 3000, 1048576, 40, 8192, 4],
        7,
        12345,
        3,
        1,
        CORE,
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
        }
        assert run.names == ["remote:stats"]

    def test_what_a_release_does_not_know_is_none(self) -> None:
        items: list[Term] = [charlist("19"), charlist("8.0"), *[Atom("undefined")] * 9]
        found = Run(lambda call: (Atom("a@b"), items, 0, 0, 0, 0, Atom("undefined")))(stats())
        assert (found.ets_tables, found.role, found.otp_release) == (None, None, "19")
