"""The login test, for real: users of our own log in on each edge, and send each other messages.

A log-in delivers and removes what is stored for a user, so nobody else's name is ever used. What the cluster writes
about our users (when they were seen last, what was stored for them) is removed at the end, exactly that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from iris_admin.errors import ChatError, IrisAdminError, NotApplicable
from iris_admin.operations.delivery import flush
from iris_admin.operations.evaluate import run_remote
from iris_admin.operations.local_steps import (
    ChatExchange,
    ChatLogIn,
    ChatLogOut,
    ChatSession,
    Exchanged,
    PrepareAudit,
    RecordChange,
)
from iris_admin.operations.parallel import side_by_side
from iris_admin.operations.ports import CLIENTS, ListeningPort, Sockets, connect_host, listening
from iris_admin.operations.results import Result, Table
from iris_admin.operations.roles import members
from iris_admin.operations.steps import Call, Now, Operation, Pause, Progress
from iris_admin.records import record, replace

#: The runbook's limit: above it at the 99th percentile, the service counts as degraded.
LIMIT_SECONDS = 0.5
DEFAULT_TIMEOUT = 5.0

_PRESENCE = b"local_presence_v2"
#: What an edge keeps by user: answers to status questions, counts of messages, what it could not store on a core.
_EDGE_TABLES = [b"presence_cache", b"iris_rate_limit_buckets", b"iris_edge_pending_offline"]
_CORE_TABLES = [b"user_status", b"user_meta", b"presence"]
_OFFLINE, _STATUS, _CORE_PRESENCE = b"offline_msg", b"user_status", b"presence_local"
#: No more buckets than that are looked into; ours are users with one.
_BUCKETS = 64
#: A core forgets after 30 s that a user is online, and a rate limit allows 500 messages at once.
_SESSION_SECONDS = 15.0
_SESSION_MESSAGES = 400
_BATCH = 50
#: How long to wait until the cores know of a log-in, and the edges and cores of its end, in seconds.
_REGISTERED_WITHIN = 2.0
_GONE_WITHIN = 5.0
_LOOK_AGAIN = 0.05
_STATE_MS = 1000
_TOKEN_SECONDS = 300


@record
class EdgeLogin(Result):
    """Logging in on an edge.

    :param edge: the edge.
    :param host: where a client connects to, and ``port`` the TCP port there.
    :param verdict: ``ok``, ``fail`` or ``cannot tell``.
    :param login_seconds: how long the slowest of our log-ins took there.
    :param problem: what is wrong.
    """

    edge: str
    host: str | None
    port: int | None
    verdict: str
    login_seconds: float | None
    problem: str | None


@record
class EdgePair(Result):
    """Messages from a client of one edge to a client of another, or of the same.

    :param sender: the edge of the one who sent, ``receiver`` that of the other.
    :param verdict: ``ok``; ``slow``, above the runbook's limit at the 99th percentile; ``fail``; ``cannot tell``.
    :param delivered: how many messages of ``count`` arrived, ``acknowledged`` how many were acknowledged.
    :param p50_seconds: half of them arrived within it; likewise ``p99_seconds``, 99 % of them.
    :param problem: what is wrong.
    """

    sender: str
    receiver: str
    verdict: str
    count: int
    delivered: int
    acknowledged: int
    p50_seconds: float | None
    p99_seconds: float | None
    max_seconds: float | None
    problem: str | None


@record
class Smoke(Result):
    """What came of a login test.

    :param verdict: the worst of all its parts.
    :param logins: for each edge.
    :param pairs: for each edge, and each one that it was to reach.
    :param limit_seconds: what counts as slow.
    :param notes: what else there is to know.
    :param left: what could not be cleaned up.
    """

    verdict: str
    logins: Table[EdgeLogin]
    pairs: Table[EdgePair]
    limit_seconds: float
    notes: tuple[str, ...]
    left: tuple[str, ...]


@dataclass(slots=True)
class _Edge:
    name: str
    host: str = ""
    port: int = 0
    tls: bool = False
    needs_token: bool = False
    problem: str | None = None
    verdict: str = "ok"
    slowest: float | None = None


@dataclass(slots=True)
class _User:
    """One of our users, on an edge."""

    edge: _Edge
    name: bytes
    session: ChatSession
    since: float
    messages: int = 0


@dataclass(slots=True)
class _Test:
    """What the parts of a test share."""

    tag: str
    timeout: float
    edges: list[_Edge]
    cores: list[str]
    notes: list[str] = field(default_factory=list)
    #: Names that an edge has been told, with their edges.
    names: dict[bytes, str] = field(default_factory=dict)
    open: list[_User] = field(default_factory=list)
    made: int = 0


def smoke(
    nodes: Sequence[str],
    *,
    tag: str,
    count: int = 1,
    addresses: Mapping[str, tuple[str, int]] | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    tokens: bool = False,
) -> Operation[Smoke]:
    """Log in on each edge, and send messages from each to each.

    :param nodes: those of the cluster.
    :param tag: makes our users' names unlike any other: letters and digits, another one each time.
    :param count: of messages for each pair of edges.
    :param addresses: host and port to connect to instead of those that an edge listens on, by the edge's name.
    :param timeout: of each log-in, message and acknowledgement, in seconds.
    :param tokens: have edges that want tokens make some for our users. Otherwise nobody is logged in there: the check
        of a token fails on an edge of today's Iris, and what fails there takes all its other clients along.
    :raises NotApplicable: no edge answers.
    """
    yield PrepareAudit()
    known = yield from members(nodes)
    if not known.edges:
        raise NotApplicable(
            "there is no edge to log in on among the nodes that answer",
            hint="An edge is a node on which the application iris_edge runs: see iris-admin nodes.",
        )
    test = _Test(tag, timeout, [_Edge(name) for name in known.edges], known.cores)
    unknown = [
        EdgeLogin(node, None, None, "cannot tell", None, f"it does not answer, and may be an edge: {error}")
        for node, error in known.unanswered.items()
    ]
    if not known.cores:
        test.notes.append("no core answers: messages from edge to edge cannot arrive")
    yield from _find_doors(test, addresses or {}, tokens)
    pairs: list[EdgePair] = []
    try:
        yield from _first_users(test)
        for sender in test.edges:
            for receiver in test.edges:
                yield Progress(f"{sender.name} to {receiver.name}: {count} to send")
                pairs.append((yield from _try_pair(test, sender, receiver, count)))
    except GeneratorExit:
        raise
    except BaseException as error:
        left = yield from _clean_up(test)
        yield _record(test, count, f"not finished: {type(error).__name__}: {error}", left)
        raise
    left = yield from _clean_up(test)
    logins = [*(_login(edge) for edge in test.edges), *unknown]
    verdict = _worst([*(login.verdict for login in logins), *(pair.verdict for pair in pairs)])
    if left and verdict == "ok":
        verdict = "cannot tell"
    yield _record(test, count, verdict, left)
    return Smoke(
        verdict, Table(EdgeLogin, logins), Table(EdgePair, pairs), LIMIT_SECONDS, tuple(test.notes), tuple(left)
    )


def _record(test: _Test, count: int, outcome: str, left: Sequence[str]) -> RecordChange:
    plan = {"edges": [edge.name for edge in test.edges], "count": count, "users": len(test.names), "tag": test.tag}
    return RecordChange("smoke", None, plan, f"{outcome}; " + (f"left: {', '.join(left)}" if left else "cleaned up"))


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest of the values that at least this share of them do not exceed; None where there are none."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def _worst(verdicts: Iterable[str]) -> str:
    order = ("ok", "cannot tell", "slow", "fail")
    return max(verdicts, key=order.index)


def _login(edge: _Edge) -> EdgeLogin:
    return EdgeLogin(edge.name, edge.host or None, edge.port or None, edge.verdict, edge.slowest, edge.problem)


def _find_doors(test: _Test, addresses: Mapping[str, tuple[str, int]], tokens: bool) -> Operation[None]:
    """Where each edge serves clients, and whether a log-in needs a token there."""
    found: dict[str, Sockets | IrisAdminError] = yield from side_by_side(
        {edge.name: listening(edge.name) for edge in test.edges}
    )
    asked = yield from side_by_side({edge.name: _ask_edge(edge.name, []) for edge in test.edges})
    for edge in test.edges:
        sockets, answer = found[edge.name], asked[edge.name]
        door = _door(sockets)
        if isinstance(door, str):
            edge.problem, edge.verdict = door, "fail"
        else:
            edge.host, edge.port, edge.tls = connect_host(door), door.port or 0, bool(door.tls)
        if edge.name in addresses:
            edge.host, edge.port = addresses[edge.name]
            edge.problem, edge.verdict = None, "ok"
        if isinstance(answer, IrisAdminError) or answer[0] == "unknown":
            edge.problem = f"it does not say whether a log-in needs a token: {answer}"
            edge.verdict = "cannot tell"
        elif answer[0] is True and not tokens:
            edge.verdict = "cannot tell"
            edge.problem = (
                "a log-in needs a token there. --tokens has the edge make some; but where it then fails to check "
                "them, as today's Iris does, it drops all its TCP clients: only do that if users log in there now"
            )
        else:
            edge.needs_token = answer[0] is True


def _door(sockets: Sockets | IrisAdminError) -> ListeningPort | str:
    if isinstance(sockets, IrisAdminError):
        return f"it does not say what it listens on: {sockets}"
    for row in sockets.ports:
        if row.purpose == CLIENTS:
            return row if row.listening else str(row.problem)
    return "it does not say what it listens on for clients"


def _ask_edge(edge: str, users: list[bytes], *, remove: bool = False) -> Operation[Any]:
    bindings = {
        "Users": users,
        "Presence": _PRESENCE,
        "Checker": b"iris_auth",
        "IsEnabled": b"is_auth_enabled",
        "Limiter": b"iris_rate_limiter",
        "Tables": _EDGE_TABLES,
        "Remove": remove,
        "Wait": _STATE_MS,
    }
    return (yield from run_remote("smoke_edge", bindings, node=edge))


def _ask_core(core: str, users: list[bytes], *, remove: bool = False) -> Operation[Any]:
    bindings = {
        "Users": users,
        "Buckets": _BUCKETS,
        "Remove": remove,
        "Presence": _CORE_PRESENCE,
        "Offline": _OFFLINE,
        "Tables": _CORE_TABLES,
    }
    return (yield from run_remote("smoke_core", bindings, node=core))


def _first_users(test: _Test) -> Operation[None]:
    """Two users on each edge, so that every edge can be tried as either end, and against itself."""
    for edge in test.edges:
        for _ in range(2):
            if edge.problem is None:
                yield from _log_in(test, edge)
    yield from _await_registration(test)


def _log_in(test: _Test, edge: _Edge) -> Operation[_User | None]:
    # A token is long, and the whole log-in must fit into 256 bytes.
    prefix = f"smoke-{test.tag[:6]}" if edge.needs_token else f"iris_admin-smoke-{test.tag}-"
    name = f"{prefix}{test.made}".encode()
    test.made += 1
    try:
        token = None
        if edge.needs_token:
            token = yield from _token(edge.name, name)
        session = yield ChatLogIn(edge.host, edge.port, name, token, edge.tls, test.timeout)
    except IrisAdminError as error:
        edge.problem, edge.verdict = str(error), "fail"
        if isinstance(error, ChatError) and error.reached:
            test.names[name] = edge.name
        return None
    test.names[name] = edge.name
    user = _User(edge, name, session, (yield Now()))
    edge.slowest = max(edge.slowest or 0.0, session.login_seconds)
    test.open.append(user)
    return user


def _token(edge: str, user: bytes) -> Operation[bytes]:
    # An edge that refuses a log-in may drop everybody else's connection as well, so none is tried without a token.
    answer = yield Call("iris_auth", "create_token", (user, {}, _TOKEN_SECONDS), node=edge)
    match answer:
        case ("ok", bytes() as token):
            return token
    raise IrisAdminError(f"it makes no token for a log-in: {answer!r}", node=edge)


def _await_registration(test: _Test) -> Operation[None]:
    """Wait until a core knows each of our users: until then, messages for them are stored instead."""
    waiting = {user.name for user in test.open}
    start = yield Now()
    while waiting and test.cores:
        found = yield from side_by_side({core: _ask_core(core, sorted(waiting)) for core in test.cores})
        for rows in found.values():
            if not isinstance(rows, IrisAdminError):
                waiting -= {user for table, user, _ in rows if table in (_CORE_PRESENCE, b"presence")}
        if waiting and (yield Now()) - start > _REGISTERED_WITHIN:
            edges = ", ".join(sorted({test.names[user] for user in waiting}))
            test.notes.append(
                f"no core has learnt within {_REGISTERED_WITHIN:g} s of log-ins on {edges}: "
                "messages for users there are stored, and delivered at their next log-in"
            )
            return
        if waiting:
            yield Pause(_LOOK_AGAIN)


def _try_pair(test: _Test, sender: _Edge, receiver: _Edge, count: int) -> Operation[EdgePair]:
    blank = EdgePair(sender.name, receiver.name, "fail", count, 0, 0, None, None, None, None)
    delivered: list[float] = []
    acknowledged = 0
    problem: str | None = None
    while len(delivered) < count and problem is None:
        ends = yield from _two_users(test, sender, receiver)
        if ends is None:
            closed = sender if sender.problem is not None else receiver
            return replace(blank, verdict=closed.verdict, problem=f"nobody is logged in on {closed.name}")
        source, target = ends
        batch = min(_BATCH, count - len(delivered))
        first = len(delivered)
        payloads = tuple(
            b"iris_admin smoke test %d: %b" % (number, target.name) for number in range(first, first + batch)
        )
        outcome: Exchanged = yield ChatExchange(source.session, target.session, payloads, test.timeout)
        source.messages += len(payloads)
        delivered += outcome.delivered
        acknowledged += outcome.acknowledged
        problem = outcome.problem
        if problem is None:
            problem = yield from _pending(target)
            if problem is not None:
                acknowledged -= 1
        else:
            if len(outcome.delivered) == outcome.acknowledged:
                problem = f"{problem}; {(yield from _where_is_it(test, target))}"
            # What they have sent and received is unclear now: the next pair begins with others.
            yield from _log_out(test, source)
            yield from _log_out(test, target)
    p99 = percentile(delivered, 0.99)
    verdict = "fail" if problem is not None else "slow" if p99 is not None and p99 > LIMIT_SECONDS else "ok"
    if verdict == "slow":
        problem = f"99 % took up to {(p99 or 0) * 1000:.0f} ms, above the runbook's {LIMIT_SECONDS * 1000:.0f} ms"
    return replace(
        blank,
        verdict=verdict,
        delivered=len(delivered),
        acknowledged=acknowledged,
        p50_seconds=percentile(delivered, 0.5),
        p99_seconds=p99,
        max_seconds=max(delivered, default=None),
        problem=problem,
    )


def _two_users(test: _Test, sender: _Edge, receiver: _Edge) -> Operation[tuple[_User, _User] | None]:
    """A user on each of two edges, who logged in lately and has not sent much; None where one cannot log in."""
    now = yield Now()
    for user in list(test.open):
        is_used_up = now - user.since > _SESSION_SECONDS or user.messages >= _SESSION_MESSAGES
        if is_used_up and user.edge in (sender, receiver):
            yield from _log_out(test, user)
    fresh = False
    chosen: list[_User] = []
    for edge in (sender, receiver):
        found = next((user for user in test.open if user.edge is edge and user not in chosen), None)
        if found is None and edge.problem is None:
            found = yield from _log_in(test, edge)
            fresh = True
        if found is None:
            return None
        chosen.append(found)
    if fresh:
        yield from _await_registration(test)
    return chosen[0], chosen[1]


def _log_out(test: _Test, user: _User) -> Operation[None]:
    if user in test.open:
        test.open.remove(user)
        yield ChatLogOut(user.session)


def _pending(user: _User) -> Operation[str | None]:
    """What is wrong with a user's acknowledgements, by what the edge holds without one."""
    try:
        answer = yield from _ask_edge(user.edge.name, [user.name])
    except IrisAdminError as error:
        return f"the edge does not say whether it took the acknowledgements: {error}"
    held = dict(answer[2]).get(user.name)
    if isinstance(held, int) and held:
        return f"the edge still waits for the acknowledgement of {held} of the messages"
    return None


