"""Walk through a table on the target, slice by slice.

A process there works for a quarter of a second at a time, whenever it is asked to, and then tells what it knows: so a
walk through ten million rows can be watched, taken in pieces and stopped, and neither the node nor we need memory for
more than a slice. It runs at low priority, in a bounded heap, and ends with the connection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from iris_admin.errors import IrisAdminError, RemoteError, UnsafeOperation
from iris_admin.operations.evaluate import run_remote
from iris_admin.operations.steps import Call, Now, Operation, Progress
from iris_admin.terms import Atom, Pid, Term

T = TypeVar("T")

#: How long the process works at once.
SLICE_MS = 250
#: How long it waits to be asked again before it ends.
IDLE_MS = 120_000
#: Of its heap, in words: half a gigabyte.
MAX_HEAP = 64 << 20
#: Between two lines for the person who waits, in seconds; the first comes after as long.
PROGRESS_EVERY = 2.0
#: For one slice, in seconds: on a busy node its low priority makes it wait.
_TIMEOUT = 120.0
_STOP_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Walked:
    """How a walk went.

    :param seconds: how long it took.
    :param cut: whether it was stopped before the end of the table.
    """

    seconds: float
    cut: bool


def walk(
    name: str,
    bindings: Mapping[str, Term],
    *,
    node: str,
    take: Callable[[Term], Operation[bool]],
    within: float | None = None,
) -> Operation[Walked]:
    """Walk through a table.

    :param name: of the first half in ``remote/``; see ``walker.erl`` there.
    :param bindings: of that half.
    :param take: is given the answer of each slice, and returns whether to go on. Most of the lines that it has for the
        person who waits are left out.
    :param within: stop after so many seconds, with what is known then.
    :raises UnsafeOperation: it needed too much memory there.
    :raises RemoteError: it failed.
    """
    started = yield Now()
    walker = yield from run_remote(
        f"{name}+walker",
        {**bindings, "MaxHeap": MAX_HEAP, "SliceMs": SLICE_MS, "IdleMs": IDLE_MS},
        node=node,
        idempotent=False,
    )
    now = told = started
    is_over = False
    try:
        while True:
            status, answer = yield from _next(walker, node)
            is_over = status == "done"
            is_quiet = is_over or now - told < PROGRESS_EVERY
            told = told if is_quiet else now
            wants_more = yield from without_progress(take(answer), is_quiet)
            now = yield Now()
            if is_over or not wants_more or (within is not None and now - started >= within):
                return Walked(now - started, cut=not is_over)
    except GeneratorExit:  # dropped by its driver; the process ends by itself
        is_over = True
        raise
    finally:
        if not is_over:
            yield from _stop(walker, node)


def without_progress(operation: Operation[T], is_quiet: bool) -> Operation[T]:
    """Run an operation without its lines for the person who waits, or with them."""
    try:
        step = next(operation)
        while True:
            try:
                result = None if is_quiet and isinstance(step, Progress) else (yield step)
            except GeneratorExit:
                operation.close()
                raise
            except BaseException as error:
                step = operation.throw(error)
            else:
                step = operation.send(result)
    except StopIteration as stop:
        value: T = stop.value
        return value


def _next(walker: Pid, node: str) -> Operation[tuple[str, Term]]:
    answer = yield from run_remote("walk_next", {"Walker": walker}, node=node, timeout=_TIMEOUT, idempotent=False)
    match answer:
        case (("more" | "done") as status, told):
            return status, told
        case ("error", (kind, reason)):
            raise RemoteError(
                f"a walk through a table on {node} failed: {reason!r}"[:500], node=node, kind=str(kind), reason=reason
            )
    if answer == (Atom("exited"), Atom("killed")):
        raise UnsafeOperation(
            f"a walk through a table on {node} took more than half a gigabyte of memory there, and was ended",
            node=node,
            hint="Nothing was changed.",
        )
    raise RemoteError(f"a walk through a table on {node} ended: {answer!r}", node=node, kind="exit", reason=answer)


def _stop(walker: Pid, node: str) -> Operation[None]:
    try:
        yield Call("erlang", "exit", (walker, Atom("kill")), node=node, timeout=_STOP_TIMEOUT)
    except IrisAdminError:  # it ends by itself, later
        pass
