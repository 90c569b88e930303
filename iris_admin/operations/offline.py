"""What is stored for a user who was away: the rows of ``offline_msg``, read without changing anything.

A row is ``{offline_msg, Key, Milliseconds, Message}``. The key is ``{User, Bucket}``, or the bare user where a
deployment follows an older scheme; the message is a binary or a list of binaries, a stored batch. Which scheme a
deployment has is found by looking under both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import overload

from iris_admin.errors import IrisAdminError, NotApplicable, RemoteError, UnsafeOperation
from iris_admin.operations.evaluate import run_remote
from iris_admin.operations.results import Result, Table
from iris_admin.operations.roles import Members, members
from iris_admin.operations.steps import AllOf, Call, Operation, Progress
from iris_admin.operations.users import user_id
from iris_admin.proto.etf import encode
from iris_admin.records import record
from iris_admin.terms import Atom, Term

#: Buckets are looked into up to the user's own number of them, and at least this many: an edge that stores what a
#: lost connection had not acknowledged uses 16, whatever the user has.
LEAST_BUCKETS = 16
#: A number of buckets beyond this is not believed.
MOST_BUCKETS = 4096
#: What a page holds at most; a single record of any size is a page, too.
PAGE_RECORDS = 5000
PAGE_BYTES = 2 << 20
#: What one operation reads at most of a user's records.
MAX_RECORDS = 100_000
MAX_BYTES = 256 << 20
#: Records that are shown unless asked otherwise.
SHOWN_RECORDS = 1000
#: Of the process that reads on the core, in words: about a million records of one user.
_MAX_HEAP = 64 << 20

_OFFLINE_MSG = Atom("offline_msg")


@record
class StoredKey(Result):
    """What a core holds for a user under one key.

    :param core: the core that was asked.
    :param bucket: of the key ``{User, Bucket}``; None where the key is the bare user.
    :param records: how many rows.
    :param messages: how many messages; a row can hold a batch of them.
    :param bytes: of all their payloads.
    """

    core: str
    bucket: int | None
    records: int
    messages: int
    bytes: int


@record
class StoredMessage(Result):
    """A stored message.

    :param core: the core that was asked.
    :param bucket: of its key; None where the key is the bare user.
    :param timestamp: when it was stored, in milliseconds since the epoch; None where the row does not say.
    :param time: the same in ISO 8601, UTC.
    :param part: which message of its row it is, from 1; ``parts`` says how many messages the row holds.
    :param kind: ``binary``, or ``term`` for anything else: such a message cannot be delivered.
    :param size: of the payload, in bytes (of the external term format for a ``term``).
    :param digest: the first 16 hexadecimal digits of the payload's SHA-256 (likewise).
    :param payload: the payload, where it was asked for.
    """

    core: str
    bucket: int | None
    timestamp: int | None
    time: str | None
    part: int
    parts: int
    kind: str
    size: int
    digest: str
    payload: Term


@record
class Waiting(Result):
    """Rows of all users that wait in a core's write-ahead log, for half a second at most.

    :param core: the core.
    :param rows: how many; None where it cannot be told, because of ``reason``.
    """

    core: str
    rows: int | None
    reason: str | None


@record
class Offline(Result):
    """What is stored for a user.

    :param user: the user.
    :param messages: the stored messages, oldest first.
    :param total_records: how many rows there are, shown or not; likewise messages and payload bytes.
    :param cut: whether there are more messages than are shown.
    :param scheme: of the keys found: ``bucketed``, ``bare`` or ``both``; None where nothing is stored.
    :param bucket_count: the user's number of buckets; None where ``user_meta`` has none, which means 1.
    :param last_seen: the end of the user's last connection, in seconds since the epoch; None where unknown.
    :param keys: what is stored under each key.
    :param waiting: for each core, the rows that are not in the table yet. They may be of this user.
    :param notes: what else should be known to read this right.
    """

    user: bytes
    messages: Table[StoredMessage]
    total_records: int
    total_messages: int
    total_bytes: int
    cut: bool
    scheme: str | None
    bucket_count: int | None
    last_seen: int | None
    keys: Table[StoredKey]
    waiting: Table[Waiting]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UserRecords(Sequence[Term]):
    """A user's records, whole, as the core holds them; a sequence, oldest first.

    :param core: the core that was asked.
    :param records: the records.
    :param keys: how much is stored under each key, read or not.
    :param bucket_count: the user's number of buckets; None where ``user_meta`` has none, which means 1.
    :param last_seen: the end of the user's last connection, in seconds since the epoch; None where unknown.
    :param cut: whether there are more records than were read.
    """

    core: str
    records: tuple[Term, ...]
    keys: tuple[StoredKey, ...]
    bucket_count: int | None
    last_seen: int | None
    cut: bool

    @overload
    def __getitem__(self, index: int) -> Term: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Term, ...]: ...

    def __getitem__(self, index: int | slice) -> Term:
        return self.records[index]

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        return f"<UserRecords: {len(self)} from {self.core}{', cut' if self.cut else ''}>"


@dataclass(frozen=True, slots=True)
class Store:
    """Cores that share one table ``offline_msg``.

    :param core: the one to ask.
    :param copies: the nodes that hold a copy.
    """

    core: str
    copies: tuple[str, ...]


def offline_show(
    user: str | bytes, nodes: Sequence[str], *, payload: bool = False, limit: int | None = None
) -> Operation[Offline]:
    """What is stored for a user.

    :param user: the user's id.
    :param nodes: all nodes of the cluster.
    :param payload: whether to keep the payloads; they are people's messages.
    :param limit: read this many records at most; None means :data:`SHOWN_RECORDS`.
    :raises NotApplicable: none of the nodes holds the table.
    """
    wanted = user_id(user)
    found = yield from members(nodes)
    stores, notes = yield from find_stores(found)
    # Asked before the rows are read, so that none can pass from the log to the table unseen in between.
    waiting = yield from rows_waiting(found.cores)
    messages: list[StoredMessage] = []
    keys: list[StoredKey] = []
    cut = False
    heads: list[UserRecords] = []
    for store in stores:

        def take(records: Sequence[Term], core: str = store.core) -> None:
            for row in records:
                messages.extend(describe(row, core, keep_payload=payload))

        head = yield from _read(
            wanted,
            store.core,
            take,
            max_records=SHOWN_RECORDS if limit is None else limit,
            max_bytes=MAX_BYTES,
        )
        heads.append(head)
        keys.extend(head.keys)
        cut = cut or head.cut
        if head.bucket_count is not None and head.bucket_count > MOST_BUCKETS:
            notes.append(f"{store.core} says that the user has {head.bucket_count} buckets: not all were looked into")
    if len(stores) > 1:
        notes.append(
            "These cores do not share their tables, so each holds messages of its own: "
            + "; ".join(f"{store.core} (copies on {', '.join(store.copies)})" for store in stores)
        )
    messages.sort(key=lambda message: message.timestamp if message.timestamp is not None else -1)
    return Offline(
        user=wanted,
        messages=Table(StoredMessage, messages),
        total_records=sum(key.records for key in keys),
        total_messages=sum(key.messages for key in keys),
        total_bytes=sum(key.bytes for key in keys),
        cut=cut,
        scheme=_scheme(keys),
        bucket_count=next((head.bucket_count for head in heads if head.bucket_count is not None), None),
        last_seen=max((head.last_seen for head in heads if head.last_seen is not None), default=None),
        keys=Table(StoredKey, keys),
        waiting=Table(Waiting, waiting),
        notes=tuple(notes),
    )


def read_user_records(
    user: bytes, core: str, *, max_records: int | None = None, max_bytes: int = MAX_BYTES
) -> Operation[UserRecords]:
    """A user's records in ``offline_msg``, under keys of either scheme.

    They come in pages; how many there are is known from the first one on.

    :param core: the node to ask.
    :param max_records: read no more than these, the oldest; the result says whether it was cut. Without it all are
        read, or none.
    :param max_bytes: of the records in the external term format; likewise.
    :raises NotApplicable: the node has no such table, or has not loaded it.
    :raises UnsafeOperation: there are too many to be read whole.
    """
    records: list[Term] = []
    head = yield from _read(
        user,
        core,
        records.extend,
        max_records=MAX_RECORDS if max_records is None else max_records,
        max_bytes=max_bytes,
        whole=max_records is None,
    )
    return UserRecords(core, tuple(records), head.keys, head.bucket_count, head.last_seen, head.cut)


def payloads_of(record: Term) -> list[Term]:
    """The messages that a record of ``offline_msg`` holds: one, or those of a batch."""
    payload = record[3]
    return list(_flattened(payload)) if isinstance(payload, list) else [payload]


def describe(record: Term, core: str, *, keep_payload: bool = False) -> list[StoredMessage]:
    """The messages of a record, without their payloads unless asked for.

    :param record: a whole record of ``offline_msg``.
    :param core: where it was read.
    """
    payloads = payloads_of(record)
    timestamp = record[2] if isinstance(record[2], int) else None
    return [
        StoredMessage(
            core=core,
            bucket=_bucket(record[1]),
            timestamp=timestamp,
            time=iso_time(timestamp),
            part=part,
            parts=len(payloads),
            kind="binary" if isinstance(payload, bytes) else "term",
            size=len(data),
            digest=sha256(data).hexdigest()[:16],
            payload=payload if keep_payload else None,
        )
        for part, payload in enumerate(payloads, 1)
        for data in [payload if isinstance(payload, bytes) else encode(payload)]
    ]


def iso_time(milliseconds: int | None) -> str | None:
    """Milliseconds since the epoch in ISO 8601, UTC; None for what is no time of this calendar."""
    from datetime import UTC, datetime, timedelta

    if milliseconds is None:
        return None
    try:
        time = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def find_stores(found: Members) -> Operation[tuple[list[Store], list[str]]]:
    """The tables ``offline_msg`` of a cluster: one, unless some cores do not share theirs.

    :returns: for each table a core to ask; and notes on nodes that could not be asked.
    :raises NotApplicable: no node holds the table.
    """
    notes = [f"{node} could not be asked: {error}" for node, error in found.unanswered.items()]
    questions = [(core, item) for core in found.cores for item in ("where_to_read", "where_to_write")]
    outcomes = yield AllOf(
        tuple(
            Call("mnesia", "table_info", (_OFFLINE_MSG, Atom(item)), node=core, idempotent=True)
            for core, item in questions
        )
    )
    by_copies: dict[tuple[str, ...], str] = {}
    for core, readable, copies in zip(found.cores, outcomes[::2], outcomes[1::2], strict=True):
        failure = next((each for each in (readable, copies) if isinstance(each, Exception)), None)
        if failure is not None:
            notes.append(f"{core} cannot read offline_msg: {_why_unreadable(failure)}")
        elif readable == "nowhere":
            notes.append(f"{core} cannot read offline_msg: no copy of the table is loaded")
        else:
            nodes = tuple(sorted(map(str, copies)))
            if by_copies.get(nodes) not in nodes:  # better a core that holds a copy itself
                by_copies[nodes] = core
    if not by_copies:
        raise NotApplicable(
            "no node that answers stores offline messages: " + ("; ".join(notes) or _what_they_are(found)),
            hint="Only a core with Mnesia running does. Name one, or a node that is connected to one.",
        )
    return [Store(core, copies) for copies, core in by_copies.items()], notes


def pick_core(nodes: Sequence[str]) -> Operation[str]:
    """A core to ask: Iris's core and Mnesia run there, and it can read ``offline_msg``.

    :raises NotApplicable: there is none.
    """
    stores, _notes = yield from find_stores((yield from members(nodes)))
    return stores[0].core


def _read(
    user: bytes,
    core: str,
    take: Callable[[Sequence[Term]], None],
    *,
    max_records: int,
    max_bytes: int,
    whole: bool = False,
) -> Operation[UserRecords]:
    """Read a user's records in pages.

    :param take: given each page.
    :param whole: refuse, before the second page, to read what is more than the limits.
    :returns: all that is to be known, without the records.
    """
    head: UserRecords | None = None
    last: Term = Atom("none")
    done, more, bytes_left = 0, 0, max_bytes
    while head is None or (more and done < max_records and bytes_left > 0):
        if head is not None:
            yield Progress(f"{core}: read {done} of {done + more} stored records")
        page_bytes = min(PAGE_BYTES, bytes_left)
        bindings = {
            "User": user,
            "AtLeast": LEAST_BUCKETS,
            "AtMost": MOST_BUCKETS,
            "Last": last,
            "MaxRows": min(PAGE_RECORDS, max_records - done),
            "MaxBytes": page_bytes,
            "MaxHeap": _MAX_HEAP,
        }
        try:
            answer = yield from run_remote("offline_records", bindings, node=core)
        except RemoteError as error:
            raise _unreadable(error, core) from error
        bucket_count, last_seen, found, page, more, page_bytes_left = answer
        if head is None:
            keys = tuple(StoredKey(core, _bucket(key), *counts) for key, counts in found)
            head = UserRecords(core, (), keys, _number(bucket_count), _number(last_seen), cut=False)
            size = sum(key.bytes for key in keys)
            if whole and (len(page) + more > max_records or size > max_bytes):
                raise _too_much(core, len(page) + more, size)
        take(page)
        done += len(page)
        bytes_left -= page_bytes - page_bytes_left
        if page:
            last = page[-1]
    if whole and more:
        raise _too_much(core, done + more, size)
    return UserRecords(core, (), head.keys, head.bucket_count, head.last_seen, cut=bool(more))


def _too_much(core: str, records: int, size: int) -> UnsafeOperation:
    return UnsafeOperation(
        f"{core} holds {records} records of this user with {size} bytes of messages, more than is read at once",
        node=core,
        hint="Nothing was changed.",
    )


def _unreadable(error: RemoteError, core: str) -> IrisAdminError:
    if error.kind == "killed":
        return UnsafeOperation(
            f"{core} holds more records of this user than can be read without harm to it",
            node=core,
            hint="The process that read them was ended when it had taken half a gigabyte. Nothing was changed.",
        )
    match error.reason:
        case ("aborted", _):
            return NotApplicable(
                f"{core} cannot read offline_msg: {_why_unreadable(error)}",
                node=core,
                hint="Ask a core on which Mnesia runs and has loaded the table: iris-admin mnesia info",
            )
    return error


def _why_unreadable(error: Exception) -> str:
    match error:
        case RemoteError(reason=("aborted", ("no_exists", *_))):
            return "it has no such table"
        case RemoteError(reason=("aborted", ("node_not_running", *_))):
            return "Mnesia does not run there"
    return str(error)


def _what_they_are(found: Members) -> str:
    return ", ".join(f"{node} is {role.role!r}" for node, role in found.roles.items()) or "there is no node at all"


def rows_waiting(cores: Sequence[str]) -> Operation[list[Waiting]]:
    """For each core, the rows of all users that are not in the table yet."""
    outcomes = yield AllOf(
        tuple(Call("iris_durable_batcher", "get_stats", node=core, idempotent=True) for core in cores)
    )
    return [_waiting_on(core, outcome) for core, outcome in zip(cores, outcomes, strict=True)]


def _waiting_on(core: str, outcome: Term) -> Waiting:
    if isinstance(outcome, RemoteError) and outcome.is_undef:
        return Waiting(core, None, "this core has no write-ahead log that could be asked")
    if isinstance(outcome, Exception):
        return Waiting(core, None, str(outcome))
    rows = _number(outcome.get(Atom("total_pending"))) if isinstance(outcome, dict) else None
    return Waiting(core, rows, None if rows is not None else "the figures have no total_pending")


def _scheme(keys: Sequence[StoredKey]) -> str | None:
    bare = {key.bucket is None for key in keys}
    if len(bare) == 2:
        return "both"
    return None if not bare else "bare" if True in bare else "bucketed"


def _bucket(key: Term) -> int | None:
    return key[1] if isinstance(key, tuple) and len(key) == 2 and isinstance(key[1], int) else None


def _flattened(batch: list[Term]) -> Iterator[Term]:
    stack = [iter(batch)]
    while stack:
        for item in stack[-1]:
            if isinstance(item, list):
                stack.append(iter(item))
                break
            yield item
        else:
            stack.pop()


def _number(term: Term) -> int | None:
    return term if isinstance(term, int) and not isinstance(term, bool) else None
