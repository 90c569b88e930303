"""The awaiting facade does what the blocking one does, and neither holds up the event loop."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar, get_type_hints

import pytest

from iris_admin import aio, client, cluster
from iris_admin.errors import (
    CallTimeout,
    ConnectError,
    EncodeError,
    HandshakeTimeout,
    IrisAdminError,
    NodeDown,
    NodeNotFound,
    RemoteError,
    UnknownAtom,
)
from iris_admin.proto.events import CallEnded
from iris_admin.proto.rpc import Outcome
from iris_admin.terms import Atom, Term, charlist
from tests.integration.conftest import Footprint, load_probe
from tests.support.erlang import ErlangNode, NodeFactory
from tests.support.failures import SLACK

PROBE = "iris_admin_test_probe"
T = TypeVar("T")


async def join(erlang: ErlangNode, **options: Any) -> aio.Node:
    return await aio.connect(erlang.name, cookie=erlang.cookie, epmd_port=erlang.epmd_port, **options)


def with_node(erlang: ErlangNode, work: Callable[[aio.Node], Awaitable[T]], **options: Any) -> T:
    """Run something that awaits, with a connection."""

    async def main() -> T:
        async with await join(erlang, **options) as node:
            return await work(node)

    return asyncio.run(main())


async def on_node(erlang: ErlangNode, expression: str) -> str:
    """Ask the node's console without holding up the loop."""
    return await asyncio.to_thread(erlang.evaluate, expression)


class TestCall:
    def test_value(self, probed_node: ErlangNode) -> None:
        assert with_node(probed_node, lambda node: node.call("erlang", "abs", -1)) == 1

    def test_failures(self, probed_node: ErlangNode) -> None:
        async def work(node: aio.Node) -> None:
            with pytest.raises(RemoteError, match="threw 1"):
                await node.call("erlang", "throw", 1)
            with pytest.raises(RemoteError) as caught:
                await node.call("lists", "no_such_function")
            assert caught.value.is_undef
            with pytest.raises(EncodeError):
                await node.call("erlang", "abs", "text")

        with_node(probed_node, work)

    def test_output(self, probed_node: ErlangNode) -> None:
        assert with_node(probed_node, lambda node: node.capture("io", "format", charlist("~p"), [1])) == (
            Atom("ok"),
            "1",
        )

    def test_eval(self, probed_node: ErlangNode) -> None:
        async def work(node: aio.Node) -> None:
            assert await node.eval("length(List)", {"List": [1, 2]}) == 2
            assert await node.eval('io:format("x"), 1', capture=True) == (1, "x")
            await node.check_atoms(Atom("ok"))
            with pytest.raises(UnknownAtom):
                await node.check_atoms(Atom("iris_nobody_knows_this_atom"))

        with_node(probed_node, work)

    def test_ping(self, probed_node: ErlangNode) -> None:
        assert 0 < with_node(probed_node, lambda node: node.ping()) < 5

    def test_many_at_once(self, probed_node: ErlangNode) -> None:
        async def work(node: aio.Node) -> list[Any]:
            return await asyncio.gather(*(node.call("erlang", "abs", -number) for number in range(2000)))

        assert with_node(probed_node, work) == list(range(2000))

    def test_what_it_is(self, probed_node: ErlangNode) -> None:
        async def work(node: aio.Node) -> None:
            assert node.name == probed_node.name
            assert node.is_connected
            assert node.our_name in [str(name) for name in await node.call("erlang", "nodes", Atom("hidden"))]
            assert repr(node) == f"<Node {probed_node.name}: connected>"
            await node.reconnect()
            node.close()
            assert not node.is_connected
            with pytest.raises(IrisAdminError, match="was closed here"):
                await node.call("erlang", "abs", -1)

        with_node(probed_node, work)

    def test_nothing_is_left(self, probed_node: ErlangNode) -> None:
        def work() -> None:
            with_node(probed_node, lambda node: node.call("erlang", "abs", -1))

        work()
        footprint = Footprint(probed_node)
        for _ in range(10):
            work()
        footprint.assert_unchanged()


class TestMap:
    def test_results_and_failures(self, probed_node: ErlangNode) -> None:
        async def work(node: aio.Node) -> None:
            assert await node.map("erlang", "abs", ([-number] for number in range(200))) == list(range(200))
            with pytest.raises(RemoteError):
                await node.map("erlang", "abs", [[-1], [Atom("a")]])
            with pytest.raises(EncodeError):
                await node.map(PROBE, "block", [(), ("text",)])
            with pytest.raises(ValueError, match="0 calls"):
                await node.map("erlang", "abs", [[1]], in_flight=0)
            with pytest.raises(CallTimeout):
                await node.map(PROBE, "block", [()] * 3, timeout=0.3)
            assert await on_node(probed_node, f"{PROBE}:reasons(3)") == "[killed,killed,killed]"

        with_node(probed_node, work)


