"""What a check finds: a verdict, the figures that it rests on, how urgent it is, and what to type next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from iris_admin.errors import IrisAdminError
from iris_admin.operations.results import Result
from iris_admin.records import record

OK, WARN, FAIL, CANNOT_TELL = "ok", "warn", "fail", "cannot tell"
#: The worst first.
VERDICTS = (FAIL, WARN, CANNOT_TELL, OK)

P0, P1, P2, P3 = "P0", "P1", "P2", "P3"


@record
class Finding(Result):
    """What a check found, on one node or in the whole cluster.

    :param check: which check.
    :param verdict: ``ok``, ``warn``, ``fail`` or ``cannot tell``.
    :param level: of the incident runbook, ``P0`` (service down) to ``P3`` (minor); None where all is well.
    :param node: the node; None for the cluster.
    :param summary: what was found, in a sentence.
    :param evidence: the figures behind it, by name.
    :param next: the command to type next; None where there is nothing to do.
    """

    check: str
    verdict: str
    level: str | None
    node: str | None
    summary: str
    evidence: Mapping[str, Any]
    next: str | None = None


def ok(check: str, node: str | None, summary: str, **evidence: Any) -> Finding:
    """All is well, as far as this check can see."""
    return Finding(check, OK, None, node, summary, evidence)


def cannot_tell(check: str, node: str | None, why: str, *, next: str | None = None, **evidence: Any) -> Finding:
    """The check has no answer, and why."""
    return Finding(check, CANNOT_TELL, None, node, f"cannot tell, because {why}", evidence, next)


def by_error(check: str, node: str, error: IrisAdminError) -> Finding:
    """A node did not answer this check."""
    return cannot_tell(check, node, str(error), next=f"iris-admin -n {node} ping")


def worst(verdicts: Iterable[str]) -> str:
    """The worst of some verdicts; ``ok`` where there is none."""
    found = set(verdicts)
    return next((verdict for verdict in VERDICTS if verdict in found), OK)
