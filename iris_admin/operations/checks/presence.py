"""Do the cores know where users are, and do their entries lead to connections that live?

A core forgets an entry 30 s after the last heartbeat, and nothing sends one. So a user who is connected looks offline
to all but the edge that has the connection, and messages go to the offline store until the next login.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from iris_admin.errors import IrisAdminError
from iris_admin.operations.checks.backlog import quoted
from iris_admin.operations.checks.finding import FAIL, P2, WARN, Finding, by_error, cannot_tell, ok
from iris_admin.operations.checks.subject import TIMEOUT, Subject
from iris_admin.operations.evaluate import run_remote
from iris_admin.operations.parallel import side_by_side
from iris_admin.operations.steps import Operation
from iris_admin.terms import Pid, Term
from iris_admin.text import binary_text

NAME = "presence"
#: Entries that are looked at on each edge, and on each core.
ON_EDGE, ON_CORE = 100_000, 5000
#: Users of each edge that the cores are asked for.
SAMPLE = 200
_NAMED = 5


@dataclass(frozen=True, slots=True)
class _Edge:
    size: int
    looked: int
    dead: int
    dead_users: list[tuple[bytes, Pid]]
    users: list[bytes]


@dataclass(frozen=True, slots=True)
class _Core:
    size: int
    looked: int
    expired: int
    entries: list[tuple[bytes, str, Pid]]
    known: set[bytes]


def check(subject: Subject) -> Operation[list[Finding]]:
    """Findings on the entries of edges and cores, as far as they were looked at."""
    findings: list[Finding] = []
    edges = yield from side_by_side({edge: _ask_edge(edge) for edge in subject.edges})
    users = [user for answer in edges.values() if isinstance(answer, _Edge) for user in answer.users]
    cores = yield from side_by_side({core: _ask_core(core, users) for core in subject.cores})
    for edge, answer in edges.items():
        if isinstance(answer, IrisAdminError):
            findings.append(by_error(NAME, edge, answer))
        elif answer is None:
            findings.append(cannot_tell(NAME, edge, "it has no table local_presence_v2"))
        elif answer.dead:
            findings.append(_stale_on_edge(edge, answer))
    for core, belief in cores.items():
        if isinstance(belief, IrisAdminError):
            findings.append(by_error(NAME, core, belief))
        elif belief is None:
            findings.append(cannot_tell(NAME, core, "it has no presence table in its back end"))
    asked = {edge: answer for edge, answer in edges.items() if isinstance(answer, _Edge)}
    believed = {core: belief for core, belief in cores.items() if isinstance(belief, _Core)}
    findings += yield from _stale_on_cores(subject, believed)
    if asked and believed and len(believed) == len(subject.cores):
        findings += _forgotten(asked, believed)
    if not believed:
        findings.append(cannot_tell(NAME, None, "no core says what it believes"))
    if not findings and asked:
        connected = sum(answer.size for answer in asked.values())
        findings.append(ok(NAME, None, f"{connected} users are connected, and entries and connections agree"))
    return findings


def _ask_edge(edge: str) -> Operation[_Edge | None]:
    bindings = {"Max": ON_EDGE, "Sample": SAMPLE}
    answer = yield from run_remote("survey_edge", bindings, node=edge, timeout=2 * TIMEOUT)
    return None if answer == "undefined" else _Edge(*answer)


def _ask_core(core: str, users: list[bytes]) -> Operation[_Core | None]:
    bindings: dict[str, Term] = {"Max": ON_CORE, "Users": list(users)}
    answer = yield from run_remote("survey_core", bindings, node=core, timeout=2 * TIMEOUT)
    if answer[1] == "undefined":
        return None
    _, size, looked, expired, entries, known = answer
    return _Core(size, looked, expired, [(user, str(node), pid) for user, node, pid in entries], set(known))


def _stale_on_edge(edge: str, answer: _Edge) -> Finding:
    first = binary_text(answer.dead_users[0][0])
    return Finding(
        NAME,
        FAIL,
        P2,
        edge,
        f"stale entries of connections whose processes are gone: {answer.dead}, e.g. of {first}; what is sent to these "
        "users through this edge is lost",
        {"stale": answer.dead, "users": _names(user for user, _ in answer.dead_users), **_looked(answer)},
        f"iris-admin presence show {quoted(first)}",
    )


def _stale_on_cores(subject: Subject, cores: Mapping[str, _Core]) -> Operation[list[Finding]]:
    by_edge: dict[str, list[Pid]] = {}
    for belief in cores.values():
        for _, node, pid in belief.entries:
            if node in subject.edges and str(pid.node) == node:
                by_edge.setdefault(node, []).append(pid)
    answers = yield from side_by_side({edge: _ask_gone(edge, pids) for edge, pids in by_edge.items()})
    gone = {pid for answer in answers.values() if not isinstance(answer, IrisAdminError) for pid in answer}
    findings = []
    for core, belief in cores.items():
        stale = [
            (user, node)
            for user, node, pid in belief.entries
            if pid in gone or (node not in subject.found.roles and _is_gone(subject, node))
        ]
        if stale:
            first = binary_text(stale[0][0])
            findings.append(
                Finding(
                    NAME,
                    FAIL,
                    P2,
                    core,
                    f"stale entries of users who are not connected: {len(stale)}, e.g. {first} on {stale[0][1]}",
                    {"stale": len(stale), "users": _names(user for user, _ in stale), **_looked(belief)},
                    f"iris-admin presence show {quoted(first)}",
                )
            )
    return findings


def _is_gone(subject: Subject, node: str) -> bool:
    """Whether a node is not only out of our reach: no node that answers is connected to it."""
    return not any(node in account.connected for account in subject.accounts.values())


def _ask_gone(edge: str, pids: list[Pid]) -> Operation[list[Pid]]:
    gone: list[Pid] = yield from run_remote("gone_processes", {"Pids": list(pids)}, node=edge, timeout=TIMEOUT)
    return gone


def _forgotten(edges: Mapping[str, _Edge], cores: Mapping[str, _Core]) -> list[Finding]:
    """Users who are connected, and of whom no core knows."""
    known: set[bytes] = set().union(*(belief.known for belief in cores.values()))
    findings = []
    for edge, answer in edges.items():
        missing = [user for user in answer.users if user not in known]
        if missing:
            first = binary_text(missing[0])
            findings.append(
                Finding(
                    NAME,
                    WARN,
                    P2,
                    edge,
                    f"{len(missing)} of {len(answer.users)} users that were looked at are connected here, and no core "
                    f"knows it, e.g. {first}: entries expire after 30 s, nothing renews them, and what is sent from "
                    "other edges goes to the offline store until the next login",
                    {"forgotten": len(missing), "asked_for": len(answer.users), "users": _names(missing)},
                    f"iris-admin presence show {quoted(first)}",
                )
            )
    return findings


def _looked(answer: _Edge | _Core) -> dict[str, int]:
    return {"entries": answer.size, "entries_looked_at": answer.looked}


def _names(users: Iterable[bytes]) -> list[str]:
    return [binary_text(user) for user, _ in zip(users, range(_NAMED), strict=False)]
