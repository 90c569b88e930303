"""``iris-admin eval``."""

from __future__ import annotations

import sys

import click

from iris_admin.cli.command import Command
from iris_admin.cli.session import Session


@click.command("eval", cls=Command)
@click.argument("expression")
@click.pass_obj
def command(session: Session, expression: str) -> None:
    """Evaluate Erlang expressions on the node.

    EXPRESSION is one expression, or several separated by commas; "-" reads it from standard input. What it prints is
    shown first, then its value, in Erlang syntax. Nothing is loaded on the node.

    Every atom must be known to the node already, so that a typing error does not leave a new one there.
    """
    from iris_admin.cli.value import show_value

    if expression == "-":
        # As Python decodes the arguments of the command line.
        expression = sys.stdin.buffer.read().decode("utf-8", "surrogateescape")
    with session.connect() as node:
        value, output = node.eval(expression, capture=True)
    show_value(session, node.name, value, output)
