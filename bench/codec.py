"""How fast the codec is, next to the BEAM's own and to those of others.

Usage: ``python bench/codec.py [--elements N] [--rounds N]``. Prints one table, and ends with status 1 if a target was
missed. It needs ``erl`` and ``erlc``; the compiled codec, and the packages of others, are measured if they are there.

Two payloads, made by an Erlang node: *rows* of a table with 200 bytes of content each, and *maps* as
``erlang:process_info`` gives them. Everybody decodes the same bytes, and encodes what came of them. In each round all
have their turn, one after another, so that whatever else the machine does hits all alike; what counts is the median.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from iris_admin.collector import without_collector  # noqa: E402
from iris_admin.proto import _etf_decode, _etf_encode  # noqa: E402

ERLANG_MODULE = "iris_admin_bench_codec"
PAYLOADS = ("rows", "maps")

#: How many times as fast as the BEAM the compiled codec has to be.
TARGETS = {"decode": 1.0, "encode": 0.8}
#: And how many times as fast as the codecs of others.
PEER_TARGETS = {"Term (Rust)": 5.0, "erlang_py": 15.0}

Direction = Literal["decode", "encode"]


@dataclass
class Codec:
    """Somebody who decodes and encodes.

    :ivar rounds: at most so many, because some take ten seconds for one.
    :ivar seconds: what each turn took, by payload and direction.
    """

    name: str
    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes]
    rounds: int = 1_000
    seconds: dict[tuple[str, Direction], list[float]] = field(default_factory=dict)

    def add(self, payload: str, direction: Direction, seconds: float) -> None:
        """Note what a turn took."""
        self.seconds.setdefault((payload, direction), []).append(seconds)

    def take_turn(self, payload: str, data: bytes) -> None:
        """Decode and encode a payload once."""
        gc.collect()
        start = time.perf_counter()
        term = self.decode(data)
        self.add(payload, "decode", time.perf_counter() - start)
        gc.collect()
        start = time.perf_counter()
        encoded = self.encode(term)
        self.add(payload, "encode", time.perf_counter() - start)
        assert encoded


class Beam:
    """An Erlang node that times itself; what it says goes into a :class:`Codec` that never runs here."""

    def __init__(self, directory: Path) -> None:
        source = ROOT / "bench" / "erl" / f"{ERLANG_MODULE}.erl"
        subprocess.run(["erlc", "-o", directory, source], check=True)
        self._process = subprocess.Popen(
            ["erl", "-noshell", "-pa", directory, "-run", ERLANG_MODULE, "main"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.release = subprocess.run(
            ["erl", "-noshell", "-eval", "io:put_chars(erlang:system_info(otp_release)), halt()."],
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    def ask(self, request: str) -> list[int]:
        """Send a request, and return the numbers of the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(request + "\n")
        self._process.stdin.flush()
        return [int(number) for number in self._process.stdout.readline().split()]

    def stop(self) -> None:
        """End the node."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except Exception:
        return None


def codecs() -> list[Codec]:
    """All that can be measured here, ours first."""
    found = []
    twin = _module("iris_admin.proto._etf")
    if twin is not None:
        found.append(Codec("compiled", lambda data: without_collector(twin.decode, data), twin.encode))
    found.append(Codec("pure", lambda data: without_collector(_etf_decode.decode, data), _etf_encode.encode, rounds=5))
    term = _module("term.codec")
    if term is not None and _module("term.native_codec_impl") is not None:
        found.append(Codec("Term (Rust)", lambda data: term.binary_to_term(data)[0], term.term_to_binary, rounds=3))
    erlang_py = _module("erlang")
    if hasattr(erlang_py, "binary_to_term"):
        found.append(Codec("erlang_py", erlang_py.binary_to_term, erlang_py.term_to_binary, rounds=1))
    return found


def measure(elements: int, rounds: int) -> tuple[Codec, list[Codec], dict[str, int], str]:
    """Run it all.

    :return: the BEAM, everybody else, the sizes of the payloads in bytes, and the release of OTP.
    """
    ours = codecs()
    beam = Codec("BEAM", bytes, bytes)
    sizes: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as directory:
        node = Beam(Path(directory))
        try:
            for payload in PAYLOADS:
                file = Path(directory, payload)
                (sizes[payload],) = node.ask(f"make {payload} {elements} {file}")
                data = file.read_bytes()
                for turn in range(rounds):
                    decoding, encoding = node.ask(f"time {payload}")
                    beam.add(payload, "decode", decoding / 1e9)
                    beam.add(payload, "encode", encoding / 1e9)
                    for codec in ours:
                        if turn < codec.rounds:
                            codec.take_turn(payload, data)
        finally:
            node.stop()
    return beam, ours, sizes, node.release


def table(beam: Codec, others: list[Codec], sizes: dict[str, int]) -> tuple[list[str], bool]:
    """The lines of the table, and whether all targets were reached."""
    by_name = {codec.name: codec for codec in others}
    reached = True
    lines = [f"{'payload':8} {'':7} {'codec':12} {'ms':>9} {'MB/s':>7} {'x BEAM':>7}  target"]
    for payload in PAYLOADS:
        for direction in TARGETS:
            key: tuple[str, Any] = (payload, direction)
            reference = median(beam.seconds[key])
            for codec in (beam, *others):
                seconds = median(codec.seconds[key])
                verdicts = []
                if codec.name == "compiled":
                    verdicts.append((f">= {TARGETS[key[1]]} x BEAM", reference / seconds >= TARGETS[key[1]]))
                if codec.name in PEER_TARGETS and "compiled" in by_name:
                    ratio = seconds / median(by_name["compiled"].seconds[key])
                    least = PEER_TARGETS[codec.name]
                    verdicts.append((f"compiled >= {least:.0f} x this: {ratio:.0f} x", ratio >= least))
                reached = reached and all(verdict for _, verdict in verdicts)
                text = "; ".join(f"{target}: {'pass' if verdict else 'MISSED'}" for target, verdict in verdicts)
                rate = sizes[payload] / seconds / 1e6
                figures = f"{seconds * 1e3:9.1f} {rate:7.0f} {reference / seconds:7.2f}"
                lines.append(f"{payload:8} {direction:7} {codec.name:12} {figures}  {text}".rstrip())
    return lines, reached


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--elements", type=int, default=100_000, help="length of each payload (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=15, help="turns of the fast ones (default: %(default)s)")
    options = parser.parse_args()
    beam, others, sizes, release = measure(options.elements, options.rounds)
    lines, reached = table(beam, others, sizes)
    python = ".".join(map(str, sys.version_info[:3]))
    lines.insert(0, f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {python}, OTP {release}")
    if all(codec.name != "compiled" for codec in others):
        lines.append("The compiled codec is not installed, so no target was looked at.")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
