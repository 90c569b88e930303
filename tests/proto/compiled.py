"""The compiled codec, built from the sources as they are now, whatever is installed."""

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

_directory = tempfile.TemporaryDirectory(prefix="compiled-codec-")  # until the tests end


def build_codec(directory: Path) -> Path:
    """Build the extension module and nothing else.

    :param directory: where to, and where all that is left over from building goes.
    :return: the module's file.
    """
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if not shutil.which(compiler):
        pytest.skip(f"there is no C compiler ({compiler})")
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        pytest.skip("Python's headers are not installed")
    command = [sys.executable, "setup.py", "build_ext", "--build-lib", directory, "--build-temp", directory / "temp"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    built = directory / "iris_admin" / "proto" / f"_etf{EXTENSION_SUFFIXES[0]}"
    assert built.is_file(), run.stdout + run.stderr  # setuptools itself takes a failure lightly
    return built


@cache
def _built() -> Path:
    return build_codec(Path(_directory.name))


def load_codec() -> ModuleType:
    """A module ``_etf`` of its own, which has yet to import what it needs."""
    spec = importlib.util.spec_from_file_location("iris_admin.proto._etf", _built())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


#: The module ``_etf`` that the tests share.
compiled_codec = cache(load_codec)
