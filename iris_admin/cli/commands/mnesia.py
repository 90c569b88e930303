"""``iris-admin mnesia``."""

from __future__ import annotations

from typing import Any

import click

from iris_admin.cli.command import Group
from iris_admin.cli.session import Session
from iris_admin.errors import EX_UNAVAILABLE


@click.group("mnesia", cls=Group)
def command() -> None:
    """Look at Mnesia on the cores. An edge has none, and its answers would mislead."""


@command.command("info", short_help="Show what mnesia:info() prints.")
@click.pass_obj
def info(session: Session) -> None:
    """Show what mnesia:info() prints on the node; in the other formats, the same as data.

    No content of a table is read. CSV and JSON lines have a line for each table.
    """
    with session.connect() as node:
        found = node.mnesia_info()
    document = found.to_dict()
    session.show(document, text=lambda: _lines(document), rows=document["tables"])


@command.command("tables", short_help="Show the tables and their copies on all cores.")
@click.pass_obj
def tables(session: Session) -> None:
    """Show Mnesia's tables across the cluster: rows, bytes, and each node's copy.

    Problems are named: a copy that is missing, not loaded or different, cores that do not share a table or disagree on
    where it is written. CSV and JSON lines have a line for each table. Exit code 69 if there is a problem, or a node
    did not answer.
    """
    with session.connect_cluster() as cluster:
        found = cluster.mnesia_tables()
    document = found.to_dict()
    session.show(document, rows=document["tables"], text=lambda: _table_lines(document))
    if found.unanswered or any(table.problems for table in found.tables):
        click.get_current_context().exit(EX_UNAVAILABLE)


@command.command("status", short_help="Show what Mnesia is doing on all cores, and whether they agree.")
@click.option(
    "--interval",
    type=click.FloatRange(0, 3600),
    default=1.0,
    show_default=True,
    metavar="S",
    help="How long to count transactions, for the numbers per second; 0 leaves those out.",
)
@click.pass_obj
def status(session: Session, interval: float) -> None:
    """Show the state of Mnesia on each core: who takes part, transactions, locks, the log, overload, partitions.

    Restarts are transactions that were refused a lock and began again; failures were aborted. CSV and JSON lines have a
    line for each node. Exit code 69 if something is wrong, or a node did not answer.
    """
    with session.connect_cluster() as cluster:
        found = cluster.mnesia_status(interval=interval)
    document = found.to_dict()
    session.show(document, rows=document["nodes"], text=lambda: _status_lines(document))
    if found.unanswered or found.problems:
        click.get_current_context().exit(EX_UNAVAILABLE)


_count = click.option(
    "--count", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many to show, of each kind."
)


@command.command("locks", short_help="Show who holds locks on the core, and who waits for one.")
@_count
@click.pass_obj
def locks(session: Session, count: int) -> None:
    """Show the locks that the core's lock manager knows, those that are waited for first.

    Each core has a lock manager of its own. The oldest transactions have the smallest numbers.
    """
    with session.connect() as node:
        document = node.mnesia_locks(count=count).to_dict()
    session.show(document, rows=document["locks"], text=lambda: _lock_lines(document))


@command.command("transactions", short_help="Show the transactions that are under way on the core.")
@_count
@click.pass_obj
def transactions(session: Session, count: int) -> None:
    """Show the transactions that are under way on the core, the oldest first, and what their processes do.

    One that stays at the top holds up the others. In timer:sleep/1 is one that was refused a lock and will begin again.
    """
    with session.connect() as node:
        document = node.mnesia_transactions(count=count).to_dict()
    session.show(document, rows=document["transactions"], text=lambda: _transaction_lines(document))


def _table_lines(document: dict[str, Any]) -> list[str]:
    from iris_admin.cli.layout import cell, count, table

    def copy(each: dict[str, Any]) -> str:
        rows = count(each["rows"], "row") if each["rows"] is not None else "not loaded"
        return f"{each['node']} ({each['storage']}, {rows})"

    rows = [
        {
            "table": each["name"],
            "type": each["type"],
            "rows": each["rows"],
            "bytes": each["bytes"],
            "copies": [copy(one) for one in each["copies"]],
            "master": each["master_nodes"] or None,
            "read_only": each["read_only"] or None,
        }
        for each in document["tables"]
    ]
    problems = [
        f"problem: {cell(each['name'])}: {cell(problem)}" for each in document["tables"] for problem in each["problems"]
    ]
    cut = ["there are more tables than these"] if document["tables_cut"] else []
    return [*table(rows)[1:], *cut, *_with_space([*problems, *_unanswered(document)])]


