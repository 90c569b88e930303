"""Clear a user's stored messages: what the runbook's ``mnesia:dirty_delete(offline_msg, User)`` is meant to do.

First a plan, which names every row; after the confirmation a backup file; then exactly the planned rows are deleted,
by their whole contents and never by their key, so that a message that arrives meanwhile stays; and then a look whether
that is so. :mod:`iris_admin.operations.restore` puts them back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from iris_admin.errors import IrisAdminError
from iris_admin.operations.changes import Change, audited
from iris_admin.operations.delivery import flush
from iris_admin.operations.evaluate import run_remote
from iris_admin.operations.guards import reachable_cores, refuse_unknown_user, refuse_when_partitioned
from iris_admin.operations.local_steps import SaveBackup
from iris_admin.operations.offline import StoredKey, StoredMessage, describe, find_stores, read_user_records
from iris_admin.operations.presence import find_connections
from iris_admin.operations.results import Result, Table
from iris_admin.operations.roles import Members, members
from iris_admin.operations.steps import Now, Operation, Progress
from iris_admin.operations.users import user_id
from iris_admin.operations.walk import PROGRESS_EVERY
from iris_admin.proto.etf import encode
from iris_admin.records import record
from iris_admin.terms import Term

#: Records of one transaction, which keeps others from the user's keys.
BATCH = 500
#: Bytes of the records that are sent at once.
BATCH_BYTES = 1 << 20
_TIMEOUT = 60.0


@record
class ClearPlan(Result):
    """What would be deleted: exactly these rows, whatever arrives until then.

    :param user: whose.
    :param messages: the messages of these rows, oldest first, without their payloads.
    :param total_records: how many rows; likewise messages, of which a row can hold a batch, and bytes of payloads.
    :param keys: how much is stored under each key.
    :param notes: what else should be known before it is done.
    :param records: for each core the whole rows. They are not shown, for they hold people's messages.
    """

    user: bytes
    messages: Table[StoredMessage]
    total_records: int
    total_messages: int
    total_bytes: int
    keys: Table[StoredKey]
    notes: tuple[str, ...]
    records: dict[str, tuple[Term, ...]]

    _CARRIED = frozenset({"records"})


@record
class Cleared(Result):
    """What was deleted.

    :param user: whose.
    :param planned: how many rows were to be deleted.
    :param deleted: how many were.
    :param gone: how many were not there any more: a login has fetched them meanwhile, or somebody else deleted them.
    :param left: how many are stored nevertheless.
    :param arrived: how many rows are stored that the plan did not have: they came meanwhile, and were not touched.
    :param verified: whether a look at the store has shown all this; False where it could not be read any more.
    :param backups: the files that hold the rows as they were, one for each store.
    """

    user: bytes
    planned: int
    deleted: int
    gone: int
    left: int
    arrived: int
    verified: bool
    backups: tuple[Path, ...]

    @property
    def is_done(self) -> bool:
        """Whether nothing of the plan is left, and that was seen."""
        return self.verified and not self.left


def plan_clear(user: str | bytes, nodes: Sequence[str], *, oldest: int | None = None) -> Operation[ClearPlan]:
    """What there is to be deleted of a user. Nothing is changed.

    :param user: the user's id.
    :param nodes: all nodes of the cluster.
    :param oldest: plan for no more than so many rows in each store, the oldest.
    :raises NoSuchUser: nothing is known of the user anywhere.
    :raises NotApplicable: none of the nodes is an Iris core.
    :raises UnsafeOperation: the cluster is partitioned, a running core cannot be reached, or there are too many rows.
    """
    wanted = user_id(user)
    found = yield from members(nodes)
    yield from _refuse_when_unsafe(found)
    stores, notes = yield from find_stores(found)
    records: dict[str, tuple[Term, ...]] = {}
    keys: list[StoredKey] = []
    for store in stores:
        read = yield from read_user_records(wanted, store.core, max_records=oldest)
        if read:
            records[store.core] = tuple(read)
        keys += read.keys
        if read.cut:
            notes.append(f"{store.core} holds more rows of this user: only the oldest {len(read)} are planned for")
    if not records:
        connections, blind = yield from find_connections(wanted, found.edges)
        if not connections and not blind and not found.unanswered:
            yield from refuse_unknown_user(wanted, stores[0].core)
    messages = [message for core, rows in records.items() for row in rows for message in describe(row, core)]
    return ClearPlan(
        user=wanted,
        messages=Table(StoredMessage, messages),
        total_records=sum(map(len, records.values())),
        total_messages=len(messages),
        total_bytes=sum(message.size for message in messages),
        keys=Table(StoredKey, keys),
        notes=tuple(notes),
        records=records,
    )


def clear(plan: ClearPlan, nodes: Sequence[str]) -> Operation[Cleared]:
    """Delete exactly what a plan says, after it was written to a backup file.

    It is done in transactions of :data:`BATCH` rows. If it ends in between, some of the rows are deleted and all are in
    the backup file.

    :param nodes: all nodes of the cluster.
    :raises UnsafeOperation: the cluster is partitioned, or a running core cannot be reached.
    :raises BackupError: the backup file cannot be written. Nothing was deleted.
    """
    if not plan.records:
        return Cleared(plan.user, 0, 0, 0, 0, 0, verified=True, backups=())
    found = yield from members(nodes)
    cores = yield from _refuse_when_unsafe(found)
    summary = {
        "user": plan.user,
        "records": plan.total_records,
        "messages": plan.total_messages,
        "bytes": plan.total_bytes,
    }
    change = Change("offline clear", ", ".join(plan.records), summary)
    return (yield from audited(change, _clear(plan, cores, change)))


def _clear(plan: ClearPlan, cores: Sequence[str], change: Change) -> Operation[Cleared]:
    label = "clear-" + plan.user.decode("ascii", "replace")
    backups: list[Path] = []
    for records in plan.records.values():
        backups.append((yield SaveBackup(label, records)))
        change.backup = backups[0]
    yield Progress(f"{plan.total_records} rows are kept in {', '.join(map(str, backups))}")
    # A core that ended with a row in its write-ahead log would bring it back when it starts.
    yield from flush(cores)
    deleted = gone = 0
    told = yield Now()
    for core, records in plan.records.items():
        for batch in batches(records):
            flags = yield from transaction("clear_records", {"Records": batch}, core)
            deleted += sum(flags)
            gone += len(flags) - sum(flags)
            change.outcome = f"deleted {deleted} of {plan.total_records} rows, {gone} were gone"
            now = yield Now()
            if now - told >= PROGRESS_EVERY:
                told = now
                yield Progress(f"{core}: deleted {deleted} of {plan.total_records} rows")
    left, arrived, verified = yield from _look(plan)
    if not verified:
        change.outcome += "; the store could not be read afterwards"
    elif left:
        change.outcome += f"; {left} are stored nevertheless"
    return Cleared(plan.user, plan.total_records, deleted, gone, left, arrived, verified, tuple(backups))


def _look(plan: ClearPlan) -> Operation[tuple[int, int, bool]]:
    """How many rows of the plan are stored, how many others, and whether that could be seen."""
    left = arrived = 0
    for core, records in plan.records.items():
        planned = Counter(map(encode, records))
        try:
            stored = yield from read_user_records(plan.user, core)
        except IrisAdminError:
            return left, arrived, False
        for row in stored:
            if encode(row) in planned:
                left += 1
            else:
                arrived += 1
    return left, arrived, True


def transaction(name: str, bindings: dict[str, Term], core: str) -> Operation[list[bool]]:
    """Run one of the transactions of ``remote/`` that tell for each record what there was.

    :raises IrisAdminError: it was aborted; nothing of it was done.
    """
    outcome = yield from run_remote(name, bindings, node=core, timeout=_TIMEOUT, idempotent=False)
    match outcome:
        case ("atomic", list() as flags):
            return flags
    raise IrisAdminError(
        f"a transaction on {core} was aborted, and what it was to do was not done: {outcome!r}"[:1000], node=core
    )


def batches(records: Sequence[Term]) -> list[list[Term]]:
    """Records in their order, in groups that one transaction takes."""
    groups: list[list[Term]] = [[]]
    size = 0
    for row in records:
        row_size = len(encode(row))
        if groups[-1] and (len(groups[-1]) >= BATCH or size + row_size > BATCH_BYTES):
            groups.append([])
            size = 0
        groups[-1].append(row)
        size += row_size
    return groups if groups[0] else []


def _refuse_when_unsafe(found: Members) -> Operation[list[str]]:
    """All running cores.

    :raises UnsafeOperation: something could be lost, or come back.
    """
    core, cores = yield from reachable_cores(found)
    yield from refuse_when_partitioned(core)
    return cores
