r"""The audit file: one line of JSON for each operation that changed something, or tried to.

Each line says who, when, from where, on which node, what command, what it was to do, how it ended, and which backup
file holds what was there before. It is an object with the fields of :class:`AuditEntry`. The file only grows, only its
owner may read it, and a line is on the disc before the operation ends.

An operation that is under way has a file of its own beside it, ``<file>.pending-…``, which it holds a lock on. Where
nobody holds that any more, the operation was killed; whoever looks next writes its line.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from iris_admin.errors import AuditError
from iris_admin.operations.results import Result, Table, plain
from iris_admin.state_files import state_path, sync_directory

FILE_VARIABLE = "IRIS_ADMIN_AUDIT_FILE"

_KILLED = (
    "not finished: the program was killed, or its machine stopped. Some of it may be done; a backup file of that time "
    "holds what was there before"
)


@dataclass(frozen=True, slots=True, repr=False)
class AuditEntry(Result):
    """What was done once.

    :param time: when it ended, in ISO 8601, UTC; when it began, for one that was killed.
    :param who: the operator's user name on the machine that it was done from.
    :param sudo_user: who became that user by ``sudo``; None where nobody did.
    :param host: the name of that machine.
    :param ssh_client: the address from which the operator was logged in there; None for a local terminal.
    :param process_id: of the program.
    :param node: the node that was changed, or that the change was made through.
    :param command: the operation, as on the command line: ``redeliver``, ``offline clear``.
    :param plan: what was to be done, as JSON values.
    :param outcome: how it ended, in a sentence or a word.
    :param backup: the file that holds what was there before; None where nothing was to be kept.
    """

    time: str
    who: str
    sudo_user: str | None
    host: str
    ssh_client: str | None
    process_id: int
    node: str | None
    command: str
    plan: Any
    outcome: str
    backup: str | None


@dataclass(frozen=True, slots=True, repr=False)
class Audit(Result):
    """The contents of the audit file.

    :param file: its name.
    :param entries: oldest first.
    :param damaged: the numbers of lines that say nothing, e.g. because a disc was full.
    """

    file: Path
    entries: Table[AuditEntry]
    damaged: tuple[int, ...]


def audit_file() -> Path:
    """Where the lines go: ``$IRIS_ADMIN_AUDIT_FILE``, else ``iris_admin/audit.jsonl`` in the user's state directory
    (``$XDG_STATE_HOME`` or ``~/.local/state``).

    :raises AuditError: there is no home directory.
    """
    return state_path("audit.jsonl", FILE_VARIABLE, AuditError)


@dataclass(frozen=True, slots=True)
class Begun:
    """An operation that is under way; see :func:`begin`."""

    path: Path
    descriptor: int


def prepare_audit() -> Path:
    """See that the audit file can be written, before something is changed that could not be recorded then.

    :returns: the file, which exists now.
    :raises AuditError: it cannot be written.
    """
    path = audit_file()
    with _nothing_was_changed(), _opened(path) as descriptor:
        _take_over(path, descriptor)
        return path


def begin(command: str, node: str | None, plan: object) -> Begun:
    """Note that an operation begins, so that its line does not depend on whether it lives to write it.

    :param command: as for :func:`record`; likewise ``node`` and ``plan``.
    :returns: for :func:`record`, which must follow.
    :raises AuditError: it cannot be noted.
    """
    path = audit_file()
    line = _line(_entry(command, node, plan, _KILLED, None))
    with _nothing_was_changed(), _opened(path) as descriptor:
        _take_over(path, descriptor)
        number = 0
        while True:
            pending = path.with_name(f"{path.name}.pending-{os.getpid()}-{number}")
            try:
                held = os.open(pending, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                break
            except FileExistsError:
                number += 1
        fcntl.flock(held, fcntl.LOCK_EX)
        _write(held, line)
        sync_directory(path.parent)
        return Begun(pending, held)


def record(
    command: str,
    node: str | None,
    plan: object,
    outcome: str,
    backup: str | os.PathLike[str] | None = None,
    begun: Begun | None = None,
) -> AuditEntry:
    """Append a line to the audit file, and see that it is on the disc.

    :param command: the operation, as on the command line, without its arguments: those are the plan's.
    :param node: the node that was changed, or that the change was made through.
    :param plan: what was to be done: anything that :func:`iris_admin.operations.results.plain` takes.
    :param outcome: how it ended.
    :param backup: the file that holds what was there before.
    :param begun: what :func:`begin` gave, where it was called.
    :returns: the entry that was written.
    :raises AuditError: it could not be written. What it was to tell has happened nevertheless.
    """
    entry = _entry(command, node, plan, outcome, None if backup is None else os.fspath(backup))
    with _opened(audit_file()) as descriptor:
        _append(descriptor, _line(entry))
        if begun is not None:
            with contextlib.suppress(OSError):  # the line counts
                begun.path.unlink()
                os.close(begun.descriptor)
    return entry


def read_audit(path: str | os.PathLike[str] | None = None) -> Audit:
    """What the audit file says. Where there is none, nothing has been done.

    :param path: another file than :func:`audit_file`.
    :raises AuditError: it cannot be read.
    """
    file = audit_file() if path is None else Path(path)
    with contextlib.suppress(AuditError):
        # Who may only read sees what was written.
        if any(_pending_files(file)):
            with _opened(file) as descriptor:
                _take_over(file, descriptor)
    entries: list[AuditEntry] = []
    damaged: list[int] = []
    try:
        with contextlib.suppress(FileNotFoundError), file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if (entry := _parsed(line)) is not None:
                    entries.append(entry)
                elif line.strip():
                    damaged.append(number)
    except OSError as error:
        raise AuditError(f"the audit file {file} cannot be read: {_reason(error)}") from error
    return Audit(file, Table(AuditEntry, entries), tuple(damaged))


def _entry(command: str, node: str | None, plan: object, outcome: str, backup: str | None) -> AuditEntry:
    from datetime import UTC, datetime
    from socket import gethostname

    return AuditEntry(
        time=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        who=_user_name(),
        sudo_user=os.environ.get("SUDO_USER") or None,
        host=gethostname(),
        ssh_client=os.environ.get("SSH_CONNECTION", "").partition(" ")[0] or None,
        process_id=os.getpid(),
        node=node,
        command=command,
        plan=plain(plan),
        outcome=outcome,
        backup=backup,
    )


def _line(entry: AuditEntry) -> bytes:
    # ASCII: no character of a user's name can then break the line, or do anything to a terminal.
    return json.dumps(entry.to_dict(), ensure_ascii=True).encode("ascii") + b"\n"


def _append(descriptor: int, line: bytes) -> None:
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        # A disc was full, or a machine lost its power: the rest of that line is not to spoil this one.
        line = b"\n" + line
    _write(descriptor, line)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.fsync(descriptor)


def _pending_files(path: Path) -> Iterator[Path]:
    return path.parent.glob(f"{path.name}.pending-*")


def _take_over(path: Path, descriptor: int) -> None:
    """Write the lines of operations that were killed. The audit file is locked, so that no other does the same."""
    for pending in sorted(_pending_files(path)):
        with contextlib.suppress(OSError), pending.open("rb") as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while the operation is under way
            line = file.read()
            if _parsed(line) is not None:
                _append(descriptor, line)
            pending.unlink()


@contextlib.contextmanager
def _nothing_was_changed() -> Iterator[None]:
    """For errors before an operation."""
    try:
        yield
    except AuditError as error:
        error.hint = f"Nothing was changed, for it could not be recorded. {FILE_VARIABLE} names another file."
        raise


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    """The file, locked, to be appended to. Whatever goes wrong with it is an AuditError."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_new = not path.exists()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            # Other commands may end at the same moment.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if is_new:
                sync_directory(path.parent)
            yield descriptor
        finally:
            os.close(descriptor)
    except OSError as error:
        raise AuditError(
            f"the audit file {path} cannot be written: {_reason(error)}",
            hint="What was to be recorded has been done. Is there room, and permission to write?",
        ) from error


def _parsed(line: bytes) -> AuditEntry | None:
    try:
        values = json.loads(line)
        # A later version may have more fields, an earlier one fewer.
        return AuditEntry(**{field.name: values.get(field.name) for field in fields(AuditEntry)})
    except (ValueError, AttributeError):
        return None


def _user_name() -> str:
    # By the process, not by the environment, which anybody can set.
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