def _status_lines(document: dict[str, Any]) -> list[str]:
    from iris_admin.cli.layout import cell, columns, human, title

    nodes = document["nodes"]
    hidden = ("node", "partition_guard", "partition_note", *(f"{name}_per_second" for name in _COUNTERS))

    def shown(node: dict[str, Any], name: str) -> Any:
        if name not in _COUNTERS:
            return cell(human(name, node[name]))
        rate = node[f"{name}_per_second"]
        return cell(node[name]) + ("" if rate is None else f" ({rate:g}/s)")

    def guard(node: dict[str, Any]) -> str:
        found = node["partition_guard"]
        if found is None:
            return cell(node["partition_note"])
        state = f"{found.get('mode')}, writes {'allowed' if found.get('safe_for_writes') else 'refused'}"
        return cell(f"{state}; {node['partition_note']}" if node["partition_note"] else state)

    names = [name for name in (nodes[0] if nodes else ()) if name not in hidden]
    lines = columns(
        [
            *([title(name), *(shown(node, name) for node in nodes)] for name in names),
            *([["partition guard", *map(guard, nodes)]] if nodes else []),
        ],
        ["", *(node["node"] for node in nodes)],
    )
    problems = [f"problem: {cell(problem)}" for problem in document["problems"]]
    return [*lines, *_with_space([*problems, *_unanswered(document)])]


#: Fields that have a twin with the change per second.
_COUNTERS = ("commits", "failures", "restarts", "log_writes")


def _lock_lines(document: dict[str, Any]) -> list[str]:
    from iris_admin.cli.layout import count, table

    rows = [
        {
            "state": "waits" if each["waiting"] else "held",
            "table": each["table"],
            "key": "(all)" if each["whole_table"] else each["key"] or "(long)",
            "operation": each["operation"],
            "transaction": each["transaction"],
            "process": _process(each, document["node"]),
        }
        for each in document["locks"]
    ]
    cut = [f"not all are shown: {document['cut']}"] if document["cut"] else []
    return [
        f"{document['node']}: {count(document['held'], 'lock')} held, {document['waiting']} waited for",
        *table(document["tables"]),
        *table(rows),
        *_with_space(cut),
    ]


def _transaction_lines(document: dict[str, Any]) -> list[str]:
    from iris_admin.cli.layout import count, table

    rows = [
        {
            "number": each["transaction"],
            "kind": each["kind"],
            "process": _process(each, document["node"]),
            "held": each["held_locks"],
            "waits_for": each["waiting_locks"],
            "name": each["registered_name"],
            "started_with": each["initial_call"],
            "in": each["current_function"],
        }
        for each in document["transactions"]
    ]
    return [f"{document['node']}: {count(document['count'], 'transaction')} under way", *table(rows)]


def _process(row: dict[str, Any], node: str) -> str:
    """A process; of another node, with that."""
    return str(row["pid"]) if row["pid_node"] == node else f"{row['pid']} on {row['pid_node']}"


def _unanswered(document: dict[str, Any]) -> list[str]:
    from iris_admin.cli.layout import cell

    return [f"no answer from {cell(node)}: {cell(reason)}" for node, reason in document["unanswered"].items()]


def _with_space(lines: list[str]) -> list[str]:
    return ["", *lines] if lines else []


def _lines(document: dict[str, Any]) -> list[str]:
    from iris_admin.cli.layout import fields, table, title
    from iris_admin.text import printable

    text = document["text"]
    if text is not None:
        return [printable(text.rstrip("\n"), keep="\n\t")]
    # The node's own text can be too long to be asked for.
    figures = [(title(name), value) for name, value in document.items() if name != "tables"]
    return [*fields(figures), *table(document["tables"], "name", "storage", "type", "rows", "bytes", "loaded")]
