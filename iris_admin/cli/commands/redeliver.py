"""``iris-admin redeliver``."""

from __future__ import annotations

from typing import Any

import click

from iris_admin.cli.command import Command
from iris_admin.cli.session import Session
from iris_admin.errors import EX_UNAVAILABLE


@click.command("redeliver", cls=Command, short_help="Deliver what is stored for USER, and lose nothing.")
@click.argument("user")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@click.pass_obj
def command(session: Session, user: str, dry_run: bool) -> None:
    """Deliver the messages that are stored for USER to the client that USER is connected with.

    A message leaves the store only once the client has acknowledged it, so none is lost; one may arrive twice. A
    backup file is written before. Exit code 69 if messages are left that were to be delivered.
    """
    with session.connect_cluster() as cluster:
        outcome = cluster.redeliver(user, dry_run=dry_run)
    document = outcome.to_dict()
    session.show(document, rows=document["messages"], text=lambda: _lines(document))
    if not outcome.is_done:
        click.get_current_context().exit(EX_UNAVAILABLE)


def _lines(document: dict[str, Any]) -> list[str]:
    from iris_admin.cli.layout import fields, moment, table

    fates = ", ".join(f"{count} {fate}" for fate, count in document["fates"].items())
    touched = document["method"] is not None
    head = [
        ("user", document["user"]),
        ("verdict", document["verdict"]),
        ("", document["explanation"]),
        ("method", document["method"]),
        ("edge", document["edge"]),
        ("messages", f"{document['stored_before']} stored before, {document['stored_after']} after"),
        ("", fates or None),
        ("backup", document["backup"]),
        ("promise", document["promise"] if touched else None),
    ]
    messages = [{"stored": moment(message["timestamp"])} | message for message in document["messages"]]
    return [*fields(head), *table(messages, "stored", "size", "digest", "fate")]
