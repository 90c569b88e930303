"""Who is connected, and what the cores believe: of all users, however many there are.

The entries are looked at where they are. What edges and cores have to be compared for goes through here in pieces, so
that neither they nor we need memory for more than a piece.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from iris_admin.errors import IrisAdminError, NotApplicable, RemoteError
from iris_admin.operations.evaluate import run_remote
from iris_admin.operations.fields import number
from iris_admin.operations.parallel import side_by_side
from iris_admin.operations.presence import (
    Belief,
    CannotTell,
    Connection,
    CoreAnswer,
    EdgesSay,
    Presence,
    connection_of,
    entry_of,
    judge,
    mark_several,
)
from iris_admin.operations.results import Result, Table
from iris_admin.operations.roles import Members, members
from iris_admin.operations.steps import Operation, Progress
from iris_admin.operations.users import user_bounds
from iris_admin.operations.walk import Walked, walk
from iris_admin.records import record
from iris_admin.syntax import format_term
from iris_admin.terms import Atom, Pid, Term

#: Entries that go through here at once.
CHUNK = 2000
#: What a list holds at most.
MAX_COUNT = 10_000
#: A walk stops after so many seconds unless asked otherwise.
WITHIN = 120.0
#: Users that are named for each node and kind of problem.
EXAMPLES = 10


#: How each kind of node is walked through, in ``remote/``. An edge need not know of Mnesia.
_TABLES = {"core": "presence_table_core+table_chunks", "edge": "presence_table_edge"}
#: Of the walks through the tables: name some users, and collect those who are connected in any way.
_EXAMPLES: dict[str, Term] = {"Examples": EXAMPLES}
_ANY_KIND: dict[str, Term] = _EXAMPLES | {"Kinds": [Atom("iris_edge_conn"), Atom("iris_ws_lite"), Atom("other")]}


@record
class EdgePresence(Result):
    """What an edge's entries lead to.

    :param node: the edge.
    :param entries: how many there are.
    :param looked_at: how many of them the figures below are of.
    :param tcp: how many lead to a TCP connection; likewise ``websocket``, and ``other`` for no known kind.
    :param stale: how many lead to a process that is gone: what is sent to these users through this edge is lost.
    :param cut: whether the walk was stopped before the end of the table.
    :param seconds: how long it took.
    """

    node: str
    entries: int
    looked_at: int
    tcp: int
    websocket: int
    other: int
    stale: int
    cut: bool
    seconds: float


@record
class CorePresence(Result):
    """What a core believes, and how it agrees with the edges.

    :param node: the core.
    :param backend: where it keeps presence: ``ets`` or ``mnesia``.
    :param entries: how many entries there are.
    :param looked_at: how many of them the figures below are of.
    :param agrees: how many an edge confirms.
    :param expired: how many have had no heartbeat in time, and count as none.
    :param stale: how many name a connection that is gone, of a user who has no other.
    :param contradicts: how many name another connection than the user has.
    :param cannot_tell: how many name a node that did not answer.
    :param missing: how many users are connected of whom this core does not know; what it routes for them goes to the
        offline store.
    :param unused_entries: how many are in the table of the other back end, where nobody looks; None for no such table.
    :param cut: whether the walk was stopped before the end of the table.
    :param seconds: how long it took.
    """

    node: str
    backend: str
    entries: int
    looked_at: int
    agrees: int
    expired: int
    stale: int
    contradicts: int
    cannot_tell: int
    missing: int
    unused_entries: int | None
    cut: bool
    seconds: float


@record
class PresenceProblem(Result):
    """An example of an entry that is wrong.

    :param node: the node that has the entry, or lacks it.
    :param user: the user.
    :param verdict: ``stale``, ``expired``, ``contradicts`` or ``missing``.
    :param explanation: the same in a sentence.
    """

    node: str
    user: bytes
    verdict: str
    explanation: str


@record
class PresenceSummary(Result):
    """Who is connected to a cluster, and whether its cores know.

    :param connections: how many there are on all edges that answered. A user may have several.
    :param edges: what each edge's entries lead to.
    :param cores: what each core believes.
    :param problems: entries that are wrong: some examples of each kind on each node.
    :param cannot_tell: the nodes that could not say anything.
    :param cut: whether a walk was stopped before the end of its table.
    """

    connections: int
    edges: Table[EdgePresence]
    cores: Table[CorePresence]
    problems: Table[PresenceProblem]
    cannot_tell: Table[CannotTell]
    cut: bool


@record
class PresenceList(Result):
    """Users of whom an edge or a core has an entry, in the order of their names.

    :param users: where each is.
    :param more: whether there are more behind them.
    :param after: to go on behind them; None where there are no more.
    :param cannot_tell: the nodes that could not say anything.
    :param cut: whether a walk was stopped before the end of its table, so that some may be missing in between.
    """

    users: Table[Presence]
    more: bool
    after: bytes | None
    cannot_tell: Table[CannotTell]
    cut: bool


@dataclass(slots=True)
class _Missing:
    """Connected users whom a core does not know."""

    count: int = 0
    examples: list[bytes] = field(default_factory=list)


def presence_summary(nodes: Sequence[str], *, within: float = WITHIN) -> Operation[PresenceSummary]:
    """How many users are connected, to which edges, and how the cores' entries agree with that.

    :param nodes: all nodes of the cluster.
    :param within: stop the walk through each table after so many seconds.
    :raises NotApplicable: none of the nodes that answer runs Iris.
    """
    found = yield from _iris_nodes(nodes)
    blind: dict[str, str] = {node: str(error) for node, error in found.unanswered.items()}
    missing = {core: _Missing() for core in found.cores}
    edges: list[EdgePresence] = []
    cores: list[CorePresence] = []
    problems: list[PresenceProblem] = []
    for edge in found.edges:
        try:
            edges.append((yield from _summarize_edge(edge, missing, problems, within)))
        except IrisAdminError as error:
            blind[edge] = _why(error)
    asked = [edge.node for edge in edges]
    for core in found.cores:
        try:
            summary = yield from _summarize_core(core, asked, set(blind), missing[core].count, problems, within)
        except IrisAdminError as error:
            blind[core] = _why(error)
            continue
        cores.append(summary)
        problems += (
            PresenceProblem(core, user, "missing", "The user is connected, and this core has no entry that counts.")
            for user in missing[core].examples
        )
    return PresenceSummary(
        connections=sum(edge.tcp + edge.websocket + edge.other for edge in edges),
        edges=Table(EdgePresence, edges),
        cores=Table(CorePresence, cores),
        problems=Table(PresenceProblem, problems),
        cannot_tell=Table(CannotTell, (CannotTell(node, why) for node, why in sorted(blind.items()))),
        cut=any(edge.cut for edge in edges) or any(core.cut for core in cores),
    )


def _summarize_edge(
    edge: str, missing: Mapping[str, _Missing], problems: list[PresenceProblem], within: float
) -> Operation[EdgePresence]:
    latest: Term = (0, 0, 0, 0, 0, [], [])
    # A core that cannot say whom it knows says so when its own table is walked through.
    willing = dict(missing)

    def take(answer: Term) -> Operation[bool]:
        nonlocal latest
        latest = answer
        size, tcp, websocket, other, stale, _examples, users = answer
        yield Progress(f"{edge}: {tcp + websocket + other + stale} of {size} entries")
        if users:
            bindings: dict[str, Term] = {"Users": users, "Examples": EXAMPLES}
            answers = yield from side_by_side(
                {core: run_remote("presence_known", bindings, node=core) for core in willing}
            )
            for core, unknown in answers.items():
                if isinstance(unknown, IrisAdminError):
                    del willing[core]
                else:
                    count, names = unknown
                    willing[core].count += count
                    willing[core].examples = (willing[core].examples + names)[:EXAMPLES]
        return True

    walked = yield from _walk("walk_presence_edge", "edge", edge, take, within, more=_ANY_KIND)
    size, tcp, websocket, other, stale, examples, _users = latest
    problems += (
        PresenceProblem(edge, user, "stale", f"The process {format_term(pid, node=edge)} is gone.")
        for user, pid in examples
    )
    return EdgePresence(
        node=edge,
        entries=size,
        looked_at=tcp + websocket + other + stale,
        tcp=tcp,
        websocket=websocket,
        other=other,
        stale=stale,
        cut=walked.cut,
        seconds=walked.seconds,
    )


def _summarize_core(
    core: str, edges: Sequence[str], unsure: set[str], missing: int, problems: list[PresenceProblem], within: float
) -> Operation[CorePresence]:
    latest: Term = (Atom("ets"), 0, None, 0, 0, [], [])
    counts = dict.fromkeys(("agrees", "stale", "contradicts", "cannot_tell"), 0)
    examples: dict[str, list[PresenceProblem]] = {"stale": [], "contradicts": []}

    def take(answer: Term) -> Operation[bool]:
        nonlocal latest
        latest = answer
        yield Progress(f"{core}: {answer[3]} of {answer[1]} entries")
        judged = yield from _hold_against_edges(answer[6], edges, unsure)
        for user, verdict, explanation in judged:
            counts[verdict] += 1
            if verdict in examples and len(examples[verdict]) < EXAMPLES:
                examples[verdict].append(PresenceProblem(core, user, verdict, explanation))
        return True

    walked = yield from _walk("walk_presence_core", "core", core, take, within)
    backend, size, unused, looked_at, expired, old, _entries = latest
    for found in examples.values():
        problems += found
    problems += (
        PresenceProblem(core, user, "expired", "The entry had no heartbeat in time and counts as none.")
        for user, _pid in old
    )
    return CorePresence(
        node=core,
        backend=str(backend),
        entries=size,
        looked_at=looked_at,
        agrees=counts["agrees"],
        expired=expired,
        stale=counts["stale"],
        contradicts=counts["contradicts"],
        cannot_tell=counts["cannot_tell"],
        missing=missing,
        unused_entries=number(unused),
        cut=walked.cut,
        seconds=walked.seconds,
    )


def _hold_against_edges(
    entries: Sequence[tuple[bytes, str, Pid]], edges: Sequence[str], unsure: set[str]
) -> Operation[list[tuple[bytes, str, str]]]:
    """For each of a core's entries the user, a verdict and an explanation."""
    by_edge: dict[str, list[tuple[bytes, Pid]]] = {edge: [] for edge in edges}
    judged: list[tuple[bytes, str, str]] = []
    gone: dict[bytes, str] = {}
    for user, node, pid in entries:
        if node in by_edge:
            by_edge[node].append((user, pid))
        elif node in unsure:
            judged.append((user, "cannot_tell", f"{node} could not be asked."))
        else:
            gone[user] = f"{node} is no edge of this cluster now"
    answers = yield from side_by_side(
        {
            edge: run_remote("presence_check", {"Entries": list(pairs)}, node=edge)
            for edge, pairs in by_edge.items()
            if pairs
        }
    )
    for edge, answer in answers.items():
        if isinstance(answer, IrisAdminError):
            judged += ((user, "cannot_tell", str(answer)) for user, _ in by_edge[edge])
            continue
        for (user, _pid), status in zip(by_edge[edge], answer, strict=True):
            if status == "same":
                judged.append((user, "agrees", "The edge has this connection."))
            elif status == "other":
                judged.append(
                    (user, "contradicts", f"The connection lives, but {edge} does not list it for this user.")
                )
            else:
                gone[user] = "That connection is gone"
    if gone:
        elsewhere = yield from _connections(list(gone), {edge: [] for edge in edges})
        for user, why in gone.items():
            live = [connection.node for connection in elsewhere.connections[user] if connection.alive]
            if live:
                judged.append((user, "contradicts", f"{why}; the user is connected to {', '.join(live)}."))
            else:
                judged.append((user, "stale", f"{why}, and no edge that answers has a connection."))
    return judged


