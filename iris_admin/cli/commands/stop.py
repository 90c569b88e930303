"""``iris-admin stop``."""

from __future__ import annotations

import click

from iris_admin.cli.command import Command
from iris_admin.cli.confirm import yes_option
from iris_admin.cli.ending import end, is_up, no_bundle_option, run_instead, wait_option
from iris_admin.cli.session import Session


@click.command("stop", cls=Command)
@click.argument("target", metavar="NODE")
@yes_option
@no_bundle_option
@wait_option
@click.pass_obj
def command(session: Session, target: str, yes: bool, no_bundle: bool, wait: float) -> None:
    """Stop NODE in an orderly way, and wait until it is gone.

    It asks first, and names what is disturbed. A bundle is made, see iris-admin bundle; a core writes its
    write-ahead log to the tables. Then init:stop/0 ends it. What starts it again is up to the site.

    A node that hangs is ended by the site's own command, where the configuration file has one.

    Exit code 69 if the node is not gone in time, or something has started it anew.
    """
    with session.node_at(target) as node:
        error = is_up(node)
        if error is None:
            end(
                session,
                node,
                "stop",
                lambda saved: node.stop(keep=False, saved=saved, wait=wait),
                yes=yes,
                bundle=not no_bundle,
            )
        else:
            run_instead(session, node, error, "stop", lambda words: node.stop_by(words, wait=wait), yes=yes)
