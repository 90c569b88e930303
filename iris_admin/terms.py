"""Erlang values in Python.

========================  ==========================================
Erlang                    Python
========================  ==========================================
atom                      :class:`Atom` (``true``, ``false``: bool)
integer, float            int, float
binary                    bytes
list, charlist            list (:func:`charlist` makes the second)
tuple                     tuple
map                       dict, or :class:`Map` where a dict cannot
pid, port, reference      :class:`Pid`, :class:`Port`, :class:`Reference`
fun, ``fun m:f/a``        :class:`Fun`, :class:`Export`
improper list             :class:`ImproperList`
bitstring                 :class:`BitString`
record (OTP 29)           :class:`NativeRecord`
``local`` terms           :class:`LocalTerm`
========================  ==========================================

A ``str`` is none of these on purpose: it could mean a binary, an atom or a charlist, and the wrong guess
reaches a live system as a quiet ``badarg`` or, worse, as an empty answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn, TypeAlias

from iris_admin.records import record

#: Any value of the table above.
Term: TypeAlias = Any

MAX_ATOM_CHARACTERS = 255
#: How many containers may stand inside each other, both ways.
MAX_DEPTH = 10_000
#: What a compressed term may grow to, in bytes, unless the caller says otherwise.
DEFAULT_MAX_SIZE = 256 * 1024 * 1024


class Atom(str):
    """An Erlang atom.

    It is a ``str`` too, so that it compares with one: ``match reply: case ("ok", value): ...``.

    :raises ValueError: for a name longer than 255 characters, the limit of the BEAM.
    """

    __slots__ = ()

    def __new__(cls, name: str) -> Atom:
        if len(name) > MAX_ATOM_CHARACTERS:
            raise ValueError(f"an atom has at most {MAX_ATOM_CHARACTERS} characters, this one has {len(name)}")
        return str.__new__(cls, name)

    def __repr__(self) -> str:
        return f"Atom({str.__repr__(self)})"


@record
class Pid:
    """A process identifier. ``<0.id.serial>`` on its own node."""

    node: Atom
    id: int
    serial: int
    creation: int


@record
class Port:
    """A port identifier. ``#Port<0.id>`` on its own node."""

    node: Atom
    id: int
    creation: int


@record
class Reference:
    """A reference. ``ids`` are its 32-bit words, in the order of the wire."""

    node: Atom
    creation: int
    ids: tuple[int, ...]


@record
class Export:
    """An external fun, ``fun module:function/arity``."""

    module: Atom
    function: Atom
    arity: int


@record
class Fun:
    """A local fun: code identity and the values it closed over.

    ``arity`` and ``uniq`` are None for the form that OTP stopped sending in release 23 (``FUN_EXT``).
    """

    module: Atom
    arity: int | None
    uniq: bytes | None
    index: int
    old_index: int
    old_uniq: int
    pid: Pid
    free_vars: tuple[Term, ...]


@record
class ImproperList:
    """A list that does not end in ``[]``: ``[a, b | tail]``."""

    elements: tuple[Term, ...]
    tail: Term


@record
class BitString:
    """A bitstring whose length is no multiple of eight.

    ``data`` holds the bits from the most significant one on; ``last_bits`` (1..7) says how many of the last
    byte count. The others are made zero, so that equal bitstrings are equal here.

    :raises ValueError: for no data, or other numbers of bits.
    """

    data: bytes
    last_bits: int

    def __post_init__(self) -> None:
        if not self.data or not 1 <= self.last_bits <= 7:
            raise ValueError(f"a bitstring of {len(self.data)} bytes with {self.last_bits} bits in the last one")
        unused = (1 << (8 - self.last_bits)) - 1
        if self.data[-1] & unused:
            object.__setattr__(self, "data", self.data[:-1] + bytes((self.data[-1] & ~unused,)))


@record
class NativeRecord:
    """A native record (OTP 29): ``flags`` as they came over the wire."""

    module: Atom
    name: Atom
    fields: tuple[Atom, ...]
    values: tuple[Term, ...]
    flags: int


