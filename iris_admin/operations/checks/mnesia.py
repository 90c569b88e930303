"""Does Mnesia run on every core, and is every table loaded and copied where it should be?"""

from __future__ import annotations

from iris_admin.errors import IrisAdminError
from iris_admin.operations.checks.finding import FAIL, P0, P1, P2, WARN, Finding, by_error, ok
from iris_admin.operations.checks.subject import TIMEOUT, Subject
from iris_admin.operations.evaluate import run_remote
from iris_admin.operations.fields import names, number
from iris_admin.operations.parallel import side_by_side
from iris_admin.operations.steps import Operation
from iris_admin.terms import Term

NAME = "mnesia"
MAX_TABLES = 1000
#: Transactions that wait for a lock.
WAITING_WARNS = 100


def check(subject: Subject) -> Operation[list[Finding]]:
    """Findings on each core. Edges are not asked: Mnesia does not run there, and says that its tables are empty."""
    findings = []
    for core in subject.cores:
        account = subject.accounts[core]
        if account.mnesia == "yes":
            continue
        others = [other for other in subject.stores if other != core]
        state = {"starting": "is starting", "stopping": "is stopping"}.get(account.mnesia or "", "is stopped")
        findings.append(
            Finding(
                NAME,
                FAIL,
                P1 if others else P0,
                core,
                f"Mnesia {state} on this core: it stores and finds nothing",
                {"is_running": account.mnesia, "cores_with_mnesia": others},
                f"iris-admin -n {core} logs",
            )
        )
    answers = yield from side_by_side({core: _ask(core) for core in subject.stores})
    for core, answer in answers.items():
        if isinstance(answer, IrisAdminError):
            findings.append(by_error(NAME, core, answer))
        else:
            findings += _judge(subject, core, answer)
    return findings


def _ask(core: str) -> Operation[Term]:
    return (yield from run_remote("mnesia_tables", {"Max": MAX_TABLES}, node=core, timeout=TIMEOUT))


def _judge(subject: Subject, core: str, answer: Term) -> list[Finding]:
    count, waiting, tables = answer
    findings = []
    unloaded, uncopied = [], []
    running = subject.accounts[core].running
    for name, readable, copies, active in tables:
        if readable == "nowhere":
            unloaded.append(str(name))
        missing = sorted((set(names(copies)) & running) - set(names(active)))
        if missing:
            uncopied.append({"table": str(name), "missing_on": missing})
    command = f"iris-admin -n {core} mnesia info"
    evidence = {"tables": count, "running_nodes": sorted(running), "waiting_for_locks": number(waiting)}
    if unloaded:
        level = P1 if "offline_msg" in unloaded else P2
        summary = f"{len(unloaded)} tables cannot be read from this core: {', '.join(unloaded[:5])}"
        findings.append(Finding(NAME, FAIL, level, core, summary, evidence | {"not_loaded": unloaded}, command))
    if uncopied:
        summary = f"{len(uncopied)} tables lack a copy that should be active, first {uncopied[0]['table']}"
        findings.append(Finding(NAME, WARN, P2, core, summary, evidence | {"not_copied": uncopied[:20]}, command))
    if (number(waiting) or 0) >= WAITING_WARNS:
        findings.append(Finding(NAME, WARN, P1, core, f"{waiting} requests wait for a lock", evidence, command))
    if not findings:
        findings.append(ok(NAME, core, f"Mnesia runs, and all its {count} tables are loaded", **evidence))
    return findings
