"""``iris-admin memory`` as a whole process, next to what Python alone takes, to a BEAM that asks, and to erl_call."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import iris_admin
from bench.nodes import erlang_nodes
from bench.report import Row
from tests.support.erlang import ErlangNode

ROUNDS = 40


def measure() -> list[Row]:
    """In each round all have their turn, one after another; in every second one backwards.

    Who comes behind a BEAM finds less of what it needs in the processor's caches.
    """
    with erlang_nodes() as start:
        target = start("asked")
        commands = _commands(target)
        # The same iris_admin as everywhere else, wherever the current folder is.
        path = str(Path(iris_admin.__file__).parents[1])
        environment = os.environ | target.environment | {"PYTHONPATH": path, "HOME": str(target.home)}
        # Compiled modules are kept, as where the package is installed; compiling them takes as long as all the rest.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        times: dict[str, list[float]] = {name: [] for name in commands}
        for turn in range(1 + ROUNDS):
            for name, command in list(commands.items())[:: -1 if turn % 2 else 1]:
                started = time.perf_counter()
                subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
                if turn:  # the first fills the caches, of files and of compiled modules
                    times[name].append(time.perf_counter() - started)
    took = {name: median(seconds) for name, seconds in times.items()}
    ours = took["iris-admin"]
    rows = [
        Row(
            "iris-admin memory, to Python with click, socket",
            _milliseconds(ours),
            "",
            f"Python {_milliseconds(took['Python'])}",
            ours / took["Python"],
            1.15,
            at_most=True,
        ),
        Row(
            "iris-admin memory, to erl -noshell",
            _milliseconds(ours),
            _milliseconds(took["erl"]),
            "",
            ours / took["erl"],
            0.4,
            at_most=True,
        ),
    ]
    if "erl_call" in took:
        name = "iris-admin memory, to erl_call"
        peer = f"erl_call {_milliseconds(took['erl_call'])}"
        rows.append(Row(name, _milliseconds(ours), "", peer, ours / took["erl_call"], None, at_most=True))
    return rows


def _commands(target: ErlangNode) -> dict[str, Sequence[str]]:
    ask = f"{{_, _}} = lists:keyfind(total, 1, rpc:call('{target.name}', erlang, memory, [])), halt()."
    erl = ["erl", "-noshell", "-hidden", "-name", "asking@127.0.0.1", "-start_epmd", "false"]
    commands: dict[str, Sequence[str]] = {
        "iris-admin": [sys.executable, "-P", "-m", "iris_admin", "memory"],
        "Python": [sys.executable, "-P", "-c", "import click, socket"],
        "erl": [*erl, "-setcookie", target.cookie, "-eval", ask],
    }
    if (erl_call := shutil.which("erl_call")) is not None:
        commands["erl_call"] = [erl_call, "-c", target.cookie, "-name", target.name, "-a", "erlang memory"]
    return commands


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.0f} ms"
