"""Both codecs, the one in Python and its compiled twin, do the same with every input, wrong input included."""

from __future__ import annotations

import enum
import gc
import math
import random
import struct
import sys
import threading
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import cycle, repeat
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iris_admin.errors import IrisAdminError
from iris_admin.proto import _etf_decode, _etf_encode
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
from tests.proto.compiled import compiled_codec, load_codec
from tests.proto.test_etf_hostile import SAMPLES
from tests.support.term_strategies import all_terms

NODE = Atom("a@b")
PID = Pid(NODE, 1, 0, 1)

#: How the C code may see an item for the first time, one list or map around it.
WRAPS: list[Callable[[Any], Any]] = [
    lambda value: value,
    lambda value: (1, value),
    lambda value: [value],
    lambda value: [Atom("x"), value, 1.5],
    lambda value: {Atom("k"): value},
]


@pytest.fixture(scope="module")
def twin() -> ModuleType:
    return compiled_codec()


def outcome(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> tuple[Any, ...]:
    """All that a caller can see of a call."""
    try:
        return "value", function(*arguments, **keywords)
    except IrisAdminError as error:
        return type(error), str(error), error.hint, error.node, getattr(error, "offset", None)
    except Exception as error:
        return type(error), str(error)


def description(value: object) -> object:
    """Equal for two values only if they are the same to the last detail: 1 is not 1.0, 0.0 is not -0.0."""
    try:
        return repr(value)
    except RecursionError:
        return _etf_encode.encode(value[0] if isinstance(value, tuple) else value)


def compare(pure: Callable[..., Any], compiled: Callable[..., Any], *arguments: Any, **keywords: Any) -> None:
    expected, found = outcome(pure, *arguments, **keywords), outcome(compiled, *arguments, **keywords)
    if expected[0] == found[0] == "value":
        expected, found = (description(expected[1]),), (description(found[1]),)
    assert found == expected, (arguments, keywords)


def compare_decoding(twin: ModuleType, data: bytes) -> None:
    compare(_etf_decode.decode, twin.decode, data)
    compare(_etf_decode.decode_term, twin.decode_term, data, 1)
    compare(_etf_decode.decode_term, twin.decode_term, memoryview(data), 1)
    compare_coming(twin, data, 0)
    compare_coming(twin, data, 3)


def decode_coming(twin: ModuleType, data: bytes, steps: Iterator[int]) -> tuple[Term, int] | None:
    """Decode a term that comes in steps of so many bytes more than are needed. What is behind it must not matter."""
    room = bytearray(b"a" * len(data))
    filled = 0

    def fill(end: int) -> int:
        nonlocal filled
        end = min(len(data), max(filled, end) + next(steps))
        room[filled:end] = data[filled:end]
        filled = end
        return end

    result: tuple[Term, int] | None = twin.decode_coming(memoryview(room).toreadonly(), 1, fill(1), fill)
    return result


def compare_coming(twin: ModuleType, data: bytes, step: int) -> None:
    """What comes bit by bit is decoded to the same, or is left to be decoded when all has come."""
    if not data:
        return
    found = decode_coming(twin, data, repeat(step))
    if found is not None:
        assert description(found) == description(_etf_decode.decode_term(data, 1))


def compare_encoding(twin: ModuleType, value: object) -> None:
    compare(_etf_encode.encode, twin.encode, value)
    compare(_etf_encode.encode_term, twin.encode_term, value)


# Decoding.


@pytest.mark.parametrize("data", SAMPLES, ids=lambda data: data[:20].hex())
def test_known_terms_and_their_neighbours(twin: ModuleType, data: bytes) -> None:
    for inner in (b"%b", b"\x83h\x02a\x01%b", b"\x83l\0\0\0\1%bj", b"\x83t\0\0\0\1%bj", b"\x83t\0\0\0\1j%b"):
        whole = inner % (data if inner == b"%b" else data[1:])
        compare_decoding(twin, whole)
        compare_decoding(twin, whole + b"\0")
        for end in range(min(len(whole), 300)):
            compare_decoding(twin, whole[:end])


@pytest.mark.parametrize("data", SAMPLES, ids=lambda data: data[:20].hex())
def test_known_terms_with_one_wrong_byte(twin: ModuleType, data: bytes) -> None:
    # The first bytes are headers, where every value may mean something else.
    for position in range(min(len(data), 40)):
        for byte in range(256) if position < 6 else (0, 1, 106, 127, 128, 255):
            compare_decoding(twin, data[:position] + bytes((byte,)) + data[position + 1 :])


def test_every_tag_in_front_of_every_length(twin: ModuleType) -> None:
    for tag in range(256):
        for rest in (b"", b"\0" * 4, b"\0\0\0\1" * 8, b"\0\0\0\2a\1", b"\1" * 40, b"\xff" * 40, b"\x7f" + b"\xff" * 9):
            compare_decoding(twin, bytes((131, tag)) + rest)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80))
