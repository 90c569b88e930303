"""A reply of 100,000 rows, received and decoded; and small calls of the same ``Node`` beside such replies."""

from __future__ import annotations

import tempfile
from statistics import median

from bench.client import MODULE, Client
from bench.nodes import compiled, erlang_nodes
from bench.report import Row

ROWS = 100_000
ROUNDS = 7
SMALL_ROUNDS = 3
SMALL_CALLS = 5000


def measure() -> list[Row]:
    """In each round all have their turn, one after another."""
    beam_times, ours, idle, busy, beam_busy = [], [], [], [], []
    with erlang_nodes() as start, tempfile.TemporaryDirectory(prefix="iris-admin-bench-") as directory:
        flags = ["-pa", str(compiled(MODULE, directory))]
        target = start("called", flags=flags)
        beam = start("caller", flags=flags, cookie=target.cookie, hidden=True)
        target.evaluate(f"{MODULE}:make_rows({ROWS})")
        client = Client(target, "compiled")
        try:
            for _ in range(ROUNDS):
                beam_times.append(int(beam.evaluate(f"{MODULE}:fetch('{target.name}')")) / 1e9)
                ours.append(client.ask("large 1")[0])
            for _ in range(SMALL_ROUNDS):
                idle.append(client.ask(f"sequential {SMALL_CALLS}")[1])
                busy.append(client.ask(f"beside_large {SMALL_CALLS}")[1])
                told = beam.evaluate(f"element(2, {MODULE}:beside('{target.name}', {SMALL_CALLS}))")
                beam_busy.append(int(told) / 1e9)
        finally:
            client.stop()
    took, their = median(ours), median(beam_times)
    quiet, beside = median(idle), median(busy)
    return [
        Row(f"{ROWS:,} rows", f"{took * 1e3:.0f} ms", f"{their * 1e3:.0f} ms", "", took / their, 1.1, at_most=True),
        Row(
            "a small call beside them, p99, to idle",
            f"{beside * 1e3:.2f} ms",
            f"{median(beam_busy) * 1e3:.2f} ms",
            f"idle {quiet * 1e3:.2f} ms",
            beside / quiet,
            5.0,
            at_most=True,
        ),
    ]
