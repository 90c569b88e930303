"""``ports``, ``logs``, ``smoke``, ``restart`` and ``stop`` on the command line."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import signal
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from demo_cluster import DemoCluster

from iris_admin.audit import read_audit
from tests.cli.support import SCRIPT, clean_environment, invoke, run, start
from tests.support.demo import LogIn
from tests.support.erlang import free_port

Run = Callable[..., Result]


def document(result: Result) -> Any:
    return json.loads(result.stdout)


@pytest.fixture(autouse=True)
def audit_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IRIS_ADMIN_AUDIT_FILE", str(tmp_path / "audit.jsonl"))
    monkeypatch.setenv("IRIS_ADMIN_BACKUP_DIR", str(tmp_path / "backups"))
    return tmp_path / "audit.jsonl"


class TestPorts:
    FIELDS = (
        *("node", "host", "purpose", "address", "port", "listening", "connections", "reachable", "connect_seconds"),
        *("tls", "owner", "problem"),
    )

    def test_json(self, on_demo: Run, demo_cluster: DemoCluster) -> None:
        rows = document(on_demo("ports", "-o", "json"))
        assert {tuple(row) for row in rows} == {self.FIELDS}
        purposes = {(row["node"], row["purpose"]) for row in rows}
        assert {(edge.name, "clients") for edge in demo_cluster.edges} <= purposes
        assert (None, "EPMD") in purposes

    def test_table(self, on_demo: Run, demo_cluster: DemoCluster) -> None:
        head, *rows = on_demo("ports").stdout.splitlines()
        assert head.split() == [
            *("NODE", "PURPOSE", "ADDRESS", "PORT", "LISTENING", "CONNECTIONS", "REACHABLE", "CONNECT", "OWNER")
        ]
        assert len(rows) == 3 * len(demo_cluster.edges) + len(demo_cluster.cores) + 1

    def test_some_nodes(self, on_demo: Run, demo_cluster: DemoCluster) -> None:
        edge = demo_cluster.edges[1].name
        # A name without a host is on the host of the node that the options name.
        rows = document(on_demo("ports", edge.partition("@")[0], "-o", "json"))
        assert {row["node"] for row in rows} == {edge, None}

    def test_unknown_node(self, on_demo: Run) -> None:
        assert "no node of this cluster" in on_demo("ports", "iris_edge99", exit_code=78).stderr

    def test_something_is_wrong(self) -> None:
        with DemoCluster(edges=2, hidden_edges=0) as demo:
            demo.edges[0].evaluate("supervisor:terminate_child(iris_edge_sup, iris_ws_listener).")
            demo.suspend_node(demo.edges[1])
            result = invoke("ports", "-o", "json", "--timeout", "1", environment=demo.environment)
            assert result.exit_code == 69
            problems = {row["node"]: row["problem"] for row in document(result) if row["problem"]}
            assert "nothing listens" in problems[demo.edges[0].name]
            assert demo.edges[1].name in problems

    def test_seed_that_is_down_is_no_hindrance(self) -> None:
        with DemoCluster(edges=1, hidden_edges=0) as demo:
            demo.kill_node(demo.cores[0])
            result = invoke("ports", "-o", "json", environment=demo.environment)
            assert result.exit_code == 69
            reached = {row["node"] for row in document(result) if row["purpose"] == "clients" and row["reachable"]}
            assert reached == {demo.edges[0].name}


class TestLogs:
    def test_table(self, on_demo: Run, demo_cluster: DemoCluster, user: str) -> None:
        core = demo_cluster.cores[0]
        core.evaluate(f'logger:error("~ts\\e[2J", [<<"{user}">>]), cpu_sup:util(), logger_std_h:filesync(default).')
        lines = on_demo("logs", "-n", "1").stdout.splitlines()
        assert lines[0].startswith(f"==> {core.log_file} (default, ")
        assert f"{user}\\e[2J" in lines
        assert any(line.startswith("… ") and line.endswith("--all shows them") for line in lines)

    def test_json(self, on_demo: Run, demo_cluster: DemoCluster) -> None:
        edge = demo_cluster.edges[1]
        found = document(on_demo("logs", "iris_edge2", "-o", "json"))
        assert list(found) == ["node", "files", "entries", "advice"]
        assert (found["node"], found["files"][0]["path"]) == (edge.name, str(edge.log_file))

    def test_letter_n_is_a_number_behind_the_command_and_a_node_before_it(
        self, demo_cluster: DemoCluster, demo_environment: dict[str, str], user: str
    ) -> None:
        edge = demo_cluster.edges[0]
        edge.evaluate(
            f'[logger:error("~ts ~b", [<<"{user}">>, N]) || N <- lists:seq(1, 5)], logger_std_h:filesync(default).'
        )
        del demo_environment["IRIS_ADMIN_NODE"]
        result = invoke("-n", edge.name, "logs", "-n", "2", "--grep", user, "-o", "csv", environment=demo_environment)
        rows = list(csv.DictReader(io.StringIO(result.stdout)))
        assert [row["text"].rpartition(" ")[2] for row in rows] == ["4", "5"]
        assert list(rows[0]) == ["node", "file", "time", "level", "text", "folded"]

    def test_pattern_that_is_none(self, on_demo: Run) -> None:
        assert "is no regular expression" in on_demo("logs", "--grep", "(", exit_code=78).stderr

    def test_no_file_of_that_name(self, on_demo: Run) -> None:
        result = on_demo("logs", "--file", "nothing")
        assert result.stdout == ""
        assert "No log file has 'nothing' in its name" in result.stderr

    def test_follow(self, demo_cluster: DemoCluster, demo_environment: dict[str, str], user: str) -> None:
        core = demo_cluster.cores[0]
        with start(
            "logs", "--follow", "-n", "1", "-o", "jsonl", "--grep", user, environment=demo_environment
        ) as process:
            assert process.stdout is not None
            lines: list[str] = []
            while not lines:
                # Until it has found the end of the file.
                core.evaluate(f'logger:error("~ts", [<<"{user}">>]), logger_std_h:filesync(default).')
                if select_readable(process.stdout.fileno(), 0.3):
                    lines.append(process.stdout.readline())
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
        assert user in json.loads(lines[0])["text"]

    @pytest.mark.parametrize("output", ["json", "csv"])
    def test_follow_has_no_end(self, on_demo: Run, output: str) -> None:
        assert "has no end" in on_demo("logs", "--follow", "-o", output, exit_code=64).stderr


def select_readable(descriptor: int, timeout: float) -> bool:
    import select

    return bool(select.select([descriptor], [], [], timeout)[0])


class TestSmoke:
    def test_table(self, on_demo: Run) -> None:
        lines = on_demo("smoke").stdout.splitlines()
        assert lines[0] == "log-in and delivery: ok"
        assert lines[2].split() == ["EDGE", "HOST", "PORT", "VERDICT", "LOGIN"]
        assert lines[6].split()[:6] == ["SENDER", "RECEIVER", "VERDICT", "COUNT", "DELIVERED", "ACKNOWLEDGED"]

    def test_json(self, on_demo: Run, demo_cluster: DemoCluster, audit_file: Path) -> None:
        found = document(on_demo("smoke", "--count", "5", "-o", "json"))
        assert list(found) == ["verdict", "logins", "pairs", "limit_seconds", "notes", "left"]
        assert {pair["delivered"] for pair in found["pairs"]} == {5}
        (entry,) = read_audit(audit_file).entries
        assert entry.command == "smoke"

    def test_wrong_address(self, on_demo: Run) -> None:
        result = on_demo("smoke", "--address", f"iris_edge1=127.0.0.1:{free_port()}", "-o", "csv", exit_code=69)
        rows = list(csv.DictReader(io.StringIO(result.stdout)))
        assert [row["verdict"] for row in rows] == ["fail", "fail", "fail", "ok"]

    @pytest.mark.parametrize("address", ["iris_edge1", "iris_edge1=host", "=host:1", "iris_edge1=host:0", "e=:1"])
    def test_what_is_no_address(self, on_demo: Run, address: str) -> None:
        assert "NODE=HOST:PORT" in on_demo("smoke", "--address", address, exit_code=64).stderr

    def test_address_of_an_unknown_node(self, on_demo: Run) -> None:
        assert "no node of this cluster" in on_demo("smoke", "--address", "x=h:1", exit_code=78).stderr


class TestEnding:
    @pytest.fixture
    def demo(self) -> Iterator[DemoCluster]:
        with DemoCluster(edges=1, hidden_edges=0) as demo:
            yield demo

    @pytest.mark.parametrize("command", ["restart", "stop"])
    def test_nothing_happens_without_somebody_to_ask(
        self, demo_cluster: DemoCluster, demo_environment: dict[str, str], command: str, audit_file: Path
    ) -> None:
        edge = demo_cluster.edges[0]
        creation = edge.evaluate("erlang:system_info(creation).")
        code, output, errors = run(command, "iris_edge1", environment=demo_environment)
        assert (code, output) == (77, "")
        assert errors.startswith(f"{edge.name}: edge, 0 users connected, up for ")
        assert "nobody can be asked here" in errors
        assert edge.evaluate("erlang:system_info(creation).") == creation
        assert not audit_file.exists()

    def test_what_is_named_before(self, demo: DemoCluster, log_in: LogIn, user: str) -> None:
        log_in(demo.edges[0], user)
        asked = run("restart", "iris_edge1", environment=demo.environment)[2]
        assert ": edge, 1 user connected, up for " in asked
        assert "1 user is connected to it, and loses the connection" in asked
        asked = run("stop", "iris_core1", environment=demo.environment)[2]
        assert ": core, 0 rows not yet written to the tables, up for " in asked
        assert "no other core has a copy of the stored messages" in asked

    @pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 77), ("", 77)])
    def test_answers_on_a_terminal(self, demo: DemoCluster, answer: str, code: int) -> None:
        edge = demo.edges[0]
        creation = edge.evaluate("erlang:system_info(creation).")
        primary, secondary = pty.openpty()
        environment = clean_environment(demo.environment)
        process = subprocess.Popen(
            [SCRIPT, "restart", "iris_edge1", "--no-bundle"],
            stdin=secondary,
            stdout=subprocess.PIPE,
            stderr=secondary,
            env=environment,
        )
        os.close(secondary)
        os.write(primary, f"{answer}\n".encode())
        assert process.wait(60) == code
        assert process.stdout is not None
        process.stdout.close()
        os.close(primary)
        assert (edge.evaluate("erlang:system_info(creation).") == creation) == (code == 77)

    def test_restart(self, demo: DemoCluster, audit_file: Path) -> None:
        result = invoke("restart", "iris_edge1", "--yes", "-o", "json", environment=demo.environment)
        assert result.exit_code == 0, result.stderr
        found = document(result)
        assert list(found) == [
            *("node", "action", "done", "explanation", "gone_seconds", "back_seconds", "role_before", "role_after"),
            *("disconnected", "started", "saved", "command", "output"),
        ]
        assert (found["done"], found["role_after"], found["started"]) == (True, "edge", ["iris_edge"])
        with zipfile.ZipFile(found["saved"]) as bundle:
            assert f"nodes/{demo.edges[0].name}/logs.json" in bundle.namelist()
        (entry,) = read_audit(audit_file).entries
        assert (entry.command, entry.node, entry.backup) == ("restart", demo.edges[0].name, found["saved"])

    def test_stop(self, demo: DemoCluster) -> None:
        result = invoke("stop", "iris_edge1", "--yes", "--no-bundle", environment=demo.environment)
        assert result.exit_code == 0, result.stderr
        assert "it ended after" in result.stdout
        names = {row["node"] for row in document(invoke("nodes", "-o", "json", environment=demo.environment))}
        assert names == {demo.cores[0].name}

    @pytest.mark.parametrize("command", ["restart", "stop"])
    def test_node_that_is_down_and_no_command_of_the_site(self, demo_environment: dict[str, str], command: str) -> None:
        code, _, errors = run(command, "iris_edge9", "--yes", environment=demo_environment)
        assert code == 69
        assert "EPMD on localhost knows no node 'iris_edge9'" in errors
        assert "below [clusters.NAME.commands] in the configuration file" in errors

    def configure(self, demo: DemoCluster, directory: Path, **commands: str) -> dict[str, str]:
        file = directory / "config.toml"
        lines = [f"{name} = {json.dumps(text)}" for name, text in commands.items()]
        file.write_text(
            f'[clusters.demo]\nnode = "{demo.seed}"\ncookie_file = "{demo.cookie_file}"\nepmd_port = {demo.epmd_port}\n'
            "[clusters.demo.commands]\n" + "\n".join(lines) + "\n",
            encoding="utf-8",
        )
        return {"IRIS_ADMIN_CONFIG": str(file)}

    def test_command_of_the_site_that_fails(self, demo: DemoCluster, tmp_path: Path) -> None:
        demo.kill_node(demo.edges[0])
        environment = self.configure(demo, tmp_path, start="sh -c 'echo no {name} on {host}; exit 4'")
        code, output, errors = run("-c", "demo", "restart", "iris_edge1", "--yes", environment=environment)
        assert code == 69
        assert "The command to start it: sh -c echo no iris_edge1 on localhost; exit 4" in errors
        assert "no iris_edge1 on localhost" in errors.splitlines()
        assert "the site's command failed: exit code 4" in output

    def test_node_that_hangs_is_ended_and_started(self, demo: DemoCluster, tmp_path: Path, audit_file: Path) -> None:
        edge = demo.edges[0]
        stop = f"kill -9 {edge.pid}"
        demo.suspend_node(edge)
        started = tmp_path / "started"
        environment = self.configure(demo, tmp_path, stop=stop, start=f"touch {started}")
        options = ("--timeout", "1", "--wait", "1", "--yes")
        code, output, errors = run("-c", "demo", "restart", "iris_edge1", *options, environment=environment)
        # What was to start it did nothing of the kind, and that is what is said.
        assert (code, started.exists()) == (69, True)
        assert f"Before it, to end the process that hangs: {stop}" in errors
        assert "the site's command went well, but it is not back after 1 s" in output
        assert edge._process is not None
        assert edge._process.wait(20) == -signal.SIGKILL
        (entry,) = read_audit(audit_file).entries
        assert (entry.command, entry.plan) == ("start", {"command": f"touch {started}"})

    def test_command_of_the_site_is_asked_about_too(self, demo: DemoCluster, tmp_path: Path) -> None:
        demo.kill_node(demo.edges[0])
        started = tmp_path / "started"
        environment = self.configure(demo, tmp_path, start=f"touch {started}")
        assert run("-c", "demo", "restart", "iris_edge1", environment=environment)[0] == 77
        assert not started.exists()
