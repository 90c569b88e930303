"""The benchmarks can be started, and their table says what was met and what was not. Nothing is measured here."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from bench.report import Row, missed, table
from bench.run_all import SECTIONS

RUN_ALL = Path(__file__).parents[1] / "bench" / "run_all.py"


def row(ratio: float | None, target: float | None, *, at_most: bool = True) -> Row:
    return Row("a call", "90 µs", "100 µs", "erl_call 3 ms", ratio, target, at_most)


@pytest.mark.parametrize("section", SECTIONS)
def test_sections_can_be_measured(section: str) -> None:
    assert callable(importlib.import_module(f"bench.{section}").measure)


@pytest.mark.parametrize(
    ("measured", "passed"),
    [
        (row(1.2, 1.2), True),
        (row(1.21, 1.2), False),
        (row(0.8, 0.8, at_most=False), True),
        (row(0.79, 0.8, at_most=False), False),
        (row(99.0, None), True),
        (row(None, 1.2), False),
    ],
)
def test_what_has_met_its_target(measured: Row, passed: bool) -> None:
    assert measured.passed is passed
    assert missed([measured]) == ([] if passed else [measured])


def test_the_table() -> None:
    text = table({"Calls": [row(0.9, 1.0), row(1.234, None)], "More": [row(1.5, 1.0), row(123.4, 15, at_most=False)]})
    lines = [line.split() for line in text.splitlines()]
    assert lines == [
        ["ours", "BEAM", "peers", "ratio", "target"],
        [],
        ["Calls"],
        ["a", "call", "90", "µs", "100", "µs", "erl_call", "3", "ms", "0.9", "<=", "1", "pass"],
        ["a", "call", "90", "µs", "100", "µs", "erl_call", "3", "ms", "1.23"],
        [],
        ["More"],
        ["a", "call", "90", "µs", "100", "µs", "erl_call", "3", "ms", "1.5", "<=", "1", "MISSED"],
        ["a", "call", "90", "µs", "100", "µs", "erl_call", "3", "ms", "123", ">=", "15", "pass"],
    ]


def test_an_unknown_section_is_refused_before_anything_is_set_up() -> None:
    run = subprocess.run([sys.executable, RUN_ALL, "nosuch"], capture_output=True, text=True)
    assert run.returncode == 2
    assert "no section 'nosuch'; there are codec, " in run.stderr
