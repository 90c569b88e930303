"""The processes of a node: which of them are largest or busiest, and what one of them is. Never what they hold."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from iris_admin.errors import NoSuchProcess, RemoteError
from iris_admin.operations.evaluate import run_remote
from iris_admin.operations.fields import local_name, mfa, number, syntax, text
from iris_admin.operations.names import node_name
from iris_admin.operations.results import Result, Table
from iris_admin.operations.steps import Call, Operation
from iris_admin.records import record
from iris_admin.terms import Atom, Pid, Term, charlist

By = Literal["memory", "reductions", "message_queue_len", "binary"]
#: What processes can be ranked by.
CRITERIA: tuple[str, ...] = get_args(By)

#: Processes that one ranking reports at most; each is 300 bytes on the wire.
MAX_COUNT = 1000
#: Interpreted code runs once for so many processes: with more, a ranking costs no less, and takes more memory.
CHUNK = 4000
#: A process's dictionary is read, for its initial call, only if its heap is not larger, in words.
MAX_DICTIONARY = 2_000_000
#: For the lists of links and monitors of one process, in words: some three million entries.
MAX_RELATIONS_HEAP = 16_000_000
#: A ranking of a million processes takes two seconds on an idle machine; a node in trouble has less to spare.
WITHIN = 60.0
_FRAMES = 20
_PID = re.compile(r"<?0\.(\d{1,10})\.(\d{1,10})>?")


@record
class ProcessRow(Result):
    """A process in a ranking. None stands for what was not known.

    :param pid: as its own node writes it, ``<0.123.0>``.
    :param registered_name: its name on the node.
    :param initial_call: the function that it was started with, ``module:function/arity``; for those that follow
        OTP's conventions the callback module's.
    :param current_function: what it was executing when it was asked.
    :param status: ``running``, ``runnable``, ``waiting``, ``suspended`` (it waits for a busy link or port), ``exiting``
        or ``garbage_collecting``.
    :param memory_bytes: of its own: heaps, stack, and the messages that wait for it.
    :param reductions: the work that it has done since it was started.
    :param message_queue_len: messages that wait for it.
    :param binary_bytes: of the binaries outside its heap that it refers to, as its garbage collector counts them. A
        binary that several processes refer to counts for each of them.
    :param change: the increase of what the ranking is by, within its interval; None without one.
    """

    pid: str
    registered_name: str | None
    initial_call: str | None
    current_function: str | None
    status: str | None
    memory_bytes: int | None
    reductions: int | None
    message_queue_len: int | None
    binary_bytes: int | None
    change: int | None


@record
class Processes(Result):
    """The first processes of a node in some order.

    :param node: the node.
    :param by: what they are ranked by: one of :data:`CRITERIA`.
    :param interval_seconds: the time in which that increased by so much; None for a ranking by what there is, which
        for ``reductions`` is all that a process has done since it was started.
    :param process_count: how many there are on the node.
    :param processes: the first ones, the largest first.
    """

    node: str
    by: str
    interval_seconds: float | None
    process_count: int
    processes: Table[ProcessRow]


@record
class Process(Result):
    """One process. None stands for what the node does not tell; see :class:`ProcessRow` for what is not told here.

    :param node: its node.
    :param parent: the process that started it; None for one that nobody started, and before OTP 25.
    :param priority: ``low``, ``normal``, ``high`` or ``max``.
    :param trap_exit: whether signals of linked processes that end are messages to it.
    :param heap_bytes: of its heaps, as much as is allocated; part of ``memory_bytes``.
    :param stack_bytes: of its stack.
    :param message_queue_data: ``off_heap`` or ``on_heap``: where the messages wait.
    :param max_heap_bytes: beyond which it is ended or reported; None where there is no limit.
    :param minor_gcs: garbage collections since the last complete one.
    :param links: how many processes and ports it is linked with.
    :param monitors: how many it monitors; ``monitored_by`` is the number of those that monitor it.
    :param stacktrace: what it is executing, the innermost function first; arguments are not read.
    """

    node: str
    pid: str
    registered_name: str | None
    initial_call: str | None
    current_function: str | None
    status: str | None
    parent: str | None
    priority: str | None
    trap_exit: bool | None
    memory_bytes: int | None
    heap_bytes: int | None
    stack_bytes: int | None
    binary_bytes: int | None
    reductions: int | None
    message_queue_len: int | None
    message_queue_data: str | None
    max_heap_bytes: int | None
    minor_gcs: int | None
    links: int | None
    monitors: int | None
    monitored_by: int | None
    stacktrace: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ranking:
    """What a node answers to a ranking.

    :param entries: value and pid, the largest value first; bytes, except for numbers of messages and reductions.
    """

    word_size: int
    process_count: int
    entries: tuple[tuple[int, Pid], ...]


_ROW_ITEMS = (
    "registered_name",
    "initial_call",
    "current_function",
    "status",
    "memory",
    "reductions",
    "message_queue_len",
)
_ITEMS = (
    *_ROW_ITEMS,
    "priority",
    "trap_exit",
    "total_heap_size",
    "stack_size",
    "message_queue_data",
    "garbage_collection",
    "current_stacktrace",
)


def processes(
    by: By = "memory",
    *,
    count: int = 10,
    interval: float | None = None,
    node: str | None = None,
    within: float = WITHIN,
) -> Operation[Processes]:
    """Rank the processes of a node. It is done there, in bounded memory, and only the first ones are sent.

    A process that has nothing of what the ranking is by is not in it: an empty one by ``message_queue_len`` says that
    no message waits.

    On a node with a million processes that takes one of its schedulers a second or two.

    :param by: ``memory``, ``reductions``, ``message_queue_len`` or ``binary``.
    :param count: how many to report, up to :data:`MAX_COUNT`.
    :param interval: in seconds: rank by the increase within that time, of the processes that exist all the while.
    :param node: which; None is the operation's own node.
    :param within: how long the ranking may take, without the interval, in seconds.
    :raises ValueError: ``by``, ``count`` or ``interval`` is out of range.
    """
    ranking = yield from rank(by, count=count, interval=interval, node=node, within=within)
    rows = yield from _describe([pid for _, pid in ranking.entries], _ROW_ITEMS, node)
    name = yield from node_name(node)
    return Processes(
        node=name,
        by=by,
        interval_seconds=interval,
        process_count=ranking.process_count,
        processes=Table(
            ProcessRow,
            (
                _row(pid, items, ranking.word_size, value if interval else None)
                for (value, pid), items in zip(ranking.entries, rows, strict=True)
                if items
            ),
        ),
    )


def rank(
    by: str, *, count: int, interval: float | None = None, node: str | None = None, within: float = WITHIN
) -> Operation[Ranking]:
    """The pids of the first processes in some order; the parameters are those of :func:`processes`."""
    if by not in CRITERIA:
        raise ValueError(f"processes are ranked by {', '.join(CRITERIA)}, not by {by!r}")
    if not 1 <= count <= MAX_COUNT:
        raise ValueError(f"count is 1 to {MAX_COUNT}, not {count}")
    milliseconds = 0 if interval is None else round(interval * 1000)
    if interval is not None and not 0 < milliseconds <= 3_600_000:
        raise ValueError(f"interval is a number of seconds up to 3600, not {interval!r}")
    bindings = {
        "Item": Atom("garbage_collection_info" if by == "binary" else by),
        "N": count,
        "Interval": milliseconds,
        "Size": CHUNK,
    }
    answer = yield from run_remote("rank_processes", bindings, node=node, timeout=within + milliseconds / 1000)
    word_size, total, entries = answer
    unit = word_size if by == "binary" else 1
    return Ranking(word_size, total, tuple((value * unit, pid) for value, pid in entries))


def process(which: str, *, node: str | None = None) -> Operation[Process]:
    """What a process is and does. What it holds is not read: neither messages nor state nor dictionary.

    :param which: a pid of the node, ``<0.123.0>``, or a registered name. A name that the node does not know is not
        made known to it.
    :param node: which; None is the operation's own node.
    :raises NoSuchProcess: there is none.
    """
    name = yield from node_name(node)
    pid = yield from find_process(which, node=node)
    word_size = yield Call("erlang", "system_info", (Atom("wordsize"),), node=node, idempotent=True)
    (items,) = yield from _describe([pid], _ITEMS, node)
    if not items:
        raise _gone(which, name)
    parent = yield from _parent(pid, node)
    links, monitors, monitored_by = yield from _count_relations(pid, node)
    row = _row(pid, items, word_size, None)
    collection = dict(items["garbage_collection"])
    return Process(
        node=name,
        pid=row.pid,
        registered_name=row.registered_name,
        initial_call=row.initial_call,
        current_function=row.current_function,
        status=row.status,
        parent=parent,
        priority=text(items["priority"]),
        trap_exit=items["trap_exit"],
        memory_bytes=row.memory_bytes,
        heap_bytes=items["total_heap_size"] * word_size,
        stack_bytes=items["stack_size"] * word_size,
        binary_bytes=row.binary_bytes,
        reductions=row.reductions,
        message_queue_len=row.message_queue_len,
        message_queue_data=text(items["message_queue_data"]),
        max_heap_bytes=_limit(collection.get(Atom("max_heap_size")), word_size),
        minor_gcs=number(collection.get(Atom("minor_gcs"))),
        links=links,
        monitors=monitors,
        monitored_by=monitored_by,
        stacktrace=tuple(_frame(frame) for frame in items["current_stacktrace"][:_FRAMES]),
    )


def find_process(which: str, *, node: str | None = None) -> Operation[Pid]:
    """The pid of a process that an operator has named; see :func:`process`.

    :raises NoSuchProcess: there is none, or it has ended.
    """
    match = _PID.fullmatch(which)
    try:
        if match:
            written = charlist(f"<0.{match[1]}.{match[2]}>")
            pid = yield Call("erlang", "list_to_pid", (written,), node=node, idempotent=True)
        else:
            atom = yield Call("erlang", "binary_to_existing_atom", (which.encode(),), node=node, idempotent=True)
            pid = yield Call("erlang", "whereis", (atom,), node=node, idempotent=True)
    except RemoteError as error:
        if error.reason not in ("badarg", "system_limit"):
            raise
        pid = None
    except UnicodeEncodeError:
        pid = None
    if isinstance(pid, Pid) and (yield Call("erlang", "is_process_alive", (pid,), node=node, idempotent=True)):
        return pid
    raise _gone(which, (yield from node_name(node)))


def describe(pids: Sequence[Pid], *, word_size: int, node: str | None = None) -> Operation[list[ProcessRow | None]]:
    """What some processes are and do; None for those that have ended."""
    described = yield from _describe(pids, _ROW_ITEMS, node)
    return [_row(pid, items, word_size, None) if items else None for pid, items in zip(pids, described, strict=True)]


def _describe(pids: Sequence[Pid], wanted: Sequence[str], node: str | None) -> Operation[list[dict[str, Term]]]:
    """The items of some processes; none of one that has ended."""
    if not pids:
        return []
    bindings = {"Pids": list(pids), "Items": [Atom(item) for item in wanted], "MaxDictionary": MAX_DICTIONARY}
    answers = yield from run_remote("describe_processes", bindings, node=node)
    described = []
    for _, pairs, binary_words, initial_call in answers:
        found = {str(item): value for item, value in pairs}
        if found:
            found["binary_words"] = binary_words
            found["translated_call"] = initial_call
        described.append(found)
    return described


def _row(pid: Pid, items: dict[str, Term], word_size: int, change: int | None) -> ProcessRow:
    words = number(items["binary_words"])
    return ProcessRow(
        pid=local_name(pid) or "",
        registered_name=text(items["registered_name"]) or None,
        initial_call=mfa(items["translated_call"]) or mfa(items["initial_call"]),
        current_function=mfa(items["current_function"]),
        status=text(items["status"]),
        memory_bytes=number(items["memory"]),
        reductions=number(items["reductions"]),
        message_queue_len=number(items["message_queue_len"]),
        binary_bytes=None if words is None else words * word_size,
        change=change,
    )


def _parent(pid: Pid, node: str | None) -> Operation[str | None]:
    try:
        answer = yield Call("erlang", "process_info", (pid, Atom("parent")), node=node, idempotent=True)
    except RemoteError:  # before OTP 25
        return None
    match answer:
        case (_, Pid() as parent):
            return local_name(parent) if parent.node == pid.node else syntax(parent)
    return None


def _count_relations(pid: Pid, node: str | None) -> Operation[tuple[int | None, int | None, int | None]]:
    try:
        counts = yield from run_remote(
            "count_process_relations", {"Pid": pid, "MaxHeap": MAX_RELATIONS_HEAP}, node=node
        )
    except RemoteError as error:
        if error.kind != "killed":
            raise
        return None, None, None
    return (counts[0], counts[1], counts[2]) if len(counts) == 3 else (None, None, None)


def _limit(term: Term, word_size: int) -> int | None:
    match term:
        case {"size": int() as words} if words > 0:
            return words * word_size
    return None


def _frame(frame: Term) -> str:
    module, function, arity, location = frame
    where = dict(location)
    written = mfa((module, function, arity)) or ""
    file = text(where.get(Atom("file"), Atom("undefined")))
    return written if file is None else f"{written} ({file}:{where.get(Atom('line'), '?')})"


def _gone(which: str, node: str) -> NoSuchProcess:
    return NoSuchProcess(
        f"there is no process {which} on {node}",
        node=node,
        hint="A pid is written <0.123.0>, as its own node writes it; anything else is taken for a registered name.",
    )
