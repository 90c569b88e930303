"""Terms as text, read."""

from __future__ import annotations

import base64

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iris_admin.errors import TermSyntaxError
from iris_admin.proto.etf import decode, encode
from iris_admin.syntax import format_term, parse_term
from iris_admin.syntax.parser import MAX_NESTING
from iris_admin.terms import Atom, BitString, Export, ImproperList, Map, Term, charlist
from tests.support.erlang import ErlangNode
from tests.support.term_strategies import ground_terms

TERMS: list[tuple[str, Term]] = [
    ("ok", Atom("ok")),
    ("ok.", Atom("ok")),
    (" % a comment\n ok . % another", Atom("ok")),
    ("'an atom'", Atom("an atom")),
    ("true", True),
    ("'false'", False),
    ("42", 42),
    ("-42", -42),
    ("+ 42", 42),
    ("16#ff", 255),
    ("$a", 97),
    ("-$\\n", -10),
    ("1.5", 1.5),
    ("-1.0e-10", -1.0e-10),
    ('"bob"', charlist("bob")),
    ('""', []),
    ('"a" "b"\n"c"', charlist("abc")),
    ("[]", []),
    ("[1, 2]", [1, 2]),
    ("[1 | 2]", ImproperList((1,), 2)),
    ("[1 | [2]]", [1, 2]),
    ('[1 | "a"]', [1, 97]),
    ("[1, 2 | [3 | 4]]", ImproperList((1, 2, 3), 4)),
    ("{}", ()),
    ('{ok, <<"bob">>, #{a => [1,2]}}', (Atom("ok"), b"bob", {Atom("a"): [1, 2]})),
    ("#{}", {}),
    ("#{1 => a, 1.0 => b, true => c}", Map([(1, Atom("a")), (1.0, Atom("b")), (True, Atom("c"))])),
    ("#{#{} => 1, [] => 2}", Map([({}, 1), ([], 2)])),
    ("fun lists:map/2", Export(Atom("lists"), Atom("map"), 2)),
    ("fun 'M':'+'/255", Export(Atom("M"), Atom("+"), 255)),
    ("(ok)", Atom("ok")),
    ("{(1), ([2])}", (1, [2])),
]

BINARIES: list[tuple[str, Term]] = [
    ("<<>>", b""),
    ('<<"bob">>', b"bob"),
    ('<<"bob" "by">>', b"bobby"),
    ('<<"é€😀"/utf8>>', "é€😀".encode()),
    ('<<"é">>', b"\xe9"),
    ('<<"é€">>', b"\xe9\xac"),
    ('<<"ab":16>>', b"\0a\0b"),
    ('<<"ab"/little-utf16>>', b"a\0b\0"),
    ('<<"😀"/utf16, "😀"/utf32, "a"/utf32-little>>', b"\xd8=\xde\0\0\x01\xf6\0a\0\0\0"),
    ("<<1, 2, 300, -1>>", b"\x01\x02\x2c\xff"),
    ("<<5:3>>", BitString(b"\xa0", 3)),
    ("<<1:1, 0:7>>", b"\x80"),
    ("<<1:16>>", b"\x00\x01"),
    ("<<1:16/little, -2:24/little-signed>>", b"\x01\x00\xfe\xff\xff"),
    ("<<2#101010101010:12/little>>", BitString(b"\xaa\xa0", 4)),
    ("<<16#abc:12/little, 1:3>>", BitString(b"\xbc\xa2", 7)),
    ("<<1:2/unit:8, 3:1/integer-unit:16>>", b"\0\1\0\3"),
    ("<<0:0, 7>>", b"\x07"),
    ("<<$a, $\\n>>", b"a\n"),
    ("<<1.5/float, 1.5:32/float, 1/float, 1.5:16/float-little>>", b"?\xf8\0\0\0\0\0\0?\xc0\0\0?\xf0\0\0\0\0\0\0\0>"),
    ('<<<<"ab">>/binary, <<1:3>>/bits, <<2:5>>/bitstring>>', b"ab\x22"),
    ('<<(<<"abc">>):2/binary, (<<255>>):3/bits>>', BitString(b"ab\xe0", 3)),
    ("<<1114111/utf8, 97/utf16>>", b"\xf4\x8f\xbf\xbf\0a"),
]


@pytest.mark.parametrize(("text", "term"), TERMS + BINARIES)
def test_terms(text: str, term: Term) -> None:
    parsed = parse_term(text)
    assert (parsed, type(parsed)) == (term, type(term))


def test_a_node_reads_the_same(erlang_node: ErlangNode) -> None:
    for text, term in TERMS + BINARIES:
        expression = text.split("%")[-2].split("\n")[-1] if "%" in text else text
        value = erlang_node.evaluate_bytes(f"term_to_binary({expression.strip().removesuffix('.')})")
        assert decode(value) == term, text


@settings(deadline=None)
@given(ground_terms(), st.sampled_from([None, 20, 80]))
def test_what_is_written_can_be_read(term: Term, width: int | None) -> None:
    parsed = parse_term(format_term(term, width))
    assert parsed == term
    assert repr(parsed) == repr(term)


