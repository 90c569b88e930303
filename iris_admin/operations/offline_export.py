"""Take what is stored offline out as it is, and leave it there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from iris_admin.operations.offline import find_stores
from iris_admin.operations.offline_summary import store_bindings, table_size
from iris_admin.operations.results import Result
from iris_admin.operations.roles import members
from iris_admin.operations.steps import Local, Operation, Progress
from iris_admin.operations.users import user_id
from iris_admin.operations.walk import walk
from iris_admin.records import record
from iris_admin.terms import Atom, Term

#: Of a piece, in bytes: a larger one would hold up everything else on the link.
PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Exported:
    """What was taken out.

    :param cores: the cores that it was read from.
    :param rows: how many.
    :param seconds: how long that took.
    """

    cores: tuple[str, ...]
    rows: int
    seconds: float


@record
class OfflineExport(Result):
    """A file with stored messages.

    :param file: its name.
    :param format: ``term``, without loss, from which it can be restored; or ``jsonl``, an object for each message.
    :param user: whose messages; None for all users'.
    :param cores: the cores that they were read from.
    :param rows: how many rows of the table.
    :param messages: how many messages, for ``jsonl``; None for ``term``, where nobody has looked into the rows.
    :param bytes: of the file.
    :param seconds: how long it took to read the rows.
    :param notes: what else should be known.
    """

    file: Path
    format: str
    user: bytes | None
    cores: tuple[str, ...]
    rows: int
    messages: int | None
    bytes: int
    seconds: float
    notes: tuple[str, ...]


def read_rows(
    nodes: Sequence[str], write: Callable[[bytes, int, str], object], *, user: str | bytes | None = None
) -> Operation[Exported]:
    """Read all rows of ``offline_msg``, or a user's, piece by piece; the next piece is asked for when one is written.

    :param write: is given rows, each in the external term format behind four bytes with its length; how many there
        are; and the core that they are from.
    :param user: only this user's rows.
    :raises NotApplicable: none of the nodes holds the table.
    """
    wanted: Term = Atom("all") if user is None else (Atom("user"), user_id(user))
    found = yield from members(nodes)
    stores, _notes = yield from find_stores(found)
    rows, seconds = 0, 0.0
    for store in stores:
        there, _ = yield from table_size(store.core)

        def take(answer: Term, core: str = store.core, there: int = there) -> Operation[bool]:
            nonlocal rows
            lengths, terms = answer
            if lengths:
                yield Local(lambda: write(_framed(lengths, terms), len(lengths), core))
                rows += len(lengths)
                yield Progress(f"{core}: {rows} of {there} rows" if user is None else f"{core}: {rows} rows")
            return True

        bindings = store_bindings() | {"Keys": wanted, "MaxBytes": PIECE_BYTES}
        walked = yield from walk("offline_store+table_chunks+walk_export", bindings, node=store.core, take=take)
        seconds += walked.seconds
    return Exported(tuple(store.core for store in stores), rows, seconds)


def _framed(lengths: Sequence[int], terms: bytes) -> bytes:
    """Terms, each behind four bytes with its length."""
    pieces = []
    start = 0
    for length in lengths:
        pieces.append(length.to_bytes(4, "big"))
        pieces.append(terms[start : start + length])
        start += length
    return b"".join(pieces)
