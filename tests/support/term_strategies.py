"""Hypothesis strategies for Erlang terms, as Python represents them."""

from __future__ import annotations

from hypothesis import strategies as st

from iris_admin.proto.etf import canonical
from iris_admin.terms import (
    Atom,
    BitString,
    Export,
    Fun,
    ImproperList,
    NativeRecord,
    Pid,
    Port,
    Reference,
    Term,
    make_map,
)

_CHARACTERS = st.characters(exclude_categories=["Cs"])

#: ``true`` and ``false`` are bools.
atoms = st.one_of(
    st.sampled_from(["ok", "error", "undefined", "a b", "", "A", "fun", "é", "Δ"]),
    st.text(_CHARACTERS, max_size=20),
).map(Atom)
plain_atoms = atoms.filter(lambda atom: atom not in ("true", "false"))

# Around each border between two forms of integers.
_borders = st.builds(
    lambda sign, bits, near: sign * ((1 << bits) + near),
    st.sampled_from([1, -1]),
    st.sampled_from([8, 31, 32, 64, 2040]),
    st.integers(-1, 1),
)
integers = st.one_of(st.integers(-300, 300), st.integers(), _borders)
#: Up to OTP 26, 0.0 and -0.0 are the same key; a node would refuse a map with both.
floats = st.floats(allow_nan=False, allow_infinity=False).map(lambda number: number or 0.0)

_u32 = st.integers(0, 2**32 - 1)
_nodes = st.sampled_from([Atom("db1@127.0.0.1"), Atom("edge-2@host.example.com")])
pids = st.builds(Pid, _nodes, st.integers(0, 2**15 - 1), st.integers(0, 2**13 - 1), _u32)
ports = st.builds(Port, _nodes, st.integers(0, 2**40), _u32)
# The BEAM keeps 18 bits of the first word.
references = st.builds(
    lambda node, creation, first, rest: Reference(node, creation, (first, *rest)),
    _nodes,
    _u32,
    st.integers(0, 2**18 - 1),
    st.lists(_u32, min_size=2, max_size=2),
)
exports = st.builds(Export, atoms, atoms, st.integers(0, 255))
bitstrings = st.builds(BitString, st.binary(min_size=1, max_size=40), st.integers(1, 7))
strings = st.lists(st.integers(0, 255), min_size=1, max_size=40)

#: What can be written in Erlang syntax, atomic.
ground_leaves = st.one_of(
    plain_atoms,
    st.booleans(),
    integers,
    floats,
    st.binary(max_size=60),
    st.text(max_size=20).map(str.encode),
    bitstrings,
    strings,
    exports,
)
#: What a node can hold, atomic; local funs are left out, because it would have to know their code.
leaves = st.one_of(ground_leaves, pids, ports, references)


_sizes = st.integers(0, 4)
_container_kinds = st.sampled_from(["leaf", "tuple", "tuple", "list", "improper list", "map", "map"])


def _draw_term(draw: st.DrawFn, base: st.SearchStrategy[Term], depth: int) -> Term:
    """A term of the given leaves; by hand, because deep combinations of strategies are slow."""
    kind = draw(_container_kinds) if depth else "leaf"
    if kind == "leaf":
        return draw(base)
    elements = [_draw_term(draw, base, depth - 1) for _ in range(draw(_sizes))]
    if kind == "tuple":
        return tuple(elements)
    if kind == "map":
        unique = {canonical(key): key for key in elements}
        return make_map(list(unique.values()), [_draw_term(draw, base, depth - 1) for _ in unique])
    if kind == "improper list" and elements:
        tail = _draw_term(draw, base, depth - 1)
        return elements if isinstance(tail, list | ImproperList) else ImproperList(tuple(elements), tail)
    return elements


@st.composite
def ground_terms(draw: st.DrawFn) -> Term:
    """What can be written in Erlang syntax."""
    return _draw_term(draw, ground_leaves, 3)


@st.composite
def terms(draw: st.DrawFn) -> Term:
    """What every node can hold."""
    return _draw_term(draw, leaves, 3)


@st.composite
def _funs(draw: st.DrawFn) -> Fun:
    arity, uniq = draw(st.integers(0, 255)), draw(st.binary(min_size=16, max_size=16))
    index, old_uniq = draw(_u32), draw(st.integers(0, 2**40))
    values = tuple(draw(st.lists(terms(), max_size=3)))
    if draw(st.booleans()):  # as it was before OTP 23
        return Fun(draw(atoms), None, None, index, index, old_uniq, draw(pids), values)
    return Fun(draw(atoms), arity, uniq, index, draw(st.integers(0, 2**31)), old_uniq, draw(pids), values)


@st.composite
def _records(draw: st.DrawFn) -> NativeRecord:
    fields = draw(st.lists(st.tuples(atoms, terms()), max_size=4))
    names, values = [name for name, _ in fields], [value for _, value in fields]
    return NativeRecord(draw(atoms), draw(atoms), tuple(names), tuple(values), draw(st.integers(0, 255)))


@st.composite
def all_terms(draw: st.DrawFn) -> Term:
    """Everything that the external term format can carry."""
    return _draw_term(draw, _every_leaf, 2)


_every_leaf = st.one_of(leaves, leaves, _funs(), _records())
