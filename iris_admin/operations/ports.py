"""What each node listens on, who is connected there, and whether a connection from here works.

The node itself says what it listens on, so that a port that another program has taken is not mistaken for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address
from typing import Any

from iris_admin.errors import IrisAdminError
from iris_admin.node_name import NodeName
from iris_admin.operations.evaluate import run_remote
from iris_admin.operations.local_steps import Door, Knock, Knocked
from iris_admin.operations.parallel import side_by_side
from iris_admin.operations.results import Result, Table
from iris_admin.operations.roles import role_of
from iris_admin.operations.steps import Operation
from iris_admin.records import record, replace
from iris_admin.terms import Pid, Term

CLIENTS, WEBSOCKET, DISTRIBUTION, EPMD, OTHER = "clients", "WebSocket", "distribution", "EPMD", "other"

#: What the edge's supervisor calls its listeners.
_LISTENERS = {"iris_tcp_listener": CLIENTS, "iris_ws_listener": WEBSOCKET}
_ORDER = {purpose: place for place, purpose in enumerate((CLIENTS, WEBSOCKET, DISTRIBUTION, OTHER))}
_SETTINGS = [b"port", b"ws_port", b"tls_enabled", b"listen_address"]
#: How long a node may count its sockets, in milliseconds: a million of them take longer.
COUNT_WITHIN_MS = 4000
MAX_LISTENING = 200
#: In words: a list of a million ports needs two million of them, and is copied when it grows.
_MAX_HEAP = 32_000_000
KNOCK_TIMEOUT = 3.0


@record
class ListeningPort(Result):
    """A TCP port that a node listens on, or should listen on.

    :param node: the node; None for a host's EPMD, which serves all nodes there.
    :param host: its host.
    :param purpose: ``clients``, ``WebSocket``, ``distribution`` (other nodes), ``EPMD`` or ``other``; None where the
        node could not be asked.
    :param address: of the network interface; ``0.0.0.0`` and ``::`` stand for all.
    :param port: its number.
    :param listening: whether the node listens there; None where it could not be asked.
    :param connections: how many connections came in by it and are open, ours among them.
    :param reachable: whether a TCP connection from the operator's machine works; None where it was not tried, which
        would be no help for a port of unknown purpose.
    :param connect_seconds: how long that took; None also for the distribution port, which we are connected by already.
    :param tls: whether clients must speak TLS there; None where that is not known.
    :param owner: what listens: the registered name of the process, or its application.
    :param problem: what is wrong.
    """

    node: str | None
    host: str
    purpose: str | None
    address: str | None
    port: int | None
    listening: bool | None
    connections: int | None
    reachable: bool | None
    connect_seconds: float | None
    tls: bool | None
    owner: str | None
    problem: str | None


@record
class Sockets(Result):
    """The sockets of a node, in numbers.

    :param node: the node.
    :param role: ``core``, ``edge``, ``core+edge`` or ``other``; None where it did not say in time.
    :param users: users in the edge's presence table; None where there is none.
    :param ports: what it listens on.
    :param sockets: ports and sockets in all, files among them.
    :param counted: how many of them were looked at in time; with fewer than all, ``connections`` are at least so many.
    """

    node: str
    role: str | None
    users: int | None
    ports: Table[ListeningPort]
    sockets: int
    counted: int


def ports(
    nodes: Sequence[str], *, epmd_port: int | None = None, knock_timeout: float = KNOCK_TIMEOUT
) -> Operation[Table[ListeningPort]]:
    """What some nodes listen on.

    :param nodes: full names.
    :param epmd_port: of the hosts' EPMD, which is tried, too; None leaves it out.
    :param knock_timeout: of each connection that is tried, in seconds.
    """
    asked = yield from side_by_side({node: listening(node) for node in nodes})
    rows: list[ListeningPort] = []
    for node, outcome in asked.items():
        if isinstance(outcome, IrisAdminError):
            rows.append(_unknown(node, outcome))
        else:
            rows.extend(outcome.ports)
    if epmd_port is not None:
        for host in dict.fromkeys(NodeName.parse(node).host for node in nodes):
            rows.append(replace(_BLANK, host=host, purpose=EPMD, port=epmd_port, owner="epmd"))
    return Table(ListeningPort, (yield from _try_all(rows, knock_timeout)))


def listening(node: str | None = None) -> Operation[Sockets]:
    """What one node listens on, and how many connections came in; nothing is tried from here.

    An edge that does not listen for clients has a row for that all the same.

    :param node: which; None is the operation's own node.
    """
    answer = yield from run_remote(
        "ports",
        {
            "Supervisor": b"iris_edge_sup",
            "Application": b"iris_edge",
            "Presence": b"local_presence_v2",
            "Settings": _SETTINGS,
            "Within": COUNT_WITHIN_MS,
            "MaxListening": MAX_LISTENING,
            "MaxHeap": _MAX_HEAP,
        },
        node=node,
    )
    name, _os_pid, applications, users, settings, children, distribution, found, sockets, counted = answer
    full_name = str(name)
    env = {str(key): value for key, value in settings}
    role = None if applications == "undefined" else role_of(full_name, applications)
    purposes: dict[Term, str] = {distribution: DISTRIBUTION}
    purposes |= {pid: _LISTENERS[str(child)] for child, pid in children if str(child) in _LISTENERS}
    rows = [_row(full_name, entry, purposes, env) for entry in found]
    if role is not None and role.is_edge:
        rows = _name_by_environment(rows, env)
        rows += [_missing(full_name, purpose, env) for purpose in (CLIENTS, WEBSOCKET) if not _has(rows, purpose)]
    rows.sort(key=lambda row: (_ORDER[str(row.purpose)], row.port or 0))
    return Sockets(
        node=full_name,
        role=None if role is None else role.role,
        users=users if isinstance(users, int) else None,
        ports=Table(ListeningPort, rows),
        sockets=sockets,
        counted=counted,
    )


def connect_host(row: ListeningPort) -> str:
    """Where a client connects to: the address that is listened on, if it is one of its own, else the node's host."""
    if row.address is None:
        return row.host
    address = ip_address(row.address)
    return row.host if address.is_unspecified or address.is_loopback else row.address


