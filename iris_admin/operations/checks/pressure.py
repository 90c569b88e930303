"""Does a core's flow controller hold messages back?"""

from __future__ import annotations

from iris_admin.errors import IrisAdminError, RemoteError
from iris_admin.operations.checks.finding import FAIL, P1, WARN, Finding, by_error, cannot_tell, ok
from iris_admin.operations.checks.subject import TIMEOUT, Subject
from iris_admin.operations.fields import number
from iris_admin.operations.parallel import side_by_side
from iris_admin.operations.steps import Call, Operation
from iris_admin.terms import Term

NAME = "pressure"
_LEVELS = {"normal": 1, "slow": 2, "shed_load": 3, "critical": 4}


def check(subject: Subject) -> Operation[list[Finding]]:
    """A finding for each core."""
    answers = yield from side_by_side({core: _ask(core) for core in subject.cores})
    return [_judge(core, answer) for core, answer in answers.items()]


def _ask(core: str) -> Operation[Term]:
    return (yield Call("iris_flow_controller", "get_stats", node=core, timeout=TIMEOUT, idempotent=True))


def _judge(core: str, answer: Term | IrisAdminError) -> Finding:
    if isinstance(answer, RemoteError) and answer.is_undef:
        return cannot_tell(NAME, core, "this release of Iris has no flow controller")
    if isinstance(answer, IrisAdminError):
        return by_error(NAME, core, answer)
    status = {str(key): value for key, value in answer.items()} if isinstance(answer, dict) else {}
    name = str(status.get("level"))
    level = number(status.get("level")) or _LEVELS.get(name)
    evidence = {
        key: str(value) if isinstance(value, str) else value
        for key, value in status.items()
        if key in ("level", "admitted", "rejected", "cpu_percent", "memory_percent", "cascade_detected")
    }
    if level is None:
        return cannot_tell(NAME, core, f"the flow controller has a level that is not known here: {name}")
    if level > 1:
        summary = f"the flow controller is at level {level} of 4" + (
            ": it refuses messages" if level > 2 else ": it slows senders down"
        )
        verdict = FAIL if level > 2 else WARN
        return Finding(NAME, verdict, P1, core, summary, evidence, f"iris-admin -n {core} memory")
    return ok(NAME, core, "the flow controller lets everything through", **evidence)
