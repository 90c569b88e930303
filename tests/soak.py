"""One connection for a long time: mixed calls at a steady rate, and a restart of the node every few minutes.

``python -m tests.soak --minutes 30`` starts a node of its own, prints one line for each minute and a summary, and
ends with status 1 if a call failed that no restart excuses. ``tests/integration/test_soak.py`` runs a short one.
"""

from __future__ import annotations

import argparse
import gc
import os
import queue
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import CancelledError
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import iris_admin
from iris_admin.client import Node
from iris_admin.errors import CallTimeout, IrisAdminError
from iris_admin.terms import Atom, charlist
from tests.support.erlang import Epmd, ErlangNode, NodeFactory

#: So many threads share the connection.
THREADS = 4
MEGABYTE = 1_000_000


class WrongAnswer(Exception):
    """A call returned what it must not."""


def _expect(answer: object, expected: object) -> None:
    if answer != expected:
        raise WrongAnswer(f"{str(answer)[:80]!r} instead of {str(expected)[:80]!r}")


def _small(node: Node, number: int) -> None:
    _expect(node.call("erlang", "+", number, 1), number + 1)


def _repeatable(node: Node, _number: int) -> None:
    _expect(node.call("erlang", "node", idempotent=True), Atom(node.name))


def _captured(node: Node, number: int) -> None:
    _expect(node.capture("io", "format", charlist("~w"), [number]), (Atom("ok"), str(number)))


def _large(node: Node, _number: int) -> None:
    _expect(len(node.call("binary", "copy", b"x", MEGABYTE)), MEGABYTE)


def _times_out(node: Node, _number: int) -> None:
    # The time-out is to hit the call, not the connecting.
    node.reconnect()
    try:
        node.call("timer", "sleep", 60_000, timeout=0.5)
    except CallTimeout:
        return
    raise WrongAnswer("no time-out")


def _submitted(node: Node, number: int) -> None:
    futures = [node.submit("lists", "seq", 1, length) for length in range(1, 6)]
    cancelled = node.submit("timer", "sleep", 60_000)
    cancelled.cancel()
    for length, future in enumerate(futures, 1):
        _expect(len(future.result(20)), length)
    try:
        cancelled.result(20)
    except CancelledError:
        return
    raise WrongAnswer("a cancelled call has returned")


#: Of fifty calls in a row, how many are of which kind.
MIX: tuple[tuple[str, Callable[[Node, int], None], int], ...] = (
    ("small", _small, 19),
    ("repeatable", _repeatable, 15),
    ("captured", _captured, 6),
    ("submitted", _submitted, 5),
    ("1 MB reply", _large, 3),
    ("time-out", _times_out, 2),
)
_TURNS = [(name, kind) for name, kind, share in MIX for _ in range(share)]
# Each kind is spread over the fifty: 21 and 50 have no common divisor. So a call that takes half a second is under way
# at nearly any moment, also when the node is restarted.
_ORDER = [_TURNS[turn * 21 % len(_TURNS)] for turn in range(len(_TURNS))]


