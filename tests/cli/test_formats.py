"""The formats for programs, and the layout for people."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_admin.cli.formats import csv_text, write
from iris_admin.cli.layout import (
    Number,
    cell,
    columns,
    count,
    display_width,
    duration,
    fields,
    human,
    moment,
    size,
    table,
    title,
)

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=5,
)


class TestJson:
    @given(JSON_VALUES)
    def test_reads_back(self, value: object) -> None:
        assert json.loads(write("json", value)) == value

    @given(st.lists(JSON_VALUES, max_size=3))
    def test_lines(self, values: list[object]) -> None:
        text = write("jsonl", values)
        assert [json.loads(line) for line in text.split("\n")[:-1]] == values

    def test_one_object_is_one_line(self) -> None:
        assert write("jsonl", {"a": [1, "ü"]}) in ('{"a": [1, "ü"]}\n', '{"a": [1, "\\u00fc"]}\n')

    @pytest.mark.parametrize("output_format", ["json", "jsonl", "csv"])
    def test_rows_replace_the_document_where_each_has_a_line(self, output_format: str) -> None:
        text = write(output_format, {"document": 1}, [{"row": 2}])
        assert ("document" in text) == (output_format == "json")
        assert ("row" in text) == (output_format != "json")


class TestCsv:
    def test_header_and_rows(self) -> None:
        rows = [{"a": 1, "b": None}, {"b": True, "c": [1, {"x": "y"}]}]
        assert csv_text(rows) == 'a,b,c\n1,,\n,true,"[1, {""x"": ""y""}]"\n'

    @pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@a", "\tx", "\rx"])
    def test_text_is_no_formula(self, text: str) -> None:
        ((value,),) = list(csv.reader(io.StringIO(csv_text([{"a": text}]), newline="")))[1:]
        assert value == "'" + text.replace("\r", r"\r")

    def test_number_stays_a_number(self) -> None:
        assert csv_text([{"a": -1, "b": -1.5}]) == "a,b\n-1,-1.5\n"

    def test_control_characters(self) -> None:
        assert csv_text([{"a": "x\x1b[2J\x9b\ny"}]) == 'a\n"x\\e[2J\\x{9B}\ny"\n'

    @given(st.lists(st.dictionaries(st.sampled_from("abc"), st.text(), min_size=1), min_size=1, max_size=4))
    def test_every_row_can_be_read(self, rows: list[dict[str, str]]) -> None:
        read = list(csv.reader(io.StringIO(csv_text(rows), newline="")))
        assert len(read) == len(rows) + 1
        assert {len(line) for line in read} == {len({name for row in rows for name in row})}
        assert not any(value.startswith(("=", "+", "-", "@", "\t", "\r")) for line in read for value in line)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "0.977 KiB"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (10**6, "977 KiB"),
        (2**20 * 999, "999 MiB"),
        (2**20 * 1000, "0.977 GiB"),
        (2**60, "1.02e+03 PiB"),
    ],
)
def test_size(number: int, text: str) -> None:
    assert size(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.000412, "0.412 ms"),
        (0.5, "500 ms"),
        (1.25, "1.25 s"),
        (59.9, "59.9 s"),
        (60, "1 min 0 s"),
        (3600 * 5 + 61, "5 h 1 min"),
        (86400 * 400, "400 d 0 h"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (None, None),
        (0, "1970-01-01T00:00:00.000Z"),
        (1795424244987, "2026-11-23T08:57:24.987Z"),
        (10**18, "1000000000000000000 ms since 1970"),
    ],
)
def test_moment(milliseconds: int | None, text: str | None) -> None:
    assert moment(milliseconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (True, "yes"),
        (False, "no"),
        (1.5, "1.5"),
        ("", ""),
        ("a\nb\x1b", r"a\nb\e"),
        ([], "-"),
        (["a", None], "a, -"),
        ({"a": 1, "b\n": []}, r"a: 1, b\n: -"),
    ],
)
def test_cell(value: object, text: str) -> None:
    assert cell(value) == text


def test_columns_are_aligned() -> None:
    assert columns([("a", 1, "x"), ("böse", 1000, None)], ["N", "COUNT", "C"]) == [
        "N     COUNT  C",
        "a         1  x",
        "böse   1000  -",
    ]


def test_wide_characters_take_two_columns() -> None:
    assert display_width("日本e\u0301") == 5
    assert columns([("日本", "x"), ("abcd", "y")]) == ["日本  x", "abcd  y"]


def test_numbers_with_units_stand_to_the_right() -> None:
    assert columns([(Number("1 B"), "x"), (Number("10 KiB"), "y")]) == ["   1 B  x", "10 KiB  y"]


def test_fields_leave_out_what_is_not_known() -> None:
    assert fields([("a", 1), ("long", None), ("bc", "text")]) == ["a   1", "bc  text"]


def test_table_leaves_out_columns_without_a_value() -> None:
    rows = [{"a": 1, "b": None, "size": 2048}, {"a": 2, "b": None, "size": 1}]
    assert table(rows) == ["", "A   SIZE", "1  2 KiB", "2    1 B"]
    assert table(rows, "size") == ["", " SIZE", "2 KiB", "  1 B"]
    assert table([]) == []


def test_names_and_units_of_fields() -> None:
    assert title("stored_at_ms") == "stored at"
    assert human("bytes", 1024) == "1 KiB"
    assert human("uptime", 90) == "1 min 30 s"
    assert human("rows", 1024) == 1024
    assert human("size", None) is None
    assert count(1, "row") == "1 row"
    assert count(0, "row") == "0 rows"
