"""Connect, call and leave, thousands of times, a part of them with a fault of the wire: nothing may be left behind.

Run it from the root of the project: ``python -m tests.rounds --rounds 10000``
"""

from __future__ import annotations

import argparse
import gc
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from iris_admin.client import Node, node_at
from iris_admin.errors import IrisAdminError
from tests.support.erlang import Epmd, ErlangNode, NodeFactory
from tests.support.faults import NET_TICKTIME, NODE_OPTIONS
from tests.support.proxy import Direction, EpmdProxy, Fault, Kind, Proxy

#: One round in so many has a fault.
FAULT_EVERY = 5
#: In seconds: what is swallowed or throttled runs into it.
TIMEOUT = 0.2
#: Until what is left behind must be gone, in seconds.
PATIENCE = 30.0

_KINDS: tuple[Kind, ...] = ("delay", "swallow", "silence", "end", "reset", "duplicate", "throttle", "corrupt")
#: Frames of a session with two calls: the handshake's, then requests, ids and answers.
_FRAMES: dict[Direction, int] = {"up": 4, "down": 7}
_ON_NODE = "{erlang:system_info(process_count), erlang:system_info(port_count), length(ets:all()), nodes(connected)}"


@dataclass(frozen=True)
class Count:
    """What there is.

    :param threads: of this process; those of the proxies are not counted.
    :param files: files and sockets that it has open.
    :param node: the node's processes, ports, ETS tables and connected nodes.
    """

    threads: int
    files: int
    node: str

    @classmethod
    def take(cls, node: ErlangNode) -> Count:
        gc.collect()
        return cls(
            sum(thread.name != "proxy" for thread in threading.enumerate()),
            len(list(Path("/proc/self/fd").iterdir())),
            node.evaluate(_ON_NODE),
        )

    def has_more_than(self, other: Count) -> bool:
        """Whether something is here that the other has not."""
        return self.threads > other.threads or self.files > other.files or self.node != other.node


@dataclass(frozen=True)
class Rounds:
    """What came of the rounds.

    :param outcomes: how often each error, or ``ok``.
    :param untyped: errors that are none of ours, and wrong answers.
    :param longest: the longest round, in seconds.
    """

    before: Count
    after: Count
    outcomes: Counter[str]
    untyped: list[str]
    faults: int
    longest: float


def play(node: ErlangNode, rounds: int, seed: int = 1) -> Rounds:
    """Play so many rounds.

    :param node: with the options of ``tests/support/faults.py``.
    """
    choice = random.Random(seed)
    outcomes: Counter[str] = Counter()
    untyped: list[str] = []
    faults = 0
    longest = 0.0
    assert node.epmd_port is not None
    with Proxy(node.port) as proxy, EpmdProxy(node.epmd_port, {node.port: proxy.port}) as epmd:
        for _ in range(20):
            _one(node, epmd)  # what is made once: the I/O thread, modules, the names of the pool
        before = _settled(node, None)
        for number in range(rounds):
            hit: Proxy | None = None
            if number % FAULT_EVERY == 0:
                faults += 1
                direction: Direction = choice.choice(["up", "down"])
                hit = epmd if choice.random() < 0.1 else proxy
                frame = 0 if hit is epmd else choice.randrange(_FRAMES[direction])
                # Behind the length; what is damaged there is noticed.
                offset = 1 if hit is epmd else 2 if frame < 2 else 4
                fault = Fault(choice.choice(_KINDS), direction, frame, offset, seconds=0.02, rate=2000)
                hit.arm(fault)
            start = time.monotonic()
            try:
                outcomes[_one(node, epmd)] += 1
            except IrisAdminError as error:
                outcomes[type(error).__name__] += 1
            except Exception as error:
                untyped.append(f"round {number}: {error!r}")
            longest = max(longest, time.monotonic() - start)
            if hit is not None:
                hit.heal()
        # An EPMD that waits for the rest of a swallowed question does so for a minute; the node ends all by itself.
        epmd.drop_connections()
        after = _settled(node, before)
    return Rounds(before, after, outcomes, untyped, faults, longest)


def _one(node: ErlangNode, epmd: Proxy) -> str:
    client: Node
    with node_at(
        node.name, cookie=node.cookie, epmd_port=epmd.port, connect_timeout=TIMEOUT, net_ticktime=NET_TICKTIME
    ) as client:
        for number in (1, 2):
            if client.call("erlang", "abs", -number, timeout=TIMEOUT) != number:
                raise AssertionError("a wrong answer")
    return "ok"


def _settled(node: ErlangNode, before: Count | None) -> Count:
    """Count when nothing is under way any more, or after a while."""
    deadline = time.monotonic() + PATIENCE
    now = Count.take(node)
    while time.monotonic() < deadline:
        last, now = now, Count.take(node)
        is_quiet = (last.threads, last.files, last.node) == (now.threads, now.files, now.node)
        if is_quiet and "@" not in now.node and (before is None or not now.has_more_than(before)):
            break
        time.sleep(0.05)
    return now


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    epmd = Epmd()
    with tempfile.TemporaryDirectory() as directory:
        nodes = NodeFactory(epmd, lambda: Path(tempfile.mkdtemp(dir=directory)))
        try:
            start = time.monotonic()
            played = play(nodes(net_ticktime=NET_TICKTIME, flags=NODE_OPTIONS), options.rounds, options.seed)
            seconds = time.monotonic() - start
        finally:
            nodes.stop_all()
            epmd.stop()
    lines = [
        f"{options.rounds} rounds in {seconds:.0f} s, {played.faults} of them with a fault; the longest took "
        f"{played.longest:.2f} s",
        f"{'':8}{'threads':>8}{'files':>8}  node: processes, ports, ETS tables, connections",
    ]
    for name, count in (("before", played.before), ("after", played.after)):
        lines.append(f"{name:8}{count.threads:8}{count.files:8}  {count.node}")
    lines += [f"{count:8} {name}" for name, count in played.outcomes.most_common()]
    lines += [f"untyped: {text}" for text in played.untyped]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if played.untyped or played.after.has_more_than(played.before) else 0


if __name__ == "__main__":
    sys.exit(main())
