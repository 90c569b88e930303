"""Mnesia on a node: what ``mnesia:info/0`` prints there, and the same as data."""

from __future__ import annotations

from iris_admin.errors import CallTimeout, NotApplicable, RemoteError
from iris_admin.operations.evaluate import run_remote
from iris_admin.operations.results import Result, Table
from iris_admin.operations.roles import Role, role
from iris_admin.operations.steps import Call, Capture, Operation
from iris_admin.proto.io_protocol import chardata_to_str
from iris_admin.records import record
from iris_admin.terms import Atom, Term

#: Tables that are reported; a schema of more is cut, and ``mnesia:info/0``, which is not bounded, is not called then.
MAX_TABLES = 1000
#: The same for the locks, each of which ``mnesia:info/0`` prints.
MAX_LOCKS = 10_000
_NAMED_NODES = 10


@record
class MnesiaTable(Result):
    """A table of Mnesia as one node sees it. None stands for what this node cannot tell.

    :param name: the table.
    :param storage: ``ram_copies``, ``disc_copies``, ``disc_only_copies``, or the name of another back end, for the
        copy on this node; ``remote`` where it has none.
    :param type: ``set``, ``ordered_set`` or ``bag``.
    :param rows: in this node's copy. Without a loaded copy that is None, where ``mnesia:table_info/2`` says 0.
    :param bytes: that the copy takes: of memory, or on the disc for ``disc_only_copies``.
    :param ram_copies: the nodes that are to hold such copies; likewise the others.
    :param active_on: the nodes on which a copy is loaded.
    :param loaded: whether the table can be read from this node.
    :param load_node: where this node's copy was loaded from, and ``load_reason`` why from there.
    :param attributes: the names of the columns, the key first.
    :param index: the attributes that have an index.
    """

    name: str
    storage: str
    type: str | None
    rows: int | None
    bytes: int | None
    ram_copies: tuple[str, ...]
    disc_copies: tuple[str, ...]
    disc_only_copies: tuple[str, ...]
    active_on: tuple[str, ...]
    loaded: bool
    load_node: str | None
    load_reason: str | None
    attributes: tuple[str, ...]
    index: tuple[str, ...]


@record
class MnesiaInfo(Result):
    """Mnesia on a node.

    :param node: the node.
    :param version: of Mnesia.
    :param directory: where it keeps its files; ``directory_used`` says whether it has any there.
    :param running_nodes: the nodes of the schema on which Mnesia runs, as far as this node knows.
    :param stopped_nodes: the others.
    :param commits: transactions that were committed on this node since Mnesia started there.
    :param failures: transactions that were aborted.
    :param restarts: transactions that had to begin again because of a lock.
    :param log_writes: transactions that were logged to disc.
    :param held_locks: how many locks there are; ``queued_locks`` are waited for.
    :param table_count: how many tables there are.
    :param tables: the tables, sorted by name, :data:`MAX_TABLES` at most.
    :param tables_cut: whether there are more.
    :param text: what ``mnesia:info/0`` prints on the node; None where it was not called.
    :param text_missing: why there is no text.
    """

    node: str
    version: str | None
    directory: str | None
    directory_used: bool | None
    running_nodes: tuple[str, ...]
    stopped_nodes: tuple[str, ...]
    commits: int | None
    failures: int | None
    restarts: int | None
    log_writes: int | None
    held_locks: int | None
    queued_locks: int | None
    table_count: int
    tables: Table[MnesiaTable]
    tables_cut: bool
    text: str | None
    text_missing: str | None


_SYSTEM_ITEMS = (
    "version",
    "directory",
    "use_dir",
    "db_nodes",
    "running_db_nodes",
    "transaction_commits",
    "transaction_failures",
    "transaction_restarts",
    "transaction_log_writes",
)
_TABLE_ITEMS = (
    "storage_type",
    "type",
    "size",
    "memory",
    "ram_copies",
    "disc_copies",
    "disc_only_copies",
    "where_to_write",
    "where_to_read",
    "load_node",
    "load_reason",
    "attributes",
    "index",
)


def mnesia_info(node: str | None = None) -> Operation[MnesiaInfo]:
    """What there is to know about Mnesia on a node.

    No content of a table travels, and the answer is bounded however large the schema is.

    :param node: which; None is the operation's own node.
    :raises NotApplicable: Mnesia does not run there, so that every figure would be zero or wrong.
    """
    where = yield from role(node)
    yield from require_mnesia(where, node)
    bindings = {
        "SystemItems": [Atom(item) for item in _SYSTEM_ITEMS],
        "TableItems": [Atom(item) for item in _TABLE_ITEMS],
        "MaxTables": MAX_TABLES,
    }
    answer = yield from run_remote("mnesia", bindings, node=node)
    system_values, word_size, held_locks, queued_locks, table_count, tables = answer
    system = dict(zip(_SYSTEM_ITEMS, system_values, strict=True))
    running = _names(system["running_db_nodes"])
    text, text_missing = yield from _printed(node, table_count, _number(held_locks))
    return MnesiaInfo(
        node=where.node,
        version=_text(system["version"]),
        directory=_text(system["directory"]),
        directory_used=system["use_dir"] if isinstance(system["use_dir"], bool) else None,
        running_nodes=running,
        stopped_nodes=tuple(name for name in _names(system["db_nodes"]) if name not in running),
        commits=_number(system["transaction_commits"]),
        failures=_number(system["transaction_failures"]),
        restarts=_number(system["transaction_restarts"]),
        log_writes=_number(system["transaction_log_writes"]),
        held_locks=_number(held_locks),
        queued_locks=_number(queued_locks),
        table_count=table_count,
        tables=Table(MnesiaTable, (_table(str(name), values, word_size) for name, values in tables)),
        tables_cut=table_count > len(tables),
        text=text,
        text_missing=text_missing,
    )


