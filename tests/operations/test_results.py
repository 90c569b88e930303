"""Results become JSON, tables become frames and HTML, and nothing in them speaks to a terminal or a browser."""

from __future__ import annotations

import json
import pickle
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_admin.errors import NodeDown
from iris_admin.operations.results import Result, Table, plain
from iris_admin.records import record
from iris_admin.terms import Atom, Pid
from tests.support.term_strategies import all_terms


class Colour(Enum):
    RED = "red"


@record
class Row(Result):
    name: bytes
    size: int | None


@record
class Whole(Result):
    node: str
    rows: Table[Row]
    rest: Any = None


ROWS = Table(Row, [Row(b"bob", 1), Row(b"\xff\x00", None)])


class TestPlain:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (None, None),
            (True, True),
            (Atom("undefined"), "undefined"),
            (2**70, 2**70),
            ("grün".encode(), "grün"),
            (b"\xff\x00", "<<255,0>>"),
            ((Atom("ok"), [b"a"]), ["ok", ["a"]]),
            ({Atom("a"): b"b", (1, 2): 3}, {"a": "b", "{1,2}": 3}),
            (Pid(Atom("edge@host"), 12, 0, 1), "<edge@host.12.0>"),
            (Path("/a/b"), "/a/b"),
            (Colour.RED, "red"),
            (ROWS[0], {"name": "bob", "size": 1}),
            (ROWS, [{"name": "bob", "size": 1}, {"name": "<<255,0>>", "size": None}]),
        ],
    )
    def test_value(self, value: object, expected: object) -> None:
        assert plain(value) == expected

    def test_error_keeps_what_it_knows(self) -> None:
        error = NodeDown("gone", node="a@b", hint="look")
        assert plain(error) == {"error": "NodeDown", "message": "gone", "node": "a@b", "hint": "look"}

    @given(all_terms())
    def test_every_term_is_json(self, term: Any) -> None:
        json.dumps(plain(term), allow_nan=False)

    def test_depth_is_bounded(self) -> None:
        nested: Any = 1
        for _ in range(5000):
            nested = [nested]
        assert "[[[[1]]]]" in json.dumps(plain({"a": nested}))


class TestResult:
    def test_to_dict(self) -> None:
        assert Whole("a@b", ROWS).to_dict() == {
            "node": "a@b",
            "rows": [{"name": "bob", "size": 1}, {"name": "<<255,0>>", "size": None}],
            "rest": None,
        }

    def test_repr_is_short_and_says_what_it_leaves_out(self) -> None:
        result = Whole("a@b", ROWS, rest=["x" * 1000, b"y" * 1000, 1, 2, 3, 4, 5])
        assert repr(result) == (
            f"Whole(node='a@b', rows=<2 rows>, rest=('{'x' * 60}'… (1000 characters), "
            f"b'{'y' * 60}'… (1000 bytes), 1, 2, 3, … 7 in all))"
        )

    def test_repr_says_nothing_to_a_terminal(self) -> None:
        assert repr(Row(b"\x1b[2J\xc2\x9b", 1)).isprintable()
        assert repr(Whole("\x1b[2J\u202e", ROWS)).isprintable()

    def test_html(self) -> None:
        html = Whole("<script>", ROWS, rest={"a": 1})._repr_html_()
        assert "&lt;script&gt;" in html
        assert "<script>" not in html
        assert "bob" in html

    def test_results_compare_hash_and_pickle(self) -> None:
        result = Whole("a@b", ROWS)
        assert pickle.loads(pickle.dumps(result)) == result
        assert len({result, Whole("a@b", Table(Row, list(ROWS)))}) == 1


class TestTable:
    def test_is_a_sequence(self) -> None:
        assert len(ROWS) == 2
        assert ROWS[-1].size is None
        assert list(ROWS) == [ROWS[0], ROWS[1]]
        assert ROWS[1:] == Table(Row, [ROWS[1]])
        assert Row(b"bob", 1) in ROWS
        assert list(ROWS) != ROWS

    def test_columns_are_there_without_rows(self) -> None:
        empty = Table(Row)
        assert not empty
        assert empty.columns == ("name", "size")
        assert list(empty.to_pandas().columns) == ["name", "size"]

    def test_to_pandas(self) -> None:
        frame = ROWS.to_pandas()
        assert list(frame["name"]) == ["bob", "<<255,0>>"]
        assert list(frame.columns) == ["name", "size"]

    def test_repr_shows_no_content(self) -> None:
        assert repr(ROWS) == "<Table of 2 × Row: name, size>"

    def test_html_is_escaped_and_bounded(self) -> None:
        html = Table(Row, [Row(b"<img src=x onerror=alert(1)>\x1b[2J", n) for n in range(1000)])._repr_html_()
        assert "<img" not in html
        assert "\x1b" not in html
        assert html.count("<tr>") == 201
        assert "and 800 more rows" in html

    @given(st.binary())
    def test_html_of_any_name_is_inert(self, name: bytes) -> None:
        html = Table(Row, [Row(name, 1)])._repr_html_()
        assert html.replace("\n", "").isprintable()
        cell = html.partition("<tbody><tr><td>")[2].partition("</td>")[0].replace("<br>", "")
        assert "<" not in cell
