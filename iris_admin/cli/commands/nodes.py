"""``iris-admin nodes``."""

from __future__ import annotations

import click

from iris_admin.cli.command import Command
from iris_admin.cli.session import Session
from iris_admin.errors import EX_UNAVAILABLE


@click.command("nodes", cls=Command, short_help="List the nodes of a host, and who of them answers.")
@click.argument("hosts", metavar="[HOST]...", nargs=-1)
@click.pass_obj
def command(session: Session, hosts: tuple[str, ...]) -> None:
    """List the nodes that a host's EPMD knows, which of them answer, and what they are: role, release, uptime.

    Without HOST: the hosts of the whole cluster, and the nodes that are missing there, as far as others still know of
    them, or the configuration file expects them. The list of a HOST needs no cookie.

    Exit code 69 if a node does not answer, or is missing.
    """
    from iris_admin.cli.layout import table
    from iris_admin.discovery import find_cluster_nodes, find_nodes

    if hosts:
        found = find_nodes(*hosts, **session.options())
    else:
        node, options = session.node_and_options()
        found = find_cluster_nodes(node, expected=session.expected(), **options)
    rows = found.to_dicts()
    session.show(rows, text=lambda: table(rows)[1:])
    if any(node.answers is False for node in found):
        click.get_current_context().exit(EX_UNAVAILABLE)
