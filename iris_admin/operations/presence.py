"""Where a user is: the connections that the edges hold, and what the cores believe.

Only the edges know for sure. A core learns of a login once; its entry expires 30 s after the last heartbeat, and
nothing sends one, so that an entry says little. Where the two disagree, messages go astray.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from iris_admin.errors import IrisAdminError, NotApplicable
from iris_admin.operations.evaluate import run_remote
from iris_admin.operations.offline import iso_time
from iris_admin.operations.parallel import side_by_side
from iris_admin.operations.results import Result, Table
from iris_admin.operations.roles import members
from iris_admin.operations.steps import Operation
from iris_admin.operations.users import user_id
from iris_admin.records import record
from iris_admin.syntax import format_term
from iris_admin.terms import Pid, Term

#: Modules of connection processes, and how their clients connect.
_KINDS = {"iris_edge_conn": "tcp", "iris_ws_lite": "websocket"}


@record
class Connection(Result):
    """A user's connection, as an edge's table has it.

    :param node: the edge.
    :param pid: the connection's process.
    :param alive: whether the process lives; messages to a dead one are lost or stored.
    :param kind: ``tcp``, ``websocket`` (such a client acknowledges nothing), or ``other``; None for a dead one.
    :param initial_call: the function that the process started with, e.g. ``iris_edge_conn:init/1``.
    :param problem: what is wrong with this entry, if anything is.
    """

    node: str
    pid: Pid
    alive: bool
    kind: str | None
    initial_call: str | None
    problem: str | None


@record
class Belief(Result):
    """What a core believes about a user's presence.

    :param core: the core.
    :param backend: where it keeps presence: ``ets`` or ``mnesia``.
    :param online: whether it takes the user for online. An expired entry counts as none.
    :param edge: the node that it takes the user to be on, and ``pid`` the connection.
    :param registered: when the entry was made, in ISO 8601, UTC; None where the entry does not say.
    :param age: since the entry's last heartbeat, in seconds, by the core's own clock; likewise.
    :param verdict: ``agrees`` with the edges; ``expired``; ``stale``, for a connection that is gone; ``missing``,
        there is a connection that the core does not know of; ``contradicts``, it names another one; ``cannot tell``.
    :param explanation: the same in a sentence.
    """

    core: str
    backend: str
    online: bool
    edge: str | None
    pid: Pid | None
    registered: str | None
    age: float | None
    verdict: str
    explanation: str


@record
class CannotTell(Result):
    """A node that could not say anything.

    :param node: the node.
    :param reason: why.
    """

    node: str
    reason: str


@record
class Presence(Result):
    """Where a user is.

    :param user: the user.
    :param online: whether an edge has a live connection; None where none has, but not every edge could be asked.
    :param connections: what the edges' tables have.
    :param beliefs: what the cores believe.
    :param cannot_tell: the nodes that did not answer. A user may be connected to one of them.
    """

    user: bytes
    online: bool | None
    connections: Table[Connection]
    beliefs: Table[Belief]
    cannot_tell: Table[CannotTell]


@dataclass(frozen=True, slots=True)
class Entry:
    """A core's entry for a user."""

    node: str
    pid: Pid | None
    registered: int | None = None
    heartbeat: int | None = None


@dataclass(frozen=True, slots=True)
class CoreAnswer:
    """What a core says of a user.

    :param backend: where it keeps presence.
    :param now: its clock, in milliseconds; likewise ``expiry``, the time after which an entry counts as none.
    """

    backend: str
    entry: Entry | None
    now: int
    expiry: int


@dataclass(frozen=True, slots=True)
class EdgesSay:
    """What the edges say of a user.

    :param asked: those that answered.
    :param living: processes that are alive, whether or not a table has them.
    :param unsure: nodes that did not answer; they may be edges.
    """

    connections: Sequence[Connection]
    asked: Sequence[str]
    living: set[Pid]
    unsure: set[str]


