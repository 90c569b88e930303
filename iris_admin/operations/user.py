"""Everything about one user: connections, what the cores believe, what waits, and what the next log-in will do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from iris_admin.errors import IrisAdminError, NoSuchUser, NotApplicable
from iris_admin.operations.evaluate import run_remote
from iris_admin.operations.fields import number
from iris_admin.operations.offline import StoredKey, Waiting, find_stores, iso_time, read_user_records, rows_waiting
from iris_admin.operations.offline_summary import HUGE_BACKLOG, Backlog, describe_backlogs
from iris_admin.operations.parallel import side_by_side
from iris_admin.operations.presence import Belief, CannotTell, Connection
from iris_admin.operations.presence_overview import presence_of
from iris_admin.operations.results import Result, Table
from iris_admin.operations.roles import members
from iris_admin.operations.steps import Operation
from iris_admin.operations.users import user_id
from iris_admin.operations.walk import MAX_HEAP
from iris_admin.records import record
from iris_admin.terms import Pid, Term
from iris_admin.text import count

#: For the state of a connection's process: one that sends to a client who does not read is blocked for 2 s a message.
STATE_TIMEOUT_MS = 3000
#: A process with so many waiting messages is not asked for its state.
BUSY_MAILBOX = 10_000


@record
class Pending(Result):
    """Messages that a connection's process has sent, and that the client has not acknowledged yet.

    :param node: the edge.
    :param pid: the process.
    :param count: how many; None where it cannot be told, because of ``reason``.
    :param oldest_age_seconds: since the first of them was sent; after 10 s they are stored again.
    :param bytes: of their payloads.
    :param message_queue_len: messages that wait in the process's mailbox.
    :param reason: why it cannot be told.
    """

    node: str
    pid: Pid
    count: int | None
    oldest_age_seconds: int | None
    bytes: int | None
    message_queue_len: int | None
    reason: str | None


@record
class UserReport(Result):
    """Everything about a user.

    :param user: the user.
    :param online: whether an edge has a live connection; None where none has, but not every edge could be asked.
    :param last_seen: the end of the last connection, in ISO 8601, UTC; None where unknown.
    :param connections: what the edges' tables have.
    :param beliefs: what the cores believe.
    :param pending: of each TCP connection, what the client has not acknowledged yet.
    :param stored: how much is stored: the sum of each store.
    :param keys: how much is stored under each key.
    :param bucket_count: the user's number of buckets; None where ``user_meta`` has none, which means 1.
    :param unreachable_rows: rows in buckets that no log-in looks into, since the user has fewer.
    :param waiting: for each core, the rows of all users that are not in the table yet.
    :param next_login: what the next log-in will do, in a sentence.
    :param danger: whether the next log-in may lose messages, or crash the connection.
    :param cannot_tell: the nodes that could not say something.
    :param notes: what else should be known.
    """

    user: bytes
    online: bool | None
    last_seen: str | None
    connections: Table[Connection]
    beliefs: Table[Belief]
    pending: Table[Pending]
    stored: Table[Backlog]
    keys: Table[StoredKey]
    bucket_count: int | None
    unreachable_rows: int
    waiting: Table[Waiting]
    next_login: str
    danger: bool
    cannot_tell: Table[CannotTell]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Stored:
    backlogs: list[Backlog]
    keys: list[StoredKey]
    bucket_count: int | None
    last_seen: int | None
    waiting: list[Waiting]
    notes: list[str]
    reason: str | None


def user_report(user: str | bytes, nodes: Sequence[str]) -> Operation[UserReport]:
    """Everything about a user. Nothing is changed, and no message leaves its node.

    :param user: the user's id.
    :param nodes: all nodes of the cluster.
    :raises NoSuchUser: nothing is known of the user anywhere.
    :raises NotApplicable: none of the nodes that answer runs Iris.
    """
    wanted = user_id(user)
    found = yield from members(nodes)
    if not found.cores and not found.edges:
        raise NotApplicable(
            "no node that answers runs Iris: " + ", ".join(nodes), hint="Name a core or an edge of Iris with -n."
        )
    (presence,), cannot_tell = yield from presence_of([wanted], found)
    pending = yield from pending_of(presence.connections)
    try:
        stores, notes = yield from find_stores(found)
        stored = yield from _stored(wanted, [store.core for store in stores], found.cores, notes)
    except NotApplicable as error:
        stored = _Stored([], [], None, None, [], [], str(error))
    is_known = (
        presence.connections
        or any(belief.edge is not None for belief in presence.beliefs)
        or stored.backlogs
        or stored.bucket_count is not None
        or stored.last_seen is not None
    )
    if not is_known and not cannot_tell and stored.reason is None:
        raise NoSuchUser(
            f"nothing is known of the user {wanted.decode('utf-8', 'backslashreplace')!r}: no stored message, no "
            "connection, no status",
            hint="Is the id misspelt? Upper and lower case differ.",
        )
    buckets = 1 if stored.bucket_count is None else stored.bucket_count
    unreachable = sum(key.records for key in stored.keys if key.bucket is not None and key.bucket >= buckets)
    next_login, danger = _predict(stored, unreachable)
    return UserReport(
        user=wanted,
        online=presence.online,
        last_seen=None if stored.last_seen is None else iso_time(stored.last_seen * 1000),
        connections=presence.connections,
        beliefs=presence.beliefs,
        pending=Table(Pending, pending),
        stored=Table(Backlog, stored.backlogs),
        keys=Table(StoredKey, stored.keys),
        bucket_count=stored.bucket_count,
        unreachable_rows=unreachable,
        waiting=Table(Waiting, stored.waiting),
        next_login=next_login,
        danger=danger,
        cannot_tell=Table(CannotTell, cannot_tell),
        notes=tuple(stored.notes),
    )


def pending_of(connections: Sequence[Connection]) -> Operation[list[Pending]]:
    """What the TCP connections among some hold without an acknowledgement."""
    by_edge: dict[str, list[Pid]] = {}
    for connection in connections:
        if connection.alive and connection.kind == "tcp":
            by_edge.setdefault(connection.node, []).append(connection.pid)
    answers = yield from side_by_side({edge: _ask_pending(edge, pids) for edge, pids in by_edge.items()})
    pending = []
    for edge, pids in by_edge.items():
        answer = answers[edge]
        for index, pid in enumerate(pids):
            if isinstance(answer, IrisAdminError):
                pending.append(Pending(edge, pid, None, None, None, None, str(answer)))
            else:
                pending.append(_pending(edge, pid, *answer[index]))
    return pending


def _ask_pending(edge: str, pids: list[Pid]) -> Operation[list[tuple[Term, Term]]]:
    bindings: dict[str, Term] = {
        "Pids": list(pids),
        "Wait": STATE_TIMEOUT_MS,
        "Busy": BUSY_MAILBOX,
        "MaxHeap": MAX_HEAP,
    }
    timeout = 5 + STATE_TIMEOUT_MS / 1000 * len(pids)
    answer: list[tuple[Term, Term]] = yield from run_remote("pending_acks", bindings, node=edge, timeout=timeout)
    return answer


def _pending(edge: str, pid: Pid, queue: Term, answer: Term) -> Pending:
    waiting = number(queue)
    match answer:
        case (int() as count, age, int() as size):
            return Pending(edge, pid, count, number(age), size, waiting, None)
        case "busy":
            reason = f"{waiting} messages wait in its mailbox, so it was not asked"
        case "timeout":
            reason = f"it did not show its state within {STATE_TIMEOUT_MS / 1000:g} s: its client may not be reading"
        case "noproc":
            reason = "the connection has just ended"
        case _:
            reason = "its state has a form that is not known here"
    return Pending(edge, pid, None, None, None, waiting, reason)


def _stored(user: bytes, asked: Sequence[str], cores: Sequence[str], notes: list[str]) -> Operation[_Stored]:
    """What is stored: counted there, none of it read."""
    waiting = yield from rows_waiting(cores)
    backlogs: list[Backlog] = []
    keys: list[StoredKey] = []
    bucket_counts: list[int] = []
    seen: list[int] = []
    for core in asked:
        head = yield from read_user_records(user, core, max_records=0)
        keys += head.keys
        bucket_counts += [] if head.bucket_count is None else [head.bucket_count]
        seen += [] if head.last_seen is None else [head.last_seen]
        if head.keys:
            backlogs += yield from describe_backlogs([user], core)
    return _Stored(
        backlogs,
        keys,
        max(bucket_counts, default=None),
        max(seen, default=None),
        waiting,
        notes,
        None,
    )


def _predict(stored: _Stored, unreachable: int) -> tuple[str, bool]:
    """What the next log-in will do, and whether that is dangerous."""
    if stored.reason is not None:
        return f"It cannot be told what is stored: {stored.reason}.", False
    messages = sum(backlog.messages for backlog in stored.backlogs)
    rows = sum(backlog.rows for backlog in stored.backlogs)
    undeliverable = sum(backlog.undeliverable for backlog in stored.backlogs)
    if not messages:
        return "Nothing is stored, so nothing is fetched.", False
    if rows == unreachable:
        return "Nothing is fetched: what is stored is in buckets that the user does not have.", False
    left_out = (
        f", but those of {count(unreachable, 'row')} in buckets that the user does not have" if unreachable else ""
    )
    text = (
        f"{count(messages, 'message')} will leave the store{left_out}, before they are sent; and nobody watches "
        "whether they arrive: a connection that breaks then loses them"
    )
    if undeliverable:
        text += f". {undeliverable} of them cannot be sent, as binaries can, and will crash the connection"
    if messages >= HUGE_BACKLOG:
        text += f". So many have killed a connection ({HUGE_BACKLOG} and more are a danger), and were lost"
        return f"{text}. Export them before the user logs in.", True
    return f"{text}.", undeliverable > 0
