"""The vital figures of a node: what it holds, what it may hold, how busy it is, and what it is."""

from __future__ import annotations

from iris_admin.operations.evaluate import run_remote
from iris_admin.operations.fields import items, number, text
from iris_admin.operations.results import Result, Table
from iris_admin.operations.roles import role_of
from iris_admin.operations.steps import Operation, Pause
from iris_admin.records import record
from iris_admin.terms import Atom, Term

#: Links to other nodes that are reported.
MAX_LINKS = 500


@record
class Link(Result):
    """The connection to another node. None stands for what cannot be told of a link that is encrypted.

    :param node: the node at the other end.
    :param hidden: whether it joined hidden.
    :param queue_bytes: what waits there to be sent.
    :param busy: whether that is more than the link takes. Then the node keeps up to a mebibyte more (its
        ``dist_buf_busy_limit``), and stops every process that sends to the other node beyond that.
    :param received_bytes: since the link was made; ``sent_bytes`` likewise.
    """

    node: str
    hidden: bool
    queue_bytes: int | None
    busy: bool | None
    received_bytes: int | None
    sent_bytes: int | None


@record
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
    :param run_queues: what waits for each scheduler, then for all dirty CPU schedulers, then for all dirty I/O ones.
    :param reductions: the work that was done since the node was started; likewise the following.
    :param garbage_collections: how many there were, and ``reclaimed_bytes`` what they gave back.
    :param context_switches: how often a scheduler took another process.
    :param input_bytes: that came in through ports, the links to other nodes among them; ``output_bytes`` went out.
    :param scheduler_wall_time: for each scheduler its number, its active time and its whole time. None unless somebody
        has switched that on: to do so would change what the node believes about its CPU.
    :param links: the connections to other nodes, without this client's, :data:`MAX_LINKS` at most.
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
    run_queues: tuple[int, ...]
    reductions: int | None
    garbage_collections: int | None
    reclaimed_bytes: int | None
    context_switches: int | None
    input_bytes: int | None
    output_bytes: int | None
    scheduler_wall_time: tuple[tuple[int, int, int], ...] | None
    links: Table[Link]


@record
class LinkChange(Result):
    """How a connection to another node changed; see :class:`Link`. None: it is new, or encrypted.

    :param queue_bytes: what waits now, and ``busy`` whether that is more than the link takes.
    :param received_bytes: per second; ``sent_bytes`` likewise.
    """

    node: str
    hidden: bool
    queue_bytes: int | None
    busy: bool | None
    received_bytes: float | None
    sent_bytes: float | None


@record
class StatsChange(Result):
    """How the figures of a node change: each field is a change per second, unless it says otherwise.

    None stands for what cannot be told, as when the node was restarted meanwhile.

    :param node: the node.
    :param interval_seconds: between the two looks, by the node's clock.
    :param processes: how many more there are, per second; less than 0 for fewer. Likewise ports, atoms and tables.
    :param reductions: the work that is done.
    :param garbage_collections: how many; ``reclaimed_bytes`` is what they give back.
    :param context_switches: how often a scheduler takes another process.
    :param input_bytes: that come in through ports; ``output_bytes`` go out.
    :param scheduler_utilization: for each scheduler, the share of the time in which it was active, 0 to 1. None
        unless somebody has switched ``scheduler_wall_time`` on.
    :param run_queue: at the second look; likewise ``run_queues``.
    :param links: the connections to other nodes.
    :param now: the figures at the second look; the next change can begin with them.
    """

    node: str
    interval_seconds: float
    processes: float | None
    ports: float | None
    atoms: float | None
    ets_tables: float | None
    reductions: float | None
    garbage_collections: float | None
    reclaimed_bytes: float | None
    context_switches: float | None
    input_bytes: float | None
    output_bytes: float | None
    scheduler_utilization: tuple[float, ...] | None
    run_queue: int
    run_queues: tuple[int, ...]
    links: Table[LinkChange]
    now: Stats


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
_ITEMS = [Atom("otp_release"), Atom("version"), Atom("wordsize"), *map(Atom, _COUNTS.values())]
_COUNTERS = [
    Atom(name)
    for name in (
        "total_run_queue_lengths",
        "run_queue_lengths_all",
        "reductions",
        "garbage_collection",
        "context_switches",
        "io",
        "scheduler_wall_time",
    )
]
#: Fields of :class:`Stats` that change, and so are fields of :class:`StatsChange`.
_CHANGING = ("processes", "ports", "atoms", "ets_tables")
#: Those of them that only grow.
_GROWING = (
    "reductions",
    "garbage_collections",
    "reclaimed_bytes",
    "context_switches",
    "input_bytes",
    "output_bytes",
)


