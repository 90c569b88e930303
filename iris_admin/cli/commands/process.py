"""``iris-admin process``."""

from __future__ import annotations

from typing import Any

import click

from iris_admin.cli.command import Command
from iris_admin.cli.session import Session


@click.command("process", cls=Command, short_help="Show one process of the node.")
@click.argument("which", metavar="PID|NAME")
@click.pass_obj
def command(session: Session, which: str) -> None:
    """Show what a process is and does: '<0.123.0>', or the name that it is registered by.

    What it holds is not read: neither its messages nor its state.
    """
    with session.connect() as node:
        document = node.process(which).to_dict()
    session.show(document, text=lambda: _lines(document))


def _lines(document: dict[str, Any]) -> list[str]:
    from iris_admin.cli.layout import cell, fields, human, title

    lines = fields([(title(name), human(name, value)) for name, value in document.items() if name != "stacktrace"])
    return [*lines, "", "executes", *(f"  {cell(frame)}" for frame in document["stacktrace"])]
