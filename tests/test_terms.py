"""Erlang values as Python objects."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given

from iris_admin.errors import EncodeError
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
    make_map,
)
from tests.support.term_strategies import all_terms

NODE = Atom("a@b")
PID = Pid(NODE, 1, 2, 3)
VALUES: list[Term] = [
    Atom("ok"),
    PID,
    Port(NODE, 1, 2),
    Reference(NODE, 1, (2, 3)),
    Export(NODE, NODE, 1),
    Fun(NODE, 1, b"u" * 16, 1, 2, 3, PID, (1, (2,))),
    ImproperList((1,), 2),
    BitString(b"\x80", 1),
    NativeRecord(NODE, NODE, (NODE,), (1,), 0),
    LocalTerm(b"x"),
    Map([(1, 2), (1.0, [3])]),
    Map([([1], {2: 3})]),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_are_hashed_copied_and_pickled(value: Term) -> None:
    for same in (pickle.loads(pickle.dumps(value)), copy.copy(value), copy.deepcopy(value)):
        assert same == value
        assert type(same) is type(value)
        assert hash(same) == hash(value)
        assert repr(same) == repr(value)
        assert {value: 1}[same] == 1
    assert eval(repr(value)) == value


@pytest.mark.parametrize("value", [value for value in VALUES if not isinstance(value, Atom)])
def test_values_cannot_be_changed(value: Term) -> None:
    name = "pairs" if isinstance(value, Map) else value.__match_args__[0]
    with pytest.raises(AttributeError):
        setattr(value, name, 1)
    with pytest.raises(AttributeError):
        delattr(value, name)


def test_what_holds_a_list_has_no_hash() -> None:
    with pytest.raises(TypeError):
        hash(ImproperList(([],), 1))


def test_atoms() -> None:
    assert Atom("ok") == "ok"
    assert repr(Atom("ok")) == "Atom('ok')"
    Atom("Δ" * 255)
    with pytest.raises(ValueError, match="at most 255"):
        Atom("a" * 256)


def test_bitstrings_have_no_bits_behind_their_end() -> None:
    assert BitString(b"\xff\xff", 3) == BitString(b"\xff\xe0", 3)
    assert BitString(b"\xff\xff", 3).data == b"\xff\xe0"
    for data, bits in ((b"", 1), (b"a", 0), (b"a", 8)):
        with pytest.raises(ValueError, match="bitstring"):
            BitString(data, bits)


def test_charlists() -> None:
    assert charlist("aΔ") == [97, 0x394]


class TestMap:
    def test_is_read_like_a_dict(self) -> None:
        table = Map([(1, "int"), (1.0, "float"), (True, "true"), ([1], "list"), ({1: 2}, "map")])
        assert [table[key] for key in table] == list(table.values()) == ["int", "float", "true", "list", "map"]
        assert table.items() == table.pairs
        assert len(table) == len(table.keys()) == 5
        assert table[{1: 2}] == "map"
        assert [1] in table
        assert [1.0] not in table
        assert table.get(2) is None
        assert table.get(2, 3) == 3
        with pytest.raises(KeyError):
            table[2]
        with pytest.raises(EncodeError):
            table["a str is no key"]
        assert eval(repr(table)).keys() == table.keys()

    def test_equality_is_that_of_erlang(self) -> None:
        one, other = {1: {2: 3, 4: 5}}, {1: {4: 5, 2: 3}}
        assert Map([([], one), (1, 2)]) == Map([(1, 2), ([], other)])
        assert hash(Map([([], one), (1, 2)])) == hash(Map([(1, 2), ([], other)]))
        assert Map([(one, 1)]) == Map([(other, 1)])
        assert Map([(1, 2)]) != Map([(1.0, 2)])
        assert Map([(1, 2)]) != Map([(1, 2.0)])
        assert Map([(1, [True])]) != Map([(1, [1])])
        assert Map([(1, 2)]) != Map([(1, 2), (3, 4)])
        assert Map([(1, 2)]) == {1: 2}
        assert Map([(1, 2)]) != {1: 2.0}
        assert Map([]) != []

    def test_is_made_only_where_a_dict_will_not_do(self) -> None:
        assert make_map([1, Atom("a")], [2, 3]) == {1: 2, Atom("a"): 3}
        assert type(make_map([1, 2.0], [2, 3])) is dict
        for keys in ([1, 1.0], [True, 1], [[]], [{}], [(1,), (1.0,)], [([],)]):
            assert type(make_map(keys, keys)) is Map
        for keys in ([1, 1], [[], []], [{1: 2, 3: 4}, {3: 4, 1: 2}]):
            with pytest.raises(ValueError, match="same key twice"):
                make_map(keys, keys)

    @given(all_terms(), all_terms())
    def test_finds_its_keys(self, key: Term, value: Term) -> None:
        table = Map([([key], value), ({1: key}, 1)])
        assert table[[key]] == value
        assert table == pickle.loads(pickle.dumps(table))
