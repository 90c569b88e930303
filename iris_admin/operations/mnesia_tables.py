"""Mnesia's tables across the cluster: their copies, and what is wrong with those."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from iris_admin.errors import IrisAdminError, NotApplicable
from iris_admin.operations.evaluate import run_remote
from iris_admin.operations.fields import names, number, text
from iris_admin.operations.parallel import side_by_side
from iris_admin.operations.results import Result, Table
from iris_admin.operations.roles import Members, members
from iris_admin.operations.steps import Operation, Pause
from iris_admin.records import record
from iris_admin.terms import Atom, Term

#: Tables that are reported; a schema of more is cut.
MAX_TABLES = 1000
#: Copies that differ are looked at again after so many seconds: what is under way arrives meanwhile.
SECOND_LOOK = 0.5

_ITEMS = (
    "storage_type",
    "type",
    "size",
    "memory",
    "where_to_read",
    "where_to_write",
    "ram_copies",
    "disc_copies",
    "disc_only_copies",
    "load_node",
    "load_reason",
    "master_nodes",
    "cookie",
    "access_mode",
    "local_content",
)
_STORAGES = ("ram_copies", "disc_copies", "disc_only_copies")


@record
class MnesiaCopy(Result):
    """One node's copy of a table.

    :param node: the node.
    :param storage: ``ram_copies``, ``disc_copies``, ``disc_only_copies``, or the name of another back end.
    :param loaded: whether it is in use.
    :param rows: in this copy; None while it is not loaded.
    :param bytes: that it takes: of memory, or on the disc for ``disc_only_copies``.
    :param load_node: the node that it was loaded from, and ``load_reason`` why from there.
    """

    node: str
    storage: str
    loaded: bool
    rows: int | None
    bytes: int | None
    load_node: str | None
    load_reason: str | None


@record
class MnesiaTableCopies(Result):
    """A table, and its copies on all nodes that answered.

    :param name: the table.
    :param type: ``set``, ``ordered_set`` or ``bag``.
    :param rows: in the copy that has most.
    :param bytes: that the copies take together, of memory and on discs.
    :param copies: one for each node.
    :param without_copy: nodes that know the table and use another node's copy.
    :param master_nodes: the nodes from which it is loaded whatever other copies say; none is usual.
    :param read_only: whether it cannot be written to.
    :param problems: what is wrong with its copies, in words.
    """

    name: str
    type: str | None
    rows: int | None
    bytes: int
    copies: Table[MnesiaCopy]
    without_copy: tuple[str, ...]
    master_nodes: tuple[str, ...]
    read_only: bool
    problems: tuple[str, ...]


@record
class MnesiaTables(Result):
    """Mnesia's tables across the cluster.

    :param nodes: the nodes that answered and that Mnesia runs on.
    :param unanswered: nodes that did not answer, or on which Mnesia could not, with the reason.
    :param tables: sorted by name, :data:`MAX_TABLES` at most.
    :param tables_cut: whether there are more.
    """

    nodes: tuple[str, ...]
    unanswered: dict[str, str]
    tables: Table[MnesiaTableCopies]
    tables_cut: bool


@dataclass(frozen=True, slots=True)
class _Seen:
    """A table as one node sees it."""

    node: str
    items: dict[str, Term]
    copy: MnesiaCopy | None

    @property
    def holders(self) -> set[str]:
        """Nodes that are to have a copy."""
        return {name for storage in _STORAGES for name in names(self.items[storage])}


#: Tables by name, as each node sees them.
_Schemas = dict[str, dict[str, _Seen]]


def mnesia_tables(nodes: Sequence[str]) -> Operation[MnesiaTables]:
    """The tables of Mnesia and their copies on some nodes. No row is read.

    Copies that differ in their number of rows are looked at twice, and are a problem only if they still differ.

    :param nodes: all nodes of the cluster; those without Mnesia are left out.
    :raises NotApplicable: Mnesia runs on none of them.
    """
    known = yield from members(nodes)
    cores = require_mnesia_anywhere(known)
    unanswered = {name: str(error) for name, error in known.unanswered.items()}
    schemas, cut, failed = yield from _look(cores)
    unanswered |= failed
    differing = {name for name, seen in schemas.items() if _rows_differ(seen)}
    if differing:
        yield Pause(SECOND_LOOK)
        schemas, cut, failed = yield from _look(cores)
        unanswered |= failed
        differing &= {name for name, seen in schemas.items() if _rows_differ(seen)}
    answered = tuple(name for name in cores if name not in unanswered)
    return MnesiaTables(
        nodes=answered,
        unanswered=unanswered,
        tables=Table(
            MnesiaTableCopies,
            (
                _table(name, seen, answered, name in differing, alone=len({*cores, *known.cores}) < 2)
                for name, seen in sorted(schemas.items())
            ),
        ),
        tables_cut=cut,
    )


def require_mnesia_anywhere(known: Members) -> list[str]:
    """The nodes that Mnesia runs on, of those that answered.

    :raises NotApplicable: there is none.
    """
    running = [name for name, role in known.roles.items() if role.mnesia is not None]
    if running:
        return running
    answered = ", ".join(f"{name} ({role})" for name, role in known.roles.items()) or "none"
    raise NotApplicable(
        f"Mnesia runs on no node that answers; those are: {answered}",
        hint="Mnesia runs on cores only. Are they up? iris-admin nodes",
    )


def _look(cores: Sequence[str]) -> Operation[tuple[_Schemas, bool, dict[str, str]]]:
    bindings = {"Items": [Atom(item) for item in _ITEMS], "MaxTables": MAX_TABLES}
    operations = {name: run_remote("mnesia_copies", bindings, node=name) for name in cores}
    outcomes: Mapping[str, Any] = yield from side_by_side(operations)
    schemas: _Schemas = {}
    failed = {}
    cut = False
    for node, outcome in outcomes.items():
        if isinstance(outcome, IrisAdminError):
            failed[node] = str(outcome)
            continue
        word_size, count, tables = outcome
        cut = cut or count > len(tables)
        for name, values in tables:
            items = dict(zip(_ITEMS, values, strict=True))
            schemas.setdefault(str(name), {})[node] = _Seen(node, items, _copy(node, items, word_size))
    return schemas, cut, failed


def _copy(node: str, items: dict[str, Term], word_size: int) -> MnesiaCopy | None:
    storage = items["storage_type"]
    if isinstance(storage, tuple):  # {ext, Alias, Module}
        storage = storage[1]
    if storage in ("unknown", "undefined"):
        return None
    # Before it is loaded, Mnesia says that the table is empty.
    loaded = node in names(items["where_to_write"]) or items["where_to_read"] == node
    memory = number(items["memory"])
    if memory is not None and storage != "disc_only_copies":
        memory *= word_size
    return MnesiaCopy(
        node=node,
        storage=str(storage),
        loaded=loaded,
        rows=number(items["size"]) if loaded else None,
        bytes=memory if loaded else None,
        load_node=text(items["load_node"]),
        load_reason=text(items["load_reason"]),
    )


def _rows_differ(seen: Mapping[str, _Seen]) -> bool:
    """Whether loaded copies of the same table have different numbers of rows."""
    if any(each.items["local_content"] is True for each in seen.values()):
        return False
    by_table: dict[str, set[int]] = {}
    for each in seen.values():
        if each.copy is not None and each.copy.rows is not None:
            by_table.setdefault(repr(each.items["cookie"]), set()).add(each.copy.rows)
    return any(len(rows) > 1 for rows in by_table.values())


def _table(
    name: str, seen: Mapping[str, _Seen], cores: Sequence[str], differs: bool, *, alone: bool
) -> MnesiaTableCopies:
    copies = [each.copy for each in seen.values() if each.copy is not None]
    rows = [copy.rows for copy in copies if copy.rows is not None]
    first = next(iter(seen.values()))
    return MnesiaTableCopies(
        name=name,
        type=text(first.items["type"]),
        rows=max(rows, default=None),
        bytes=sum(copy.bytes or 0 for copy in copies),
        copies=Table(MnesiaCopy, sorted(copies, key=lambda copy: copy.node)),
        without_copy=tuple(sorted(node for node, each in seen.items() if each.copy is None)),
        master_nodes=tuple(sorted({node for each in seen.values() for node in names(each.items["master_nodes"])})),
        read_only=any(each.items["access_mode"] == "read_only" for each in seen.values()),
        problems=tuple(_problems(name, seen, copies, cores, differs, alone=alone)),
    )


def _problems(
    name: str,
    seen: Mapping[str, _Seen],
    copies: Sequence[MnesiaCopy],
    cores: Sequence[str],
    differs: bool,
    *,
    alone: bool,
) -> list[str]:
    problems = []
    local = any(each.items["local_content"] is True for each in seen.values())
    unknown = sorted(set(cores) - set(seen))
    if unknown:
        problems.append(f"unknown on {', '.join(unknown)}")
    if len({repr(each.items["cookie"]) for each in seen.values()}) > 1 and not local:
        problems.append(f"not one table: each of {', '.join(sorted(seen))} has created its own")
    elif not local:
        holders = set().union(*(each.holders for each in seen.values()))
        if len(holders) == 1 and not alone:
            problems.append(f"only one copy, on {', '.join(holders)}")
        missing = sorted(holders - set(seen) - set(unknown))
        if missing:
            problems.append(f"nobody answers for the copy on {', '.join(missing)}")
    not_loaded = sorted(copy.node for copy in copies if not copy.loaded)
    if not_loaded:
        problems.append(f"not loaded on {', '.join(not_loaded)}")
    if not copies:
        problems.append("no node that answers has a copy")
    if len({copy.storage for copy in copies}) > 1:
        problems.append("storage differs: " + ", ".join(f"{copy.node} {copy.storage}" for copy in copies))
    if differs:
        problems.append("rows differ: " + ", ".join(f"{copy.node} {copy.rows}" for copy in copies if copy.loaded))
    # A node that has lost touch writes to its own copy only.
    if name != "schema":
        views = {frozenset(names(each.items["where_to_write"])) for each in seen.values() if each.copy}
        if len(views) > 1 and not local and not not_loaded:
            problems.append(
                "the nodes disagree on where it is written: "
                + "; ".join(
                    f"{node} writes to {', '.join(names(each.items['where_to_write'])) or 'none'}"
                    for node, each in sorted(seen.items())
                    if each.copy
                )
            )
    return problems
