"""Which codec is used, and that an installation never fails for want of a compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.proto.compiled import ROOT, build

_IGNORED = shutil.ignore_patterns("__pycache__", "*.so")


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two copies of the package, one of them with the compiled codec."""
    copies = {}
    for name in ("without", "with"):
        copies[name] = tmp_path_factory.mktemp(name)
        shutil.copytree(ROOT / "iris_admin", copies[name] / "iris_admin", ignore=_IGNORED)
    build(copies["with"])
    return copies


def rename(module: Path, old: str, new: str) -> None:
    text = module.read_text(encoding="utf-8")
    assert old in text
    module.write_text(text.replace(old, new), encoding="utf-8")


def ask(package: Path, wanted: str | None, term: str = "(1, b'x')") -> str:
    """What is used, or the error.

    :param term: must come back.
    """
    environment = {name: value for name, value in os.environ.items() if name != "IRIS_ADMIN_CODEC"}
    environment |= {"PYTHONPATH": str(package)} | ({} if wanted is None else {"IRIS_ADMIN_CODEC": wanted})
    code = (
        "from iris_admin.errors import ConfigError\n"
        "from iris_admin.terms import Atom, BitString, Port\n"
        f"term = {term}\n"
        "try:\n"
        "    from iris_admin.proto import etf\n"
        "    assert etf.decode(etf.encode(term)) == etf.decode_term(etf.encode_term(term))[0] == term\n"
        "    print(etf.IMPLEMENTATION, type(etf.encode).__name__)\n"
        "except ConfigError as error:\n"
        "    print(error, error.hint)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=package, capture_output=True, text=True, check=True
    )
    return run.stdout.strip()


@pytest.mark.parametrize("wanted", [None, "", "pure", "compiled"])
def test_choice(packages: dict[str, Path], wanted: str | None) -> None:
    pure, compiled = "pure function", "compiled builtin_function_or_method"
    assert ask(packages["with"], wanted) == (pure if wanted == "pure" else compiled)
    if wanted == "compiled":
        assert "asks for the compiled codec" in ask(packages["without"], wanted)
    else:
        assert ask(packages["without"], wanted) == pure


def test_unknown_choice(packages: dict[str, Path]) -> None:
    assert ask(packages["with"], "rust") == "IRIS_ADMIN_CODEC is 'rust' set it to pure or compiled, or unset it"


def test_a_twin_that_does_not_fit_is_not_used(packages: dict[str, Path], tmp_path: Path) -> None:
    """It was built from other sources than the Python code beside it."""
    shutil.copytree(packages["with"], tmp_path, dirs_exist_ok=True)
    for module in ("terms.py", "proto/_etf_decode.py"):
        rename(tmp_path / "iris_admin" / module, "make_map", "map_of")
    assert ask(tmp_path, None) == "pure function"
    assert "install iris_admin again" in ask(tmp_path, "compiled")


def test_a_twin_that_finds_no_function_for_a_rare_term_leaves_it_to_the_pure_codec(
    packages: dict[str, Path], tmp_path: Path
) -> None:
    """That is only looked up when such a term comes."""
    shutil.copytree(packages["with"], tmp_path, dirs_exist_ok=True)
    rename(tmp_path / "iris_admin" / "proto" / "_etf_decode.py", "_LEAVES", "_SIMPLE")
    rename(tmp_path / "iris_admin" / "proto" / "_etf_decode.py", "_small_integer", "_medium_integer")
    rename(tmp_path / "iris_admin" / "proto" / "_etf_encode.py", "_leaf", "_simple")
    assert ask(tmp_path, None, "[BitString(b'\\x80', 1), -(2**100), Port(Atom('a@b'), 1, 2)]").startswith("compiled")


@pytest.mark.parametrize("compiler", ["cc", "false", "there-is-no-such-compiler"])
def test_a_wheel_is_built_with_and_without_a_compiler(compiler: str, tmp_path: Path) -> None:
    if compiler == "cc":
        build(tmp_path / "attempt")  # skips the test where it cannot be built
    source = tmp_path / "source"
    source.mkdir()
    shutil.copytree(ROOT / "iris_admin", source / "iris_admin", ignore=_IGNORED)
    for name in ("LICENSE", "README.md", "pyproject.toml", "setup.cfg", "setup.py"):
        shutil.copy(ROOT / name, source / name)
    environment = os.environ | ({} if compiler == "cc" else {"CC": compiler})
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", tmp_path, source]
    subprocess.run(command, env=environment, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    compiled = [name for name in ZipFile(wheel).namelist() if name.endswith((".so", ".c", ".h"))]
    # The codec, the usual call, and large pages.
    assert len(compiled) == (3 if compiler == "cc" else 0), compiled