def test_arbitrary_bytes(data: bytes) -> None:
    compare_decoding(compiled_codec(), b"\x83" + data)


#: Bytes that make sense more often than arbitrary ones do.
_pieces = st.sampled_from(
    [bytes((tag,)) for tag in (67, 70, 77, 88, 90, 97, 98, 99, 100, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112)]
    + [bytes((tag,)) for tag in (113, 115, 116, 118, 119, 120, 121)]
    + [b"\0", b"\1", b"\2", b"\0\1", b"\0\0\0\0", b"\0\0\0\1", b"\0\0\0\2", b"a\1", b"w\1a", b"w\4true", b"j", b"h\0"]
    + [b"k\0\1a", b"l\0\0\0\1", b"t\0\0\0\1", b"h\2", b"n\1\1\5", b"F\x3f\xf0\0\0\0\0\0\0", b"m\0\0\0\1x", b"\xff"]
)


@settings(max_examples=500, deadline=None)
@given(st.lists(_pieces, max_size=20))
def test_bytes_that_almost_make_sense(pieces: list[bytes]) -> None:
    compare_decoding(compiled_codec(), b"\x83" + b"".join(pieces))


@settings(deadline=None)
@given(all_terms(), st.data())
def test_terms_and_their_neighbours(term: Term, choice: st.DataObject) -> None:
    twin = compiled_codec()
    compare_encoding(twin, term)
    data = _etf_encode.encode(term)
    compare_decoding(twin, data)
    compare_decoding(twin, data[: choice.draw(st.integers(0, len(data)))])
    wrong = bytearray(data)
    for _ in range(choice.draw(st.integers(1, 3))):
        wrong[choice.draw(st.integers(0, len(data) - 1))] = choice.draw(st.integers(0, 255))
    compare_decoding(twin, bytes(wrong))


@pytest.mark.parametrize("depth", [1, 199, 200, 201, 202, 9999, 10_000, 10_001])
@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        (b"h\x01", b""),
        (b"i\x00\x00\x00\x01", b""),
        (b"l\x00\x00\x00\x01", b"j"),
        (b"l\x00\x00\x00\x01a\x01", b""),
        (b"l\x00\x00\x00\x01j", b""),
        (b"t\x00\x00\x00\x01a\x01", b""),
        (b"t\x00\x00\x00\x01", b"a\x01"),
        (b"C\x00\x00\x00\x01\x00w\x01mw\x01nw\x01f", b""),
        (b"u\x00\x00\x00\x01" + _etf_encode.encode_term(PID) + b"w\x01ma\x01a\x01", b""),
    ],
    ids=["tuple", "large tuple", "list", "improper list", "tail", "value", "key", "record", "fun"],
)
@pytest.mark.parametrize("innermost", [b"j", b"h\x00", b"R"])
def test_nesting(twin: ModuleType, opening: bytes, closing: bytes, depth: int, innermost: bytes) -> None:
    compare_decoding(twin, b"\x83" + opening * depth + innermost + closing * depth)


def test_maps(twin: ModuleType) -> None:
    keys = [b"a\1", b"F\x3f\xf0\0\0\0\0\0\0", b"w\4true", b"d\0\4true", b"n\1\0\1", b"j", b"k\0\1a", b"h\1j", b"h\1a\1"]
    keys += [b"t\0\0\0\0", b"l\0\0\0\1a\1w\1a", _etf_encode.encode_term(PID)]
    keys += [b"h\1" * 199 + b"j", b"h\1" * 199 + b"a\1"]
    for one in keys:
        compare_decoding(twin, b"\x83t\0\0\0\1" + one + b"a\7")
        for other in keys:
            compare_decoding(twin, b"\x83t\0\0\0\2" + one + b"a\7" + other + b"a\x08")
            compare_decoding(twin, b"\x83h\1t\0\0\0\3" + one + b"a\7" + other + b"a\x08w\1aa\1")


