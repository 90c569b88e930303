"""Redeliver a user's stored messages: what the runbook's ``iris_offline_storage:redeliver(User)`` is meant to do.

Where the cluster's Iris exports that function, it is called. Today's Iris does not, and there the safe procedure is
done from outside: flush, read, back up, send to the live connection, watch the acknowledgements, delete exactly
what was acknowledged (:mod:`iris_admin.operations.delivery`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from functools import partial
from hashlib import sha256
from pathlib import Path

from iris_admin.errors import IrisAdminError, RemoteError, UnsafeOperation
from iris_admin.operations.changes import Change, audited
from iris_admin.operations.delivery import Fate, Stored, deliver, flush, unpack
from iris_admin.operations.guards import reachable_cores, refuse_unknown_user, refuse_when_partitioned
from iris_admin.operations.local_steps import SaveBackup
from iris_admin.operations.offline import find_stores, read_user_records
from iris_admin.operations.presence import Connection, find_connections
from iris_admin.operations.results import Result, Table
from iris_admin.operations.roles import Members, members
from iris_admin.operations.steps import Call, Operation, Progress
from iris_admin.operations.users import user_id
from iris_admin.records import record
from iris_admin.terms import Atom, Term

PROMISE = "at least once: a message may arrive twice (under a new id), none is lost"
#: Of ``redeliver/1``, which does the whole work on the node, in seconds.
_REDELIVER_TIMEOUT = 120.0


class Verdict(Enum):
    """How a redelivery went."""

    DELIVERED = "delivered"
    PARTLY_DELIVERED = "partly delivered"
    NOT_DELIVERED = "not delivered"
    WOULD_DELIVER = "would deliver"
    NOTHING_STORED = "nothing stored"
    OFFLINE = "user is offline"
    WEBSOCKET = "user is on a WebSocket"


@record
class MessageFate(Result):
    """A stored message and what became of it.

    :param timestamp: when it was stored, in milliseconds since the epoch.
    :param size: of its payload, in bytes; None where that is no binary.
    :param digest: the first 16 hexadecimal digits of the payload's SHA-256; None where it is no binary.
    :param fate: see :class:`~iris_admin.operations.delivery.Fate`.
    """

    timestamp: int
    size: int | None
    digest: str | None
    fate: Fate


@record
class Redelivery(Result):
    """What a redelivery did.

    :param user: whose messages.
    :param verdict: in a word or two.
    :param explanation: in a sentence, for a person.
    :param method: ``redeliver/1`` or ``safe procedure``; None where nothing was done.
    :param edge: the node of the client's connection, where it was used.
    :param stored_before: how many messages were stored at the beginning.
    :param stored_after: how many are at the end.
    :param fates: how many messages had each fate.
    :param messages: each message that was stored at the beginning, and its fate.
    :param backup: the file that holds the records as they were; None where nothing was touched.
    :param returned: what ``redeliver/1`` returned.
    :param promise: what holds for every message.
    """

    user: bytes
    verdict: Verdict
    explanation: str
    method: str | None
    edge: str | None
    stored_before: int
    stored_after: int
    fates: dict[str, int]
    messages: Table[MessageFate]
    backup: Path | None
    returned: Term
    promise: str

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to deliver."""
        return self.verdict in (Verdict.DELIVERED, Verdict.NOTHING_STORED, Verdict.WOULD_DELIVER)