def _where_is_it(test: _Test, user: _User) -> Operation[str]:
    """What became of a message that did not arrive."""
    try:
        yield from flush(test.cores)
    except IrisAdminError as error:
        return f"where it is cannot be told: {error}"
    found = yield from side_by_side({core: _ask_core(core, [user.name]) for core in test.cores})
    tables = {table for rows in found.values() if not isinstance(rows, IrisAdminError) for table, _, _ in rows}
    if _OFFLINE in tables:
        return "it was stored offline instead, as for a user whom no core believes to be online"
    if any(isinstance(rows, IrisAdminError) for rows in found.values()) or not test.cores:
        return "whether it was stored cannot be told"
    return "it was not stored either: it is lost, or still under way"


def _clean_up(test: _Test) -> Operation[list[str]]:
    """Log everybody out, and remove what is left of them; what could not be removed."""
    for user in list(test.open):
        yield from _log_out(test, user)
    users = sorted(test.names)
    if not users:
        return []
    edges = sorted(set(test.names.values()))
    left = yield from _await_gone(edges, users)
    try:
        yield from flush(test.cores)
    except IrisAdminError as error:
        left.append(f"rows of the write-ahead log, if any are our users': {error}")
    left += yield from _await_status(test, users)
    for ask, names in ((_ask_core, test.cores), (_ask_edge, edges)):
        removed = yield from side_by_side({name: ask(name, users, remove=True) for name in names})
        left += [f"what {name} keeps of them: {error}" for name, error in removed.items() if _failed(error)]
    checked = yield from side_by_side({core: _ask_core(core, users) for core in test.cores})
    for core, rows in checked.items():
        if not isinstance(rows, IrisAdminError):
            left += [f"{rows_of} of {table.decode()} on {core}, of {user.decode()}" for table, user, rows_of in rows]
    return left


