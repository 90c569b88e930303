"""Files that are read back: backups, and the record of changes."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from hashlib import sha256
from pathlib import Path

from iris_admin.audit import read_audit
from iris_admin.backup import open_backup, read_backup
from iris_admin.errors import AuditError, BackupError, DecodeError
from iris_admin.proto.etf import encode
from iris_admin.terms import Atom
from tests.fuzz.choices import Choices

_directory = tempfile.TemporaryDirectory(prefix="fuzzed-files-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)


def seeds() -> list[bytes]:
    """A backup whose sum is put right, one whose sum is its own, and a line of the record."""
    body = b"".join(len(frame).to_bytes(4, "big") + frame for frame in (encode(Atom("a")), encode([b"b", 2**70])))
    record = (
        b'\3{"time": "2026-01-31T12:00:00Z", "who": "x", "sudo_user": null, "host": "h", "ssh_client": null, '
        b'"process_id": 1, "node": "db1@h", "command": "offline clear", "plan": {"rows": [1, 2]}, "outcome": "done", '
        b'"backup": null}\n'
    )
    return [b"\1\2" + body, b"\2" + _head(b"2", body) + body, b"\0hello", record]


def run(data: bytes) -> None:
    """Read a file that holds the bytes, or a backup made of them."""
    choices = Choices(data)
    kind = choices.byte() % 4
    if kind == 1:
        terms = choices.byte()
        body = choices.take(choices.left)
        content = _head(b"%d" % terms, body) + body
    else:
        content = choices.take(choices.left)
    path = _path()
    path.write_bytes(content)
    if kind == 3:
        try:
            audit = read_audit(path)
            audit.to_dict()
        except AuditError:
            return
        return
    try:
        complete = read_backup(path)
    except BackupError as error:
        assert len(str(error)) < 2000  # noqa: PT017
        complete = None
    try:
        opened = tuple(open_backup(path))
    except (BackupError, DecodeError):
        assert complete is None
        return
    assert complete is not None
    assert list(map(encode, complete)) == list(map(encode, opened))


@cache
def _path() -> Path:
    return Path(_directory.name) / f"file-{os.getpid()}"


def _head(terms: bytes, body: bytes) -> bytes:
    digest = sha256(body).hexdigest().encode()
    return b"iris_admin backup 1 label=x time=2026-01-31T12:00:00Z terms=%b sha256=%b\n" % (terms, digest)
