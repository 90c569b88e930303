"""How fast calls are: one after another, and many at once, next to ``rpc:call`` from a hidden node."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from statistics import median

from bench.client import IN_FLIGHT, MODULE, Client
from bench.nodes import compiled, erlang_nodes
from bench.report import Row

ROUNDS = 9
SEQUENTIAL = 1500
MANY = 100 * IN_FLIGHT
#: How a Python process makes many calls at once.
WAYS = ("mapped", "submitted", "threads", "plain_threads", "tasks")


def measure() -> list[Row]:
    """In each round all have their turn, and each time another one is the first: one leaves the processors awake."""
    seen: dict[str, list[list[float]]] = defaultdict(list)
    with erlang_nodes() as start, tempfile.TemporaryDirectory(prefix="iris-admin-bench-") as directory:
        flags = ["-pa", str(compiled(MODULE, directory))]
        target = start("called", flags=flags)
        beam = start("caller", flags=flags, cookie=target.cookie, hidden=True)
        clients = {codec: Client(target, codec) for codec in ("compiled", "pure")}

        def one_after_another() -> list[float]:
            told = beam.evaluate_bytes(
                f"{{P50, P99}} = {MODULE}:sequential('{target.name}', {SEQUENTIAL}), "
                'io_lib:format("~b ~b", [P50, P99])'
            )
            return [int(nanoseconds) / 1e9 for nanoseconds in told.split()]

        def many() -> list[float]:
            return [int(beam.evaluate(f"{MODULE}:many('{target.name}', {IN_FLIGHT}, {MANY // IN_FLIGHT})")) / 1e9]

        turns: list[tuple[str, Callable[[], list[float]]]] = [
            ("BEAM", one_after_another),
            ("compiled", lambda: clients["compiled"].ask(f"sequential {SEQUENTIAL}")),
            ("bare", lambda: clients["compiled"].ask(f"bare {SEQUENTIAL}")),
            ("pure", lambda: clients["pure"].ask(f"sequential {SEQUENTIAL}")),
            ("processes", many),
            *((way, partial(clients["compiled"].ask, f"{way} {MANY}")) for way in WAYS),
        ]
        try:
            for number in range(ROUNDS):
                for name, take_turn in turns[number % len(turns) :] + turns[: number % len(turns)]:
                    seen[name].append(take_turn())
        finally:
            for client in clients.values():
                client.stop()
    p50 = {name: median(took[0] for took in all_took) for name, all_took in seen.items()}
    p99 = {name: median(took[-1] for took in all_took) for name, all_took in seen.items()}
    return [
        _row("one after another, p50", p50["compiled"], p50["BEAM"], 1.0),
        _row("one after another, p99", p99["compiled"], p99["BEAM"], 1.2),
        _row("one after another, p50, pure codec", p50["pure"], p50["BEAM"], 1.25),
        Row(
            "one after another, p50, to a bare socket",
            _microseconds(p50["compiled"]),
            "",
            f"bare socket {_microseconds(p50['bare'])}",
            p50["compiled"] / p50["bare"],
            1.2,
            at_most=True,
        ),
        _rate(f"{IN_FLIGHT} under way, one thread, map", p50["mapped"], p50["processes"], 1.0),
        _rate(f"{IN_FLIGHT} under way, one thread, submit", p50["submitted"], p50["processes"], None),
        Row(
            f"{IN_FLIGHT} threads, to a plain reader thread",
            _per_second(p50["threads"]),
            _per_second(p50["processes"]),
            f"plain {_per_second(p50['plain_threads'])}",
            p50["plain_threads"] / p50["threads"],
            3.0,
            at_most=False,
        ),
        _rate(f"{IN_FLIGHT} tasks of asyncio", p50["tasks"], p50["processes"], 0.65),
    ]


def _row(name: str, ours: float, beam: float, most: float) -> Row:
    return Row(name, _microseconds(ours), _microseconds(beam), "", ours / beam, most, at_most=True)


def _rate(name: str, ours: float, beam: float, least: float | None) -> Row:
    return Row(name, _per_second(ours), _per_second(beam), "", beam / ours, least, at_most=False)


def _microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} µs"


def _per_second(seconds: float) -> str:
    return f"{MANY / seconds / 1e3:.1f} k/s"
