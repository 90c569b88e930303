"""A node is the same after we have been there, however often."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

import pytest

import iris_admin
from iris_admin.errors import CookieMismatch, HandshakeRefused, NodeDown
from iris_admin.terms import Atom
from tests.integration.conftest import Footprint, join, load_probe
from tests.support.erlang import ErlangNode, NodeFactory

PROBE = "iris_admin_test_probe"


def visit(erlang: ErlangNode) -> None:
    """Connect, call, disconnect, and wait until the node has noticed that."""
    with join(erlang) as node:
        assert node.call("erlang", "node") == Atom(erlang.name)
        name = node.our_name
    assert erlang.evaluate(f"{PROBE}:gone('{name}')") == "ok"


def rounds(erlang: ErlangNode, count: int) -> tuple[str, str]:
    """The node's footprint before and after so many visits."""
    visit(erlang)  # the first one loads modules
    footprint = Footprint(erlang)
    for _ in range(count):
        visit(erlang)
    footprint.assert_unchanged()
    return footprint.before, footprint.now()


@pytest.fixture
def erlang(fresh_node: NodeFactory) -> ErlangNode:
    node = fresh_node()
    load_probe(node)
    return node


def test_200_rounds(erlang: ErlangNode) -> None:
    before, after = rounds(erlang, 200)
    assert before == after
    assert after.endswith(",[],[]}")


def test_rounds_of_several_operators_at_once(erlang: ErlangNode) -> None:
    def visit_together() -> None:
        nodes = [join(erlang) for _ in range(10)]
        names = [node.our_name for node in nodes]
        assert len(set(names)) == 10
        for node in nodes:
            node.call("erlang", "node")
            node.close()
        for name in names:
            erlang.evaluate(f"{PROBE}:gone('{name}')")

    visit_together()
    footprint = Footprint(erlang)
    for _ in range(5):
        visit_together()
    footprint.assert_unchanged()


@contextlib.contextmanager
def _turned_away(erlang: ErlangNode, error: type[Exception]) -> Iterator[None]:
    """Expect an error, then wait until the node has noticed that, or the next one would get another name."""
    doors = erlang.evaluate(f"{PROBE}:doors()")
    with pytest.raises(error):
        yield
    erlang.evaluate(f"{PROBE}:closed({doors})")


def _wrong_cookie(erlang: ErlangNode) -> None:
    with _turned_away(erlang, CookieMismatch):
        iris_admin.connect(erlang.name, cookie="WRONG", epmd_port=erlang.epmd_port)


def _wrong_name(erlang: ErlangNode) -> None:
    with _turned_away(erlang, HandshakeRefused):
        iris_admin.connect(f"other@127.0.0.1:{erlang.port}", cookie=erlang.cookie)


def _left_in_a_call(erlang: ErlangNode) -> None:
    node = join(erlang)
    name = node.our_name
    future = node.submit(PROBE, "block")
    erlang.evaluate(f"{PROBE}:blocked(1)")
    node.close()
    with pytest.raises(NodeDown):
        future.result(10)
    erlang.evaluate(f"{PROBE}:reasons(1), {PROBE}:gone('{name}')")


def _fixed_name(erlang: ErlangNode) -> None:
    with join(erlang, name="iris_operator") as node:
        node.ping()
    erlang.evaluate(f"{PROBE}:gone('iris_operator@127.0.0.1')")


def _captured(erlang: ErlangNode) -> None:
    with join(erlang) as node:
        assert node.capture("io", "format", [126, 112], [1])[1] == "1"
        name = node.our_name
    erlang.evaluate(f"{PROBE}:gone('{name}')")


@pytest.mark.parametrize("way", [_wrong_cookie, _wrong_name, _left_in_a_call, _fixed_name, _captured])
def test_rounds_of_other_kinds(erlang: ErlangNode, way: Callable[[ErlangNode], None]) -> None:
    way(erlang)
    footprint = Footprint(erlang)
    for _ in range(20):
        way(erlang)
    footprint.assert_unchanged()


if __name__ == "__main__":  # python -m tests.integration.test_footprint 1000
    import tempfile
    from pathlib import Path

    from tests.support.erlang import Epmd

    with contextlib.ExitStack() as stack:
        epmd = Epmd()
        stack.callback(epmd.stop)
        nodes = NodeFactory(epmd, lambda: Path(stack.enter_context(tempfile.TemporaryDirectory())))
        stack.callback(nodes.stop_all)
        target = nodes()
        load_probe(target)
        print("{atoms, processes, ports, ETS tables, modules, registered, nodes(hidden), nodes()}")
        for line in rounds(target, int(sys.argv[1])):
            print(line)
