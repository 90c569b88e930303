"""``iris-admin offline``."""

from __future__ import annotations

from typing import Any

import click

from iris_admin.cli.command import Group
from iris_admin.cli.session import Session

_KEYS = {"bucketed": "{User, Bucket}", "bare": "User", "both": "{User, Bucket} and User"}


@click.group("offline", cls=Group, short_help="Look at the messages stored for absent users.")
def command() -> None:
    """Look at the messages that are stored for users who were offline."""


@command.command("show")
@click.argument("user")
@click.option(
    "--payload", is_flag=True, help="Show the messages themselves, too. They are private: think before you do."
)
@click.pass_obj
def show(session: Session, user: str, payload: bool) -> None:
    """Show the messages that are stored for USER, oldest first: time, size and digest of each.

    Nothing is removed or delivered by this.
    """
    with session.connect_cluster() as cluster:
        found = cluster.offline_show(user, payload=payload)
    document = found.to_dict()
    session.show(document, rows=document["messages"], text=lambda: _lines(document))


def _lines(document: dict[str, Any]) -> list[str]:
    from iris_admin.cli.layout import count, fields, moment, size, table

    last_seen = document["last_seen"]
    head: list[tuple[str, Any]] = [
        ("user", document["user"]),
        (
            "stored",
            f"{count(document['total_messages'], 'message')} in {count(document['total_records'], 'record')}, "
            f"{size(document['total_bytes'])}" + (", of which the first are shown" if document["cut"] else ""),
        ),
        ("key", _KEYS.get(document["scheme"])),
        ("buckets", document["bucket_count"]),
        ("last seen", None if last_seen is None else moment(last_seen * 1000)),
    ]
    for waiting in document["waiting"]:
        if waiting["rows"]:
            head.append(
                ("waiting", f"{count(waiting['rows'], 'row')}, of whatever user, not yet written on {waiting['core']}")
            )
        elif waiting["reason"]:
            head.append(("waiting", f"cannot tell for {waiting['core']}: {waiting['reason']}"))
    head += [("note", note) for note in document["notes"]]
    messages = [
        message | {"part": f"{message['part']} of {message['parts']}" if message["parts"] > 1 else None}
        for message in document["messages"]
    ]
    return [*fields(head), *table(messages, "time", "bucket", "part", "kind", "size", "digest", "payload")]
