"""How the memory of a node changes."""

from __future__ import annotations

from iris_admin.operations.memory import KINDS, Memory, memory
from iris_admin.operations.results import Result
from iris_admin.operations.steps import Now, Operation, Pause
from iris_admin.records import record


@record
class MemoryChange(Result):
    """How the memory of a node changes, in bytes per second; see :class:`Memory` for the kinds.

    :param node: the node.
    :param interval_seconds: between the two looks, by this machine's clock.
    :param now: the memory at the second look; the next change can begin with it.
    :param now_at: when that was, in seconds since the epoch, by this machine's clock.
    """

    node: str
    interval_seconds: float
    total: float
    processes: float
    processes_used: float
    system: float
    atom: float
    atom_used: float
    binary: float
    code: float
    ets: float
    now: Memory
    now_at: float


def memory_change(
    interval: float = 1.0, *, since: MemoryChange | None = None, node: str | None = None
) -> Operation[MemoryChange]:
    """How the memory of a node changes per second.

    :param interval: how long to wait, in seconds.
    :param since: an earlier change, to begin where that ended; None looks for itself.
    :param node: which; None is the operation's own node.
    """
    if since is None:
        before = yield from memory(node)
        began = yield Now()
    else:
        before, began = since.now, since.now_at
    yield Pause(interval)
    after = yield from memory(node)
    ended = yield Now()
    # Its clock may have been set meanwhile.
    seconds = max(ended - began, 0.001)
    rates = {kind: round((getattr(after, kind) - getattr(before, kind)) / seconds, 1) for kind in KINDS}
    return MemoryChange(node=after.node, interval_seconds=round(seconds, 3), **rates, now=after, now_at=ended)
