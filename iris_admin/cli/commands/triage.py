"""``iris-admin triage``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import click

from iris_admin.cli.command import Command
from iris_admin.cli.session import Session
from iris_admin.errors import EX_UNAVAILABLE


@click.command("triage", cls=Command)
@click.argument("level", type=click.Choice(["p0", "p1", "p2"], case_sensitive=False))
@click.option("--user", metavar="USER", help="Look at this user, too.")
@click.pass_obj
def command(session: Session, level: str, user: str | None) -> None:
    """Go the incident runbook's steps for LEVEL in its order, and show each as soon as it is done.

    Each step does what the runbook means. Nothing is changed: what would put things right is named as a command. At the
    end stands whom to call when, from [escalation] of the configuration file, or as in the runbook. Exit code 69 if a
    check failed.
    """
    from iris_admin.config import load_config
    from iris_admin.operations.escalation import escalation
    from iris_admin.operations.triage import concluded

    whom = escalation(load_config(session.given.get("config")).escalation, level.upper())
    steps = []
    as_text = session.format == "table"
    with session.connect_somewhere() as cluster:
        for step in cluster.triage(level, user=user, expected=session.expected()):
            steps.append(step)
            if as_text:
                document = step.to_dict()
                session.show(document, text=lambda document=document: _step_lines(document))  # type: ignore[misc]
                sys.stdout.flush()
    triage = concluded(level, steps, whom)
    document = triage.to_dict()
    session.show(document, rows=document["steps"], text=lambda: _escalation_lines(document["escalation"]))
    if triage.verdict == "fail":
        click.get_current_context().exit(EX_UNAVAILABLE)


def _step_lines(step: dict[str, Any]) -> Iterator[str]:
    from iris_admin.cli.commands.doctor import block
    from iris_admin.text import printable

    verdict = step["verdict"].upper() if step["findings"] else ""
    yield f"{step['level']} {step['number']}. {step['title']}" + (f": {verdict}" if verdict else "")
    wrong = [finding for finding in step["findings"] if finding["verdict"] != "ok"]
    for finding in wrong:
        yield from (f"  {line}" for line in block(finding))
    well = sorted({finding["check"] for finding in step["findings"]} - {finding["check"] for finding in wrong})
    if well:
        yield f"  ok: {', '.join(well)}"
    for line in step["lines"]:
        yield f"  {printable(line)}"
    for text in step["commands"]:
        yield f"  to type: {text}"
    yield ""


def _escalation_lines(escalation: dict[str, Any]) -> Iterator[str]:
    from iris_admin.cli.layout import columns
    from iris_admin.text import printable

    yield "Escalation"
    yield from (
        f"  {line}"
        for line in columns([[row["level"], row["meaning"], row["response"]] for row in escalation["levels"]])
    )
    for row in escalation["steps"]:
        yield printable(f"  {row['level']}: not recovered in {row['minutes']:g} minutes: call {row['who']}")
    for row in escalation["contacts"]:
        yield printable(f"  {row['role']}: {row['contact']}")
