"""How calls and connections end: cancelled, timed out, interrupted, closed, forgotten, forked."""

from __future__ import annotations

import concurrent.futures
import contextlib
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

import pytest

from iris_admin.client import Node
from iris_admin.errors import CallTimeout, ForkedProcess, IrisAdminError, NodeDown
from iris_admin.terms import Atom
from tests.integration.conftest import Footprint, join
from tests.support.erlang import ErlangNode

ROOT = Path(__file__).parents[2]
PROBE = "iris_admin_test_probe"


def blocked(erlang: ErlangNode, count: int = 1) -> None:
    """Wait until so many calls run on the node."""
    erlang.evaluate(f"{PROBE}:blocked({count})")


def reasons(erlang: ErlangNode, count: int = 1) -> str:
    """Wait until so many calls have ended on the node; why."""
    return erlang.evaluate(f"{PROBE}:reasons({count})")


def gone(erlang: ErlangNode, name: str | None) -> None:
    """Wait until the node has noticed that we left."""
    assert erlang.evaluate(f"{PROBE}:gone('{name}')") == "ok"


def in_thread(function: Callable[[], Any]) -> Future[Any]:
    """Run something in a thread of its own; the thread does not outlive the test run."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


class TestCancel:
    def test_it_kills_the_process(self, node: Node, probed_node: ErlangNode) -> None:
        future = node.submit(PROBE, "block")
        blocked(probed_node)
        assert future.cancel()
        assert reasons(probed_node) == "[killed]"
        assert future.cancelled()
        with pytest.raises(CancelledError):
            future.result(0)
        assert node.call("erlang", "abs", -1) == 1

    def test_at_work(self, node: Node, probed_node: ErlangNode) -> None:
        future = node.submit(PROBE, "spin")
        blocked(probed_node)
        future.cancel()
        assert reasons(probed_node) == "[killed]"

    def test_one_that_ignores_exits(self, node: Node, probed_node: ErlangNode) -> None:
        future = node.submit(PROBE, "trap", 60_000)
        blocked(probed_node)
        future.cancel()
        assert reasons(probed_node) == "[killed]"

    def test_right_after_it_was_sent(self, node: Node, footprint: Callable[[], Footprint]) -> None:
        node.call("timer", "sleep", 0)
        before = footprint()
        futures = [node.submit("timer", "sleep", 60_000) for _ in range(200)]
        assert all(future.cancel() for future in futures)
        before.assert_unchanged()

    def test_twice(self, node: Node, probed_node: ErlangNode) -> None:
        future = node.submit(PROBE, "block")
        blocked(probed_node)
        assert future.cancel()
        assert future.cancel()
        assert reasons(probed_node) == "[killed]"

    def test_too_late(self, node: Node) -> None:
        future = node.submit("erlang", "abs", -1)
        assert future.result(10) == 1
        assert not future.cancel()
        assert future.result() == 1

    def test_whoever_waits_for_it_is_told(self, node: Node, probed_node: ErlangNode) -> None:
        future = node.submit(PROBE, "block")
        told = threading.Event()
        future.add_done_callback(lambda _: told.set())
        waiting = in_thread(lambda: concurrent.futures.wait([future], 20))
        completed = in_thread(lambda: list(concurrent.futures.as_completed([future], 20)))
        blocked(probed_node)
        assert future.cancel()
        assert told.wait(10)
        assert waiting.result(10).done == {future}
        assert completed.result(10) == [future]
        assert concurrent.futures.wait([future], 0).done == {future}
        reasons(probed_node)

    def test_while_answers_arrive(self, node: Node) -> None:
        """Whatever happens first, each future ends in one way, and the connection goes on."""
        for _ in range(20):
            futures = [node.submit("erlang", "abs", -number) for number in range(50)]
            cancelled = [future.cancel() for future in futures]
            done = concurrent.futures.wait(futures, 10)
            assert not done.not_done
            assert [future.cancelled() for future in futures] == cancelled
            assert [future.result() for future in futures if not future.cancelled()] == [
                number for number, gone in enumerate(cancelled) if not gone
            ]
        assert node.call("erlang", "abs", -1) == 1


class TestTimeOut:
    def test_a_call(self, node: Node, probed_node: ErlangNode) -> None:
        start = time.monotonic()
        with pytest.raises(CallTimeout, match=f"{PROBE}:block/0 on {node.name} did not answer within 0.2 s") as caught:
            node.call(PROBE, "block", timeout=0.2)
        assert 0.2 <= time.monotonic() - start < 5
        error = caught.value
        assert isinstance(error, TimeoutError)
        assert (error.node, error.timeout, error.exit_code) == (node.name, 0.2, 75)
        assert error.hint is not None
        assert reasons(probed_node) == "[killed]"

    def test_a_future(self, node: Node, probed_node: ErlangNode) -> None:
        start = time.monotonic()
        late = node.submit(PROBE, "block", timeout=0.4)
        early = node.submit(PROBE, "block", timeout=0.1)
        with pytest.raises(CallTimeout, match=r"within 0\.1 s"):
            early.result(10)
        assert not late.done()
        with pytest.raises(CallTimeout, match=r"within 0\.4 s"):
            late.result(10)
        assert 0.4 <= time.monotonic() - start < 5
        assert reasons(probed_node, 2) == "[killed,killed]"

    def test_by_default_that_of_the_node(self, probed_node: ErlangNode, connect: Callable[..., Node]) -> None:
        node = connect(probed_node, timeout=0.1)
        with pytest.raises(CallTimeout, match=r"within 0\.1 s"):
            node.call(PROBE, "block")
        with pytest.raises(CallTimeout, match=r"within 0\.1 s"):
            node.submit(PROBE, "block").result(10)
        reasons(probed_node, 2)

    def test_none_at_all(self, node: Node) -> None:
        assert node.call("erlang", "abs", -1, timeout=float("inf")) == 1
        assert node.submit("erlang", "abs", -1, timeout=float("inf")).result(10) == 1
        assert node.call("timer", "sleep", 50, timeout=1e10) == Atom("ok")

    def test_no_time(self, node: Node) -> None:
        for timeout in (0, -1):
            with pytest.raises(CallTimeout):
                node.call("timer", "sleep", 60_000, timeout=timeout)
            with pytest.raises(CallTimeout):
                node.submit("timer", "sleep", 60_000, timeout=timeout).result(10)
        assert node.call("erlang", "abs", -1) == 1

    def test_as_answers_arrive(self, node: Node) -> None:
        """Time-outs and answers that meet do no harm to each other."""
        for _ in range(40):
            futures = [node.submit("timer", "sleep", 5, timeout=0.0045 + number / 20_000) for number in range(30)]
            waited = concurrent.futures.wait(futures, 10)
            assert not waited.not_done
            assert {type(future.exception()) for future in futures} <= {CallTimeout, type(None)}
        assert node.call("erlang", "abs", -1) == 1

    def test_an_answer_just_before_the_deadline_is_handled(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        """The I/O thread finds a deadline passed, and the answer is delivered before it acts upon that."""
        link = node._connector.link
        assert link is not None
        future = node.submit("erlang", "abs", -1, timeout=60)
        assert future.result(10) == 1
        ended = node.submit("timer", "sleep", 60_000, timeout=0.05)
        cancel = type(link).cancel

        def cancel_late(self: Any, call_id: int) -> Any:
            # What a thread that reads the socket at this moment would do.
            waiter = self._waiters.pop(call_id)
            waiter.ended(NodeDown("in the meantime"))
            return cancel(self, call_id)

        monkeypatch.setattr(type(link), "cancel", cancel_late)
        with pytest.raises(NodeDown, match="in the meantime"):
            ended.result(10)
        monkeypatch.undo()
        # The I/O thread lives on.
        with pytest.raises(CallTimeout):
            node.submit("timer", "sleep", 60_000, timeout=0.05).result(10)


class Child:
    """A Python process that has ``node``, a connection to the shared node, and runs some code."""

    def __init__(self, erlang: ErlangNode, code: str) -> None:
        head = (
            "import iris_admin, signal, sys, threading, time\n"
            "from iris_admin.errors import *\n"
            "def say(*words): print(*words, flush=True)\n"
            "node = iris_admin.connect(sys.argv[1], cookie=sys.argv[2], epmd_port=int(sys.argv[3]))\n"
        )
        self._child = subprocess.Popen(
            [sys.executable, "-c", head + textwrap.dedent(code), erlang.name, erlang.cookie, str(erlang.epmd_port)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._child.kill()
        self._child.communicate()

    def interrupt(self) -> None:
        """What Ctrl-C does, when its main thread has come to rest."""
        at_rest = 0
        while at_rest < 3:
            state = Path(f"/proc/{self._child.pid}/stat").read_text().rpartition(")")[2].split()[0]
            at_rest = at_rest + 1 if state == "S" else 0
            time.sleep(0.01)
        self._child.send_signal(signal.SIGINT)

    def line(self) -> str:
        """What it says next."""
        assert self._child.stdout is not None
        return str(in_thread(self._child.stdout.readline).result(60)).rstrip("\n")

    def end(self, timeout: float = 60) -> tuple[int, str, str]:
        """Wait for its end: exit status, output, errors."""
        output, errors = self._child.communicate(timeout=timeout)
        return self._child.returncode, output, errors


class TestInterrupt:
    def test_it_kills_the_process(self, probed_node: ErlangNode) -> None:
        with Child(probed_node, f"node.call('{PROBE}', 'block')") as child:
            blocked(probed_node)
            child.interrupt()
            status, output, errors = child.end()
            assert status == -signal.SIGINT
            assert output == ""
            assert errors.rstrip().endswith("KeyboardInterrupt")
        assert reasons(probed_node) == "[killed]"

    def test_the_connection_goes_on(self, probed_node: ErlangNode) -> None:
        code = f"""
            name = node.our_name
            for _ in range(2):
                try:
                    node.call("{PROBE}", "block")
                except KeyboardInterrupt:
                    say("interrupted", node.call("erlang", "abs", -1), node.our_name == name)
            """
        with Child(probed_node, code) as child:
            for _ in range(2):
                blocked(probed_node)
                child.interrupt()
                assert child.line() == "interrupted 1 True"
                assert reasons(probed_node) == "[killed]"
            assert child.end() == (0, "", "")

    def test_while_another_thread_reads(self, probed_node: ErlangNode) -> None:
        code = f"""
            other = threading.Thread(target=lambda: say("other", node.call("{PROBE}", "hold", 7)))
            other.start()
            say("ready")
            try:
                node.call("{PROBE}", "block")
            except KeyboardInterrupt:
                say("interrupted", node.call("erlang", "abs", -1))
            """
        with Child(probed_node, code) as child:
            assert child.line() == "ready"
            blocked(probed_node, 2)
            child.interrupt()
            assert child.line() == "interrupted 1"
            assert reasons(probed_node) == "[killed]"
            probed_node.evaluate(f"[Pid ! go_on || Pid <- {PROBE}:blocked(1)]")
            assert child.line() == "other 7"
            assert child.end() == (0, "", "")
        reasons(probed_node)

    def test_several_calls_of_a_cluster(self, probed_node: ErlangNode) -> None:
        code = f"""
            from iris_admin.cluster import Cluster
            cluster = Cluster(node)
            try:
                cluster.call("{PROBE}", "block", nodes=(node.name,), timeout=60)
            except KeyboardInterrupt:
                say("interrupted")
            sys.stdin.read()
            """
        with Child(probed_node, code) as child:
            blocked(probed_node)
            child.interrupt()
            assert child.line() == "interrupted"
            assert reasons(probed_node) == "[killed]"

    def test_at_any_moment(self, probed_node: ErlangNode) -> None:
        """Hundreds of interruptions, anywhere in calls: nothing hangs, and the next call works."""
        code = """
            import random
            random.seed(4)
            def on_alarm(*_): raise KeyboardInterrupt
            signal.signal(signal.SIGALRM, on_alarm)
            # What is loaded when it is needed first is loaded now: an interruption at a bad moment of an import leaves
            # Python's own lock for imports taken, and then every import of every other thread waits for ever.
            for _ in range(2):
                node.call("erlang", "abs", -1)
            node.submit("erlang", "abs", -1).result()
            failures, rounds, stop = [], [0], False
            def others():  # what other threads do is not disturbed, but for a connection that had to be given up
                while not stop:
                    start = time.monotonic()
                    try:
                        node.call("erlang", "abs", -1, timeout=20)
                        node.submit("erlang", "abs", -2, timeout=20).result(20)
                    except NodeDown:
                        pass
                    except BaseException as error:
                        failures.append(error)
                    if time.monotonic() - start > 10:
                        failures.append("slow")
                    rounds[0] += 1
            thread = threading.Thread(target=others)
            thread.start()
            interruptions = 0
            for number in range(400):
                try:
                    signal.setitimer(signal.ITIMER_REAL, random.uniform(0.00001, 0.002))
                    while True:
                        node.call("erlang", "abs", -3, timeout=20)
                except KeyboardInterrupt:
                    interruptions += 1
                signal.setitimer(signal.ITIMER_REAL, 0)
                for attempt in (1, 2):
                    try:
                        assert node.call("erlang", "abs", -number, timeout=20) == number
                        break
                    except NodeDown:
                        if attempt == 2: raise
            stop = True
            thread.join(30)
            say(interruptions, failures, rounds[0] > 50, thread.is_alive())
            """
        with Child(probed_node, code) as child:
            status, output, errors = child.end()
        assert errors == ""
        assert status == 0
        assert output == "400 [] True False\n"


class TestCallbacks:
    """Functions that a future calls run in the I/O thread, or in that of a caller who happens to read."""

    def test_a_call_in_one_is_refused_before_it_is_sent(self, node: Node, probed_node: ErlangNode) -> None:
        before = probed_node.evaluate(f"{PROBE}:counted()")
        outcome: Future[Any] = Future()

        def call_again(_: Future[Any]) -> None:
            try:
                outcome.set_result(node.call(PROBE, "count"))
            except BaseException as error:
                outcome.set_exception(error)

        held = node.submit(PROBE, "hold", 1)
        held.add_done_callback(call_again)
        probed_node.evaluate(f"[Pid ! go_on || Pid <- {PROBE}:blocked(1)]")
        with pytest.raises(RuntimeError, match=r"use submit\(\) there"):
            outcome.result(10)
        reasons(probed_node)
        assert node.call("erlang", "abs", -1) == 1
        assert probed_node.evaluate(f"{PROBE}:counted()") == before

    def test_a_call_in_one_that_runs_in_a_callers_thread(self, node: Node, probed_node: ErlangNode) -> None:
        outcome: Future[Any] = Future()

        def call_again(_: Future[Any]) -> None:
            try:
                outcome.set_result(node.call("erlang", "abs", -1))
            except BaseException as error:
                outcome.set_exception(error)

        held = node.submit(PROBE, "hold", 1)
        held.add_done_callback(call_again)
        reader = in_thread(lambda: node.call(PROBE, "hold", 2))
        blocked(probed_node, 2)
        probed_node.evaluate(f"[Pid ! go_on || Pid <- {PROBE}:blocked(2)]")
        with pytest.raises(RuntimeError, match=r"use submit\(\) there"):
            outcome.result(10)
        assert reader.result(10) == 2
        reasons(probed_node, 2)

    def test_submitting_in_one(self, node: Node) -> None:
        second: Future[Any] = Future()
        first = node.submit("erlang", "abs", -1)
        first.add_done_callback(
            lambda future: node.submit("erlang", "abs", -1 - future.result()).add_done_callback(
                lambda future: second.set_result(future.result())
            )
        )
        assert second.result(10) == 2

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    @pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
    def test_one_that_fails_harms_nobody(self, node: Node, probed_node: ErlangNode, error: type[BaseException]) -> None:
        def fail(_: Future[Any]) -> None:
            raise error("from a callback")

        future = node.submit(PROBE, "hold", 1)
        other = node.submit(PROBE, "hold", 2)
        future.add_done_callback(fail)
        probed_node.evaluate(f"[Pid ! go_on || Pid <- lists:sort({PROBE}:blocked(2))]")
        assert future.result(10) == 1
        assert other.result(10) == 2
        reasons(probed_node, 2)
        assert node.submit("erlang", "abs", -1).result(10) == 1
        with pytest.raises(CallTimeout):
            node.submit("timer", "sleep", 60_000, timeout=0.05).result(10)


class TestClose:
    def test_calls_that_wait(self, probed_node: ErlangNode) -> None:
        node = join(probed_node)
        link = node._connector.link
        assert link is not None
        name = node.our_name
        future = node.submit(PROBE, "block")
        caller = in_thread(lambda: node.call(PROBE, "block"))
        blocked(probed_node, 2)
        node.close()
        for waiting in (future, caller):
            with pytest.raises(NodeDown, match="was disconnected from here") as caught:
                waiting.result(10)
            assert caught.value.node == node.name
        assert reasons(probed_node, 2) == "[noconnection,noconnection]"
        gone(probed_node, name)
        # Not before the reading thread has let go of it: the number may serve another connection at once.
        assert link.socket.fileno() == -1

    def test_afterwards(self, probed_node: ErlangNode) -> None:
        node = join(probed_node)
        assert node.is_connected
        assert f"{node.name}: connected" in repr(node)
        node.close()
        node.close()
        assert not node.is_connected
        assert node.our_name is None
        assert "not connected" in repr(node)
        for use in (lambda: node.call("erlang", "abs", -1), lambda: node.submit("erlang", "abs", -1), node.reconnect):
            with pytest.raises(IrisAdminError, match="was closed here"):
                use()

    def test_context_manager(self, probed_node: ErlangNode) -> None:
        with join(probed_node) as node:
            name = node.our_name
            assert node.ping() < 5
        assert not node.is_connected
        gone(probed_node, name)

    def test_while_it_connects(self, fresh_node: Any) -> None:
        """Whoever closes a node does not find it connected later."""
        erlang = fresh_node()
        node = join(erlang, connect_timeout=20)
        link = node._connector.link
        assert link is not None
        link.close()
        erlang.suspend()
        calling = in_thread(lambda: node.call("erlang", "abs", -1))
        while node._connector._attempt is None or node._connector._attempt.over.is_set():
            time.sleep(0.001)
        node.close()
        erlang.resume()
        with pytest.raises(IrisAdminError, match="was closed here"):
            calling.result(20)
        assert not node.is_connected
        assert erlang.evaluate(_NO_HIDDEN_NODE) == "ok"


#: Wait until nobody is connected.
_NO_HIDDEN_NODE = "(fun Wait() -> case nodes(hidden) of [] -> ok; _ -> timer:sleep(5), Wait() end end)()"


class TestGarbage:
    def test_a_node_that_nobody_has_any_more(self, probed_node: ErlangNode) -> None:
        node = join(probed_node)
        name = node.our_name
        reference = weakref.ref(node)
        del node
        gc.collect()
        assert reference() is None
        gone(probed_node, name)

    def test_futures_live_on_without_it(self, probed_node: ErlangNode) -> None:
        node = join(probed_node)
        future = node.submit("erlang", "abs", -1)
        assert future.result(10) == 1
        future = node.submit(PROBE, "block")
        blocked(probed_node)
        del node
        gc.collect()
        with pytest.raises(NodeDown):
            future.result(10)
        assert reasons(probed_node) == "[noconnection]"

    def test_it_may_be_collected_at_any_moment(self, probed_node: ErlangNode) -> None:
        """The collector runs wherever memory is taken, so also in the midst of what needs the connection's locks."""
        node = join(probed_node)
        name = node.our_name
        link = node._connector.link
        assert link is not None
        node.__dict__["myself"] = node  # a cycle, which only the collector finds
        reference = weakref.ref(node)

        def collect() -> None:
            with link._lock, link._io._lock:
                gc.collect()

        del node
        in_thread(collect).result(10)
        assert reference() is None
        gone(probed_node, name)


