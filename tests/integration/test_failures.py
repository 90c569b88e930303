"""Whatever is wrong: its own error, with a hint, in time."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

import iris_admin
from iris_admin.client import Node
from iris_admin.errors import (
    CallTimeout,
    ConnectError,
    HandshakeTimeout,
    IrisAdminError,
    NodeDown,
    NodeNotFound,
    NodeUnreachable,
)
from tests.failure_table import table
from tests.integration.conftest import load_probe
from tests.support.certificates import Certificates
from tests.support.erlang import ErlangNode, NodeFactory
from tests.support.failures import FAILURES, SLACK, Failure, Scene, black_hole, listener, provoke

PROBE = "iris_admin_test_probe"


@pytest.fixture(scope="module")
def nodes(erlang_epmd: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeFactory]:
    factory = NodeFactory(erlang_epmd, lambda: tmp_path_factory.mktemp("erlang"))  # type: ignore[arg-type]
    yield factory
    factory.stop_all()


@pytest.fixture(scope="module")
def living(nodes: NodeFactory) -> ErlangNode:
    return nodes()


@pytest.fixture
def scene(nodes: NodeFactory, living: ErlangNode, certificates: Certificates) -> Iterator[Scene]:
    with ExitStack() as stack:
        scene = Scene(nodes, stack, certificates)
        scene._living = living
        yield scene


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.what)
def test_its_own_error_in_time(failure: Failure, scene: Scene) -> None:
    error, seconds = provoke(failure, scene)
    assert type(error) is failure.error
    assert seconds < failure.within + SLACK
    assert isinstance(error, IrisAdminError)
    assert error.node is not None
    assert "@" in error.node
    assert error.hint
    assert error.exit_code == failure.error.exit_code
    assert str(error)
    for cookie in ("SECRET", "WRONG", scene.living.cookie):
        assert cookie not in f"{error} {error!r} {error.hint}"
        assert cookie.encode() not in pickle.dumps(error)
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None


class TestEveryWaitingCall:
    @pytest.fixture
    def doomed(self, fresh_node: NodeFactory) -> ErlangNode:
        node = fresh_node()
        load_probe(node)
        return node

    def test_32_threads_and_futures_hear_of_the_nodes_death_at_once(
        self, doomed: ErlangNode, connect: Callable[..., Node]
    ) -> None:
        node = connect(doomed, timeout=120)
        with ThreadPoolExecutor(32) as pool:
            waiting = [pool.submit(node.call, PROBE, "block") for _ in range(32)]
            futures = [node.submit(PROBE, "block") for _ in range(32)]
            doomed.evaluate(f"{PROBE}:blocked(64)")
            start = time.monotonic()
            doomed.kill()
            errors = [future.exception(30) for future in waiting + futures]
            assert time.monotonic() - start < SLACK
        assert {type(error) for error in errors} == {NodeDown}
        assert {str(error) for error in errors if error} <= {
            f"{node.name} closed the connection",
            f"{node.name} broke the connection: connection reset by peer",
        }
        # Each its own, for each gets the traceback of its own thread.
        assert len({id(error) for error in errors}) == 64

    def test_and_of_our_own_leaving(self, doomed: ErlangNode, connect: Callable[..., Node]) -> None:
        node = connect(doomed, timeout=120)
        with ThreadPoolExecutor(32) as pool:
            waiting = [pool.submit(node.call, PROBE, "block") for _ in range(32)]
            doomed.evaluate(f"{PROBE}:blocked(32)")
            node.close()
            errors = [future.exception(30) for future in waiting]
        assert {type(error) for error in errors} == {NodeDown}

    def test_many_threads_share_one_attempt_to_connect_again(
        self, doomed: ErlangNode, connect: Callable[..., Node]
    ) -> None:
        """In turn, 16 threads would wait for 16 time-outs."""
        node = connect(doomed, connect_timeout=1.0)
        link = node._connector.link
        assert link is not None
        link.close()
        doomed.suspend()
        everyone = threading.Barrier(16)

        def call() -> object:
            everyone.wait()
            return node.call("erlang", "abs", -1)

        start = time.monotonic()
        with ThreadPoolExecutor(16) as pool:
            errors = [future.exception(60) for future in [pool.submit(call) for _ in range(16)]]
        assert time.monotonic() - start < 1.0 + SLACK
        assert {type(error) for error in errors} <= {HandshakeTimeout, NodeUnreachable}
        doomed.resume()
        assert node.call("erlang", "abs", -1) == 1

    def test_a_calls_time_out_counts_for_connecting_too(self, doomed: ErlangNode, connect: Callable[..., Node]) -> None:
        node = connect(doomed, connect_timeout=30)
        link = node._connector.link
        assert link is not None
        link.close()
        doomed.suspend()
        for use in (node.call, node.submit):
            start = time.monotonic()
            with pytest.raises(ConnectError):
                use("erlang", "abs", -1, timeout=0.3)
            assert time.monotonic() - start < 0.3 + SLACK

    def test_one_that_has_less_time_than_another_that_connects(
        self, doomed: ErlangNode, connect: Callable[..., Node]
    ) -> None:
        node = connect(doomed, connect_timeout=30)
        link = node._connector.link
        assert link is not None
        link.close()
        doomed.suspend()
        with ThreadPoolExecutor(1) as pool:
            patient = pool.submit(node.call, "erlang", "abs", -1, timeout=60)
            while node._connector._attempt is None or node._connector._attempt.over.is_set():
                time.sleep(0.001)
            start = time.monotonic()
            with pytest.raises(NodeUnreachable, match="could not be reached in time"):
                node.call("erlang", "abs", -1, timeout=0.3)
            assert time.monotonic() - start < 0.3 + SLACK
            doomed.resume()
            assert patient.result(30) == 1

    def test_one_that_has_more_time_than_another_that_connects(
        self, doomed: ErlangNode, connect: Callable[..., Node]
    ) -> None:
        """The haste of one call is no failure of another."""
        node = connect(doomed, connect_timeout=30)
        link = node._connector.link
        assert link is not None
        link.close()
        doomed.suspend()
        with ThreadPoolExecutor(2) as pool:
            hasty = pool.submit(node.call, "erlang", "abs", -1, timeout=0.5)
            while node._connector._attempt is None or node._connector._attempt.over.is_set():
                time.sleep(0.001)
            patient = pool.submit(node.call, "erlang", "abs", -1, timeout=60)
            with pytest.raises(ConnectError):
                hasty.result(30)
            doomed.resume()
            assert patient.result(30) == 1


class TestComingBack:
    def test_the_next_call_works(self, fresh_node: NodeFactory, connect: Callable[..., Node]) -> None:
        erlang = fresh_node()
        node = connect(erlang)
        assert node.call("erlang", "abs", -1) == 1
        waiting = node.submit("timer", "sleep", 60_000, timeout=60)
        node.ping()
        erlang.kill()
        with pytest.raises(NodeDown):
            waiting.result(30)
        assert not node.is_connected
        with pytest.raises(NodeNotFound) as caught:
            node.call("erlang", "abs", -2)
        assert caught.value.node == node.name
        erlang.restart()
        assert node.call("erlang", "abs", -3) == 3
        assert node.is_connected
        assert node.submit("erlang", "abs", -4).result(10) == 4

    def test_after_it_was_stopped(self, fresh_node: NodeFactory, connect: Callable[..., Node]) -> None:
        erlang = fresh_node()
        node = connect(erlang)
        name = node.our_name
        node.ping()
        erlang.suspend()
        with pytest.raises(CallTimeout):
            node.call("erlang", "abs", -1, timeout=0.3)
        erlang.resume()
        # The link has not been lost.
        assert node.call("erlang", "abs", -2) == 2
        assert node.our_name == name

    def test_a_call_that_may_be_repeated_does_not_notice(
        self, fresh_node: NodeFactory, connect: Callable[..., Node]
    ) -> None:
        erlang = fresh_node()
        node = connect(erlang)
        node.ping()
        erlang.restart()
        assert node.call("erlang", "abs", -1, idempotent=True, timeout=30) == 1

    def test_a_call_that_may_not_is_made_once(self, fresh_node: NodeFactory, connect: Callable[..., Node]) -> None:
        erlang = fresh_node()
        load_probe(erlang)
        node = connect(erlang, timeout=30)
        with ThreadPoolExecutor(2) as pool:
            calls = [pool.submit(node.call, PROBE, "block", idempotent=idempotent) for idempotent in (False, True)]
            erlang.evaluate(f"{PROBE}:blocked(2)")
            link = node._connector.link
            assert link is not None
            link.close()
            with pytest.raises(NodeDown):
                calls[0].result(30)
            assert erlang.evaluate(f"{PROBE}:reasons(2)") == "[noconnection,noconnection]"
            # Only the other one is there again.
            erlang.evaluate(f"[exit(Pid, kill) || Pid <- {PROBE}:blocked(1)]")
            with pytest.raises(iris_admin.errors.RemoteError, match="killed"):
                calls[1].result(30)


class TestSeveralAddresses:
    def test_one_that_swallows_packets_does_not_use_up_the_time_of_the_next(
        self, living: ErlangNode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Several addresses of one name, as DNS gives them for a host with IPv6 and IPv4."""
        import socket as socket_module

        with black_hole() as swallowing:
            addresses = [("127.0.0.1", swallowing), ("127.0.0.1", living.port)]
            found = [(socket_module.AF_INET, socket_module.SOCK_STREAM, 6, "", address) for address in addresses]
            monkeypatch.setattr(socket_module, "getaddrinfo", lambda *_, **__: found)
            name = living.name.partition("@")[0]
            with iris_admin.connect(f"{name}@127.0.0.1:{living.port}", cookie=living.cookie, connect_timeout=2) as node:
                assert node.ping() < 5

    def test_a_resolver_that_does_not_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import socket as socket_module

        never = threading.Event()

        def look_up(*_: object, flags: int, **__: object) -> None:
            if not flags & socket_module.AI_NUMERICHOST:
                never.wait(30)
            raise OSError("no address, or too late")

        monkeypatch.setattr(socket_module, "getaddrinfo", look_up)
        start = time.monotonic()
        with pytest.raises(iris_admin.errors.HostNotFound, match="did not answer in time"):
            iris_admin.connect("db1@slow.example.com", cookie="x", connect_timeout=0.3)
        assert time.monotonic() - start < 0.3 + SLACK
        never.set()


