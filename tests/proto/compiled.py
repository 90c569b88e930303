"""What is compiled, built from the sources as they are now, whatever is installed."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
CODEC = "iris_admin.proto._etf"
EXCHANGE = "iris_admin.transport._exchange"
LARGE_PAGES = "iris_admin._large_pages"

_directory = tempfile.TemporaryDirectory(prefix="compiled-")  # until the tests end


def build(directory: Path) -> None:
    """Build the extension modules and nothing else.

    :param directory: where to, and where all that is left over from building goes.
    """
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if not shutil.which(compiler):
        pytest.skip(f"there is no C compiler ({compiler})")
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        pytest.skip("Python's headers are not installed")
    command = [sys.executable, "setup.py", "build_ext", "--build-lib", directory, "--build-temp", directory / "temp"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for module in (CODEC, EXCHANGE, LARGE_PAGES):
        assert _file(directory, module).is_file(), run.stdout + run.stderr  # setuptools itself takes a failure lightly


def _file(directory: Path, module: str) -> Path:
    return directory.joinpath(*module.split(".")).with_suffix(EXTENSION_SUFFIXES[0])


@cache
def _built() -> Path:
    directory = Path(_directory.name)
    build(directory)
    return directory


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, _file(_built(), name))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_codec() -> ModuleType:
    """A module ``_etf`` of its own, which has yet to import what it needs."""
    return _load(CODEC)


#: The module ``_etf`` that the tests share.
compiled_codec = cache(load_codec)


def large_pages_file() -> Path:
    """The file of the module ``_large_pages``, for another process: what it does lasts as long as that."""
    return _file(_built(), LARGE_PAGES)


@cache
def compiled_exchange() -> ModuleType:
    """The module ``_exchange``."""
    return _load(EXCHANGE)
