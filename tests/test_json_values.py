"""Terms as JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from iris_admin.json_values import MAX_DEPTH, to_json_text, to_json_value
from iris_admin.terms import Atom, BitString, ImproperList, Map, Pid, Term, charlist
from tests.support.term_strategies import terms


@pytest.mark.parametrize(
    ("term", "value"),
    [
        (True, True),
        (Atom("undefined"), "undefined"),
        (2**70, 2**70),
        (1.5, 1.5),
        ("grüße".encode(), "grüße"),
        (b"\x00\xff", "<<0,255>>"),
        ((Atom("ok"), [b"a", ()]), ["ok", ["a", []]]),
        (charlist("ab"), [97, 98]),
        ({Atom("a"): 1, b"b": {}}, {"a": 1, "b": {}}),
        ({1: True, (1, 2): False}, {"1": True, "{1,2}": False}),
        ({True: 1}, {"true": 1}),
        (Map([(1, b"i"), (1.0, b"f")]), {"1": "i", "1.0": "f"}),
        ({Atom("a"): 1, b"a": 2}, {"a": 1, '<<"a">>': 2}),
        (ImproperList((1,), 2), "[1|2]"),
        (BitString(b"\xa0", 3), "<<5:3>>"),
        (None, None),
        ("text", "text"),
    ],
)
def test_mapping(term: Term, value: object) -> None:
    assert to_json_value(term) == value
    assert json.loads(to_json_text(to_json_value(term))) == value


def test_pids_of_the_node_are_written_as_it_prints_them() -> None:
    pid = Pid(Atom("a@b"), 12, 0, 1)
    assert to_json_value([pid], node="a@b") == ["<0.12.0>"]
    assert to_json_value(pid, node="c@d") == "<a@b.12.0>"


def test_what_lies_too_deep_is_written_as_erlang() -> None:
    term: Term = []
    for _ in range(5000):
        term = (term,)
    value = to_json_value(term)
    for _ in range(MAX_DEPTH):
        assert len(value) == 1
        value = value[0]
    assert value == "{" * 4900 + "[]" + "}" * 4900
    assert json.loads(to_json_text(to_json_value(term), indent=2)) == to_json_value(term)


@given(terms())
def test_every_term_becomes_json_that_reads_back(term: Term) -> None:
    value = to_json_value(term)
    for ascii_only in (False, True):
        text = to_json_text(value, ascii_only=ascii_only)
        assert json.loads(text) == value
        assert text.isprintable()


def test_text_that_a_terminal_would_obey_is_escaped() -> None:
    assert to_json_text("\x1b[2J\x9b2J\u202e\x7fé") == r'"\u001b[2J\u009b2J\u202e\u007fé"'
    assert to_json_text("é😀", ascii_only=True) == r'"\u00e9\ud83d\ude00"'
