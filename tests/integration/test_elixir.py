"""Elixir nodes: what is particular to them are the shapes of their values, and the names of their modules."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from iris_admin.client import Node
from iris_admin.errors import RemoteError, UnknownAtom
from iris_admin.terms import Atom, Term
from tests.cli.support import run
from tests.support.erlang import Epmd, ErlangNode, NodeFactory

ENUM = Atom("Elixir.Enum")
STRUCT = Atom("__struct__")


@pytest.fixture(scope="module")
def elixir_node(erlang_epmd: Epmd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ErlangNode]:
    """A node started by ``elixir --name``."""
    factory = NodeFactory(erlang_epmd, lambda: tmp_path_factory.mktemp("elixir"))
    yield factory(elixir=True)
    factory.stop_all()


@pytest.fixture
def node(elixir_node: ErlangNode, connect: Callable[..., Node]) -> Node:
    return connect(elixir_node)


def test_its_modules_are_atoms_with_a_prefix(node: Node) -> None:
    assert node.call("Elixir.Enum", "sum", [1, 2, 3]) == 6
    assert node.call("Elixir.Function", "identity", ENUM) == ENUM
    assert str(node.call("Elixir.Kernel", "inspect", ENUM), "utf-8") == "Enum"  # type: ignore[call-overload]


@pytest.mark.parametrize(("text", "upper"), [("straße", "STRASSE"), ("ćevapčići", "ĆEVAPČIĆI"), ("", "")])
def test_strings_are_binaries_in_utf_8(node: Node, text: str, upper: str) -> None:
    assert node.call("Elixir.String", "upcase", text.encode()) == upper.encode()


def test_charlists_are_lists(node: Node) -> None:
    assert node.call("Elixir.String", "to_charlist", "añ".encode()) == [97, 241]
    assert node.call("Elixir.List", "to_string", [97, 241]) == "añ".encode()


def test_a_struct_is_a_map_that_names_its_module(node: Node) -> None:
    date = node.call("Elixir.Date", "new!", 2026, 2, 28)
    assert date == {
        STRUCT: Atom("Elixir.Date"),
        Atom("calendar"): Atom("Elixir.Calendar.ISO"),
        Atom("year"): 2026,
        Atom("month"): 2,
        Atom("day"): 28,
    }
    tomorrow = node.call("Elixir.Date", "add", date, 1)
    assert node.call("Elixir.Date", "to_iso8601", tomorrow) == b"2026-03-01"


def test_a_set_and_a_range_survive_the_way_back(node: Node) -> None:
    some = node.call("Elixir.MapSet", "new", [3, 1])
    assert node.call("Elixir.MapSet", "member?", some, 1) is True
    span = node.call("Elixir.Range", "new", 1, 4)
    assert node.call("Elixir.Enum", "to_list", span) == [1, 2, 3, 4]


def test_keywords_are_lists_of_pairs(node: Node) -> None:
    keywords: Term = [(Atom("limit"), 2), (Atom("trim"), True)]
    assert node.call("Elixir.Keyword", "get", keywords, Atom("limit")) == 2


def test_a_function_goes_there_and_back(node: Node) -> None:
    double = node.eval("fun(X) -> X * 2 end")
    assert node.call("Elixir.Enum", "map", [1, 2], double) == [2, 4]


def test_nil_is_an_atom_of_its_own(node: Node) -> None:
    assert node.call("Elixir.Enum", "at", [], 0) == Atom("nil")


def test_an_exception_says_what_it_says_in_elixir(node: Node) -> None:
    with pytest.raises(RemoteError) as raised:
        node.call("Elixir.String", "to_integer", b"seven")
    assert raised.value.kind == "error"
    with pytest.raises(RemoteError, match=r"Elixir.Enum.EmptyError|EmptyError") as raised:
        node.call("Elixir.Enum", "max", [])
    assert isinstance(raised.value.reason, dict)
    assert raised.value.reason[STRUCT] == Atom("Elixir.Enum.EmptyError")


def test_a_module_that_is_none(node: Node, elixir_node: ErlangNode) -> None:
    before = elixir_node.evaluate("erlang:system_info(atom_count)")
    with pytest.raises(UnknownAtom):
        node.eval("'Elixir.Enuum':sum([1])")
    assert elixir_node.evaluate("erlang:system_info(atom_count)") == before


class TestCommandLine:
    def test_a_call(self, elixir_node: ErlangNode) -> None:
        exit_code, output, _errors = run(
            "rpc", "Elixir.String", "upcase", '<<"straße"/utf8>>', environment=elixir_node.environment
        )
        assert (exit_code, output) == (0, '<<"STRASSE">>\n')

    def test_a_struct(self, elixir_node: ErlangNode) -> None:
        exit_code, output, _errors = run(
            "-o", "json", "rpc", "Elixir.Date", "new!", "2026", "2", "28", environment=elixir_node.environment
        )
        assert exit_code == 0
        assert '"day"' in output

    def test_what_every_node_has(self, elixir_node: ErlangNode) -> None:
        for words in (["memory"], ["stats"], ["processes"], ["ets"], ["nodes"]):
            exit_code, output, errors = run(*words, environment=elixir_node.environment)
            assert (exit_code, bool(output)) == (0, True), errors
