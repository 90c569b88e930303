"""The vital figures of a node: what it holds, what it may hold, how busy it is, and what it is."""

from __future__ import annotations

from dataclasses import dataclass

from iris_admin.operations.evaluate import run_remote
from iris_admin.operations.results import Result
from iris_admin.operations.roles import role_of
from iris_admin.operations.steps import Operation
from iris_admin.proto.io_protocol import chardata_to_str
from iris_admin.terms import Atom, Term


@dataclass(frozen=True, slots=True, repr=False)
class Stats(Result):
    """The figures of a node. None stands for what the node's release does not tell.

    :param node: the node.
    :param role: ``core``, ``edge``, ``core+edge`` or ``other``; None when it did not say in time what runs on it.
    :param uptime: how long the node has been up, in seconds.
    :param otp_release: of Erlang/OTP, e.g. ``25``.
    :param erts_version: of the runtime system.
    :param processes: how many there are; beyond ``process_limit`` no process can be started.
    :param ports: open ports, sockets and files among them, and their limit.
    :param atoms: they are never collected; at ``atom_limit`` the node crashes.
    :param ets_tables: how many there are; ``ets_limit`` is no hard limit any more.
    :param run_queue: processes and ports that are ready to run and wait, those on the dirty CPU schedulers included.
    :param schedulers_online: schedulers in use, about the CPUs that the node may use.
    :param visible_nodes: connected nodes; ``hidden_nodes`` those that joined hidden, without this client.
    """

    node: str
    role: str | None
    uptime: float
    otp_release: str
    erts_version: str
    processes: int | None
    process_limit: int | None
    ports: int | None
    port_limit: int | None
    atoms: int | None
    atom_limit: int | None
    ets_tables: int | None
    ets_limit: int | None
    run_queue: int
    schedulers_online: int | None
    visible_nodes: int
    hidden_nodes: int


#: Fields of :class:`Stats`, and what ``erlang:system_info/1`` calls them.
_COUNTS = {
    "processes": "process_count",
    "process_limit": "process_limit",
    "ports": "port_count",
    "port_limit": "port_limit",
    "atoms": "atom_count",
    "atom_limit": "atom_limit",
    "ets_tables": "ets_count",
    "ets_limit": "ets_limit",
    "schedulers_online": "schedulers_online",
}
_ITEMS = [Atom("otp_release"), Atom("version"), *map(Atom, _COUNTS.values())]


def stats(node: str | None = None) -> Operation[Stats]:
    """The figures of a node, taken at one moment.

    Nothing is switched on for it on the node, and nobody else's measurements are disturbed.

    :param node: which; None is the operation's own node.
    """
    answer = yield from run_remote("stats", {"Items": _ITEMS}, node=node)
    name, (release, version, *counts), run_queue, uptime, visible, hidden, applications = answer
    return Stats(
        node=str(name),
        role=None if applications == "undefined" else role_of(str(name), applications).role,
        uptime=uptime / 1000,
        otp_release=_text(release),
        erts_version=_text(version),
        run_queue=run_queue,
        visible_nodes=visible,
        hidden_nodes=hidden,
        **{field: _number(value) for field, value in zip(_COUNTS, counts, strict=True)},
    )


def _text(charlist: Term) -> str:
    return chardata_to_str(charlist, "utf-8") or ""


def _number(value: Term) -> int | None:
    return value if isinstance(value, int) else None
