"""``doctor``: all checks at once over a whole cluster, the worst first, each with what to type next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from iris_admin.errors import IrisAdminError
from iris_admin.operations.checks.finding import FAIL, VERDICTS, Finding, cannot_tell, worst
from iris_admin.operations.checks.registry import CHECKS, Check
from iris_admin.operations.checks.subject import Subject, subject
from iris_admin.operations.parallel import side_by_side
from iris_admin.operations.results import Result, Table
from iris_admin.operations.steps import Now, Operation, Progress
from iris_admin.records import record


@record
class Diagnosis(Result):
    """What all checks found.

    :param verdict: the worst of all: ``fail``, ``warn``, ``cannot tell`` or ``ok``.
    :param nodes: all nodes that are known, with those that do not answer.
    :param seconds: how long it took.
    :param findings: the worst first, then by level, then by check.
    """

    verdict: str
    nodes: tuple[str, ...]
    seconds: float
    findings: Table[Finding]

    @property
    def is_healthy(self) -> bool:
        """Whether no check has failed. What cannot be told, and warnings, do not count."""
        return self.verdict != FAIL


def doctor(
    nodes: Sequence[str],
    *,
    user: str | bytes | None = None,
    expected: Iterable[str] = (),
    epmd_port: int | None = None,
) -> Operation[Diagnosis]:
    """Look at everything that can be wrong. Only reads, and each question is bounded.

    :param nodes: all nodes that are known; those that do not answer are a finding, and no error.
    :param user: a user to look at as well.
    :param expected: nodes that should be there.
    :param epmd_port: of the hosts' EPMD; None where EPMD is not to be asked.
    """
    start = yield Now()
    yield Progress(f"asking {len(nodes)} nodes who they are and whom they know")
    whom = yield from subject(nodes, user=user, expected=expected, epmd_port=epmd_port)
    yield Progress(f"{len(CHECKS)} checks on {len(whom.found.roles)} nodes")
    outcomes = yield from side_by_side({name: guarded(name, check, whom) for name, check in CHECKS.items()})
    findings = []
    for name, outcome in outcomes.items():
        if isinstance(outcome, IrisAdminError):
            findings.append(cannot_tell(name, outcome.node, str(outcome)))
        else:
            findings += outcome
    return Diagnosis(
        verdict=worst(finding.verdict for finding in findings),
        nodes=tuple(sorted(whom.known)),
        seconds=(yield Now()) - start,
        findings=Table(Finding, sorted(findings, key=_urgency)),
    )


def strangers(
    nodes: Sequence[str], *, expected: Iterable[str] = (), epmd_port: int | None = None
) -> Operation[list[str]]:
    """Nodes that the known ones know of, but that were not found by their connections: dead, or parted from these.

    :returns: their names, in order, for the driver to try to join.
    """
    whom = yield from subject(nodes, expected=expected, epmd_port=epmd_port)
    return sorted(set(whom.known).difference(nodes))


def guarded(name: str, check: Check, whom: Subject) -> Operation[list[Finding]]:
    """Run a check; an answer that it does not understand becomes a finding, for the other checks matter more."""
    try:
        return (yield from check(whom))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        return [cannot_tell(name, None, f"an answer was not understood ({type(error).__name__}: {error})")]


def _urgency(finding: Finding) -> tuple[int, str, int, str]:
    order = list(CHECKS)
    place = order.index(finding.check) if finding.check in order else len(order)
    return VERDICTS.index(finding.verdict), finding.level or "P9", place, finding.node or ""
