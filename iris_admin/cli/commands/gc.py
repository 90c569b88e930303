"""``iris-admin gc``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import click

from iris_admin.cli.command import Command
from iris_admin.cli.confirm import confirm, yes_option
from iris_admin.cli.rankings import by_option, within_option
from iris_admin.cli.session import Session
from iris_admin.operations.processes import MAX_COUNT

if TYPE_CHECKING:
    from iris_admin.client import Node


@click.command("gc", cls=Command, short_help="Collect garbage on the node.")
@click.argument("which", metavar="[PID|NAME]", required=False)
@click.option("--top", type=click.IntRange(1, MAX_COUNT), metavar="N", help="The first N processes, as --by says.")
@click.option("--all", "everything", is_flag=True, help="Every process, one after the other. It asks first.")
@by_option
@within_option
@yes_option
@click.pass_obj
def command(
    session: Session, which: str | None, top: int | None, everything: bool, by: str, within: float, yes: bool
) -> None:
    """Collect the garbage of one process, of the largest, or of all, and show what that gave back.

    It is the node's processes that are collected, where the runbook's snippet collects those of its own node. A binary
    goes when the last process that refers to it is collected, so --top 10 --by binary is often what helps.
    """
    if [which is not None, top is not None, everything].count(True) != 1:
        raise click.UsageError("Name one process, or --top N, or --all.")
    with session.connect_to(None) as node:
        if everything:
            _ask(session, node, yes)
            found = node.gc_all()
        elif top is not None:
            found = node.gc_top(top, by=cast(Any, by), within=within)
        else:
            assert which is not None
            found = node.gc_process(which)
    document = found.to_dict()
    session.show(document, rows=document["processes"] or [document], text=lambda: _lines(document))
    if found.answered < found.asked:
        session.warn(f"{found.asked - found.answered} of {found.asked} processes have not answered in time")


def _ask(session: Session, node: Node, yes: bool) -> None:
    from iris_admin.cli.layout import size

    stats, memory = node.stats(), node.memory()
    confirm(
        session,
        [
            f"{node.name} ({stats.role}) has {stats.processes} processes, which take {size(memory.processes)}.",
            "Each stops for its own collection, in which what it holds is copied: the node does that work besides its "
            "own, and for a moment needs room for two copies of the largest.",
        ],
        f"Collect the garbage of all {stats.processes} processes?",
        yes=yes,
        node=node.name,
    )


def _lines(document: dict[str, Any]) -> list[str]:
    from iris_admin.cli.layout import Number, columns, size, table

    def row(kind: str) -> tuple[str, Any, Any, Any]:
        before, after = document[f"{kind}_before_bytes"], document[f"{kind}_after_bytes"]
        sign = "+" if after > before else "-" if after < before else ""
        return kind, Number(size(before)), Number(size(after)), Number(f"{sign}{size(abs(after - before))}")

    rows = [
        {
            "pid": each["pid"],
            "memory_before_bytes": each["memory_before_bytes"],
            "memory_after_bytes": each["memory_after_bytes"],
            "binary_before_bytes": each["binary_before_bytes"],
            "binary_after_bytes": each["binary_after_bytes"],
            "answered": None if each["answered"] else "no",
            "name": each["registered_name"],
            "started_with": each["initial_call"],
        }
        for each in document["processes"]
    ]
    return [
        f"{document['node']}: garbage collected of {document['answered']} of {document['asked']} processes",
        *table(rows),
        "",
        *columns([row("total"), row("processes"), row("binary")], ["NODE", "BEFORE", "AFTER", "CHANGE"]),
    ]