class TestEnding:
    def test_cancelling_kills_the_process(self, probed_node: ErlangNode) -> None:
        async def work(node: aio.Node) -> str:
            task = asyncio.ensure_future(node.call(PROBE, "block"))
            await on_node(probed_node, f"{PROBE}:blocked(1)")
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            reasons = await on_node(probed_node, f"{PROBE}:reasons(1)")
            assert await node.call("erlang", "abs", -1) == 1
            return reasons

        assert with_node(probed_node, work) == "[killed]"

    def test_cancelling_a_task_group(self, probed_node: ErlangNode) -> None:
        async def one_of_several_fails(node: aio.Node) -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(3):
                    group.create_task(node.call(PROBE, "block"))
                await on_node(probed_node, f"{PROBE}:blocked(3)")
                group.create_task(node.call("erlang", "throw", 1))

        async def work(node: aio.Node) -> str:
            with pytest.raises(ExceptionGroup):
                await one_of_several_fails(node)
            return await on_node(probed_node, f"{PROBE}:reasons(3)")

        assert with_node(probed_node, work) == "[killed,killed,killed]"

    def test_time_out(self, probed_node: ErlangNode) -> None:
        async def work(node: aio.Node) -> str:
            with pytest.raises(CallTimeout, match=r"within 0\.1 s"):
                await node.call(PROBE, "block", timeout=0.1)
            with pytest.raises(CallTimeout, match=r"within 0\.1 s"):
                await node.capture(PROBE, "block", timeout=0.1, idempotent=True)
            return await on_node(probed_node, f"{PROBE}:reasons(2)")

        assert with_node(probed_node, work) == "[killed,killed]"

    def test_asyncios_own_time_out(self, probed_node: ErlangNode) -> None:
        async def work(node: aio.Node) -> str:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await node.call(PROBE, "block")
            return await on_node(probed_node, f"{PROBE}:reasons(1)")

        assert with_node(probed_node, work) == "[killed]"

    def test_the_loop_ends_first(self, probed_node: ErlangNode) -> None:
        async def work() -> aio.Node:
            node = await join(probed_node)
            asyncio.ensure_future(node.call(PROBE, "block"))  # noqa: RUF006  (the end of the loop cancels it)
            await on_node(probed_node, f"{PROBE}:blocked(1)")
            return node

        node = asyncio.run(work())
        assert probed_node.evaluate(f"{PROBE}:reasons(1)") == "[killed]"
        # The connection outlives the loop, and serves the next one.
        assert asyncio.run(_call(node)) == 1
        node.close()

    def test_closing(self, probed_node: ErlangNode) -> None:
        async def work(node: aio.Node) -> str:
            task = asyncio.ensure_future(node.call(PROBE, "block"))
            await on_node(probed_node, f"{PROBE}:blocked(1)")
            node.close()
            with pytest.raises(NodeDown, match="disconnected from here"):
                await task
            return await on_node(probed_node, f"{PROBE}:reasons(1)")

        assert with_node(probed_node, work) == "[noconnection]"


async def _call(node: aio.Node) -> Any:
    return await node.call("erlang", "abs", -1)


