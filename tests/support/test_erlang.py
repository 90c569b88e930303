"""The nodes of the tests behave as the tests believe, and end with them."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.erlang import Epmd, ErlangException, ErlangNode, ErlangNodeError, NodeFactory, free_port

ROOT = Path(__file__).parents[2]


def processes_with(file: str, text: str) -> set[int]:
    """The processes that have this text among the arguments (cmdline) or variables (environ) they started with."""
    found = set()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):  # it may just have ended
            if entry.name.isdigit() and text.encode() in (entry / file).read_bytes().split(b"\0"):
                found.add(int(entry.name))
    return found


def processes_of(home: Path) -> set[int]:
    """A node's process and its helpers, by their home directory."""
    return processes_with("environ", f"HOME={home}")


def assert_end(processes: set[int]) -> None:
    """Wait until all of these have ended."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(process)
            try:
                assert select.select([descriptor], [], [], 10)[0], f"process {process} lives on"
            finally:
                os.close(descriptor)


def is_listening(port: int, address: str = "127.0.0.1") -> bool:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        return probe.connect_ex((address, port)) == 0


class TestEvaluate:
    def test_value_is_what_erlang_prints(self, erlang_node: ErlangNode) -> None:
        assert erlang_node.evaluate("node()") == f"'{erlang_node.name}'"
        assert erlang_node.evaluate('A = 20, {A + 1, #{b => <<255>>}, "Grüße"}.') == '{21,#{b => <<"ÿ">>},"Grüße"}'

    def test_text_of_any_kind_survives_the_way(self, erlang_node: ErlangNode) -> None:
        assert erlang_node.evaluate('% a comment\n"line\n  ü"') == '"line\\n  ü"'
        assert erlang_node.evaluate('unicode:characters_to_list(<<"€"/utf8>>)') == "[8364]"
        assert len(erlang_node.evaluate("lists:duplicate(100000, 1000000)")) == 800_001

    def test_bytes(self, erlang_node: ErlangNode) -> None:
        assert erlang_node.evaluate_bytes("term_to_binary(1)") == b"\x83a\x01"

    def test_exception(self, erlang_node: ErlangNode) -> None:
        with pytest.raises(ErlangException, match=r"^\{error,badarith,\["):
            erlang_node.evaluate("1 div 0")

    def test_what_does_not_parse(self, erlang_node: ErlangNode) -> None:
        with pytest.raises(ErlangException, match="syntax error"):
            erlang_node.evaluate("1 +")

    def test_what_the_code_prints_is_kept_apart(self, erlang_node: ErlangNode) -> None:
        assert erlang_node.evaluate('io:format(user, "printed~n", [])') == "ok"
        assert "printed" in erlang_node.output

    def test_asking_changes_nothing_on_the_node(self, erlang_node: ErlangNode) -> None:
        counts = "{erlang:system_info(atom_count), erlang:system_info(process_count), length(code:all_loaded())}"
        erlang_node.evaluate(counts)
        assert erlang_node.evaluate(counts) == erlang_node.evaluate(counts)


class TestKindsOfNode:
    def test_cookie_comes_from_a_private_file(self, erlang_node: ErlangNode) -> None:
        assert erlang_node.evaluate("erlang:get_cookie()") == f"'{erlang_node.cookie}'"
        assert erlang_node.cookie_file.stat().st_mode & 0o777 == 0o400
        assert erlang_node.cookie not in Path(f"/proc/{erlang_node.process_id}/cmdline").read_text()

    def test_port_is_the_one_that_epmd_knows(self, erlang_node: ErlangNode, erlang_epmd: Epmd) -> None:
        assert erlang_node.epmd_port == erlang_epmd.port
        assert erlang_epmd.names()[erlang_node.name.split("@")[0]] == erlang_node.port
        assert is_listening(erlang_node.port)

    def test_nodes_connect_with_the_same_cookie(self, erlang_node: ErlangNode, fresh_node: NodeFactory) -> None:
        friend = fresh_node(cookie=erlang_node.cookie, hidden=True)
        stranger = fresh_node()
        assert friend.evaluate(f"net_kernel:connect_node('{erlang_node.name}')") == "true"
        assert erlang_node.evaluate("nodes(hidden)") == f"['{friend.name}']"
        assert stranger.evaluate(f"net_kernel:connect_node('{erlang_node.name}')") == "false"

    def test_short_name(self, fresh_node: NodeFactory) -> None:
        assert fresh_node("short@localhost").evaluate("net_kernel:longnames()") == "false"

    def test_ipv6(self, fresh_node: NodeFactory) -> None:
        node = fresh_node("six@::1")
        assert node.evaluate("node()") == "'six@::1'"
        assert is_listening(node.port, "::1")

    def test_without_epmd(self, fresh_node: NodeFactory, erlang_epmd: Epmd) -> None:
        node = fresh_node("alone", epmd="none")
        assert node.epmd_port is None
        assert "alone" not in erlang_epmd.names()
        assert is_listening(node.port)
        assert node.environment["IRIS_ADMIN_NODE"] == f"alone@127.0.0.1:{node.port}"

    def test_net_ticktime(self, fresh_node: NodeFactory) -> None:
        assert fresh_node(net_ticktime=4).evaluate("net_kernel:get_net_ticktime()") == "4"

    def test_mnesia_keeps_its_data_over_a_restart(self, fresh_node: NodeFactory) -> None:
        node = fresh_node(mnesia=True)
        node.evaluate("{atomic, ok} = mnesia:create_table(kept, [{disc_copies, [node()]}])")
        node.restart()
        assert node.evaluate("lists:sort(mnesia:system_info(tables))") == "[kept,schema]"

    def test_flags(self, fresh_node: NodeFactory) -> None:
        assert fresh_node(flags=["+t", "300000"]).evaluate("erlang:system_info(atom_limit)") == "300000"


class TestLife:
    def test_stop_leaves_no_process(self, fresh_node: NodeFactory) -> None:
        node = fresh_node(mnesia=True)
        processes = processes_of(node.home)
        assert node.process_id in processes
        node.stop()
        assert_end(processes)
        assert not is_listening(node.port)

    def test_stop_twice(self, fresh_node: NodeFactory) -> None:
        node = fresh_node()
        node.stop()
        node.stop()
        assert not node.alive

    def test_kill(self, fresh_node: NodeFactory) -> None:
        node = fresh_node()
        processes = processes_of(node.home)
        node.kill()
        assert_end(processes)
        with pytest.raises(ErlangNodeError, match="is not running"):
            node.evaluate("node()")

    def test_suspended_node_listens_and_does_not_answer(self, fresh_node: NodeFactory) -> None:
        node = fresh_node()
        node.suspend()
        assert is_listening(node.port)
        with pytest.raises(ErlangNodeError, match="did not answer"):
            node.evaluate("node()", timeout=0.2)
        node.stop()
        assert not node.alive

    def test_resumed_node_answers(self, fresh_node: NodeFactory) -> None:
        node = fresh_node()
        node.suspend()
        node.resume()
        assert node.evaluate("1 + 1") == "2"

    @pytest.mark.parametrize("epmd", ["shared", "none"])
    def test_restart_keeps_name_and_cookie(self, fresh_node: NodeFactory, epmd: str) -> None:
        node = fresh_node(epmd="shared" if epmd == "shared" else "none")
        before = (node.name, node.process_id, node.evaluate("{node(), erlang:get_cookie()}"))
        node.kill()
        node.restart()
        assert node.process_id != before[1]
        assert node.evaluate("{node(), erlang:get_cookie()}") == before[2]

    def test_node_that_cannot_start_says_why(self, fresh_node: NodeFactory) -> None:
        fresh_node("twin")
        with pytest.raises(ErlangNodeError, match=r"twin@127\.0\.0\.1 seems to be in use"):
            fresh_node("twin")

    def test_epmd_whose_port_is_taken_says_so(self, erlang_epmd: Epmd) -> None:
        with pytest.raises(ErlangNodeError, match="already"):
            Epmd(erlang_epmd.port)

    def test_stopped_epmd_frees_its_port(self) -> None:
        epmd = Epmd(free_port())
        assert is_listening(epmd.port)
        epmd.stop()
        assert not is_listening(epmd.port)

    def test_killed_test_run_leaves_no_process(self, tmp_path: Path) -> None:
        script = f"""
import pathlib
from tests.support.erlang import Epmd, ErlangNode
epmd = Epmd()
node = ErlangNode("orphan@127.0.0.1", pathlib.Path({str(tmp_path)!r}), epmd)
print(epmd.port, flush=True)
input()
"""
        with subprocess.Popen(
            [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as run:
            assert run.stdout is not None
            port = int(run.stdout.readline())
            processes = processes_of(tmp_path) | processes_with("cmdline", str(port))
            assert len(processes) >= 3  # the node, the EPMD, the shell that watches over it
            run.kill()
        assert_end(processes)
