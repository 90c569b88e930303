"""How fast the codec is, next to the BEAM's own and to those of others that are installed.

Two payloads, made by an Erlang node: *rows* of a table with 200 bytes of content each, and *maps* as
``erlang:process_info`` gives them. Everybody decodes the same bytes, and encodes what came of them. In each round all
have their turn, one after another, so that whatever else the machine does hits all alike; what counts is the median.
"""

from __future__ import annotations

import gc
import importlib
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal

from bench.nodes import compiled
from bench.report import Row
from iris_admin.large_term import decode_large
from iris_admin.proto import _etf_decode, _etf_encode

ERLANG_MODULE = "iris_admin_bench_codec"
PAYLOADS = ("rows", "maps")
#: Length of each payload.
ELEMENTS = 100_000
#: Turns of the fast ones.
ROUNDS = 9

Direction = Literal["decode", "encode"]
#: How many times as fast as the BEAM the compiled codec has to be.
TARGETS: dict[Direction, float] = {"decode": 1.0, "encode": 0.8}
#: And how many times as fast as the codecs of others.
PEER_TARGETS = {"Term (Rust)": 5.0, "erlang_py": 15.0}


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
        compiled(ERLANG_MODULE, directory)
        self._process = subprocess.Popen(
            ["erl", "-noshell", "-pa", directory, "-run", ERLANG_MODULE, "main"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

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
        found.append(Codec("compiled", lambda data: decode_large(twin.decode, data), twin.encode))
    found.append(Codec("pure", lambda data: decode_large(_etf_decode.decode, data), _etf_encode.encode, rounds=3))
    term = _module("term.codec")
    if term is not None and _module("term.native_codec_impl") is not None:
        found.append(Codec("Term (Rust)", lambda data: term.binary_to_term(data)[0], term.term_to_binary, rounds=3))
    erlang_py = _module("erlang")
    if hasattr(erlang_py, "binary_to_term"):
        found.append(Codec("erlang_py", erlang_py.binary_to_term, erlang_py.term_to_binary, rounds=1))
    return found


def measure() -> list[Row]:
    """Run it all: for each payload and direction the compiled codec next to each of the others, and the pure one."""
    others = codecs()
    beam = Codec("BEAM", bytes, bytes)
    sizes: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="iris-admin-bench-") as directory:
        node = Beam(Path(directory))
        try:
            for payload in PAYLOADS:
                file = Path(directory, payload)
                (sizes[payload],) = node.ask(f"make {payload} {ELEMENTS} {file}")
                data = file.read_bytes()
                for turn in range(ROUNDS):
                    decoding, encoding = node.ask(f"time {payload}")
                    beam.add(payload, "decode", decoding / 1e9)
                    beam.add(payload, "encode", encoding / 1e9)
                    for codec in others:
                        if turn < codec.rounds:
                            codec.take_turn(payload, data)
        finally:
            node.stop()
    return [
        row
        for payload in PAYLOADS
        for direction in TARGETS
        for row in _rows(f"{direction} {payload}", (payload, direction), sizes[payload] / 1e6, beam, others)
    ]


def _rows(name: str, key: tuple[str, Direction], size: float, beam: Codec, others: list[Codec]) -> list[Row]:
    """The rows of one payload and direction; speeds in MB/s."""
    speeds = {codec.name: size / median(codec.seconds[key]) for codec in (beam, *others)}
    texts = {codec: f"{speed:.0f} MB/s" if speed >= 10 else f"{speed:.1f} MB/s" for codec, speed in speeds.items()}
    # Without the compiled codec there is nothing to hold against the targets, so they are missed.
    ours = speeds.get("compiled")
    rows = [
        Row(
            f"{name}, compiled",
            texts.get("compiled", "not installed"),
            texts["BEAM"],
            "",
            None if ours is None else ours / speeds["BEAM"],
            TARGETS[key[1]],
            at_most=False,
        )
    ]
    rows += [
        Row(
            f"{name}, compiled to {peer}",
            texts.get("compiled", "not installed"),
            "",
            f"{peer} {texts[peer]}",
            None if ours is None else ours / speeds[peer],
            target,
            at_most=False,
        )
        for peer, target in PEER_TARGETS.items()
        if peer in speeds
    ]
    pure = speeds["pure"] / speeds["BEAM"]
    return [*rows, Row(f"{name}, pure", texts["pure"], texts["BEAM"], "", pure, None, at_most=False)]
