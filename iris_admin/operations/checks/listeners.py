"""Do the edges listen for clients, and does a connection from here work?"""

from __future__ import annotations

from iris_admin.operations.checks.finding import FAIL, P0, P1, P2, WARN, Finding, ok
from iris_admin.operations.checks.subject import Subject
from iris_admin.operations.ports import CLIENTS, WEBSOCKET, ports
from iris_admin.operations.steps import Operation

NAME = "listeners"


def check(subject: Subject) -> Operation[list[Finding]]:
    """A finding for each edge; others have no clients."""
    if not subject.edges:
        return []
    rows = yield from ports(subject.edges)
    findings = []
    down = {row.node for row in rows if row.purpose == CLIENTS and not row.listening}
    for edge in subject.edges:
        mine = [row for row in rows if row.node == edge and row.purpose in (CLIENTS, WEBSOCKET)]
        wrong = [row for row in mine if not row.listening or row.reachable is False or row.problem]
        evidence = {str(row.purpose): {"port": row.port, "connections": row.connections} for row in mine}
        if not mine:
            unknown = next((row.problem for row in rows if row.node == edge and row.problem), "it did not say")
            findings.append(Finding(NAME, "cannot tell", None, edge, f"cannot tell, because {unknown}", {}))
        for row in wrong:
            serious = row.purpose == CLIENTS and not row.listening
            findings.append(
                Finding(
                    NAME,
                    FAIL if not row.listening else WARN,
                    P0 if len(down) == len(subject.edges) else P1 if serious else P2,
                    edge,
                    row.problem or f"port {row.port} for {row.purpose} does not answer from here",
                    evidence,
                    f"iris-admin -n {edge} ports",
                )
            )
        if mine and not wrong:
            connections = sum(row.connections or 0 for row in mine)
            findings.append(ok(NAME, edge, f"clients can connect; {connections} connections", **evidence))
    return findings
