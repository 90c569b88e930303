"""Fixtures of the tests that talk to real nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import iris_admin
from iris_admin.client import Node
from tests.support.erlang import ErlangNode, NodeFactory

_PROBE = Path(__file__).parents[1] / "support" / "erl" / "iris_admin_test_probe.erl"


def load_probe(node: ErlangNode) -> None:
    """Compile the probe there, into memory, and start it."""
    node.evaluate(
        f'{{ok, Module, Binary}} = compile:file("{_PROBE}", [binary]), {{module, Module}} = '
        "code:load_binary(Module, atom_to_list(Module), Binary), Module:start()"
    )


def join(node: ErlangNode, **options: Any) -> Node:
    """Connect to a node of the tests."""
    return iris_admin.connect(node.name, cookie=node.cookie, epmd_port=node.epmd_port, **options)


@pytest.fixture(scope="session")
def probed_node(_session_nodes: NodeFactory) -> ErlangNode:
    """A node with the module ``iris_admin_test_probe``, shared by the tests of connections."""
    node = _session_nodes()
    load_probe(node)
    return node


@pytest.fixture
def connect() -> Iterator[Callable[..., Node]]:
    """:func:`join`; the connections end with the test."""
    with ExitStack() as stack:
        yield lambda node, **options: stack.enter_context(join(node, **options))


@pytest.fixture
def node(probed_node: ErlangNode, connect: Callable[..., Node]) -> Node:
    """A connection to the shared node."""
    return connect(probed_node)


#: What a client may change nothing of.
FOOTPRINT = (
    "{erlang:system_info(atom_count), erlang:system_info(process_count), erlang:system_info(port_count),"
    " length(ets:all()), length(code:all_loaded()), length(registered()), nodes(hidden), nodes()}"
)


class Footprint:
    """What is on a node: taken before and after something, it must be the same."""

    def __init__(self, node: ErlangNode) -> None:
        self._node = node
        self.before = self.now()
        while (now := self._a_moment_later()) != self.before:  # something that came before is still under way
            self.before = now

    def now(self) -> str:
        return self._node.evaluate(FOOTPRINT)

    def _a_moment_later(self) -> str:
        return self._node.evaluate(f"timer:sleep(20), {FOOTPRINT}")

    def assert_unchanged(self) -> None:
        # A process that was told to die, or a connection that was closed, is gone in a moment, but not at once.
        now = self.now()
        for _ in range(250):
            if now == self.before:
                return
            now = self._a_moment_later()
        assert now == self.before


@pytest.fixture
def footprint(probed_node: ErlangNode, node: Node) -> Callable[[], Footprint]:
    """Take the shared node's footprint."""
    return lambda: Footprint(probed_node)
