"""Do rows wait in a core's write-ahead log for longer than they should?"""

from __future__ import annotations

from iris_admin.errors import IrisAdminError, RemoteError
from iris_admin.operations.checks.finding import FAIL, P1, P2, WARN, Finding, by_error, cannot_tell, ok
from iris_admin.operations.checks.subject import TIMEOUT, Subject
from iris_admin.operations.fields import number
from iris_admin.operations.parallel import side_by_side
from iris_admin.operations.steps import Call, Operation, Pause
from iris_admin.terms import Term

NAME = "write-ahead log"
#: A flush comes every half second; rows that still wait after this many seconds were there for two of them.
LONG_ENOUGH = 1.2
WARNS = 10_000


def check(subject: Subject) -> Operation[list[Finding]]:
    """A finding for each core. Edges are not asked: all figures are zero there, and say nothing."""
    before = yield from side_by_side({core: _ask(core) for core in subject.cores})
    after = before
    if any(_figure(answer, "total_pending") for answer in before.values()):
        yield Pause(LONG_ENOUGH)
        after = yield from side_by_side({core: _ask(core) for core in subject.cores})
    return [_judge(core, before[core], after[core]) for core in subject.cores]


def _ask(core: str) -> Operation[Term]:
    answer = yield Call("iris_durable_batcher", "get_stats", node=core, timeout=TIMEOUT, idempotent=True)
    return {str(key): value for key, value in answer.items()} if isinstance(answer, dict) else {}


def _figure(answer: Term | IrisAdminError, name: str) -> int:
    return number(answer.get(name)) or 0 if isinstance(answer, dict) else 0


def _judge(core: str, before: Term | IrisAdminError, after: Term | IrisAdminError) -> Finding:
    for answer in (before, after):
        if isinstance(answer, RemoteError) and answer.is_undef:
            return cannot_tell(NAME, core, "this release of Iris has no write-ahead log that could be asked")
        if isinstance(answer, IrisAdminError):
            return by_error(NAME, core, answer)
    waiting, then = _figure(after, "total_pending"), _figure(before, "total_pending")
    written = _figure(after, "writes_mnesia") - _figure(before, "writes_mnesia")
    failures = _figure(after, "remote_failures")
    evidence = {"total_pending": waiting, "total_pending_before": then, "written_meanwhile": written}
    command = f"iris-admin -n {core} rpc iris_durable_batcher force_flush"
    if then and waiting and not written:
        summary = f"{waiting} rows wait in the write-ahead log, and none was written within {LONG_ENOUGH} s"
        return Finding(NAME, FAIL, P1, core, summary, evidence, command)
    if waiting >= WARNS:
        return Finding(NAME, WARN, P2, core, f"{waiting} rows wait in the write-ahead log", evidence, command)
    if failures:
        return Finding(
            NAME,
            WARN,
            P2,
            core,
            f"{failures} times no other node took the second copy of an entry, since this core was started",
            evidence | {"remote_failures": failures},
            f"iris-admin -n {core} rpc iris_durable_batcher get_stats",
        )
    summary = f"{waiting} rows wait" + (", and are being written" if waiting else "")
    return ok(NAME, core, summary, **evidence)
