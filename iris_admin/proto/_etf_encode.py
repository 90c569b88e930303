"""The encoding half of :mod:`iris_admin.proto.etf`.

One loop over a stack of iterators: the nesting of a value then never meets Python's recursion limit, and a list
that contains itself ends at :data:`MAX_DEPTH`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from itertools import chain
from math import isfinite
from typing import Any

from iris_admin.errors import EncodeError
from iris_admin.terms import (
    MAX_DEPTH,
    Atom,
    BitString,
    Export,
    Fun,
    ImproperList,
    LocalTerm,
    Map,
    NativeRecord,
    Pid,
    Port,
    Reference,
    Term,
)

#: How many 32-bit words a reference may have; the BEAM refuses more.
MAX_REFERENCE_WORDS = 5

_MAX_STRING_LENGTH = 0xFFFF

_u8_pair = struct.Struct(">BB").pack
_tagged_u16 = struct.Struct(">BH").pack
_tagged_u32 = struct.Struct(">BI").pack
_tagged_i32 = struct.Struct(">Bi").pack
_tagged_f64 = struct.Struct(">Bd").pack
_big = struct.Struct(">BBB").pack
_large_big = struct.Struct(">BIB").pack
_bits = struct.Struct(">BIB").pack
_u32_pair = struct.Struct(">II").pack
_u32_triple = struct.Struct(">III").pack
_u64_u32 = struct.Struct(">QI").pack
_record_header = struct.Struct(">BIB").pack
_fun_header = struct.Struct(">B16sII").pack

_SMALL_INTEGERS = tuple(bytes((97, value)) for value in range(256))
_SMALL_TUPLES = tuple(bytes((104, size)) for size in range(256))

_MAX_CACHED_ATOMS = 8192


def encode(term: Term) -> bytes:
    """Encode a term as ``term_to_binary`` does: with the leading version byte 131.

    :param term: a value of the table in :mod:`iris_admin.terms`.
    :return: the encoding.
    :raises EncodeError: when the value, or one inside it, has no Erlang counterpart, or when it nests deeper than
        :data:`MAX_DEPTH`.
    """
    return b"\x83" + encode_term(term)


def encode_term(term: Term) -> bytes:
    """Encode a term without the version byte, as it stands in a distribution message.

    :param term: as for :func:`encode`.
    :return: the encoding.
    :raises EncodeError: as :func:`encode`.
    """
    if type(term) is LocalTerm:
        return b"y" + term.data
    return _encode(term, None)


def canonical(term: Term) -> bytes:
    """Bytes that are equal for two terms exactly where Erlang's ``=:=`` (of OTP 27) holds between them.

    That is the encoding, with each map replaced by a digest of its associations in sorted order.

    :param term: as for :func:`encode`.
    :return: the bytes; they are no external term.
    :raises EncodeError: as :func:`encode`.
    """
    from hashlib import blake2b

    if type(term) is LocalTerm:
        return b"y" + term.data
    digests: dict[int, bytes] = {}
    seen: set[int] = set()
    # Children before parents: each map's digest is ready when something around it is encoded.
    stack: list[tuple[Term, bool]] = [(term, False)]
    while stack:
        node, done = stack.pop()
        if done:
            pairs = sorted(_encode(key, digests) + _encode(value, digests) for key, value in node.items())
            digest = b"t" + blake2b(b"".join(pairs), digest_size=24).digest()
            digests[id(node)] = digest
            if isinstance(node, Map):
                object.__setattr__(node, "_digest", digest)
            continue
        below = _children(node)
        if below is None or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, Map) and node._digest is not None:
            digests[id(node)] = node._digest
            continue
        if isinstance(node, (dict, Map)):
            stack.append((node, True))
        stack.extend((child, False) for child in below)
    return _encode(term, digests)


def _children(node: Term) -> Iterable[Term] | None:
    """The terms inside a container, or None for anything else."""
    if isinstance(node, (dict, Map)):
        return chain.from_iterable(node.items())
    if isinstance(node, (list, tuple)):
        return node
    if isinstance(node, ImproperList):
        return (*node.elements, node.tail)
    if isinstance(node, Fun):
        return node.free_vars
    if isinstance(node, NativeRecord):
        return node.values
    return None


def _encode(term: Term, digests: dict[int, bytes] | None) -> bytes:
    out: list[bytes] = []
    append = out.append
    stack: list[Iterator[Term]] = []
    terms: Iterator[Term] = iter((term,))
    # Set when the value may hold two spellings of one key, such as True and Atom("true").
    is_ambiguous = has_maps = False
    # A fun's size stands in front of it: where to put it, and where the fun's own iterator is on the stack.
    open_funs: list[tuple[int, int]] = []
    try:
        while True:
            for item in terms:
                kind = type(item)
                if kind is bytes:
                    append(_tagged_u32(109, len(item)))
                    append(item)
                    continue
                if kind is Atom:
                    encoded = _atom(item)
                    if encoded is _TRUE or encoded is _FALSE:
                        is_ambiguous = True
                    append(encoded)
                    continue
                if kind is int:
                    if 0 <= item <= 255:
                        append(_SMALL_INTEGERS[item])
                    elif -0x80000000 <= item <= 0x7FFFFFFF:
                        append(_tagged_i32(98, item))
                    else:
                        append(_big_integer(item))
                    continue
                if kind is not tuple and kind not in _ENCODED_TYPES:
                    item, kind = _known(item)
                if kind is tuple:
                    size = len(item)
                    append(_SMALL_TUPLES[size] if size <= 255 else _tagged_u32(105, size))
                    below = iter(item)
                elif kind is list or kind is ImproperList:
                    tail: Term = []
                    if kind is ImproperList:
                        # Its tail may be a list: a second spelling of a longer list.
                        is_ambiguous = is_ambiguous or type(item.tail) in (list, ImproperList)
                        item, tail = _flat(item)
                    if type(tail) is list:
                        if not item:
                            append(b"j")
                            continue
                        if type(item[0]) is int and len(item) <= _MAX_STRING_LENGTH:
                            string = _string(item)
                            if string is not None:
                                append(string)
                                continue
                    append(_tagged_u32(108, len(item)))
                    below = chain(item, (tail,))
                elif kind is dict or kind is Map:
                    if digests is not None:
                        append(digests[id(item)])
                        continue
                    is_ambiguous = is_ambiguous or kind is Map
                    has_maps = has_maps or len(item) > 1
                    append(_tagged_u32(116, len(item)))
                    below = chain.from_iterable(item.items())
                elif kind is Fun:
                    append(_fun(item))
                    if item.arity is not None:
                        open_funs.append((len(stack), len(out) - 1))
                    below = iter(item.free_vars)
                elif kind is NativeRecord:
                    append(_record(item))
                    below = iter(item.values)
                else:
                    append(_leaf(item, kind))
                    continue
                if len(stack) >= MAX_DEPTH:
                    raise EncodeError(f"the value nests deeper than {MAX_DEPTH} levels, or contains itself")
                stack.append(terms)
                terms = below
                break
            else:
                if not stack:
                    break
                terms = stack.pop()
                if open_funs and open_funs[-1][0] == len(stack):
                    _close_fun(out, open_funs.pop()[1])
    except (struct.error, OverflowError):
        raise EncodeError("a number in a pid, port, reference, fun or length is out of range") from None
    except KeyError:
        raise EncodeError("a map contains itself") from None
    encoded = b"".join(out)
    if is_ambiguous and has_maps and digests is None:
        _refuse_repeated_keys(encoded)
    return encoded


def _close_fun(out: list[bytes], header: int) -> None:
    """Put the fun's size, which counts itself, in front of its parts."""
    size = 4 + sum(len(part) for part in out[header:])
    out[header] = _tagged_u32(112, size) + out[header]


