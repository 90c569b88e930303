"""The commands that show why a node is slow, on the demo cluster."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from demo_cluster import DemoCluster

from iris_admin.cli.watch import per_second, size_per_second
from tests.cli.support import invoke
from tests.cli.terminal import Terminal
from tests.support.erlang import NodeFactory

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def audit_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "audit.jsonl"
    monkeypatch.setenv("IRIS_ADMIN_AUDIT_FILE", str(path))
    return path


def document(result: Result) -> Any:
    return json.loads(result.stdout)


def words(line: str) -> list[str]:
    return line.split()


class TestSystem:
    def test_table_names_sources_and_gaps(self, on_demo: Run) -> None:
        text = on_demo("system", "--interval", "0.1").stdout
        assert "/proc/meminfo" in text
        assert "cannot tell disks, because os_mon does not run on the node" in text

    def test_json(self, on_demo: Run, demo_cluster: DemoCluster) -> None:
        found = document(on_demo("system", "--interval", "0", "-o", "json"))
        assert found["node"] == demo_cluster.seed
        assert found["cpu_busy_percent"] is None
        assert found["sources"]["load"] == "/proc/loadavg"

    def test_all(self, on_demo: Run, demo_cluster: DemoCluster) -> None:
        found = document(on_demo("system", "--all", "--interval", "0.1", "-o", "json"))
        assert [row["node"] for row in found] == [node.name for node in demo_cluster.nodes]
        head = on_demo("system", "--all", "--interval", "0").stdout.splitlines()[0]
        assert words(head) == [node.name for node in demo_cluster.nodes]


class TestWatch:
    @pytest.mark.parametrize("command", ["stats", "memory"])
    def test_table(self, on_demo: Run, command: str) -> None:
        lines = on_demo(command, "--watch", "--interval", "0.1", "--times", "21").stdout.splitlines()
        assert len(lines) == 23  # the header comes again
        assert lines[0] == lines[21]
        assert "/S" in lines[0]

    @pytest.mark.parametrize("command", ["stats", "memory"])
    def test_lines_and_documents(self, on_demo: Run, command: str) -> None:
        options = ("--watch", "--interval", "0.1", "--times", "2", "-o")
        lines = [json.loads(line) for line in on_demo(command, *options, "jsonl").stdout.splitlines()]
        assert [set(line) for line in lines] == [set(line) for line in document(on_demo(command, *options, "json"))]
        assert len(list(csv.DictReader(io.StringIO(on_demo(command, *options, "csv").stdout)))) == 2

    @pytest.mark.parametrize("command", ["stats", "memory"])
    @pytest.mark.parametrize("options", [("-o", "json"), ("-o", "csv"), ("--all",)])
    def test_what_has_no_end_is_refused(self, on_demo: Run, command: str, options: tuple[str, ...]) -> None:
        assert "--watch" in on_demo(command, "--watch", *options, exit_code=64).stderr

    def test_a_busy_link_is_told(self, fresh_node: NodeFactory) -> None:
        one, other = fresh_node(), fresh_node()
        one.evaluate(f"erlang:set_cookie('{other.name}', '{other.cookie}'), pong = net_adm:ping('{other.name}').")
        other.suspend()
        one.evaluate(
            f"spawn(fun Send() -> {{init, '{other.name}'}} ! binary:copy(<<0>>, 100000), Send() end), "
            "Wait = fun Wait() -> case [P || P <- processes(), process_info(P, status) =:= {status, suspended}] of "
            "[] -> timer:sleep(10), Wait(); _ -> ok end end, Wait()."
        )
        text = invoke("stats", "--watch", "--interval", "0.1", "--times", "1", environment=one.environment).stdout
        assert f"busy: the link to {other.name}, where " in text
        text = invoke("stats", environment=one.environment).stdout
        assert f"busy links     {other.name}" in text
        other.resume()

    @pytest.mark.parametrize(
        ("value", "number", "size"),
        [
            (None, None, None),
            (0.0, "0", "0 B"),
            (0.04, "0", "0 B"),
            (1.25, "+1.2", "+1 B"),
            (-12.6, "-13", "-13 B"),
            (2048.0, "+2048", "+2 KiB"),
        ],
    )
    def test_signs(self, value: float | None, number: str | None, size: str | None) -> None:
        assert (per_second(value), size_per_second(value)) == (number, size)


class TestProcesses:
    def test_table(self, on_demo: Run, demo_cluster: DemoCluster) -> None:
        head, empty, titles, *rows = on_demo("processes", "-n", "3").stdout.splitlines()
        assert head.startswith(f"{demo_cluster.seed}: ")
        assert head.endswith(" processes, by memory")
        assert (empty, words(titles)[:2], len(rows)) == ("", ["PID", "MEMORY"], 3)

    def test_interval(self, on_demo: Run) -> None:
        text = on_demo("processes", "--by", "reductions", "--interval", "0.1").stdout
        assert "by the increase of reductions within 100 ms" in text
        assert "since each was started" in on_demo("processes", "--by", "reductions").stdout

    def test_nobody(self, on_demo: Run) -> None:
        assert on_demo("processes", "--by", "message_queue_len").stdout.endswith("\nnone has any\n")

    @pytest.mark.parametrize("by", ["memory", "reductions", "message_queue_len", "binary"])
    def test_json(self, on_demo: Run, by: str) -> None:
        found = document(on_demo("processes", "--by", by, "-o", "json"))
        assert (found["by"], found["interval_seconds"]) == (by, None)
        assert len(found["processes"]) <= 10

    def test_rows(self, on_demo: Run) -> None:
        lines = on_demo("processes", "-n", "2", "-o", "jsonl").stdout.splitlines()
        assert [set(json.loads(line)) >= {"pid", "memory_bytes"} for line in lines] == [True, True]

    def test_out_of_range(self, on_demo: Run) -> None:
        for options in (("-n", "0"), ("-n", "100000"), ("--by", "heap"), ("--interval", "0"), ("--within", "0")):
            on_demo("processes", *options, exit_code=64)


class TestProcess:
    def test_table(self, on_demo: Run) -> None:
        text = on_demo("process", "mnesia_tm").stdout
        assert "registered name     mnesia_tm" in text
        assert "  mnesia_tm:doit_loop/1 (mnesia_tm.erl:" in text

    def test_json(self, on_demo: Run) -> None:
        pid = document(on_demo("process", "mnesia_tm", "-o", "json"))["pid"]
        assert document(on_demo("process", pid, "-o", "json"))["registered_name"] == "mnesia_tm"

    def test_none(self, on_demo: Run) -> None:
        result = on_demo("process", "nobody_is_called_so", exit_code=69)
        assert result.stderr.startswith("error: there is no process nobody_is_called_so on ")


class TestEts:
    def test_table(self, on_demo: Run) -> None:
        head, _, titles, *rows = on_demo("ets", "-n", "2").stdout.splitlines()
        assert head.endswith(" in all")
        assert words(titles) == ["NAME", "BYTES", "ROWS", "TYPE", "PROTECTION", "OWNER"]
        assert len(rows) == 2

    def test_by_rows(self, on_demo: Run) -> None:
        assert " rows in all\n" in on_demo("ets", "--by", "rows").stdout
        rows = document(on_demo("ets", "--by", "rows", "-o", "json"))["tables"]
        assert [row["rows"] for row in rows] == sorted((row["rows"] for row in rows), reverse=True)


class TestGc:
    def test_one(self, on_demo: Run, demo_cluster: DemoCluster, audit_file: Path) -> None:
        text = on_demo("gc", "mnesia_tm").stdout
        assert text.startswith(f"{demo_cluster.seed}: garbage collected of 1 of 1 processes\n")
        assert json.loads(audit_file.read_text())["command"] == "gc"

    def test_top(self, on_demo: Run) -> None:
        found = document(on_demo("gc", "--top", "3", "--by", "binary", "-o", "json"))
        assert (found["scope"], found["asked"], len(found["processes"])) == ("top", 3, 3)
        assert len(on_demo("gc", "--top", "2", "-o", "jsonl").stdout.splitlines()) == 2

    def test_all_is_not_done_where_nobody_can_be_asked(self, on_demo: Run, audit_file: Path) -> None:
        result = on_demo("gc", "--all", exit_code=77)
        assert "Nothing was changed" in result.stderr
        assert result.stdout == ""
        assert not audit_file.exists()

    def test_all(self, on_demo: Run, demo_cluster: DemoCluster, audit_file: Path) -> None:
        result = on_demo("gc", "--all", "--yes", "-o", "json")
        found = document(result)
        assert (found["scope"], found["processes"]) == ("all", [])
        assert found["answered"] == found["asked"] > 50
        assert f"{demo_cluster.seed} (core) has " in result.stderr
        assert json.loads(audit_file.read_text())["plan"] == {"all": True}

    @pytest.mark.parametrize(("answer", "exit_code"), [("y\n", 0), ("n\n", 77), ("\x04", 77)])
    def test_all_asks(self, demo_environment: dict[str, str], answer: str, exit_code: int) -> None:
        with Terminal("gc", "--all", environment=demo_environment) as terminal:
            terminal.wait_for(b"[y/N]")
            assert b"Collect the garbage of all " in terminal.seen
            terminal.answer(answer)
            assert terminal.end() == exit_code, terminal.seen

    @pytest.mark.parametrize("options", [(), ("init", "--all"), ("--top", "3", "--all"), ("init", "--top", "3")])
    def test_one_of_them_is_meant(self, on_demo: Run, options: tuple[str, ...]) -> None:
        assert "Name one process, or --top N, or --all." in on_demo("gc", *options, exit_code=64).stderr


class TestMnesia:
    def test_tables(self, on_demo: Run, demo_cluster: DemoCluster) -> None:
        titles, *rows = on_demo("mnesia", "tables").stdout.splitlines()
        assert words(titles) == ["TABLE", "TYPE", "ROWS", "BYTES", "COPIES"]
        assert any(row.startswith("offline_msg") and demo_cluster.seed in row for row in rows)
        # It makes no difference which node one came in by.
        found = document(on_demo("mnesia", "tables", "-n", demo_cluster.edges[0].name, "-o", "json"))
        assert found["nodes"] == [demo_cluster.seed]

    def test_status(self, on_demo: Run, demo_cluster: DemoCluster) -> None:
        text = on_demo("mnesia", "status", "--interval", "0.1").stdout
        assert words(text.splitlines()[0]) == [demo_cluster.seed]
        assert "says nothing: it expects no other node" in text
        (row,) = document(on_demo("mnesia", "status", "--interval", "0", "-o", "json"))["nodes"]
        assert (row["running"], row["commits_per_second"]) == ("yes", None)

    def test_problems_are_told(self) -> None:
        with DemoCluster(cores=2, edges=0, hidden_edges=0) as demo:
            demo.cores[1].evaluate("mnesia:stop().")
            for command in ("tables", "status"):
                result = invoke("mnesia", command, environment=demo.environment)
                assert result.exit_code == 69
                assert (
                    f"\nproblem: {'dedup_log: nobody' if command == 'tables' else 'Mnesia does not run'}"
                    in result.stdout
                )

    def test_locks_and_transactions(self, on_demo: Run, demo_cluster: DemoCluster) -> None:
        core = demo_cluster.cores[0]
        core.evaluate(
            "Me = self(), register(locker, spawn(fun() -> mnesia:transaction(fun() -> mnesia:read(user_meta, 1), "
            "Me ! locked, receive stop -> ok end end) end)), receive locked -> ok end."
        )
        try:
            locks = on_demo("mnesia", "locks").stdout
            transactions = on_demo("mnesia", "transactions").stdout
            rows = on_demo("mnesia", "locks", "-o", "csv").stdout.splitlines()
        finally:
            core.evaluate("Ref = monitor(process, locker), locker ! stop, receive {'DOWN', Ref, _, _, _} -> ok end.")
        assert f"{core.name}: 1 lock held, 0 waited for" in locks
        assert words(locks.splitlines()[-1])[:4] == ["held", "user_meta", "1", "read"]
        assert f"{core.name}: 1 transaction under way" in transactions
        assert "locker" in transactions
        assert len(rows) == 2

    @pytest.mark.parametrize("command", ["locks", "transactions"])
    def test_an_edge_has_none(self, on_demo: Run, demo_cluster: DemoCluster, command: str) -> None:
        result = on_demo("mnesia", command, "-n", demo_cluster.edges[0].name, exit_code=69)
        assert "(it is an edge)" in result.stderr
