"""The atoms of a term, which a node must know before it is sent as one."""

from __future__ import annotations

import pytest

from iris_admin.operations.evaluate import atoms_in
from iris_admin.terms import Atom, Export, Fun, ImproperList, Map, NativeRecord, Pid, Port, Reference, Term

A, B, C, D = map(Atom, "abcd")
PID = Pid(Atom("n@h"), 1, 2, 3)


@pytest.mark.parametrize(
    ("term", "atoms"),
    [
        (1, set()),
        ("a", set()),
        (True, set()),
        (A, {A}),
        ([A, (B, b"c")], {A, B}),
        ({A: [B]}, {A, B}),
        (Map([(1, A), (1.0, B)]), {A, B}),
        (ImproperList((A,), B), {A, B}),
        (Export(A, B, 2), {A, B}),
        (PID, {Atom("n@h")}),
        (Port(A, 1, 2), {A}),
        (Reference(A, 1, (1, 2, 3)), {A}),
        (Fun(A, 1, b"", 1, 2, 3, PID, (B, [C])), {A, B, C, Atom("n@h")}),
        (NativeRecord(A, B, (C,), (D,), 0), {A, B, C, D}),
    ],
)
def test_atoms_in(term: Term, atoms: set[Atom]) -> None:
    assert atoms_in(term) == atoms
    assert atoms_in([term], 1) == atoms


def test_depth_does_not_matter() -> None:
    term: Term = A
    for _ in range(100_000):
        term = [term]
    assert atoms_in(term) == {A}
