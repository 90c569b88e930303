"""Runs ``iris-admin``: in this process, or as the installed command in one of its own."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from iris_admin.cli.main import main

#: Before 8.2, click's runner mixed the two outputs unless it was told not to; since then it keeps them apart.
_SEPARATE: dict[str, Any] = {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}

SCRIPT = Path(sys.executable).with_name("iris-admin")

#: Variables that change what a command does.
OUR_VARIABLES = (
    "IRIS_ADMIN_NODE",
    "IRIS_ADMIN_COOKIE",
    "IRIS_ADMIN_COOKIE_FILE",
    "IRIS_ADMIN_TIMEOUT",
    "IRIS_ADMIN_CONFIG",
    "ERL_EPMD_PORT",
    "XDG_CONFIG_HOME",
)


def invoke(*args: str, environment: Mapping[str, str] | None = None, stdin: str | None = None) -> Result:
    """Run a command in this process.

    :param environment: the only variables of :data:`OUR_VARIABLES` that are set.
    """
    env: dict[str, str | None] = {**dict.fromkeys(OUR_VARIABLES), **(environment or {})}
    return CliRunner(env=env, **_SEPARATE).invoke(main, list(args), input=stdin)


def clean_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment for another one, likewise."""
    kept = {name: value for name, value in os.environ.items() if name not in OUR_VARIABLES}
    return kept | dict(environment or {})


def start(*args: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start the installed command."""
    return subprocess.Popen(
        [SCRIPT, *args],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(environment),
    )


def run(*args: str, environment: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Run the installed command.

    :returns: exit code, standard output, standard error.
    """
    with start(*args, environment=environment) as process:
        output, errors = process.communicate(timeout=60)
    return process.returncode, output, errors
