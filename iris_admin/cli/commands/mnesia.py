"""``iris-admin mnesia``."""

from __future__ import annotations

from typing import Any

import click

from iris_admin.cli.command import Group
from iris_admin.cli.session import Session


@click.group("mnesia", cls=Group)
def command() -> None:
    """Look at Mnesia on a core. An edge has none, and its answers would mislead."""


@command.command("info", short_help="Show what mnesia:info() prints.")
@click.pass_obj
def info(session: Session) -> None:
    """Show what mnesia:info() prints on the node; in the other formats, the same as data.

    No content of a table is read. CSV and JSON lines have a line for each table.
    """
    with session.connect() as node:
        found = node.mnesia_info()
    document = found.to_dict()
    session.show(document, text=lambda: _lines(document), rows=document["tables"])


def _lines(document: dict[str, Any]) -> list[str]:
    from iris_admin.cli.layout import fields, table, title
    from iris_admin.text import printable

    text = document["text"]
    if text is not None:
        return [printable(text.rstrip("\n"), keep="\n\t")]
    # The node's own text can be too long to be asked for.
    figures = [(title(name), value) for name, value in document.items() if name != "tables"]
    return [*fields(figures), *table(document["tables"], "name", "storage", "type", "rows", "bytes", "loaded")]