def _refuse_repeated_keys(encoded: bytes) -> None:
    from iris_admin.errors import DecodeError
    from iris_admin.proto._etf_decode import decode_term

    try:
        decode_term(encoded)
    except DecodeError as error:
        raise EncodeError(f"the node would refuse the value: {error}") from None


# Values as the loop knows them.

_ENCODED_TYPES: frozenset[type] = frozenset(
    {Atom, bool, int, float, bytes, tuple, list, dict, Map, ImproperList, BitString}
    | {Pid, Port, Reference, Export, Fun, NativeRecord}
)
_CONVERTIBLE_TYPES: tuple[type[Any], ...] = (Atom, int, float, tuple, list)


def _known(value: Term) -> tuple[Term, type]:
    """The value and the type to treat it as: for subclasses such as named tuples, enumerations and bytearrays.

    :raises EncodeError: when there is none.
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value), bytes
    if isinstance(value, dict):
        return value, dict
    for kind in _CONVERTIBLE_TYPES:
        if isinstance(value, kind):
            return kind(value), kind
    if isinstance(value, str):
        raise EncodeError(
            f"a str has no Erlang counterpart: {value[:60]!r}",
            hint='say which is meant: b"..." for a binary, Atom("...") for an atom, charlist("...") for a string',
        )
    if value is None:
        raise EncodeError("None has no Erlang counterpart", hint='say which is meant, e.g. Atom("undefined")')
    if isinstance(value, LocalTerm):
        raise EncodeError("a LocalTerm can only be encoded on its own, not inside another term")
    raise EncodeError(f"a value of the type {type(value).__name__} has no Erlang counterpart")


def _flat(improper: ImproperList) -> tuple[list[Term], Term]:
    """The elements and the tail, where a tail that is itself a list has become part of the elements."""
    elements = list(improper.elements)
    tail = improper.tail
    for _ in range(MAX_DEPTH):
        if isinstance(tail, list):
            elements.extend(tail)
            tail = []
            break
        if not isinstance(tail, ImproperList):
            break
        elements.extend(tail.elements)
        tail = tail.tail
    if not elements:
        raise EncodeError("an improper list without elements")
    return elements, tail


def _string(items: list[Term]) -> bytes | None:
    """STRING_EXT for a list of bytes, or None for any other list; it starts with an int."""
    try:
        characters = bytes(items)
    except (ValueError, TypeError):
        return None
    # bytes() takes True for 1.
    return _tagged_u16(107, len(items)) + characters if set(map(type, items)) == {int} else None


def _leaf(value: Any, kind: type) -> bytes:
    if kind is bool:
        return _TRUE if value else _FALSE
    if kind is float:
        if not isfinite(value):
            raise EncodeError(f"{value} has no Erlang counterpart")
        return _tagged_f64(70, value)
    if kind is Pid:
        return _pid(value)
    if kind is Reference:
        return _reference(value)
    if kind is Port:
        return _port(value)
    if kind is Export:
        return _export(value)
    if kind is BitString:
        return _bits(77, len(value.data), value.last_bits) + bytes(value.data)
    if kind is bytes:
        return _tagged_u32(109, len(value)) + bytes(value)
    if kind is Atom:
        return _atom(value)
    return _integer(value)


class _Atoms(dict[str, bytes]):
    """Encoded atoms by their name."""

    def __missing__(self, name: str) -> bytes:
        try:
            characters = name.encode()
        except UnicodeEncodeError:
            raise EncodeError(f"an atom that UTF-8 cannot hold: {name!r}") from None
        if len(self) >= _MAX_CACHED_ATOMS:
            self.clear()
            self.update(true=_TRUE, false=_FALSE)
        size = len(characters)
        encoded = (_u8_pair(119, size) if size <= 255 else _tagged_u16(118, size)) + characters
        self[name] = encoded
        return encoded


_TRUE, _FALSE = b"w\x04true", b"w\x05false"
_atoms = _Atoms(true=_TRUE, false=_FALSE)
_atom = _atoms.__getitem__


def _integer(value: int) -> bytes:
    if 0 <= value <= 255:
        return _SMALL_INTEGERS[value]
    if -0x80000000 <= value <= 0x7FFFFFFF:
        return _tagged_i32(98, value)
    return _big_integer(value)


def _big_integer(value: int) -> bytes:
    sign = value < 0
    size = (value.bit_length() + 7) // 8
    header = _big(110, size, sign) if size <= 255 else _large_big(111, size, sign)
    return header + abs(value).to_bytes(size, "little")


def _pid(pid: Pid) -> bytes:
    return b"X" + _atom(pid.node) + _u32_triple(pid.id, pid.serial, pid.creation)


def _port(port: Port) -> bytes:
    if port.id >= 1 << 28:
        return b"x" + _atom(port.node) + _u64_u32(port.id, port.creation)
    return b"Y" + _atom(port.node) + _u32_pair(port.id, port.creation)


def _reference(reference: Reference) -> bytes:
    count = len(reference.ids)
    if not 1 <= count <= MAX_REFERENCE_WORDS:
        raise EncodeError(f"a reference of {count} words")
    words = struct.pack(f">{count + 1}I", reference.creation, *reference.ids)
    return _tagged_u16(90, count) + _atom(reference.node) + words


def _export(export: Export) -> bytes:
    if not 0 <= export.arity <= 255:
        raise EncodeError(f"an arity of {export.arity}")
    return b"q" + _atom(export.module) + _atom(export.function) + _SMALL_INTEGERS[export.arity]


def _fun(fun: Fun) -> bytes:
    """The part in front of the values that the fun closed over; the size of NEW_FUN_EXT is still missing."""
    if fun.arity is None or fun.uniq is None:
        header = _tagged_u32(117, len(fun.free_vars)) + _pid(fun.pid) + _atom(fun.module)
        return header + _integer(fun.index) + _integer(fun.old_uniq)
    if len(fun.uniq) != 16:
        raise EncodeError(f"a fun's uniq of {len(fun.uniq)} bytes instead of 16")
    header = _fun_header(fun.arity, fun.uniq, fun.index, len(fun.free_vars)) + _atom(fun.module)
    return header + _integer(fun.old_index) + _integer(fun.old_uniq) + _pid(fun.pid)


def _record(record: NativeRecord) -> bytes:
    if len(record.fields) != len(record.values):
        raise EncodeError(f"a record with {len(record.fields)} fields and {len(record.values)} values")
    header = _record_header(67, len(record.fields), record.flags) + _atom(record.module) + _atom(record.name)
    return header + b"".join(map(_atom, record.fields))
