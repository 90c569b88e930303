"""The ETS tables of a node: which of them are largest. No row is read."""

from __future__ import annotations

from typing import Literal, get_args

from iris_admin.operations.evaluate import run_remote
from iris_admin.operations.fields import local_name, number, text
from iris_admin.operations.names import node_name
from iris_admin.operations.results import Result, Table
from iris_admin.operations.steps import Operation
from iris_admin.records import record
from iris_admin.terms import Atom

TableOrder = Literal["memory", "rows"]
#: What tables can be ranked by.
CRITERIA: tuple[str, ...] = get_args(TableOrder)

#: Tables that one ranking reports at most.
MAX_COUNT = 1000
#: Interpreted code runs once for so many tables.
_CHUNK = 1000
_TIMEOUT = 60.0


@record
class EtsTable(Result):
    """An ETS table. Mnesia's tables in memory are such tables too.

    :param name: the table; several that are not named may be called the same.
    :param named: whether it can be found by that name.
    :param rows: how many there are.
    :param bytes: what it takes of the node's memory; binaries of more than 64 bytes are not counted.
    :param type: ``set``, ``ordered_set``, ``bag`` or ``duplicate_bag``.
    :param protection: who may read and write: ``public``, ``protected`` (only its owner writes) or ``private``.
    :param owner: the process that it belongs to, and ends with.
    :param owner_name: that process's registered name, if it has one.
    """

    name: str
    named: bool
    rows: int
    bytes: int
    type: str | None
    protection: str | None
    owner: str | None
    owner_name: str | None


@record
class EtsTables(Result):
    """The largest ETS tables of a node.

    :param node: the node.
    :param by: ``memory`` or ``rows``.
    :param table_count: how many there are on the node.
    :param total_bytes: of all of them, where they are ranked by memory.
    :param total_rows: of all of them, where they are ranked by rows.
    :param tables: the first ones, the largest first.
    """

    node: str
    by: str
    table_count: int
    total_bytes: int | None
    total_rows: int | None
    tables: Table[EtsTable]


def ets_tables(by: TableOrder = "memory", *, count: int = 10, node: str | None = None) -> Operation[EtsTables]:
    """Rank the ETS tables of a node. It is done there, and only the first ones are sent.

    :param by: ``memory`` or ``rows``.
    :param count: how many to report, up to :data:`MAX_COUNT`.
    :param node: which; None is the operation's own node.
    :raises ValueError: ``by`` or ``count`` is out of range.
    """
    if by not in CRITERIA:
        raise ValueError(f"tables are ranked by {' or '.join(CRITERIA)}, not by {by!r}")
    if not 1 <= count <= MAX_COUNT:
        raise ValueError(f"count is 1 to {MAX_COUNT}, not {count}")
    bindings = {"Item": Atom("memory" if by == "memory" else "size"), "N": count, "Size": _CHUNK}
    answer = yield from run_remote("rank_tables", bindings, node=node, timeout=_TIMEOUT)
    word_size, table_count, total, rows = answer
    name = yield from node_name(node)
    return EtsTables(
        node=name,
        by=by,
        table_count=table_count,
        total_bytes=total * word_size if by == "memory" else None,
        total_rows=total if by == "rows" else None,
        tables=Table(
            EtsTable,
            (
                EtsTable(
                    name=str(table_name),
                    named=isinstance(table, Atom),
                    rows=size,
                    bytes=words * word_size,
                    type=text(kind),
                    protection=text(protection),
                    owner=local_name(owner),
                    owner_name=text(owner_name) or None,
                )
                for table, table_name, size, words, kind, protection, owner, owner_name in rows
                if number(size) is not None and number(words) is not None
            ),
        ),
    )
