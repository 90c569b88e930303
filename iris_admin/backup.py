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
from iris_admin.terms import Term

DIRECTORY_VARIABLE = "IRIS_ADMIN_BACKUP_DIR"

_LINE = re.compile(rb"iris_admin backup 1 label=\S* time=\S+ terms=(\d+) sha256=([0-9a-f]{64})\n")
_LONGEST_LINE = 500
_LONGEST_LABEL = 80
_LENGTH = struct.Struct(">I")


def backup_directory() -> Path:
    """Where backup files go: ``$IRIS_ADMIN_BACKUP_DIR``, else ``iris_admin/backups`` in the user's state directory
    (``$XDG_STATE_HOME`` or ``~/.local/state``).

    :raises BackupError: there is no home directory.
    """
    chosen = os.environ.get(DIRECTORY_VARIABLE)
    if chosen:
        return Path(chosen).absolute()
    state = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state):  # such a value is to be ignored, says the XDG specification
        try:
            state = str(Path.home() / ".local" / "state")
        except RuntimeError:
            raise BackupError(
                "there is no home directory to keep backup files in", hint=f"Set {DIRECTORY_VARIABLE}."
            ) from None
    return Path(state) / "iris_admin" / "backups"


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
    label = re.sub(r"[^A-Za-z0-9_-]+", "_", label)[:_LONGEST_LABEL] or "backup"
    now = datetime.now(UTC)
    line = (
        f"iris_admin backup 1 label={label} time={now:%Y-%m-%dT%H:%M:%SZ} terms={len(frames)} "
        f"sha256={digest.hexdigest()}\n"
    )
    directory = backup_directory()
    try:
        _make_directory(directory)
        path, descriptor = _create(directory, f"{label}-{now:%Y%m%dT%H%M%S.%fZ}")
    except OSError as error:
        raise _failed(f"no backup file can be made in {directory}", error) from error
    try:
        with open(descriptor, "wb") as file:
            file.write(line.encode())
            file.writelines(_framed(frames))
            file.flush()
            os.fsync(file.fileno())
        _sync_directory(directory)
        if [encode(term) for term in read_backup(path)] != frames:
            raise BackupError(f"the backup file {path} does not hold what was written to it")
    except BaseException as error:
        # Nobody is to take it for a backup.
        with contextlib.suppress(OSError):
            path.unlink()
        if isinstance(error, OSError):
            raise _failed(f"the backup file {path} could not be written", error) from error
        raise
    return path


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
    if sha256(body).hexdigest().encode() != line[2]:
        raise BackupError(f"the backup file {path} was cut or changed since it was written")
    try:
        terms = tuple(decode(bytes(frame)) for frame in _frames(body))
    except (DecodeError, struct.error) as error:
        raise BackupError(f"the backup file {path} holds what is no Erlang term: {error}") from error
    if len(terms) != int(line[1]):
        raise BackupError(f"the backup file {path} holds {len(terms)} terms instead of {int(line[1])}")
    return terms


def _framed(frames: Sequence[bytes]) -> Iterator[bytes]:
    for frame in frames:
        yield _LENGTH.pack(len(frame))
        yield frame


def _frames(body: memoryview) -> Iterator[memoryview]:
    position = 0
    while position < len(body):
        (length,) = _LENGTH.unpack_from(body, position)
        position += _LENGTH.size + length
        yield body[position - length : position]


def _make_directory(directory: Path) -> None:
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in missing:
        # A new directory is on the disc once the one that it is listed in is.
        _sync_directory(path.parent)


def _create(directory: Path, stem: str) -> tuple[Path, int]:
    number = 1
    while True:
        path = directory / (f"{stem}.backup" if number == 1 else f"{stem}-{number}.backup")
        try:
            return path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            number += 1


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failed(what: str, error: OSError) -> BackupError:
    return BackupError(
        f"{what}: {(error.strerror or str(error)).lower()}",
        hint=f"Is there room, and permission to write? {DIRECTORY_VARIABLE} names another directory.",
    )
