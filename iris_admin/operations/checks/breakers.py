"""Has an edge given up on a core?"""

from __future__ import annotations

from iris_admin.errors import IrisAdminError, RemoteError
from iris_admin.operations.checks.finding import P1, WARN, Finding, by_error, cannot_tell, ok
from iris_admin.operations.checks.subject import TIMEOUT, Subject
from iris_admin.operations.parallel import side_by_side
from iris_admin.operations.steps import Call, Operation
from iris_admin.terms import Term

NAME = "circuit breakers"


def check(subject: Subject) -> Operation[list[Finding]]:
    """A finding for each edge.

    An edge asks all nodes that it is connected to, other edges, guests and itself among them, for what only cores
    have, and fails. Such a breaker is open in good health, so only those of cores count.
    """
    answers = yield from side_by_side({edge: _ask(edge) for edge in subject.edges})
    return [_judge(subject, edge, answer) for edge, answer in answers.items()]


def _ask(edge: str) -> Operation[Term]:
    return (yield Call("iris_circuit_breaker", "get_all_status", node=edge, timeout=TIMEOUT, idempotent=True))


def _judge(subject: Subject, edge: str, answer: Term | IrisAdminError) -> Finding:
    if isinstance(answer, RemoteError) and answer.is_undef:
        return cannot_tell(NAME, edge, "this release of Iris has no circuit breaker")
    if isinstance(answer, IrisAdminError):
        return by_error(NAME, edge, answer)
    states = {str(node): _status(status) for node, status in answer.items()} if isinstance(answer, dict) else {}
    cores = {node: state for node, state in states.items() if subject.role_of(node) in ("core", "core+edge")}
    cores.pop(edge, None)
    shut = sorted(node for node, state in cores.items() if state != "closed")
    if not shut:
        return ok(NAME, edge, "no circuit breaker is open for a core", breakers=cores)
    return Finding(
        NAME,
        WARN,
        P1,
        edge,
        f"it has stopped asking {', '.join(shut)}, which failed several times in a row",
        {"breakers": cores},
        f"iris-admin -n {edge} rpc iris_circuit_breaker get_all_status",
    )


def _status(status: Term) -> str:
    if isinstance(status, dict):
        return next((str(value) for key, value in status.items() if str(key) == "status"), "unknown")
    return "unknown"
