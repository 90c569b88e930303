"""Users who are connected and nevertheless have stored messages, and the redelivery for several users."""

from __future__ import annotations

from collections.abc import Sequence

from iris_admin.errors import IrisAdminError
from iris_admin.operations.evaluate import run_remote
from iris_admin.operations.offline import Store, find_stores
from iris_admin.operations.offline_summary import HUGE_BACKLOG, Backlog, describe_backlogs, store_bindings
from iris_admin.operations.presence import CannotTell
from iris_admin.operations.presence_overview import CHUNK, WITHIN
from iris_admin.operations.redeliver import Redelivery, redeliver
from iris_admin.operations.results import Result, Table
from iris_admin.operations.roles import members
from iris_admin.operations.steps import Operation, Progress
from iris_admin.operations.users import user_id
from iris_admin.operations.walk import MAX_HEAP, walk
from iris_admin.records import record
from iris_admin.terms import Atom, Term


@record
class StuckUser(Result):
    """A user who is connected over TCP, and has stored messages.

    :param user: the user.
    :param edge: where the user is connected; a user with several connections is there several times.
    :param core: the core that was asked for the rows.
    :param rows: how many are stored.
    :param huge: whether there are so many that a redelivery takes long.
    """

    user: bytes
    edge: str
    core: str
    rows: int
    huge: bool


@record
class Stuck(Result):
    """Users who are connected over TCP, and have stored messages.

    :param users: the users, by name.
    :param cannot_tell: the edges that could not say who is connected.
    :param cut: whether a walk was stopped before the end of its table.
    """

    users: Table[StuckUser]
    cannot_tell: Table[CannotTell]
    cut: bool


@record
class RedeliveryFailed(Result):
    """A user for whom a redelivery was refused, or failed.

    :param user: the user.
    :param error: the kind of error.
    :param explanation: what it says.
    """

    user: bytes
    error: str
    explanation: str


def stuck_users(nodes: Sequence[str], *, within: float = WITHIN) -> Operation[Stuck]:
    """Find the users who are connected over TCP, and have stored messages: what ``redeliver --stuck`` is for.

    :param nodes: all nodes of the cluster.
    :param within: stop the walk through each edge's table after so many seconds.
    :raises NotApplicable: no node holds offline messages.
    """
    found = yield from members(nodes)
    stores, _notes = yield from find_stores(found)
    blind = [CannotTell(node, str(error)) for node, error in sorted(found.unanswered.items())]
    stuck: list[StuckUser] = []
    cut = False
    for edge in found.edges:
        try:
            cut = (yield from _on_edge(edge, stores, stuck, within)) or cut
        except IrisAdminError as error:
            blind.append(CannotTell(edge, str(error)))
    stuck.sort(key=lambda user: (user.user, user.edge, user.core))
    return Stuck(Table(StuckUser, stuck), Table(CannotTell, blind), cut)


def _on_edge(edge: str, stores: Sequence[Store], stuck: list[StuckUser], within: float) -> Operation[bool]:
    """Add the users of an edge; whether its walk was cut."""

    def take(answer: Term) -> Operation[bool]:
        size, tcp, websocket, other, stale, _examples, users = answer
        yield Progress(f"{edge}: {tcp + websocket + other + stale} of {size} entries, {len(stuck)} users are stuck")
        for store in stores if users else ():
            bindings = store_bindings() | {"Users": users, "MaxHeap": MAX_HEAP}
            with_rows = yield from run_remote("offline_store+offline_with_rows", bindings, node=store.core)
            stuck.extend(StuckUser(user, edge, store.core, rows, rows >= HUGE_BACKLOG) for user, rows in with_rows)
        return True

    bindings: dict[str, Term] = {"Chunk": CHUNK, "Examples": 0, "Kinds": [Atom("iris_edge_conn")]}
    walked = yield from walk("presence_table_edge+walk_presence_edge", bindings, node=edge, take=take, within=within)
    return walked.cut


def backlogs(users: Sequence[str | bytes], nodes: Sequence[str]) -> Operation[Table[Backlog]]:
    """How much is stored for some users; nothing of those for whom nothing is.

    :param users: the users' ids.
    :param nodes: all nodes of the cluster.
    :raises NotApplicable: no node holds offline messages.
    """
    wanted = list(dict.fromkeys(map(user_id, users)))
    stores, _notes = yield from find_stores((yield from members(nodes)))
    found: list[Backlog] = []
    for store in stores:
        found += yield from describe_backlogs(wanted, store.core)
    return Table(Backlog, found)


def redeliver_all(
    users: Sequence[str | bytes], nodes: Sequence[str], *, dry_run: bool = False
) -> Operation[list[Redelivery | RedeliveryFailed]]:
    """Deliver the stored messages of several users, one user after the other; one's failure is no other's.

    :param users: the users' ids; each is served once.
    :param nodes: all nodes of the cluster.
    :param dry_run: look at everything, change nothing.
    """
    outcomes: list[Redelivery | RedeliveryFailed] = []
    wanted = list(dict.fromkeys(map(user_id, users)))
    for index, user in enumerate(wanted, 1):
        name = user.decode("utf-8", "backslashreplace")
        yield Progress(f"{index} of {len(wanted)} users: {name}")
        try:
            outcomes.append((yield from redeliver(user, nodes, dry_run=dry_run)))
        except IrisAdminError as error:
            outcomes.append(RedeliveryFailed(user, type(error).__name__, str(error)))
    return outcomes
