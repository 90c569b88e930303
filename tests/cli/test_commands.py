"""Each command on the demo cluster, in the formats that it has."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from demo_cluster import DemoCluster

from tests.cli.support import SCRIPT, clean_environment, invoke, run
from tests.support.demo import LogIn
from tests.support.erlang import Epmd, ErlangNode, NodeFactory

Run = Callable[..., Result]


def document(result: Result) -> Any:
    return json.loads(result.stdout)


def lines(result: Result) -> list[Any]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def csv_rows(result: Result) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(result.stdout)))


class TestPing:
    def test_table(self, on_demo: Run, demo_cluster: DemoCluster) -> None:
        assert on_demo("ping").stdout.startswith(f"{demo_cluster.seed} answers, in ")

    def test_json(self, on_demo: Run, demo_cluster: DemoCluster) -> None:
        answer = document(on_demo("ping", "-o", "json"))
        assert set(answer) == {"node", "our_name", "seconds"}
        assert answer["node"] == demo_cluster.seed
        assert 0 < answer["seconds"] < 10

    def test_by_short_name_and_without_epmd(self, fresh_node: NodeFactory) -> None:
        node = fresh_node(epmd="none")
        assert invoke("ping", environment=node.environment).stdout.startswith(node.name)


class TestNodes:
    def test_of_the_node(self, on_demo: Run, demo_cluster: DemoCluster) -> None:
        found = document(on_demo("nodes", "-o", "json"))
        assert [(row["node"], row["role"], row["answers"]) for row in found] == [
            (node.name, node.role, True) for node in demo_cluster.nodes
        ]
        assert set(found[0]) == {
            *("host", "node", "port", "answers", "role", "otp_release"),
            *("iris_version", "uptime", "hidden", "problem"),
        }

    def test_of_hosts(self, on_demo: Run, demo_cluster: DemoCluster) -> None:
        result = on_demo("nodes", "localhost", "127.0.0.1")
        assert result.stdout.split()[:6] == ["HOST", "NODE", "PORT", "ANSWERS", "ROLE", "OTP"]
        assert len(result.stdout.splitlines()) == 1 + 2 * len(demo_cluster.nodes)

    def test_needs_neither_node_nor_cookie(self, demo_cluster: DemoCluster, tmp_path: Path) -> None:
        environment = {"HOME": str(tmp_path), "ERL_EPMD_PORT": str(demo_cluster.epmd_port)}
        result = invoke("nodes", "localhost", "-o", "jsonl", environment=environment)
        assert result.exit_code == 0
        assert [row["node"] for row in lines(result)] == [node.name for node in demo_cluster.nodes]

    def test_one_that_does_not_answer(self, fresh_node: NodeFactory) -> None:
        epmd = Epmd()
        node, other = fresh_node(epmd=epmd), fresh_node(epmd=epmd)
        other.suspend()
        result = invoke("nodes", "-o", "csv", "--timeout", "0.5", environment=node.environment)
        assert result.exit_code == 69
        rows = {row["node"]: row for row in csv_rows(result)}
        assert rows[node.name]["answers"] == "true"
        assert rows[other.name]["answers"] == "false"
        assert "did not finish the handshake" in rows[other.name]["problem"]
        other.stop()
        epmd.stop()


class TestMemory:
    def test_table(self, on_demo: Run, demo_cluster: DemoCluster) -> None:
        name, *kinds = on_demo("memory").stdout.splitlines()
        assert name == demo_cluster.seed
        assert kinds[0].split()[::3] == ["total", kinds[0].split()[-1]]
        assert "MiB" in kinds[0]

    def test_json(self, on_demo: Run, demo_cluster: DemoCluster) -> None:
        found = document(on_demo("memory", "-o", "json"))
        assert list(found) == [
            *("node", "total", "processes", "processes_used", "system", "atom", "atom_used", "binary", "code", "ets")
        ]
        assert found["total"] == found["processes"] + found["system"]

    def test_all(self, on_demo: Run, demo_cluster: DemoCluster) -> None:
        rows = csv_rows(on_demo("memory", "--all", "-o", "csv"))
        assert [row["node"] for row in rows] == [node.name for node in demo_cluster.nodes]
        assert all(int(row["total"]) > 0 for row in rows)
        header = on_demo("memory", "--all").stdout.splitlines()[0]
        assert header.split() == [node.name for node in demo_cluster.nodes]


class TestStats:
    def test_table(self, on_demo: Run, demo_cluster: DemoCluster) -> None:
        figures, _, links = on_demo("stats").stdout.partition("\n\n")
        shown = dict(line.split("  ", 1) for line in figures.splitlines())
        assert shown["role"].strip() == "core"
        limit = demo_cluster.cores[0].evaluate("erlang:system_info(process_limit).")
        assert shown["processes"].strip().endswith(f"of {limit}")
        assert links.split()[:4] == ["NODE", "HIDDEN", "BUSY", "QUEUE"]

    def test_json(self, on_demo: Run, demo_cluster: DemoCluster) -> None:
        found = document(on_demo("stats", "-o", "json", "-n", demo_cluster.edges[0].name))
        assert found["role"] == "edge"
        assert found["atoms"] < found["atom_limit"]

    def test_all_with_a_node_that_does_not_answer(self, fresh_node: NodeFactory) -> None:
        node, other = fresh_node(), fresh_node()
        node.evaluate(f"erlang:set_cookie('{other.name}', '{other.cookie}'), pong = net_adm:ping('{other.name}')")
        other.suspend()
        result = invoke("stats", "--all", "--timeout", "0.5", "-o", "json", environment=node.environment)
        assert result.exit_code == 69
        rows = {row["node"]: row for row in document(result)}
        assert rows[node.name]["role"] == "other"
        assert set(rows[other.name]) == {"node", "error", "message", "hint"}
        assert rows[other.name]["error"] == "HandshakeTimeout"
        assert f"error: {other.name}: " in result.stderr
        other.stop()


class TestMnesia:
    def test_text_is_what_the_node_prints(self, on_demo: Run) -> None:
        text = on_demo("mnesia", "info").stdout
        assert "===> System info in version" in text
        assert "offline_msg" in text

    def test_data(self, on_demo: Run) -> None:
        found = document(on_demo("mnesia", "info", "-o", "json"))
        assert "offline_msg" in [table["name"] for table in found["tables"]]
        assert "===> System info" in found["text"]
        rows = csv_rows(on_demo("mnesia", "info", "-o", "csv"))
        assert [row["name"] for row in rows] == [table["name"] for table in found["tables"]]

    def test_edge(self, on_demo: Run, demo_cluster: DemoCluster) -> None:
        result = on_demo("mnesia", "info", "-n", demo_cluster.edges[0].name, exit_code=69)
        assert "error: Mnesia does not run on" in result.stderr
        assert demo_cluster.seed in result.stderr


class TestOffline:
    def test_show(self, on_demo: Run, demo_cluster: DemoCluster, user: str) -> None:
        demo_cluster.store(user, [b"first", b"\x1b[2Jsecond"])
        shown = on_demo("offline", "show", user).stdout
        assert "2 messages in 2 records, 15 B" in shown
        assert "first" not in shown
        found = document(on_demo("offline", "show", user, "-o", "json"))
        assert [message["size"] for message in found["messages"]] == [5, 10]
        assert [message["payload"] for message in found["messages"]] == [None, None]
        assert len(demo_cluster.stored(user)) == 2

    def test_payload(self, on_demo: Run, demo_cluster: DemoCluster, user: str) -> None:
        demo_cluster.store(user, [b"first", b"\x1b[2Jsecond", b"=1+1"])
        shown = on_demo("offline", "show", user, "--payload").stdout
        assert r"\e[2Jsecond" in shown
        rows = csv_rows(on_demo("offline", "show", user, "--payload", "-o", "csv"))
        assert [row["payload"] for row in rows] == ["first", r"\e[2Jsecond", "'=1+1"]
        messages = lines(on_demo("offline", "show", user, "--payload", "-o", "jsonl"))
        assert [message["payload"] for message in messages] == ["first", "\x1b[2Jsecond", "=1+1"]

    def test_user_without_messages(self, on_demo: Run, user: str) -> None:
        assert "0 messages" in on_demo("offline", "show", user).stdout


class TestPresence:
    def test_show(self, on_demo: Run, demo_cluster: DemoCluster, user: str, log_in: LogIn) -> None:
        edge = demo_cluster.edges[-1]  # the hidden one
        log_in(edge, user)
        shown = on_demo("presence", "show", user).stdout
        assert "online  yes" in shown
        assert edge.name in shown
        found = document(on_demo("presence", "show", user, "-o", "json"))
        assert [(connection["node"], connection["kind"]) for connection in found["connections"]] == [(edge.name, "tcp")]

    def test_user_who_is_away(self, on_demo: Run, user: str) -> None:
        assert "online  no" in on_demo("presence", "show", user).stdout


class TestRedeliver:
    @pytest.fixture(autouse=True)
    def _backups(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("IRIS_ADMIN_BACKUP_DIR", str(tmp_path))

    def test_delivers(self, on_demo: Run, demo_cluster: DemoCluster, user: str, log_in: LogIn) -> None:
        client = log_in(demo_cluster.edges[0], user)
        demo_cluster.store(user, [b"one", b"two"])
        would = on_demo("redeliver", user, "--dry-run")
        assert "would deliver" in would.stdout
        assert len(demo_cluster.stored(user)) == 2
        done = document(on_demo("redeliver", user, "-o", "json"))
        assert [message.payload for message in client.wait_for(2)] == [b"one", b"two"]
        assert (done["verdict"], done["stored_before"], done["stored_after"]) == ("delivered", 2, 0)
        assert done["fates"] == {"acknowledged": 2}
        assert Path(done["backup"]).exists()
        assert demo_cluster.stored(user) == []
        assert "nothing stored" in on_demo("redeliver", user).stdout

    def test_user_who_is_away(self, on_demo: Run, demo_cluster: DemoCluster, user: str) -> None:
        demo_cluster.store(user, [b"one"])
        result = on_demo("redeliver", user, exit_code=69)
        assert "user is offline" in result.stdout
        assert demo_cluster.stored(user) == [b"one"]

    def test_unknown_user(self, on_demo: Run, user: str) -> None:
        result = on_demo("redeliver", user, exit_code=67)
        assert result.stdout == ""
        assert f"error: nothing is known of the user '{user}'" in result.stderr

    def test_progress_goes_to_standard_error(
        self, on_demo: Run, demo_cluster: DemoCluster, user: str, log_in: LogIn
    ) -> None:
        log_in(demo_cluster.edges[0], user)
        demo_cluster.store(user, [b"one"])
        result = on_demo("redeliver", user, "-v", "-o", "json")
        assert result.stderr
        assert document(result)["verdict"] == "delivered"


class TestRpc:
    @pytest.mark.parametrize(
        ("words", "shown"),
        [
            (["erlang", "abs", "-5"], "5"),
            (["erlang", "abs", "-16#ff"], "255"),
            (["erlang", "abs", "--", "-5"], "5"),
            (["erlang", "byte_size", '<<"bob">>'], "3"),
            (["lists", "reverse", '"abc"'], '"cba"'),
            (["erlang", "tuple_to_list", "{ok, error}"], "[ok,error]"),
            (["io", "format", '"~p~n"', "[ok]"], "ok\nok"),
            (["io", "put_chars", '"no end"'], "no end\nok"),
        ],
    )
    def test_terms(self, erlang_node: ErlangNode, words: list[str], shown: str) -> None:
        result = invoke("rpc", *words, environment=erlang_node.environment)
        assert (result.exit_code, result.stdout) == (0, shown + "\n"), result.stderr

    def test_installed_command(self, erlang_node: ErlangNode) -> None:
        words = ("rpc", "-o", "json", "erlang", "abs", "-5")
        assert json.loads(run(*words, environment=erlang_node.environment)[1])["value"] == 5

    def test_formats(self, erlang_node: ErlangNode) -> None:
        words = ["rpc", "io", "format", '"=~p~n"', "[ok]"]
        environment = erlang_node.environment
        expected = {"node": erlang_node.name, "value": "ok", "output": "=ok\n"}
        assert document(invoke(*words, "-o", "json", environment=environment)) == expected
        assert lines(invoke(*words, "-o", "jsonl", environment=environment)) == [expected]
        assert csv_rows(invoke(*words, "-o", "csv", environment=environment)) == [expected | {"output": "'=ok\n"}]

    def test_pids_are_those_of_the_node(self, erlang_node: ErlangNode) -> None:
        init = erlang_node.evaluate("whereis(init)")
        words = ["rpc", "erlang", "whereis", "init"]
        assert invoke(*words, environment=erlang_node.environment).stdout == f"{init}\n"
        assert document(invoke(*words, "-o", "json", environment=erlang_node.environment))["value"] == init


class TestEval:
    def test_expression(self, erlang_node: ErlangNode) -> None:
        result = invoke("eval", 'X = 20, io:format("twice~n"), X * 2.', environment=erlang_node.environment)
        assert (result.exit_code, result.stdout) == (0, "twice\n40\n")

    def test_standard_input(self, erlang_node: ErlangNode) -> None:
        result = invoke("eval", "-", environment=erlang_node.environment, stdin='<<"grün"/utf8>>,\n{ok, 1}\n')
        assert (result.exit_code, result.stdout) == (0, "{ok,1}\n")

    def test_standard_input_that_is_no_text(self, erlang_node: ErlangNode) -> None:
        process = subprocess.run(
            [SCRIPT, "eval", "-"],
            input=b'<<"\xff">>',
            capture_output=True,
            env=clean_environment(erlang_node.environment),
            check=False,
        )
        assert (process.returncode, process.stdout) == (65, b"")
        assert process.stderr.startswith(b"error: U+DCFF is no character")

    def test_what_is_typed_with_a_minus(self, erlang_node: ErlangNode) -> None:
        assert invoke("eval", "--", "-1", environment=erlang_node.environment).stdout == "-1\n"

    def test_json(self, erlang_node: ErlangNode) -> None:
        result = invoke("eval", '#{a => <<"b">>}', "-o", "json", environment=erlang_node.environment)
        assert document(result) == {"node": erlang_node.name, "value": {"a": "b"}, "output": ""}
