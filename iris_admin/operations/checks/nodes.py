"""Does every node answer that should be there?"""

from __future__ import annotations

from iris_admin.errors import (
    CallTimeout,
    CookieMismatch,
    EpmdUnreachable,
    HandshakeTimeout,
    IrisAdminError,
    NodeNotFound,
)
from iris_admin.operations.checks.finding import FAIL, P0, P1, WARN, Finding, cannot_tell, ok
from iris_admin.operations.checks.subject import CONNECTED, EXPECTED, STRONG_REASONS, Subject
from iris_admin.operations.steps import Operation

NAME = "nodes"


def check(subject: Subject) -> Operation[list[Finding]]:
    """A finding for each node that does not answer, for each role that nobody has, and on what cannot be known."""
    yield from ()
    findings = []
    cores, edges = subject.cores, subject.edges
    for node in sorted(subject.known):
        if node not in subject.found.roles:
            findings.append(_missing(subject, node))
    for role, present, level in (("core", cores, P0), ("edge", edges, P0)):
        if not present:
            findings.append(
                Finding(
                    NAME,
                    FAIL,
                    level,
                    None,
                    f"no {role} answers: "
                    + ("nobody can connect" if role == "edge" else "nothing is stored, nobody is found"),
                    {"cores": len(cores), "edges": len(edges), "remembered_by_epmd": list(subject.gone)},
                    "iris-admin nodes",
                )
            )
    roles = subject.found.roles
    others = sorted(node for node, role in roles.items() if not role.is_core and not role.is_edge)
    for node in others:
        if subject.known.get(node) and {reason for reason, _ in subject.known[node]} & STRONG_REASONS - {CONNECTED}:
            findings.append(
                Finding(
                    NAME,
                    FAIL,
                    P1,
                    node,
                    "it is up, but neither iris_core nor iris_edge runs on it",
                    {"known": subject.why(node)},
                    f"iris-admin -n {node} logs",
                )
            )
    if not findings:
        findings.append(
            ok(NAME, None, f"all that are known answer: cores {len(cores)}, edges {len(edges)}", nodes=sorted(roles))
        )
    if subject.gone:
        findings.append(
            cannot_tell(
                NAME,
                None,
                f"EPMD remembers {', '.join(subject.gone)}, which ran and do not any more: "
                "they may have been shells of operators",
                gone=list(subject.gone),
            )
        )
    if not subject.expected:
        blind = "".join(f"; {host}'s EPMD: {why}" for host, why in (subject.blind or {}).items())
        findings.append(
            cannot_tell(
                NAME,
                None,
                "no list says which nodes should be there: an edge that ended before its host's EPMD was started, or "
                f"on a host where nothing of this cluster is left, is not missed{blind}",
                next="add to the configuration file: [clusters.NAME] expected = [...]",
            )
        )
    return findings


def _missing(subject: Subject, node: str) -> Finding:
    error = subject.found.unanswered.get(node)
    role = subject.role_of(node)
    what = {"core": "the core", "edge": "the edge"}.get(role or "", "the node")
    reasons = {reason for reason, _ in subject.known.get(node, ())}
    evidence = {"role": role, "known": subject.why(node), "error": None if error is None else str(error)}
    if isinstance(error, CookieMismatch):
        return cannot_tell(NAME, node, f"{node} is up, but has another cookie", next=f"iris-admin -n {node} ping")
    verdict = FAIL if reasons & STRONG_REASONS or not reasons else WARN
    if subject.expected and EXPECTED not in reasons:
        # The list of the operator is the last word on what may be missing, but not on what others still rely on.
        verdict = WARN
    left = {"core": bool(subject.cores), "edge": bool(subject.edges)}.get(
        role or "", bool(subject.cores and subject.edges)
    )
    return Finding(
        NAME,
        verdict,
        P1 if left else P0,
        node,
        f"{what} {_state(error)}",
        evidence,
        f"iris-admin -n {node} ping",
    )


def _state(error: IrisAdminError | None) -> str:
    if isinstance(error, CallTimeout | HandshakeTimeout):
        return "hangs: it is there, but does not answer"
    if isinstance(error, NodeNotFound) or error is None:
        return "is down: its host's EPMD does not have it any more"
    if isinstance(error, EpmdUnreachable):
        return "cannot be reached: no EPMD answers on its host"
    return "cannot be reached"
