"""The architecture, as far as a test can hold the code to it (docs/architecture.md says why it is like this)."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "iris_admin"

#: From the bottom up. A module may import from its own layer and from those below it. Each entry is a module or a
#: subpackage of iris_admin.
LAYERS = (
    ("terms", "errors", "records", "version", "codec_choice", "large_term", "_large_pages"),
    ("proto", "syntax", "remote", "node_name", "cookie", "config", "text", "tls", "json_values", "state_files"),
    ("operations",),
    ("transport",),
    (
        "audit",
        "backup",
        "bundle_file",
        "export",
        "restore",
        "local_runner",
        "runner",
        "site_command",
        "calls",
        "awaited",
        "futures",
        "call_each",
        "client",
        "aio",
        "cluster",
        "discovery",
    ),
    ("__init__",),
    ("cli", "__main__"),
)

#: The only imports that point upwards, each of them inside a function, so that it is not needed for importing.
EXCEPTIONS = {
    ("iris_admin.errors", "iris_admin.text"): "whoever shows an error's message shows it without control characters",
    ("iris_admin.terms", "iris_admin.proto.etf"): "maps are compared as Erlang does: by the encoding of their terms",
}

#: All that proto/ may import of the standard library: nothing that reads a clock, makes randomness, starts a thread or
#: touches anything outside the process. (Of mmap, memory that is no file's.)
PURE = {
    "_md5",
    "__future__",
    "abc",
    "array",
    "bisect",
    "collections",
    "contextlib",
    "dataclasses",
    "enum",
    "functools",
    "gc",
    "hashlib",
    "heapq",
    "hmac",
    "itertools",
    "math",
    "mmap",
    "operator",
    "re",
    "string",
    "struct",
    "sys",
    "types",
    "typing",
    "unicodedata",
    "zlib",
}
IMPURE_BUILTINS = {"open", "input", "print", "__import__", "exec", "eval", "breakpoint"}

#: What operations/ leaves to the drivers, which run the steps that it yields.
DRIVERS_BUSINESS = {
    "asyncio",
    "concurrent",
    "multiprocessing",
    "random",
    "secrets",
    "select",
    "selectors",
    "signal",
    "socket",
    "ssl",
    "subprocess",
    "tenacity",
    "threading",
    "time",
}

MOST_LINES = 699


@dataclass(frozen=True)
class Import:
    """One imported module, or a name in a module."""

    target: str
    line: int
    at_import_time: bool  # neither inside a function nor for the type checker only


def module_name(path: Path) -> str:
    """The dotted name; the package itself is ``iris_admin.__init__``, as it has a layer of its own."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name if name == "iris_admin.__init__" else name.removesuffix(".__init__")


@cache
def syntax_tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(node: ast.AST, at_import_time: bool = True) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.Import(names=names):
                yield from (Import(alias.name, child.lineno, at_import_time) for alias in names)
            case ast.ImportFrom(module=module, names=names, level=0):
                yield from (Import(f"{module}.{alias.name}", child.lineno, at_import_time) for alias in names)
            case ast.ImportFrom():
                raise AssertionError(f"line {child.lineno}: imports are absolute here")
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                yield from imports(child, at_import_time=False)
            case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
                for statement in child.body:
                    yield from imports(ast.Module([statement], []), at_import_time=False)
                for statement in child.orelse:
                    yield from imports(ast.Module([statement], []), at_import_time)
            case _:
                yield from imports(child, at_import_time)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
COMPILED = {module_name(path) for path in PACKAGE.rglob("*.c")}


def resolve(target: str) -> str:
    """The module of ours that an import of ``target``, a module or a name in one, loads."""
    name = target
    while name not in MODULES and name not in COMPILED:
        name = name.rpartition(".")[0]
        if name == "iris_admin":
            assert target.count(".") == 1, f"there is no module for {target}"
            return "iris_admin.__init__"
    return name


def our_imports(module: str) -> list[tuple[str, Import]]:
    return [
        (resolve(entry.target), entry)
        for entry in imports(syntax_tree(MODULES[module]))
        if entry.target.partition(".")[0] == "iris_admin"
    ]


def foreign_imports(module: str) -> list[Import]:
    return [entry for entry in imports(syntax_tree(MODULES[module])) if entry.target.partition(".")[0] != "iris_admin"]


