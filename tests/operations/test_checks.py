"""The checks of ``doctor`` without a network: what each makes of what nodes answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from iris_admin.errors import CallTimeout, CookieMismatch, IrisAdminError, NodeNotFound, RemoteError
from iris_admin.operations.checks import breakers, links, nodes, pressure, quorum, write_ahead_log
from iris_admin.operations.checks.finding import Finding, worst
from iris_admin.operations.checks.subject import (
    CONFIGURED,
    EPMD,
    EXPECTED,
    PRESENCE,
    RELATIVE,
    SCHEMA,
    SEED,
    Account,
    Subject,
)
from iris_admin.operations.doctor import guarded
from iris_admin.operations.roles import Members, Role
from iris_admin.operations.steps import Call, Operation
from iris_admin.terms import Atom, Term
from tests.operations.conftest import Run

CORES, EDGES = ("iris_core1@h", "iris_core2@h"), ("iris_edge1@h", "iris_edge2@h")
EVERYBODY = (*CORES, *EDGES)


def role(node: str) -> Role:
    core = "core" in node
    return Role(node, "core" if core else "edge", "1" if core else None, None if core else "1", "4" if core else None)


def account(node: str, **changed: Any) -> Account:
    made: dict[str, Any] = {
        "connected": frozenset(EVERYBODY) - {node},
        "schema": frozenset(CORES) if node in CORES else frozenset(),
        "running": frozenset(CORES) if node in CORES else frozenset(),
        "mnesia": "yes" if node in CORES else None,
        "core_env": {},
        "edge_env": {} if node in CORES else {"core_nodes": [Atom(core) for core in CORES]},
    }
    return Account(**made | changed)


def whom(
    *,
    down: Mapping[str, IrisAdminError] | None = None,
    accounts: Mapping[str, Account] | None = None,
    known: Mapping[str, set[tuple[str, str]]] | None = None,
    expected: tuple[str, ...] = (),
) -> Subject:
    missing = dict(down or {})
    up = [node for node in EVERYBODY if node not in missing]
    return Subject(
        found=Members({node: role(node) for node in up}, missing),
        accounts={node: account(node) for node in up} | dict(accounts or {}),
        known={
            node: frozenset(reasons)
            for node, reasons in ({node: set() for node in EVERYBODY} | dict(known or {})).items()
        },
        expected=frozenset(expected),
        blind={},
    )


def silent(call: Call) -> Any:
    raise AssertionError(f"not to be asked: {call}")


def failing(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.verdict in ("fail", "warn")]


class TestNodes:
    GONE = "iris_edge2@h"

    def missing(self, error: IrisAdminError, *reasons: str, expected: tuple[str, ...] = ()) -> Finding:
        known = {self.GONE: {(reason, "iris_core1@h") for reason in reasons}}
        findings = Run(silent)(nodes.check(whom(down={self.GONE: error}, known=known, expected=expected)))
        return next(finding for finding in findings if finding.node == self.GONE)

    @pytest.mark.parametrize("reason", [EXPECTED, SCHEMA, CONFIGURED, PRESENCE, RELATIVE])
    def test_a_node_that_should_be_there(self, reason: str) -> None:
        finding = self.missing(NodeNotFound("gone"), reason)
        assert (finding.verdict, finding.level) == ("fail", "P1")

    @pytest.mark.parametrize("reason", [SEED, EPMD])
    def test_a_node_that_may_be_out_of_use(self, reason: str) -> None:
        assert self.missing(NodeNotFound("gone"), reason).verdict == "warn"

    def test_the_operators_list_is_the_last_word(self) -> None:
        assert self.missing(NodeNotFound("gone"), RELATIVE, expected=CORES).verdict == "warn"
        assert self.missing(NodeNotFound("gone"), EXPECTED, expected=(self.GONE,)).verdict == "fail"

    def test_a_node_that_hangs(self) -> None:
        assert "hangs" in self.missing(CallTimeout("5 s"), RELATIVE).summary

    def test_a_node_with_another_cookie_is_not_down(self) -> None:
        assert self.missing(CookieMismatch("no"), RELATIVE).verdict == "cannot tell"

    def test_no_edge_at_all_is_an_outage(self) -> None:
        down = dict.fromkeys(EDGES, NodeNotFound("gone"))
        findings = failing(Run(silent)(nodes.check(whom(down=down))))
        assert {finding.level for finding in findings} == {"P0"}
        assert any(finding.node is None and "no edge answers" in finding.summary for finding in findings)


class TestLinks:
    def test_all_is_well(self) -> None:
        assert failing(Run(silent)(links.check(whom()))) == []

    def test_cores_that_are_parted(self) -> None:
        one, other = CORES
        accounts = {one: account(one, connected=frozenset(EDGES)), other: account(other, connected=frozenset(EDGES))}
        (finding,) = failing(Run(silent)(links.check(whom(accounts=accounts))))
        assert (finding.level, finding.evidence["connected"]) == ("P0", False)

    def test_cores_whose_mnesia_is_parted(self) -> None:
        one, other = CORES
        accounts = {one: account(one, running=frozenset({one})), other: account(other, running=frozenset({other}))}
        (finding,) = failing(Run(silent)(links.check(whom(accounts=accounts))))
        assert "Mnesia has not joined them" in finding.summary

    def test_an_edge_without_any_core(self) -> None:
        edge = EDGES[0]
        (finding,) = failing(Run(silent)(links.check(whom(accounts={edge: account(edge, connected=frozenset())}))))
        assert "no core at all" in finding.summary


def on_nodes(answers: Mapping[str, Any]) -> Run:
    return Run(lambda call: answers[call.node or ""])


def atoms(status: Mapping[str, Term]) -> dict[Term, Term]:
    return {Atom(name): value for name, value in status.items()}


class TestQuorum:
    STATUS: Mapping[str, Term] = {
        "mode": Atom("normal"),
        "safe_for_writes": True,
        "expected_nodes": [Atom(core) for core in CORES],
        "visible_nodes": [Atom(core) for core in CORES],
        "partition_count": 0,
    }

    @pytest.mark.parametrize(
        ("changed", "verdict", "level"),
        [
            ({}, "ok", None),
            ({"expected_nodes": []}, "cannot tell", None),
            ({"expected_nodes": [Atom(CORES[0])]}, "cannot tell", None),
            ({"safe_for_writes": False, "mode": Atom("safe_mode")}, "fail", "P0"),
            ({"mode": Atom("not_running"), "expected_nodes": []}, "warn", "P3"),
            ({"mode": Atom("forced_unsafe")}, "warn", "P3"),
        ],
    )
    def test_verdict(self, changed: Mapping[str, Term], verdict: str, level: str | None) -> None:
        answers = {CORES[0]: atoms({**self.STATUS, **changed}), CORES[1]: atoms(self.STATUS)}
        finding = on_nodes(answers)(quorum.check(whom()))[0]
        assert (finding.verdict, finding.level) == (verdict, level)

    def test_a_release_without_it(self) -> None:
        undef = RemoteError("undef", reason=Atom("undef"), mfa=("iris_partition_guard", "get_status", 0))
        findings = on_nodes(dict.fromkeys(CORES, undef))(quorum.check(whom()))
        assert {finding.verdict for finding in findings} == {"cannot tell"}
        assert "has no partition guard" in findings[0].summary


class TestBreakers:
    def judge(self, states: Mapping[str, str]) -> list[Finding]:
        status = {Atom(node): atoms({"status": Atom(state)}) for node, state in states.items()}
        return failing(on_nodes(dict.fromkeys(EDGES, status))(breakers.check(whom())))

    def test_those_of_edges_and_guests_say_nothing(self) -> None:
        assert self.judge({EDGES[0]: "open", EDGES[1]: "open", "shell@h": "open", CORES[0]: "closed"}) == []

    def test_that_of_a_core(self) -> None:
        assert {finding.node for finding in self.judge({CORES[0]: "open"})} == set(EDGES)


class TestWriteAheadLog:
    def judge(self, before: Mapping[str, Term], after: Mapping[str, Term]) -> Finding:
        rounds = {core: [atoms(before), atoms(after)] for core in CORES}
        run = Run(lambda call: rounds[call.node or ""].pop(0))
        return run(write_ahead_log.check(whom()))[0]

    def test_rows_that_come_and_go(self) -> None:
        waiting = {"total_pending": 5, "writes_mnesia": 10}
        assert self.judge(waiting, {"total_pending": 7, "writes_mnesia": 15}).verdict == "ok"

    def test_rows_that_stay(self) -> None:
        stuck = {"total_pending": 5, "writes_mnesia": 10}
        assert self.judge(stuck, stuck).verdict == "fail"

    def test_nothing_waits(self) -> None:
        finding = self.judge({"total_pending": 0, "writes_mnesia": 10}, {})
        assert (finding.verdict, finding.evidence["total_pending"]) == ("ok", 0)


@pytest.mark.parametrize(
    ("level", "verdict"),
    [("normal", "ok"), ("slow", "warn"), ("shed_load", "fail"), ("critical", "fail"), ("new", "cannot tell")],
)
def test_pressure(level: str, verdict: str) -> None:
    findings = on_nodes(dict.fromkeys(CORES, atoms({"level": Atom(level)})))(pressure.check(whom()))
    assert {finding.verdict for finding in findings} == {verdict}


def test_an_answer_that_is_not_understood_costs_one_check() -> None:
    def broken(_: Subject) -> Operation[list[Finding]]:
        yield from ()
        raise KeyError("level")

    (finding,) = Run(silent)(guarded("broken", broken, whom()))
    assert (finding.check, finding.verdict) == ("broken", "cannot tell")
    assert "KeyError" in finding.summary


def test_the_worst_of_all() -> None:
    assert worst(["ok", "cannot tell", "warn", "fail"]) == "fail"
    assert worst(["ok", "cannot tell"]) == "cannot tell"
    assert worst([]) == "ok"
