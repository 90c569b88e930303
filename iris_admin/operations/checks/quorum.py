"""What the cores' partition guards say, where that means something."""

from __future__ import annotations

from iris_admin.errors import IrisAdminError, RemoteError
from iris_admin.operations.checks.finding import FAIL, P0, P3, WARN, Finding, by_error, cannot_tell
from iris_admin.operations.checks.subject import TIMEOUT, Subject
from iris_admin.operations.fields import names, number
from iris_admin.operations.parallel import side_by_side
from iris_admin.operations.steps import Call, Operation
from iris_admin.terms import Term

NAME = "quorum"


def check(subject: Subject) -> Operation[list[Finding]]:
    """A finding for each core. Edges are not asked: a guard that does not run there says that all is safe."""
    answers = yield from side_by_side({core: _ask(core) for core in subject.cores})
    return [_judge(subject, core, answer) for core, answer in answers.items()]


def _ask(core: str) -> Operation[Term]:
    return (yield Call("iris_partition_guard", "get_status", node=core, timeout=TIMEOUT, idempotent=True))


def _judge(subject: Subject, core: str, answer: Term | IrisAdminError) -> Finding:
    if isinstance(answer, RemoteError) and answer.is_undef:
        return cannot_tell(NAME, core, "this release of Iris has no partition guard")
    if isinstance(answer, IrisAdminError):
        return by_error(NAME, core, answer)
    status = {str(key): value for key, value in answer.items()} if isinstance(answer, dict) else {}
    expected, visible = names(status.get("expected_nodes")), names(status.get("visible_nodes"))
    mode = str(status.get("mode"))
    evidence = {
        "mode": mode,
        "safe_for_writes": status.get("safe_for_writes"),
        "expected_nodes": list(expected),
        "visible_nodes": list(visible),
        "partition_count": number(status.get("partition_count")),
    }
    command = f"iris-admin -n {core} rpc iris_partition_guard get_status"
    if status.get("safe_for_writes") is not True:
        return Finding(
            NAME,
            FAIL,
            P0,
            core,
            "the partition guard has lost its quorum: this core refuses writes",
            evidence,
            f"iris-admin -n {core} nodes",
        )
    if mode == "not_running":
        return Finding(
            NAME, WARN, P3, core, "the partition guard does not run; its “safe” means nothing", evidence, command
        )
    if mode == "forced_unsafe":
        return Finding(
            NAME, WARN, P3, core, "the partition guard was switched off by hand (forced_unsafe)", evidence, command
        )
    if not expected:
        # Its quorum is more than half of nothing.
        return cannot_tell(
            NAME,
            core,
            "the guard expects no nodes (expected_nodes = []), so it finds a quorum always",
            next="set expected_cluster_nodes of iris_core on every core",
            **evidence,
        )
    if set(expected) == {core} and len(subject.cores) > 1:
        return cannot_tell(NAME, core, "the guard expects nobody but itself", next=command, **evidence)
    return Finding(
        NAME,
        "ok",
        None,
        core,
        f"{len(set(expected) & set(visible))} of {len(expected)} expected cores were in sight at its last look",
        evidence,
    )