def layer(module: str) -> int:
    part = module.split(".")[1]
    for height, parts in enumerate(LAYERS):
        if part in parts:
            return height
    raise AssertionError(f"{module} belongs to no layer: add it to LAYERS")


def in_package(package: str) -> list[str]:
    return [module for module in MODULES if f"{module}.".startswith(f"iris_admin.{package}.")]


def test_imports_point_downwards() -> None:
    upwards = [
        f"{module}:{entry.line} imports {target}"
        for module in MODULES
        for target, entry in our_imports(module)
        if layer(target) > layer(module) and ((module, target) not in EXCEPTIONS or entry.at_import_time)
    ]
    assert not upwards, "\n".join(upwards)


def test_every_exception_is_needed() -> None:
    existing = {(module, target) for module in MODULES for target, _ in our_imports(module)}
    assert set(EXCEPTIONS) <= existing


def test_imports_have_no_cycle() -> None:
    finished: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module not in finished:
            for target, entry in our_imports(module):
                if entry.at_import_time and target != module and target in MODULES:
                    visit(target, (*path, module))
            finished.add(module)

    for module in MODULES:
        visit(module, ())


def test_proto_is_pure() -> None:
    impure = [
        f"{module}:{entry.line} imports {entry.target}"
        for module in in_package("proto")
        for entry in foreign_imports(module)
        if entry.target.partition(".")[0] not in PURE
    ]
    impure += [
        f"{module}:{call.lineno} calls {call.func.id}"
        for module in in_package("proto")
        for call in ast.walk(syntax_tree(MODULES[module]))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in IMPURE_BUILTINS
    ]
    assert not impure, "\n".join(impure)


def test_operations_leave_talking_to_the_drivers() -> None:
    talking = [
        f"{module}:{entry.line} imports {entry.target}"
        for module in in_package("operations")
        for entry in foreign_imports(module)
        if entry.target.partition(".")[0] in DRIVERS_BUSINESS
    ]
    assert not talking, "\n".join(talking)


@pytest.mark.parametrize("module", MODULES)
def test_module_is_short_enough_to_read(module: str) -> None:
    assert len(MODULES[module].read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("module", MODULES)
def test_what_is_public_has_a_docstring(module: str) -> None:
    tree = syntax_tree(MODULES[module])
    assert ast.get_docstring(tree), f"{module} has no docstring"
    silent = [f"{module}:{line} {name}" for name, line in undocumented(tree)]
    assert not silent, "\n".join(silent)


def undocumented(node: ast.Module | ast.ClassDef) -> Iterator[tuple[str, int]]:
    """Public classes, functions and methods without a docstring."""
    for child in node.body:
        if not isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or child.name.startswith("_"):
            continue
        # An overload or a setter is documented where the function itself is.
        decorators = {ast.unparse(decorator).rpartition(".")[2] for decorator in child.decorator_list}
        if not decorators & {"overload", "setter", "override"} and not ast.get_docstring(child):
            yield child.name, child.lineno
        if isinstance(child, ast.ClassDef):
            yield from undocumented(child)


def test_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_importing_the_package_is_cheap() -> None:
    """What costs a command its first tenth of a second is imported when it is needed, and not before."""
    script = (
        "import sys, iris_admin; "
        "print(*sorted({'asyncio', 'click', 'pandas', 'rich', 'ssl', 'tenacity'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


class TestTheseChecks:
    """They can fail."""

    def test_imports_are_found_wherever_they_stand(self) -> None:
        source = """
import os.path
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import socket
else:
    import json
def f():
    try:
        from time import sleep
    except ImportError:
        pass
"""
        assert [(entry.target, entry.at_import_time) for entry in imports(ast.parse(source))] == [
            ("os.path", True),
            ("typing.TYPE_CHECKING", True),
            ("socket", False),
            ("json", True),
            ("time.sleep", False),
        ]

    def test_unknown_module_is_refused(self) -> None:
        with pytest.raises(AssertionError, match="belongs to no layer"):
            layer("iris_admin.somewhere.else")

    def test_missing_docstrings_are_found(self) -> None:
        source = """
class A:
    "Has one."
    def f(self): ...
    def _g(self): ...
    @x.setter
    def h(self): ...
def i(): ...
"""
        assert [name for name, _ in undocumented(ast.parse(source))] == ["f", "i"]