class TestLoopAndThreads:
    """The loop reads its answers itself, and is not the only one that may."""

    def test_a_loop_that_is_busy_loses_no_connection(self, probed_node: ErlangNode) -> None:
        # The I/O thread reads meanwhile, or what comes would count as silence.
        async def work(node: aio.Node) -> Term:
            slow = [asyncio.ensure_future(node.call("timer", "sleep", 250 * number)) for number in range(9)]
            await node.call("erlang", "abs", -1)
            time.sleep(2)  # what a busy loop is
            await asyncio.gather(*slow)
            return await node.call("erlang", "abs", -2)

        assert with_node(probed_node, work, net_ticktime=1.0) == 2

    def test_loops_and_threads_share_a_node(self, probed_node: ErlangNode) -> None:
        """Each gets its own answers, whoever reads."""
        count = 300

        async def awaited(node: aio.Node, first: int) -> list[Term]:
            tasks = [node.call("erlang", "abs", -number) for number in range(first, first + count)]
            return list(await asyncio.gather(*tasks))

        def blocking(first: int) -> list[Term]:
            return [joined.call("erlang", "abs", -number) for number in range(first, first + count)]

        with (
            client.connect(probed_node.name, cookie=probed_node.cookie, epmd_port=probed_node.epmd_port) as joined,
            ThreadPoolExecutor(8) as pool,
        ):
            works: list[Future[list[Term]]] = []
            for index in range(4):
                works.append(
                    pool.submit(lambda first: asyncio.run(awaited(aio.Node(joined), first)), 2 * index * count)
                )
                works.append(pool.submit(blocking, (2 * index + 1) * count))
            for index, work in enumerate(works):
                assert work.result(60) == list(range(index * count, (index + 1) * count))

    def test_one_loop_after_the_other(self, probed_node: ErlangNode) -> None:
        with client.connect(probed_node.name, cookie=probed_node.cookie, epmd_port=probed_node.epmd_port) as joined:
            for number in range(5):
                assert asyncio.run(aio.Node(joined).call("erlang", "abs", -number)) == number

    def test_no_descriptor_is_left(self, probed_node: ErlangNode) -> None:
        def descriptors() -> list[str]:
            return sorted(os.listdir("/proc/self/fd"))

        with_node(probed_node, lambda node: node.call("erlang", "abs", -1))
        gc.collect()
        before = descriptors()
        for _ in range(5):
            with_node(probed_node, lambda node: node.call("erlang", "abs", -1))
        assert descriptors() == before

    def test_a_large_answer_does_not_stop_the_loop(self, probed_node: ErlangNode) -> None:
        """It is decoded in another thread."""
        decoded_in: set[int] = set()

        async def work(node: aio.Node) -> None:
            thread = threading.get_ident()
            original = CallEnded.outcome

            def outcome(ended: CallEnded) -> Outcome:
                decoded_in.add(threading.get_ident())
                return original(ended)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(CallEnded, "outcome", outcome)
                patch.setattr(CallEnded, "has_returned", False)
                value = await node.call("lists", "seq", 1, 100_000)
                assert decoded_in
                assert thread not in decoded_in
                assert value == list(range(1, 100_001))
                await node.call("erlang", "abs", -1)
                assert thread in decoded_in

        with_node(probed_node, work)


class TestLoss:
    def test_death_and_return(self, fresh_node: NodeFactory) -> None:
        erlang = fresh_node()
        load_probe(erlang)

        async def work(node: aio.Node) -> None:
            tasks = [asyncio.ensure_future(node.call(PROBE, "block")) for _ in range(10)]
            await on_node(erlang, f"{PROBE}:blocked(10)")
            await asyncio.to_thread(erlang.kill)
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {NodeDown}
            with pytest.raises(NodeNotFound):
                await node.call("erlang", "abs", -1)
            await asyncio.to_thread(erlang.restart)
            assert await node.call("erlang", "abs", -2) == 2
            await asyncio.to_thread(erlang.restart)
            assert await node.call("erlang", "abs", -3, idempotent=True, timeout=30) == 3

        with_node(erlang, work)

    def test_a_stopped_node_does_not_stop_the_loop(self, fresh_node: NodeFactory) -> None:
        erlang = fresh_node()

        async def work(node: aio.Node) -> None:
            link = node._node._connector.link
            assert link is not None
            link.close()
            erlang.suspend()
            start = time.monotonic()
            ticking = asyncio.ensure_future(_longest_pause(0.5))
            with pytest.raises(ConnectError):
                await node.call("erlang", "abs", -1, timeout=0.3)
            assert time.monotonic() - start < 0.3 + SLACK
            with pytest.raises(ConnectError):
                await node.call("erlang", "abs", -1, timeout=0.3, idempotent=True)
            assert await ticking < 0.25
            erlang.resume()

        with_node(erlang, work)

    def test_connecting_does_not_stop_the_loop(self, fresh_node: NodeFactory) -> None:
        erlang = fresh_node()
        erlang.suspend()

        async def work() -> None:
            ticking = asyncio.ensure_future(_longest_pause(0.4))
            with pytest.raises(HandshakeTimeout):
                await join(erlang, connect_timeout=0.4)
            assert await ticking < 0.25

        asyncio.run(work())


async def _longest_pause(seconds: float) -> float:
    """The longest time for which the loop ran nothing."""
    longest, end = 0.0, time.monotonic() + seconds
    while (start := time.monotonic()) < end:
        await asyncio.sleep(0.01)
        longest = max(longest, time.monotonic() - start)
    return longest