_segments = st.one_of(
    st.builds(
        "{}:{}/{}{}".format,
        st.integers(-(2**70), 2**70),
        st.integers(0, 80),
        st.sampled_from(["integer", "little", "big-signed", "little-unsigned-integer"]),
        st.sampled_from(["", "-unit:1", "-unit:3"]),
    ),
    st.builds("{}/{}".format, st.integers(0, 0xD7FF), st.sampled_from(["utf8", "utf16", "utf32", "utf16-little"])),
    st.builds(
        "{!r}:{}/float{}".format,
        st.floats(-1e4, 1e4).map(lambda x: x or 0.5).filter(lambda x: "e" not in repr(x)),
        st.sampled_from([16, 32, 64]),
        st.sampled_from(["", "-little"]),
    ),
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_segments, max_size=12).map(lambda segments: f"<<{', '.join(segments)}>>"))
def test_binaries_are_put_together_as_on_a_node(erlang_node: ErlangNode, text: str) -> None:
    assert parse_term(text) == decode(erlang_node.evaluate_bytes(f"term_to_binary({text})"))


@pytest.mark.parametrize(
    ("text", "position", "hint"),
    [
        ("", 0, "e.g."),
        (" % nothing", 10, "e.g."),
        ("Bob", 0, "'Bob'"),
        ("{ok, Bob}", 5, '<<"Bob">>'),
        ("_", 0, "quote"),
        ("[True]", 1, "true"),
        ("None", 0, "undefined"),
        ('b"bob"', 0, "<<"),
        ('{"a": 1}', 4, "#{key => value}"),
        ("{a => 1}", 3, "#{key => value}"),
        ("#{a: 1}", 3, "#{key => value}"),
        ("#{a := 1}", 4, "#{key => value}"),
        ("(1, 2)", 0, "{a, b}"),
        ("()", 0, "{}"),
        ("f(1)", 1, "evaluate"),
        ("lists:sum([1])", 5, "no functions"),
        ("1 + 2", 2, "computes"),
        ("a-b", 1, "quote"),
        ("foo.bar", 3, "'a.b'"),
        ("user@host.com", 9, "'a.b'"),
        ("two words", 4, "quotes"),
        ("1, 2", 1, "one term"),
        ("#user{name = bob}", 0, "{user, ...}"),
        ("end", 0, "'end'"),
        ("fun(X) -> X end", 0, "fun module:function/arity"),
        ("<0.1.2>", 0, "list_to_pid"),
        ("#Ref<0.1.2.3>", 0, "list_to_pid"),
        ("#Fun<erl_eval.1.2>", 0, "list_to_pid"),
        ("<<bob>>", 2, '<<"bob">>'),
        ("`ok`", 0, "'"),
        ('~"bob"', 0, "<<"),
        ("[1, 2", 5, "["),
        ("{a, {b}.", 7, "{"),
        ("<<native:8/native>>", 2, "quotes"),
        ("<<1/native>>", 2, "little"),
        ("<<<<1>>>>", 2, "/binary"),
        ("<<1.5>>", 2, "/float"),
    ],
)
def test_slips_and_what_to_write_instead(text: str, position: int, hint: str) -> None:
    with pytest.raises(TermSyntaxError) as caught:
        parse_term(text)
    assert caught.value.position == position
    assert caught.value.hint is not None
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        ".",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1|]",
        "[1|2,3]",
        "[|1]",
        "{a,}",
        "{,}",
        "ok ok",
        "ok. ok.",
        "-ok",
        "--1",
        "- (1)",
        "]",
        "#{1 => 2, 1 => 3}",
        "#{a}",
        "#{a =>}",
        "#{a => 1,}",
        "#",
        "#{",
        "fun",
        "fun m:f",
        "fun m:f/a",
        "fun m:f/256",
        "fun f/1",
        "fun M:f/1",
        "<<1",
        "<<1:a>>",
        "<<1:-1>>",
        "<<1/integer-float>>",
        "<<1/foo>>",
        "<<1:8/utf8>>",
        "<<55296/utf8>>",
        "<<1:7/float>>",
        "<<1.0e300:32/float>>",
        "<<1.5/utf8>>",
        '<<"a"/binary>>',
        "<<1/binary>>",
        "<<<<1>>:2/binary>>",
        "<<<<1:3>>/binary>>",
        "<<1:99999999999>>",
        "<<1/unit:8>>",
        "<<1:1/unit:257>>",
        "<<[]>>",
        "(1",
    ],
)
def test_what_is_no_term(text: str) -> None:
    with pytest.raises(TermSyntaxError) as caught:
        parse_term(text)
    assert caught.value.position is not None
    assert 0 <= caught.value.position <= len(text)


@given(st.text(st.sampled_from("[]{}<>#=|,.:/-+()'\"$\\ \n1aA_%"), max_size=30))
def test_any_text_is_a_term_or_an_error(text: str) -> None:
    try:
        term = parse_term(text)
    except TermSyntaxError as error:
        position = error.position
    else:
        encode(term)
        position = 0
    assert position in range(len(text) + 1)


def test_nesting() -> None:
    deepest = "[" * MAX_NESTING + "]" * MAX_NESTING
    assert format_term(parse_term(deepest)) == deepest
    for opening in "[", "{", "(", "#{1=>":
        with pytest.raises(TermSyntaxError):
            parse_term(opening * 100_000)


def test_long_binaries() -> None:
    text = base64.b64encode(bytes(range(256)) * 400).decode()
    assert parse_term(f'<<"{text}">>') == text.encode()
    assert parse_term(f"<<{','.join(map(str, range(256)))}>>") == bytes(range(256))
