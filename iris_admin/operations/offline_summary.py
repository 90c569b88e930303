"""How much is stored offline, and for whom: of the whole table, however large it is."""

from __future__ import annotations

from collections.abc import Sequence

from iris_admin.operations.evaluate import run_remote
from iris_admin.operations.fields import number
from iris_admin.operations.offline import (
    LEAST_BUCKETS,
    MOST_BUCKETS,
    Store,
    Waiting,
    find_stores,
    iso_time,
    rows_waiting,
)
from iris_admin.operations.results import Result, Table
from iris_admin.operations.roles import members
from iris_admin.operations.steps import Call, Now, Operation, Progress
from iris_admin.operations.users import user_bounds
from iris_admin.operations.walk import MAX_HEAP, walk
from iris_admin.records import record
from iris_admin.terms import Atom, Term

#: A user with so many stored messages may lose them at the next login: 12,001 have killed a connection.
HUGE_BACKLOG = 10_000
#: Rows of one step of a walk.
CHUNK = 5000
#: Keys that are looked into besides those that are shown: the rows of a user may be under several.
SPARE = 50
#: What a list holds at most.
MAX_COUNT = 10_000
#: A walk stops after so many seconds unless asked otherwise.
WITHIN = 120.0


@record
class Backlog(Result):
    """What is stored for a user.

    :param core: the core that was asked.
    :param user: the user.
    :param rows: how many rows; likewise messages, of which a row can hold a batch, and the bytes of their payloads.
    :param oldest: when the oldest row was stored, in ISO 8601, UTC; likewise the newest.
    :param oldest_age_seconds: by the operator's clock.
    :param keys: how many keys of the table these rows are under.
    :param scheme: of these keys: ``bucketed``, ``bare`` or ``both``.
    :param undeliverable: how many of the messages are no binaries: delivering one would crash the user's connection.
    :param huge: whether there are so many that the next login may lose them (:data:`HUGE_BACKLOG`).
    """

    core: str
    user: bytes
    rows: int
    messages: int
    bytes: int
    oldest: str | None
    oldest_age_seconds: float | None
    newest: str | None
    keys: int
    scheme: str | None
    undeliverable: int
    huge: bool


@record
class StoreSummary(Result):
    """One table ``offline_msg``.

    :param core: the core that was asked.
    :param copies: the nodes that hold a copy.
    :param rows: how many rows there are, as the table itself says.
    :param memory_bytes: of the table, without payloads of more than 64 bytes: those are kept outside it. Of a table on
        disc only, the size of its file.
    :param rows_read: how many rows the figures below are of. Rows come and go meanwhile, so it may differ a little from
        ``rows`` even when nothing was cut.
    :param messages: how many messages; a row can hold a batch of them.
    :param payload_bytes: of all messages.
    :param users: how many users have rows.
    :param keys: how many keys the rows are under.
    :param oldest: when the oldest row was stored, in ISO 8601, UTC.
    :param oldest_age_seconds: by the operator's clock.
    :param certain_from: a user with so many rows, in no more than 16 buckets, cannot be missing among the largest
        backlogs.
    :param cut: whether the walk was stopped before the end of the table.
    :param seconds: how long it took.
    """

    core: str
    copies: tuple[str, ...]
    rows: int
    memory_bytes: int
    rows_read: int
    messages: int
    payload_bytes: int
    users: int
    keys: int
    oldest: str | None
    oldest_age_seconds: float | None
    certain_from: int
    cut: bool
    seconds: float


@record
class OfflineSummary(Result):
    """What is stored offline in a cluster.

    :param rows: how many rows there are in all.
    :param stores: the tables: one, unless some cores do not share theirs.
    :param largest: the largest backlogs, the largest first.
    :param waiting: for each core, the rows that are not in the table yet.
    :param cut: whether a walk was stopped before the end of its table.
    :param notes: what else should be known to read this right.
    """

    rows: int
    stores: Table[StoreSummary]
    largest: Table[Backlog]
    waiting: Table[Waiting]
    cut: bool
    notes: tuple[str, ...]


