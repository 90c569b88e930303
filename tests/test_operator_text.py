"""No text of an operator becomes a new atom on a node.

Text travels as binaries and charlists: a Python ``str`` is no term. So there are three doors only. An ``Atom`` made of
something that is no constant; a call whose module or function is none, for their names are sent as atoms; and the
reader of Erlang's syntax. Whatever goes through one of them is written down here, with the reason why the node knows
the atom already. And what runs on the node must not make atoms of text there.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from iris_admin.syntax import tokenize

PACKAGE = Path(__file__).parents[1] / "iris_admin"

#: Where an atom, or the name of what is called, is no constant in the place itself: why it is known on the node.
REVIEWED = {
    # Constants that stand close by
    ("operations/checks/subject.py", "ask"): "the questions are constants, those of _accounts",
    ("operations/ets.py", "ets_tables"): "one of two constants",
    ("operations/evaluate.py", "<module>"): "names of BIFs, which are constants",
    ("operations/evaluate.py", "_symbols"): "the symbols are constants, those of _BEFORE and _AFTER",
    ("operations/guards.py", "refuse_unknown_user"): "the tables are constants",
    ("operations/lifecycle.py", "_end"): "restart or stop",
    ("operations/offline.py", "find_stores"): "the items are constants",
    ("operations/offline_summary.py", "table_size"): "the items are constants",
    ("operations/processes.py", "rank"): "by was held against CRITERIA",
    ("operations/processes.py", "_describe"): "the items are constants",
    ("operations/status.py", "status"): "the questions are constants, _ON_CORE and _ON_EDGE",
    ("operations/stats.py", "<module>"): "the items are constants",
    ("operations/system.py", "_surroundings"): "the questions are constants",
    ("operations/system.py", "_ask_os_mon"): "os_mon's servers and questions are constants",
    # What a node has said
    ("operations/lifecycle.py", "_reconnect"): "names of nodes that it was connected to before",
    ("operations/lifecycle.py", "_start_missing"): "applications of Iris, which are constants",
    # The programmer's own calls: whoever writes them chooses the names
    ("aio.py", "call"): "a programmer's call",
    ("aio.py", "capture"): "a programmer's call",
    ("aio.py", "map"): "a programmer's call",
    ("aio.py", "_call"): "carries out the steps of operations",
    ("cluster.py", "call"): "a programmer's call",
    # Steps of operations on their way out
    ("runner.py", "*"): "carries out the steps of operations",
    ("client.py", "*"): "a programmer's call",
    ("transport/link.py", "*"): "sends what it was given",
    # An operator's text: looked up first
    ("cli/commands/rpc.py", "command"): "check_atoms has every atom looked up before the call",
    # They make terms of bytes and of text, and send nothing
    ("proto/*", "*"): "decodes and encodes",
    ("syntax/*", "*"): "reads text; who uses it is in READERS",
}
#: Who reads Erlang's syntax, and how its atoms are looked up.
READERS = {
    ("cli/commands/rpc.py", "parse_term"): "check_atoms",
    ("operations/evaluate.py", "tokenize"): "require_atoms",
    ("__init__.py", "parse_term"): "for programmers, who have Node.check_atoms",
}

#: What makes an atom of text on a node. ``binary_to_term`` is safe only with its option of that name.
MAKERS = re.compile(
    r"\b(list_to_atom|binary_to_atom|binary_to_term|atom_from|consult|path_consult|script|path_script|fread|scan_erl\w*"
    r"|erl_scan|erl_parse|scan_erl_exprs|scan_erl_form|parse_erl_\w+|xmerl\w*|epp|compile)\b"
)
#: Those that are nevertheless there, by file.
SAFE = {
    ("remote/rank_processes.erl", "binary_to_term"): "of a binary that the same expression has made",
}
SAFE_CALLS = {
    ("operations/evaluate.py", "erlang", "binary_to_term"): "with the option safe, which makes no atoms",
    ("operations/evaluate.py", "erl_parse", "parse_exprs"): "of tokens, whose atoms were looked up",
    ("operations/evaluate.py", "erl_parse", "format_error"): "makes a text",
}
#: The steps, methods and functions that call, and where among their arguments the module stands; then the function.
CALLERS = {"Call": 0, "call": 0, "capture": 0, "submit": 0, "call_all": 0, "_call": 0, "_submit": 0, "ask": 2}


def _is_constant(node: ast.expr, constants: set[str]) -> bool:
    match node:
        case ast.Constant() | ast.Name(id="REDACTED"):
            return True
        case ast.Name(id=name):
            return name in constants
    return False


def _constant_names(tree: ast.AST) -> set[str]:
    """Variables of comprehensions over constants of the module, whose names are in capitals."""
    return {
        generator.target.id
        for generator in ast.walk(tree)
        if isinstance(generator, ast.comprehension)
        and isinstance(generator.target, ast.Name)
        and isinstance(generator.iter, ast.Name)
        and generator.iter.id.isupper()
    }


def _calls(tree: ast.AST, function: str = "<module>") -> Iterator[tuple[str, ast.Call]]:
    for child in ast.iter_child_nodes(tree):
        inner = child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function
        if isinstance(child, ast.Call):
            yield inner, child
        yield from _calls(child, inner)


def _name(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _called(call: ast.Call) -> list[ast.expr]:
    """The module and the function that are called on a node; empty where nothing is."""
    place = CALLERS.get(_name(call))
    named = [] if place is None else call.args[place : place + 2]
    return named if len(named) == 2 else []


def doors(tree: ast.Module) -> Iterator[tuple[str, int, str]]:
    """Where something that is no constant may become an atom: the function, the line, and what is done."""
    constants = _constant_names(tree)
    for function, call in _calls(tree):
        name, arguments = _name(call), call.args
        # match statements have patterns, not calls, so every Atom(…) here makes one
        if name == "Atom" and not all(_is_constant(argument, constants) for argument in arguments):
            yield function, call.lineno, f"makes an atom: {ast.unparse(call)}"
        if name == "map" and isinstance(arguments[0], ast.Name) and arguments[0].id == "Atom":
            yield function, call.lineno, f"makes atoms: {ast.unparse(call)}"
        if not all(_is_constant(part, set()) for part in _called(call)):
            yield function, call.lineno, f"calls what is no constant: {ast.unparse(call)}"


@cache
def _modules() -> list[tuple[str, ast.Module]]:
    return [
        (path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text("utf-8")))
        for path in sorted(PACKAGE.rglob("*.py"))
    ]


def _keys(file: str, function: str) -> set[tuple[str, str]]:
    return {(file, function), (file, "*"), (f"{file.partition('/')[0]}/*", "*")}


def test_no_atom_is_made_of_what_was_not_reviewed() -> None:
    found = [(file, *door) for file, tree in _modules() for door in doors(tree)]
    new = [door for door in found if not _keys(door[0], door[1]) & REVIEWED.keys()]
    assert not new, f"{new}: look the atoms up first (require_atoms), then add the place to REVIEWED, with the reason"
    used = set().union(*(_keys(file, function) for file, function, *_ in found))
    assert not REVIEWED.keys() - used, "these places are gone"


def test_who_reads_erlang_syntax() -> None:
    found = {
        (file, alias.name)
        for file, tree in _modules()
        if not file.startswith("syntax/")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("iris_admin.syntax")
        for alias in node.names
        if alias.name != "format_term"
    }
    assert found == set(READERS)
    for (file, _), lookup in READERS.items():
        if not lookup.startswith("for"):
            assert f"{lookup}(" in (PACKAGE / file).read_text("utf-8")


def test_no_call_makes_an_atom_of_text_on_the_node() -> None:
    found = {
        (file, module.value, function.value)
        for file, tree in _modules()
        for _, call in _calls(tree)
        for module, function in [_called(call)] * bool(_called(call))
        if isinstance(module, ast.Constant) and isinstance(function, ast.Constant)
        if MAKERS.fullmatch(str(module.value)) or MAKERS.fullmatch(str(function.value))
    }
    assert found == set(SAFE_CALLS)


def makers(source: str) -> set[str]:
    """What an Erlang source has that makes atoms of text; comments and texts do not count."""
    return {str(token[2]) for token in tokenize(source) if token[0] == "atom" and MAKERS.fullmatch(str(token[2]))}


def test_no_expression_of_ours_makes_an_atom_of_text_on_the_node() -> None:
    found = {
        (path.relative_to(PACKAGE).as_posix(), maker)
        for path in sorted((PACKAGE / "remote").glob("*.erl"))
        for maker in makers(path.read_text("utf-8"))
    }
    assert found == set(SAFE)


@pytest.mark.parametrize(
    "source",
    [
        "def f(typed): Atom(typed)",
        "def f(typed): [Atom(word) for word in typed]",
        "def f(typed): list(map(Atom, typed))",
        "def f(typed): Call('ets', typed)",
        "def f(typed): node.call(typed, 'f', 1)",
        "def f(typed): Atom('a' + typed)",
        "def f(typed): Atom(f'{typed}_sup')",
    ],
)
def test_a_new_door_is_seen(source: str) -> None:
    assert [function for function, *_ in doors(ast.parse(source))] == ["f"]


def test_constants_are_no_doors() -> None:
    assert list(doors(ast.parse("[Atom(item) for item in _ITEMS], Atom('a'), Call('m', 'f', (x,))"))) == []


@pytest.mark.parametrize(
    "source", ["list_to_atom(X)", "erlang:binary_to_atom(X)", "file:consult(X)", "F = fun file:script/1"]
)
def test_a_new_maker_is_seen(source: str) -> None:
    assert makers(source)
    assert not makers(f'"{source}" % {source}')