def redeliver(user: str | bytes, nodes: Sequence[str], *, dry_run: bool = False) -> Operation[Redelivery]:
    """Deliver a user's stored messages to the client that the user is connected with.

    :param user: the user's id.
    :param nodes: all nodes of the cluster.
    :param dry_run: look at everything, change nothing.
    :raises NoSuchUser: nothing is known of the user anywhere.
    :raises NotApplicable: none of the nodes is an Iris core.
    :raises UnsafeOperation: the cluster is partitioned, or a running core cannot be reached.
    """
    wanted = user_id(user)
    found = yield from members(nodes)
    core, cores = yield from reachable_cores(found)
    storing = yield from _core_that_stores(wanted, found)
    if storing not in cores:
        core, cores = yield from reachable_cores(found, storing)
    yield from refuse_when_partitioned(core)
    exported = yield from _exports_redeliver(core)
    if not dry_run:
        yield from flush(cores)
    records = yield from read_user_records(wanted, core)
    messages = unpack(records)
    connections, blind = yield from find_connections(wanted, found.edges)
    blind = {**found.unanswered, **blind}

    conclude = partial(_conclude, wanted, messages)
    if not messages:
        if not connections and not blind:
            yield from refuse_unknown_user(wanted, core)
        return conclude(Verdict.NOTHING_STORED, "The offline store holds nothing for this user.")
    if exported and dry_run:
        return conclude(Verdict.WOULD_DELIVER, f"{core} exports iris_offline_storage:redeliver/1; it would be called.")
    plan = {"user": wanted, "records": len(records), "messages": len(messages)}
    if exported:
        change = Change("redeliver", core, plan | {"method": "redeliver/1"})
        work = _by_iris(change, wanted, records, messages, core, cores, conclude)
        return (yield from audited(change, work))
    connection = _tcp_connection(connections)
    if connection is None:
        return conclude(*_why_not(connections, blind))
    if dry_run:
        sendable = sum(message.fate is Fate.NOT_SENT for message in messages)
        return conclude(
            Verdict.WOULD_DELIVER,
            f"{sendable} of {len(messages)} messages would be sent to the client, each deleted when acknowledged.",
            edge=connection.node,
        )
    change = Change("redeliver", core, plan | {"method": "safe procedure", "edge": connection.node})
    work = _by_the_safe_procedure(change, wanted, records, messages, connection, core, cores, conclude)
    return (yield from audited(change, work))


def _core_that_stores(user: bytes, found: Members) -> Operation[str]:
    """The core to read the user's messages from: some cores may not share their tables.

    :raises UnsafeOperation: several stores hold messages of the user.
    """
    stores, _notes = yield from find_stores(found)
    if len(stores) == 1:
        return stores[0].core
    holding = []
    for store in stores:
        head = yield from read_user_records(user, store.core, max_records=0)
        if head.keys:
            holding.append(store.core)
    if len(holding) > 1:
        raise UnsafeOperation(
            f"{', '.join(holding)} do not share their tables, and each holds messages of this user",
            node=holding[0],
            hint="Join the cores' Mnesia first. Nothing was changed.",
        )
    return (holding or [stores[0].core])[0]


def _by_iris(
    change: Change,
    user: bytes,
    records: Sequence[Term],
    messages: Sequence[Stored],
    core: str,
    cores: Sequence[str],
    conclude: Callable[..., Redelivery],
) -> Operation[Redelivery]:
    change.backup = backup = yield from _back_up(records)
    returned = yield Call("iris_offline_storage", "redeliver", (user,), node=core, timeout=_REDELIVER_TIMEOUT)
    left = yield from _still_stored(user, core, cores)
    for message in messages:
        message.fate = Fate.NOT_SENT if message.identity in left else Fate.DELIVERED_BY_IRIS
    change.outcome = _outcome(messages)
    return conclude(
        _verdict(messages),
        f"{core} exports iris_offline_storage:redeliver/1, so it was called.",
        method="redeliver/1",
        stored_after=sum(left.values()),
        backup=backup,
        returned=returned,
    )


def _by_the_safe_procedure(
    change: Change,
    user: bytes,
    records: Sequence[Term],
    messages: Sequence[Stored],
    connection: Connection,
    core: str,
    cores: Sequence[str],
    conclude: Callable[..., Redelivery],
) -> Operation[Redelivery]:
    change.backup = backup = yield from _back_up(records)
    stopped = yield from deliver(messages, connection.node, connection.pid, core=core, cores=cores)
    change.outcome = _outcome(messages)
    left = yield from _still_stored(user, core, cores)
    return conclude(
        _verdict(messages),
        _explain(messages, connection.node, stopped),
        method="safe procedure",
        edge=connection.node,
        stored_after=sum(left.values()),
        backup=backup,
    )