class TestFork:
    @staticmethod
    def in_child(function: Callable[[], Any]) -> str:
        """Run something in a fork; what it returns or raises, as text."""
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                try:
                    text = repr(function())
                except BaseException as error:
                    text = f"{type(error).__name__}: {error}"
                os.write(write, text.encode())
            finally:
                os._exit(0)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            try:
                done = in_thread(pipe.read).result(15)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
        return str(done.decode())

    def test_the_connection_stays_with_the_parent(self, node: Node, probed_node: ErlangNode) -> None:
        name = node.our_name
        outcome = self.in_child(lambda: node.call("erlang", "abs", -1))
        assert outcome.startswith("ForkedProcess: ")
        assert node.name in outcome
        assert self.in_child(lambda: node.submit("erlang", "abs", -1)).startswith("ForkedProcess: ")
        # The I/O thread of the parent still looks after it.
        assert node.submit("erlang", "abs", -1).result(10) == 1
        assert node.call("erlang", "abs", -1) == 1
        assert node.our_name == name

    def test_closing_it_in_the_child_is_no_business_of_the_parent(self, node: Node) -> None:
        name = node.our_name
        assert self.in_child(node.close) == "None"
        assert node.call("erlang", "abs", -1) == 1
        assert node.our_name == name

    def test_closing_it_in_the_child_when_the_fork_came_at_a_bad_moment(self, node: Node) -> None:
        link = node._connector.link
        assert link is not None
        with link._lock, link._io._lock:
            # In the child nobody will ever release them.
            assert self.in_child(node.close) == "None"
            assert self.in_child(lambda: node.call("erlang", "abs", -1)).startswith("ForkedProcess: ")
        assert node.call("erlang", "abs", -1) == 1

    def test_the_child_connects_anew(self, node: Node, probed_node: ErlangNode) -> None:
        def connect_and_call() -> Any:
            with join(probed_node) as own:
                return own.call("erlang", "abs", -5), own.submit("erlang", "abs", -6).result(10)

        assert self.in_child(connect_and_call) == "(5, 6)"
        assert node.call("erlang", "abs", -1) == 1

    def test_error(self, node: Node) -> None:
        node_link = node._connector.link
        assert node_link is not None
        outcome = self.in_child(lambda: _fields_of_error(lambda: node.call("erlang", "abs", -1)))
        assert outcome == repr((node.name, "Connect anew in the child.", 70, ForkedProcess.__name__))


def _fields_of_error(function: Callable[[], Any]) -> tuple[str | None, str | None, int, str]:
    try:
        function()
    except IrisAdminError as error:
        return error.node, error.hint, error.exit_code, type(error).__name__
    raise AssertionError("no error")