def presence_show(user: str | bytes, nodes: Sequence[str]) -> Operation[Presence]:
    """Where a user is connected, by every edge, and what every core believes.

    :param user: the user's id.
    :param nodes: all nodes of the cluster.
    :raises NotApplicable: none of the nodes that answer runs Iris.
    """
    wanted = user_id(user)
    found = yield from members(nodes)
    if not found.cores and not found.edges:
        raise NotApplicable(
            "no node that answers runs Iris: " + ", ".join(nodes), hint="Name a core or an edge of Iris with -n."
        )
    blind: dict[str, IrisAdminError] = dict(found.unanswered)
    answers = yield from side_by_side({core: _ask_core(wanted, core) for core in found.cores})
    believed: dict[str, CoreAnswer] = {}
    for core, answer in answers.items():
        if isinstance(answer, IrisAdminError):
            blind[core] = answer
        else:
            believed[core] = answer
    also: dict[str, list[Pid]] = {}
    for answer in believed.values():
        if answer.entry is not None and answer.entry.pid is not None:
            also.setdefault(str(answer.entry.pid.node), []).append(answer.entry.pid)
    connections, living, blind_edges = yield from _ask_edges(wanted, {edge: also.get(edge, []) for edge in found.edges})
    blind.update(blind_edges)
    edges = EdgesSay(
        connections=connections,
        asked=[edge for edge in found.edges if edge not in blind_edges],
        living=living,
        unsure={*found.unanswered, *blind_edges},
    )
    online = any(connection.alive for connection in connections)
    return Presence(
        user=wanted,
        online=None if edges.unsure and not online else online,
        connections=Table(Connection, connections),
        beliefs=Table(Belief, (judge(core, answer, edges) for core, answer in believed.items())),
        cannot_tell=Table(CannotTell, (CannotTell(node, str(error)) for node, error in sorted(blind.items()))),
    )


def find_connections(
    user: bytes, edges: Sequence[str]
) -> Operation[tuple[list[Connection], dict[str, IrisAdminError]]]:
    """A user's connections, as the edges' tables have them.

    :param edges: the edges to ask, all at once.
    :returns: the connections; and the edges that could not say, with the reason.
    """
    connections, _living, blind = yield from _ask_edges(user, {edge: [] for edge in edges})
    return connections, blind


def _ask_edges(
    user: bytes, edges: Mapping[str, list[Pid]]
) -> Operation[tuple[list[Connection], set[Pid], dict[str, IrisAdminError]]]:
    """Ask edges for a user's connections, and which of some other processes are alive."""
    answers = yield from side_by_side({edge: _ask_edge(user, edge, pids) for edge, pids in edges.items()})
    connections: list[Connection] = []
    living: set[Pid] = set()
    blind: dict[str, IrisAdminError] = {}
    for edge, answer in answers.items():
        if isinstance(answer, IrisAdminError):
            blind[edge] = answer
        else:
            connections += answer[0]
            living |= answer[1]
    return mark_several(connections), living, blind


def _ask_edge(user: bytes, edge: str, pids: list[Pid]) -> Operation[tuple[list[Connection], set[Pid]]]:
    rows, described = yield from run_remote("presence_edge", {"User": user, "Pids": pids}, node=edge)
    if rows == "undefined":
        raise NotApplicable(
            f"{edge} has no table local_presence_v2", node=edge, hint="Is its edge starting or stopping?"
        )
    living = {pid for pid, alive, _ in [*rows, *described] if alive}
    return [connection_of(edge, *row) for row in rows], living


def connection_of(edge: str, pid: Pid, alive: bool, initial_call: Term) -> Connection:
    """A connection, of what an edge says of a process in its table."""
    problem = None if alive else "stale: the process is gone"
    match initial_call:
        case (module, function, int() as arity) if alive:
            kind = _KINDS.get(str(module), "other")
            if kind == "other":
                problem = "this is no connection process that Iris is known to have"
            return Connection(edge, pid, alive, kind, f"{module}:{function}/{arity}", problem)
    return Connection(edge, pid, alive, None, None, problem)


