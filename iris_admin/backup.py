r"""Backup files: Erlang terms, kept without loss before something is deleted.

A file is one line of text and then the terms, each in the external term format behind four bytes that hold its length
(as ``{packet, 4}`` frames it). The line names the format, says how many terms there are and has the SHA-256 of all
that follows it, so that a file that was cut or changed is noticed::

    iris_admin backup 1 label=redeliver time=2026-01-31T12:00:00Z terms=2 sha256=9f86d081884c7d65…

Erlang reads it without any help from here::

    {ok, Data} = file:read_file(Name), [_Line, Frames] = binary:split(Data, <<"\n">>),
    Read = fun Read(<<N:32, Term:N/binary, Rest/binary>>) -> [binary_to_term(Term) | Read(Rest)]; Read(<<>>) -> [] end,
    Terms = Read(Frames).
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

from iris_admin.errors import BackupError, DecodeError
from iris_admin.proto.etf import decode, encode
from iris_admin.state_files import create_private, publish, refuse_existing, scratch_name, state_path, sync_directory
from iris_admin.terms import Term

DIRECTORY_VARIABLE = "IRIS_ADMIN_BACKUP_DIR"

_LINE = re.compile(
    rb"iris_admin backup 1 label=(?P<label>[!-~]*) time=(?P<time>[!-~]+) "
    rb"terms=(?P<terms>\d+) sha256=(?P<sha256>[0-9a-f]{64})\n"
)
_LONGEST_LINE = 500
_LONGEST_LABEL = 80
_LENGTH = struct.Struct(">I")
_OTHER_DIRECTORY = f"{DIRECTORY_VARIABLE} names another directory."
_OTHER_FILE = "Nothing was changed on the cluster."
#: Bytes that are read at once.
_PIECE = 1 << 20


def backup_directory() -> Path:
    """Where backup files go: ``$IRIS_ADMIN_BACKUP_DIR``, else ``iris_admin/backups`` in the user's state directory
    (``$XDG_STATE_HOME`` or ``~/.local/state``).

    :raises BackupError: there is no home directory.
    """
    return state_path("backups", DIRECTORY_VARIABLE, BackupError)


def save_backup(label: str, terms: Sequence[Term]) -> Path:
    """Write terms to a new file that only its owner can read, and see that it is on the disc and complete.

    :param label: a word for the file's name; characters that do not belong there are replaced.
    :param terms: what to keep.
    :returns: the file.
    :raises EncodeError: a value is no term; there is no file then.
    :raises BackupError: the file could not be written, or does not hold what was written; it is removed then.
    """
    from datetime import UTC, datetime

    frames = [encode(term) for term in terms]
    digest = sha256()
    for piece in _framed(frames):
        digest.update(piece)
    label = _label(label)
    now = datetime.now(UTC)
    line = (
        f"iris_admin backup 1 label={label} time={now:%Y-%m-%dT%H:%M:%SZ} terms={len(frames)} "
        f"sha256={digest.hexdigest()}\n"
    )
    directory = backup_directory()
    stem = f"{label}-{now:%Y%m%dT%H%M%S.%fZ}"
    try:
        _make_directory(directory)
    except OSError as error:
        raise _failed(f"no backup file can be made in {directory}", error) from error
    scratch = scratch_name(directory / f"{stem}.backup")
    try:
        # Under its own name it appears when it is complete: nobody is to take half of it for a backup.
        with open(create_private(scratch), "wb") as file:
            file.write(line.encode())
            file.writelines(_framed(frames))
            file.flush()
            os.fsync(file.fileno())
        if [encode(term) for term in read_backup(scratch)] != frames:
            raise BackupError(f"the backup file {scratch} does not hold what was written to it")
        return _publish(scratch, directory, stem)
    except BaseException as error:
        with contextlib.suppress(OSError):
            scratch.unlink()
        if isinstance(error, OSError):
            raise _failed(f"the backup file in {directory} could not be written", error) from error
        raise


def read_backup(path: str | os.PathLike[str]) -> tuple[Term, ...]:
    """The terms of a backup file, in the order in which they were saved.

    :raises BackupError: it cannot be read, is no backup file, or is not complete.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise _failed(f"the backup file {path} cannot be read", error) from error
    line = _LINE.match(data, 0, _LONGEST_LINE)
    if line is None:
        raise BackupError(f"{path} is no backup file of iris_admin")
    body = memoryview(data)[line.end() :]
    if sha256(body).hexdigest().encode() != line["sha256"]:
        raise BackupError(f"the backup file {path} was cut or changed since it was written")
    try:
        terms = tuple(decode(bytes(frame)) for frame in _frames(body))
    except (DecodeError, struct.error) as error:
        raise BackupError(f"the backup file {path} holds what is no Erlang term: {error}") from error
    if len(terms) != int(line["terms"]):
        raise BackupError(f"the backup file {path} holds {len(terms)} terms instead of {int(line['terms'])}")
    return terms


