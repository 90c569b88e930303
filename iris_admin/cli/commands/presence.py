"""``iris-admin presence``."""

from __future__ import annotations

from typing import Any

import click

from iris_admin.cli.command import Group
from iris_admin.cli.session import Session
from iris_admin.errors import EX_UNAVAILABLE


@click.group("presence", cls=Group)
def command() -> None:
    """Look at who is connected, and where."""


_within = click.option(
    "--within",
    type=click.FloatRange(0, min_open=True),
    default=120.0,
    show_default=True,
    metavar="S",
    help="Stop the walk through each table after so many seconds, and show what is known then.",
)


@command.command("summary")
@_within
@click.pass_obj
def summary(session: Session, within: float) -> None:
    """Show how many users are connected to which edge, and how the cores' entries agree with that.

    Entries that are stale, expired or contradicting, and users of whom a core does not know, are counted, and some of
    them named. CSV and JSON lines have a line for each of the latter. Exit code 69 if a node could not be asked.
    """
    with session.connect_cluster() as cluster:
        document = cluster.presence_summary(within=within).to_dict()
    session.show(document, rows=document["problems"], text=lambda: _summary_lines(document))
    if document["cannot_tell"]:
        click.get_current_context().exit(EX_UNAVAILABLE)


@command.command("list")
@click.option("--prefix", default="", metavar="TEXT", help="Only users whose names begin so.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Show so many users at most."
)
@click.option("--after", metavar="USER", help="Only users behind this one: the next page.")
@_within
@click.pass_obj
def list_users(session: Session, prefix: str, limit: int, after: str | None, within: float) -> None:
    """List the users of whom an edge or a core has an entry, in the order of their names, a page at a time.

    What is wrong with an entry is said beside it. Exit code 69 if a node could not be asked.
    """
    with session.connect_cluster() as cluster:
        document = cluster.presence_list(prefix=prefix, limit=limit, after=after, within=within).to_dict()
    session.show(document, rows=document["users"], text=lambda: _list_lines(document))
    if document["cannot_tell"]:
        click.get_current_context().exit(EX_UNAVAILABLE)


@command.command("show")
@click.argument("user")
@click.pass_obj
def show(session: Session, user: str) -> None:
    """Show where USER is connected: on every edge, hidden ones included, and what each core believes."""
    with session.connect_cluster() as cluster:
        document = cluster.presence_show(user).to_dict()
    session.show(document, rows=document["connections"], text=lambda: _lines(document))


def _lines(document: dict[str, Any]) -> list[str]:
    from iris_admin.cli.layout import fields, table

    online = {True: "yes", False: "no", None: "cannot tell: not every node answered"}[document["online"]]
    unknown = [("no answer", f"{item['node']}: {item['reason']}") for item in document["cannot_tell"]]
    beliefs = [belief | {"online": "online" if belief["online"] else "offline"} for belief in document["beliefs"]]
    return [
        *fields([("user", document["user"]), ("online", online), *unknown]),
        *table(document["connections"], "node", "pid", "alive", "kind", "problem"),
        *table(beliefs, "core", "backend", "online", "edge", "age", "verdict", "explanation"),
    ]


def _summary_lines(document: dict[str, Any]) -> list[str]:
    from iris_admin.cli.layout import count, fields, table

    head: list[tuple[str, Any]] = [("connected", count(document["connections"], "connection"))]
    head += [("no answer", f"{item['node']}: {item['reason']}") for item in document["cannot_tell"]]
    head += [
        ("note", f"{core['node']} has {core['unused_entries']} entries in the back end that it does not use")
        for core in document["cores"]
        if core["unused_entries"]
    ]
    if document["cut"]:
        head.append(("note", "not all entries were looked at; --within gives it more time"))
    beliefs = ("entries", "agrees", "expired", "stale", "contradicts", "cannot_tell", "missing")
    return [
        *fields(head),
        *table(document["edges"], "node", "entries", "tcp", "websocket", "other", "stale"),
        *table(document["cores"], "node", "backend", *beliefs),
        *table(document["problems"], "node", "user", "verdict", "explanation"),
    ]


def _list_lines(document: dict[str, Any]) -> list[str]:
    from iris_admin.cli.layout import count, fields, table

    head: list[tuple[str, Any]] = [("page", count(len(document["users"]), "user"))]
    head += [("no answer", f"{item['node']}: {item['reason']}") for item in document["cannot_tell"]]
    if document["more"]:
        head.append(("more", f"--after {document['after']}"))
    rows = [
        {
            "user": user["user"],
            "online": {True: "yes", False: "no", None: "cannot tell"}[user["online"]],
            "connections": [f"{item['node']} ({item['kind'] or 'stale'})" for item in user["connections"]],
            "cores": [belief["verdict"] for belief in user["beliefs"]],
            "problem": next(iter(_problems(user)), None),
        }
        for user in document["users"]
    ]
    return [*fields(head), *table(rows)]


def _problems(user: dict[str, Any]) -> list[str]:
    """What is wrong with the entries of a user."""
    return [
        *(f"{item['node']}: {item['problem']}" for item in user["connections"] if item["problem"]),
        *(
            f"{belief['core']}: {belief['explanation']}"
            for belief in user["beliefs"]
            if belief["verdict"] not in ("agrees", "cannot tell")
        ),
    ]
