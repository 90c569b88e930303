"""The memory of a node, by kind."""

from __future__ import annotations

from dataclasses import dataclass

from iris_admin.operations.results import Result
from iris_admin.operations.roles import node_name
from iris_admin.operations.steps import Call, Now, Operation, Pause

#: The kinds of memory, as ``erlang:memory/0`` calls them.
KINDS = ("total", "processes", "processes_used", "system", "atom", "atom_used", "binary", "code", "ets")


@dataclass(frozen=True, slots=True, repr=False)
class Memory(Result):
    """What ``erlang:memory/0`` says, in bytes. Its kinds overlap: ``total`` is ``processes`` + ``system``.

    :param node: the node.
    :param total: allocated by the node for processes and for everything else; not what the operating system counts.
    :param processes: for processes; ``processes_used`` of it are in use.
    :param system: for what belongs to no process, of which atom, binary, code and ets are parts.
    :param atom: for atoms; ``atom_used`` of it are in use.
    :param binary: for binaries that are shared between processes.
    :param code: for loaded code.
    :param ets: for ETS tables, those of Mnesia included.
    """

    node: str
    total: int
    processes: int
    processes_used: int
    system: int
    atom: int
    atom_used: int
    binary: int
    code: int
    ets: int


@dataclass(frozen=True, slots=True, repr=False)
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


def memory(node: str | None = None) -> Operation[Memory]:
    """The memory of a node, by kind, in bytes.

    :param node: which; None is the operation's own node.
    """
    kinds = yield Call("erlang", "memory", node=node, idempotent=True)
    by_kind = {str(kind): size for kind, size in kinds}
    name = yield from node_name(node)
    return Memory(name, **{kind: by_kind[kind] for kind in KINDS})


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
