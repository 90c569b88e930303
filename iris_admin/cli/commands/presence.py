"""``iris-admin presence``."""

from __future__ import annotations

from typing import Any

import click

from iris_admin.cli.command import Group
from iris_admin.cli.session import Session


@click.group("presence", cls=Group)
def command() -> None:
    """Look at who is connected, and where."""


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
