"""The largest ETS tables, by made-up answers."""

from __future__ import annotations

import pytest

from iris_admin.operations.ets import MAX_COUNT, ets_tables
from iris_admin.terms import Atom, Pid, Reference, Term
from tests.operations.conftest import Run

OWNER = Pid(Atom("a@b"), 7, 0, 1)


def row(table: Term, name: str, rows: Term, words: Term, owner_name: Term) -> Term:
    return table, Atom(name), rows, words, Atom("set"), Atom("public"), OWNER, owner_name


ANSWER = (
    8,
    30,
    5000,
    [
        row(Atom("presence"), "presence", 10, 400, Atom("keeper")),
        row(Reference(Atom("a@b"), 1, (1, 2, 3)), "cache", 5, 300, []),
        row(Atom("gone"), "gone", Atom("undefined"), Atom("undefined"), Atom("undefined")),
    ],
)


def test_rows() -> None:
    run = Run(lambda call: ANSWER)
    found = run(ets_tables(count=3, node="a@b"))
    assert run.calls[0].args == ({"Item": "memory", "N": 3, "Size": 1000},)
    assert (found.node, found.by, found.table_count, found.total_bytes, found.total_rows) == (
        "a@b",
        "memory",
        30,
        40000,
        None,
    )
    named, unnamed = found.tables
    assert (named.name, named.named, named.rows, named.bytes) == ("presence", True, 10, 3200)
    assert (named.owner, named.owner_name, named.type, named.protection) == ("<0.7.0>", "keeper", "set", "public")
    assert (unnamed.name, unnamed.named, unnamed.owner_name) == ("cache", False, None)


def test_by_rows() -> None:
    run = Run(lambda call: ANSWER)
    found = run(ets_tables("rows", node="a@b"))
    assert run.calls[0].args[0]["Item"] == "size"
    assert (found.total_bytes, found.total_rows) == (None, 5000)


@pytest.mark.parametrize(("by", "count"), [("size", 1), ("memory", 0), ("memory", MAX_COUNT + 1)])
def test_out_of_range(by: str, count: int) -> None:
    with pytest.raises(ValueError, match=r"ranked by|count is"):
        Run(lambda call: ANSWER)(ets_tables(by, count=count))  # type: ignore[arg-type]
