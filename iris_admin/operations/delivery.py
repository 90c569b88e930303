"""Deliver stored messages to a connected client, and delete from the store exactly what it acknowledged.

Iris's connection process gives each message an id, sends it, and holds it until the client acknowledges it; after
ten seconds without that, or when the connection ends, it stores the message again. So a message counts as
acknowledged only when three things hold: the process was alive when the id was gone, that was well before the ten
seconds were over, and no new copy is in the store once the write-ahead log is flushed (a failed send stores one).

Everything errs to the same side: a message may be delivered twice, none is lost.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from hashlib import md5
from itertools import islice

from iris_admin.errors import IrisAdminError, RemoteError
from iris_admin.operations.evaluate import run_remote
from iris_admin.operations.steps import AllOf, Call, Operation, Progress
from iris_admin.proto.etf import encode
from iris_admin.terms import Pid, Term

#: Messages between two looks at the store: doubled after each window that was acknowledged whole.
FIRST_WINDOW = 20
LARGEST_WINDOW = 80
#: Payload bytes between two looks at the store.
WINDOW_BYTES = 256 << 10
#: How long to wait for one acknowledgement: the process stores again after ten seconds.
ACKNOWLEDGE_WITHIN_MS = 8000
#: How long one window may take, apart from the wait for its last acknowledgement.
WINDOW_TOTAL_MS = 20000
#: For the process's state: a client that does not read blocks its process for 2 s a message.
STATE_TIMEOUT_MS = 5000
#: An edge has lost messages of a process that held 300 without an acknowledgement.
BUSY = 100
_SEND_TIMEOUT = (WINDOW_TOTAL_MS + ACKNOWLEDGE_WITHIN_MS + 2 * STATE_TIMEOUT_MS) / 1000
_FLUSH_TIMEOUT = 30.0


class Fate(Enum):
    """What became of a stored message."""

    ACKNOWLEDGED = "acknowledged"
    #: Delivered by the cluster's own ``redeliver/1``, and no longer stored.
    DELIVERED_BY_IRIS = "delivered by Iris"
    #: Sent, and stored again by the edge; the original is kept, so it is stored twice.
    STORED_AGAIN = "stored again"
    #: Sent, but not acknowledged in time; the original is kept.
    UNACKNOWLEDGED = "not acknowledged"
    NOT_SENT = "not sent"
    #: Not stored any more when its turn came: a login has fetched it meanwhile.
    GONE = "gone meanwhile"
    #: Not a binary: sending it would crash the client's process.
    UNSENDABLE = "cannot be sent"


@dataclass(slots=True)
class Stored:
    """One stored message: part ``part`` of ``record``, for a record may hold a batch."""

    record: Term
    part: int
    payload: Term
    fate: Fate = Fate.NOT_SENT
    #: Whether its record has been deleted from the store.
    deleted: bool = False

    @property
    def identity(self) -> bytes:
        """Tells stored messages apart: equal for the same message of the same record."""
        return encode((self.record, self.part))

    @property
    def digest(self) -> bytes:
        """MD5 of the payload: how the target tells messages apart without sending them back."""
        return md5(self.payload, usedforsecurity=False).digest()


def unpack(records: Sequence[Term]) -> list[Stored]:
    """The messages of some records of ``offline_msg``, oldest first."""
    messages = []
    for record in sorted(records, key=lambda record: record[2]):
        payloads = record[3] if isinstance(record[3], list) else [record[3]]
        for part, payload in enumerate(payloads):
            fate = Fate.NOT_SENT if isinstance(payload, bytes) else Fate.UNSENDABLE
            messages.append(Stored(record, part, payload, fate))
    return messages


def flush(cores: Sequence[str]) -> Operation[None]:
    """Have every core write its write-ahead log to the tables, so that no row is under way.

    :raises IrisAdminError: a core could not.
    """
    outcomes = yield AllOf(
        tuple(Call("iris_durable_batcher", "force_flush", node=core, timeout=_FLUSH_TIMEOUT) for core in cores)
    )
    for outcome in outcomes:
        # Without a batcher there is no log, and every row is in the table when it is stored.
        if isinstance(outcome, Exception) and not (isinstance(outcome, RemoteError) and outcome.is_undef):
            raise outcome


def deliver(
    messages: Sequence[Stored], edge: str, pid: Pid, *, core: str, cores: Sequence[str]
) -> Operation[str | None]:
    """Deliver messages, one at a time; each one's fate is set as it becomes known.

    Stops at the first message that is not acknowledged, or when the process is gone.

    :param edge: the node of the client's process ``pid``.
    :param core: the core whose tables are read and written.
    :param cores: all running cores.
    :returns: what stopped it, or None.
    """
    keys = sorted({message.record[1] for message in messages}, key=repr)
    waiting = deque(message for message in messages if message.fate is Fate.NOT_SENT)
    total, size = len(waiting), FIRST_WINDOW
    while waiting:
        window = _next_window(waiting, size)
        stopped = yield from _deliver_window(window, keys, edge, pid, core, cores)
        yield from _delete_acknowledged(messages, core)
        yield Progress(f"{sum(message.fate is Fate.ACKNOWLEDGED for message in messages)} of {total} acknowledged")
        if stopped or any(message.fate is Fate.STORED_AGAIN for message in window):
            return stopped
        while waiting and waiting[0].fate is not Fate.NOT_SENT:
            waiting.popleft()
        size = min(2 * size, LARGEST_WINDOW)
    return None


def _next_window(waiting: Iterable[Stored], size: int) -> list[Stored]:
    window: list[Stored] = []
    payload_bytes = 0
    for message in islice(waiting, size):
        payload_bytes += len(message.payload)
        if window and payload_bytes > WINDOW_BYTES:
            break
        window.append(message)
    return window


def _deliver_window(
    window: list[Stored], keys: list[Term], edge: str, pid: Pid, core: str, cores: Sequence[str]
) -> Operation[str | None]:
    """Send a window and decide about each of its messages; what stopped it, or None."""
    stored_before = yield from _count_stored(window, keys, core)
    for message in window:
        if not stored_before[message.digest]:
            message.fate = Fate.GONE
    wanted = [message for message in window if message.fate is Fate.NOT_SENT]
    for message in wanted:
        # Until the edge has told what it did: it may have sent any of them.
        message.fate = Fate.UNACKNOWLEDGED
    try:
        released, next_one = yield from run_remote(
            "send_messages",
            {
                "Pid": pid,
                "Payloads": [message.payload for message in wanted],
                "Within": ACKNOWLEDGE_WITHIN_MS,
                "Total": WINDOW_TOTAL_MS,
                "Wait": STATE_TIMEOUT_MS,
                "Busy": BUSY,
            },
            node=edge,
            timeout=_SEND_TIMEOUT,
            idempotent=False,
        )
    except IrisAdminError as error:
        return f"the edge gave no account of what it sent: {error}"
    for message in wanted[released:]:
        message.fate = Fate.NOT_SENT
    yield from flush(cores)
    copies = (yield from _count_stored(window, keys, core)) - stored_before
    for message in wanted[:released]:
        # Equal payloads cannot be told apart, so as many count as stored again as there are new copies.
        if copies[message.digest]:
            copies[message.digest] -= 1
            message.fate = Fate.STORED_AGAIN
        else:
            message.fate = Fate.ACKNOWLEDGED
    match next_one:
        case "done" | "pending":
            return None
        case "waiting":
            wanted[released].fate = Fate.UNACKNOWLEDGED
            return "the client did not acknowledge a message in time"
        case "unknown":
            wanted[released].fate = Fate.UNACKNOWLEDGED
            return "the connection ended before the client had acknowledged the last message sent"
        case ("busy", held):
            return f"{held} earlier messages wait for the client's acknowledgement; more could harm its edge"
    return "the connection ended"


def _count_stored(messages: Sequence[Stored], keys: list[Term], core: str) -> Operation[Counter[bytes]]:
    digests = sorted({message.digest for message in messages})
    counts = yield from run_remote("count_stored", {"Keys": keys, "Digests": digests}, node=core)
    return Counter(counts)


def _delete_acknowledged(messages: Sequence[Stored], core: str) -> Operation[None]:
    """Delete the records of which every message is acknowledged."""
    by_record: dict[int, list[Stored]] = {}
    for message in messages:
        by_record.setdefault(id(message.record), []).append(message)
    finished = [
        parts
        for parts in by_record.values()
        if not parts[0].deleted and all(part.fate is Fate.ACKNOWLEDGED for part in parts)
    ]
    if not finished:
        return
    records = [parts[0].record for parts in finished]
    outcome = yield from run_remote("delete_records", {"Records": records}, node=core)
    match outcome:
        case ("atomic", "ok"):
            for parts in finished:
                for part in parts:
                    part.deleted = True
        case _:
            raise IrisAdminError(
                f"the transaction that deletes acknowledged messages was aborted on {core}: {outcome!r}",
                node=core,
                hint="Nothing is lost: the messages are still stored, and the client may receive them again.",
            )
