"""Bytes from a peer that means no good, and values that are no terms."""

from __future__ import annotations

import enum
import gc
import math
import struct
import tracemalloc
import zlib
from collections import OrderedDict, namedtuple
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_admin.errors import DecodeError, EncodeError
from iris_admin.proto import _etf_decode, _etf_encode, etf
from iris_admin.proto.etf import MAX_DEPTH, decode, decode_term, encode, encode_term
from iris_admin.terms import (
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
from tests.proto.test_etf_golden import FROM_A_NODE, OLD_FORMS
from tests.support.term_strategies import all_terms

NODE = Atom("a@b")
PID = Pid(NODE, 1, 0, 1)
SAMPLES = [bytes.fromhex(row[1]) for row in (*FROM_A_NODE, *OLD_FORMS)] + [
    encode(term)
    for term in (
        PID,
        Port(NODE, 1, 2),
        Port(NODE, 1 << 40, 2),
        Reference(NODE, 1, (1, 2, 3)),
        Fun(NODE, 1, b"u" * 16, 1, 2, 3, PID, (1, [2])),
        Fun(NODE, None, None, 2, 2, 3, PID, (1, [2])),
        NativeRecord(NODE, NODE, (NODE, NODE), (1, 2), 0),
        [1.5, {Atom("a"): (b"b", BitString(b"\x80", 1))}],
    )
]


@pytest.mark.parametrize("data", SAMPLES, ids=lambda data: data[:20].hex())
def test_data_that_ends_too_early(data: bytes) -> None:
    for end in range(len(data)):
        with pytest.raises(DecodeError) as caught:
            decode(data[:end])
        assert caught.value.offset is not None
        assert 0 <= caught.value.offset <= end


@pytest.mark.parametrize("data", SAMPLES, ids=lambda data: data[:20].hex())
def test_data_that_goes_on_behind_the_term(data: bytes) -> None:
    with pytest.raises(DecodeError, match="behind the"):
        decode(data + b"\x00")


@pytest.mark.parametrize("length", [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"])
@pytest.mark.parametrize("rest", [b"\xff" * 5, b"\x00" * 5, b"a" * 5])
def test_lengths_of_gigabytes_in_ten_bytes(length: bytes, rest: bytes) -> None:
    for tag in set(range(256)) - {97, 98, 121}:  # these have no length, and any content will do
        with pytest.raises(DecodeError):
            decode(bytes((131, tag)) + length + rest)


@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        (b"h\x01", b""),
        (b"i\x00\x00\x00\x01", b""),
        (b"l\x00\x00\x00\x01", b"j"),
        (b"l\x00\x00\x00\x01j", b""),  # nested in the tail: one long list
        (b"t\x00\x00\x00\x01a\x01", b""),
        (b"t\x00\x00\x00\x01", b"a\x01"),
        (b"C\x00\x00\x00\x01\x00w\x01mw\x01nw\x01f", b""),
        (b"u\x00\x00\x00\x01" + encode_term(PID) + b"w\x01ma\x01a\x01", b""),
    ],
)
def test_nesting_a_hundred_thousand_deep(opening: bytes, closing: bytes) -> None:
    data = b"\x83" + opening * 100_000 + b"j" + closing * 100_000
    if opening.endswith(b"j"):
        assert decode(data) == [[]] * 100_000
    else:
        with pytest.raises(DecodeError, match="nested deeper"):
            decode(data)


def _nested(wrap: Callable[[Term], Term], depth: int) -> Term:
    term: Term = []
    for _ in range(depth):
        term = wrap(term)
    return term


@pytest.mark.parametrize(
    "wrap",
    [
        lambda term: (term,),
        lambda term: [term],
        lambda term: {1: term},
        lambda term: ImproperList((term,), 1),
        lambda term: ImproperList((1,), (term,)),
        lambda term: Map([(term, 1)]),
        lambda term: NativeRecord(NODE, NODE, (NODE,), (term,), 0),
        lambda term: Fun(NODE, None, None, 0, 0, 0, PID, (term,)),
    ],
)
def test_nesting_up_to_the_limit(wrap: Callable[[Term], Term]) -> None:
    levels = 2 if wrap(1) == ImproperList((1,), (1,)) else 1
    data = encode(_nested(wrap, MAX_DEPTH // levels))
    assert encode(decode(data)) == data
    with pytest.raises(EncodeError, match="nests deeper"):
        encode(_nested(wrap, MAX_DEPTH // levels + 1))


def test_keys_that_nest_deeply() -> None:
    # Two keys that differ only at the bottom: a dict would compare them by recursion.
    key = b"h\x01" * 9000
    data = b"\x83t\x00\x00\x00\x02" + key + b"a\x01" + b"a\x01" + key + b"a\x02" + b"a\x02"
    decoded = decode(data)
    assert isinstance(decoded, Map)
    assert decoded.values() == (1, 2)
    assert decoded[decoded.keys()[1]] == 2
    assert encode(decoded) == data


def test_maps_as_keys_of_maps_all_the_way_down() -> None:
    # Two keys a level, so that each level must compare them; the work has to stay linear.
    data = b"\x83" + b"t\x00\x00\x00\x02a\x01a\x01" * 5000 + b"j" + b"a\x01" * 5000
    decoded = decode(data)
    assert encode(decoded) == data
    assert decoded == decode(data)


@pytest.mark.parametrize(
    "pairs",
    [b"a\x01ja\x01j", b"jjjj", b"w\x04trueja\x01jd\x00\x04truej", b"tzzzzjtzzzzj".replace(b"z", b"\x00")],
    ids=["integers", "lists", "atoms", "maps"],
)
def test_repeated_keys(pairs: bytes) -> None:
    count = 3 if b"true" in pairs else 2
    with pytest.raises(DecodeError, match="same key twice"):
        decode(b"\x83t\x00\x00\x00" + bytes((count,)) + pairs)


def test_repeated_keys_are_compared_as_erlang_does() -> None:
    one, other = b"t\x00\x00\x00\x02a\x01ja\x02j", b"t\x00\x00\x00\x02a\x02ja\x01j"
    with pytest.raises(DecodeError, match="same key twice"):
        decode(b"\x83t\x00\x00\x00\x02" + one + b"j" + other + b"j")


def _compressed(plain: bytes, size: int | None = None) -> bytes:
    return b"\x83P" + struct.pack(">I", len(plain) if size is None else size) + zlib.compress(plain)


def test_compressed_terms() -> None:
    plain = encode_term([b"x" * 1000] * 100)
    data = _compressed(plain)
    assert decode(data) == [b"x" * 1000] * 100
    for broken in (
        _compressed(plain, len(plain) - 1),
        _compressed(plain, len(plain) + 1),
        _compressed(b"", 0),
        _compressed(plain + b"j"),
        _compressed(data[1:]),  # compressed twice
        _compressed(data),
        b"\x83P\x00\x00\x00\x05garbage",
    ):
        with pytest.raises(DecodeError):
            decode(broken)
    with pytest.raises(DecodeError, match="inside a term"):
        decode(b"\x83h\x01" + data[1:])


def test_a_bomb_does_not_go_off() -> None:
    size = 64 * 1024 * 1024
    bomb = _compressed(b"m" + struct.pack(">I", size) + bytes(size))
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match="allowed"):
            decode(bomb, max_size=1024 * 1024)
        # The size that it claims is a lie.
        with pytest.raises(DecodeError, match="holds another number"):
            decode(bomb[:2] + b"\x00\x00\x10\x00" + bomb[6:], max_size=1024 * 1024)
        assert tracemalloc.get_traced_memory()[1] < 1024 * 1024
    finally:
        tracemalloc.stop()
    with pytest.raises(DecodeError, match="allowed"):
        decode(b"\x83P\xff\xff\xff\xff" + bomb[6:])


@pytest.mark.parametrize(
    "filler", [b"j", b"h\x00", b"h\x01j", b"l\x00\x00\x00\x01jj", b"t\x00\x00\x00\x00", b"w\x00", b"k\x00\x01a"]
)
def test_memory_is_bounded_by_the_input(filler: bytes) -> None:
    count = 10_000
    data = b"\x83l" + struct.pack(">I", count) + filler * count + b"j"
    gc.collect()
    tracemalloc.start()
    try:
        decode(data)
        assert tracemalloc.get_traced_memory()[1] < 100 * len(data)
    finally:
        tracemalloc.stop()


def test_memory_is_bounded_for_maps_without_hashable_keys() -> None:
    count = 10_000
    pairs = b"".join(b"k\x00\x02" + struct.pack(">H", number) + b"j" for number in range(count))
    data = b"\x83t" + struct.pack(">I", count) + pairs
    gc.collect()
    tracemalloc.start()
    try:
        assert isinstance(decode(data), Map)
        assert tracemalloc.get_traced_memory()[1] < 100 * len(data)
    finally:
        tracemalloc.stop()


def test_the_atom_cache_is_bounded() -> None:
    for number in range(20_000):
        name = b"%06d" % number
        assert encode(decode(b"\x83w\x06" + name)) == b"\x83w\x06" + name
    assert len(_etf_decode._atoms) <= _etf_decode._MAX_CACHED_ATOMS
    assert len(_etf_encode._atoms) <= _etf_encode._MAX_CACHED_ATOMS
    with pytest.raises(EncodeError):
        encode({True: 1, Atom("true"): 2})


def test_the_collector_is_on_again_after_a_large_term() -> None:
    data = encode([1.5] * 20_000)
    assert len(data) > etf._PAUSE_COLLECTOR_FROM
    decode(data)
    assert gc.isenabled()
    with pytest.raises(DecodeError):
        decode(data[:-1])
    assert gc.isenabled()
    gc.disable()
    try:
        decode(data)
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x82a\x01",
        b"\x83",
        b"\x83\x00",
        b"\x83R\x00",  # the atom cache belongs into a distribution header
        b"\x83h\x01y\x00",  # LOCAL_EXT inside a term
        b"\x83\x83a\x01",
        b"\x83w\x02\xc3\x28",  # no UTF-8
        b"\x83w\x03\xed\xa0\x80",  # a surrogate
        b"\x83d\x01\x00" + b"a" * 256,
        b"\x83v\x02\x00" + "Δ".encode() * 256,
        b"\x83F\x7f\xf0\x00\x00\x00\x00\x00\x00",
        b"\x83F\x7f\xf8\x00\x00\x00\x00\x00\x00",
        b"\x83M\x00\x00\x00\x01\x09\xff",
        b"\x83M\x00\x00\x00\x01\x00\xff",
        b"\x83M\x00\x00\x00\x00\x03",
        b"\x83Z\x00\x00w\x01a\x00\x00\x00\x00",
        b"\x83Z\x00\x06w\x01a" + bytes(28),
        b"\x83Xa\x01" + bytes(12),  # the node of a pid is no integer
        b"\x83Xk\x00\x01a" + bytes(12),
        b"\x83qw\x01mw\x01fb\x00\x00\x00\x01",
        b"\x83qw\x01mw\x01fw\x01a",
    ]
    + [
        b"\x83c" + text.ljust(31, b"\0")
        for text in (
            b"nan",
            b"inf",
            b"1e5",
            b"1.",
            b".5",
            b" 1.5",
            b"1_0.5",
            b"1.5e",
            b"",
            b"1.5e999",
            b"0x1.8p0",
            b"1.5\x001",
        )
    ],
)
def test_other_nonsense(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(data)


def test_floats_of_long_ago() -> None:
    for number in (1.5, -2.25e-300, 0.0, 1e300):
        assert decode(b"\x83c" + (b"%.20e" % number).ljust(31, b"\0")) == number


@given(st.binary(max_size=60))
def test_any_bytes_are_a_term_or_an_error(data: bytes) -> None:
    _decodes_or_not(b"\x83" + data)


@given(all_terms(), st.data())
def test_terms_with_a_wrong_byte_are_a_term_or_an_error(term: Term, choice: st.DataObject) -> None:
    data = bytearray(encode(term))
    for _ in range(choice.draw(st.integers(1, 3))):
        data[choice.draw(st.integers(0, len(data) - 1))] = choice.draw(st.integers(0, 255))
    _decodes_or_not(bytes(data))


def _decodes_or_not(data: bytes) -> None:
    try:
        term = decode(data)
    except DecodeError:
        return
    assert decode(encode(term)) == term


def test_other_buffers() -> None:
    data = encode((1, b"x"))
    assert decode(bytearray(data)) == decode(memoryview(data)) == (1, b"x")
    assert decode_term(memoryview(b"__" + data[1:] + b"rest"), 2) == ((1, b"x"), len(data) + 1)
    for offset in (-1, 3, 100):
        with pytest.raises(DecodeError):
            decode_term(b"a\x01j", offset) if offset != 3 else decode_term(b"a\x01j", 3)


# Encoding.


@pytest.mark.parametrize(
    "value",
    [
        "text",
        None,
        math.nan,
        math.inf,
        -math.inf,
        object(),
        {1, 2},
        1j,
        Atom("\ud800"),
        LocalTerm(b"x"),
        Pid(NODE, -1, 0, 0),
        Pid(NODE, 1 << 32, 0, 0),
        Port(NODE, 1 << 64, 0),
        Reference(NODE, 0, ()),
        Reference(NODE, 0, (1,) * 6),
        Reference(NODE, 0, (1 << 32,)),
        Export(NODE, NODE, 256),
        Export(NODE, NODE, -1),
        Fun(NODE, 1, b"short", 1, 1, 1, PID, ()),
        Fun(NODE, 256, b"u" * 16, 1, 1, 1, PID, ()),
        NativeRecord(NODE, NODE, (NODE,), (), 0),
        ImproperList((), 1),
        Map([(1, 2), (1, 3)]),
        {True: 1, Atom("true"): 2},
        {ImproperList((1, 2), 3): 1, ImproperList((1,), ImproperList((2,), 3)): 2},
    ],
    ids=repr,
)
@pytest.mark.parametrize("wrap", [lambda term: (term,), lambda term: [1, term], lambda term: {1: term}])
def test_values_that_are_no_terms(value: object, wrap: Callable[[Term], Term]) -> None:
    with pytest.raises(EncodeError):
        encode(wrap(value))


def test_a_text_says_what_to_do_instead() -> None:
    with pytest.raises(EncodeError) as caught:
        encode((Atom("ok"), "bob"))
    assert caught.value.hint is not None
    assert 'b"..."' in caught.value.hint


def test_values_that_contain_themselves() -> None:
    cycle: list[Term] = [1]
    cycle.append(cycle)
    circle: dict[Term, Term] = {}
    circle[1] = [circle]
    for value in (cycle, circle):
        with pytest.raises(EncodeError):
            encode(value)
        with pytest.raises(EncodeError):
            hash(Map([(1, value)]))


class Colour(enum.IntEnum):
    RED = 1


Point = namedtuple("Point", "x y")


class Real(float):
    pass


class Name(Atom):
    pass


@pytest.mark.parametrize(
    ("value", "term"),
    [
        (Colour.RED, 1),
        ([Colour.RED], [1]),
        (Point(1, 2), (1, 2)),
        (OrderedDict(a=1) and OrderedDict({Atom("a"): 1}), {Atom("a"): 1}),
        (Real(1.5), 1.5),
        (Name("x"), Atom("x")),
        (bytearray(b"x"), b"x"),
        (memoryview(b"x"), b"x"),
        (Atom("true"), True),
        ([True, False], [True, False]),
        ([1, True], [1, True]),
        (ImproperList((1,), [2]), [1, 2]),
        (ImproperList((1,), []), [1]),
        (ImproperList((1,), ImproperList((2,), 3)), ImproperList((1, 2), 3)),
        ([1] * 65535, [1] * 65535),
        ([1] * 65536, [1] * 65536),
    ],
)
def test_relatives_of_terms(value: object, term: Term) -> None:
    decoded = decode(encode(value))
    assert (decoded, type(decoded)) == (term, type(term))
    assert list(map(type, decoded if isinstance(decoded, list) else [])) == list(
        map(type, term if isinstance(term, list) else [])
    )
