"""Are so many messages stored for one user that the next login would lose them?

A login removes the user's stored messages before it delivers them, and does not wait for acknowledgements. A login to
12,001 messages ended the connection, and all of them were lost.
"""

from __future__ import annotations

from iris_admin.operations.checks.finding import FAIL, P2, WARN, Finding, cannot_tell, ok
from iris_admin.operations.checks.subject import Subject
from iris_admin.operations.offline_summary import Backlog, offline_summary
from iris_admin.operations.steps import Operation
from iris_admin.text import binary_text

NAME = "backlog"
WARNS, FAILS = 1000, 10_000
#: The largest backlogs that are reported.
REPORTED = 5
#: How long the table is walked through, in seconds; ten million rows may take longer.
WITHIN = 15.0


def check(subject: Subject) -> Operation[list[Finding]]:
    """A finding for each huge backlog, and one for the store. No message is read."""
    if not subject.stores:
        return [cannot_tell(NAME, None, "no core with Mnesia answers")]
    summary = yield from offline_summary(subject.stores, top=REPORTED, within=WITHIN)
    findings = [judge(NAME, row) for row in summary.largest if row.messages >= WARNS]
    largest = max((row.messages for row in summary.largest), default=0)
    evidence = {"rows": summary.rows, "largest": largest, "cut": summary.cut}
    if summary.cut:
        findings.append(
            cannot_tell(
                NAME,
                None,
                f"{summary.rows} rows were too many to look at within {WITHIN:g} s: there may be larger backlogs",
                next="iris-admin offline summary",
                **evidence,
            )
        )
    elif not findings:
        findings.append(
            ok(NAME, None, f"{summary.rows} rows are stored, at most {largest} messages for one user", **evidence)
        )
    return findings


def judge(check_name: str, row: Backlog) -> Finding:
    """What a backlog of :data:`WARNS` messages or more means."""
    user = binary_text(row.user)
    failing = row.messages >= FAILS
    return Finding(
        check_name,
        FAIL if failing else WARN,
        P2,
        row.core,
        f"{row.messages} messages are stored for {user}: "
        + (
            "the next login removes them all before it delivers any, and may end before it has; they would be lost. "
            "Have this user stay away until they are exported"
            if failing
            else "a login removes them all before it delivers any"
        ),
        {
            "user": user,
            "messages": row.messages,
            "rows": row.rows,
            "bytes": row.bytes,
            "oldest": row.oldest,
        },
        f"iris-admin offline export {quoted(user)} FILE",
    )


def quoted(text: str) -> str:
    """A word as a shell takes it."""
    from shlex import quote

    return quote(text)
