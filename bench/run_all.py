"""Measure how fast iris_admin is, next to another Erlang node on this machine, and print one table.

Usage: ``python3 bench/run_all.py [--here] [SECTION …]``. It does all of its own set-up: Erlang by apt where it is
missing, and a virtual environment in the clone, ``.venv-bench``, into which iris_admin is installed as a user would,
with the compiled codec. ``--here`` takes the Python that runs it, and the iris_admin which that imports, as they are.

Ends with status 0 if all targets were met, 1 if not, and 69 if the set-up failed. All sections take less than five
minutes; let the machine do nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Behind everything else, so that iris_admin is the one that is installed, with its compiled codec, if there is one.
# In front of it would stand this folder, whose modules are bench.codec and so on.
sys.path[:] = [path for path in sys.path if Path(path).resolve() != ROOT / "bench"] + [str(ROOT), f"{ROOT}/examples"]

import setup_machine  # noqa: E402

from bench.report import Row, missed, table  # noqa: E402

#: The modules, in the order in which they run, each with the title of its rows.
SECTIONS = {
    "codec": "The codec",
    "calls": "Calls",
    "large_replies": "Large replies",
    "command_line": "The command line",
    "target_side": "The target's side",
    "tls": "TLS",
}

#: Besides iris_admin and what it needs: what starts the nodes, and others' work to compare with.
PACKAGES = ("pytest>=9.0", "setuptools>=77", "wheel")
PEERS = ("erlang_py",)


def set_up() -> Path:
    """Install what is missing.

    :return: the Python of an environment in which this clone is installed as it is now.
    """
    setup_machine.ensure_python()
    setup_machine.ensure_erlang()
    python = setup_machine.ensure_venv(ROOT / ".venv-bench", PACKAGES)
    stamp = ROOT / ".venv-bench" / "installed"
    wanted = _digest()
    if not stamp.is_file() or stamp.read_text(encoding="ascii") != wanted:
        setup_machine.say("Installing iris_admin")
        with tempfile.TemporaryDirectory(prefix="iris-admin-bench-") as copy:
            # Built from a copy: setuptools would leave its files in the clone, and take old ones from there.
            source = Path(copy, "source")
            shutil.copytree(
                ROOT, source, ignore=shutil.ignore_patterns(".*", "build", "*.egg-info", "*.so", "__pycache__")
            )
            _pip(python, "--no-build-isolation", "--force-reinstall", str(source))
        for peer in PEERS:
            try:
                _pip(python, peer)
            except subprocess.CalledProcessError:
                setup_machine.say(f"{peer} cannot be had, and is not compared with")
        stamp.write_text(wanted, encoding="ascii")
    return python


def _pip(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True, stdout=sys.stderr)


def _digest() -> str:
    digest = hashlib.sha256()
    for path in sorted([ROOT / "setup.py", ROOT / "setup.cfg", *(ROOT / "iris_admin").rglob("*.*")]):
        if path.is_file() and path.suffix not in (".pyc", ".so"):
            digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def measure(section: str) -> list[Row]:
    """The rows of a section, measured in a process of its own, which no other section has filled or slowed down."""
    # Started anew and not forked, for the same reason.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as child:
        return child.submit(_measure_here, section).result()


def _measure_here(section: str) -> list[Row]:
    rows: list[Row] = importlib.import_module(f"bench.{section}").measure()
    return rows


def machine() -> str:
    """What all of it ran on, for the head of the table."""
    from iris_admin.proto.etf import IMPLEMENTATION

    otp = subprocess.run(
        ["erl", "-noinput", "-eval", "io:put_chars(erlang:system_info(otp_release)), halt()."],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    load, _, _ = os.getloadavg()
    cores = len(os.sched_getaffinity(0))
    return (
        f"{cores} cores, load {load:.1f}, Python {sys.version.split()[0]}, OTP {otp}, {IMPLEMENTATION} codec. "
        "Figures are medians of repeated turns, taken in turns with what they are compared with."
    )


def main() -> int:
    """Set up, measure, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--here", action="store_true", help="with this Python, as it is, without any set-up")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)} (default: all)")
    options = parser.parse_args()
    unknown = [section for section in options.sections if section not in SECTIONS]
    if unknown:
        parser.error(f"there is no section {unknown[0]!r}; there are {', '.join(SECTIONS)}")
    if not options.here:
        try:
            python = set_up()
        except (setup_machine.SetupError, subprocess.CalledProcessError) as error:
            setup_machine.give_up(error)
        os.execv(python, [str(python), str(Path(__file__).resolve()), "--here", *options.sections])
    started = time.monotonic()
    print(machine(), flush=True)
    found: dict[str, list[Row]] = {}
    for section in options.sections or SECTIONS:
        setup_machine.say(SECTIONS[section])
        try:
            found[SECTIONS[section]] = measure(section)
        except Exception as error:
            # The others are still worth knowing.
            setup_machine.say(f"{section} failed: {type(error).__name__}: {error}")
            failed = Row(f"{section} failed: {type(error).__name__}", "", "", "", None, 0, at_most=True)
            found[SECTIONS[section]] = [failed]
    print(table(found))
    bad = missed(row for rows in found.values() for row in rows)
    targets = sum(row.target is not None for rows in found.values() for row in rows)
    print(f"\n{targets - len(bad)} of {targets} targets met, in {time.monotonic() - started:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
