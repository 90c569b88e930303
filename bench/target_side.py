"""What our questions cost the node that they are asked.

A ranking of a million processes is held against a compiled module that does the same, by the time that all threads of
the node's operating system process were on a CPU. A walk through ten million rows, ``iris-admin offline summary`` as a
whole, is held against a compiled ``ets:foldl`` that counts rows and bytes; beside it a ping goes to and fro, between
two processes of the node, and from another node.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from statistics import median
from time import monotonic, sleep

import iris_admin
from bench.nodes import compiled, erlang_nodes
from bench.report import Row
from tests.support.erlang import ErlangNode

MODULE = "iris_admin_bench_target"
PROCESSES = 1_000_000
ROWS = 10_000_000
TOP = 10
#: Turns of each ranking, besides the first, which is not counted.
RANKINGS = 3
WALKS = 2
#: One percentile is taken of the pings of each such time.
WINDOW_MS = 400
WINDOWS = 5
#: For what fills the node, in seconds.
PATIENCE = 200.0

MOST_CPU = 3.0
MOST_SENT_KB = 10.0
MOST_MEMORY_MB = 60.0
#: What the node lets the walking process have is half a gigabyte; it is to need far less, however long the table.
MOST_HEAP_MB = 100.0
MOST_PING = 2.0


def measure() -> list[Row]:
    """The ranking, then the walk, each on a node of its own."""
    with erlang_nodes() as start, tempfile.TemporaryDirectory(prefix="iris-admin-bench-") as directory:
        flags = ["-pa", str(compiled(MODULE, directory))]
        many = start("many", flags=[*flags, "+P", str(2 * PROCESSES)])
        try:
            rows = _ranking(many)
        finally:
            many.kill()  # to stop a million processes takes longer than to forget them
        target = start("target", flags=flags)
        beside = start("beside", flags=flags, cookie=target.cookie, hidden=True)
        return rows + _walk(target, beside)


def _ranking(many: ErlangNode) -> list[Row]:
    many.evaluate(f"{MODULE}:start_processes({PROCESSES})", PATIENCE)
    ours, theirs, sent = [], [], []
    with iris_admin.connect(many.name, cookie_file=many.cookie_file, epmd_port=many.epmd_port) as node:
        for _ in range(1 + RANKINGS):
            before, sent_before = _cpu_seconds(many), int(many.evaluate(f"{MODULE}:sent()"))
            node.processes(count=TOP)
            between = _cpu_seconds(many)
            sent.append(int(many.evaluate(f"{MODULE}:sent()")) - sent_before)
            many.evaluate(f"{MODULE}:top({TOP})")
            ours.append(between - before)
            theirs.append(_cpu_seconds(many) - between)
    cpu, their_cpu = median(ours[1:]), median(theirs[1:])
    kilobytes = max(sent[1:]) / 1000
    # Then it also sends back what it has parsed, which we keep for as long as our process lives.
    first = f"{sent[0] / 1000:.1f} kB the first time"
    name = f"top {TOP} of {PROCESSES:,} processes"
    return [
        Row(f"{name}: CPU time", f"{cpu:.2f} s", f"{their_cpu:.2f} s", "", cpu / their_cpu, MOST_CPU, True),
        Row(f"{name}: sent, kB", f"{kilobytes:.1f} kB", "", first, kilobytes, MOST_SENT_KB, True),
    ]


def _cpu_seconds(node: ErlangNode) -> float:
    """What all threads of a node have used so far."""
    fields = Path(f"/proc/{node.process_id}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _walk(target: ErlangNode, beside: ErlangNode) -> list[Row]:
    target.evaluate(f"{MODULE}:be_core(), {MODULE}:start_echo(), {MODULE}:watch_memory()")
    rows = int(target.evaluate(f"{MODULE}:fill({ROWS})", PATIENCE))
    walks, folds, heaps, peaks, grown = [], [], [], [], []
    for _ in range(WALKS):
        folds.append(int(target.evaluate(f"element(1, {MODULE}:fold())", PATIENCE)) / 1e9)
        target.evaluate(f"{MODULE}:memory()")
        with _Walk(target) as walk:
            walks.append(walk.wait())
        heaps.append(int(target.evaluate(f"{MODULE}:memory()")) / 1e6)
        peaks.append(walk.peak_mb)
        grown.append(walk.grown_mb)
    speed, their_speed = rows / median(walks), rows / median(folds)
    name = f"walk of {rows:,} rows"
    peak, heap = max(peaks), max(heaps)
    grown_text = f"{peak:.0f} MB, {max(grown):+.1f} after 1 s"
    return [
        Row(
            f"{name}: rows/s",
            f"{speed / 1e6:.2f} M/s",
            f"{their_speed / 1e6:.2f} M/s",
            "",
            speed / their_speed,
            None,
            False,
        ),
        Row(f"{name}: our memory, MB", grown_text, "", "", peak, MOST_MEMORY_MB, True),
        Row(f"{name}: its memory there, MB", f"{heap:.0f} MB", "", "", heap, MOST_HEAP_MB, True),
        _pings("the node's own ping meanwhile: p99", target, target, MOST_PING),
        _pings("another node's ping meanwhile: p99", target, beside, None),
    ]


def _pings(name: str, target: ErlangNode, asker: ErlangNode, most: float | None) -> Row:
    """How the pings of a node change while the table is walked; and, to compare, while it is folded."""
    idle = _ping(target, asker)
    with _Walk(target) as walk:
        walk.begun.wait()
        busy = _ping(target, asker)
        if walk.is_over:
            raise RuntimeError("the walk was over before the pings were")
    idle += _ping(target, asker)
    pid = target.evaluate(f"{MODULE}:keep_folding()")
    folding = _ping(target, asker)
    target.evaluate(f'{MODULE}:stop_folding(list_to_pid("{pid}"))')
    idle += _ping(target, asker)
    quiet, during, beside_fold = median(idle), median(busy), median(folding)
    return Row(
        name,
        _microseconds(during),
        _microseconds(beside_fold),
        f"idle {_microseconds(quiet)}",
        during / quiet,
        most,
        True,
    )


def _ping(target: ErlangNode, asker: ErlangNode) -> list[float]:
    """The 99th percentile of each window, in seconds."""
    pinging = f"{MODULE}:ping('{target.name}', {WINDOW_MS}, {WINDOWS})"
    told = asker.evaluate_bytes(f"lists:join(32, [integer_to_list(P99) || {{P99, _}} <- {pinging}])")
    return [int(nanoseconds) / 1e9 for nanoseconds in told.split()]


def _microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:.3g} µs" if seconds < 1e-3 else f"{seconds * 1e6:.0f} µs"


class _Walk:
    """``iris-admin offline summary`` in a process of its own, as an operator runs it.

    :ivar begun: is set after its first second, when it walks.
    :ivar peak_mb: the most memory that the process has had.
    :ivar grown_mb: how much of that came after its first second.
    """

    def __init__(self, target: ErlangNode) -> None:
        self.begun = threading.Event()
        self.peak_mb = self.grown_mb = 0.0
        self._environment = os.environ | target.environment | {"PYTHONPATH": _where_iris_admin_is()}

    def __enter__(self) -> _Walk:
        self._started = monotonic()
        command = [sys.executable, "-m", "iris_admin", "-o", "json", "offline", "summary"]
        self._process = subprocess.Popen(command, env=self._environment, stdout=subprocess.DEVNULL)
        self._watcher = threading.Thread(target=self._watch)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._watcher.join()

    def _watch(self) -> None:
        # Of the process itself: the figures of wait4(2) begin with those of whoever started it.
        status = Path(f"/proc/{self._process.pid}/status")
        early = 0.0
        while self._process.poll() is None:
            try:
                lines = status.read_text(encoding="utf-8").splitlines()
            except ProcessLookupError:  # it ended while it was looked at
                break
            for line in lines:
                if line.startswith("VmHWM:"):  # none of one that has just ended
                    self.peak_mb = int(line.split()[1]) / 1024
            if monotonic() - self._started < 1:
                early = self.peak_mb
            else:
                self.begun.set()
            self.grown_mb = self.peak_mb - early
            sleep(0.02)
        self.begun.set()  # nobody is to wait for one that has ended

    @property
    def is_over(self) -> bool:
        return self._process.poll() is not None

    def wait(self) -> float:
        """Until it ends by itself.

        :return: how long it took, in seconds.
        """
        if self._process.wait(PATIENCE):
            raise RuntimeError(f"iris-admin offline summary ended with status {self._process.returncode}")
        return monotonic() - self._started


def _where_iris_admin_is() -> str:
    return str(Path(iris_admin.__file__).parents[1])
