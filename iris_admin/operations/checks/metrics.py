"""Is there anything behind Iris's own metrics?"""

from __future__ import annotations

from iris_admin.errors import IrisAdminError
from iris_admin.operations.checks.finding import Finding, cannot_tell, ok
from iris_admin.operations.checks.subject import TIMEOUT, Subject
from iris_admin.operations.evaluate import run_remote
from iris_admin.operations.parallel import side_by_side
from iris_admin.operations.steps import Operation
from iris_admin.terms import Term

NAME = "metrics"


def check(subject: Subject) -> Operation[list[Finding]]:
    """One finding: where ``iris_metrics`` is not started, its export is empty, and its durability a constant."""
    nodes = [node for node, role in subject.found.roles.items() if role.is_core or role.is_edge]
    answers = yield from side_by_side({node: _ask(node) for node in nodes})
    silent = sorted(node for node, runs in answers.items() if not isinstance(runs, IrisAdminError) and runs is not True)
    if not silent:
        return [ok(NAME, None, "iris_metrics runs wherever Iris does", nodes=nodes)]
    return [
        cannot_tell(
            NAME,
            None,
            f"iris_metrics is not started on {', '.join(silent)}: an empty export and “100 % durable” mean nothing",
            not_started=silent,
        )
    ]


def _ask(node: str) -> Operation[Term]:
    return (yield from run_remote("is_registered", {"Name": b"iris_metrics"}, node=node, timeout=TIMEOUT))
