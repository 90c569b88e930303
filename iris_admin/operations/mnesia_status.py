"""What Mnesia is doing on each core: whether the cores agree, how many transactions, whether it is overloaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from iris_admin.errors import CallTimeout, IrisAdminError, RemoteError
from iris_admin.operations.evaluate import run_remote
from iris_admin.operations.fields import names, number, text
from iris_admin.operations.mnesia_tables import require_mnesia_anywhere
from iris_admin.operations.parallel import side_by_side
from iris_admin.operations.results import Result, Table, plain
from iris_admin.operations.roles import Role, members
from iris_admin.operations.steps import Call, Operation, Pause
from iris_admin.records import record
from iris_admin.terms import Atom, Term

#: How long Mnesia's processes have for an answer, in seconds.
PATIENCE = 2.0

_ITEMS = (
    "is_running",
    "version",
    "directory",
    "use_dir",
    "db_nodes",
    "running_db_nodes",
    "transaction_commits",
    "transaction_failures",
    "transaction_restarts",
    "transaction_log_writes",
    "dump_log_write_threshold",
    "dump_log_time_threshold",
    "master_node_tables",
)
#: Fields that count since Mnesia was started, and what ``mnesia:system_info/1`` calls them.
_COUNTERS = {
    "commits": "transaction_commits",
    "failures": "transaction_failures",
    "restarts": "transaction_restarts",
    "log_writes": "transaction_log_writes",
}


@record
class MnesiaNode(Result):
    """Mnesia on a node. None stands for what cannot be told.

    :param node: the node.
    :param role: ``core``, ``edge``, ``core+edge`` or ``other``.
    :param running: ``yes``, ``no``, ``starting`` or ``stopping``.
    :param version: of Mnesia.
    :param directory: where it keeps its files; None if it keeps none.
    :param running_nodes: the nodes on which Mnesia runs, as far as this one knows; ``stopped_nodes`` the others of its
        schema.
    :param down_nodes: those that it has seen going down, and not yet coming back.
    :param commits: transactions that were committed here since Mnesia was started; ``commits_per_second`` within the
        interval. Likewise those that failed, had to begin again because of a lock, and were written to the log.
    :param transactions: that are under way and were begun here.
    :param participating: that are under way, were begun elsewhere, and change a copy here.
    :param held_locks: how many there are; ``queued_locks`` are waited for.
    :param undecided: transactions whose end is to be remembered until every node has heard of it.
    :param loading: tables that are being loaded or sent.
    :param dumping: whether the log is being carried over into the tables' files.
    :param log_bytes: how long the log is, that is still to be carried over.
    :param dump_write_threshold: writes after which the log is dumped, or after ``dump_time_threshold_seconds``.
    :param overloaded: what Mnesia itself holds for overloaded: ``mnesia_dump_log`` when dumps take longer than it
        takes to fill the log, ``mnesia_tm`` when its transaction manager has too long a mailbox.
    :param master_node_tables: tables that are always loaded from chosen nodes; none is usual.
    :param partition_guard: what Iris's partition guard says; None where it does not run, or means nothing.
    :param partition_note: how to read that.
    """

    node: str
    role: str
    running: str
    version: str | None
    directory: str | None
    running_nodes: tuple[str, ...]
    stopped_nodes: tuple[str, ...]
    down_nodes: tuple[str, ...]
    commits: int | None
    commits_per_second: float | None
    failures: int | None
    failures_per_second: float | None
    restarts: int | None
    restarts_per_second: float | None
    log_writes: int | None
    log_writes_per_second: float | None
    transactions: int | None
    participating: int | None
    held_locks: int | None
    queued_locks: int | None
    undecided: int | None
    loading: int | None
    dumping: bool | None
    log_bytes: int | None
    dump_write_threshold: int | None
    dump_time_threshold_seconds: float | None
    overloaded: tuple[str, ...] | None
    master_node_tables: tuple[str, ...]
    partition_guard: dict[str, Any] | None
    partition_note: str | None


@record
class MnesiaStatus(Result):
    """Mnesia on all nodes that it runs on.

    :param interval_seconds: in which the changes per second were counted; 0 without.
    :param nodes: one for each node that Mnesia runs on.
    :param unanswered: nodes that did not answer, or on which Mnesia could not, with the reason.
    :param problems: what is wrong, in words; none is good.
    """

    interval_seconds: float
    nodes: Table[MnesiaNode]
    unanswered: dict[str, str]
    problems: tuple[str, ...]


def mnesia_status(nodes: Sequence[str], *, interval: float = 1.0) -> Operation[MnesiaStatus]:
    """The state of Mnesia on some nodes, side by side, and where they disagree.

    :param nodes: all nodes of the cluster; those without Mnesia are left out.
    :param interval: how long to count transactions, in seconds; 0 leaves the changes per second out.
    :raises NotApplicable: Mnesia runs on none of them.
    """
    known = yield from members(nodes)
    running = require_mnesia_anywhere(known)
    unanswered = {name: str(error) for name, error in known.unanswered.items()}
    looks = yield from _look_at_all({name: known.roles[name] for name in running}, unanswered)
    earlier: dict[str, _Look] = {}
    if interval > 0:
        yield Pause(interval)
        earlier = looks
        looks = yield from _look_at_all({name: known.roles[name] for name in earlier}, unanswered)
    rows = [_row(known.roles[name], look, earlier.get(name), interval) for name, look in looks.items()]
    # A core whose Mnesia has stopped is what one looks for here.
    stopped = [f"Mnesia does not run on {name}, which is a core" for name in known.cores if name not in running]
    return MnesiaStatus(
        interval_seconds=max(interval, 0.0),
        nodes=Table(MnesiaNode, rows),
        unanswered=unanswered,
        problems=(*stopped, *_problems(rows)),
    )


@dataclass(frozen=True, slots=True)
class _Look:
    """What a node said: the items by name, and the rest as ``mnesia_state.erl`` gives it."""

    items: dict[str, Term]
    overloads: Term = None
    transactions: Term = None
    loading: Term = None
    dumping: Term = None
    log_bytes: Term = None
    held_locks: Term = None
    queued_locks: Term = None
    decisions: Term = None
    downs: Term = None
    guard: Term = None
    guard_note: str | None = None


def _look_at_all(roles: dict[str, Role], unanswered: dict[str, str]) -> Operation[dict[str, _Look]]:
    """Look at each node; what did not answer is added to ``unanswered``."""
    outcomes = yield from side_by_side({name: _look(where) for name, where in roles.items()})
    looks = {}
    for name, outcome in outcomes.items():
        if isinstance(outcome, IrisAdminError):
            unanswered[name] = str(outcome)
        else:
            looks[name] = outcome
    return looks


def _look(where: Role) -> Operation[_Look]:
    node = where.node
    state = yield Call("mnesia", "system_info", (Atom("is_running"),), node=node, idempotent=True)
    if state != "yes":
        # Most of what could be asked fails then.
        return _Look({"is_running": state})
    bindings = {"Items": [Atom(item) for item in _ITEMS], "Wait": round(PATIENCE * 1000)}
    (
        values,
        overloads,
        transactions,
        loading,
        dumping,
        log_bytes,
        held,
        queued,
        decisions,
        downs,
    ) = yield from run_remote("mnesia_state", bindings, node=node)
    guard, note = (yield from _partition_guard(node)) if where.is_core else (None, None)
    return _Look(
        items=dict(zip(_ITEMS, values, strict=True)),
        overloads=overloads,
        transactions=transactions,
        loading=loading,
        dumping=dumping,
        log_bytes=log_bytes,
        held_locks=held,
        queued_locks=queued,
        decisions=decisions,
        downs=downs,
        guard=guard,
        guard_note=note,
    )


def _partition_guard(node: str) -> Operation[tuple[Term, str | None]]:
    try:
        status = yield Call("iris_partition_guard", "get_status", node=node, idempotent=True)
    except (RemoteError, CallTimeout) as error:
        return None, f"cannot tell: {error}"
    if not isinstance(status, dict):
        return None, "cannot tell: the answer is none of Iris's"
    note = None
    if not status.get(Atom("expected_nodes")):
        note = "says nothing: it expects no other node, so it always has its quorum"
    return status, note


def _row(where: Role, look: _Look, earlier: _Look | None, interval: float) -> MnesiaNode:
    found = look.items

    def rate(counter: str) -> float | None:
        was = number(earlier.items.get(counter)) if earlier is not None else None
        is_now = number(found.get(counter))
        if was is None or is_now is None or is_now < was:  # it was restarted meanwhile
            return None
        return round((is_now - was) / interval, 1)

    counted: dict[str, Any] = {}
    for name, item in _COUNTERS.items():
        counted |= {name: number(found.get(item)), f"{name}_per_second": rate(item)}
    own, others = look.transactions if isinstance(look.transactions, tuple) else (None, None)
    running = names(found.get("running_db_nodes"))
    milliseconds = number(found.get("dump_log_time_threshold"))
    return MnesiaNode(
        node=where.node,
        role=where.role,
        running=str(found["is_running"]),
        version=text(found["version"]) if "version" in found else None,
        directory=text(found["directory"]) if found.get("use_dir") is True else None,
        running_nodes=running,
        stopped_nodes=tuple(name for name in names(found.get("db_nodes")) if name not in running),
        down_nodes=names(look.downs),
        **counted,
        transactions=own,
        participating=others,
        held_locks=number(look.held_locks),
        queued_locks=number(look.queued_locks),
        undecided=number(look.decisions),
        loading=number(look.loading),
        dumping=look.dumping if isinstance(look.dumping, bool) else None,
        log_bytes=number(look.log_bytes),
        dump_write_threshold=number(found.get("dump_log_write_threshold")),
        dump_time_threshold_seconds=None if milliseconds is None else milliseconds / 1000,
        overloaded=(
            tuple(sorted(str(kind) for kind, overloaded in look.overloads if overloaded is True))
            if isinstance(look.overloads, list)
            else None
        ),
        master_node_tables=names(found.get("master_node_tables")),
        partition_guard=None if look.guard is None else plain(look.guard),
        partition_note=look.guard_note,
    )


def _problems(rows: Sequence[MnesiaNode]) -> list[str]:
    problems = []
    running = {row.node: row for row in rows if row.running == "yes"}
    for row in rows:
        if row.running != "yes":
            problems.append(f"Mnesia is {row.running if row.running != 'no' else 'stopped'} on {row.node}")
        if row.overloaded:
            problems.append(f"overloaded on {row.node}: {', '.join(row.overloaded)}")
        if row.master_node_tables:
            problems.append(f"{row.node} loads {', '.join(row.master_node_tables)} from chosen nodes only")
        stopped = [name for name in row.stopped_nodes if name not in running]
        if stopped and row.running == "yes":
            problems.append(f"{row.node} has Mnesia down on {', '.join(stopped)}")
        guard = row.partition_guard
        if guard is not None and guard.get("safe_for_writes") is False:
            problems.append(f"the partition guard of {row.node} does not allow writes")
    for first, second in combinations(sorted(running), 2):
        seen = second in running[first].running_nodes, first in running[second].running_nodes
        if seen == (True, True):
            continue
        in_schema = second in running[first].stopped_nodes or first in running[second].stopped_nodes
        if any(seen) or in_schema:
            problems.append(
                f"partitioned: Mnesia runs on {first} and on {second}, and they do not take part in each other's"
                " transactions; each writes to its own copies"
            )
        else:
            problems.append(f"{first} and {second} have schemas of their own: nothing is replicated between them")
    return problems
