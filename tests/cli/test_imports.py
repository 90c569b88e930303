"""A command imports what it uses, and no more: imports are most of the time that it takes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from iris_admin.proto import etf
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
import click, selectors, socket  # up to Python 3.13, socket itself brings selectors
before = set(sys.modules)
real_exit = os._exit
def report(code):
    sys.stderr.write("\\n".join(sorted(set(sys.modules) - before)))
    sys.stderr.flush()
    real_exit(code)
os._exit = report
from iris_admin.cli.start import main
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


#: All that a question about one figure loads besides click and socket. Each module costs from 0.1 to 2 ms; whoever adds
#: one here has seen that the command needs it.
FOR_MEMORY = {
    "_md5", "_struct", "gc", "struct",
    "iris_admin", "iris_admin.calls", "iris_admin.client", "iris_admin.codec_choice", "iris_admin.cookie",
    "iris_admin.errors", "iris_admin.json_values", "iris_admin.node_name", "iris_admin.records", "iris_admin.runner",
    "iris_admin.terms", "iris_admin.text",
    "iris_admin.cli", "iris_admin.cli.command", "iris_admin.cli.commands", "iris_admin.cli.commands.memory",
    "iris_admin.cli.layout", "iris_admin.cli.main", "iris_admin.cli.session", "iris_admin.cli.signals",
    "iris_admin.cli.start", "iris_admin.cli.watch",
    "iris_admin.operations", "iris_admin.operations.memory", "iris_admin.operations.names",
    "iris_admin.operations.results", "iris_admin.operations.steps",
    "iris_admin.proto", "iris_admin.proto.connection", "iris_admin.proto.control", "iris_admin.proto.epmd",
    "iris_admin.proto.etf", "iris_admin.proto.events", "iris_admin.proto.flags", "iris_admin.proto.framing",
    "iris_admin.proto.handshake",
    "iris_admin.proto.rpc", "iris_admin.proto.usual",
    "iris_admin.transport", "iris_admin.transport.connector", "iris_admin.transport.dialing",
    "iris_admin.transport.exchanges",
    "iris_admin.transport.io_thread", "iris_admin.transport.link", "iris_admin.transport.retry",
    "iris_admin.transport.stream", "iris_admin.transport.waiters",
}  # fmt: skip
#: Besides, one of the codecs. Whoever finds the wrong one here has an old build of the compiled one.
CODECS = {
    "compiled": {"iris_admin.proto._etf"},
    "pure": {"iris_admin.proto._etf_decode", "iris_admin.proto._etf_encode"},
}


def test_memory_loads_nothing_that_it_does_not_use(erlang_node: ErlangNode) -> None:
    modules = imported("memory", environment=erlang_node.environment)
    assert modules - FOR_MEMORY - CODECS[etf.IMPLEMENTATION] == set()


def test_calls_need_no_parser(erlang_node: ErlangNode) -> None:
    modules = imported("memory", environment=erlang_node.environment)
    assert not {module for module in modules if module.startswith("iris_admin.syntax")}


def test_help_does_not_load_the_network() -> None:
    modules = imported("ping", "--help", environment={})
    assert "iris_admin.cli.commands.ping" in modules
    assert not {module for module in modules if module.startswith(("iris_admin.proto", "iris_admin.transport"))}
    assert "iris_admin.cli.commands.memory" not in modules
