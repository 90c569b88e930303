"""Do messages pile up in the mailbox of some process?"""

from __future__ import annotations

from iris_admin.errors import IrisAdminError
from iris_admin.operations.checks.finding import FAIL, P1, P2, WARN, Finding, by_error, ok
from iris_admin.operations.checks.subject import Subject
from iris_admin.operations.parallel import side_by_side
from iris_admin.operations.processes import processes
from iris_admin.operations.steps import Operation

NAME = "mailboxes"
WARNS, FAILS = 1000, 10_000
#: The longest mailboxes of a node that are reported.
REPORTED = 3
#: In seconds: a ranking of a million processes takes two.
TIMEOUT = 20.0


def check(subject: Subject) -> Operation[list[Finding]]:
    """Findings on the processes with the longest mailboxes. No mailbox is read."""
    rankings = yield from side_by_side(
        {
            node: processes("message_queue_len", count=REPORTED, node=node, within=TIMEOUT)
            for node in subject.found.roles
        }
    )
    findings = []
    for node, ranking in rankings.items():
        if isinstance(ranking, IrisAdminError):
            findings.append(by_error(NAME, node, ranking))
            continue
        rows = [(row, row.message_queue_len or 0) for row in ranking.processes]
        for row, waiting in rows:
            if waiting >= WARNS:
                name = row.registered_name or row.initial_call
                findings.append(
                    Finding(
                        NAME,
                        FAIL if waiting >= FAILS else WARN,
                        P1 if waiting >= FAILS else P2,
                        node,
                        f"{waiting} messages wait for the process {row.pid}" + (f" ({name})" if name else ""),
                        {
                            "pid": row.pid,
                            "registered_name": row.registered_name,
                            "initial_call": row.initial_call,
                            "current_function": row.current_function,
                            "status": row.status,
                            "message_queue_len": waiting,
                            "memory_bytes": row.memory_bytes,
                        },
                        f"iris-admin -n {node} process '{row.pid}'",
                    )
                )
        longest = max((waiting for _, waiting in rows), default=0)
        if longest < WARNS:
            summary = f"the longest mailbox of {ranking.process_count} processes has {longest} messages"
            findings.append(ok(NAME, node, summary, message_queue_len=longest, processes=ranking.process_count))
    return findings
