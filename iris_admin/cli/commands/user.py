"""``iris-admin user``."""

from __future__ import annotations

from typing import Any

import click

from iris_admin.cli.command import Command
from iris_admin.cli.session import Session
from iris_admin.errors import EX_UNAVAILABLE


@click.command("user", cls=Command, short_help="Everything about USER on one screen.")
@click.argument("user")
@click.pass_obj
def command(session: Session, user: str) -> None:
    """Show everything about USER: connections, what the cores believe, what is stored or waits, the next login.

    No message leaves its node, and nothing is changed. Exit code 67 for a user whom nobody knows, 69 if a node could
    not be asked.
    """
    with session.connect_cluster() as cluster:
        document = cluster.user(user).to_dict()
    session.show(document, text=lambda: _lines(document))
    if document["cannot_tell"]:
        click.get_current_context().exit(EX_UNAVAILABLE)


def _lines(document: dict[str, Any]) -> list[str]:
    from iris_admin.cli.layout import count, duration, fields, size, table

    online = {True: "yes", False: "no", None: "cannot tell: not every node answered"}[document["online"]]
    head: list[tuple[str, Any]] = [
        ("user", document["user"]),
        ("online", online),
        ("last seen", document["last_seen"]),
    ]
    for stored in document["stored"]:
        text = f"{count(stored['messages'], 'message')} in {count(stored['rows'], 'row')}, {size(stored['bytes'])}"
        if stored["oldest_age_seconds"] is not None:
            text += f", the oldest from {duration(max(0, stored['oldest_age_seconds']))} ago"
        head.append(("stored", text + (f" on {stored['core']}" if len(document["stored"]) > 1 else "")))
    if not document["stored"]:
        head.append(("stored", "nothing"))
    head.append(("buckets", document["bucket_count"]))
    for waiting in document["waiting"]:
        if waiting["rows"]:
            text = f"{count(waiting['rows'], 'row')}, of whatever user, not yet written on {waiting['core']}"
            head.append(("waiting", text))
        elif waiting["reason"]:
            head.append(("waiting", f"cannot tell for {waiting['core']}: {waiting['reason']}"))
    head.append(("next login", ("DANGER: " if document["danger"] else "") + document["next_login"]))
    head += [("no answer", f"{item['node']}: {item['reason']}") for item in document["cannot_tell"]]
    head += [("note", note) for note in document["notes"]]
    pending = {(item["node"], item["pid"]): item for item in document["pending"]}
    connections = [
        connection | _unacknowledged(pending.get((connection["node"], connection["pid"])))
        for connection in document["connections"]
    ]
    beliefs = [belief | {"online": "online" if belief["online"] else "offline"} for belief in document["beliefs"]]
    return [
        *fields(head),
        *table(connections, "node", "pid", "alive", "kind", "unacknowledged", "oldest", "mailbox", "problem"),
        *table(beliefs, "core", "backend", "online", "edge", "age", "verdict", "explanation"),
        *table(document["keys"], "core", "bucket", "records", "messages", "bytes"),
    ]


def _unacknowledged(pending: dict[str, Any] | None) -> dict[str, Any]:
    from iris_admin.cli.layout import Number, duration

    if pending is None:
        return {}
    age = pending["oldest_age_seconds"]
    return {
        "unacknowledged": pending["count"] if pending["reason"] is None else f"cannot tell: {pending['reason']}",
        "oldest": None if age is None else Number(duration(age)),
        "mailbox": pending["message_queue_len"],
    }