@dataclass
class Interval:
    """What happened between two looks, and what the process was like at the end of it.

    :ivar latencies: of the small calls that succeeded, in seconds.
    :ivar rss: resident memory in KiB, and ``pss`` its proportional share.
    :ivar blocks: what Python has allocated and not freed, whatever the system still holds for it.
    :ivar atoms: the node's, and ``processes`` likewise.
    """

    calls: int = 0
    failed: int = 0
    latencies: list[float] = field(default_factory=list)
    p50: float = 0.0
    p99: float = 0.0
    rss: int = 0
    pss: int = 0
    blocks: int = 0
    threads: int = 0
    files: int = 0
    atoms: int = 0
    processes: int = 0
    seconds: float = 0.0

    def close(self, erlang: ErlangNode, seconds: float) -> None:
        """Look at both sides, and keep figures only, so that a long run does not grow by its own book-keeping."""
        if len(self.latencies) > 1:
            cuts = statistics.quantiles(self.latencies, n=100)
            self.p50, self.p99 = cuts[49], cuts[98]
        self.latencies.clear()
        gc.collect()
        self.blocks = sys.getallocatedblocks()
        rollup = dict(line.split()[:2] for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
        self.rss, self.pss = int(rollup["Rss:"]), int(rollup["Pss:"])
        self.threads = threading.active_count()
        self.files = len(os.listdir("/proc/self/fd"))
        text = erlang.evaluate("[erlang:system_info(atom_count), erlang:system_info(process_count)]")
        self.atoms, self.processes = map(int, text.strip("[]").split(","))
        self.seconds = seconds


@dataclass
class Report:
    """What came of it.

    :ivar made: calls by kind, and ``failures`` those of them that failed, by type of the error.
    :ivar unexcused: failures of calls during which the node was up all the time.
    :ivar restarts: from when to when the node was away, on the clock of :func:`time.monotonic`.
    """

    made: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    unexcused: list[str] = field(default_factory=list)
    restarts: list[tuple[float, float]] = field(default_factory=list)
    intervals: list[Interval] = field(default_factory=list)


class Soak:
    """A run.

    :param calls: how many to make.
    :param restarts: restart the node after each so many calls.
    :param look: close an interval after each so many calls.
    :param rate: calls per second; None is as fast as they go.
    :param on_interval: told of each interval.
    """

    def __init__(
        self,
        erlang: ErlangNode,
        node: Node,
        *,
        calls: int,
        restarts: int,
        look: int,
        rate: float | None,
        on_interval: Callable[[Interval], None] = lambda _: None,
    ) -> None:
        self._erlang = erlang
        self._node = node
        self._calls = calls
        self._events = {"restart": restarts, "look": look}
        self._pause = 1 / rate if rate else 0.0
        self._on_interval = on_interval
        self._report = Report()
        self._interval = Interval()
        self._failed: list[tuple[float, float, str]] = []
        self._number = 0
        self._due = 0.0
        self._lock = threading.Lock()
        self._happened: queue.SimpleQueue[str] = queue.SimpleQueue()

    def run(self) -> Report:
        """Make all calls, and say what came of them."""
        self._due = began = time.monotonic()
        threads = [threading.Thread(target=self._work, name=f"soak {number}") for number in range(THREADS)]
        for thread in threads:
            thread.start()
        running = len(threads)
        while running:
            match self._happened.get():
                case "done":
                    running -= 1
                case "restart":
                    self._restart()
                case "look":
                    self._look(time.monotonic() - began)
        for thread in threads:
            thread.join()
        if self._interval.calls:
            self._look(time.monotonic() - began)
        for begun, ended, error in self._failed:
            if not any(begun <= up and away <= ended for away, up in self._report.restarts):
                self._report.unexcused.append(f"{begun - began:.3f} s to {ended - began:.3f} s: {error}")
        return self._report

    def _work(self) -> None:
        try:
            while (number := self._next()) is not None:
                self._call(number)
        finally:
            self._happened.put("done")

    def _next(self) -> int | None:
        """The number of the next call, when it is due. What was not made while the node was away is not made up."""
        with self._lock:
            if self._number >= self._calls:
                return None
            self._number += 1
            number = self._number
            now = time.monotonic()
            due = self._due = max(self._due + self._pause, now)
            for event, every in self._events.items():
                if number % every == 0 and number < self._calls:
                    self._happened.put(event)
        if due > now:
            time.sleep(due - now)
        return number

    def _call(self, number: int) -> None:
        name, kind = _ORDER[number % len(_ORDER)]
        begun = time.monotonic()
        try:
            kind(self._node, number)
            error = None
        except (IrisAdminError, WrongAnswer, TimeoutError) as raised:
            error = raised
        ended = time.monotonic()
        with self._lock:
            self._report.made[name] += 1
            self._interval.calls += 1
            if error is not None:
                self._report.failures[type(error).__name__] += 1
                self._interval.failed += 1
                self._failed.append((begun, ended, f"{name}: {type(error).__name__}: {error}"))
            elif name in ("small", "repeatable"):
                self._interval.latencies.append(ended - begun)

    def _restart(self) -> None:
        """In turn in an orderly way and by a crash."""
        away = time.monotonic()
        if len(self._report.restarts) % 2:
            self._erlang.kill()
        self._erlang.restart()
        self._report.restarts.append((away, time.monotonic()))

    def _look(self, seconds: float) -> None:
        with self._lock:
            interval, self._interval = self._interval, Interval()
        interval.close(self._erlang, seconds)
        self._report.intervals.append(interval)
        self._on_interval(interval)


def slope(points: list[tuple[float, float]]) -> float:
    """How much ``y`` grows with ``x``, by the straight line that fits best."""
    return statistics.linear_regression([x for x, _ in points], [y for _, y in points]).slope


def _print_interval(interval: Interval) -> None:
    print(
        f"{interval.seconds / 60:6.1f} {interval.calls:7} {interval.failed:7} {interval.p50 * 1000:8.2f} "
        f"{interval.p99 * 1000:8.2f} {interval.rss:8} {interval.pss:8} {interval.blocks:8} "
        f"{interval.threads:8} {interval.files:6} {interval.atoms:7} {interval.processes:10}",
        flush=True,
    )


def _print_summary(report: Report, warm_up: float) -> None:
    total, failed = report.made.total(), report.failures.total()
    print(f"\ncalls     {total}: {', '.join(f'{count} {name}' for name, count in report.made.items())}")
    print(f"restarts  {len(report.restarts)}, {sum(up - away for away, up in report.restarts):.1f} s in all")
    print(f"failed    {failed}: {', '.join(f'{count} {name}' for name, count in report.failures.items()) or 'none'}")
    print(f"          {len(report.unexcused)} of them while the node was up")
    for line in report.unexcused[:20]:
        print(f"          {line}")
    warm = [interval for interval in report.intervals if interval.seconds >= warm_up]
    if len(warm) > 1:
        for name, unit in (("rss", "KiB"), ("pss", "KiB"), ("blocks", "blocks")):
            fit = slope([(interval.seconds / 60, getattr(interval, name)) for interval in warm])
            first, last = getattr(warm[0], name), getattr(warm[-1], name)
            print(f"{name:<9} {fit:+.1f} {unit}/min, from {first} to {last}")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Mixed calls over one connection, with restarts of the node.")
    parser.add_argument("--minutes", type=float, default=30.0, help="how long, at this rate (30)")
    parser.add_argument("--rate", type=float, default=50.0, help="calls per second (50)")
    parser.add_argument("--restart-every", type=float, default=3.0, metavar="MINUTES", help="restart the node (3)")
    parser.add_argument("--look-every", type=float, default=1.0, metavar="MINUTES", help="print a line (1)")
    parser.add_argument(
        "--warm-up", type=float, default=2.0, metavar="MINUTES", help="left out of the memory's slope (2)"
    )
    options = parser.parse_args()

    def calls(minutes: float) -> int:
        return max(1, int(minutes * 60 * options.rate))

    with ExitStack() as stack:
        epmd = Epmd()
        stack.callback(epmd.stop)
        nodes = NodeFactory(epmd, lambda: Path(stack.enter_context(tempfile.TemporaryDirectory())))
        stack.callback(nodes.stop_all)
        erlang = nodes()
        node = iris_admin.connect(erlang.name, cookie=erlang.cookie, epmd_port=erlang.epmd_port)
        stack.enter_context(closing(node))
        print(
            "   min   calls  failed  p50, ms  p99, ms  RSS,KiB  PSS,KiB   blocks  threads  files   atoms  processes",
            flush=True,
        )
        soak = Soak(
            erlang,
            node,
            calls=calls(options.minutes),
            restarts=calls(options.restart_every),
            look=calls(options.look_every),
            rate=options.rate,
            on_interval=_print_interval,
        )
        report = soak.run()
    _print_summary(report, options.warm_up * 60)
    return 1 if report.unexcused else 0


if __name__ == "__main__":
    sys.exit(main())
