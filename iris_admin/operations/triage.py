"""The incident runbook's steps in its own order, each doing what it means, where its letter does nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from iris_admin.errors import ConfigError, IrisAdminError
from iris_admin.operations.checks.finding import CANNOT_TELL, OK, Finding, cannot_tell, worst
from iris_admin.operations.checks.registry import CHECKS
from iris_admin.operations.checks.subject import Subject, subject
from iris_admin.operations.doctor import guarded
from iris_admin.operations.escalation import Escalation
from iris_admin.operations.logs import logs
from iris_admin.operations.parallel import side_by_side
from iris_admin.operations.redaction import without_payloads
from iris_admin.operations.results import Result, Table
from iris_admin.operations.steps import Operation
from iris_admin.records import record

_LOG_EVENTS = 3
_LOG_DEPTH = 1 << 20
_LONGEST_LINE = 200


@record
class TriageStep(Result):
    """A step of the runbook.

    :param level: ``P0``, ``P1`` or ``P2``.
    :param number: of the step among those of its level.
    :param title: as the runbook has it.
    :param verdict: the worst of its findings; ``ok`` where there is nothing to be found.
    :param findings: what its checks found.
    :param lines: what else there is to see, such as the last lines of the logs.
    :param commands: to type, for more, or to put it right.
    """

    level: str
    number: int
    title: str
    verdict: str
    findings: Table[Finding]
    lines: tuple[str, ...]
    commands: tuple[str, ...]


@record
class Triage(Result):
    """A walk through the runbook.

    :param level: ``P0``, ``P1`` or ``P2``.
    :param verdict: the worst of all steps.
    :param steps: in the runbook's order.
    :param escalation: whom to call when.
    """

    level: str
    verdict: str
    steps: Table[TriageStep]
    escalation: Escalation


@dataclass(frozen=True, slots=True)
class _Planned:
    title: str
    checks: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    reads_logs: bool = False


_PLANS: Mapping[str, tuple[_Planned, ...]] = {
    "P0": (
        _Planned("Check node status", ("nodes", "links", "quorum", "mnesia"), ("iris-admin nodes",)),
        _Planned("Check ports", ("listeners",), ("iris-admin ports",)),
        _Planned("Check logs", (), ("iris-admin -n NODE logs",), reads_logs=True),
        _Planned(
            "Attempt restart",
            (),
            ("iris-admin bundle FILE.zip", "iris-admin restart NODE"),
        ),
        _Planned("Verify recovery", (), ("iris-admin smoke", "iris-admin doctor")),
    ),
    "P1": (
        _Planned("Check system resources", ("limits",), ("iris-admin -n NODE system",)),
        _Planned(
            "Check Erlang metrics",
            ("mailboxes", "pressure", "circuit breakers", "metrics"),
            ("iris-admin memory --all", "iris-admin stats --all", "iris-admin -n NODE processes"),
        ),
        _Planned(
            "Check Mnesia status",
            ("mnesia", "links", "quorum", "write-ahead log"),
            ("iris-admin mnesia status", "iris-admin mnesia tables"),
        ),
        _Planned("Fix: memory pressure", (), ("iris-admin -n NODE gc --top 10 --by binary",)),
        _Planned(
            "Fix: Mnesia overload",
            (),
            ("iris-admin -n CORE mnesia transactions", "iris-admin -n CORE mnesia locks"),
        ),
    ),
    "P2": (
        _Planned("Check offline storage", ("backlog", "write-ahead log"), ("iris-admin offline summary",)),
        _Planned("Check presence", ("presence",), ("iris-admin presence summary",)),
        _Planned("Check specific user", ("user",), ("iris-admin user USER",)),
        _Planned("Fix: clear stuck messages", (), ("iris-admin offline clear USER",)),
        _Planned("Fix: force redeliver", (), ("iris-admin redeliver USER --dry-run", "iris-admin redeliver USER")),
    ),
}
LEVELS = tuple(_PLANS)


def plan(level: str) -> Iterator[tuple[int, str]]:
    """The numbers and titles of a level's steps.

    :raises ConfigError: there is no such level.
    """
    for number, planned in enumerate(_plan(level), start=1):
        yield number, planned.title


def look_around(
    nodes: Sequence[str], *, user: str | bytes | None = None, expected: Sequence[str] = (), epmd_port: int | None = None
) -> Operation[Subject]:
    """What all steps begin from: who is there, and who should be."""
    return (yield from subject(nodes, user=user, expected=expected, epmd_port=epmd_port))


def triage_step(level: str, number: int, whom: Subject) -> Operation[TriageStep]:
    """Go one step of the runbook. It only looks: what would change something is named as a command.

    :param level: ``P0``, ``P1`` or ``P2``, in either case.
    :param number: of the step, from 1.
    :param whom: as :func:`look_around` gives it.
    :raises ConfigError: there is no such level.
    """
    planned = _plan(level)[number - 1]
    outcomes = yield from side_by_side({name: guarded(name, CHECKS[name], whom) for name in planned.checks})
    findings: list[Finding] = []
    for name, outcome in outcomes.items():
        if isinstance(outcome, IrisAdminError):
            findings.append(cannot_tell(name, outcome.node, str(outcome)))
        else:
            findings += outcome
    lines = (yield from _logged(whom)) if planned.reads_logs else ()
    verdicts = [finding.verdict for finding in findings if finding.verdict != CANNOT_TELL]
    return TriageStep(
        level=level.upper(),
        number=number,
        title=planned.title,
        verdict=worst(verdicts) if verdicts or not findings else CANNOT_TELL,
        findings=Table(Finding, findings),
        lines=lines,
        commands=planned.commands,
    )


def concluded(level: str, steps: Sequence[TriageStep], escalation: Escalation) -> Triage:
    """The whole walk, as one result."""
    return Triage(
        level.upper(), worst(step.verdict for step in steps) if steps else OK, Table(TriageStep, steps), escalation
    )


def _plan(level: str) -> tuple[_Planned, ...]:
    try:
        return _PLANS[level.upper()]
    except KeyError:
        raise ConfigError(
            f"the runbook has no steps for {level!r}", hint=f"Its levels with steps: {', '.join(LEVELS)}."
        ) from None


def _logged(whom: Subject) -> Operation[tuple[str, ...]]:
    answers: dict[str, Any] = yield from side_by_side(
        {node: logs(node, count=_LOG_EVENTS, depth=_LOG_DEPTH) for node in whom.found.roles}
    )
    lines: list[str] = []
    for node, answer in answers.items():
        if isinstance(answer, IrisAdminError):
            lines.append(f"{node}: {answer}")
            continue
        for entry in answer.entries:
            first = without_payloads(entry.text).strip().replace("\n", " | ")
            lines.append(f"{node}: {entry.time or ''} {first[:_LONGEST_LINE]}")
        if not answer.entries:
            lines.append(f"{node}: {answer.advice or 'nothing is logged'}")
    return tuple(lines)
