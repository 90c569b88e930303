"""``iris-admin restart``."""

from __future__ import annotations

import click

from iris_admin.cli.command import Command
from iris_admin.cli.confirm import yes_option
from iris_admin.cli.ending import end, is_up, no_bundle_option, run_instead, wait_option
from iris_admin.cli.session import Session
from iris_admin.errors import HandshakeTimeout


@click.command("restart", cls=Command)
@click.argument("target", metavar="NODE")
@yes_option
@no_bundle_option
@wait_option
@click.pass_obj
def command(session: Session, target: str, yes: bool, no_bundle: bool, wait: float) -> None:
    """Restart NODE, and wait until it is back with what ran on it before.

    It asks first, and names what is disturbed. A bundle is made, for a restart may destroy logs; see iris-admin bundle.
    A core writes its write-ahead log to the tables. Then the node boots again, within its operating
    system process, by init:restart/0. An application of Iris that its boot does not start is started separately.

    A node that is down, or hangs, is started by the site's own command, where the configuration file has one.

    Exit code 69 if the node is not back in time, or not what it was.
    """
    with session.node_at(target) as node:
        error = is_up(node)
        if error is None:
            end(
                session,
                node,
                "restart",
                lambda saved: node.restart(keep=False, saved=saved, wait=wait),
                yes=yes,
                bundle=not no_bundle,
            )
            return
        first: tuple[str, ...] = ()
        stop = session.commands().get("stop")
        if isinstance(error, HandshakeTimeout) and stop is not None:
            from iris_admin.site_command import site_command

            # It hangs, and holds its name and its ports.
            first = site_command(stop, node.name)
            session.tell(f"Before it, to end the process that hangs: {' '.join(first)}")
        run_instead(session, node, error, "start", lambda words: node.start_by(words, first=first, wait=wait), yes=yes)
