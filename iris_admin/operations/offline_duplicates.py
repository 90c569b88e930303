"""Messages that are stored more than once for the same user."""

from __future__ import annotations

from collections.abc import Sequence

from iris_admin.operations.fields import number
from iris_admin.operations.offline import find_stores, iso_time
from iris_admin.operations.offline_summary import WITHIN, store_bindings, table_size
from iris_admin.operations.results import Result, Table
from iris_admin.operations.roles import members
from iris_admin.operations.steps import Operation, Progress
from iris_admin.operations.users import user_id
from iris_admin.operations.walk import walk
from iris_admin.records import record
from iris_admin.terms import Atom, Term

NOTE = "Somebody may have sent the same text twice on purpose; the store cannot tell that from a duplicate."


@record
class DuplicateMessage(Result):
    """A message that is stored more than once for a user.

    :param core: the core that was asked.
    :param user: the user.
    :param copies: how often it is stored.
    :param size: of its payload, in bytes.
    :param digest: the first 16 hexadecimal digits of the payload's SHA-256, as ``offline show`` has it; None where the
        core has no crypto.
    :param oldest: when the first copy was stored, in ISO 8601, UTC; likewise the newest.
    """

    core: str
    user: bytes
    copies: int
    size: int
    digest: str | None
    oldest: str | None
    newest: str | None


@record
class OfflineDuplicates(Result):
    """Messages that are stored more than once.

    :param user: whose; None for all users.
    :param rows_read: how many rows were looked at.
    :param users: how many users have such messages.
    :param messages: how many different ones there are, each user's counted by themselves.
    :param surplus: how many copies there are beyond the first of each; ``surplus_bytes`` are their payloads.
    :param duplicates: those that are stored most often, the most often stored first.
    :param cut: whether the walk was stopped before the end of the table.
    :param notes: what else should be known to read this right.
    """

    user: bytes | None
    rows_read: int
    users: int
    messages: int
    surplus: int
    surplus_bytes: int
    duplicates: Table[DuplicateMessage]
    cut: bool
    notes: tuple[str, ...]


def offline_duplicates(
    nodes: Sequence[str], user: str | bytes | None = None, *, limit: int = 100, within: float = WITHIN
) -> Operation[OfflineDuplicates]:
    """Find messages that are stored more than once for the same user.

    They are compared on the core; what comes back is their digests.

    :param nodes: all nodes of the cluster.
    :param user: only this user's; otherwise the whole table is walked through.
    :param limit: show so many messages at most, up to 1000.
    :param within: stop a walk after so many seconds.
    :raises ValueError: ``limit`` is out of range.
    :raises NotApplicable: none of the nodes holds the table.
    """
    if not 1 <= limit <= 1000:
        raise ValueError(f"limit is 1 to 1000, not {limit}")
    wanted = None if user is None else user_id(user)
    found = yield from members(nodes)
    stores, notes = yield from find_stores(found)
    totals = [0, 0, 0, 0, 0]
    duplicates: list[DuplicateMessage] = []
    cut = False
    for store in stores:
        rows, _ = yield from table_size(store.core)
        latest: Term = None

        def take(answer: Term, core: str = store.core, rows: int = rows) -> Operation[bool]:
            nonlocal latest
            latest = answer
            yield Progress(f"{core}: {answer[0]} of {rows} rows, {answer[3]} surplus copies")
            return True

        bindings = store_bindings() | {
            "Wanted": Atom("all") if wanted is None else (Atom("user"), wanted),
            "Top": limit,
        }
        walked = yield from walk(
            "offline_store+table_chunks+walk_duplicates", bindings, node=store.core, take=take, within=within
        )
        cut = cut or walked.cut
        *figures, best = latest
        totals = [total + figure for total, figure in zip(totals, figures, strict=True)]
        duplicates += [_duplicate(store.core, entry) for entry in best]
    duplicates.sort(key=lambda duplicate: (-duplicate.copies, duplicate.user, duplicate.digest or ""))
    rows_read, users, messages, surplus, surplus_bytes = totals
    if surplus:
        notes.append(NOTE)
    return OfflineDuplicates(
        user=wanted,
        rows_read=rows_read,
        users=users,
        messages=messages,
        surplus=surplus,
        surplus_bytes=surplus_bytes,
        duplicates=Table(DuplicateMessage, duplicates[:limit]),
        cut=cut,
        notes=tuple(notes),
    )


def _duplicate(core: str, entry: Term) -> DuplicateMessage:
    copies, user, digest, size, oldest, newest = entry
    return DuplicateMessage(
        core=core,
        user=user,
        copies=copies,
        size=size,
        digest=digest.hex() if isinstance(digest, bytes) else None,
        oldest=iso_time(number(oldest)),
        newest=iso_time(number(newest)),
    )
