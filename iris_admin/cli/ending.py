"""What ``restart`` and ``stop`` have in common: the question, the commands of the site, the outcome."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from iris_admin.cli.confirm import confirm
from iris_admin.cli.session import Session
from iris_admin.errors import EX_UNAVAILABLE, ConnectError, HandshakeTimeout, NodeNotFound, NodeUnreachable

if TYPE_CHECKING:
    from iris_admin.client import Node
    from iris_admin.operations.lifecycle import Ended, EndingPlan

#: How long ``restart`` and ``stop`` wait.
wait_option = click.option(
    "--wait",
    type=click.FloatRange(0, 3600, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds to wait for the node to end, and to come back.",
)
no_bundle_option = click.option(
    "--no-bundle",
    is_flag=True,
    help="Do not make a bundle before. A restart may empty the log files.",
)


def is_up(node: Node) -> ConnectError | None:
    """Join a node; the error, where it is down or hangs, so that only a command of the site can help."""
    try:
        node.reconnect()
    except (NodeNotFound, NodeUnreachable, HandshakeTimeout) as error:
        return error
    return None


def end(
    session: Session, node: Node, action: str, do: Callable[[Path | None], Ended], *, yes: bool, bundle: bool
) -> None:
    """Ask, and restart or stop a node that answers.

    :param action: ``restart`` or ``stop``.
    :param do: does it, given the file with the bundle.
    :param bundle: whether to make one before.
    """
    plan = node.ending_plan()
    confirm(session, [_description(plan), *plan.warnings], f"{action.capitalize()} it?", yes=yes, node=node.name)
    show(session, do(_make_bundle(session, node, action) if bundle else None))


def _make_bundle(session: Session, node: Node, action: str) -> Path:
    """What can be known of the whole cluster, in a file next to the backups."""
    import contextlib
    from datetime import UTC, datetime

    from iris_admin.backup import backup_directory
    from iris_admin.cluster import Cluster

    directory = backup_directory()
    with contextlib.suppress(OSError):  # what comes next says it better
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / f"before-{action}-{node.name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.zip"
    session.tell(f"making a bundle before: {path}")
    cluster = Cluster(node, on_progress=node.on_progress)
    try:
        return cluster.bundle(path, expected=session.expected()).path
    finally:
        for name in cluster.nodes:
            if name != node.name and name not in cluster.unreachable:
                cluster.node(name).close()


def run_instead(
    session: Session, node: Node, error: ConnectError, wanted: str, do: Callable[[tuple[str, ...]], Ended], *, yes: bool
) -> None:
    """Ask, and run the site's own command for a node that does not answer.

    :param error: why it is not reached; it is raised where there is no such command.
    :param wanted: the command's name in the configuration file.
    :param do: runs it.
    """
    from iris_admin.site_command import site_command

    line = session.commands().get(wanted)
    if line is None:
        error.hint = (
            f"{error.hint or ''} iris-admin can run a command of yours for it: "
            f"{wanted} = … below [clusters.NAME.commands] in the configuration file."
        ).strip()
        raise error
    words = site_command(line, node.name)
    confirm(
        session,
        [f"{node.name} does not answer: {error}", f"The command to {wanted} it: {' '.join(words)}"],
        "Run it?",
        yes=yes,
        node=node.name,
    )
    show(session, do(words))


def show(session: Session, ended: Ended) -> None:
    """Show the outcome, and exit with 69 if it is not what was wanted."""
    from iris_admin.cli.layout import duration, fields

    document = ended.to_dict()
    if ended.output:
        session.tell(ended.output.rstrip("\n"))

    def lines() -> list[str]:
        known = {
            "node": ended.node,
            "outcome": ended.explanation,
            "gone after": None if ended.gone_seconds is None else duration(ended.gone_seconds),
            "back after": None if ended.back_seconds is None else duration(ended.back_seconds),
            "role": ended.role_after or ended.role_before,
            "saved before": document["saved"],
        }
        return fields([(name, value) for name, value in known.items() if value is not None])

    session.show(document, text=lines)
    if not ended.done:
        click.get_current_context().exit(EX_UNAVAILABLE)


def _description(plan: EndingPlan) -> str:
    from iris_admin.cli.layout import count, duration

    facts = [f"{plan.node}: {plan.role or 'it does not say in time what runs on it'}"]
    if plan.users is not None:
        facts.append(f"{count(plan.users, 'user')} connected")
    if plan.unflushed_rows is not None:
        facts.append(f"{count(plan.unflushed_rows, 'row')} not yet written to the tables")
    return ", ".join([*facts, f"up for {duration(plan.uptime)}"])
