"""Random values and damaged encodings, on which the two codecs are compared; ``tests.fuzz`` goes on for longer."""

from __future__ import annotations

import random
from types import ModuleType
from typing import Any

from iris_admin.proto import _etf_decode, _etf_encode
from iris_admin.terms import Atom, BitString, Export, ImproperList, Map, Pid, Port, Reference
from tests.proto.test_etf_hostile import SAMPLES
from tests.proto.test_etf_twin import EVERYDAY, VALUES, compare

#: Bytes that mean something at many places.
_FAVOURITES = bytes([0, 1, 2, 3, 4, 8, 9, 127, 128, 131, 200, 255, 67, 70, 77, 80, 82, 88, 89, 90, *range(97, 122)])

_LEAVES: list[Any] = [
    *(0, 1, 255, 256, -1, 2**31, -(2**31), 2**40, -(2**63), 2**64, 2**100, 0.0, -0.0, 1.5, True, False),
    *(b"", b"x", b"x" * 300, Atom("ok"), Atom(""), Atom("é"), Atom("Δ" * 200), Atom("true")),
    *(Pid(Atom("a@b"), 1, 2, 3), Port(Atom("a@b"), 1 << 30, 3), Reference(Atom("é@b"), 1, (1, 2, 3))),
    *(Export(Atom("m"), Atom("f"), 2), BitString(b"\xa0", 3)),
]


def random_value(source: random.Random, depth: int) -> Any:
    """A value that is a term, or nearly always."""
    kind = source.randrange(12 if depth else 5)
    if kind < 4:
        return source.choice(_LEAVES)
    if kind == 4:
        return source.choice(VALUES) if source.random() < 0.2 else source.getrandbits(source.randrange(1, 80))
    if kind == 5:
        return [source.randrange(257) for _ in range(source.randrange(6))]
    below = [random_value(source, depth - 1) for _ in range(source.randrange(5))]
    if kind < 8:
        return below
    if kind < 10:
        return tuple(below)
    if kind == 10 and below:
        return ImproperList(tuple(below), random_value(source, depth - 1))
    try:
        return {key: random_value(source, depth - 1) for key in below}
    except Exception:  # a key that cannot be hashed, or that is no term
        return Map([(key, random_value(source, depth - 1)) for key in below])


def mutated(source: random.Random, data: bytes, other: bytes) -> bytes:
    """The data with one thing changed."""
    start, end = sorted((source.randrange(len(data) + 1), source.randrange(len(data) + 1)))
    match source.randrange(7):
        case 0:
            return data[:start] + bytes((source.randrange(256),)) + data[start + 1 :]
        case 1:
            return data[:start] + bytes((source.choice(_FAVOURITES),)) + data[start + 1 :]
        case 2:
            return data[:start] + bytes((source.choice(_FAVOURITES),)) + data[start:]
        case 3:
            return data[:start] + data[start + 1 :]
        case 4:
            return data[:end]
        case 5:
            return data[:end] + data[start:]
        case _:
            return data[:start] + other[source.randrange(len(other)) :]


class Fuzzer:
    """Tries inputs and counts.

    :ivar tried: the number of inputs so far.
    :ivar differences: those inputs on which the codecs differ.
    """

    def __init__(self, seed: int, twin: ModuleType) -> None:
        self.tried = 0
        self.differences: list[object] = []
        self._source = random.Random(seed)
        self._twin = twin
        self._corpus = [*SAMPLES, *(_etf_encode.encode(term) for term in EVERYDAY[1:])]

    def _compare(self, function: str, argument: Any) -> None:
        self.tried += 1
        pure = getattr(_etf_encode if function == "encode" else _etf_decode, function)
        try:
            compare(pure, getattr(self._twin, function), argument)
        except AssertionError:
            self.differences.append((function, argument))

    def try_value(self) -> None:
        """Encode a value, and decode what has become of it, and its relatives."""
        value = random_value(self._source, 4)
        self._compare("encode", value)
        try:
            data = _etf_encode.encode(value)
        except Exception:
            return
        self.try_bytes(data)

    def try_bytes(self, data: bytes | None = None) -> None:
        """Decode bytes, and bytes that differ from them a little."""
        data = data or self._source.choice(self._corpus)
        self._compare("decode", data)
        for _ in range(self._source.randrange(1, 6)):
            data = mutated(self._source, data, self._source.choice(self._corpus)) or b"\x83"
            self._compare("decode", data)
            try:
                value = _etf_decode.decode(data)
            except Exception:
                continue
            self._compare("encode", value)
