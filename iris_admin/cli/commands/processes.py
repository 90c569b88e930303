"""``iris-admin processes``."""

from __future__ import annotations

from typing import Any, cast

import click

from iris_admin.cli.command import Command
from iris_admin.cli.rankings import by_option, count_option, within_option
from iris_admin.cli.session import Session


@click.command("processes", cls=Command, short_help="Show the largest or busiest processes of the node.")
@by_option
@count_option
@click.option(
    "--interval",
    type=click.FloatRange(0.01, 3600),
    metavar="S",
    help="Rank by the increase within so many seconds, of the processes that exist all the while.",
)
@within_option
@click.pass_obj
def command(session: Session, by: str, count: int, interval: float | None, within: float) -> None:
    """Show the first processes of the node in some order: by memory, reductions (the work that they have done),
    messages that wait for them, or binaries that they refer to.

    The node ranks them itself, in bounded memory: with a million processes that takes it a second or two. What the
    processes hold is not read. Those that have nothing of what is asked for are left out.
    """
    with session.connect() as node:
        found = node.processes(cast(Any, by), count=count, interval=interval, within=within)
    document = found.to_dict()
    session.show(document, rows=document["processes"], text=lambda: _lines(document))


def _lines(document: dict[str, Any]) -> list[str]:
    from iris_admin.cli.layout import duration, table

    by = {
        "memory": "memory",
        "reductions": "reductions",
        "message_queue_len": "messages that wait",
        "binary": "binaries",
    }[document["by"]]
    if document["interval_seconds"] is not None:
        order = f"by the increase of {by} within {duration(document['interval_seconds'])}"
    else:
        order = f"by {by}" + (" since each was started" if document["by"] == "reductions" else "")
    head = f"{document['node']}: {document['process_count']} processes, {order}"
    if not document["processes"]:
        return [head, "none has any"]
    rows = [
        {
            "pid": row["pid"],
            "change": _change(row["change"], document["by"]),
            "memory_bytes": row["memory_bytes"],
            "queue": row["message_queue_len"],
            "binary_bytes": row["binary_bytes"],
            "reductions": row["reductions"],
            "status": row["status"],
            "name": row["registered_name"],
            "started_with": row["initial_call"],
            "in": row["current_function"],
        }
        for row in document["processes"]
    ]
    return [head, *table(rows)]


def _change(change: int | None, by: str) -> Any:
    from iris_admin.cli.layout import Number, size

    if change is None:
        return None
    return Number(f"+{size(change)}" if by in ("memory", "binary") else f"+{change}")