def mark_several(connections: list[Connection]) -> list[Connection]:
    """The connections of a user, marked where there are several."""
    if sum(connection.alive for connection in connections) < 2:
        return connections
    return [
        connection if connection.problem or not connection.alive else _in_several_places(connection)
        for connection in connections
    ]


def _in_several_places(connection: Connection) -> Connection:
    return Connection(
        connection.node,
        connection.pid,
        connection.alive,
        connection.kind,
        connection.initial_call,
        "the user is connected more than once; each edge delivers to its own connection",
    )


def _ask_core(user: bytes, core: str) -> Operation[CoreAnswer]:
    backend, rows, now, expiry = yield from run_remote("presence_core", {"User": user}, node=core)
    if rows == "undefined":
        raise NotApplicable(f"{core} has no presence table in its back end, {backend}", node=core)
    entry = None
    for row in rows:
        entry = entry_of(row)
        if entry is None:
            raise NotApplicable(
                f"{core} keeps presence in a form that is not known here: {format_term(row, width=None)}", node=core
            )
    return CoreAnswer(str(backend), entry, now, expiry if isinstance(expiry, int) else 30_000)


def entry_of(row: Term) -> Entry | None:
    """A core's entry; its form differs between versions of Iris and between the back ends."""
    match row:
        case (
            bytes(),
            ("presence_entry", bytes(), str() as node, Pid() as pid, int() as registered, int() as heartbeat),
        ):
            return Entry(node, pid, registered, heartbeat)
        case (bytes(), str() as node, Pid() as pid, int() as registered, int() as heartbeat):
            return Entry(node, pid, registered, heartbeat)
        case ("presence", bytes(), str() as node, Pid() as pid):
            return Entry(node, pid)
    return None


def judge(core: str, answer: CoreAnswer, edges: EdgesSay) -> Belief:
    """Hold a core's belief against what the edges say."""
    entry = answer.entry
    age = None if entry is None or entry.heartbeat is None else (answer.now - entry.heartbeat) / 1000
    expired = age is not None and age * 1000 > answer.expiry
    verdict, explanation = _compare(entry, expired, edges)
    return Belief(
        core=core,
        backend=answer.backend,
        online=entry is not None and not expired,
        edge=None if entry is None else str(entry.node),
        pid=None if entry is None else entry.pid,
        registered=None if entry is None else iso_time(entry.registered),
        age=age,
        verdict=verdict,
        explanation=explanation,
    )


def _compare(entry: Entry | None, expired: bool, edges: EdgesSay) -> tuple[str, str]:
    live = [connection for connection in edges.connections if connection.alive]
    connected = f"the user is connected to {', '.join(connection.node for connection in live)}"
    if entry is None:
        if live:
            return "missing", f"No entry, but {connected}: what this core routes goes to the offline store."
        if edges.unsure:
            return "cannot tell", "No entry, but not every edge could be asked."
        return "agrees", "No entry, and no edge has a connection."
    if expired:
        now = connected if live else "no edge that answers has a connection"
        return "expired", f"The entry had no heartbeat in time and counts as none; {now}."
    if any(connection.pid == entry.pid for connection in live):
        return "agrees", "The edge has this connection."
    if entry.node in edges.unsure:
        return "cannot tell", f"{entry.node} could not be asked."
    if entry.pid in edges.living:
        other = "another one" if live else "none"
        return "contradicts", f"The connection lives, but the table of {entry.node} has {other}."
    gone = "That connection is gone" if entry.node in edges.asked else f"{entry.node} is no edge of this cluster now"
    if live:
        return "contradicts", f"{gone}; {connected}."
    return "stale", f"{gone}, and no edge that answers has a connection."
