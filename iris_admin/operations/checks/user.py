"""What is wrong around one user: where the user is, what the cores believe, and what the next login would do."""

from __future__ import annotations

from iris_admin.errors import IrisAdminError, NotApplicable
from iris_admin.operations.checks import backlog
from iris_admin.operations.checks.finding import FAIL, P2, P3, WARN, Finding, cannot_tell, ok
from iris_admin.operations.checks.subject import Subject
from iris_admin.operations.offline_summary import Backlog, describe_backlogs
from iris_admin.operations.presence import Presence, presence_show
from iris_admin.operations.steps import Operation
from iris_admin.operations.users import user_id
from iris_admin.text import binary_text

NAME = "user"


def check(subject: Subject) -> Operation[list[Finding]]:
    """Findings on the user that was asked for; none where none was."""
    if subject.user is None:
        return []
    wanted = user_id(subject.user)
    findings = []
    try:
        presence = yield from presence_show(wanted, [*subject.found.roles, *subject.found.unanswered])
        findings += _judge_presence(binary_text(wanted), presence)
    except NotApplicable as error:
        findings.append(cannot_tell(NAME, error.node, str(error)))
    for core in subject.stores[:1]:
        try:
            rows = yield from describe_backlogs([wanted], core)
        except IrisAdminError as error:
            findings.append(cannot_tell(NAME, core, str(error)))
            continue
        if not rows:
            findings.append(ok(NAME, core, f"nothing is stored for {binary_text(wanted)}", messages=0))
        findings += [_judge_stored(row) for row in rows]
    return findings


def _judge_presence(user: str, presence: Presence) -> list[Finding]:
    command = f"iris-admin presence show {backlog.quoted(user)}"
    living = [connection for connection in presence.connections if connection.alive]
    findings = []
    for connection in presence.connections:
        if connection.problem:
            findings.append(
                Finding(
                    NAME,
                    WARN if connection.alive else FAIL,
                    P2,
                    connection.node,
                    f"{user}: {connection.problem}",
                    {"kind": connection.kind, "alive": connection.alive},
                    command,
                )
            )
    wrong = [belief for belief in presence.beliefs if belief.verdict in ("stale", "contradicts")]
    for belief in wrong:
        findings.append(
            Finding(
                NAME,
                FAIL,
                P2,
                belief.core,
                f"{user}: the entry is {'stale' if belief.verdict == 'stale' else 'wrong'}. {belief.explanation}",
                {"edge": belief.edge, "age": belief.age},
                command,
            )
        )
    agreeing = [belief for belief in presence.beliefs if belief.verdict == "agrees" and belief.online]
    if living and presence.beliefs and not agreeing and not wrong:
        findings.append(
            Finding(
                NAME,
                WARN,
                P2,
                living[0].node,
                f"{user} is connected here, but no core knows it (entries expire after 30 s, and nothing renews them): "
                "what is sent from other edges goes to the offline store until the next login",
                {belief.core: belief.verdict for belief in presence.beliefs},
                f"iris-admin redeliver {backlog.quoted(user)} --dry-run",
            )
        )
    if any(connection.kind == "websocket" for connection in living):
        findings.append(
            Finding(
                NAME,
                WARN,
                P3,
                living[0].node,
                f"{user} is on a WebSocket, which acknowledges nothing: what does not arrive is lost",
                {},
                command,
            )
        )
    for item in presence.cannot_tell:
        findings.append(cannot_tell(NAME, item.node, item.reason))
    if not findings:
        where = ", ".join(connection.node for connection in living)
        findings.append(ok(NAME, None, f"{user} is connected to {where}" if where else f"{user} is offline"))
    return findings


def _judge_stored(row: Backlog) -> Finding:
    if row.messages >= backlog.WARNS:
        return backlog.judge(NAME, row)
    user = binary_text(row.user)
    return ok(
        NAME,
        row.core,
        f"{row.messages} messages are stored for {user}; the next login takes them out and delivers them",
        messages=row.messages,
        rows=row.rows,
        bytes=row.bytes,
    )
