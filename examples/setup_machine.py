"""What the commands of the README need on a machine, installed where it is missing.

A plain Debian with Python is enough to start from: Erlang comes by apt into the system, everything of Python's
into a virtual environment inside the clone. What is there already is left alone, so that the second run loses
no time. Only the standard library is used, because nothing else can be relied upon yet.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent

OLDEST_PYTHON = (3, 11)
OLDEST_OTP = 25

#: The applications of OTP that the demo cluster and the tests use, each with the Debian package that has it.
OTP_APPLICATIONS = {
    "asn1": "erlang-asn1",
    "compiler": "erlang-base",
    "crypto": "erlang-crypto",
    "inets": "erlang-inets",
    "mnesia": "erlang-mnesia",
    "os_mon": "erlang-os-mon",
    "parsetools": "erlang-parsetools",
    "public_key": "erlang-public-key",
    "runtime_tools": "erlang-runtime-tools",
    "ssl": "erlang-ssl",
    "syntax_tools": "erlang-syntax-tools",
    "tools": "erlang-tools",
}

#: Prints the OTP release, then each wanted application that this installation lacks.
_INSPECT_OTP = (
    'io:format("~s", [erlang:system_info(otp_release)]),'
    '[io:format(" ~s", [A]) || A <- [{wanted}], code:lib_dir(A) =:= {{error, bad_name}}],'
    "halt()."
)


class SetupError(Exception):
    """The machine lacks something that could not be installed; the message says what to do."""


def say(message: str) -> None:
    """Tell the person who waits, on stderr: stdout belongs to the command itself."""
    print(f"== {message}", file=sys.stderr, flush=True)


def give_up(error: Exception) -> NoReturn:
    """End the process with the error's text and exit code 69 (service unavailable, as in sysexits.h)."""
    print(f"error: {error}", file=sys.stderr)
    raise SystemExit(69)


def ensure_python() -> None:
    """Check the version of the Python that runs us.

    :raises SetupError: if it is too old.
    """
    if sys.version_info < OLDEST_PYTHON:
        raise SetupError(
            f"iris_admin needs Python {'.'.join(map(str, OLDEST_PYTHON))} or newer; "
            f"{sys.executable} is {sys.version.split()[0]}. Start this command with a newer one."
        )


def ensure_erlang() -> None:
    """Install Erlang/OTP by apt, unless every application that is needed is there.

    :raises SetupError: if it is missing and cannot be installed, or is older than OTP 25.
    """
    missing = _missing_otp_packages()
    if missing:
        say(f"Installing Erlang: {' '.join(missing)}")
        _apt_install(missing)
        missing = _missing_otp_packages()
        if missing:
            raise SetupError(
                f"the Erlang found in PATH ({shutil.which('erl')}) still lacks what {', '.join(missing)} should bring. "
                "Is it another installation than Debian's? Complete it, or take it out of PATH."
            )


def ensure_programs(packages: Mapping[str, str]) -> None:
    """Install programs by apt, unless they are there.

    :param packages: the Debian package of each program.
    :raises SetupError: if one is missing and cannot be installed.
    """
    missing = sorted({package for program, package in packages.items() if shutil.which(program) is None})
    if missing:
        say(f"Installing {' '.join(missing)}")
        _apt_install(missing)


def ensure_venv(path: Path, packages: Sequence[str]) -> Path:
    """Make a virtual environment with some packages in it, unless it is there and complete.

    :param path: the folder of the environment; what is left of an unfinished or outdated one is replaced.
    :param packages: arguments for ``pip install``, e.g. ``["tox"]``, or what :func:`this_project` returns.
    :return: the environment's Python.
    :raises SetupError: if the environment cannot be made or a package cannot be installed.
    """
    python = path / "bin" / "python"
    # The stamp is written last, so it vouches for an environment that was finished, by this Python, from this set-up.
    stamp = path / "complete"
    wanted = _fingerprint(packages)
    if stamp.is_file() and stamp.read_text(encoding="ascii") == wanted and os.access(python, os.X_OK):
        return python

    if importlib.util.find_spec("ensurepip") is None:
        # Debian keeps the part of venv that brings pip in a package of its own.
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        say(f"Installing {package}")
        _apt_install([package])
    say(f"Making the virtual environment {path}")
    try:
        # A child does it, as this process may have looked for ensurepip before it was installed.
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(path)], check=True, stdout=sys.stderr)
        subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages],
            check=True,
            stdout=sys.stderr,
        )
    except subprocess.CalledProcessError as error:
        raise SetupError(f"this command failed with exit code {error.returncode}: {shlex.join(error.cmd)}") from None
    stamp.write_text(wanted, encoding="ascii")
    return python


def this_project(extras: Iterable[str] = ()) -> list[str]:
    """The arguments of ``pip install`` that install this clone, editable, with some of its extras."""
    chosen = ",".join(extras)
    return ["--editable", f"{ROOT}[{chosen}]" if chosen else str(ROOT)]


def _fingerprint(packages: Sequence[str]) -> str:
    digest = hashlib.sha256("\n".join([sys.version, os.path.realpath(sys.executable), *packages]).encode())
    for name in ("pyproject.toml", "setup.cfg"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def _missing_otp_packages() -> list[str]:
    """The Debian packages that would complete the Erlang in PATH.

    :raises SetupError: if that Erlang is too old or does not start.
    """
    if shutil.which("erl") is None or shutil.which("epmd") is None:
        return sorted({"erlang-base", *OTP_APPLICATIONS.values()})
    expression = _INSPECT_OTP.format(wanted=",".join(OTP_APPLICATIONS))
    # noinput, or it would take the terminal's input away from whoever runs us
    finished = subprocess.run(
        ["erl", "-noinput", "-boot", "no_dot_erlang", "-eval", expression],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    release, *absent = finished.stdout.split() or [""]
    if finished.returncode != 0 or not release.isdigit():
        raise SetupError(f"{shutil.which('erl')} does not start: {(finished.stdout + finished.stderr).strip()}")
    if int(release) < OLDEST_OTP:
        raise SetupError(f"{shutil.which('erl')} is OTP {release}; OTP {OLDEST_OTP} or newer is needed.")
    return sorted({OTP_APPLICATIONS[application] for application in absent})


def _apt_install(packages: Sequence[str]) -> None:
    """``apt-get update`` and ``install``, through sudo where we are not root.

    :raises SetupError: if there is no apt, no way to become root, or apt fails.
    """
    by_hand = f"Install these Debian packages, or what corresponds to them here, and try again: {' '.join(packages)}"
    if shutil.which("apt-get") is None:
        raise SetupError(f"something is missing and this system has no apt-get. {by_hand}")
    become_root: list[str] = []
    if os.geteuid() != 0:
        if shutil.which("sudo") is None:
            raise SetupError(f"something is missing, we are not root, and there is no sudo. {by_hand}")
        # Without a terminal nobody could type a password: fail at once instead of waiting for it.
        become_root = ["sudo"] if sys.stdin.isatty() else ["sudo", "--non-interactive"]
    apt = [*become_root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"]
    try:
        subprocess.run([*apt, "update"], check=True, stdout=sys.stderr)
        subprocess.run([*apt, "install", "-y", "--no-install-recommends", *packages], check=True, stdout=sys.stderr)
    except subprocess.CalledProcessError as error:
        failed = f"this command failed with exit code {error.returncode}: {shlex.join(error.cmd)}"
        raise SetupError(f"{failed}. {by_hand}") from None
