"""The memory of a node, by kind."""

from __future__ import annotations

from iris_admin.operations.names import node_name
from iris_admin.operations.results import Result
from iris_admin.operations.steps import Call, Operation
from iris_admin.records import record

#: The kinds of memory, as ``erlang:memory/0`` calls them.
KINDS = ("total", "processes", "processes_used", "system", "atom", "atom_used", "binary", "code", "ets")


@record
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


def memory(node: str | None = None) -> Operation[Memory]:
    """The memory of a node, by kind, in bytes.

    :param node: which; None is the operation's own node.
    """
    kinds = yield Call("erlang", "memory", node=node, idempotent=True)
    by_kind = {str(kind): size for kind, size in kinds}
    name = yield from node_name(node)
    return Memory(name, **{kind: by_kind[kind] for kind in KINDS})
