"""Is it up: ports, logs, the login test, stop and restart, on real nodes, held against what those say themselves."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from demo_cluster import DemoCluster, DemoNode, WebSocketClient

import iris_admin
from iris_admin import aio
from iris_admin.audit import read_audit
from iris_admin.backup import read_backup
from iris_admin.client import Node, node_at
from iris_admin.cluster import Cluster
from iris_admin.operations.ports import ListeningPort
from tests.support.demo import LogIn
from tests.support.erlang import ErlangNode, NodeFactory

WebSocketLogIn = Callable[[DemoNode, str], WebSocketClient]


@pytest.fixture(autouse=True)
def state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IRIS_ADMIN_AUDIT_FILE", str(tmp_path / "audit.jsonl"))
    monkeypatch.setenv("IRIS_ADMIN_BACKUP_DIR", str(tmp_path / "backups"))
    return tmp_path


@contextmanager
def joined(demo: DemoCluster) -> Iterator[Cluster]:
    with iris_admin.connect_cluster(demo.seed, cookie_file=demo.cookie_file, epmd_port=demo.epmd_port) as cluster:
        yield cluster


def connect(demo: DemoCluster, node: DemoNode) -> Node:
    return iris_admin.connect(node.name, cookie_file=demo.cookie_file, epmd_port=demo.epmd_port)


class TestPorts:
    def rows(self, demo: DemoCluster) -> dict[tuple[str | None, str | None], ListeningPort]:
        with joined(demo) as cluster:
            return {(row.node, row.purpose): row for row in cluster.ports()}

    def test_every_port_of_every_node(self, demo_cluster: DemoCluster) -> None:
        rows = self.rows(demo_cluster)
        for edge in demo_cluster.edges:
            assert rows[edge.name, "clients"].port == edge.port
            assert rows[edge.name, "WebSocket"].port == edge.ws_port
        for node in demo_cluster.nodes:
            found = rows[node.name, "distribution"]
            epmd = (
                "{port, Port, _} = erl_epmd:port_please(hd(string:lexemes(atom_to_list(node()), [$@])), {127,0,0,1}),"
            )
            assert found.port == int(node.evaluate(f"{epmd} Port."))
            assert found.connections is not None
        assert rows[None, "EPMD"].port == demo_cluster.epmd_port
        assert all(row.listening and row.reachable and row.problem is None for row in rows.values())

    def test_connections_are_counted(
        self, demo_cluster: DemoCluster, user: str, log_in: LogIn, log_in_by_websocket: WebSocketLogIn
    ) -> None:
        edge = demo_cluster.edges[1]
        before = self.rows(demo_cluster)
        for number in range(3):
            log_in(edge, f"{user}-{number}")
        log_in_by_websocket(edge, f"{user}-ws")
        after = self.rows(demo_cluster)

        def more(purpose: str) -> int:
            return (after[edge.name, purpose].connections or 0) - (before[edge.name, purpose].connections or 0)

        assert (more("clients"), more("WebSocket")) == (3, 1)

    def test_listener_that_is_down(self) -> None:
        with DemoCluster(edges=1, hidden_edges=0) as demo:
            edge = demo.edges[0]
            edge.evaluate("supervisor:terminate_child(iris_edge_sup, iris_tcp_listener).")
            row = self.rows(demo)[edge.name, "clients"]
            assert (row.listening, row.reachable, row.connections) == (False, None, None)
            assert "the edge's listener is down" in str(row.problem)

    def test_sockets_of_the_module_socket(self, fresh_node: NodeFactory) -> None:
        node = fresh_node(flags=["-kernel", "inet_backend", "socket"])
        listen = (
            "Self = self(), spawn(fun() -> {ok, L} = gen_tcp:listen(0, [{ip, {127,0,0,1}}]), {ok, P} = inet:port(L), "
            "Self ! {port, P}, {ok, S} = gen_tcp:accept(L), register(acceptor, self()), Self ! {accepted, S}, "
            "timer:sleep(infinity) end), receive {port, P} -> P end"
        )
        port = int(node.evaluate(listen))
        with (
            socket.create_connection(("127.0.0.1", port)),
            iris_admin.connect(node.name, cookie=node.cookie, epmd_port=node.epmd_port) as joined_node,
        ):
            node.evaluate("Wait = fun Wait() -> whereis(acceptor) =/= undefined orelse Wait() end, Wait()")
            rows = {row.port: row for row in joined_node.ports()}
        assert (rows[port].purpose, rows[port].connections, rows[port].address) == ("other", 1, "127.0.0.1")
        assert rows[port].reachable is None


def test_nothing_is_left_behind(fresh_node: NodeFactory) -> None:
    """Not even a module that was loaded by a question."""
    node = fresh_node()
    footprint = (
        "{erlang:system_info(atom_count), length(code:all_loaded()), erlang:system_info(process_count), "
        "erlang:system_info(port_count), length(ets:all())}"
    )
    with iris_admin.connect(node.name, cookie=node.cookie, epmd_port=node.epmd_port) as joined_node:
        joined_node.stats()
        modules = node.evaluate("length(code:all_loaded())")

        def ask() -> None:
            joined_node.ports()
            joined_node.logs()
            joined_node.ending_plan()

        ask()
        assert node.evaluate("length(code:all_loaded())") == modules
        before = node.evaluate(footprint)
        for _ in range(20):
            ask()
        assert node.evaluate(footprint) == before


class TestLogs:
    def test_of_a_handler(self, demo_cluster: DemoCluster, user: str) -> None:
        core = demo_cluster.cores[0]
        core.evaluate(f'logger:error("~ts \\e[2J", [<<"{user}">>]).')
        core.evaluate("logger_std_h:filesync(default).")
        with connect(demo_cluster, core) as node:
            found = node.logs(pattern=user)
        (entry,) = found.entries
        assert (entry.level, entry.folded, entry.file) == ("error", 0, str(core.log_file))
        assert entry.text.endswith(f"{user} \x1b[2J")
        assert (found.files[0].path, found.files[0].source) == (str(core.log_file), "default")

    def test_noise_of_os_mon_is_folded(self, demo_cluster: DemoCluster, user: str) -> None:
        core = demo_cluster.cores[0]
        core.evaluate(
            f'logger:error("begin ~ts", [<<"{user}">>]), [memsup:get_system_memory_data() || _ <- lists:seq(1, 40)], '
            f'cpu_sup:util(), logger:error("end ~ts", [<<"{user}">>]), logger_std_h:filesync(default).'
        )
        with connect(demo_cluster, core) as node:
            first, folded, last = list(node.logs(count=2).entries)[-3:]
        assert f"begin {user}" in first.text
        assert f"end {user}" in last.text
        assert folded.folded == 41
        assert re.match(r"41 known warnings folded: OS_MON \(cpu_sup\), OS_MON \(memsup\) not started", folded.text)

    def test_far_back_in_a_large_file(self, fresh_node: NodeFactory, tmp_path: Path) -> None:
        file = tmp_path / "iris.log"
        needle = b"2026-11-23T09:04:31+00:00 error: the needle\n"
        file.write_bytes(needle + b"2026-11-23T09:04:32+00:00 info: hay\n" * 100_000)
        node = self.logging_to(fresh_node(), file)
        with iris_admin.connect(node.name, cookie=node.cookie, epmd_port=node.epmd_port) as joined_node:
            assert [entry.text for entry in joined_node.logs(pattern="needle").entries] == [needle.decode().strip()]

    @staticmethod
    def logging_to(node: ErlangNode, file: Path, config: str = "") -> ErlangNode:
        # Others tests' nodes may log to the same standard output; this one is told apart by its file.
        node.evaluate(
            f'ok = logger:add_handler(to_file, logger_std_h, #{{config => #{{file => "{file}"{config}}}}}), '
            "ok = logger:set_handler_config(to_file, formatter, {logger_formatter, #{single_line => true}})"
        )
        return node

    def test_rotated_files_go_on_where_the_newest_begins(self, fresh_node: NodeFactory, tmp_path: Path) -> None:
        file = tmp_path / "iris.log"
        node = self.logging_to(fresh_node(), file, ", max_no_bytes => 2000, max_no_files => 3")
        node.evaluate('[logger:error("event ~b", [N]) || N <- lists:seq(1, 60)], logger_std_h:filesync(to_file)')
        with iris_admin.connect(node.name, cookie=node.cookie, epmd_port=node.epmd_port) as joined_node:
            found = joined_node.logs(file="iris.log")
        assert str(file) + ".0" in found.files[0].older
        numbers = [int(entry.text.rpartition(" ")[2]) for entry in found.entries]
        assert numbers == list(range(numbers[0], 61))
        assert len(numbers) > 40

    def test_wrap_log(self, fresh_node: NodeFactory, tmp_path: Path) -> None:
        node = fresh_node()
        node.evaluate(
            f'ok = logger:add_handler(wrapped, logger_disk_log_h, #{{config => #{{file => "{tmp_path}/wrap", '
            "type => wrap, max_no_bytes => 2000, max_no_files => 3}, "
            "formatter => {logger_formatter, #{single_line => true}}}), "
            '[logger:error("event ~b", [N]) || N <- lists:seq(1, 60)], logger_disk_log_h:filesync(wrapped)'
        )
        with iris_admin.connect(node.name, cookie=node.cookie, epmd_port=node.epmd_port) as joined_node:
            found = joined_node.logs(file="wrap")
        numbers = [int(entry.text.rpartition(" ")[2]) for entry in found.entries]
        assert numbers == list(range(numbers[0], 61))

    def test_following_over_a_truncation_and_a_rotation(self, fresh_node: NodeFactory, tmp_path: Path) -> None:
        file = tmp_path / "iris.log"
        node = self.logging_to(fresh_node(), file)

        def log(text: str) -> None:
            node.evaluate(f'logger:error("{text}"), logger_std_h:filesync(to_file)')

        log("before")
        with iris_admin.connect(node.name, cookie=node.cookie, epmd_port=node.epmd_port) as joined_node:
            said: list[str] = []
            joined_node.on_progress = said.append
            seen: list[str] = []
            events = joined_node.follow_logs(file="iris.log")
            begun = threading.Event()

            def follow() -> None:
                begun.set()
                for entry in events:
                    seen.append(entry.text.rpartition(" ")[2])
                    arrived.release()
                    if seen[-1] == "last":
                        return

            arrived = threading.Semaphore(0)
            cursors_ready = threading.Thread(target=follow, daemon=True)
            cursors_ready.start()
            begun.wait()
            # The first ones may come before the end of the file is known.
            while not arrived.acquire(timeout=0.3):
                log("first")
            log("second")
            assert arrived.acquire(timeout=20)
            while seen[-1] != "second":
                assert arrived.acquire(timeout=20)
            with file.open("r+b") as content:
                content.truncate(0)
            log("third")
            assert arrived.acquire(timeout=20)
            file.rename(file.with_name("iris.log.0"))
            file.write_text("fourth\nlast\n")
            cursors_ready.join(20)
        assert [text for text in seen if text != "first"] == ["second", "third", "fourth", "last"]
        assert any("truncated" in line for line in said)
        assert any("is a new file now" in line for line in said)

    def test_standard_output(self, fresh_node: NodeFactory) -> None:
        node = fresh_node()
        with iris_admin.connect(node.name, cookie=node.cookie, epmd_port=node.epmd_port) as joined_node:
            found = joined_node.logs()
        target = node.evaluate('{ok, Link} = file:read_link_all("/proc/" ++ os:getpid() ++ "/fd/1"), Link').strip('"')
        if Path(target).is_file():
            assert target in [file.path for file in found.files]
        else:
            assert "standard output" in [file.source for file in found.files] or found.advice is not None


def ours(node: DemoNode) -> str:
    """Rows about users of ours in any table of a node."""
    return node.evaluate(
        "[{Table, Row} || Table <- ets:all(), ets:info(Table, protection) =/= private, ets:info(Table, size) < 100000, "
        'Row <- ets:tab2list(Table), string:find(io_lib:format("~0tp", [Row]), "smoke-") =/= nomatch].'
    )


class TestSmoke:
    def test_every_edge_with_every_edge(self, demo_cluster: DemoCluster) -> None:
        with joined(demo_cluster) as cluster:
            found = cluster.smoke(count=20)
        edges = [edge.name for edge in demo_cluster.edges]
        assert found.verdict == "ok"
        assert [(pair.sender, pair.receiver) for pair in found.pairs] == [(a, b) for a in edges for b in edges]
        assert all((pair.delivered, pair.acknowledged) == (20, 20) for pair in found.pairs)
        assert all(0 < (pair.p50_seconds or 0) <= (pair.p99_seconds or 0) < 0.5 for pair in found.pairs)
        assert [(login.port, login.verdict) for login in found.logins] == [
            (edge.port, "ok") for edge in demo_cluster.edges
        ]
        assert (found.notes, found.left) == ((), ())
        (entry,) = read_audit().entries
        assert (entry.command, entry.outcome) == ("smoke", "ok; cleaned up")

    def test_nothing_is_left_behind(self, demo_cluster: DemoCluster) -> None:
        with joined(demo_cluster) as cluster:
            cluster.smoke()
        assert [ours(node) for node in demo_cluster.nodes] == ["[]"] * len(demo_cluster.nodes)

    def test_awaited(self, demo_cluster: DemoCluster) -> None:
        import asyncio

        async def test() -> str:
            async with await aio.connect_cluster(
                demo_cluster.seed, cookie_file=demo_cluster.cookie_file, epmd_port=demo_cluster.epmd_port
            ) as cluster:
                return (await cluster.smoke()).verdict

        assert asyncio.run(test()) == "ok"

    def test_others_keep_what_is_theirs(self, demo_cluster: DemoCluster, user: str, log_in: LogIn) -> None:
        client = log_in(demo_cluster.edges[0], user)
        demo_cluster.store(f"{user}-absent", [b"kept"])
        with joined(demo_cluster) as cluster:
            cluster.smoke()
        assert client.connected
        assert client.received == []
        assert demo_cluster.stored(f"{user}-absent") == [b"kept"]

    def test_both_back_ends_of_presence_and_two_cores(self, demo_cluster_with: Callable[..., DemoCluster]) -> None:
        with DemoCluster(cores=2, edges=1, hidden_edges=0, core_env={"presence_backend": "mnesia"}) as demo:
            with joined(demo) as cluster:
                assert cluster.smoke().verdict == "ok"
            assert [ours(node) for node in demo.nodes] == ["[]"] * 3

    def test_edge_whose_listener_is_down(self) -> None:
        with DemoCluster(edges=2, hidden_edges=0) as demo:
            demo.edges[1].evaluate("supervisor:terminate_child(iris_edge_sup, iris_tcp_listener).")
            with joined(demo) as cluster:
                found = cluster.smoke()
            assert [login.verdict for login in found.logins] == ["ok", "fail"]
            assert [pair.verdict for pair in found.pairs] == ["ok", "fail", "fail", "fail"]

    def test_messages_that_no_core_can_route(self) -> None:
        """The core takes the users for offline: their messages are stored, found there, and removed."""
        with DemoCluster(edges=2, hidden_edges=0, core_env={"presence_expiry_ms": "0"}) as demo:
            with joined(demo) as cluster:
                found = cluster.smoke(timeout=1)
            verdicts = {(pair.sender[9], pair.receiver[9]): pair for pair in found.pairs}
            assert verdicts["1", "1"].verdict == "ok"
            assert verdicts["1", "2"].verdict == "fail"
            assert "it was stored offline instead" in str(verdicts["1", "2"].problem)
            assert [ours(node) for node in demo.nodes] == ["[]"] * 3


class TestEnding:
    @pytest.fixture
    def demo(self) -> Iterator[DemoCluster]:
        with DemoCluster(edges=2, hidden_edges=1) as demo:
            yield demo

    def test_plan_and_restart_of_an_edge(self, demo: DemoCluster, user: str, log_in: LogIn) -> None:
        edge = demo.edges[1]
        client = log_in(edge, user)
        creation = edge.evaluate("erlang:system_info(creation).")
        with connect(demo, edge) as node:
            plan = node.ending_plan()
            assert (plan.role, plan.users, plan.os_pid, plan.unflushed_rows) == ("edge", 1, edge.pid, None)
            assert plan.peers == (demo.cores[0].name,)
            assert plan.warnings[0] == "1 user is connected to it, and loses the connection"
            ended = node.restart()
            # The same connection object goes on with the node as it is now.
            assert node.role().role == "edge"
        client.wait_closed(10)
        assert (ended.done, ended.role_after, ended.disconnected) == (True, "edge", ())
        assert ended.started == ("iris_edge",)
        assert edge.evaluate("erlang:system_info(creation).") != creation
        assert edge.running
        assert ended.saved is not None
        (kept,) = read_backup(ended.saved)
        assert json.loads(kept)["ports"]["users"] == 1
        (entry,) = read_audit().entries
        assert (entry.command, entry.node, entry.backup) == ("restart", edge.name, str(ended.saved))
        assert entry.plan["users"] == 1

    def test_restart_of_a_core(self, demo: DemoCluster, user: str) -> None:
        core = demo.cores[0]
        # Rows that wait in the write-ahead log must be in the table afterwards.
        core.evaluate(f'[iris_core:store_offline_durable(<<"{user}">>, <<N>>) || N <- lists:seq(1, 50)].')
        with connect(demo, core) as node:
            ended = node.restart(keep=False)
        assert (ended.done, ended.saved, ended.disconnected) == (True, None, ())
        assert len(demo.stored(user)) == 50
        # The edges are back, the hidden one included, and messages go over them.
        with joined(demo) as cluster:
            assert set(cluster.nodes) == {node.name for node in demo.nodes}
            assert cluster.smoke().verdict == "ok"

    def test_stop(self, demo: DemoCluster) -> None:
        edge = demo.edges[0]
        with connect(demo, edge) as node:
            ended = node.stop(keep=False)
        assert ended.done
        assert ended.gone_seconds is not None
        assert "it ended after" in ended.explanation
        edge._end(gracefully=True)
        assert not edge.running

    def test_node_that_is_down_is_started_by_a_command(self, demo: DemoCluster, tmp_path: Path) -> None:
        edge = demo.edges[0]
        demo.kill_node(edge)
        ready = tmp_path / "go"

        def start_once_told() -> None:
            while not ready.exists():
                threading.Event().wait(0.02)
            demo.restart_node(edge)

        starter = threading.Thread(target=start_once_told)
        starter.start()
        options: dict[str, Any] = {"cookie_file": demo.cookie_file, "epmd_port": demo.epmd_port}
        with node_at(edge.name, **options) as node:
            ended = node.start_by(["touch", str(ready)])
        starter.join()
        assert ended.done
        assert ended.back_seconds is not None
        assert ended.command == f"touch {ready}"

    def test_start_that_helps_nothing(self, demo: DemoCluster) -> None:
        demo.kill_node(demo.edges[0])
        options: dict[str, Any] = {"cookie_file": demo.cookie_file, "epmd_port": demo.epmd_port}
        with node_at(demo.edges[0].name, **options) as node:
            ended = node.start_by(["true"], wait=1)
        assert not ended.done
        assert "it is not back after 1 s" in ended.explanation

    def test_node_that_hangs_is_ended_by_a_command(self, demo: DemoCluster) -> None:
        edge = demo.edges[0]
        demo.suspend_node(edge)
        options: dict[str, Any] = {"cookie_file": demo.cookie_file, "epmd_port": demo.epmd_port}
        with node_at(edge.name, **options) as node:
            ended = node.stop_by(["kill", "-9", str(edge.pid)])
        assert ended.done
        with contextlib.suppress(ProcessLookupError):
            edge._end(gracefully=False)
        assert not edge.running
