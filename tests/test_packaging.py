"""What is installed is complete, and says the truth about itself."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
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


def build(source: Path, kind: str) -> Path:
    """Build a ``wheel`` or ``sdist`` with what is installed, so without the network."""
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", source.parent, source],
        check=True,
        capture_output=True,
        text=True,
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
    assert sorted(line.split(">=")[0] for line in required) == ["click", "tenacity"]


def test_command_is_installed(wheel: ZipFile) -> None:
    (path,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "iris-admin = iris_admin.cli.main:main" in wheel.read(path).decode()


def test_source_distribution_can_build_the_same(source: Path) -> None:
    with tarfile.open(build(source, "sdist")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "setup.cfg", "LICENSE", "README.md", "iris_admin/py.typed"} <= names