def stats(node: str | None = None) -> Operation[Stats]:
    """The figures of a node, taken at one moment.

    Nothing is switched on for it on the node. ``statistics(reductions)`` also gives the difference since the last
    call, whosever that was; only that is disturbed.

    :param node: which; None is the operation's own node.
    """
    bindings = {"Items": _ITEMS, "Counters": _COUNTERS, "MaxLinks": MAX_LINKS}
    answer = yield from run_remote("stats", bindings, node=node)
    name, (release, version, word_size, *counts), counters, uptime, visible, hidden, applications, links = answer
    run_queue, run_queues, reductions, collections, switches, io, wall_time = counters
    garbage = collections if isinstance(collections, tuple) else (None, None)
    (_, received), (_, sent) = io if isinstance(io, tuple) else ((None, None), (None, None))
    return Stats(
        node=str(name),
        role=None if applications == "undefined" else role_of(str(name), applications).role,
        uptime=uptime / 1000,
        otp_release=text(release) or "",
        erts_version=text(version) or "",
        run_queue=number(run_queue) or 0,
        visible_nodes=visible,
        hidden_nodes=hidden,
        **{field: number(value) for field, value in zip(_COUNTS, counts, strict=True)},
        run_queues=tuple(items(run_queues)),
        reductions=_first(reductions),
        garbage_collections=number(garbage[0]),
        reclaimed_bytes=None if garbage[1] is None else garbage[1] * word_size,
        context_switches=_first(switches),
        input_bytes=number(received),
        output_bytes=number(sent),
        scheduler_wall_time=tuple(sorted(wall_time)) if isinstance(wall_time, list) else None,
        links=Table(Link, sorted(map(_link, links), key=lambda link: link.node)),
    )


def stats_change(
    interval: float = 1.0, *, since: StatsChange | Stats | None = None, node: str | None = None
) -> Operation[StatsChange]:
    """How the figures of a node change per second.

    To watch, give each result to the next call; no look is wasted then, and no time falls between two.

    :param interval: how long to wait, in seconds.
    :param since: earlier figures of the same node to compare with, or an earlier change; None looks for itself.
    :param node: which; None is the operation's own node.
    """
    if isinstance(since, StatsChange):
        since = since.now
    before = since or (yield from stats(node))
    yield Pause(interval)
    return change(before, (yield from stats(node)))


def change(before: Stats, after: Stats) -> StatsChange:
    """What changed between two looks at the same node, per second."""
    seconds = after.uptime - before.uptime
    restarted = seconds <= 0

    def rate(was: int | None, is_now: int | None) -> float | None:
        return None if restarted or was is None or is_now is None else round((is_now - was) / seconds, 1)

    earlier = {link.node: link for link in before.links}

    def link_rate(link: Link, field: str) -> float | None:
        was = getattr(earlier.get(link.node), field, None)
        is_now = getattr(link, field)
        # A link that was made anew counts from 0 again.
        return None if was is None or is_now is None or is_now < was else rate(was, is_now)

    return StatsChange(
        node=after.node,
        interval_seconds=0.0 if restarted else round(seconds, 3),
        **{field: rate(getattr(before, field), getattr(after, field)) for field in (*_CHANGING, *_GROWING)},
        scheduler_utilization=None if restarted else _utilization(before, after),
        run_queue=after.run_queue,
        run_queues=after.run_queues,
        links=Table(
            LinkChange,
            (
                LinkChange(
                    node=link.node,
                    hidden=link.hidden,
                    queue_bytes=link.queue_bytes,
                    busy=link.busy,
                    received_bytes=link_rate(link, "received_bytes"),
                    sent_bytes=link_rate(link, "sent_bytes"),
                )
                for link in after.links
            ),
        ),
        now=after,
    )


def _utilization(before: Stats, after: Stats) -> tuple[float, ...] | None:
    if before.scheduler_wall_time is None or after.scheduler_wall_time is None:
        return None
    earlier = {scheduler: (active, total) for scheduler, active, total in before.scheduler_wall_time}
    shares = []
    for scheduler, active, total in after.scheduler_wall_time:
        active_before, total_before = earlier.get(scheduler, (0, 0))
        if total <= total_before:  # it was switched off and on again
            return None
        shares.append(round((active - active_before) / (total - total_before), 4))
    return tuple(shares)


def _link(answer: Term) -> Link:
    name, hidden, queue, limit, (received, sent) = answer
    queue_bytes, limit_bytes = number(queue), number(limit)
    return Link(
        node=str(name),
        hidden=hidden,
        queue_bytes=queue_bytes,
        busy=None if queue_bytes is None or limit_bytes is None else queue_bytes >= limit_bytes,
        received_bytes=number(received),
        sent_bytes=number(sent),
    )


def _first(counter: Term) -> int | None:
    """Counters come in a tuple, with the difference since somebody's last call, or 0, behind them."""
    return number(counter[0]) if isinstance(counter, tuple) else None
