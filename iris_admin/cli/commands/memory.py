"""``iris-admin memory``."""

from __future__ import annotations

from typing import Any

import click

from iris_admin.cli.command import Command, all_option
from iris_admin.cli.session import Session
from iris_admin.cli.watch import watch_options

#: The kinds that a line of ``--watch`` has; the other formats have all.
_WATCHED = ("total", "processes", "binary", "ets", "atom")


@click.command("memory", cls=Command, short_help="Show the memory of the node by kind.")
@all_option
@watch_options
@click.pass_obj
def command(session: Session, everywhere: bool, watch: bool, interval: float, times: int | None) -> None:
    """Show the node's memory by kind, as erlang:memory/0 counts it, in bytes.

    The total is that of processes and system; the kinds from atom on are parts of system.

    With --watch a line shows what there is, and behind each kind its change per second.
    """
    if watch:
        _watch(session, everywhere, interval, times)
        return
    if everywhere:
        from iris_admin.cli.everywhere import show_everywhere

        with session.connect_cluster() as cluster:
            show_everywhere(session, cluster.memory(), _for_people)
        return
    with session.connect() as node:
        document = node.memory().to_dict()
    session.show(document, text=lambda: _lines(document))


def _watch(session: Session, everywhere: bool, interval: float, times: int | None) -> None:
    from iris_admin.cli import watch as watching
    from iris_admin.cli.layout import size

    if everywhere:
        raise click.UsageError("--watch looks at one node; leave --all out.")
    watching.refuse_without_end(session, times)

    def cells(document: dict[str, Any]) -> list[Any]:
        return [
            text
            for kind in _WATCHED
            for text in (size(document["now"][kind]), watching.size_per_second(document[kind]))
        ]

    with session.connect() as node:
        watching.watch(
            session,
            lambda last: node.memory_change(interval, since=last),
            [text for kind in _WATCHED for text in (kind.upper(), "/S")],
            cells,
            times=times,
        )


def _lines(document: dict[str, Any]) -> list[str]:
    from iris_admin.cli.layout import columns

    sizes = [(kind, text, document[kind.replace(" ", "_")]) for kind, text in _for_people(document).items()]
    return [document["node"], *columns(sizes)]


def _for_people(document: dict[str, Any]) -> dict[str, Any]:
    from iris_admin.cli.layout import Number, size, title

    return {title(kind): Number(size(value)) for kind, value in document.items() if kind != "node"}
