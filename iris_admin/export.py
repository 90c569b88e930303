"""Files with stored messages: whole rows without loss, or an object of JSON for each message."""

from __future__ import annotations

import contextlib
import os
from base64 import b64encode
from pathlib import Path
from typing import IO, Any

from iris_admin.backup import BackupWriter
from iris_admin.errors import BackupError, ConfigError
from iris_admin.operations.offline import describe
from iris_admin.operations.offline_export import Exported, OfflineExport
from iris_admin.operations.results import plain
from iris_admin.operations.users import user_id
from iris_admin.proto.etf import decode
from iris_admin.state_files import create_private, publish, refuse_existing, scratch_name

FORMATS = ("term", "jsonl")
_JSON_NAMES = (".json", ".jsonl", ".ndjson")
NOTES = (
    "Rows that came or went while the table was read may be in the file or not.",
    "The file holds people's private messages.",
)


def format_of(path: Path, chosen: str | None) -> str:
    """The format of an export: the chosen one, else the one that the file's name says.

    :raises ConfigError: there is no such format.
    """
    if chosen is None:
        return "jsonl" if path.suffix.lower() in _JSON_NAMES else "term"
    if chosen not in FORMATS:
        raise ConfigError(f"there is no format {chosen!r}", hint=f"There are: {', '.join(FORMATS)}.")
    return chosen


class ExportFile:
    """A new file that only its owner can read; when an error ends the ``with``, it is removed.

    :param path: it must not exist.
    :param user: whose messages it is for; None for all users'.
    :param chosen: the format; None for the one that the file's name says.
    :raises BackupError: it exists, or cannot be made.
    """

    def __init__(self, path: str | os.PathLike[str], user: str | bytes | None, chosen: str | None = None) -> None:
        self.path = Path(path).absolute()
        self.format = format_of(self.path, chosen)
        self.user = None if user is None else user_id(user)
        self._sink = BackupWriter(self.path, "export") if self.format == "term" else _JsonLines(self.path)

    def __enter__(self) -> ExportFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._sink.discard()

    def write(self, framed: bytes, rows: int, core: str) -> None:
        """Append rows; see :func:`iris_admin.operations.offline_export.read_rows`.

        :raises BackupError: the file cannot be written.
        """
        if isinstance(self._sink, BackupWriter):
            self._sink.write(framed, rows)
        else:
            self._sink.write(framed, core)

    def finish(self, exported: Exported) -> OfflineExport:
        """Complete the file, and see that it is on the disc.

        :raises BackupError: it could not be written.
        """
        try:
            size = self._sink.finish()
        except BaseException:
            self._sink.discard()
            raise
        return OfflineExport(
            file=self.path,
            format=self.format,
            user=self.user,
            cores=exported.cores,
            rows=exported.rows,
            messages=None if isinstance(self._sink, BackupWriter) else self._sink.messages,
            bytes=size,
            seconds=exported.seconds,
            notes=NOTES,
        )


class _JsonLines:
    """For programs that know JSON. What is no text is there in Base64; other terms than binaries in Erlang syntax."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.messages = 0
        self._scratch = scratch_name(path)
        try:
            refuse_existing(path)
            self._file: IO[bytes] = open(create_private(self._scratch), "wb")  # noqa: SIM115
        except OSError as error:
            raise self._failed("cannot be made", error) from error

    def write(self, framed: bytes, core: str) -> None:
        position = 0
        lines: list[bytes] = []
        while position < len(framed):
            start = position + 4
            position = start + int.from_bytes(framed[position:start], "big")
            lines += _lines(decode(framed[start:position]), core)
        self.messages += len(lines)
        try:
            self._file.writelines(lines)
        except OSError as error:
            raise self._failed("could not be written", error) from error

    def finish(self) -> int:
        try:
            size = self._file.tell()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            publish(self._scratch, self.path)
        except OSError as error:
            raise self._failed("could not be written", error) from error
        return size

    def discard(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._scratch.unlink()

    def _failed(self, what: str, error: OSError) -> BackupError:
        return BackupError(
            f"the file {self.path} {what}: {(error.strerror or str(error)).lower()}",
            hint="Is there room, and permission to write? Nothing was changed on the cluster.",
        )


def _lines(record: Any, core: str) -> list[bytes]:
    """A line of JSON for each message of a row."""
    import json

    key = record[1]
    user = key[0] if isinstance(key, tuple) and len(key) == 2 else key
    lines = []
    for message in describe(record, core, keep_payload=True):
        fields = {"user": plain(user)} | message.to_dict()
        payload = message.payload
        fields["payload_base64"] = None
        if isinstance(payload, bytes):
            try:
                fields["payload"] = payload.decode()
            except UnicodeDecodeError:
                fields["payload"] = None
                fields["payload_base64"] = b64encode(payload).decode()
        lines.append(json.dumps(fields, ensure_ascii=True).encode() + b"\n")
    return lines
