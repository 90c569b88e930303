"""What a visit leaves on the nodes, and what each command costs them: the two tables of docs/footprint.md.

``python -m bench.footprint`` starts the demo cluster of three cores and two edges with a crowd in its tables, runs
every command, and prints both. Every command runs three times; the first, which makes the node parse our expressions,
does not count, and of the others the mean does; for the time that a scheduler was held, the smaller figure, for
whatever else the machine does holds schedulers up, too. Let it do nothing else.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

import tests.support.demo  # noqa: F401  (makes the demo cluster importable)
from tests.cli.support import invoke
from tests.support.guest import FINDINGS, KINDS, PROBE, RUNS, Look, Visited, amount, changes, command_lines, settled

#: Stored messages, and users who have them; as many users are connected to each edge.
MESSAGES, USERS = 30_000, 3_000
TURNS = 2
#: Visits of a core whose durable batcher is at work.
LEAVES = 1000
#: What the kinds are called in the table.
TITLES = {
    "process": "processes",
    "module": "modules",
    "ets": "ETS tables",
    "registered": "names",
    "port": "ports",
    "monitor": "monitors",
    "monitored_by": "monitored by",
    "link": "links",
    "node": "nodes()",
    "application": "applications",
    "environment": "settings",
    "schema": "schema",
    "presence": "presence",
    "logged": "warnings",
}


@dataclass(frozen=True)
class Cost:
    """Of all nodes together; but the time that a scheduler was held is the longest on any of them.

    :ivar seconds: how long the command took.
    :ivar held: milliseconds; 0 stands for less than one.
    """

    reductions: float
    received: float
    sent: float
    held: float
    seconds: float


def _meters(visited: Visited) -> Iterator[tuple[int, int, int, int]]:
    for node in visited.cluster.nodes:
        told = re.match(r"\{(\d+),(\d+),(\d+),(\d+),", node.evaluate(f"{PROBE}:metered()."))
        assert told is not None
        reductions, received, sent, held = map(int, told.groups())
        yield reductions, received, sent, held


def _measured(visited: Visited, words: list[str], directory: Path, codes: set[int]) -> Cost:
    before = list(_meters(visited))
    began = perf_counter()
    if words:
        result = invoke(*words, environment=visited.environment(directory))
        if result.exit_code not in codes:
            raise RuntimeError(f"{words}: {result.stderr}")
    seconds = perf_counter() - began
    grown = [
        (new[0] - old[0], new[1] - old[1], new[2] - old[2], new[3])
        for old, new in zip(before, _meters(visited), strict=True)
    ]
    reductions, received, sent, held = zip(*grown, strict=True)
    return Cost(sum(reductions), sum(received), sum(sent), max(held), seconds)


def costs(visited: Visited, directory: Path) -> dict[str, Cost]:
    """The cost of each command line, without what looking itself costs."""
    taken: dict[str, list[Cost]] = {}
    nothing = [_measured(visited, [], directory, {0}) for _ in range(TURNS)]
    for turn in range(1 + TURNS):
        here = directory / str(turn)
        for name, words in command_lines(visited, here):
            cost = _measured(visited, words, here, {0, FINDINGS.get(name, 0)})
            shown = " ".join(word for word in words if str(directory) not in word).replace("@localhost", "")
            taken.setdefault(shown, []).append(cost)
        visited.refill()

    def of(runs: list[Cost], what: str) -> float:
        return float(median(getattr(run, what) for run in runs))

    looking = {what: of(nothing, what) for what in ("reductions", "received", "sent")}
    return {
        shown: Cost(
            **{what: max(0.0, of(runs[1:], what) - less) for what, less in looking.items()},
            held=min(run.held for run in runs[1:]),
            seconds=of(runs[1:], "seconds"),
        )
        for shown, runs in taken.items()
    }


def _print_visit(before: dict[str, Look], after: dict[str, Look]) -> None:
    kinds = [kind for kind in KINDS if kind != "application"]
    names = [name.partition("@")[0] for name in before]
    print(f"| | {' | '.join(names)} |\n|---{'|---' * len(names)}|")
    for kind in kinds:
        cells = (f"{amount(before[name], kind)} → {amount(after[name], kind)}" for name in before)
        print(f"| {TITLES.get(kind, kind)} | {' | '.join(cells)} |")


def _print_costs(found: dict[str, Cost]) -> None:
    print("| command | reductions | received, kB | sent, kB | scheduler held | takes |\n|---|---|---|---|---|---|")
    for shown, cost in found.items():
        held = f"{cost.held:.0f} ms" if cost.held else "< 1 ms"
        print(
            f"| `{shown}` | {cost.reductions / 1000:,.0f} k | {cost.received / 1000:,.1f} | {cost.sent / 1000:,.1f} "
            f"| {held} | {cost.seconds:.2f} s |"
        )


def _print_leaving(visited: Visited, directory: Path) -> None:
    """How often a durable batcher asks at the very moment at which we leave, and so takes us for a place."""
    before = visited.batchers()
    began = perf_counter()
    with visited.storing():
        for _ in range(LEAVES):
            invoke("ping", environment=visited.environment(directory))
    seconds = perf_counter() - began
    stored, failed = (visited.batchers()[0][key] - before[0][key] for key in ("writes_wal", "remote_failures"))
    print(f"\nLeft {LEAVES} times, with {stored / seconds:.0f} messages stored per second: chosen {failed} times")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="What a visit leaves on the nodes, and what each command costs them.")
    parser.add_argument("--messages", type=int, default=MESSAGES, help=f"stored messages ({MESSAGES:,})")
    parser.add_argument("--users", type=int, default=USERS, help=f"users who have them ({USERS:,})")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="iris-admin-bench-") as scratch:
        directory = Path(scratch)
        with Visited(preloaded=True) as visited:
            # A first visit makes a few atoms; the tests know which.
            for _, words in command_lines(visited, directory / "first"):
                invoke(*words, environment=visited.environment(directory / "first"))
                visited.wait_until_alone()
            visited.refill()
            before = settled(visited.cluster)
            for name, words in command_lines(visited, directory / "visit"):
                result = invoke(*words, environment=visited.environment(directory / "visit"))
                if result.exit_code not in {0, FINDINGS.get(name, 0)}:
                    raise RuntimeError(f"{words}: {result.stderr}")
                visited.wait_until_alone()
            different, after = changes(visited.cluster, before)
            print(f"Before and after one run of {len(RUNS)} commands:\n")
            _print_visit(before, after)
            for name, lines in different.items():
                print(f"\n{name} has changed:", *lines, sep="\n  ")
            _print_leaving(visited, directory)
            visited.refill()
            for core in visited.cluster.cores:
                core.evaluate(f"{PROBE}:fill_core({options.messages}, {options.users}).", 120)
            for edge in visited.cluster.edges:
                edge.evaluate(f"{PROBE}:fill_edge({options.users}).", 120)
            for node in visited.cluster.nodes:
                node.evaluate(f"{PROBE}:meter().")
            print(f"\nCost with {options.messages:,} stored messages of {options.users:,} users:\n", flush=True)
            _print_costs(costs(visited, directory))
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