def _exports_redeliver(core: str) -> Operation[bool]:
    try:
        exports = yield Call("iris_offline_storage", "module_info", (Atom("exports"),), node=core, idempotent=True)
    except RemoteError as error:
        if error.is_undef:
            return False
        raise
    return (Atom("redeliver"), 1) in exports


def _tcp_connection(connections: Iterable[Connection]) -> Connection | None:
    return next((each for each in connections if each.alive and each.kind == "tcp"), None)


def _why_not(connections: Sequence[Connection], blind: Mapping[str, IrisAdminError]) -> tuple[Verdict, str]:
    if any(connection.alive for connection in connections):
        return (
            Verdict.WEBSOCKET,
            "The client is on a WebSocket, which acknowledges nothing, so no message could be deleted safely.",
        )
    unsure = f" that could be asked (not {', '.join(sorted(blind))})" if blind else ""
    return Verdict.OFFLINE, f"No edge{unsure} has a live connection of this user. The next login fetches the messages."


def _back_up(records: Sequence[Term]) -> Operation[Path]:
    backup: Path = yield SaveBackup("redeliver", tuple(records))
    yield Progress(f"{len(records)} records are kept in {backup}")
    return backup


def _still_stored(user: bytes, core: str, cores: Sequence[str]) -> Operation[Counter[object]]:
    yield from flush(cores)
    records = yield from read_user_records(user, core)
    return Counter(message.identity for message in unpack(records))


def _explain(messages: Sequence[Stored], edge: str, stopped: str | None) -> str:
    count = Counter(message.fate for message in messages)
    text = f"The client on {edge} acknowledged {count[Fate.ACKNOWLEDGED]} of {len(messages)} messages"
    if stopped:
        text += f"; {stopped}"
    if twice := count[Fate.UNACKNOWLEDGED] + count[Fate.STORED_AGAIN]:
        text += f". Of {twice} the edge stores a second copy, which the user may receive, too"
    if unsendable := count[Fate.UNSENDABLE]:
        text += f". {unsendable} cannot be sent: only binaries can, anything else would crash the client's edge"
    return text + "."


def _verdict(messages: Sequence[Stored]) -> Verdict:
    done = sum(message.fate in (Fate.ACKNOWLEDGED, Fate.DELIVERED_BY_IRIS, Fate.GONE) for message in messages)
    if done == len(messages):
        return Verdict.DELIVERED
    return Verdict.PARTLY_DELIVERED if done else Verdict.NOT_DELIVERED


def _outcome(messages: Sequence[Stored]) -> str:
    """For the audit file: the verdict, and how many messages had each fate."""
    fates = Counter(message.fate.value for message in messages)
    return f"{_verdict(messages).value}: " + ", ".join(f"{count} {fate}" for fate, count in fates.items())


def _conclude(
    user: bytes,
    messages: Sequence[Stored],
    verdict: Verdict,
    explanation: str,
    *,
    method: str | None = None,
    edge: str | None = None,
    stored_after: int | None = None,
    backup: Path | None = None,
    returned: Term = None,
) -> Redelivery:
    return Redelivery(
        user=user,
        verdict=verdict,
        explanation=explanation,
        method=method,
        edge=edge,
        stored_before=len(messages),
        stored_after=len(messages) if stored_after is None else stored_after,
        fates=dict(Counter(message.fate.value for message in messages)),
        messages=Table(MessageFate, (_message_fate(message) for message in messages)),
        backup=backup,
        returned=returned,
        promise=PROMISE,
    )


def _message_fate(message: Stored) -> MessageFate:
    payload = message.payload
    if not isinstance(payload, bytes):
        return MessageFate(message.record[2], None, None, message.fate)
    return MessageFate(message.record[2], len(payload), sha256(payload).hexdigest()[:16], message.fate)
