"""``iris-admin ets``."""

from __future__ import annotations

from typing import Any, cast

import click

from iris_admin.cli.command import Command
from iris_admin.cli.rankings import count_option
from iris_admin.cli.session import Session
from iris_admin.operations.ets import CRITERIA


@click.command("ets", cls=Command, short_help="Show the largest ETS tables of the node.")
@click.option(
    "--by", type=click.Choice(CRITERIA), default=CRITERIA[0], show_default=True, help="What they are ranked by."
)
@count_option
@click.pass_obj
def command(session: Session, by: str, count: int) -> None:
    """Show the largest ETS tables of the node, with their rows, their memory and who owns them.

    Mnesia's tables in memory are among them. No row is read. Binaries of more than 64 bytes lie outside the tables, and
    are not counted.
    """
    with session.connect() as node:
        document = node.ets_tables(cast(Any, by), count=count).to_dict()
    session.show(document, rows=document["tables"], text=lambda: _lines(document))


def _lines(document: dict[str, Any]) -> list[str]:
    from iris_admin.cli.layout import count, size, table

    whole = f"{document['node']}: {count(document['table_count'], 'table')}, "
    if document["total_bytes"] is not None:
        whole += f"{size(document['total_bytes'])} in all"
    else:
        whole += f"{count(document['total_rows'], 'row')} in all"
    rows = [row | {"owner": row["owner_name"] or row["owner"]} for row in document["tables"]]
    return [whole, *table(rows, "name", "bytes", "rows", "type", "protection", "owner")]