def require_mnesia(where: Role, node: str | None) -> Operation[None]:
    """See that Mnesia runs on a node.

    An edge answers questions about tables all the same, and says that they are empty.

    :param where: what runs on the node.
    :param node: the node; None is the operation's own.
    :raises NotApplicable: it does not run, or not yet; the hint names nodes to ask instead.
    """
    state = Atom("no")
    if where.mnesia is not None:
        state = yield Call("mnesia", "system_info", (Atom("is_running"),), node=node, idempotent=True)
    if state == "yes":
        return
    if state in ("starting", "stopping"):
        raise NotApplicable(f"Mnesia is {state} on {where.node}", node=where.node, hint="Try again in a moment.")
    if where.is_core:
        hint = "Without it this core serves nobody: its log says why Mnesia stopped."
    else:
        hint = yield from _other_nodes(where, node)
    raise NotApplicable(
        f"Mnesia does not run on {where.node}" + (" (it is an edge)" if where.role == "edge" else ""),
        node=where.node,
        hint=hint,
    )


def _other_nodes(where: Role, node: str | None) -> Operation[str]:
    if where.is_edge:
        configured = yield Call(
            "application", "get_env", (Atom("iris_edge"), Atom("core_nodes")), node=node, idempotent=True
        )
        match configured:
            case ("ok", [_, *_] as cores):
                return f"Ask a core instead. {where.node} is configured to use {', '.join(map(str, cores))}."
    connected = yield Call("erlang", "nodes", (Atom("visible"),), node=node, idempotent=True)
    if not connected:
        return "Ask a core instead."
    names = ", ".join(map(str, connected[:_NAMED_NODES]))
    return f"Ask a core instead. {where.node} is connected to {names}{', …' if len(connected) > _NAMED_NODES else ''}."


def _printed(node: str | None, table_count: int, held_locks: int | None) -> Operation[tuple[str | None, str | None]]:
    """What ``mnesia:info/0`` prints, or why it was not asked or did not answer."""
    if table_count > MAX_TABLES:
        return None, f"mnesia:info() was not called: the schema has {table_count} tables (at most {MAX_TABLES})"
    if held_locks is not None and held_locks > MAX_LOCKS:
        return None, f"mnesia:info() was not called: {held_locks} locks are held (at most {MAX_LOCKS})"
    try:
        _, text = yield Capture(Call("mnesia", "info", node=node, idempotent=True))
    except (RemoteError, CallTimeout) as error:
        return None, str(error)
    return text, None


def _table(name: str, values: list[Term], word_size: int) -> MnesiaTable:
    item = dict(zip(_TABLE_ITEMS, values, strict=True))
    storage = item["storage_type"]
    if isinstance(storage, tuple):  # {ext, Alias, Module}
        storage = storage[1]
    # Where there is no copy, or none is loaded, Mnesia says that the table is empty.
    has_copy = storage not in ("unknown", "undefined") and item["where_to_read"] != "nowhere"
    if storage != "disc_only_copies" and isinstance(item["memory"], int):
        item["memory"] *= word_size
    attributes = _strings(item["attributes"])
    return MnesiaTable(
        name=name,
        storage="remote" if storage in ("unknown", "undefined") else str(storage),
        type=_text(item["type"]),
        rows=_number(item["size"]) if has_copy else None,
        bytes=_number(item["memory"]) if has_copy else None,
        ram_copies=_names(item["ram_copies"]),
        disc_copies=_names(item["disc_copies"]),
        disc_only_copies=_names(item["disc_only_copies"]),
        active_on=_names(item["where_to_write"]),
        loaded=item["where_to_read"] not in ("nowhere", "undefined"),
        load_node=_text(item["load_node"]),
        load_reason=_text(item["load_reason"]),
        attributes=attributes,
        index=tuple(_indexed(position, attributes) for position in _list(item["index"])),
    )


def _indexed(position: Term, attributes: tuple[str, ...]) -> str:
    """An indexed attribute; its position counts the record's name as the first."""
    if isinstance(position, tuple) and position:  # {Position, KindOfIndex}
        position = position[0]
    if isinstance(position, int) and 2 <= position < len(attributes) + 2:
        return attributes[position - 2]
    return _text(position) or "?"


def _list(term: Term) -> list[Term]:
    return term if isinstance(term, list) else []


def _strings(term: Term) -> tuple[str, ...]:
    return tuple(map(str, _list(term)))


def _names(term: Term) -> tuple[str, ...]:
    return tuple(sorted(_strings(term)))


def _number(term: Term) -> int | None:
    return term if isinstance(term, int) and not isinstance(term, bool) else None


def _text(term: Term) -> str | None:
    """An atom's name, a charlist's text, and any other term in Erlang syntax; None for ``undefined``."""
    if term == "undefined":
        return None
    if isinstance(term, str):
        return str(term)
    if isinstance(term, list | bytes):
        text = chardata_to_str(term, "utf-8")
        if text is not None:
            return text
    from iris_admin.syntax import format_term

    return format_term(term, width=None)