@record
class OfflineList(Result):
    """Users for whom something is stored, in the order of their names.

    :param users: the users.
    :param more: whether there are more behind them.
    :param after: to go on behind them; None where there are no more.
    :param cut: whether the walk was stopped before the end of the table, so that some may be missing in between.
    :param notes: what else should be known to read this right.
    """

    users: Table[Backlog]
    more: bool
    after: bytes | None
    cut: bool
    notes: tuple[str, ...]


def offline_summary(nodes: Sequence[str], *, top: int = 10, within: float = WITHIN) -> Operation[OfflineSummary]:
    """How much is stored offline, since when, for how many users, and the largest backlogs.

    The number of rows is known at once. The rest takes a walk through the table, which is made on the core that holds
    it, at low priority and in bounded memory; ten million rows take it a quarter of a minute.

    :param nodes: all nodes of the cluster.
    :param top: how many of the largest backlogs to show, up to 1000.
    :param within: stop each walk after so many seconds, with what is known then.
    :raises ValueError: ``top`` is out of range.
    :raises NotApplicable: none of the nodes holds the table.
    """
    if not 0 <= top <= 1000:
        raise ValueError(f"top is 0 to 1000, not {top}")
    found = yield from members(nodes)
    stores, notes = yield from find_stores(found)
    waiting = yield from rows_waiting(found.cores)
    summaries: list[StoreSummary] = []
    largest: list[Backlog] = []
    for store in stores:
        summary, users = yield from _summarize(store, top, within)
        summaries.append(summary)
        largest += yield from describe_backlogs(users, store.core)
    largest.sort(key=lambda backlog: (-backlog.rows, backlog.user))
    if len(stores) > 1:
        notes.append("Not all cores share their tables, so each of the stores has users and messages of its own.")
    return OfflineSummary(
        rows=sum(summary.rows for summary in summaries),
        stores=Table(StoreSummary, summaries),
        largest=Table(Backlog, largest[:top]),
        waiting=Table(Waiting, waiting),
        cut=any(summary.cut for summary in summaries),
        notes=tuple(notes),
    )


def _summarize(store: Store, top: int, within: float) -> Operation[tuple[StoreSummary, list[bytes]]]:
    """The figures of a table, and the users with the largest backlogs."""
    rows, memory = yield from table_size(store.core)
    latest: Term = (0, 0, 0, Atom("infinity"), 0, 0, True, [])

    def take(answer: Term) -> Operation[bool]:
        nonlocal latest
        latest = answer
        yield Progress(f"{store.core}: {answer[0]} of {rows} rows, {answer[5]} users")
        return True

    wanted = top + SPARE
    bindings = store_bindings() | {"Top": wanted}
    walked = yield from walk(
        "offline_store+table_chunks+walk_summary", bindings, node=store.core, take=take, within=within
    )
    read, messages, payload_bytes, oldest, keys, users, simple, best = latest
    # A user who is not among these has no key with more rows than the last of them.
    least = best[0][0] if len(best) >= wanted else 0
    oldest = number(oldest)
    summary = StoreSummary(
        core=store.core,
        copies=store.copies,
        rows=rows,
        memory_bytes=memory,
        rows_read=read,
        messages=messages,
        payload_bytes=payload_bytes,
        users=users,
        keys=keys,
        oldest=iso_time(oldest),
        oldest_age_seconds=(yield from age(oldest)),
        certain_from=(least if simple else least * LEAST_BUCKETS) + 1,
        cut=walked.cut,
        seconds=walked.seconds,
    )
    names = (key[0] if isinstance(key, tuple) else key for _rows, key in reversed(best))
    return summary, list(dict.fromkeys(name for name in names if isinstance(name, bytes))) if top else []