class BackupWriter:
    """A backup file that is written piece by piece, so that its size does not matter.

    Until :meth:`finish` it has another name, and is none that anybody could take for complete.

    :param path: a new file.
    :param label: a word that says where the terms come from.
    :raises BackupError: the file exists, or cannot be made.
    """

    def __init__(self, path: Path, label: str) -> None:
        from datetime import UTC, datetime

        self.path = path
        self.terms = 0
        self._digest = sha256()
        self._size = 0
        self._head = f"iris_admin backup 1 label={_label(label)} time={datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        self._scratch = scratch_name(path.absolute())
        try:
            refuse_existing(path)
            self._file = open(create_private(self._scratch), "w+b")  # noqa: SIM115
        except OSError as error:
            raise _failed(f"the file {path} cannot be made", error, _OTHER_FILE) from error
        self._file.write(self._line(0, "0" * 64))

    def write(self, framed: bytes, terms: int) -> None:
        """Append terms, each in the external term format behind four bytes with its length.

        :raises BackupError: the file cannot be written.
        """
        try:
            self._file.write(framed)
        except OSError as error:
            raise _failed(f"the file {self.path} could not be written", error, _OTHER_FILE) from error
        self._digest.update(framed)
        self._size += len(framed)
        self.terms += terms

    def finish(self) -> int:
        """Complete the file, and see that it is on the disc and holds what was written.

        :returns: its size in bytes.
        :raises BackupError: it could not be written, or does not hold it.
        """
        line = self._line(self.terms, self._digest.hexdigest())
        try:
            self._file.seek(0)
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            verified = open_backup(self._scratch)
            if (verified.terms, verified.sha256) != (self.terms, self._digest.hexdigest()):
                raise BackupError(f"the file {self.path} does not hold what was written to it")
            publish(self._scratch, self.path.absolute())
        except OSError as error:
            raise _failed(f"the file {self.path} could not be written", error, _OTHER_FILE) from error
        return len(line) + self._size

    def discard(self) -> None:
        """Remove what was written, unless it is complete."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._scratch.unlink()

    def _line(self, terms: int, digest: str) -> bytes:
        # Of the same length whatever the number, for it stands before what is counted.
        return f"{self._head} terms={terms:020d} sha256={digest}\n".encode()


class BackupFile:
    """A backup file that was found to be complete; it gives its terms one after another. Made by :func:`open_backup`.

    :ivar path: its name.
    :ivar label: the word that says where the terms come from.
    :ivar time: when it was begun, in ISO 8601, UTC.
    :ivar terms: how many it holds.
    :ivar sha256: of all behind its first line, in hexadecimal digits.
    """

    def __init__(self, path: Path, line: re.Match[bytes]) -> None:
        self.path = path
        self.label = line["label"].decode()
        self.time = line["time"].decode()
        self.terms = int(line["terms"])
        self.sha256 = line["sha256"].decode()
        self._start = line.end()

    def __iter__(self) -> Iterator[Term]:
        with self.path.open("rb") as file:
            file.seek(self._start)
            while length := file.read(_LENGTH.size):
                yield decode(file.read(_LENGTH.unpack(length)[0]))


def open_backup(path: str | os.PathLike[str]) -> BackupFile:
    """See that a backup file is complete, and give access to its terms; it may be larger than the memory.

    :raises BackupError: it cannot be read, is no backup file, or is not complete.
    """
    path = Path(path)
    digest = sha256()
    try:
        with path.open("rb") as file:
            line = _LINE.match(file.readline(_LONGEST_LINE))
            if line is None:
                raise BackupError(f"{path} is no backup file of iris_admin")
            while piece := file.read(_PIECE):
                digest.update(piece)
    except OSError as error:
        raise _failed(f"the backup file {path} cannot be read", error) from error
    found = BackupFile(path, line)
    if digest.hexdigest() != found.sha256:
        raise BackupError(f"the backup file {path} was cut or changed since it was written")
    try:
        terms = sum(1 for _ in _term_lengths(path, line.end()))
    except struct.error:
        terms = -1
    if terms != found.terms:
        raise BackupError(f"the backup file {path} does not hold {found.terms} terms")
    return found


def _term_lengths(path: Path, start: int) -> Iterator[int]:
    size = path.stat().st_size
    with path.open("rb") as file:
        position = file.seek(start)
        while position < size:
            (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
            position = file.seek(length, os.SEEK_CUR)
            yield length
        if position > size:
            raise struct.error


def _label(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text)[:_LONGEST_LABEL] or "backup"


def _framed(frames: Sequence[bytes]) -> Iterator[bytes]:
    for frame in frames:
        yield _LENGTH.pack(len(frame))
        yield frame


def _frames(body: memoryview) -> Iterator[memoryview]:
    position = 0
    while position < len(body):
        (length,) = _LENGTH.unpack_from(body, position)
        position += _LENGTH.size + length
        if position > len(body):
            raise struct.error("the last term is cut")
        yield body[position - length : position]


def _make_directory(directory: Path) -> None:
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in missing:
        # A new directory is on the disc once the one that it is listed in is.
        sync_directory(path.parent)


def _publish(scratch: Path, directory: Path, stem: str) -> Path:
    number = 1
    while True:
        path = directory / (f"{stem}.backup" if number == 1 else f"{stem}-{number}.backup")
        try:
            publish(scratch, path)
            return path
        except FileExistsError:
            number += 1


def _failed(what: str, error: OSError, otherwise: str = _OTHER_DIRECTORY) -> BackupError:
    return BackupError(
        f"{what}: {(error.strerror or str(error)).lower()}",
        hint=f"Is there room, and permission to write? {otherwise}",
    )
