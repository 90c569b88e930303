"""What a command says when it fails, and its exit code; and how it ends when it is told to."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from iris_admin.cookie import Cookie
from iris_admin.transport.diagnosis import LAYERS
from tests.cli.support import SCRIPT, clean_environment, invoke, run, start
from tests.support.erlang import ErlangNode, NodeFactory, free_port


def layers(stderr: str) -> dict[str, str]:
    """The diagnosis: layer to the rest of its line."""
    found = {}
    for line in stderr.splitlines():
        for name in LAYERS:
            if line.startswith(f"  {name} "):
                found[name] = line.removeprefix(f"  {name}").strip()
    return found


class TestConnection:
    def test_unknown_host(self, erlang_node: ErlangNode) -> None:
        result = invoke("ping", "-n", "db1@nowhere.invalid", environment=erlang_node.environment)
        assert result.exit_code == 69
        assert result.stderr.startswith("error: the host 'nowhere.invalid' cannot be resolved")
        assert layers(result.stderr)["name resolution"].startswith("failed")
        assert "getent hosts nowhere.invalid" in result.stderr

    def test_no_epmd(self, erlang_node: ErlangNode) -> None:
        result = invoke("memory", "--epmd-port", str(free_port()), environment=erlang_node.environment)
        assert result.exit_code == 69
        assert layers(result.stderr)["EPMD"].startswith("failed")

    def test_unknown_node(self, erlang_node: ErlangNode) -> None:
        result = invoke("memory", "-n", "unknown@127.0.0.1", environment=erlang_node.environment)
        assert result.exit_code == 69
        found = layers(result.stderr)
        assert list(found) == list(LAYERS)
        assert erlang_node.name.partition("@")[0] in found["EPMD"]
        assert found["registration"].startswith("failed")
        assert found["TCP"] == "not reached"

    def test_node_by_its_port(self, erlang_node: ErlangNode) -> None:
        port = free_port()
        result = invoke("stats", "-n", f"{erlang_node.name}:{port}", environment=erlang_node.environment)
        assert result.exit_code == 69
        found = layers(result.stderr)
        assert found["EPMD"].startswith("not needed")
        assert found["TCP"].startswith("failed")
        assert f":{port}: connection refused" in found["TCP"]

    def test_wrong_cookie(self, erlang_node: ErlangNode) -> None:
        environment = erlang_node.environment | {"IRIS_ADMIN_COOKIE": "wrong"}
        result = invoke("ping", environment=environment)
        assert result.exit_code == 77
        found = layers(result.stderr)["cookie"]
        assert found.startswith("failed")
        assert f"the variable IRIS_ADMIN_COOKIE and has the hash {Cookie('wrong', '').fingerprint}" in found
        assert "wrong" not in result.stderr
        assert erlang_node.cookie not in result.stderr

    def test_suspended_node(self, fresh_node: NodeFactory) -> None:
        node = fresh_node()
        node.suspend()
        result = invoke("ping", "--timeout", "0.3", environment=node.environment)
        assert result.exit_code == 69
        assert layers(result.stderr)["handshake"].startswith("failed")

    def test_no_distribution_port(self, erlang_node: ErlangNode) -> None:
        # EPMD itself listens there, and makes nothing of a handshake.
        name = f"{erlang_node.name}:{erlang_node.epmd_port}"
        result = invoke("ping", "-n", name, environment=erlang_node.environment)
        assert result.exit_code == 69
        assert layers(result.stderr)["handshake"].startswith("failed")

    def test_node_that_dies_during_a_call(self, fresh_node: NodeFactory) -> None:
        node = fresh_node()
        result = invoke("eval", "erlang:halt()", environment=node.environment)
        assert result.exit_code == 69
        assert f"error: {node.name} closed the connection" in result.stderr
        assert "failed" in str(layers(result.stderr))


class TestCalls:
    def test_error_in_the_called_function(self, erlang_node: ErlangNode) -> None:
        result = invoke("rpc", "lists", "nth", "0", "[]", environment=erlang_node.environment)
        assert result.exit_code == 70
        assert result.stdout == ""
        assert result.stderr == f"error: lists:nth/2 on {erlang_node.name} failed with function_clause\n"

    def test_verbose_shows_both_stacks(self, erlang_node: ErlangNode) -> None:
        result = invoke("rpc", "lists", "nth", "0", "[]", "-v", environment=erlang_node.environment)
        assert result.exit_code == 70
        assert "Traceback (most recent call last):" in result.stderr
        assert f"stack trace on {erlang_node.name}:\n  in lists:nth/2 (lists.erl, line " in result.stderr

    def test_undefined_function(self, erlang_node: ErlangNode) -> None:
        result = invoke("rpc", "lists", "nth", environment=erlang_node.environment)
        assert result.exit_code == 70
        assert "hint: The node has no lists:nth/0" in result.stderr

    @pytest.mark.parametrize(
        "words",
        [
            *(["rpc", "lists", "nth", "{"], ["eval", "1 +"], ["eval", ""]),
            *(["rpc", "", "nth"], ["rpc", "lists", "n" * 256], ["rpc", "lists", "nth", "a" * 256]),
        ],
    )
    def test_syntax(self, erlang_node: ErlangNode, words: list[str]) -> None:
        result = invoke(*words, environment=erlang_node.environment)
        assert result.exit_code == 65
        assert result.stderr.startswith("error: ")

    @pytest.mark.parametrize(
        "words",
        [
            ["rpc", "no_such_module_of_ours", "f"],
            ["rpc", "lists", "no_such_function_of_ours"],
            ["rpc", "lists", "append", "[[no_such_atom_of_ours]]"],
            ["eval", "[no_such_atom_of_ours]"],
        ],
    )
    def test_misspelt_atom_is_not_made(self, erlang_node: ErlangNode, words: list[str]) -> None:
        count = "erlang:system_info(atom_count)"
        invoke(*words, environment=erlang_node.environment)  # the name of the connection may be a new atom
        before = erlang_node.evaluate(count)
        result = invoke(*words, environment=erlang_node.environment)
        assert result.exit_code == 65
        assert "does not know the atom no_such_" in result.stderr
        assert erlang_node.evaluate(count) == before

    def test_timeout_kills_the_remote_work(self, erlang_node: ErlangNode, remote_work: Callable[[], str]) -> None:
        result = invoke("--timeout", "0.3", "rpc", "timer", "sleep", "60000", environment=erlang_node.environment)
        assert result.exit_code == 75
        assert remote_work() == "0"

    def test_text_of_a_node_does_not_reach_the_terminal_raw(self, erlang_node: ErlangNode) -> None:
        result = invoke("eval", r'error(<<"\e[2J">>)', environment=erlang_node.environment)
        assert "\x1b" not in result.stderr
        result = invoke(
            "eval", r'io:put_chars("a\e[2J\tb\n"), list_to_binary("\e[2J")', environment=erlang_node.environment
        )
        assert result.stdout == 'a\\e[2J\tb\n<<"\\e[2J">>\n'

    def test_our_own_mistake(self, erlang_node: ErlangNode, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("iris_admin.client.Node.ping", lambda _self: 1 / 0)
        result = invoke("ping", environment=erlang_node.environment)
        assert result.exit_code == 70
        assert "error: internal error: ZeroDivisionError" in result.stderr
        assert "Traceback" not in result.stderr
        assert "Traceback" in invoke("ping", "-v", environment=erlang_node.environment).stderr


@pytest.fixture
def remote_work(erlang_node: ErlangNode) -> Callable[[], str]:
    """How many processes sleep in ``timer:sleep/1`` on the node; answers once there is none, or after a while."""

    def count() -> str:
        # A process that is told to die dies a moment later.
        return erlang_node.evaluate(
            "Count = fun() -> length([P || P <- processes(), "
            "{current_function, {timer, sleep, 1}} <- [process_info(P, current_function)]]) end, "
            "Wait = fun Wait(0) -> Count(); Wait(N) -> "
            "case Count() of 0 -> 0; _ -> receive after 50 -> Wait(N - 1) end end end, Wait(100)"
        )

    return count


def wait_for_sleeper(node: ErlangNode) -> None:
    """Wait until a process sleeps on the node."""
    found = node.evaluate(
        "Wait = fun Wait(0) -> none; Wait(N) -> case [P || P <- processes(), "
        "{current_function, {timer, sleep, 1}} <- [process_info(P, current_function)]] of "
        "[] -> receive after 20 -> Wait(N - 1) end; _ -> found end end, Wait(500)"
    )
    assert found == "found"


class TestSignals:
    @pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    @pytest.mark.parametrize("words", [["rpc", "timer", "sleep", "60000"], ["eval", "timer:sleep(60000)"]])
    def test_remote_work_is_killed(
        self,
        erlang_node: ErlangNode,
        remote_work: Callable[[], str],
        words: list[str],
        number: signal.Signals,
        exit_code: int,
    ) -> None:
        with start(*words, "--timeout", "60", environment=erlang_node.environment) as process:
            wait_for_sleeper(erlang_node)
            process.send_signal(number)
            output, errors = process.communicate(timeout=20)
        assert (process.returncode, output, errors) == (exit_code, "", "")
        assert remote_work() == "0"

    def test_while_connecting(self, fresh_node: NodeFactory) -> None:
        """Also where threads connect to the nodes of a cluster."""
        node, other = fresh_node(), fresh_node()
        node.evaluate(f"erlang:set_cookie('{other.name}', '{other.cookie}'), pong = net_adm:ping('{other.name}')")
        other.suspend()
        started = time.monotonic()
        with start("memory", "--all", "--timeout", "30", environment=node.environment) as process:
            # The second node was joined by the command when the first one knows the name that it gave.
            joined = node.evaluate(
                "Wait = fun Wait(0) -> none; Wait(N) -> case nodes(hidden) of "
                "[] -> receive after 20 -> Wait(N - 1) end; _ -> found end end, Wait(500)"
            )
            assert joined == "found"
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=20)
        assert process.returncode == 130
        assert time.monotonic() - started < 15
        other.resume()


class TestOutput:
    def test_broken_pipe_is_quiet(self, erlang_node: ErlangNode) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        process = subprocess.run(
            [SCRIPT, "eval", "lists:seq(1, 100000)"],
            stdout=writer,
            stderr=subprocess.PIPE,
            env=clean_environment(erlang_node.environment),
            check=False,
        )
        os.close(writer)
        assert (process.returncode, process.stderr) == (141, b"")

    def test_full_disk(self, erlang_node: ErlangNode) -> None:
        with Path("/dev/full").open("w") as full:
            process = subprocess.run(
                [SCRIPT, "ping"],
                stdout=full,
                stderr=subprocess.PIPE,
                env=clean_environment(erlang_node.environment),
                check=False,
            )
        assert process.returncode == 74
        assert process.stderr == b"error: the output cannot be written: no space left on device\n"

    def test_nothing_to_write_to(self, erlang_node: ErlangNode) -> None:
        process = subprocess.run(
            ["sh", "-c", f"'{SCRIPT}' ping >&-"],
            stderr=subprocess.PIPE,
            env=clean_environment(erlang_node.environment),
            check=False,
        )
        assert process.returncode == 74
        assert b"the output cannot be written" in process.stderr

    def test_errors_nowhere(self, erlang_node: ErlangNode) -> None:
        process = subprocess.run(
            ["sh", "-c", f"'{SCRIPT}' rpc lists nth 2>&-"],
            env=clean_environment(erlang_node.environment),
            check=False,
        )
        assert process.returncode == 70

    @pytest.mark.parametrize(("output_format", "shown"), [("table", r"\xfc"), ("json", r"\u00fc")])
    def test_terminal_without_unicode(self, erlang_node: ErlangNode, output_format: str, shown: str) -> None:
        environment = erlang_node.environment | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
        exit_code, output, errors = run("eval", '<<"gr\\x{fc}n"/utf8>>', "-o", output_format, environment=environment)
        assert (exit_code, errors) == (0, "")
        assert shown in output
