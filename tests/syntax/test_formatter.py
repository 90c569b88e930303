"""Terms as text, written: every line is held against what a node prints."""

from __future__ import annotations

import base64

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iris_admin.errors import EncodeError
from iris_admin.proto.etf import decode, encode
from iris_admin.syntax import format_term
from iris_admin.syntax.formatter import MAX_LAYOUT_DEPTH, format_float
from iris_admin.syntax.tokens import RESERVED_WORDS
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
    charlist,
)
from tests.support.erlang import ErlangNode
from tests.support.term_strategies import terms

NODE = Atom("db1@host")
PID = Pid(NODE, 123, 1, 7)
#: From OTP 27 on.
RESERVED_LATER = ("maybe", "else")


def print_on(node: ErlangNode, pairs: list[tuple[int, Term]]) -> list[tuple[str, Term]]:
    """What the node prints in lines of the given widths, and the terms with their maps in the node's order."""
    data = base64.b64encode(encode(pairs)).decode()
    answer = node.evaluate_bytes(
        "Print = fun(Width, Term) ->"
        ' {unicode:characters_to_binary(io_lib:format("~" ++ integer_to_list(Width) ++ "tp", [Term])), Term} end,'
        f'term_to_binary([Print(Width, Term) || {{Width, Term}} <- binary_to_term(base64:decode("{data}"))])'
    )
    return [(text.decode(), term) for text, term in decode(answer)]


def compare(node: ErlangNode, pairs: list[tuple[int, Term]]) -> None:
    for (width, _), (text, term) in zip(pairs, print_on(node, pairs), strict=True):
        if not _is_printed_otherwise(term):
            assert format_term(term, width or None, node=node.name) == text


def _is_printed_otherwise(term: Term) -> bool:
    """Whether the node prints something in it that we cannot, or do not want to, print in the same way."""
    if isinstance(term, Atom) and term in RESERVED_LATER:
        return True  # without quotes up to OTP 26
    if isinstance(term, Pid | Port | Reference):
        return True  # the number that a foreign node has is known only there
    if isinstance(term, Export):  # other names come out of OTP 25 as Latin-1 readings of UTF-8, or without quotes
        return any(
            not (name.isidentifier() and name.isascii()) or name in RESERVED_WORDS or name in RESERVED_LATER
            for name in (term.module, term.function)
        )
    if isinstance(term, dict | Map):
        return any(_is_printed_otherwise(part) for pair in term.items() for part in pair)
    if isinstance(term, ImproperList):
        return _is_printed_otherwise([*term.elements, term.tail])
    return isinstance(term, list | tuple) and any(map(_is_printed_otherwise, term))


@pytest.mark.parametrize("name", RESERVED_LATER)
def test_what_is_reserved_in_one_release_is_quoted_for_all(name: str, erlang_node: ErlangNode) -> None:
    text = format_term({Atom(name): [Atom(name)]})
    assert text == f"#{{'{name}' => ['{name}']}}"
    assert erlang_node.evaluate(f'{text} =:= #{{list_to_atom("{name}") => [list_to_atom("{name}")]}}') == "true"


SAMPLES: list[Term] = [
    *map(
        Atom,
        ("ok", "a b", "A", "", "it's", "é", "Δ", "a@b", "fun", "maybe", "ñandú", "_a", "1a", "\n\t\\\x7f\x80\0", "×"),
    ),
    True,
    *(0, -1, 10**40, -(10**4400)),
    *(0.0, -0.0, 1.0, 0.1, 1e10, 1e22, 1.5e-7, 123456.789, 2.0**53, 2.0**53 - 1, 1e100, 5e-324, 1.7976931348623157e308),
    *(0.001, 0.0001, 0.00001, 1e5, 1e6, 123456789012345.6, 1.2345e-5, 100000.0, 3.0e-4),
    *(
        b"",
        b"bob",
        b'a"b\\c\n\x1b',
        "é".encode(),
        "Δ".encode(),
        b"\xe9",
        b"\x00",
        b"\x7f",
        b"a\xff\xfe",
        bytes(range(100)),
    ),
    *(b"x" * 200, ("é" * 100).encode(), BitString(b"\xa0", 3), BitString(bytes(60), 1)),
    *(
        [],
        charlist("bob"),
        charlist("é"),
        charlist("Δ"),
        charlist('a"\\\n\x1b'),
        [127],
        [0],
        [98, True],
        [97.0],
        ["a" == "b"],
    ),
    charlist("long " * 40),
    *((), (1,), (Atom("a"),), (Atom("a"), 1), [(), {}, []], {}),
    ImproperList((1, 2), 3),
    ImproperList((1, b"x" * 90), Atom("tail")),
    {Atom("a"): 1, b"key": [1, 2], 1.5: {}},
    Map([(1, 2), (1.0, 3), ([1], {})]),
    Export(Atom("m"), Atom("f"), 1),
    Export(Atom("M"), Atom("a b"), 1),
    list(range(200)),
    [(Atom("offline_msg"), (b"bob", 3), 1700000000000 + i, b"hello" * 10) for i in range(5)],
    [{Atom("registered_name"): [], Atom("links"): list(range(1000, 1030)), Atom("status"): Atom("waiting")}] * 2,
    (Atom("a_rather_long_tag_that_moves_everything_to_the_right"), [Atom("element")] * 12, {Atom("k"): b"v" * 50}),
    [[[[[[[[[[Atom("deep")] * 9] * 2] * 2]]]]]]],
    {(Atom("long_key"), b"x" * 40, 1): [(Atom("long_value"), b"y" * 40, 2)] * 2},
    (Atom("x" * 60), Atom("y" * 60), [Atom("z" * 60)]),
]


