"""``iris-admin ping``."""

from __future__ import annotations

import click

from iris_admin.cli.command import Command
from iris_admin.cli.session import Session


@click.command("ping", cls=Command)
@click.pass_obj
def command(session: Session) -> None:
    """See whether the node lets us in and answers a call.

    If it does not, the layers of the connection are shown, from the host name to the cookie, and where it fails.
    """
    from iris_admin.cli.layout import duration

    with session.connect() as node:
        seconds = node.ping()
        document = {"node": node.name, "our_name": node.our_name, "seconds": seconds}
    session.show(document, text=lambda: [f"{node.name} answers, in {duration(seconds)}"])
