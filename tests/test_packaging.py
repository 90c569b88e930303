"""What is installed is complete, and says the truth about itself."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from email.message import Message
from email.parser import BytesParser
from pathlib import Path
from zipfile import ZipFile

import pytest

import iris_admin

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources that a build needs, copied, as a build writes into their folder."""
    copy = tmp_path_factory.mktemp("packaging") / "source"
    copy.mkdir()
    for name in ("iris_admin", "LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.cfg"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copy / name)
    return copy


def build(source: Path, kind: str, environment: Mapping[str, str] | None = None) -> Path:
    """Build a ``wheel`` or ``sdist`` with what is installed, so without the network."""
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", source.parent, source],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    (built,) = source.parent.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return built


@pytest.fixture(scope="module")
def wheel(source: Path) -> ZipFile:
    return ZipFile(build(source, "wheel"))


@pytest.fixture(scope="module")
def metadata(wheel: ZipFile) -> Message:
    (path,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return BytesParser().parsebytes(wheel.read(path))


def test_wheel_holds_the_whole_package_and_nothing_else(wheel: ZipFile) -> None:
    ours = {
        str(path.relative_to(ROOT))
        for pattern in ("*.py", "*.erl", "py.typed")
        for path in (ROOT / "iris_admin").rglob(pattern)
    }
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == ours


def test_metadata(metadata: Message) -> None:
    assert metadata["Name"] == "iris-admin"
    assert metadata["Version"] == iris_admin.__version__
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"


def test_only_two_packages_come_along(metadata: Message) -> None:
    required = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert sorted(re.split("[<>=!]", line)[0] for line in required) == ["click", "tenacity"]


def test_the_oldest_versions_that_are_allowed_are_those_that_are_tested() -> None:
    setup, tox = configparser.ConfigParser(), configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    allowed = re.findall(r"(\w+)>=([\d.]+)", setup["options"]["install_requires"])
    assert allowed == re.findall(r"(\w+)==([\d.]+)", tox["testenv:oldest"]["deps"])


def test_command_is_installed(wheel: ZipFile) -> None:
    (path,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "iris-admin = iris_admin.cli.start:main" in wheel.read(path).decode()


def test_source_distribution_can_build_the_same(source: Path) -> None:
    with tarfile.open(build(source, "sdist")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "setup.cfg", "LICENSE", "README.md", "iris_admin/py.typed"} <= names


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_whoever_builds_it_again_gets_the_same_bytes(kind: str, source: Path, tmp_path: Path) -> None:
    built = []
    for folder, time in (("here", 1_600_000_000), ("somewhere/else", 1_700_000_000)):
        copy = tmp_path / folder / "source"
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns("*.so", "*.egg-info", "build"))
        shutil.copy(ROOT / "setup.py", copy)
        for path in copy.rglob("*"):
            os.utime(path, (time, time))
        built.append(build(copy, kind, {"SOURCE_DATE_EPOCH": "1650000000"}))
    first, second = built
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()
