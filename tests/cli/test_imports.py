"""A command imports what it uses, and no more: imports are most of the time that it takes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.support import clean_environment
from tests.support.erlang import ErlangNode

#: Each takes as long as a call on a node or far longer, and no command that succeeds on one node needs one of them.
HEAVY = {
    "asyncio",
    "concurrent.futures",
    "csv",
    "email",
    "http",
    "importlib.metadata",
    "json",
    "logging",
    "multiprocessing",
    "pandas",
    "rich",
    "ssl",
    "subprocess",
    "tempfile",
    "tenacity",
    "tomllib",
    "traceback",
    "unittest",
    "urllib.request",
}
#: Parts of ours that belong to something else.
OURS_FOR_OTHERS = {"iris_admin.aio", "iris_admin.cluster", "iris_admin.futures", "iris_admin.transport.diagnosis"}

_PROBE = """
import atexit, os, sys
import click
before = set(sys.modules)
real_exit = os._exit
def report(code):
    sys.stderr.write("\\n".join(sorted(set(sys.modules) - before)))
    sys.stderr.flush()
    real_exit(code)
os._exit = report
from iris_admin.cli.main import main
main()
"""


def imported(*words: str, environment: dict[str, str]) -> set[str]:
    """The modules that a command imports besides those of click."""
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, *words],
        capture_output=True,
        text=True,
        env=clean_environment(environment),
        check=True,
    )
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "words", [["ping"], ["memory"], ["stats"], ["rpc", "erlang", "node"], ["eval", "1"]], ids=lambda words: words[0]
)
def test_command_on_one_node(erlang_node: ErlangNode, words: list[str]) -> None:
    modules = imported(*words, environment=erlang_node.environment)
    assert "iris_admin.client" in modules
    assert modules & HEAVY == set()
    assert modules & OURS_FOR_OTHERS == set()


def test_calls_need_no_parser(erlang_node: ErlangNode) -> None:
    modules = imported("memory", environment=erlang_node.environment)
    assert not {module for module in modules if module.startswith("iris_admin.syntax")}


def test_help_does_not_load_the_network() -> None:
    modules = imported("ping", "--help", environment={})
    assert "iris_admin.cli.commands.ping" in modules
    assert not {module for module in modules if module.startswith(("iris_admin.proto", "iris_admin.transport"))}
    assert "iris_admin.cli.commands.memory" not in modules
