"""How near is a node to the limits at which it fails, and is its CPU keeping up?"""

from __future__ import annotations

from iris_admin.errors import IrisAdminError
from iris_admin.operations.checks.finding import FAIL, P1, P2, WARN, Finding, by_error, ok
from iris_admin.operations.checks.subject import Subject
from iris_admin.operations.parallel import side_by_side
from iris_admin.operations.stats import Stats, stats
from iris_admin.operations.steps import Operation

NAME = "limits"
#: Parts of a limit.
WARNS, FAILS = 0.75, 0.9
#: Processes that wait to run, for each scheduler.
RUN_QUEUE_WARNS = 20


def check(subject: Subject) -> Operation[list[Finding]]:
    """Findings on each node's processes, ports and atoms, and its run queue."""
    answers = yield from side_by_side({node: stats(node) for node in subject.found.roles})
    findings = []
    for node, figures in answers.items():
        findings += [by_error(NAME, node, figures)] if isinstance(figures, IrisAdminError) else _judge(node, figures)
    return findings


def _judge(node: str, figures: Stats) -> list[Finding]:
    findings = []
    used = {}
    for what, count, limit in (
        ("processes", figures.processes, figures.process_limit),
        ("ports", figures.ports, figures.port_limit),
        ("atoms", figures.atoms, figures.atom_limit),
    ):
        if count is None or not limit:
            continue
        used[what] = round(count / limit, 4)
        if count >= WARNS * limit:
            failing = count >= FAILS * limit
            summary = f"{count} of {limit} {what} are in use" + (
                "; they are never collected, and the node ends at the limit" if what == "atoms" else ""
            )
            findings.append(
                Finding(
                    NAME,
                    FAIL if failing else WARN,
                    P1 if failing else P2,
                    node,
                    summary,
                    {what: count, "limit": limit},
                    f"iris-admin -n {node} stats",
                )
            )
    schedulers = figures.schedulers_online or 1
    if figures.run_queue >= RUN_QUEUE_WARNS * schedulers:
        findings.append(
            Finding(
                NAME,
                WARN,
                P1,
                node,
                f"{figures.run_queue} processes wait to run on {schedulers} schedulers: the CPU does not keep up",
                {"run_queue": figures.run_queue, "schedulers": schedulers},
                f"iris-admin -n {node} processes --by reductions --interval 1",
            )
        )
    if not findings:
        summary = "well below its limits" + "".join(f", {what} {part:.0%}" for what, part in used.items())
        findings.append(ok(NAME, node, summary, used=used, run_queue=figures.run_queue, schedulers=schedulers))
    return findings
