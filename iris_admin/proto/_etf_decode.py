"""The decoding half of :mod:`iris_admin.proto.etf`.

One loop with a stack of its own, instead of one call per level: it is as fast as recursion, and nesting that a
peer chooses can then never meet Python's recursion limit. The tags that fill large replies are decoded inside
the loop; the rare ones are functions in the two tables below it.

Every count and length is held against the bytes that are left before anything is made for it, so memory is
bounded by the input. The worst case is an empty list, one byte on the wire and 64 bytes in Python; together
with the containers around it no input needs more than about 100 times its own size.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from itertools import repeat
from math import isfinite
from typing import Any, TypeAlias

from iris_admin.errors import DecodeError
from iris_admin.proto._etf_encode import MAX_REFERENCE_WORDS
from iris_admin.terms import (
    DEFAULT_MAX_SIZE,
    MAX_ATOM_CHARACTERS,
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
    make_exact_map,
    make_map,
)

#: Python hashes a tuple by recursion in C, unchecked. Keys that nest deeper than this are not hashed at all: their
#: map becomes a :class:`Map`.
_MAX_KEY_DEPTH = 200


_MAX_CACHED_ATOMS = 8192

_u16 = struct.Struct(">H").unpack_from
_u32 = struct.Struct(">I").unpack_from
_i32 = struct.Struct(">i").unpack_from
_f64 = struct.Struct(">d").unpack_from
_pid_rest = struct.Struct(">III").unpack_from
_port_rest = struct.Struct(">II").unpack_from
_v4_port_rest = struct.Struct(">QI").unpack_from
_integer = int.from_bytes

_Leaf: TypeAlias = Callable[[bytes, int], tuple[Term, int]]
#: Makes a container's value of its items; the second argument is the offset behind the last of them.
_Build: TypeAlias = Callable[[list[Term], int], Term]
_Opener: TypeAlias = Callable[[bytes, int], tuple[int, int, _Build]]

# Atoms by their bytes on the wire, tag and length included: a truncated or longer name can never hit.
_atoms: dict[bytes, Atom | bool] = {}


def decode(data: bytes | bytearray | memoryview, *, max_size: int = DEFAULT_MAX_SIZE) -> Term:
    """Decode one term in the form of ``term_to_binary``: with the leading version byte 131.

    :param data: the whole encoding, nothing behind it; compressed or not.
    :param max_size: what a compressed term may grow to, in bytes.
    :return: the term, as :mod:`iris_admin.terms` represents it.
    :raises DecodeError: for anything but exactly one valid term, with the offset where decoding stopped. Inside
        compressed data the offset counts in the uncompressed bytes.
    """
    data = bytes(data)
    if not data:
        raise DecodeError("no data", offset=0)
    if data[0] != 131:
        raise DecodeError(f"an external term starts with 131, not {data[0]}", offset=0)
    offset = 1
    if data[1:2] == b"P":
        data = _uncompress(data, max_size)
        offset = 0
    term, end = decode_term(data, offset)
    if end != len(data):
        raise DecodeError(f"{len(data) - end} bytes behind the term", offset=end)
    return term


def decode_term(data: bytes | bytearray | memoryview, offset: int = 0) -> tuple[Term, int]:
    """Decode one term without the version byte.

    :param data: bytes that hold the term; anything but ``bytes`` is copied.
    :param offset: where the term starts.
    :return: the term and the offset behind it.
    :raises DecodeError: when there is no valid term at the offset.
    """
    data = bytes(data)
    if not 0 <= offset < len(data):
        raise DecodeError("the data ends before the term", offset=offset)
    if data[offset] == 121:
        return LocalTerm(data[offset + 1 :]), len(data)
    return _decode(data, offset)


def _uncompress(data: bytes, max_size: int) -> bytes:
    if len(data) < 6:
        raise DecodeError("the data ends before the term", offset=len(data))
    (size,) = _u32(data, 2)
    if size > max_size:
        raise DecodeError(f"a compressed term of {size} bytes; {max_size} are allowed", offset=2)
    # Imported when it is needed, as few terms are compressed.
    import zlib

    inflater = zlib.decompressobj()
    try:
        # One byte more than announced: enough to see that there is more, whatever the rest would grow to.
        plain = inflater.decompress(data[6:], size + 1)
    except zlib.error as error:
        raise DecodeError(f"broken compressed term: {error}", offset=6) from None
    if len(plain) != size or not inflater.eof:
        raise DecodeError(f"a compressed term announces {size} bytes and holds another number", offset=2)
    if inflater.unused_data:
        raise DecodeError("bytes behind the compressed term", offset=len(data) - len(inflater.unused_data))
    return plain


def _decode(data: bytes, off: int) -> tuple[Term, int]:
    end = len(data)
    atom_of = _atoms.get
    # Of the container that is being filled: its items, how many are still to come, what to make of them.
    items: list[Term] = []
    append = items.append
    to_come: Iterator[None] = repeat(None, 1)
    build: Any = None
    stack: list[tuple[list[Term], Iterator[None], Any]] = []
    depth_limit = _MAX_KEY_DEPTH
    is_deep = False
    try:
        while True:
            for _ in to_come:
                tag = data[off]
                if tag == 109:
                    start = off + 5
                    (count,) = _u32(data, off + 1)
                    if count > end - start:
                        raise _truncated(off)
                    off = start + count
                    append(data[start:off])
                elif tag == 119 or tag == 115:
                    start = off
                    off += data[off + 1] + 2
                    name = data[start:off]
                    atom = atom_of(name)
                    append(_new_atom(name, tag, 2, start) if atom is None else atom)
                elif tag == 97:
                    append(data[off + 1])
                    off += 2
                elif tag == 98:
                    append(_i32(data, off + 1)[0])
                    off += 5
                elif tag == 104:
                    count = data[off + 1]
                    off += 2
                    opened: Any = tuple
                    break
                elif tag == 100 or tag == 118:
                    start = off
                    off += _u16(data, off + 1)[0] + 3
                    name = data[start:off]
                    atom = atom_of(name)
                    append(_new_atom(name, tag, 3, start) if atom is None else atom)
                elif tag == 110:
                    start = off + 3
                    count = data[off + 1]
                    if count > end - start:
                        raise _truncated(off)
                    value = _integer(data[start : start + count], "little")
                    append(-value if data[off + 2] else value)
                    off = start + count
                elif tag == 106:
                    append([])
                    off += 1
                elif tag == 108:
                    (count,) = _u32(data, off + 1)
                    off += 5
                    if count >= end - off:
                        raise _truncated(off - 5)
                    opened = list
                    break
                elif tag == 107:
                    start = off + 3
                    (count,) = _u16(data, off + 1)
                    if count > end - start:
                        raise _truncated(off)
                    off = start + count
                    append(list(data[start:off]))
                elif tag == 116:
                    count = _u32(data, off + 1)[0] * 2
                    off += 5
                    opened = dict
                    break
                elif tag == 70:
                    (number,) = _f64(data, off + 1)
                    if not isfinite(number):
                        raise DecodeError("a float that is no number", offset=off)
                    append(number)
                    off += 9
                elif tag in _LEAVES:
                    item, off = _LEAVES[tag](data, off)
                    append(item)
                elif tag in _OPENERS:
                    count, off, opened = _OPENERS[tag](data, off)
                    break
                else:
                    raise DecodeError(_unknown(tag), offset=off)
            else:
                # The container is full.
                if build is tuple:
                    item = tuple(items)
                elif build is list:
                    tag = data[off]
                    if tag == 106:
                        off += 1
                        item = items
                    elif tag == 108:  # the tail is again a list: the same list goes on
                        (count,) = _u32(data, off + 1)
                        off += 5
                        if count >= end - off:
                            raise _truncated(off - 5)
                        to_come = repeat(None, count)
                        continue
                    elif tag == 107:
                        start = off + 3
                        (count,) = _u16(data, off + 1)
                        if count > end - start:
                            raise _truncated(off)
                        off = start + count
                        items.extend(data[start:off])
                        item = items
                    elif items:
                        to_come = repeat(None, 1)
                        build = _improper_list
                        continue
                    else:  # no element: the tail is all there is
                        to_come = repeat(None, 1)
                        build = _only_tail
                        continue
                elif build is dict:
                    item = _map(items, is_deep, off)
                elif build is None:
                    return items[0], off
                else:
                    item = build(items, off)
                items, to_come, build = stack.pop()
                append = items.append
                append(item)
                continue
            # A container begins.
            if count > end - off:
                raise _truncated(off)
            if len(stack) >= depth_limit:
                if len(stack) >= MAX_DEPTH:
                    raise DecodeError(f"nested deeper than {MAX_DEPTH} levels", offset=off)
                is_deep = True
                depth_limit = MAX_DEPTH
            stack.append((items, to_come, build))
            items = []
            append = items.append
            to_come = repeat(None, count)
            build = opened
    except (IndexError, struct.error):
        raise _truncated(min(off, end)) from None


def _truncated(offset: int) -> DecodeError:
    return DecodeError("the data ends inside a term, or a length in it is too large", offset=offset)


def _unknown(tag: int) -> str:
    if tag == 80:
        return "a compressed term inside a term"
    if tag == 82:
        return "a reference to the atom cache outside of a distribution header"
    if tag == 121:
        return "a local term inside a term"
    return f"unknown tag {tag}"


# Building containers.


def _improper_list(items: list[Term], _offset: int) -> Term:
    tail = items.pop()
    return ImproperList(tuple(items), tail)


def _only_tail(items: list[Term], _offset: int) -> Term:
    return items[0]


def _map(items: list[Term], is_deep: bool, offset: int) -> dict[Term, Term] | Map:
    keys = items[::2]
    try:
        if is_deep and any(_nests_deeply(key) for key in keys):
            return make_exact_map(keys, items[1::2])
        return make_map(keys, items[1::2])
    except ValueError as error:
        raise DecodeError(str(error), offset=offset) from None


def _nests_deeply(key: Term) -> bool:
    level: list[Term] = [key]
    for _ in range(_MAX_KEY_DEPTH):
        below: list[Term] = []
        for term in level:
            kind = type(term)
            if kind is tuple:
                below.extend(term)
            elif kind is ImproperList:
                below.extend(term.elements)
                below.append(term.tail)
            elif kind is Fun:
                below.extend(term.free_vars)
            elif kind is NativeRecord:
                below.extend(term.values)
        if not below:
            return False
        level = below
    return True


# Leaves. Each takes the data and the offset of the tag, and returns the value and the offset behind it.


def _new_atom(name: bytes, tag: int, header: int, offset: int) -> Atom | bool:
    """Make an atom that is not in the cache yet.

    :param name: tag, length and characters; shorter than the length says where the data ends.
    :param header: number of bytes of tag and length.
    """
    length = name[1] if header == 2 else _u16(name, 1)[0]
    if len(name) != length + header:
        raise _truncated(offset)
    try:
        text = str(name[header:], "utf-8" if tag >= 118 else "latin-1")
    except UnicodeDecodeError:
        raise DecodeError("an atom that is not valid UTF-8", offset=offset) from None
    if len(text) > MAX_ATOM_CHARACTERS:
        raise DecodeError(f"an atom of {len(text)} characters; {MAX_ATOM_CHARACTERS} are allowed", offset=offset)
    atom: Atom | bool = True if text == "true" else False if text == "false" else Atom(text)
    if len(_atoms) >= _MAX_CACHED_ATOMS:
        _atoms.clear()
    _atoms[name] = atom
    return atom


def _atom(data: bytes, offset: int) -> tuple[Atom, int]:
    """An atom where only an atom may stand; here ``true`` is a name as any other."""
    tag = data[offset]
    if tag == 119 or tag == 115:
        header = 2
        end = offset + 2 + data[offset + 1]
    elif tag == 118 or tag == 100:
        header = 3
        end = offset + 3 + _u16(data, offset + 1)[0]
    else:
        raise DecodeError(f"an atom is expected, not tag {tag}", offset=offset)
    name = data[offset:end]
    atom = _atoms.get(name)
    if atom is None:
        atom = _new_atom(name, tag, header, offset)
    if not isinstance(atom, Atom):
        atom = Atom("true" if atom else "false")
    return atom, end


def _small_integer(data: bytes, offset: int) -> tuple[int, int]:
    """An integer where only an integer may stand, e.g. the index of a fun."""
    tag = data[offset]
    if tag == 97:
        return data[offset + 1], offset + 2
    if tag == 98:
        return _i32(data, offset + 1)[0], offset + 5
    if tag == 110:
        start = offset + 3
        end = start + data[offset + 1]
        if end > len(data):
            raise _truncated(offset)
        value = _integer(data[start:end], "little")
        return -value if data[offset + 2] else value, end
    raise DecodeError(f"an integer is expected, not tag {tag}", offset=offset)


def _large_big(data: bytes, offset: int) -> tuple[int, int]:
    (length,) = _u32(data, offset + 1)
    start = offset + 6
    end = start + length
    if end > len(data):
        raise _truncated(offset)
    value = _integer(data[start:end], "little")
    return -value if data[offset + 5] else value, end


def _old_float(data: bytes, offset: int) -> tuple[float, int]:
    """FLOAT_EXT: 31 bytes, the output of ``sprintf("%.20e")``, filled up with zeros."""
    end = offset + 32
    if end > len(data):
        raise _truncated(offset)
    text = data[offset + 1 : end].rstrip(b"\0")
    mantissa, marker, exponent = text.replace(b"E", b"e").partition(b"e")
    whole, point, fraction = _unsigned(mantissa).partition(b".")
    digits_only = whole.isdigit() and fraction.isdigit() and (_unsigned(exponent).isdigit() or not marker)
    number = float(text) if point and digits_only else float("nan")
    if not isfinite(number):
        raise DecodeError("a float that is no number", offset=offset)
    return number, end


def _unsigned(digits: bytes) -> bytes:
    return digits[1:] if digits[:1] in (b"+", b"-") else digits


def _bit_binary(data: bytes, offset: int) -> tuple[Term, int]:
    (length,) = _u32(data, offset + 1)
    last_bits = data[offset + 5]
    start = offset + 6
    end = start + length
    if end > len(data):
        raise _truncated(offset)
    if last_bits > 8 or (last_bits == 0) != (length == 0):
        raise DecodeError(f"a bitstring of {length} bytes with {last_bits} bits in the last one", offset=offset)
    content = data[start:end]
    return (BitString(content, last_bits) if 0 < last_bits < 8 else content), end


def _pid(data: bytes, offset: int) -> tuple[Pid, int]:
    node, rest = _atom(data, offset + 1)
    if data[offset] == 88:
        identifier, serial, creation = _pid_rest(data, rest)
        return Pid(node, identifier, serial, creation), rest + 12
    identifier, serial = _port_rest(data, rest)
    return Pid(node, identifier, serial, data[rest + 8]), rest + 9


def _port(data: bytes, offset: int) -> tuple[Port, int]:
    node, rest = _atom(data, offset + 1)
    tag = data[offset]
    if tag == 120:
        identifier, creation = _v4_port_rest(data, rest)
        return Port(node, identifier, creation), rest + 12
    if tag == 89:
        identifier, creation = _port_rest(data, rest)
        return Port(node, identifier, creation), rest + 8
    return Port(node, _u32(data, rest)[0], data[rest + 4]), rest + 5


def _reference(data: bytes, offset: int) -> tuple[Reference, int]:
    tag = data[offset]
    if tag == 101:
        node, rest = _atom(data, offset + 1)
        return Reference(node, data[rest + 4], (_u32(data, rest)[0],)), rest + 5
    (count,) = _u16(data, offset + 1)
    if not 1 <= count <= MAX_REFERENCE_WORDS:
        raise DecodeError(f"a reference of {count} words", offset=offset)
    node, rest = _atom(data, offset + 3)
    if tag == 90:
        (creation,) = _u32(data, rest)
        rest += 4
    else:
        creation = data[rest]
        rest += 1
    end = rest + 4 * count
    if end > len(data):
        raise _truncated(offset)
    return Reference(node, creation, tuple(_u32(data, word)[0] for word in range(rest, end, 4))), end


def _export(data: bytes, offset: int) -> tuple[Export, int]:
    module, rest = _atom(data, offset + 1)
    function, rest = _atom(data, rest)
    if data[rest] != 97:
        raise DecodeError("an export without arity", offset=rest)
    return Export(module, function, data[rest + 1]), rest + 2


_LEAVES: dict[int, _Leaf] = {
    77: _bit_binary,
    88: _pid,
    89: _port,
    90: _reference,
    99: _old_float,
    101: _reference,
    102: _port,
    103: _pid,
    111: _large_big,
    113: _export,
    114: _reference,
    120: _port,
}


# Containers with a header. Each returns the number of items, the offset of the first and what to make of them.


def _large_tuple(data: bytes, offset: int) -> tuple[int, int, _Build]:
    return _u32(data, offset + 1)[0], offset + 5, lambda items, _end: tuple(items)


def _fun(data: bytes, offset: int) -> tuple[int, int, _Build]:
    (size,) = _u32(data, offset + 1)
    arity = data[offset + 5]
    uniq = data[offset + 6 : offset + 22]
    index, count = _port_rest(data, offset + 22)
    module, rest = _atom(data, offset + 30)
    old_index, rest = _small_integer(data, rest)
    old_uniq, rest = _small_integer(data, rest)
    pid, rest = _creator(data, rest)

    def build(items: list[Term], end: int) -> Fun:
        if end - offset - 1 != size:
            raise DecodeError(f"a fun announces {size} bytes and has {end - offset - 1}", offset=offset)
        return Fun(module, arity, uniq, index, old_index, old_uniq, pid, tuple(items))

    return count, rest, build


def _old_fun(data: bytes, offset: int) -> tuple[int, int, _Build]:
    (count,) = _u32(data, offset + 1)
    pid, rest = _creator(data, offset + 5)
    module, rest = _atom(data, rest)
    index, rest = _small_integer(data, rest)
    uniq, rest = _small_integer(data, rest)
    return count, rest, lambda items, _end: Fun(module, None, None, index, index, uniq, pid, tuple(items))


def _creator(data: bytes, offset: int) -> tuple[Pid, int]:
    if data[offset] not in (88, 103):
        raise DecodeError(f"a pid is expected, not tag {data[offset]}", offset=offset)
    return _pid(data, offset)


def _record(data: bytes, offset: int) -> tuple[int, int, _Build]:
    (count,) = _u32(data, offset + 1)
    flags = data[offset + 5]
    module, rest = _atom(data, offset + 6)
    name, rest = _atom(data, rest)
    fields: list[Atom] = []
    for _ in range(count):
        field, rest = _atom(data, rest)
        fields.append(field)
    return count, rest, lambda items, _end: NativeRecord(module, name, tuple(fields), tuple(items), flags)


_OPENERS: dict[int, _Opener] = {67: _record, 105: _large_tuple, 112: _fun, 117: _old_fun}
