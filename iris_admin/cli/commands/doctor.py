"""``iris-admin doctor``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import click

from iris_admin.cli.command import Command
from iris_admin.cli.session import Session
from iris_admin.errors import EX_UNAVAILABLE


@click.command("doctor", cls=Command)
@click.option("--user", metavar="USER", help="Look at this user, too: connections, presence, stored messages.")
@click.option("--all", "everything", is_flag=True, help="Show what is in order, too. The other formats always do.")
@click.pass_obj
def command(session: Session, user: str | None, everything: bool) -> None:
    """Run all checks over the whole cluster, and say what is wrong, how urgent it is, and what to type next.

    Nodes that have died are missed by what others know of them; those that the configuration file expects, always.
    Nothing is changed. Exit code 69 if a check failed; warnings and what cannot be told do not count.
    """
    with session.connect_somewhere() as cluster:
        diagnosis = cluster.doctor(user, expected=session.expected())
    document = diagnosis.to_dict()
    session.show(document, rows=document["findings"], text=lambda: lines(document, everything=everything))
    if not diagnosis.is_healthy:
        click.get_current_context().exit(EX_UNAVAILABLE)


def lines(document: Mapping[str, Any], *, everything: bool = False) -> Iterable[str]:
    """A diagnosis for people: what is wrong, a block each, and how many checks found nothing."""
    from iris_admin.cli.layout import count, duration

    findings = document["findings"]
    shown = [finding for finding in findings if everything or finding["verdict"] != "ok"]
    for finding in shown:
        yield from block(finding)
    well = sum(finding["verdict"] == "ok" for finding in findings)
    counts = ", ".join(
        f"{number} {verdict}"
        for verdict in ("fail", "warn", "cannot tell", "ok")
        if (number := sum(finding["verdict"] == verdict for finding in findings))
    )
    yield (
        f"{document['verdict'].upper()}: {counts}; {count(len(document['nodes']), 'node')}, in "
        f"{duration(document['seconds'])}"
        + (f" (--all shows the {well} that are ok)" if well and not everything else "")
    )


def block(finding: Mapping[str, Any]) -> Iterable[str]:
    """A finding for people."""
    from iris_admin.text import printable

    level = finding["level"] or "--"
    where = f" on {finding['node']}" if finding["node"] else ""
    yield printable(f"{finding['verdict'].upper():<11}  {level}  {finding['check']}{where}: {finding['summary']}")
    if finding["verdict"] != "ok" and finding["evidence"]:
        yield printable(f"{'':<17}{_evidence(finding['evidence'])}")
    if finding["next"]:
        yield printable(f"{'':<17}next: {finding['next']}")


def _evidence(evidence: Mapping[str, Any]) -> str:
    from iris_admin.cli.layout import cell

    return "; ".join(f"{name} {cell(value)}" for name, value in evidence.items() if value not in (None, [], {}))