def presence_list(
    nodes: Sequence[str],
    *,
    prefix: str | bytes = b"",
    limit: int = 100,
    after: str | bytes | None = None,
    within: float = WITHIN,
) -> Operation[PresenceList]:
    """Where users are, a page at a time, in the order of their names: whoever an edge or a core has an entry of.

    :param nodes: all nodes of the cluster.
    :param prefix: only users whose names begin so.
    :param limit: how many, up to :data:`MAX_COUNT`.
    :param after: only users behind this one; see the ``after`` of the page before.
    :param within: stop the walk through each table after so many seconds.
    :raises ValueError: ``limit`` is out of range.
    :raises NotApplicable: none of the nodes that answer runs Iris.
    """
    if not 1 <= limit <= MAX_COUNT:
        raise ValueError(f"limit is 1 to {MAX_COUNT}, not {limit}")
    guards = user_bounds(prefix, after)
    found = yield from _iris_nodes(nodes)
    names: set[bytes] = set()
    cut = False
    for node, where in [*((edge, "edge") for edge in found.edges), *((core, "core") for core in found.cores)]:
        page: list[bytes] = []

        def take(answer: Term, node: str = node, page: list[bytes] = page) -> Operation[bool]:
            page[:] = answer
            yield Progress(f"{node}: looking for the first {limit} users")
            return True

        more = {"Guards": guards, "Wanted": limit + 1}
        try:
            walked = yield from _walk("walk_users", where, node, take, within, more=more)
        except IrisAdminError:
            continue  # the node says why when it is asked for the users
        cut = cut or walked.cut
        names = set(sorted(names.union(page))[: limit + 1])
    users = sorted(names)[:limit]
    shown, blind = yield from presence_of(users, found)
    more_behind = len(names) > limit
    return PresenceList(
        users=Table(Presence, shown),
        more=more_behind,
        after=users[-1] if more_behind else None,
        cannot_tell=Table(CannotTell, blind),
        cut=cut,
    )