_BLANK = ListeningPort(None, "", None, None, None, None, None, None, None, None, None, None)


def _row(node: str, entry: Any, purposes: dict[Term, str], env: dict[str, Term]) -> ListeningPort:
    address, port, pid, registered, application, connections = entry
    purpose = purposes.get(pid, OTHER) if isinstance(pid, Pid) else OTHER
    named = [str(name) for name in (registered, application) if name != "undefined"]
    return ListeningPort(
        node=node,
        host=NodeName.parse(node).host,
        purpose=purpose,
        address=_address(address),
        port=port,
        listening=True,
        connections=connections,
        reachable=None,
        connect_seconds=None,
        tls=_tls(env) if purpose in (CLIENTS, WEBSOCKET) else None,
        owner=named[0] if named else None,
        problem=None,
    )


def _tls(env: dict[str, Term]) -> bool:
    return env.get("tls_enabled") is True


def _address(address: Term) -> str | None:
    match address:
        case (int(), int(), int(), int()):
            return ".".join(map(str, address))
        case tuple() if len(address) == 8:
            return str(IPv6Address(b"".join(word.to_bytes(2, "big") for word in address)))
    return None


def _has(rows: Sequence[ListeningPort], purpose: str) -> bool:
    return any(row.purpose == purpose for row in rows)


def _expected(purpose: str, env: dict[str, Term]) -> int | None:
    """The port number that the edge's environment names for a purpose; 0 stands for any."""
    port = env.get("port")
    if purpose == WEBSOCKET:
        # Where it has no setting of its own, it is the next one.
        port = env.get("ws_port", port + 1 if isinstance(port, int) and port else None)
    return port if isinstance(port, int) and port else None


def _name_by_environment(rows: list[ListeningPort], env: dict[str, Term]) -> list[ListeningPort]:
    """Name the edge's ports where its supervisor did not answer, or calls its listeners something else."""
    for purpose in (CLIENTS, WEBSOCKET):
        if not _has(rows, purpose):
            number = _expected(purpose, env)
            rows = [
                replace(row, purpose=purpose, tls=_tls(env)) if row.purpose == OTHER and row.port == number else row
                for row in rows
            ]
    return rows


def _missing(node: str, purpose: str, env: dict[str, Term]) -> ListeningPort:
    number = _expected(purpose, env)
    where = "nothing listens" if number is None else f"nothing listens on port {number}"
    return replace(
        _BLANK,
        node=node,
        host=NodeName.parse(node).host,
        purpose=purpose,
        port=number,
        listening=False,
        problem=f"{where} for {purpose.lower() if purpose == CLIENTS else purpose}: the edge's listener is down",
    )


def _unknown(node: str, error: IrisAdminError) -> ListeningPort:
    return replace(_BLANK, node=node, host=NodeName.parse(node).host, problem=str(error))


def _try_all(rows: Sequence[ListeningPort], timeout: float) -> Operation[list[ListeningPort]]:
    """Connect to what there is to connect to."""
    doors = {index: door for index, row in enumerate(rows) if (door := _door(row)) is not None}
    outcomes: list[Knocked] = (yield Knock(tuple(doors.values()), timeout)) if doors else []
    tried = dict(zip(doors, outcomes, strict=True))
    return [_tried(row, tried.get(index)) for index, row in enumerate(rows)]


def _door(row: ListeningPort) -> Door | None:
    if row.port is None:
        return None
    if row.purpose == EPMD:
        return Door(row.host, row.port, "epmd")
    if row.purpose in (CLIENTS, WEBSOCKET) and row.listening:
        # What is said before TLS has begun would only be logged as an attack.
        greeted = row.purpose == WEBSOCKET and not row.tls
        return Door(connect_host(row), row.port, "websocket" if greeted else "tcp")
    return None


def _tried(row: ListeningPort, outcome: Knocked | None) -> ListeningPort:
    if outcome is None:
        # We talk to the node by this very port.
        return replace(row, reachable=True) if row.purpose == DISTRIBUTION else row
    reachable = outcome.seconds is not None
    problem = outcome.problem
    if not reachable and row.address is not None and ip_address(row.address).is_loopback:
        problem = f"{problem}; it listens on {row.address} only, for programs on its own machine"
    return replace(
        row,
        listening=reachable or None if row.purpose == EPMD else row.listening,
        reachable=reachable,
        connect_seconds=outcome.seconds,
        problem=problem,
    )
