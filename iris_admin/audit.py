r"""The audit file: one line of JSON for each operation that changed something, or tried to.

Each line says who, when, from where, on which node, what command, what it was to do, how it ended, and which backup
file holds what was there before. It is an object with the fields of :class:`AuditEntry`. The file only grows, only its
owner may read it, and a line is on the disc before the operation ends.
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


@dataclass(frozen=True, slots=True, repr=False)
class AuditEntry(Result):
    """What was done once.

    :param time: when it ended, in ISO 8601, UTC.
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


def prepare_audit() -> Path:
    """See that the audit file can be written, before something is changed that could not be recorded then.

    :returns: the file, which exists now.
    :raises AuditError: it cannot be written.
    """
    path = audit_file()
    try:
        with _opened(path):
            return path
    except AuditError as error:
        error.hint = f"Nothing was changed, for it could not be recorded. {FILE_VARIABLE} names another file."
        raise


def record(
    command: str,
    node: str | None,
    plan: object,
    outcome: str,
    backup: str | os.PathLike[str] | None = None,
) -> AuditEntry:
    """Append a line to the audit file, and see that it is on the disc.

    :param command: the operation, as on the command line, without its arguments: those are the plan's.
    :param node: the node that was changed, or that the change was made through.
    :param plan: what was to be done: anything that :func:`iris_admin.operations.results.plain` takes.
    :param outcome: how it ended.
    :param backup: the file that holds what was there before.
    :returns: the entry that was written.
    :raises AuditError: it could not be written. What it was to tell has happened nevertheless.
    """
    from datetime import UTC, datetime
    from socket import gethostname

    entry = AuditEntry(
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
        backup=None if backup is None else os.fspath(backup),
    )
    # ASCII: no character of a user's name can then break the line, or do anything to a terminal.
    line = json.dumps(entry.to_dict(), ensure_ascii=True) + "\n"
    with _opened(audit_file()) as descriptor:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            # A disc was full, or a machine lost its power: the rest of that line is not to spoil this one.
            line = f"\n{line}"
        rest = memoryview(line.encode("ascii"))
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    return entry


def read_audit(path: str | os.PathLike[str] | None = None) -> Audit:
    """What the audit file says. Where there is none, nothing has been done.

    :param path: another file than :func:`audit_file`.
    :raises AuditError: it cannot be read.
    """
    file = audit_file() if path is None else Path(path)
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