def offline_list(
    nodes: Sequence[str],
    *,
    prefix: str | bytes = b"",
    limit: int = 100,
    after: str | bytes | None = None,
    within: float = WITHIN,
) -> Operation[OfflineList]:
    """The users for whom something is stored, a page at a time, in the order of their names.

    :param nodes: all nodes of the cluster.
    :param prefix: only users whose names begin so.
    :param limit: how many, up to :data:`MAX_COUNT`.
    :param after: only users behind this one; see the ``after`` of the page before.
    :param within: stop after so many seconds.
    :raises ValueError: ``limit`` is out of range.
    :raises NotApplicable: none of the nodes holds the table.
    """
    if not 1 <= limit <= MAX_COUNT:
        raise ValueError(f"limit is 1 to {MAX_COUNT}, not {limit}")
    guards = user_bounds(prefix, after)
    found = yield from members(nodes)
    stores, notes = yield from find_stores(found)
    pages: dict[str, list[bytes]] = {}
    cut = False
    for store in stores:
        names: list[bytes] = []

        def take(answer: Term, core: str = store.core, names: list[bytes] = names) -> Operation[bool]:
            names[:] = answer
            yield Progress(f"{core}: looking for the first {limit} users")
            return True

        bindings = store_bindings() | {"Guards": guards, "Wanted": limit + 1}
        walked = yield from walk(
            "offline_store+table_chunks+offline_users+walk_users", bindings, node=store.core, take=take, within=within
        )
        cut = cut or walked.cut
        pages[store.core] = names
    users = sorted({name for names in pages.values() for name in names})
    shown = set(users[:limit])
    backlogs: list[Backlog] = []
    for core, names in pages.items():
        backlogs += yield from describe_backlogs([name for name in names if name in shown], core)
    backlogs.sort(key=lambda backlog: (backlog.user, backlog.core))
    more = len(users) > limit
    if cut:
        notes.append(f"The walk was stopped after {within:g} s: users may be missing in between.")
    return OfflineList(
        users=Table(Backlog, backlogs),
        more=more,
        after=users[limit - 1] if more else None,
        cut=cut,
        notes=tuple(notes),
    )


def describe_backlogs(users: Sequence[bytes], core: str) -> Operation[list[Backlog]]:
    """How much is stored for each of some users; nothing of those for whom nothing is."""
    backlogs = []
    now = yield Now()
    for start in range(0, len(users), 100):
        bindings = store_bindings() | {"Users": list(users[start : start + 100]), "MaxHeap": MAX_HEAP}
        answer = yield from run_remote("offline_store+offline_backlogs", bindings, node=core)
        for user, rows, messages, size, oldest, newest, keys, is_bare, undeliverable in answer:
            if not rows:
                continue
            oldest = number(oldest)
            backlogs.append(
                Backlog(
                    core=core,
                    user=user,
                    rows=rows,
                    messages=messages,
                    bytes=size,
                    oldest=iso_time(oldest),
                    oldest_age_seconds=None if oldest is None else now - oldest / 1000,
                    newest=iso_time(number(newest)),
                    keys=keys,
                    scheme="bucketed" if not is_bare else "bare" if keys == 1 else "both",
                    undeliverable=undeliverable,
                    huge=messages >= HUGE_BACKLOG,
                )
            )
    return backlogs


def table_size(core: str) -> Operation[tuple[int, int]]:
    """The rows of ``offline_msg`` and the bytes of the table, which a core knows without counting."""
    items = ("size", "memory", "storage_type")
    calls = [
        Call("mnesia", "table_info", (Atom("offline_msg"), Atom(item)), node=core, idempotent=True) for item in items
    ]
    rows = yield calls[0]
    memory = yield calls[1]
    storage = yield calls[2]
    word_size = yield Call("erlang", "system_info", (Atom("wordsize"),), node=core, idempotent=True)
    # Of a table on disc only it is the bytes of the file, otherwise words.
    return rows, memory if storage == "disc_only_copies" else memory * word_size


def store_bindings() -> dict[str, Term]:
    """The bindings of ``remote/offline_store.erl``."""
    return {"Chunk": CHUNK, "AtLeast": LEAST_BUCKETS, "AtMost": MOST_BUCKETS}


def age(milliseconds: int | None) -> Operation[float | None]:
    """How long ago that was by the operator's clock, in seconds."""
    now: float = yield Now()
    return None if milliseconds is None else now - milliseconds / 1000
