"""``iris-admin audit``."""

from __future__ import annotations

import click

from iris_admin.cli.command import Command
from iris_admin.cli.session import Session


@click.command("audit", cls=Command)
@click.option(
    "-n",
    "--last",
    "count",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Show this many entries, the last ones.",
)
@click.pass_obj
def command(session: Session, count: int) -> None:
    """Show what was changed from this account, by iris-admin or the library: who, when, what, and how it ended.

    It is read from the audit file on this machine: $IRIS_ADMIN_AUDIT_FILE, or iris_admin/audit.jsonl in
    ~/.local/state. No node is asked.
    """
    from iris_admin.audit import read_audit

    found = read_audit()
    document = found.to_dict()
    document["entries"] = document["entries"][-count:]
    for number in found.damaged:
        session.warn(f"line {number} of {found.file} cannot be read")

    def lines() -> list[str]:
        from iris_admin.cli.layout import table

        if not document["entries"]:
            return [f"nothing was changed: {document['file']} has no entries"]
        return table(document["entries"], "time", "who", "host", "node", "command", "plan", "outcome", "backup")[1:]

    session.show(document, rows=document["entries"], text=lines)