@dataclass(frozen=True, slots=True)
class _Elsewhere:
    connections: dict[bytes, list[Connection]]
    living: set[Pid]
    blind: dict[str, IrisAdminError]


def presence_of(users: Sequence[bytes], found: Members) -> Operation[tuple[list[Presence], list[CannotTell]]]:
    """Where each of some users is; and the nodes that could not say anything."""
    blind: dict[str, IrisAdminError] = dict(found.unanswered)
    answers = yield from side_by_side({core: _ask_core(users, core) for core in found.cores})
    believed: dict[str, list[CoreAnswer]] = {}
    also: dict[str, list[Pid]] = {edge: [] for edge in found.edges}
    for core, answer in answers.items():
        if isinstance(answer, IrisAdminError):
            blind[core] = answer
            continue
        believed[core] = answer
        for each in answer:
            if each.entry is not None and each.entry.pid is not None and str(each.entry.pid.node) in also:
                also[str(each.entry.pid.node)].append(each.entry.pid)
    say = yield from _connections(users, also)
    blind |= say.blind
    unsure = {*found.unanswered, *say.blind}
    cannot_tell = [CannotTell(node, _why(error)) for node, error in sorted(blind.items())]
    presences = []
    for index, user in enumerate(users):
        connections = say.connections[user]
        edges = EdgesSay(connections, [edge for edge in found.edges if edge not in say.blind], say.living, unsure)
        online = any(connection.alive for connection in connections)
        presences.append(
            Presence(
                user=user,
                online=None if unsure and not online else online,
                connections=Table(Connection, connections),
                beliefs=Table(Belief, (judge(core, answers[index], edges) for core, answers in believed.items())),
                cannot_tell=Table(CannotTell, cannot_tell),
            )
        )
    return presences, cannot_tell