def _failed(outcome: object) -> bool:
    return isinstance(outcome, IrisAdminError)


def _await_gone(edges: list[str], users: list[bytes]) -> Operation[list[str]]:
    """Wait until the edges have noticed that our users have hung up."""
    start = yield Now()
    while True:
        found = yield from side_by_side({edge: _ask_edge(edge, users) for edge in edges})
        online = [
            (edge, user)
            for edge, answer in found.items()
            if not isinstance(answer, IrisAdminError)
            for user, held in answer[2]
            if held != "noproc"
        ]
        if not online:
            return [f"what {edge} keeps of them: {error}" for edge, error in found.items() if _failed(error)]
        if (yield Now()) - start > _GONE_WITHIN:
            return [f"the connection of {user.decode()} on {edge}" for edge, user in online]
        yield Pause(_LOOK_AGAIN)


def _await_status(test: _Test, users: list[bytes]) -> Operation[list[str]]:
    """Wait until the cores have written when our users were seen last, for what comes later is not removed."""
    start = yield Now()
    waiting = set(users)
    while True:
        found = yield from side_by_side({core: _ask_core(core, sorted(waiting)) for core in test.cores})
        rows = [row for answer in found.values() if not isinstance(answer, IrisAdminError) for row in answer]
        waiting -= {user for table, user, _ in rows if table == _STATUS}
        if not waiting or not test.cores:
            return []
        if (yield Now()) - start > _GONE_WITHIN:
            # Nobody has written it by now; a log-in that failed leaves nothing.
            test.notes.append(
                f"no core has noted within {_GONE_WITHIN:g} s that {len(waiting)} of our users have logged out"
            )
            return []
        yield Pause(_LOOK_AGAIN)