class TestCluster:
    @pytest.fixture
    def three(self, fresh_node: NodeFactory) -> list[ErlangNode]:
        """Two nodes and a hidden one, connected."""
        first = fresh_node()
        others = [fresh_node(cookie=first.cookie), fresh_node(cookie=first.cookie, hidden=True)]
        for other in others:
            assert other.evaluate(f"net_adm:ping('{first.name}')") == "pong"
        return [first, *others]

    def test_blocking(self, three: list[ErlangNode]) -> None:
        first = three[0]
        with cluster.connect_cluster(first.name, cookie=first.cookie, epmd_port=first.epmd_port) as joined:
            assert joined.nodes == tuple(sorted(node.name for node in three))
            answers = joined.call("erlang", "node")
            assert dict(answers) == {node.name: Atom(node.name) for node in three}
            assert joined.node(three[2].name).call("erlang", "abs", -1) == 1
            three[1].kill()
            answers = joined.call("erlang", "node")
            assert set(answers.values_by_node) == {three[0].name, three[2].name}
            assert type(answers.errors_by_node[three[1].name]) in (NodeDown, NodeNotFound)

    def test_awaited(self, three: list[ErlangNode]) -> None:
        first = three[0]

        async def main() -> None:
            options = {"cookie": first.cookie, "epmd_port": first.epmd_port}
            async with await aio.connect_cluster(first.name, **options) as joined:
                assert joined.nodes == tuple(sorted(node.name for node in three))
                assert joined.seed.name == first.name
                assert joined.unreachable == {}
                answers = await joined.call("erlang", "node")
                assert dict(answers) == {node.name: Atom(node.name) for node in three}
                some = await joined.call("erlang", "abs", -1, nodes=(first.name,))
                assert dict(some) == {first.name: 1}
                assert await joined.node(three[2].name).call("erlang", "abs", -1) == 1
                await asyncio.to_thread(three[1].kill)
                answers = await joined.call("erlang", "node")
                assert set(answers.values_by_node) == {three[0].name, three[2].name}
                assert type(answers.errors_by_node[three[1].name]) in (NodeDown, NodeNotFound)
                await joined.refresh()
                with pytest.raises(EncodeError):
                    await joined.seed.call("erlang", "abs", None)

        asyncio.run(main())

    def test_another_administrator_is_a_guest(self, three: list[ErlangNode]) -> None:
        first = three[0]
        options = {"cookie": first.cookie, "epmd_port": first.epmd_port}
        with client.connect(first.name, **options) as other, cluster.connect_cluster(first.name, **options) as joined:
            assert joined.guests == (other.our_name,)
            assert joined.nodes == tuple(sorted(node.name for node in three))


#: What only one of the two has: futures are awaited there, and an awaited node is joined by a cluster.
ONLY_BLOCKING = {
    "Node": {"submit", "sibling", "epmd_port", "secrets", "timeout", "on_progress"},
    "Cluster": {"on_progress", "unreachable", "guests"},
}


def public(of: type) -> dict[str, Any]:
    return {name: member for name, member in vars(of).items() if not name.startswith("_")}


def shape(function: Any) -> list[tuple[str, Any, Any]]:
    """Names, kinds and defaults of the parameters."""
    parameters = inspect.signature(function).parameters.values()
    return [(parameter.name, parameter.kind, parameter.default) for parameter in parameters]


@pytest.mark.parametrize(("blocking", "awaited"), [(client.Node, aio.Node), (cluster.Cluster, aio.Cluster)])
class TestParity:
    def test_the_same_members(self, blocking: type, awaited: type) -> None:
        optional = ONLY_BLOCKING[blocking.__name__]
        assert set(public(blocking)) - optional == set(public(awaited)) - optional

    def test_the_same_parameters(self, blocking: type, awaited: type) -> None:
        for name in set(public(blocking)) & set(public(awaited)):
            one, other = public(blocking)[name], public(awaited)[name]
            if isinstance(one, property):
                assert isinstance(other, property), name
            else:
                assert shape(one) == shape(other), name

    def test_the_same_results(self, blocking: type, awaited: type) -> None:
        for name in set(public(blocking)) & set(public(awaited)):
            one, other = public(blocking)[name], public(awaited)[name]
            if isinstance(one, property) or name == "node":
                continue
            results = [str(inspect.signature(function).return_annotation) for function in (one, other)]
            assert results[1] == results[0].replace("Iterator[", "AsyncIterator[", 1), name

    def test_what_talks_is_awaited(self, blocking: type, awaited: type) -> None:
        for name, member in public(awaited).items():
            if isinstance(member, property) or name in ("close", "node"):
                continue
            assert inspect.iscoroutinefunction(member) or inspect.isasyncgenfunction(member), name

    def test_docstrings(self, blocking: type, awaited: type) -> None:
        for name, member in public(awaited).items():
            assert (member.fget if isinstance(member, property) else member).__doc__, name


def test_the_functions_take_the_same_options() -> None:
    def options(function: Any) -> set[str]:
        kinds = inspect.signature(function).parameters.values()
        return {parameter.name for parameter in kinds if parameter.kind is not inspect.Parameter.VAR_KEYWORD}

    assert options(aio.connect) <= options(client.connect)
    assert options(aio.connect_cluster) == options(cluster.connect_cluster)
    assert get_type_hints(aio.connect)["return"] is aio.Node
