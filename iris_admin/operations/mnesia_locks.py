"""Mnesia's locks and transactions on one node: who holds, who waits."""

from __future__ import annotations

from iris_admin.operations.evaluate import run_remote
from iris_admin.operations.fields import local_name, number, syntax, text
from iris_admin.operations.mnesia import MAX_LOCKS, require_mnesia
from iris_admin.operations.processes import ProcessRow, describe
from iris_admin.operations.results import Result, Table
from iris_admin.operations.roles import role
from iris_admin.operations.steps import Call, Operation
from iris_admin.records import record
from iris_admin.terms import Atom, Pid, Term

#: Locks of each kind, and transactions, that are reported at most.
MAX_COUNT = 1000
#: A key that is longer than so many bytes, in the external format, is not sent.
MAX_KEY = 200
_WHOLE_TABLE = "______WHOLETABLE_____"


@record
class MnesiaLock(Result):
    """A lock, or the wish for one.

    :param table: the table.
    :param key: the key in Erlang syntax; None for the whole table, and for a key of more than :data:`MAX_KEY` bytes.
    :param whole_table: whether it is for all rows.
    :param operation: ``read`` or ``write``.
    :param waiting: whether it is waited for; otherwise it is held.
    :param transaction: the serial number of the transaction. Older ones have smaller numbers.
    :param pid: the process that the transaction runs in, as its own node writes it.
    :param pid_node: that node.
    """

    table: str
    key: str | None
    whole_table: bool
    operation: str
    waiting: bool
    transaction: int
    pid: str
    pid_node: str


@record
class LockedTable(Result):
    """How many locks a table has.

    :param table: the table.
    :param held: locks that are held; ``waiting`` are waited for.
    """

    table: str
    held: int
    waiting: int


@record
class MnesiaLocks(Result):
    """The locks that one node's lock manager knows. Each node has one of its own.

    :param node: the node.
    :param held: how many are held; ``waiting`` are waited for. A transaction that is refused a lock does not always
        wait in this queue: it may sleep and begin again, which the transactions show.
    :param tables: how many each table has.
    :param locks: some of them, those that are waited for first.
    :param cut: why not all locks are shown; None if they are.
    """

    node: str
    held: int
    waiting: int
    tables: Table[LockedTable]
    locks: Table[MnesiaLock]
    cut: str | None


@record
class MnesiaTransaction(Result):
    """A transaction that is under way.

    :param transaction: its serial number; the oldest have the smallest.
    :param kind: ``coordinator`` where it was begun on this node, else ``participant``.
    :param pid: the process that it runs in, as its own node writes it.
    :param pid_node: that node.
    :param registered_name: that process's name; this and what follows is None for a process of another node.
    :param initial_call: the function that it was started with.
    :param current_function: what it is doing; ``timer:sleep/1`` is a transaction that was refused a lock and will
        begin again.
    :param message_queue_len: messages that wait for it.
    :param held_locks: how many locks it holds on this node; ``waiting_locks`` it waits for.
    """

    transaction: int
    kind: str
    pid: str
    pid_node: str
    registered_name: str | None
    initial_call: str | None
    current_function: str | None
    message_queue_len: int | None
    held_locks: int | None
    waiting_locks: int | None


@record
class MnesiaTransactions(Result):
    """The transactions that a node knows.

    :param node: the node.
    :param count: how many there are.
    :param transactions: the oldest of them. What stays at the top holds up the others.
    """

    node: str
    count: int
    transactions: Table[MnesiaTransaction]


def mnesia_locks(*, count: int = 20, node: str | None = None) -> Operation[MnesiaLocks]:
    """The locks of a node.

    :param count: how many to show of those held and of those waited for, up to :data:`MAX_COUNT`. Beyond
        :data:`iris_admin.operations.mnesia.MAX_LOCKS` locks there is only their number, for Mnesia gives all or none.
    :param node: which; None is the operation's own node.
    :raises NotApplicable: Mnesia does not run there.
    """
    _check(count)
    where = yield from role(node)
    yield from require_mnesia(where, node)
    bindings = {"MaxLocks": MAX_LOCKS, "N": count, "MaxKey": MAX_KEY}
    held, waiting, held_locks, waiting_locks, tables = yield from run_remote("mnesia_locks", bindings, node=node)
    cut = None
    if held_locks == "undefined":
        held_locks, waiting_locks = [], []
        cut = f"there are more than {MAX_LOCKS}, and Mnesia shows all or none"
    elif max(held, waiting) > count:
        cut = f"at most {count} of each kind were asked for"
    return MnesiaLocks(
        node=where.node,
        held=held,
        waiting=waiting,
        tables=Table(
            LockedTable,
            sorted(
                (LockedTable(str(table), locked, wanted) for table, locked, wanted in tables),
                key=lambda table: (-table.waiting, -table.held, table.table),
            ),
        ),
        locks=Table(
            MnesiaLock, [*(_lock(lock, True) for lock in waiting_locks), *(_lock(lock, False) for lock in held_locks)]
        ),
        cut=cut,
    )


def mnesia_transactions(*, count: int = 20, node: str | None = None) -> Operation[MnesiaTransactions]:
    """The transactions that are under way on a node, the oldest first.

    :param count: how many to show, up to :data:`MAX_COUNT`.
    :param node: which; None is the operation's own node.
    :raises NotApplicable: Mnesia does not run there.
    """
    _check(count)
    where = yield from role(node)
    yield from require_mnesia(where, node)
    total, rows = yield from run_remote("mnesia_transactions", {"MaxLocks": MAX_LOCKS, "N": count}, node=node)
    word_size = yield Call("erlang", "system_info", (Atom("wordsize"),), node=node, idempotent=True)
    local = [row[1] for row in rows if row[1].node == where.node]
    described = yield from describe(local, word_size=word_size, node=node)
    by_pid = dict(zip(local, described, strict=True))
    return MnesiaTransactions(
        node=where.node,
        count=total,
        transactions=Table(MnesiaTransaction, (_transaction(row, by_pid.get(row[1])) for row in rows)),
    )


def _check(count: int) -> None:
    if not 1 <= count <= MAX_COUNT:
        raise ValueError(f"count is 1 to {MAX_COUNT}, not {count}")


def _lock(answer: Term, waiting: bool) -> MnesiaLock:
    table, (kind, key), operation, serial, pid = answer
    whole = kind == "value" and key == _WHOLE_TABLE
    name, node = _pid(pid)
    return MnesiaLock(
        table=str(table),
        key=syntax(key) if kind == "value" and not whole else None,
        whole_table=whole,
        operation=text(operation) or "",
        waiting=waiting,
        transaction=serial,
        pid=name,
        pid_node=node,
    )


def _transaction(answer: Term, process: ProcessRow | None) -> MnesiaTransaction:
    serial, pid, kind, held, waiting = answer
    name, node = _pid(pid)
    return MnesiaTransaction(
        transaction=serial,
        kind=text(kind) or "",
        pid=name,
        pid_node=node,
        registered_name=process.registered_name if process else None,
        initial_call=process.initial_call if process else None,
        current_function=process.current_function if process else None,
        message_queue_len=process.message_queue_len if process else None,
        held_locks=number(held),
        waiting_locks=number(waiting),
    )


def _pid(pid: Term) -> tuple[str, str]:
    return (local_name(pid) or "", str(pid.node)) if isinstance(pid, Pid) else (syntax(pid), "")
