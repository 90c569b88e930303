"""Turns the bytes of a fuzzer into choices, so that small changes of the bytes are small changes of what is tried."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, TypeVar

from iris_admin.terms import Atom, BitString, Export, ImproperList, Map, Pid, Port, Reference

T = TypeVar("T")

_LEAVES: list[Any] = [
    *(0, 1, 255, 256, -1, 2**31, 2**63, 2**64, 2**100, -(2**70), 0.0, -0.0, 1.5, True, False),
    *(b"", b"x", b"\xff\xe2\x82", b"x" * 300, Atom("ok"), Atom(""), Atom("é"), Atom("Δ" * 200), Atom("undefined")),
    *(Pid(Atom("a@b"), 1, 2, 3), Port(Atom("a@b"), 1 << 30, 3), Reference(Atom("é@b"), 1, (1, 2, 3))),
    *(Export(Atom("m"), Atom("f"), 2), BitString(b"\xa0", 3), [], (), {}, 0xD800, 0x10FFFF, 0x110000),
]


class Choices(random.Random):
    """Has the methods of :class:`random.Random` that are used here; when the bytes are used up, the first choice."""

    def __new__(cls, data: bytes) -> Choices:
        return super().__new__(cls)

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    @property
    def left(self) -> int:
        """How many bytes are left."""
        return len(self._data) - self._position

    def take(self, length: int) -> bytes:
        """The next bytes; fewer at the end."""
        start = self._position
        self._position = min(start + length, len(self._data))
        return self._data[start : self._position]

    def byte(self) -> int:
        """A number of 0 to 255."""
        return int.from_bytes(self.take(1), "big")

    def sized(self) -> bytes:
        """Bytes behind two bytes with their length."""
        return self.take(int.from_bytes(self.take(2), "big"))

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        """As of :class:`random.Random`; 65,536 numbers at most."""
        if stop is None:
            start, stop = 0, start
        width = stop - start
        return start + (self.byte() if width <= 256 else int.from_bytes(self.take(2), "big")) % width

    def choice(self, seq: Sequence[T]) -> T:  # type: ignore[override]
        """One of them."""
        return seq[self.randrange(len(seq))]

    def random(self) -> float:
        """A number of 0 to 1."""
        return self.byte() / 256

    def getrandbits(self, k: int) -> int:
        """A number of so many bits."""
        return int.from_bytes(self.take((k + 7) // 8), "big") & ((1 << k) - 1)

    def term(self, leaves: Sequence[Any] = (), depth: int = 4) -> Any:
        """A term.

        :param leaves: values to put into it besides the usual ones.
        """
        kind = self.randrange(12 if depth else 4)
        if kind < 2:
            return self.choice(leaves or _LEAVES)
        if kind == 2:
            return self.choice(_LEAVES)
        if kind == 3:
            return self.getrandbits(self.randrange(1, 80))
        if kind == 4:
            return self.take(self.byte())
        below = [self.term(leaves, depth - 1) for _ in range(self.randrange(6))]
        if kind < 7:
            return below
        if kind < 10:
            return tuple(below)
        if kind == 10 and below:
            return ImproperList(tuple(below), Atom("tail"))
        if kind == 11 and self.byte() > 240:
            nested: Any = below
            for _ in range(self.randrange(10_500)):
                nested = (nested,)
            return nested
        return Map([(key, Atom("value")) for key in below])