def test_other_arguments(twin: ModuleType) -> None:
    for arguments in [(), (b"",), (b"\x83",), (b"\x83j", 1), ("text",), (None,), (3,), ([131, 106],), (b"\x83y\1",)]:
        compare(_etf_decode.decode, twin.decode, *arguments)
    for data in (bytearray(b"\x83a\1"), memoryview(b"\x83a\1"), iter(b"\x83a\1"), type("B", (bytes,), {})(b"\x83a\1")):
        assert twin.decode(data) == 1
    compressed = _etf_encode.encode([1.5] * 100)
    compressed = b"\x83P" + struct.pack(">I", len(compressed) - 1) + __import__("zlib").compress(compressed[1:])
    for size in (10, 899, 905, 906, 907, 10**6):
        compare(_etf_decode.decode, twin.decode, compressed, max_size=size)
        compare(_etf_decode.decode, twin.decode, b"\x83j", max_size=size)
    for offset in (-(2**70), -1, 0, 1, 2, 3, 4, 5, 2**70, 1.0, "1", True, False, None):
        compare(_etf_decode.decode_term, twin.decode_term, b"a\1h\1j", offset)
        compare(_etf_decode.decode_term, twin.decode_term, b"a\1h\1j", offset=offset)
    for arguments in [(), (b"",), (b"j",), (b"j", 0, 0), (memoryview(b"_j"), 1), (b"y\1\2",), ([106],)]:
        compare(_etf_decode.decode_term, twin.decode_term, *arguments)
    for arguments in [(), (1, 2)]:
        compare(_etf_encode.encode, lambda *args: twin.encode(*args), *arguments)
    assert twin.encode(term=1) == _etf_encode.encode(term=1)


# Encoding.


class Colour(enum.IntEnum):
    RED = 1


Point = namedtuple("Point", "x y")

INTEGERS = [sign * ((1 << bits) + near) for bits in range(70) for near in (-1, 0, 1) for sign in (1, -1)]
CYCLE: list[Any] = [1]
CYCLE.append(CYCLE)

#: Terms, relatives of terms, and what is neither.
VALUES: list[Any] = [
    *INTEGERS,
    *(2**2040 + near for near in (-1, 0, 1)),
    -(2**2048),
    *(0.0, -0.0, 1.5, -1e300, 5e-324, math.nan, math.inf, -math.inf),
    *(b"", b"x", b"x" * 1018, b"x" * 1019, b"x" * 1020, b"x" * 70_000, bytearray(b"x"), memoryview(b"x")),
    *(True, False, Atom("true"), Atom("false"), Atom(""), Atom("é"), Atom("Δ" * 255), Atom("a" * 255)),
    *(Atom("\ud800"), str.__new__(Atom, "a" * 256), str.__new__(Atom, "Δ" * 40_000), type("Name", (Atom,), {})("x")),
    *([], [1], [0, 255], [256], [1, True], [True, 1], [1, -1], [1, 2.0], [1, 2**70], [Colour.RED], [1, Colour.RED]),
    *([7] * 65_535, [7] * 65_536, [7] * 300 + [256], [[1], [2, [3]]], [[]] * 100),
    *((), (1,), (1,) * 255, (1,) * 256, (1,) * 300, Point(1, 2), Colour.RED, Decimal(1), 1j, object, Ellipsis),
    *({}, {1: 2}, {1: 2, 2: 3}, {True: 1, Atom("true"): 2}, {Atom("true"): 2}, OrderedDict({1: 2})),
    *({None: 1}, {"a": 1}, {(): ()}, {PID: PID}, {1.5: {2: []}}),
    *(Map([]), Map([(1, 2), (1.0, 3)]), Map([(1, 2), (1, 3)]), Map([([], 2)]), Map([({1: 2}, 2), ({}, 2)])),
    *("text", None, {1, 2}, frozenset(), LocalTerm(b"x"), CYCLE, {1: CYCLE}, (CYCLE,), [CYCLE, CYCLE]),
    *(Pid(NODE, value, 0, 1) for value in (0, 1, 2**32 - 1, 2**32, 2**64, -1, True, 1.0, None, Colour.RED)),
    *(Pid(node, 1, 2, 3) for node in (Atom("true"), Atom("é"), "a@b", Atom("\ud800"), None, 5)),
    *(Pid(NODE, 1, -1, 1), Pid(NODE, 1, 1, 2**32)),
    *(Reference(NODE, 1, ids) for ids in ((), (1,), (1, 2, 3), (1,) * 5, (1,) * 6, (-1,), (2**32,))),
    *(Reference(NODE, 1, ids) for ids in ([1, 2], (True,), (1.0,), 7)),
    *(Reference(Atom("true"), 1, (1,)), Reference(NODE, 2**32, (1,)), Reference(NODE, None, (1,))),
    *(Port(NODE, value, 1) for value in (0, 2**28 - 1, 2**28, 2**64 - 1, 2**64, -1, None)),
    *(Export(NODE, NODE, arity) for arity in (0, 255, 256, -1, True, None)),
    *(Export(Atom("true"), Atom("é"), 1), BitString(b"\xa0", 3), BitString(b"ab", 7)),
    *(Fun(NODE, 1, b"u" * 16, 1, 2, 3, PID, (1, [2])), Fun(NODE, None, None, 2, 2, 3, PID, (1, [2]))),
    *(Fun(NODE, 1, b"short", 1, 1, 1, PID, ()), Fun(NODE, 256, b"u" * 16, 1, 1, 1, PID, ())),
    *(NativeRecord(NODE, NODE, (NODE, NODE), (1, 2), 0), NativeRecord(NODE, NODE, (NODE,), (), 0)),
    *(ImproperList((1,), 2), ImproperList((), 1), ImproperList((1,), [2]), ImproperList((1,), ImproperList((2,), 3))),
]


