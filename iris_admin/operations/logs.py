"""The log files of a node: where they are, their end, and what is added to them.

They are read by the node itself, in pieces, from the end, so that their size does not matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from iris_admin.errors import ConfigError, IrisAdminError
from iris_admin.operations.evaluate import run_remote
from iris_admin.operations.log_text import Event, Fold, complete, events, first_start, fold, has_headers
from iris_admin.operations.results import Result, Table
from iris_admin.operations.steps import Operation, Pause, Progress
from iris_admin.proto.io_protocol import chardata_to_str
from iris_admin.records import record, replace
from iris_admin.terms import Term

#: One reply's share of a file, in bytes: it must not hold up the link.
PIECE = 256 << 10
#: As much of the end and of the beginning of a file tells what format it is in, in bytes.
PROBE = 32 << 10
#: How far back to look at most, in bytes, unless told otherwise.
DEPTH = 32 << 20
DEFAULT_EVENTS = 100
#: How long the node waits for news before it answers that there are none, and how often it looks, in milliseconds.
WAIT_MS = 2000
LOOK_MS = 200
_STANDARD_OUTPUT = b"standard output"
_OUTPUTS = [(_STANDARD_OUTPUT, 1), (b"standard error", 2)]
#: What is no regular file is not opened; the reason is then its type.
_NO_FILES = {"directory": "it is a directory", "device": "it is a device", "other": "it is no regular file"}
#: Between two attempts at a node that is gone, in seconds.
_PATIENCE = 1.0


@record
class LogFile(Result):
    """A log file of a node.

    :param node: the node.
    :param path: its name there.
    :param source: who writes it: the id of a handler of logger, ``standard output``, ``standard error``, ``sasl``; or
        ``directory``, for a file that merely lies in the node's working directory and may be another node's.
    :param bytes: its size.
    :param modified: when it was last written, in ISO 8601, UTC.
    :param older: files that it was rotated into, newest first.
    :param unread: bytes before what was looked at, those in the older files not included.
    :param problem: why it could not be read.
    """

    node: str
    path: str
    source: str
    bytes: int | None
    modified: str | None
    older: tuple[str, ...]
    unread: int
    problem: str | None


@record
class LogEntry(Result):
    """What was logged at once, or a row of known noise.

    :param node: the node.
    :param file: the file that it is from.
    :param time: by the node's clock, in ISO 8601; its local time where no zone is given; None where none was logged.
    :param level: as logger has it, e.g. ``warning``; None where none was logged.
    :param text: all its lines, as they are in the file.
    :param folded: how many events of known noise this one stands for; 0 for an event.
    """

    node: str
    file: str
    time: str | None
    level: str | None
    text: str
    folded: int


@record
class Logs(Result):
    """The end of a node's log files.

    :param node: the node.
    :param files: its log files.
    :param entries: file by file, oldest first.
    :param advice: where else to look, when there is no file.
    """

    node: str
    files: Table[LogFile]
    entries: Table[LogEntry]
    advice: str | None


@dataclass(slots=True)
class Cursor:
    """How far a file has been read, for :func:`follow_logs`."""

    file: LogFile
    raw_path: bytes
    older: tuple[bytes, ...]
    position: int
    inode: int
    pending: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class _Found:
    """What a node says of its log files."""

    node: str
    files: tuple[tuple[str, tuple[bytes, ...]], ...]
    advice: str | None


def logs(
    node: str | None = None,
    *,
    count: int = DEFAULT_EVENTS,
    pattern: str | None = None,
    everything: bool = False,
    file: str | None = None,
    depth: int = DEPTH,
) -> Operation[Logs]:
    """The last events in each log file of a node.

    :param node: which; None is the operation's own node.
    :param count: of events, of each file; folded noise does not count.
    :param pattern: a regular expression, as of :mod:`re`, that an event must contain.
    :param everything: do not fold known noise.
    :param file: only files whose name contains this.
    :param depth: how far to look back in each file and those that it was rotated into, in bytes.
    :raises ConfigError: the pattern is no regular expression.
    """
    wanted = _compiled(pattern)
    found = yield from _find(node)
    files, entries = [], []
    for source, paths in found.files:
        if file is not None and file not in _path_text(paths[0]):
            continue
        read, tail = yield from _tail(node, found.node, source, paths, count, wanted, everything, depth)
        files.append(read)
        entries += tail
    advice = found.advice
    if not files and found.files:
        advice = f"No log file has {file!r} in its name: {', '.join(_path_text(paths[0]) for _, paths in found.files)}"
    return Logs(found.node, Table(LogFile, files), Table(LogEntry, entries), advice)


def open_logs(node: str | None = None, *, file: str | None = None) -> Operation[list[Cursor]]:
    """Where the log files end now, to follow them from there.

    :param node: which; None is the operation's own node.
    :param file: only files whose name contains this.
    """
    found = yield from _find(node)
    chosen = [(source, paths) for source, paths in found.files if file is None or file in _path_text(paths[0])]
    if not chosen:
        raise IrisAdminError("there is no log file to follow", node=found.node, hint=found.advice)
    reads = [(paths[0], 0, 0, 0) for _, paths in chosen]
    answers = yield from _read(node, reads)
    return [
        Cursor(_log_file(found.node, source, paths, answer), paths[0], paths[1:], _size(answer), _inode(answer))
        for (source, paths), answer in zip(chosen, answers, strict=True)
    ]


def follow_logs(
    cursors: Sequence[Cursor], node: str | None = None, *, pattern: str | None = None, everything: bool = False
) -> Operation[list[LogEntry]]:
    """What has been added since the last time; waits a while for it. The cursors move.

    A file that was rotated is read to its end first; one that was truncated is read from its beginning. A node that
    is gone is waited for.
    """
    wanted = _compiled(pattern)
    reads = [(cursor.raw_path, cursor.position, PIECE, cursor.inode) for cursor in cursors]
    try:
        answers = yield from _read(node, reads, wait=WAIT_MS)
    except IrisAdminError as error:
        if not error.transient:
            raise
        yield Progress(f"the node does not answer, waiting for it: {error}")
        yield Pause(_PATIENCE)
        return []
    entries: list[LogEntry] = []
    quiet = True
    for cursor, answer in zip(cursors, answers, strict=True):
        before = cursor.position, cursor.inode
        data = yield from _news(cursor, answer, node)
        quiet = quiet and before == (cursor.position, cursor.inode)
        chosen = _chosen(_complete(cursor, data), wanted, everything)
        entries += [_entry(cursor.file, item) for item in chosen]
    if quiet:
        yield from _follow_wrapped(cursors, node)
    return entries


def _follow_wrapped(cursors: Sequence[Cursor], node: str | None) -> Operation[None]:
    """Go over to the file that a wrap log is written to now; its other files keep their names."""
    if not any(cursor.older for cursor in cursors):
        return
    found = yield from _find(node)
    newest = {source: paths for source, paths in found.files if len(paths) > 1}
    for cursor in cursors:
        paths = newest.get(cursor.file.source)
        if paths is not None and cursor.older and paths[0] != cursor.raw_path:
            yield Progress(f"the log goes on in {_path_text(paths[0])}")
            cursor.file = replace(cursor.file, path=_path_text(paths[0]), older=tuple(map(_path_text, paths[1:])))
            cursor.raw_path, cursor.older, cursor.position, cursor.inode = paths[0], paths[1:], 0, 0


def _news(cursor: Cursor, answer: Any, node: str | None) -> Operation[bytes]:
    """The bytes that are new in a file."""
    match answer:
        case (int() as size, int() as inode, _, bytes() as data):
            if cursor.inode in (0, inode) and size >= cursor.position:
                cursor.position, cursor.inode = cursor.position + len(data), inode
                return data
            rest = b""
            if inode != cursor.inode:
                rest = yield from _rest_of_rotated(cursor, node)
                yield Progress(f"{cursor.file.path} is a new file now: it was rotated, or made anew by a restart")
            else:
                yield Progress(f"{cursor.file.path} was truncated, as a restart may do: read from its beginning")
            cursor.position, cursor.inode = 0, inode
            return rest
    # It may be between two names at this moment.
    return b""


def _rest_of_rotated(cursor: Cursor, node: str | None) -> Operation[bytes]:
    reads = [(path, cursor.position, PIECE, cursor.inode) for path in (cursor.raw_path + b".0", *cursor.older)]
    answers = yield from _read(node, reads)
    return next((answer[3] for answer in answers if len(answer) == 4 and answer[3]), b"")


def _complete(cursor: Cursor, data: bytes) -> str:
    """The lines that are complete, or that nothing was added to meanwhile."""
    text = cursor.pending + data
    end = complete(text) if data else len(text)
    cursor.pending = text[end:]
    return _decoded(text[:end])


def _find(node: str | None) -> Operation[_Found]:
    answer = yield from run_remote("log_files", {"Outputs": _OUTPUTS}, node=node)
    name, os_pid, directory, handlers, outputs, files = answer
    # The same file may be found by a handler and as the standard output.
    unique: dict[bytes, tuple[str, tuple[bytes, ...]]] = {}
    for source, paths in files:
        unique.setdefault(paths[0], (_source_text(source), tuple(paths)))
    advice = None if unique else _advice(str(name), os_pid, directory, handlers, outputs)
    return _Found(str(name), tuple(unique.values()), advice)


def _advice(node: str, os_pid: Any, directory: bytes, handlers: Any, outputs: Any) -> str:
    """Where else to look: what the node logs goes somewhere, or nowhere."""
    output = dict(outputs).get(_STANDARD_OUTPUT, "undefined")
    pid = chardata_to_str(os_pid, "utf-8") or "?"
    kinds = ", ".join(f"{identifier} ({module})" for identifier, module, _ in handlers) or "none"
    said = (
        f"{node} writes no log file (handlers of logger: {kinds}), and there is no *.log in {_path_text(directory)}. "
    )
    if not isinstance(output, bytes):
        return said + "Its system does not tell where its standard output goes: look at how it was started."
    target = _path_text(output)
    if target == "/dev/null":
        return said + (
            "Its standard output is thrown away, and the log with it. To log into a file from now on: "
            "iris-admin eval 'logger:add_handler(to_file, logger_std_h, #{config => #{file => \"/var/log/iris.log\"}})'"
        )
    if target.startswith("socket:"):
        return said + f"Its standard output goes to a socket, so probably to the journal: journalctl _PID={pid}"
    if target.startswith("pipe:"):
        return said + (
            f"Its standard output goes to a pipe, so to the program that started process {pid}: "
            "docker logs, kubectl logs, or the log of that program."
        )
    return said + f"Its standard output goes to {target}."


def _tail(
    node: str | None,
    name: str,
    source: str,
    paths: tuple[bytes, ...],
    count: int,
    wanted: re.Pattern[str] | None,
    everything: bool,
    depth: int,
) -> Operation[tuple[LogFile, list[LogEntry]]]:
    """The last events of a file and of those that it was rotated into."""
    first = (yield from _read(node, [(paths[0], 0, PROBE, 0)]))[0]
    file = _log_file(name, source, paths, first)
    if file.problem is not None:
        return file, []
    probes = [first, *(yield from _read(node, [(paths[0], max(0, _size(first) - PROBE), PROBE, _inode(first))]))]
    headers = any(has_headers(probe[3]) for probe in probes if len(probe) == 4)
    # What was found, the latest block first; noise is folded at once, for there may be millions of it.
    blocks: list[list[Event | Fold]] = []
    found, left, unread = 0, depth, 0
    carried = b""
    for number, path in enumerate(paths):
        answer = first if number == 0 else (yield from _read(node, [(path, 0, 0, 0)]))[0]
        inode, end = _inode(answer), _size(answer)
        while end > 0 and left > 0 and found < count:
            start = max(0, end - min(PIECE, left))
            (piece,) = yield from _read(node, [(path, start, end - start, inode)])
            data = piece[3] if len(piece) == 4 else b""
            if not data:
                break  # it was rotated, or is gone
            left -= end - start
            end = start
            data += carried
            cut = 0 if start == 0 else first_start(data, headers=headers)
            if cut is None:
                carried = data
                continue
            carried, data = data[:cut], data[cut:]
            block = _chosen(_decoded(data), wanted, everything)
            found += sum(isinstance(item, Event) for item in block)
            blocks.append(block)
        if number == 0:
            unread = end
        if found >= count or left <= 0:
            break
    # What is left is the end of an event whose beginning is too far back, or no event at all.
    if carried and found < count:
        blocks.append(_chosen(_decoded(carried), wanted, everything))
    file = LogFile(name, file.path, source, file.bytes, file.modified, file.older, unread, None)
    return file, [_entry(file, item) for item in _last(_joined(reversed(blocks)), count)]


def _chosen(text: str, wanted: re.Pattern[str] | None, everything: bool) -> list[Event | Fold]:
    chosen = (event for event in events(text) if wanted is None or wanted.search(event.text) is not None)
    return list(chosen if everything else fold(chosen))


def _joined(blocks: Iterable[list[Event | Fold]]) -> list[Event | Fold]:
    """All that was found, oldest first, with the noise at the borders in one."""
    joined: list[Event | Fold] = []
    for block in blocks:
        for item in block:
            if isinstance(item, Fold) and joined and isinstance(joined[-1], Fold):
                joined[-1].precede(item)
            else:
                joined.append(item)
    return joined


def _last(found: list[Event | Fold], count: int) -> list[Event | Fold]:
    """The last ``count`` events, and the noise among and behind them."""
    for index in range(len(found) - 1, -1, -1):
        if isinstance(found[index], Event):
            count -= 1
            if count == 0:
                return found[index:]
    return found


def _entry(file: LogFile, found: Event | Fold) -> LogEntry:
    if isinstance(found, Fold):
        return LogEntry(file.node, file.path, found.first, None, found.text, found.count)
    return LogEntry(file.node, file.path, found.time, found.level, found.text, 0)


def _log_file(node: str, source: str, paths: tuple[bytes, ...], answer: Any) -> LogFile:
    older = tuple(map(_path_text, paths[1:]))
    match answer:
        case (int() as size, _, int() as modified, _):
            moment = datetime.fromtimestamp(modified, UTC).isoformat().replace("+00:00", "Z")
            return LogFile(node, _path_text(paths[0]), source, size, moment, older, 0, None)
    problem = f"it cannot be read: {_NO_FILES.get(str(answer[1]), answer[1])}"
    return LogFile(node, _path_text(paths[0]), source, None, None, older, 0, problem)


def _read(node: str | None, reads: Sequence[tuple[bytes, int, int, int]], wait: int = 0) -> Operation[list[Any]]:
    bindings: dict[str, Term] = {"Reads": list(reads), "Nothing": b"", "Wait": wait, "Pause": LOOK_MS}
    answers: list[Any] = yield from run_remote("read_logs", bindings, node=node)
    return answers


def _size(answer: Any) -> int:
    return answer[0] if isinstance(answer[0], int) else 0


def _inode(answer: Any) -> int:
    return answer[1] if isinstance(answer[0], int) else 0


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace").replace("\r\n", "\n")


def _path_text(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")


def _source_text(source: Term) -> str:
    return _path_text(source) if isinstance(source, bytes) else str(source)


def _compiled(pattern: str | None) -> re.Pattern[str] | None:
    try:
        return None if pattern is None else re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"{pattern!r} is no regular expression: {error}") from None