@pytest.mark.parametrize("width", [0, 20, 40, 80, 200])
def test_samples(erlang_node: ErlangNode, width: int) -> None:
    compare(erlang_node, [(width, term) for term in SAMPLES])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from([0, 10, 20, 40, 80, 80, 80, 132]), terms()), min_size=10, max_size=20))
def test_any_terms(erlang_node: ErlangNode, pairs: list[tuple[int, Term]]) -> None:
    compare(erlang_node, pairs)


_words = st.sampled_from(
    [Atom("a"), Atom("a_longer_name"), b"text", b"\x00\x01\x02", 12, 3.25, charlist("xyz"), Atom("q" * 25)]
)
_wide = st.recursive(
    _words,
    lambda below: st.one_of(
        st.lists(below, max_size=12),
        st.lists(below, max_size=6).map(lambda items: (Atom("tag"), *items)),
        st.lists(below, max_size=6).map(tuple),
        st.dictionaries(st.sampled_from([Atom("k"), b"key", Atom("a_long_key_name"), 1]), below, max_size=4),
        st.builds(lambda items: ImproperList(tuple(items), Atom("t" * 9)), st.lists(below, min_size=1, max_size=5)),
    ),
    max_leaves=60,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(st.tuples(st.sampled_from([20, 40, 60, 80]), _wide), min_size=5, max_size=10))
def test_line_breaks(erlang_node: ErlangNode, pairs: list[tuple[int, Term]]) -> None:
    compare(erlang_node, pairs)


def test_identifiers_of_the_node_itself(erlang_node: ErlangNode) -> None:
    expressions = "self()", "hd(erlang:ports())", "make_ref()", "alias()", "fun(X) -> X end", "fun lists:map/2"
    for expression in expressions:
        pair = erlang_node.evaluate_bytes(
            f'Term = {expression}, term_to_binary({{Term, iolist_to_binary(io_lib:format("~tp", [Term]))}})'
        )
        term, text = decode(pair)
        assert format_term(term, node=erlang_node.name) == text.decode()


def test_maps_in_the_order_of_the_node(erlang_node: ErlangNode) -> None:
    # Larger maps have no order, and a node prints them in another one than it sends them.
    answer = erlang_node.evaluate_bytes(
        "Map = maps:from_list([{I rem 7, I} || I <- lists:seq(1, 100)] ++ [{{I}, I} || I <- lists:seq(1, 25)]),"
        'term_to_binary({Map, iolist_to_binary(io_lib:format("~tp", [Map]))})'
    )
    term, text = decode(answer)
    assert len(term) == 32
    assert format_term(term) == text.decode()


@pytest.mark.parametrize(
    ("term", "text"),
    [
        (PID, "<db1@host.123.1>"),
        (Port(NODE, 5, 7), "#Port<db1@host.5>"),
        (Reference(NODE, 7, (1, 2, 3)), "#Ref<db1@host.3.2.1>"),
        (Fun(Atom("m"), 1, b"u" * 16, 5, 6, 7, PID, ()), "#Fun<m.6.7>"),
        (NativeRecord(Atom("m"), Atom("r"), (Atom("a"), Atom("B")), (1, [b"x"]), 0), "#m:r{a = 1,'B' = [<<\"x\">>]}"),
        (NativeRecord(Atom("m"), Atom("r"), (), (), 0), "#m:r{}"),
        (LocalTerm(b"secret"), "#Local<>"),
        (bytearray(b"x"), '<<"x">>'),
    ],
)
def test_what_a_node_prints_in_another_way(term: Term, text: str) -> None:
    assert format_term(term) == text
    assert format_term([term], None) == f"[{text}]"


def test_identifiers_in_the_view_of_a_node() -> None:
    assert format_term([PID, Pid(Atom("other@host"), 1, 2, 3)], node="db1@host") == "[<0.123.1>,<other@host.1.2>]"


@pytest.mark.parametrize(
    "value",
    ["text", None, object(), {1: "x"}, {"x": 1}, ["x"], ("x",), ImproperList((1,), "x"), float("nan"), [float("inf")]],
)
@pytest.mark.parametrize("width", [None, 80])
def test_values_that_are_no_terms(value: object, width: int | None) -> None:
    with pytest.raises(EncodeError):
        format_term(value, width)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_mean_the_same_float(number: float) -> None:
    text = format_float(number)
    assert "." in text
    assert float(text) == number


@pytest.mark.parametrize("depth", [MAX_LAYOUT_DEPTH - 1, MAX_LAYOUT_DEPTH, MAX_LAYOUT_DEPTH + 1, 9000])
def test_deep_terms(depth: int) -> None:
    term: Term = []
    for _ in range(depth):
        term = [term]
    assert "".join(format_term(term).split()) == "[" * depth + "[]" + "]" * depth


def test_deep_terms_are_laid_out_as_on_a_node(erlang_node: ErlangNode) -> None:
    term: Term = Atom("x")
    for _ in range(MAX_LAYOUT_DEPTH - 10):
        term = (Atom("tag"), term, 1)
    compare(erlang_node, [(80, term)])


def test_values_that_contain_themselves() -> None:
    cycle: list[Term] = [1]
    cycle.append(cycle)
    with pytest.raises(EncodeError):
        format_term(cycle)