@record
class LocalTerm:
    """A term encoded with the ``local`` option: only the node that made it can read it."""

    data: bytes


class Map:
    """An Erlang map that a dict cannot hold.

    That is one with keys that Python calls equal (``1``, ``1.0`` and ``true``) or unhashable (lists, maps).
    Keys are told apart as Erlang's ``=:=`` does. Iterating gives the keys; see :meth:`items`. Two maps are equal
    when they have the same associations, in whatever order; a dict can be equal too.

    What the map holds must not be changed, lists and dicts included: lookups and hashes are remembered.

    :param pairs: the associations, in the order of the wire.
    """

    __slots__ = ("_digest", "_values", "pairs")

    pairs: tuple[tuple[Term, Term], ...]
    #: The canonical encoding, once somebody has asked for it.
    _digest: bytes | None
    #: Values by the canonical encoding of their key, once somebody has looked one up.
    _values: dict[bytes, Term] | None

    def __init__(self, pairs: Iterable[tuple[Term, Term]]) -> None:
        object.__setattr__(self, "pairs", tuple(pairs))
        object.__setattr__(self, "_digest", None)
        object.__setattr__(self, "_values", None)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a Map cannot be changed")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a Map cannot be changed")

    def __reduce__(self) -> tuple[type[Map], tuple[tuple[tuple[Term, Term], ...]]]:
        return Map, (self.pairs,)

    def items(self) -> tuple[tuple[Term, Term], ...]:
        """The associations, in the order of the wire."""
        return self.pairs

    def keys(self) -> tuple[Term, ...]:
        """The keys, in the order of the wire."""
        return tuple(key for key, _ in self.pairs)

    def values(self) -> tuple[Term, ...]:
        """The values, in the order of the wire."""
        return tuple(value for _, value in self.pairs)

    def get(self, key: Term, default: Term = None) -> Term:
        """The value of a key, or the default.

        :raises EncodeError: when the key is no term.
        """
        values = self._values
        if values is None:
            values = {_canonical(known): value for known, value in self.pairs}
            object.__setattr__(self, "_values", values)
        return values.get(_canonical(key), default)

    def __iter__(self) -> Iterator[Term]:
        return (key for key, _ in self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __contains__(self, key: Term) -> bool:
        return self.get(key, _MISSING) is not _MISSING

    def __getitem__(self, key: Term) -> Term:
        value = self.get(key, _MISSING)
        if value is _MISSING:
            raise KeyError(key)
        return value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (Map, dict)):
            return NotImplemented
        return self is other or (len(self) == len(other) and _canonical(self) == _canonical(other))

    def __hash__(self) -> int:
        return hash(_canonical(self))

    def __repr__(self) -> str:
        return f"Map({list(self.pairs)!r})"


def make_map(keys: Sequence[Term], values: Sequence[Term]) -> dict[Term, Term] | Map:
    """An Erlang map: a dict where that can hold the keys apart, else a :class:`Map`.

    :param keys: the keys, each with its value at the same place in ``values``.
    :raises ValueError: when two keys are the same for Erlang.
    """
    try:
        result = dict(zip(keys, values, strict=True))
    except (TypeError, RecursionError):  # an unhashable key, or one that is nested too deeply to be hashed
        return make_exact_map(keys, values)
    return result if len(result) == len(keys) else make_exact_map(keys, values)


def make_exact_map(keys: Sequence[Term], values: Sequence[Term]) -> Map:
    """A :class:`Map`, whatever its keys are.

    :raises ValueError: as :func:`make_map`.
    """
    if len(keys) > 1 and len({_canonical(key) for key in keys}) != len(keys):
        raise ValueError("a map with the same key twice")
    return Map(zip(keys, values, strict=True))


_MISSING = object()


def _canonical(term: Term) -> bytes:
    from iris_admin.proto.etf import canonical

    return canonical(term)


def charlist(text: str) -> list[int]:
    """The Erlang string ``"text"``: a list of code points."""
    return [ord(character) for character in text]
