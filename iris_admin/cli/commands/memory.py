"""``iris-admin memory``."""

from __future__ import annotations

from typing import Any

import click

from iris_admin.cli.command import Command, all_option
from iris_admin.cli.session import Session


@click.command("memory", cls=Command, short_help="Show the memory of the node by kind.")
@all_option
@click.pass_obj
def command(session: Session, everywhere: bool) -> None:
    """Show the node's memory by kind, as erlang:memory/0 counts it, in bytes.

    The total is that of processes and system; the kinds from atom on are parts of system.
    """
    if everywhere:
        from iris_admin.cli.everywhere import show_everywhere

        with session.connect_cluster() as cluster:
            show_everywhere(session, cluster.memory(), _for_people)
        return
    with session.connect() as node:
        document = node.memory().to_dict()
    session.show(document, text=lambda: _lines(document))


def _lines(document: dict[str, Any]) -> list[str]:
    from iris_admin.cli.layout import columns

    sizes = [(kind, text, document[kind.replace(" ", "_")]) for kind, text in _for_people(document).items()]
    return [document["node"], *columns(sizes)]


def _for_people(document: dict[str, Any]) -> dict[str, Any]:
    from iris_admin.cli.layout import Number, size, title

    return {title(kind): Number(size(value)) for kind, value in document.items() if kind != "node"}
