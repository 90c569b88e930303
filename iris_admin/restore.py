"""A backup file that is put back, and the journal beside it.

The journal, ``<file>.restored``, has a line for each group of records that was put back: the SHA-256 of the file's
contents, the number of the first record and that behind the last, and the time. Who moves the file should take it
along.
"""

from __future__ import annotations

import fcntl
import os
import re
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from iris_admin.backup import open_backup
from iris_admin.errors import BackupError, DecodeError
from iris_admin.operations.clear import BATCH, BATCH_BYTES
from iris_admin.proto.etf import encode
from iris_admin.terms import Term

JOURNAL_SUFFIX = ".restored"

_LINE = re.compile(rb"[0-9a-f]{64} \d+ \d+ \S+Z")


class RestoreFile:
    """A backup file to be put back; a context manager. Two at the same time exclude each other.

    :param path: the file.
    :param dry_run: read the journal only.
    :ivar label: what the file was made for.
    :ivar time: when, in ISO 8601, UTC.
    :ivar terms: how many records it holds.
    :raises BackupError: it is no complete backup file, is being put back just now, or the journal cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], *, dry_run: bool = False) -> None:
        self._backup = open_backup(path)
        self.path = self._backup.path.absolute()
        self.label = self._backup.label
        self.time = self._backup.time
        self.terms = self._backup.terms
        self._records: Iterator[Term] = iter(self._backup)
        self._held: Term | None = None
        self._first = self._position = 0
        journal = self.path.with_name(self.path.name + JOURNAL_SUFFIX)
        self._journal: IO[bytes] | None = None
        try:
            if not dry_run:
                self._journal = _open_locked(journal)
            lines = journal.read_bytes().splitlines() if journal.exists() else []
        except BlockingIOError:
            raise BackupError(f"{self.path} is being restored by somebody else just now") from None
        except OSError as error:
            raise BackupError(
                f"the journal {journal} cannot be used: {(error.strerror or str(error)).lower()}",
                hint="Nothing was restored. It has to be kept beside the file; copy that to where you may write.",
            ) from error
        self._done = self._ranges(lines)

    def __enter__(self) -> RestoreFile:
        return self

    def __exit__(self, *_: object) -> None:
        if self._journal is not None:
            self._journal.close()

    def read(self) -> list[tuple[Term, bool]]:
        """The next records, and of each whether the journal says that it was put back; none at the end.

        :raises BackupError: the file holds what is no term.
        """
        group: list[tuple[Term, bool]] = []
        self._first = self._position
        size = 0
        try:
            while len(group) < BATCH:
                record = self._held if self._held is not None else next(self._records, None)
                self._held = None
                if record is None:
                    break
                size += len(encode(record))
                if group and size > BATCH_BYTES:
                    self._held = record
                    break
                group.append((record, self._was_put_back(self._position)))
                self._position += 1
        except (DecodeError, OSError) as error:
            raise BackupError(f"the backup file {self.path} cannot be read: {error}") from error
        return group

    def mark(self) -> None:
        """Note, on the disc, that the records that were read last are in the store.

        :raises BackupError: that cannot be written.
        """
        assert self._journal is not None
        line = f"{self._backup.sha256} {self._first} {self._position} {_now()}\n"
        try:
            self._journal.write(line.encode())
            self._journal.flush()
            os.fsync(self._journal.fileno())
        except OSError as error:
            raise BackupError(
                f"what was restored could not be noted beside {self.path}: {(error.strerror or str(error)).lower()}",
                hint="Another run would put the last records back once more, if they have been delivered meanwhile.",
            ) from error

    def _was_put_back(self, number: int) -> bool:
        index = bisect_right(self._done, (number, self.terms)) - 1
        return index >= 0 and self._done[index][0] <= number < self._done[index][1]

    def _ranges(self, lines: list[bytes]) -> list[tuple[int, int]]:
        """The records that were put back, as ranges that do not touch one another, in order."""
        found = []
        for line in lines:
            # A line that a full disc has cut says nothing: its records are put back once more.
            words = line.split()
            if _LINE.fullmatch(line) and words[0].decode("ascii", "replace") == self._backup.sha256:
                found.append((int(words[1]), int(words[2])))
        merged: list[tuple[int, int]] = []
        for first, end in sorted(found):
            if merged and first <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((first, end))
        return merged


def _open_locked(path: Path) -> IO[bytes]:
    file = open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "ab")  # noqa: SIM115
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        size = os.fstat(file.fileno()).st_size
        if size and os.pread(file.fileno(), 1, size - 1) != b"\n":
            file.write(b"\n")
    except BaseException:
        file.close()
        raise
    return file


def _now() -> str:
    from datetime import UTC, datetime

    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
