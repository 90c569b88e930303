"""Collect garbage on a node: of one process, of the largest, or of all, one after the other."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from iris_admin.operations.changes import Change, audited
from iris_admin.operations.evaluate import run_remote
from iris_admin.operations.fields import local_name, number
from iris_admin.operations.names import node_name
from iris_admin.operations.processes import WITHIN, By, describe, find_process, rank
from iris_admin.operations.results import Result, Table
from iris_admin.operations.steps import Call, Operation, Progress
from iris_admin.records import record
from iris_admin.terms import Atom, Pid, Term

#: How long to wait for the processes of one request, in seconds.
PATIENCE = 5.0
#: Processes between two reports of progress.
BATCH = 20_000
#: Processes of a batch that are waited for together, while they collect one after the other.
FEW = 100
#: How long one batch may take, in seconds.
BATCH_SECONDS = 60.0
#: Pids that are looked at for each one that ends a batch; more make the batches more equal.
_SAMPLES = 20


@record
class Collected(Result):
    """A process whose garbage was collected. None stands for a process that has ended meanwhile.

    :param pid: as its own node writes it.
    :param registered_name: its name on the node, if it has one.
    :param initial_call: the function that it was started with.
    :param memory_before_bytes: of its own, before; ``memory_after_bytes`` afterwards.
    :param binary_before_bytes: of the binaries that it referred to, before; ``binary_after_bytes`` afterwards.
    :param answered: whether it was done in time; if not, the node does it when the process's native code returns.
    """

    pid: str
    registered_name: str | None
    initial_call: str | None
    memory_before_bytes: int | None
    memory_after_bytes: int | None
    binary_before_bytes: int | None
    binary_after_bytes: int | None
    answered: bool


@record
class Gc(Result):
    """What a collection of garbage gave back. The node's totals also change by what else it does meanwhile.

    :param node: the node.
    :param scope: ``process``, ``top`` or ``all``.
    :param asked: how many processes were told to collect; ``answered`` is how many of them did in time, those that had
        ended included.
    :param total_before_bytes: the node's memory, as ``erlang:memory(total)`` counts it; likewise the others.
    :param processes: each process; for ``all`` there is none.
    """

    node: str
    scope: str
    asked: int
    answered: int
    total_before_bytes: int
    total_after_bytes: int
    processes_before_bytes: int
    processes_after_bytes: int
    binary_before_bytes: int
    binary_after_bytes: int
    processes: Table[Collected]


def gc_process(which: str, *, node: str | None = None) -> Operation[Gc]:
    """Collect the garbage of one process.

    :param which: a pid of the node, ``<0.123.0>``, or a registered name.
    :param node: which; None is the operation's own node.
    :raises NoSuchProcess: there is none.
    :raises AuditError: it could not be recorded; nothing was done.
    """
    pid = yield from find_process(which, node=node)
    name = yield from node_name(node)
    plan = {"process": local_name(pid)}
    return (yield from audited(Change("gc", name, plan), _collect(name, "process", [pid], node)))


def gc_top(count: int = 10, *, by: By = "memory", node: str | None = None, within: float = WITHIN) -> Operation[Gc]:
    """Collect the garbage of the processes that have the most of something.

    :param count: how many.
    :param by: as for :func:`iris_admin.operations.processes.processes`.
    :param node: which; None is the operation's own node.
    :param within: how long the ranking may take, in seconds.
    :raises ValueError: ``by`` or ``count`` is out of range.
    :raises AuditError: it could not be recorded; nothing was done.
    """
    ranking = yield from rank(by, count=count, node=node, within=within)
    name = yield from node_name(node)
    pids = [pid for _, pid in ranking.entries]
    plan = {"top": count, "by": by}
    return (yield from audited(Change("gc", name, plan), _collect(name, "top", pids, node)))


def gc_all(*, node: str | None = None) -> Operation[Gc]:
    """Collect the garbage of every process, one after the other.

    On a node with a million processes it takes seconds to minutes, in which each process stops for its own
    collection, and what it holds is copied. It seldom helps for long: what helps is to know who holds the memory.

    :param node: which; None is the operation's own node.
    :raises AuditError: it could not be recorded; nothing was done.
    """
    name = yield from node_name(node)
    change = Change("gc", name, {"all": True})
    return (yield from audited(change, _collect_all(name, change, node)))


def _collect(name: str, scope: str, pids: list[Pid], node: str | None) -> Operation[Gc]:
    before = yield from _memory(node)
    word_size = yield Call("erlang", "system_info", (Atom("wordsize"),), node=node, idempotent=True)
    described = yield from describe(pids, word_size=word_size, node=node)
    answers = yield from run_remote(
        "collect_garbage",
        {"Pids": pids, "Within": round(PATIENCE * 1000)},
        node=node,
        timeout=PATIENCE + WITHIN,
    )
    after = yield from _memory(node)
    rows = []
    for (pid, was, is_now, answered), row in zip(answers, described, strict=True):
        memory_before, binary_before = _sizes(was, word_size)
        memory_after, binary_after = _sizes(is_now, word_size)
        rows.append(
            Collected(
                pid=local_name(pid) or "",
                registered_name=row.registered_name if row else None,
                initial_call=row.initial_call if row else None,
                memory_before_bytes=memory_before,
                memory_after_bytes=memory_after,
                binary_before_bytes=binary_before,
                binary_after_bytes=binary_after,
                # The answer for a process that has ended is "no", and so it is for one that has not answered.
                answered=answered or is_now == "undefined",
            )
        )
    return Gc(
        node=name,
        scope=scope,
        asked=len(rows),
        answered=sum(row.answered for row in rows),
        **_totals(before, after),
        processes=Table(Collected, rows),
    )


def _collect_all(name: str, change: Change, node: str | None) -> Operation[Gc]:
    before = yield from _memory(node)
    total, ends = yield from run_remote(
        "split_processes", {"Part": BATCH, "Samples": _SAMPLES}, node=node, timeout=WITHIN
    )
    asked = answered = 0
    # A number is less than any pid, a tuple is greater: the last batch takes those that were started meanwhile too.
    borders: list[Term] = [0, *ends, ()]
    for after, to in pairwise(borders):
        bindings = {
            "After": after,
            "To": to,
            "Few": FEW,
            "Patience": round(PATIENCE * 1000),
            "Total": round(BATCH_SECONDS * 1000),
        }
        _, batch_asked, batch_answered = yield from run_remote(
            "collect_garbage_between", bindings, node=node, timeout=BATCH_SECONDS + PATIENCE + WITHIN
        )
        asked += batch_asked
        answered += batch_answered
        change.outcome = f"{asked} processes"
        yield Progress(f"garbage collected of {asked} of {max(total, asked)} processes")
    after_all = yield from _memory(node)
    return Gc(
        node=name,
        scope="all",
        asked=asked,
        answered=answered,
        **_totals(before, after_all),
        processes=Table(Collected),
    )


def _memory(node: str | None) -> Operation[dict[str, int]]:
    kinds = yield Call("erlang", "memory", node=node, idempotent=True)
    return {str(kind): size for kind, size in kinds}


def _totals(before: dict[str, int], after: dict[str, int]) -> dict[str, Any]:
    return {
        f"{kind}_{when}_bytes": memory[kind]
        for kind in ("total", "processes", "binary")
        for when, memory in (("before", before), ("after", after))
    }


def _sizes(term: Term, word_size: int) -> tuple[int | None, int | None]:
    match term:
        case (int() as memory, int() as words):
            return number(memory), words * word_size
    return None, None