class TestNothingIsLeft:
    def test_no_file_and_no_thread(self, scene: Scene) -> None:
        quick = [failure for failure in FAILURES if failure.within == 0.0 and "killed" not in failure.what]
        for failure in quick:
            provoke(failure, scene)
        before = (len(list(Path("/proc/self/fd").iterdir())), threading.active_count())
        with ExitStack() as stack:
            again = Scene(scene._nodes, stack, scene.certificates)
            again._living = scene.living
            for failure in quick:
                provoke(failure, again)
        end = time.monotonic() + 10
        now = before
        while time.monotonic() < end:
            now = (len(list(Path("/proc/self/fd").iterdir())), threading.active_count())
            if now <= before:
                break
            time.sleep(0.01)
        assert now[0] <= before[0]

    def test_a_listener_that_hangs_up_is_left(self) -> None:
        with listener() as port, pytest.raises(HandshakeTimeout):
            iris_admin.connect(f"db1@127.0.0.1:{port}", cookie="x", connect_timeout=0.2)


def test_the_table_can_be_printed(scene: Scene) -> None:
    few = [failure for failure in FAILURES if failure.what in ("wrong cookie", "unknown host")]
    lines = table(few, scene).splitlines()
    assert lines[0].split() == ["case", "error", "seconds"]
    assert lines[-1].startswith("wrong cookie ")
    assert " CookieMismatch " in lines[-1]
