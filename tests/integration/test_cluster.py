"""Calls of several nodes at once, and what happens when some of them are not well."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from iris_admin.client import GUEST_TIMEOUT, connect
from iris_admin.cluster import Cluster, connect_cluster
from iris_admin.errors import (
    ConfigError,
    EncodeError,
    HandshakeTimeout,
    IrisAdminError,
    NodeDown,
    NodeNotFound,
    RemoteError,
)
from iris_admin.operations.steps import AllOf, Call, Capture, Operation
from iris_admin.records import replace
from iris_admin.terms import Atom
from tests.integration.conftest import load_probe
from tests.support.erlang import Epmd, ErlangNode, NodeFactory
from tests.support.failures import SLACK, black_hole

PROBE = "iris_admin_test_probe"
CONNECT_TIMEOUT = 0.6


@pytest.fixture(scope="module")
def nodes(erlang_epmd: Epmd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ErlangNode]]:
    """Four nodes; the last two know only the first. They are as they were when a test ends."""
    factory = NodeFactory(erlang_epmd, lambda: tmp_path_factory.mktemp("erlang"))
    first = factory()
    others = [factory(cookie=first.cookie)]
    others += [factory(cookie=first.cookie, hidden=True) for _ in range(2)]
    for other in others:
        assert other.evaluate(f"net_adm:ping('{first.name}')") == "pong"
    for node in (first, *others):
        load_probe(node)
    yield [first, *others]
    factory.stop_all()


@pytest.fixture
def doomed(nodes: list[ErlangNode], fresh_node: NodeFactory) -> ErlangNode:
    """A fifth node, for this test alone."""
    node = fresh_node(cookie=nodes[0].cookie)
    assert node.evaluate(f"net_adm:ping('{nodes[0].name}')") == "pong"
    load_probe(node)
    return node


@pytest.fixture
def cluster(nodes: list[ErlangNode]) -> Iterator[Cluster]:
    first = nodes[0]
    options = {"cookie": first.cookie, "epmd_port": first.epmd_port, "connect_timeout": CONNECT_TIMEOUT}
    with connect_cluster(first.name, **options) as cluster:
        yield cluster


def lose(cluster: Cluster, node: ErlangNode) -> None:
    """Have a connection end, as far as we are concerned."""
    link = cluster.node(node.name)._connector.link
    assert link is not None
    link.close()


class TestMembers:
    def test_found_from_any_of_them(self, cluster: Cluster, nodes: list[ErlangNode]) -> None:
        assert cluster.nodes == tuple(sorted(node.name for node in nodes))
        hidden = nodes[3]
        options = {"cookie": hidden.cookie, "epmd_port": hidden.epmd_port}
        with connect_cluster(hidden.name, **options) as another:
            assert another.nodes == cluster.nodes
            assert another.seed.name == hidden.name

    def test_one_that_is_none(self, cluster: Cluster) -> None:
        with pytest.raises(ConfigError, match="is no node of this cluster"):
            cluster.node("nobody@127.0.0.1")

    def test_one_that_joins_later(self, cluster: Cluster, nodes: list[ErlangNode], fresh_node: NodeFactory) -> None:
        late = fresh_node(cookie=nodes[0].cookie)
        assert late.evaluate(f"net_adm:ping('{nodes[0].name}')") == "pong"
        assert late.name not in cluster.nodes
        cluster.refresh()
        assert late.name in cluster.nodes
        assert cluster.node(late.name).call("erlang", "node") == Atom(late.name)

    def test_one_that_has_another_cookie_for_us(
        self, cluster: Cluster, nodes: list[ErlangNode], fresh_node: NodeFactory
    ) -> None:
        stranger = fresh_node()
        stranger.evaluate(f"erlang:set_cookie('{nodes[0].name}', '{nodes[0].cookie}')")
        assert stranger.evaluate(f"net_adm:ping('{nodes[0].name}')") == "pong"
        cluster.refresh()
        assert set(cluster.unreachable) == {stranger.name}
        for _ in range(2):
            with pytest.raises(IrisAdminError, match="does not share our cookie"):
                cluster.node(stranger.name)
        answers = cluster.call("erlang", "node")
        assert set(answers.errors_by_node) == {stranger.name}
        assert len(answers.values_by_node) == 4

    def test_closing_leaves_all_of_them(self, cluster: Cluster, nodes: list[ErlangNode]) -> None:
        cluster.close()
        for node in nodes[1:]:
            wait = "(fun Wait() -> case nodes(hidden) of [_] -> ok; [] -> ok; _ -> timer:sleep(5), Wait() end end)()"
            assert node.evaluate(wait) == "ok"


class TestGuests:
    def test_another_administrator(self, nodes: list[ErlangNode], cluster: Cluster) -> None:
        first = nodes[0]
        options = {"cookie": first.cookie, "epmd_port": first.epmd_port}
        start = time.monotonic()
        with connect_cluster(first.name, **options) as another:
            assert another.nodes == cluster.nodes
            theirs = {cluster.node(node.name).our_name for node in nodes}
            assert set(another.guests) == theirs
            assert another.unreachable == {}
            # They are no nodes of the cluster that one has to wait for.
            assert len(another.call("erlang", "node")) == 4
        assert time.monotonic() - start < SLACK

    def test_one_whose_machine_is_out_of_reach(self, nodes: list[ErlangNode]) -> None:
        """A laptop that drops packets from here, or has no EPMD."""
        first = nodes[0]
        options = {"cookie": first.cookie, "epmd_port": first.epmd_port}
        with connect(first.name, **options) as node, black_hole() as swallowing:
            with connect_cluster(first.name, **{**options, "connect_timeout": 20}) as cluster:
                # As if all of them had their EPMD behind that port.
                dialing = cluster.seed._connector.dialing
                cluster.seed._connector.dialing = replace(dialing, epmd_port=swallowing)
                start = time.monotonic()
                cluster.refresh()
                assert time.monotonic() - start < GUEST_TIMEOUT + SLACK
                assert node.our_name in cluster.guests
                assert cluster.unreachable == {}


class TestCall:
    def test_every_node(self, cluster: Cluster, nodes: list[ErlangNode]) -> None:
        answers = cluster.call("erlang", "node")
        assert dict(answers) == {node.name: Atom(node.name) for node in nodes}
        assert len(answers) == 4
        assert answers.errors_by_node == {}

    def test_some(self, cluster: Cluster, nodes: list[ErlangNode]) -> None:
        assert dict(cluster.call("erlang", "abs", -1, nodes=(nodes[1].name,))) == {nodes[1].name: 1}
        assert dict(cluster.call("erlang", "abs", -1, nodes=())) == {}

    def test_one_nodes_failure_is_no_others(
        self, doomed: ErlangNode, cluster: Cluster, nodes: list[ErlangNode]
    ) -> None:
        assert len(cluster.nodes) == 5
        doomed.kill()
        answers = cluster.call("erlang", "node")
        assert dict(answers.values_by_node) == {node.name: Atom(node.name) for node in nodes}
        assert type(answers.errors_by_node[doomed.name]) in (NodeDown, NodeNotFound)
        plain = cluster.call("erlang", "div", 1, 0)
        assert {type(error) for error in plain.errors_by_node.values()} == {RemoteError, NodeNotFound}

    def test_what_cannot_be_sent(self, cluster: Cluster) -> None:
        answers = cluster.call("erlang", "abs", "text")
        assert {type(error) for error in answers.errors_by_node.values()} == {EncodeError}

    def test_nodes_that_do_not_answer_are_waited_for_side_by_side(
        self, cluster: Cluster, nodes: list[ErlangNode]
    ) -> None:
        for node in nodes[1:]:
            node.suspend()
            lose(cluster, node)
        start = time.monotonic()
        answers = cluster.call("erlang", "node")
        # In turn, it would be three times as long.
        assert time.monotonic() - start < CONNECT_TIMEOUT * 2
        assert answers.values_by_node == {nodes[0].name: Atom(nodes[0].name)}
        assert {type(error) for error in answers.errors_by_node.values()} == {HandshakeTimeout}
        for node in nodes[1:]:
            node.resume()
        assert len(cluster.call("erlang", "node").values_by_node) == 4

    def test_those_that_answer_do_not_wait_for_the_others(self, cluster: Cluster, nodes: list[ErlangNode]) -> None:
        nodes[1].suspend()
        lose(cluster, nodes[1])
        before = nodes[3].evaluate(f"{PROBE}:counted()")
        start = time.monotonic()
        cluster.call(PROBE, "count", nodes=(nodes[1].name, nodes[3].name))
        assert time.monotonic() - start < CONNECT_TIMEOUT + SLACK
        assert int(nodes[3].evaluate(f"{PROBE}:counted()")) == int(before) + 1
        nodes[1].resume()

    def test_a_lost_connection_is_made_anew(self, cluster: Cluster, nodes: list[ErlangNode]) -> None:
        for node in nodes:
            lose(cluster, node)
        assert len(cluster.call("erlang", "node").values_by_node) == 4


class TestOperations:
    """What operations yield as several steps at once."""

    def all_of(self, *steps: Call | Capture) -> Operation[list[object]]:
        return (yield AllOf(steps))

    def test_results_and_errors_in_their_places(self, cluster: Cluster, nodes: list[ErlangNode]) -> None:
        first, second = nodes[0].name, nodes[1].name
        results = cluster._run(
            self.all_of(
                Call("erlang", "node", node=second),
                Capture(Call("io", "put_chars", (b"text",), node=first)),
                Call("erlang", "throw", (1,)),
                Call("erlang", "node", node="nobody@127.0.0.1"),
                Call("erlang", "abs", ("text",)),
                Call("erlang", "node"),
            )
        )
        assert results[0] == Atom(second)
        assert results[1] == (Atom("ok"), "text")
        assert [type(result) for result in results[2:5]] == [RemoteError, ConfigError, EncodeError]
        assert results[5] == Atom(first)

    def test_a_node_that_dies_in_the_midst(self, doomed: ErlangNode, cluster: Cluster, nodes: list[ErlangNode]) -> None:
        doomed.evaluate(f"spawn(fun() -> [_] = {PROBE}:blocked(1), erlang:halt(1) end)")
        steps = (Call(PROBE, "block", node=doomed.name, timeout=30.0), Call("erlang", "node", node=nodes[0].name))
        results = cluster._run(self.all_of(*steps))
        assert type(results[0]) is NodeDown
        assert results[1] == Atom(nodes[0].name)

    def test_only_calls(self, cluster: Cluster) -> None:
        with pytest.raises(TypeError, match="only calls can be made at once"):
            cluster._run(self.all_of(AllOf(())))  # type: ignore[arg-type]
