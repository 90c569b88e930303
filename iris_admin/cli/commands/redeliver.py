"""``iris-admin redeliver``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from iris_admin.cli.command import Command
from iris_admin.cli.session import Session
from iris_admin.errors import EX_UNAVAILABLE

if TYPE_CHECKING:
    from iris_admin.cluster import Cluster


@click.command("redeliver", cls=Command, short_help="Deliver what is stored for USER, and lose nothing.")
@click.argument("users", metavar="USER...", nargs=-1)
@click.option("--stuck", is_flag=True, help="For all users who have stored messages and are connected over TCP.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@click.pass_obj
def command(session: Session, users: tuple[str, ...], stuck: bool, dry_run: bool) -> None:
    """Deliver the messages that are stored for each USER to the client that USER is connected with.

    A message leaves the store only once the client has acknowledged it, so none is lost; one may arrive twice. A
    backup file is written before. Exit code 69 if messages are left that were to be delivered.

    With several users, or --stuck, the JSON is a list. One user's failure is no other's.
    """
    from iris_admin.cli.layout import count
    from iris_admin.operations.redeliver import Redelivery

    if bool(users) is stuck:
        raise click.UsageError("Name either users, or --stuck.")
    with session.connect_cluster() as cluster:
        chosen: tuple[str | bytes, ...] = users
        if stuck:
            found = cluster.stuck_users()
            chosen = tuple(dict.fromkeys(user.user for user in found.users))
            for edge in found.cannot_tell:
                session.warn(f"{edge.node} could not be asked who is connected: {edge.reason}")
            session.tell(f"connected over TCP, with stored messages: {count(len(chosen), 'user')}")
        _warn_of_huge_backlogs(session, cluster, chosen)
        if len(chosen) == 1 and not stuck:
            outcome = cluster.redeliver(chosen[0], dry_run=dry_run)
            document = outcome.to_dict()
            session.show(document, rows=document["messages"], text=lambda: _lines(document))
            done = outcome.is_done
        else:
            outcomes = cluster.redeliver_all(*chosen, dry_run=dry_run)
            documents = [each.to_dict() for each in outcomes]
            session.show(documents, text=lambda: _table(documents))
            done = all(isinstance(each, Redelivery) and each.is_done for each in outcomes)
    if not done:
        click.get_current_context().exit(EX_UNAVAILABLE)


def _warn_of_huge_backlogs(session: Session, cluster: Cluster, users: Sequence[str | bytes]) -> None:
    from iris_admin.errors import NotApplicable

    try:
        backlogs = cluster.offline_backlogs(*users) if users else ()
    except NotApplicable:  # as redeliver itself will say
        return
    for backlog in backlogs:
        if backlog.huge:
            name = backlog.to_dict()["user"]
            session.warn(
                f"{backlog.messages} messages are stored for {name}. They are delivered one after another, which takes "
                "a while; a login meanwhile fetches all that are left at once, and so many have killed a connection"
            )


def _table(documents: list[dict[str, Any]]) -> list[str]:
    from iris_admin.cli.layout import count, table

    rows = [
        {
            "user": document["user"],
            "verdict": document.get("verdict") or document["error"],
            "before": document.get("stored_before"),
            "after": document.get("stored_after"),
            "explanation": document["explanation"],
            "backup": document.get("backup"),
        }
        for document in documents
    ]
    return [count(len(documents), "user"), *table(rows)]


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