@pytest.mark.parametrize("wrap", WRAPS)
def test_values(twin: ModuleType, wrap: Callable[[Any], Any]) -> None:
    for value in VALUES:
        compare_encoding(twin, wrap(value))


@pytest.mark.parametrize("depth", [199, 200, 201, 9999, 10_000, 10_001])
@pytest.mark.parametrize("wrap", [*WRAPS[1:], lambda value: (Atom("true"), value)])
@pytest.mark.parametrize("innermost", [[], 1, None, [1, 2]])
def test_nested_values(twin: ModuleType, wrap: Callable[[Any], Any], depth: int, innermost: Any) -> None:
    value = innermost
    for _ in range(depth):
        value = wrap(value)
    compare_encoding(twin, value)


@pytest.mark.parametrize("length", [63, 64, 65, 300])
def test_lists_with_elements_of_very_different_size(twin: ModuleType, length: int) -> None:
    for first, other in [(b"", b"x" * 5000), (b"x" * 5000, b""), (b"x" * 50_000, [1.5] * 100)]:
        compare_encoding(twin, [first, *([other] * length)])
        compare_encoding(twin, [[other] * length, [first] * 100])


def test_encodings_of_every_length_around_the_first_room(twin: ModuleType) -> None:
    for length in range(1000, 1040):
        compare_encoding(twin, b"x" * length)
        compare_encoding(twin, [Atom("a")] * (length // 3) + [b"x" * (length % 3)])


_odd_leaves = st.sampled_from([value for value in VALUES if not isinstance(value, list | dict)])
_odd_values = st.recursive(
    _odd_leaves,
    lambda below: st.one_of(
        st.lists(below, max_size=4),
        st.lists(below, max_size=4).map(tuple),
        st.lists(below, min_size=1, max_size=3).map(lambda parts: ImproperList(tuple(parts[1:]), parts[0])),
        st.lists(st.tuples(_odd_leaves, below), max_size=3).map(Map),
    ),
    max_leaves=8,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_odd_values)
def test_arbitrary_values(value: object) -> None:
    compare_encoding(compiled_codec(), value)


# What the twin is for.


def rows(count: int) -> list[Term]:
    return [(Atom("row"), (b"user%d" % number, number), number << 30, b"x" * 200) for number in range(count)]


EVERYDAY: list[Term] = [
    rows(100),
    [{Atom("pid"): PID, Atom("links"): [PID], Atom("memory"): 2**40, Atom("load"): 0.5, Atom("é"): True}] * 100,
    (31, Reference(NODE, 3, (1, 2, 3)), PID, 0, PID),
    [Port(NODE, 1, 2), Export(NODE, NODE, 2), BitString(b"\x80", 1), -(2**100), [1, 2, 3], (), [], {}],
    (1,) * 300,
]


def test_everyday_terms_are_not_left_to_the_pure_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise AssertionError

    for module, names in ((_etf_decode, ("decode", "decode_term")), (_etf_encode, ("encode", "encode_term"))):
        for name in names:
            monkeypatch.setattr(module, name, refuse)
    alone = load_codec()
    for term in [*EVERYDAY, ImproperList((1,), 2), {1.5: [], (1, 2): 3}]:
        if not isinstance(term, ImproperList):
            assert alone.decode(alone.encode(term)) == term
            assert alone.decode_term(alone.encode_term(term), 0)[0] == term
    for data in SAMPLES:
        if data[1] in b"PDlyt" or data[1:3] == b"i\0":
            continue
        alone.decode(data)
    with pytest.raises(AssertionError):
        alone.decode(b"\x83R")


@pytest.mark.parametrize("term", EVERYDAY[:3])
@pytest.mark.parametrize("step", [0, 1, 7, 1000, 10**6])
def test_everyday_terms_are_decoded_while_they_come(twin: ModuleType, term: Term, step: int) -> None:
    data = _etf_encode.encode(term)
    found = decode_coming(twin, data + b"rest", repeat(step))
    assert found is not None
    assert found[1] == len(data)
    assert description(found[0]) == description(term)


@settings(deadline=None)
@given(all_terms(), st.lists(st.integers(0, 50), min_size=1))
def test_terms_that_come_in_steps(term: Term, steps: list[int]) -> None:
    twin = compiled_codec()
    data = _etf_encode.encode(term)
    found = decode_coming(twin, data, cycle(steps))
    if found is not None:
        assert description(found) == description((_etf_decode.decode(data), len(data)))
    # Where it ends too early, there is nothing.
    assert decode_coming(twin, data[:-1], cycle(steps)) is None


def test_a_long_term_is_asked_for_now_and_then(twin: ModuleType) -> None:
    """Also when all of it is there: others have their turn then, and Ctrl-C ends it."""
    data = _etf_encode.encode(rows(10_000))
    asked: list[int] = []

    def more(end: int) -> int:
        asked.append(end)
        if len(asked) == 5:
            raise KeyboardInterrupt
        return len(data)

    with pytest.raises(KeyboardInterrupt):
        twin.decode_coming(data, 1, len(data), more)
    assert asked == sorted(asked)
    assert asked[-1] < len(data)


def test_nonsense_about_what_has_come(twin: ModuleType) -> None:
    room = b"\x83h\3a\1a\2a\3"
    for said in (0, 1, 4, len(room) + 1, -1):
        with pytest.raises(ValueError, match="so much cannot have come"):
            twin.decode_coming(room, 1, 5, lambda _end, said=said: said)
    for said in (None, "7", 2**70, 7.0):
        with pytest.raises((TypeError, OverflowError)):
            twin.decode_coming(room, 1, 5, lambda _end, said=said: said)
    for offset, filled in ((-1, 5), (6, 5), (1, len(room) + 1), (5, 2)):
        assert twin.decode_coming(room, offset, filled, lambda end: end) is None
    assert twin.decode_coming(room, 1, 5, lambda end: 5) is None
    assert twin.decode_coming(room, 1, 5, lambda end: end) == ((1, 2, 3), len(room))


def test_atoms_are_made_once(twin: ModuleType) -> None:
    first, second = twin.decode(b"\x83h\2w\3foow\3foo")
    assert first is second
    assert twin.decode(b"\x83d\0\3foo") is first
    for number in range(20_000):
        assert twin.decode(b"\x83w\6" + b"%06d" % number) == f"{number:06}"


def test_what_can_be_in_no_cycle_is_left_out_of_garbage_collection(twin: ModuleType) -> None:
    found = twin.decode(_etf_encode.encode(rows(1)))
    assert gc.is_tracked(found)
    assert not gc.is_tracked(found[0])
    for changeable in ([1], {1: [2]}, [], {}):
        # An empty dict is not tracked either, but may be one day.
        assert gc.is_tracked(twin.decode(_etf_encode.encode((1, (2, changeable)))))
    tuple_with_dict = twin.decode(b"\x83h\1t\0\0\0\0")
    tuple_with_dict[0][1] = tuple_with_dict
    assert gc.is_tracked(tuple_with_dict)


# References that are lost, or given back once too often.


def _cases(twin: ModuleType) -> Iterator[Callable[[], Any]]:
    for data in SAMPLES:
        for end in (len(data), len(data) - 1, len(data) // 2, 3):
            yield lambda part=data[:end]: outcome(twin.decode, part)
            yield lambda part=data[:end]: outcome(twin.decode_term, part, 1)
    openings = [b"h\3", b"l\0\0\0\3", b"t\0\0\0\1", b"t\0\0\0\2", b"i\0\0\0\2", b"l\0\0\0\1w\1ak\0\1b"]
    for opening in (*openings, b"h\1" * 205):
        for inside in (b"a\1", b"w\2qx", b"jjj", b"w\1aw\1b", b"Xw\1a", b"Zw\1a", b"F\x7f\xf0", b"R", b"tttt"):
            yield lambda part=b"\x83" + opening + inside: outcome(twin.decode, part)
    for value in VALUES:
        if not isinstance(value, bytes | int) and value is not CYCLE:
            yield lambda value=value: outcome(twin.encode, value)
            yield lambda value=value: outcome(twin.encode_term, [value, (value,)])
    for data in map(_etf_encode.encode, EVERYDAY):
        yield lambda data=data: twin.decode(data)
        yield lambda data=data: decode_coming(twin, data, repeat(100))
        yield lambda data=data: decode_coming(twin, data[:-3], repeat(100))
        yield lambda data=data: outcome(twin.decode_coming, data, 1, len(data) // 2, lambda _end: 1 // 0)


def test_no_memory_is_lost(twin: ModuleType) -> None:
    shared = [None, True, False, (), Atom, Pid, Reference, ImproperList, b""]
    cases = list(_cases(twin))

    def run(times: int) -> tuple[int, list[int]]:
        for _ in range(times):
            for case in cases:
                case()
        gc.collect()
        return sys.getallocatedblocks(), [sys.getrefcount(value) for value in shared]

    run(3)  # fills caches
    blocks_before, counts_before = run(1)
    blocks, counts = run(10)
    # One reference or block that is lost in one of the cases would be ten of them.
    assert blocks - blocks_before < 10
    assert all(abs(count - before) < 10 for count, before in zip(counts, counts_before, strict=True))


def test_threads_that_share_what_they_encode(twin: ModuleType) -> None:
    """One changes a value while others encode it; the outcome is open, but the process survives."""
    shared: list[Any] = [Port(NODE, 1, 1), {1: Port(NODE, 2, 2)}, [b"x"] * 50]
    stop = threading.Event()

    def change() -> None:
        source = random.Random(1)
        while not stop.is_set():
            shared[1] = {number: Port(NODE, number, 1) for number in range(source.randrange(5))}
            shared[1][7] = shared[2]
            del shared[3:]
            shared.extend([Port(NODE, 3, 3)] * source.randrange(50))

    changer = threading.Thread(target=change)
    changer.start()
    try:
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        for _ in range(3000):
            outcome(twin.encode, shared)
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        changer.join()
    compare_encoding(twin, shared)


def test_other_threads_have_their_turn_beside_a_large_term(twin: ModuleType) -> None:
    data = _etf_encode.encode([(number, b"content") for number in range(300_000)])
    turns = 0
    is_over = threading.Event()

    def work() -> None:
        nonlocal turns
        while not is_over.wait(1e-5):
            turns += 1

    interval = sys.getswitchinterval()
    other = threading.Thread(target=work)
    other.start()
    try:
        sys.setswitchinterval(1e-4)  # how soon the other asks for its turn
        before = turns
        term = twin.decode(data, max_size=_etf_decode.DEFAULT_MAX_SIZE)
        after = turns
    finally:
        sys.setswitchinterval(interval)
        is_over.set()
        other.join()
    assert len(term) == 300_000
    assert after > before
