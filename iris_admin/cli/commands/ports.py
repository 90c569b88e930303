"""``iris-admin ports``."""

from __future__ import annotations

from typing import Any

import click

from iris_admin.cli.command import Command
from iris_admin.cli.session import Session
from iris_admin.errors import EX_UNAVAILABLE


@click.command("ports", cls=Command)
@click.argument("nodes", metavar="[NODE]...", nargs=-1)
@click.pass_obj
def command(session: Session, nodes: tuple[str, ...]) -> None:
    """Show what each node listens on, how many are connected there, and whether a connection from here works.

    The nodes say themselves what they listen on; the client port, the WebSocket port and EPMD are then tried from
    this machine. NODE restricts it to some nodes of the cluster. A WebSocket port is greeted as a client would, because
    Iris drops all WebSocket clients of an edge when one hangs up without a word: never try it with nc or telnet.

    Exit code 69 if a node does not answer, an edge does not listen for clients, or a port is not reached from here.
    """
    with session.connect_somewhere() as cluster:
        cluster.find_strangers(session.expected())
        chosen = tuple(session.full_name(node) for node in nodes)
        for name in chosen:
            if name not in cluster.nodes:
                cluster.node(name)  # raises an error that names those that there are
        rows = cluster.ports(chosen or None).to_dicts()
    session.show(rows, text=lambda: _lines(rows))
    if any(row["problem"] or row["listening"] is False or row["reachable"] is False for row in rows):
        click.get_current_context().exit(EX_UNAVAILABLE)


def _lines(rows: list[dict[str, Any]]) -> list[str]:
    from iris_admin.cli.layout import table

    names = ("node", "purpose", "address", "port", "listening", "connections", "reachable", "connect_seconds", "owner")
    shown = [row | {"node": row["node"] or row["host"]} for row in rows]
    return table(shown, *names, "problem")[1:]