def _connections(users: Sequence[bytes], edges: Mapping[str, list[Pid]]) -> Operation[_Elsewhere]:
    """What edges say of some users, and which of some processes live."""
    wanted = list(users)
    answers = yield from side_by_side(
        {
            edge: run_remote("presence_edge_many", {"Users": wanted, "Pids": list(pids)}, node=edge)
            for edge, pids in edges.items()
        }
    )
    connections: dict[bytes, list[Connection]] = {user: [] for user in users}
    living: set[Pid] = set()
    blind: dict[str, IrisAdminError] = {}
    for edge, answer in answers.items():
        if isinstance(answer, IrisAdminError):
            blind[edge] = answer
            continue
        of_users, described = answer
        if of_users == "undefined":
            blind[edge] = NotApplicable(
                f"{edge} has no table local_presence_v2", node=edge, hint="Is its edge starting or stopping?"
            )
            continue
        living |= {pid for pid, alive, _ in described if alive}
        for user, rows in zip(users, of_users, strict=True):
            connections[user] += (connection_of(edge, *row) for row in rows)
            living |= {pid for pid, alive, _ in rows if alive}
    return _Elsewhere({user: mark_several(found) for user, found in connections.items()}, living, blind)


def _ask_core(users: Sequence[bytes], core: str) -> Operation[list[CoreAnswer]]:
    backend, of_users, now, expiry = yield from run_remote("presence_core_many", {"Users": list(users)}, node=core)
    if of_users == "undefined":
        raise NotApplicable(f"{core} has no presence table in its back end, {backend}", node=core)
    answers = []
    for rows in of_users:
        entry = None
        for row in rows:
            entry = entry_of(row)
            if entry is None:
                raise NotApplicable(
                    f"{core} keeps presence in a form that is not known here: {format_term(row, width=None)}", node=core
                )
        answers.append(CoreAnswer(str(backend), entry, now, expiry if isinstance(expiry, int) else 30_000))
    return answers


def _iris_nodes(nodes: Sequence[str]) -> Operation[Members]:
    found = yield from members(nodes)
    if not found.cores and not found.edges:
        raise NotApplicable(
            "no node that answers runs Iris: " + ", ".join(nodes), hint="Name a core or an edge of Iris with -n."
        )
    return found


def _walk(
    name: str,
    where: str,
    node: str,
    take: Callable[[Term], Operation[bool]],
    within: float,
    *,
    more: Mapping[str, Term] | None = None,
) -> Operation[Walked]:
    bindings = {"Chunk": CHUNK, **(more or _EXAMPLES)}
    return (yield from walk(f"{_TABLES[where]}+{name}", bindings, node=node, take=take, within=within))


def _why(error: IrisAdminError) -> str:
    match error:
        case RemoteError(reason=("undefined", table)):
            return f"it has no table {table}"
    return str(error)
