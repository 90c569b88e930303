"""The demo cluster keeps what it promises: everything else is tested against it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from demo_cluster import (
    ChatClient,
    ChatError,
    ConnectionEnded,
    DemoCluster,
    DemoError,
    DemoNode,
    WebSocketClient,
)
from demo_cluster.chat_client import LOGIN_OK
from demo_cluster.demo_cluster import SOURCES, compile_sources

from tests.support.demo import EXAMPLES, LogIn

ClusterWith = Callable[..., DemoCluster]
WebSocketLogIn = Callable[[DemoNode, str], WebSocketClient]


def payloads(count: int, start: int = 0) -> list[bytes]:
    return [b"message %03d" % number for number in range(start, start + count)]


def quoted(user: str) -> str:
    return f'<<"{user}">>'


def connection_of(edge: DemoNode, user: str, question: str) -> str:
    """Evaluate a question about ``Pid``, the connection process of a user."""
    return edge.evaluate(f"[{{_, Pid}}] = ets:lookup(local_presence_v2, {quoted(user)}), {question}.")


def pending_acks(edge: DemoNode, user: str) -> int:
    return int(connection_of(edge, user, "{connected, Data} = sys:get_state(Pid), map_size(element(6, Data))"))


def deliver(edge: DemoNode, user: str, messages: list[bytes]) -> None:
    terms = ", ".join(quoted(message.decode()) for message in messages)
    connection_of(edge, user, f"[Pid ! {{deliver_msg, Msg}} || Msg <- [{terms}]]")


def wait_until_listening(edge: DemoNode) -> None:
    """Wait until an edge whose listener has crashed accepts clients again."""
    edge.evaluate(
        f"Wait = fun Wait() -> case gen_tcp:connect({{127, 0, 0, 1}}, {edge.port}, []) of "
        "{ok, Socket} -> gen_tcp:close(Socket); {error, _} -> timer:sleep(5), Wait() end end, Wait()."
    )


def wait_until_nobody_listens(port: int) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 10).close()
        except ConnectionRefusedError:
            return
        except ConnectionError:
            pass  # it was in the queue of the listener that has just gone


class TestSources:
    @pytest.mark.parametrize("defines", [[], ["-DREDELIVER"]])
    def test_compile_without_a_warning(self, tmp_path: Path, defines: list[str]) -> None:
        sources = sorted(map(str, SOURCES.glob("*.erl")))
        command = ["erlc", "-Wall", "-Werror", "+warn_missing_spec", *defines, "-o", str(tmp_path), *sources]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")

    def test_the_application_files_name_every_module(self) -> None:
        named = re.findall(r"iris_\w+", "".join(file.read_text() for file in SOURCES.glob("*.app")))
        assert {file.stem for file in SOURCES.glob("*.erl")} - {"demo_console"} <= set(named)

    def test_are_compiled_once(self) -> None:
        first, second = compile_sources(), compile_sources()
        assert first == second
        assert compile_sources(redeliver_exported=True) != first


class TestCluster:
    def test_roles_show_in_the_running_applications(self, demo_cluster: DemoCluster) -> None:
        question = (
            "[App || {App, _, _} <- application:which_applications(), App =:= iris_core orelse App =:= iris_edge]."
        )
        assert [node.evaluate(question) for node in demo_cluster.cores] == ["[iris_core]"]
        assert [node.evaluate(question) for node in demo_cluster.edges] == ["[iris_edge]", "[iris_edge]"]

    def test_a_hidden_edge_is_connected_but_not_among_the_visible_nodes(self, demo_cluster: DemoCluster) -> None:
        core = demo_cluster.cores[0]
        assert core.evaluate("nodes().") == "[iris_edge1@localhost]"
        assert core.evaluate("lists:sort(nodes(connected)).") == "[iris_edge1@localhost,iris_edge2@localhost]"
        assert [edge.hidden for edge in demo_cluster.edges] == [False, True]

    def test_the_cookie_is_in_a_file_for_its_owner_alone_and_not_on_the_command_line(
        self, demo_cluster: DemoCluster
    ) -> None:
        assert demo_cluster.cookie_file.stat().st_mode & 0o777 == 0o400
        assert demo_cluster.cores[0].evaluate("erlang:get_cookie().").strip("'") == demo_cluster.cookie
        command = subprocess.run(
            ["ps", "-o", "args=", "-p", str(demo_cluster.cores[0].pid)], capture_output=True, text=True, check=True
        )
        assert demo_cluster.cookie not in command.stdout

    def test_two_clusters_do_not_see_each_other(self, demo_cluster: DemoCluster) -> None:
        with DemoCluster(edges=0, hidden_edges=0) as other:
            assert other.cores[0].name == demo_cluster.cores[0].name
            assert other.epmd_port != demo_cluster.epmd_port
            assert other.cores[0].evaluate("nodes(connected).") == "[]"

    def test_everything_ends_with_the_cluster(self) -> None:
        with DemoCluster(edges=1, hidden_edges=0) as cluster:
            pids = [node.pid for node in cluster.nodes]
            directory = cluster.directory
        for pid in pids:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", cluster.epmd_port)).close()
        assert not directory.exists()
        assert not any(node.running for node in cluster.nodes)
        with pytest.raises(DemoError, match="not running"):
            cluster.cores[0].evaluate("ok.")

    def test_an_expression_that_fails_says_how(self, demo_cluster: DemoCluster) -> None:
        with pytest.raises(DemoError, match="badarith"):
            demo_cluster.cores[0].evaluate("1 + a.")
        assert demo_cluster.cores[0].evaluate('<<"grün"/utf8>>.') == '<<"grün"/utf8>>'

    def test_healthy_looking_answers_of_an_edge_mean_nothing(self, demo_cluster: DemoCluster) -> None:
        edge = demo_cluster.edges[0]
        assert edge.evaluate("mnesia:table_info(offline_msg, size).") == "0"
        assert edge.evaluate("maps:get(safe_for_writes, iris_partition_guard:get_status()).") == "true"
        assert edge.evaluate("lists:usort(maps:values(iris_durable_batcher:get_stats())).") == "[0]"

    @pytest.mark.parametrize(
        ("call", "keys"),
        [
            (
                "iris_partition_guard:get_status()",
                "mode safe_for_writes expected_nodes visible_nodes partition_count last_quorum_loss membership_mode",
            ),
            ("iris_cluster_manager:get_status()", "enabled pending_nodes last_replication stats"),
            ("iris_flow_controller:get_stats()", "level admitted rejected cpu_percent memory_percent cascade_detected"),
            (
                "iris_durable_batcher:get_stats()",
                "total_pending writes_wal writes_mnesia writes_remote remote_failures batch_count",
            ),
            ("iris_presence:get_stats()", "table_size expirations"),
        ],
    )
    def test_status_of_a_core(self, demo_cluster: DemoCluster, call: str, keys: str) -> None:
        expected = ",".join(keys.split())
        assert demo_cluster.cores[0].evaluate(f"[{expected}] -- maps:keys({call}).") == "[]"

    def test_status_of_an_edge(self, demo_cluster: DemoCluster) -> None:
        edge = demo_cluster.edges[0]
        keys = "[local_users, routed_local, routed_remote, routed_offline, route_failures, uptime_seconds]"
        assert edge.evaluate(f"{keys} -- maps:keys(iris_async_router:get_stats()).") == "[]"
        assert edge.evaluate("is_map(iris_circuit_breaker:get_all_status()).") == "true"


class TestOfflineStore:
    @pytest.mark.parametrize(("schema", "key"), [("bucketed", "{{{user},0}}"), ("bare", "{user}")])
    def test_row_shape(self, demo_cluster_with: ClusterWith, user: str, schema: str, key: str) -> None:
        cluster = demo_cluster_with() if schema == "bucketed" else demo_cluster_with(schema=schema)
        cluster.store(user, [b"hello"])
        key = key.format(user=quoted(user))
        rows = cluster.cores[0].evaluate(f"mnesia:dirty_read(offline_msg, {key}).")
        assert re.fullmatch(re.escape(f"[{{offline_msg,{key},") + r"\d{13}" + re.escape(',<<"hello">>}]'), rows)

    def test_buckets_spread_a_user_over_several_keys(self, demo_cluster: DemoCluster, user: str) -> None:
        core = demo_cluster.cores[0]
        assert core.evaluate(f"iris_core:get_bucket_count({quoted(user)}).") == "1"
        core.evaluate(f"{{atomic, ok}} = iris_core:set_bucket_count({quoted(user)}, 4).")
        demo_cluster.store(user, payloads(20))
        assert demo_cluster.stored(user) == payloads(20)
        keys = core.evaluate(
            f"lists:usort([B || {{U, B}} <- mnesia:dirty_all_keys(offline_msg), U =:= {quoted(user)}])."
        )
        assert keys == "[0,1,2,3]"

    def test_a_batch_is_one_row(self, demo_cluster: DemoCluster, user: str) -> None:
        core = demo_cluster.cores[0]
        core.evaluate(f'iris_core:store_batch({quoted(user)}, [<<"one">>, <<"two">>]).')
        assert core.evaluate(f"length(mnesia:dirty_read(offline_msg, {{{quoted(user)}, 0}})).") == "1"
        assert demo_cluster.stored(user) == [b"one", b"two"]

    def test_a_row_waits_in_the_log_until_the_flush(self, demo_cluster_with: ClusterWith, user: str) -> None:
        cluster = demo_cluster_with(core_env={"flush_interval_ms": "3600000"})
        core = cluster.cores[0]
        core.evaluate(f'ok = iris_core:store_offline_durable({quoted(user)}, <<"hello">>).')
        look = (
            "{maps:get(total_pending, iris_durable_batcher:get_stats()), "
            f"mnesia:dirty_read(offline_msg, {{{quoted(user)}, 0}})}}."
        )
        assert core.evaluate(look) == "{1,[]}"
        core.evaluate("ok = iris_durable_batcher:force_flush().")
        assert core.evaluate(look).startswith("{0,[{offline_msg,")

    def test_a_core_that_is_killed_loses_nothing_of_what_it_has_taken(self, user: str) -> None:
        with DemoCluster(edges=1, hidden_edges=0, core_env={"flush_interval_ms": "3600000"}) as cluster:
            cluster.store(user, [b"in the table"])
            cluster.cores[0].evaluate(f'ok = iris_core:store_offline_durable({quoted(user)}, <<"in the log">>).')
            cluster.kill_node(cluster.seed)
            cluster.restart_node(cluster.seed)
            assert cluster.stored(user) == [b"in the table", b"in the log"]
            assert cluster.cores[0].evaluate("nodes(connected).") == "[iris_edge1@localhost]"

    def test_cores_replicate(self, user: str) -> None:
        with DemoCluster(cores=2, edges=1) as cluster:
            first, second = cluster.cores
            cluster.store(user, [b"one"])
            read = f"iris_offline_storage:retrieve_lockfree({quoted(user)}, 1)."
            assert second.evaluate(read) == '[<<"one">>]'
            cluster.kill_node(first)
            second.evaluate(f'iris_core:store_offline({quoted(user)}, <<"two">>), iris_durable_batcher:force_flush().')
            cluster.restart_node(first)
            assert first.evaluate(read) == '[<<"one">>,<<"two">>]'
            assert first.evaluate("lists:sort(mnesia:table_info(offline_msg, disc_copies)).") == (
                "[iris_core1@localhost,iris_core2@localhost]"
            )

    def test_durability_mode_cluster_writes_to_a_second_core(self, user: str) -> None:
        with DemoCluster(cores=2, edges=0, hidden_edges=0, core_env={"durability_mode": "cluster"}) as cluster:
            cluster.store(user, [b"one"])
            core = cluster.cores[0]
            assert core.evaluate("iris_durable_batcher:get_secondary_node().") == "iris_core2@localhost"
            assert core.evaluate("maps:get(writes_remote, iris_durable_batcher:get_stats()).") == "1"

    def test_durability_mode_cluster_alone_counts_failures(self, user: str) -> None:
        with DemoCluster(edges=1, core_env={"durability_mode": "cluster"}) as cluster:
            cluster.store(user, [b"one"])
            assert cluster.cores[0].evaluate("iris_durable_batcher:get_secondary_node().") == "undefined"
            assert cluster.cores[0].evaluate("maps:get(remote_failures, iris_durable_batcher:get_stats()).") == "1"


class TestLogIn:
    @pytest.mark.parametrize("edge", [0, 1], ids=["visible", "hidden"])
    def test_delivers_and_removes(self, demo_cluster: DemoCluster, log_in: LogIn, user: str, edge: int) -> None:
        demo_cluster.store(user, payloads(5))
        client = log_in(demo_cluster.edges[edge], user)
        assert [message.payload for message in client.wait_for(5)] == payloads(5)
        assert demo_cluster.stored(user) == []

    def test_does_not_track_the_acknowledgements(self, demo_cluster: DemoCluster, log_in: LogIn, user: str) -> None:
        demo_cluster.store(user, payloads(3))
        client = log_in(demo_cluster.edges[0], user, auto_ack=False)
        client.wait_for(3)
        assert pending_acks(demo_cluster.edges[0], user) == 0

    def test_registers_on_the_edge_and_the_core(self, demo_cluster: DemoCluster, log_in: LogIn, user: str) -> None:
        edge = demo_cluster.edges[1]
        log_in(edge, user)
        pid = connection_of(edge, user, "Pid")
        assert re.fullmatch(r"<0\.\d+\.\d+>", pid)
        assert connection_of(edge, user, "proc_lib:translate_initial_call(Pid)") == "{iris_edge_conn,init,1}"
        # Edges register in the background.
        found = demo_cluster.cores[0].evaluate(
            "Wait = fun Wait() -> "
            f"case lists:keyfind({quoted(user)}, 1, iris_presence:get_all_local()) of "
            "false -> timer:sleep(5), Wait(); {_, Node, _} -> Node end end, Wait()."
        )
        assert found == edge.name
        assert demo_cluster.cores[0].evaluate(f"iris_core:get_status({quoted(user)}).") == "{online,true,0}"

    def test_a_token_is_not_part_of_the_name(self, demo_cluster: DemoCluster, log_in: LogIn, user: str) -> None:
        log_in(demo_cluster.edges[0], f"{user}:token")
        assert connection_of(demo_cluster.edges[0], user, "is_pid(Pid)") == "true"

    def test_a_huge_backlog_ends_the_connection_and_is_lost(
        self, demo_cluster: DemoCluster, log_in: LogIn, user: str
    ) -> None:
        core, edge = demo_cluster.cores[0], demo_cluster.edges[0]
        core.evaluate(
            f"[mnesia:dirty_write({{offline_msg, {{{quoted(user)}, 0}}, N, integer_to_binary(N)}}) "
            "|| N <- lists:seq(1, 12001)], ok."
        )
        with pytest.raises(ChatError):
            ChatClient("127.0.0.1", edge.port, user).login().wait_for(12001)
        assert demo_cluster.stored(user) == []
        # The edge opens the same port again.
        wait_until_listening(edge)
        log_in(edge, user)

    def test_an_absent_user_is_not_found_the_hard_way(self, demo_cluster: DemoCluster) -> None:
        with pytest.raises(DemoError, match="noproc"):
            demo_cluster.cores[0].evaluate('iris_core:lookup_user(<<"nobody">>).')


class TestDelivery:
    def test_until_it_is_acknowledged_a_message_is_pending(
        self, demo_cluster: DemoCluster, log_in: LogIn, user: str
    ) -> None:
        edge = demo_cluster.edges[0]
        client = log_in(edge, user, auto_ack=False)
        deliver(edge, user, payloads(2))
        first, second = client.wait_for(2)
        assert (first.payload, second.payload) == (b"message 000", b"message 001")
        assert pending_acks(edge, user) == 2
        client.ack(first.msg_id)
        client.wait_acknowledged(1)
        assert pending_acks(edge, user) == 1
        client.ack(second.msg_id)
        client.wait_acknowledged(2)
        assert pending_acks(edge, user) == 0
        assert demo_cluster.stored(user) == []

    def test_between_users_on_different_edges(self, demo_cluster: DemoCluster, log_in: LogIn, user: str) -> None:
        visible, hidden = demo_cluster.edges
        alice, bob = log_in(visible, f"{user}-alice"), log_in(hidden, f"{user}-bob")
        for sender, target, edge in ((alice, bob, hidden), (bob, alice, visible)):
            # The presence of a user who has just logged in reaches the core in the background.
            demo_cluster.cores[0].evaluate(
                f"Wait = fun Wait() -> case iris_presence:lookup_local({quoted(target.user)}) of "
                "{ok, _, _} -> ok; _ -> timer:sleep(5), Wait() end end, Wait()."
            )
            sender.send(target.user, b"hello")
            assert target.receive().payload == b"hello"
            target.wait_acknowledged(1)
            assert pending_acks(edge, target.user) == 0

    def test_to_an_absent_user_goes_to_the_store(self, demo_cluster: DemoCluster, log_in: LogIn, user: str) -> None:
        for edge in demo_cluster.edges:
            log_in(edge, f"{user}-sender").send(f"{user}-absent", edge.name.encode())
        stored = demo_cluster.wait_until_stored(f"{user}-absent", 2)
        assert sorted(stored) == [edge.name.encode() for edge in demo_cluster.edges]

    def test_the_breaker_of_a_hidden_edge_reports_the_edge_itself(
        self, demo_cluster: DemoCluster, log_in: LogIn, user: str
    ) -> None:
        visible, hidden = demo_cluster.edges
        for edge in (visible, hidden):
            log_in(edge, f"{user}-sender").send(f"{user}-absent", edge.name.encode())
        demo_cluster.wait_until_stored(f"{user}-absent", 2)
        core = demo_cluster.seed
        assert visible.evaluate("maps:keys(iris_circuit_breaker:get_all_status()).") == f"[{core}]"
        assert hidden.evaluate("lists:sort(maps:keys(iris_circuit_breaker:get_all_status())).") == (
            f"[{core},{hidden.name}]"
        )

    def test_presence_that_has_expired_sends_messages_to_the_store(
        self, demo_cluster_with: ClusterWith, log_in: LogIn, user: str
    ) -> None:
        cluster = demo_cluster_with(core_env={"presence_expiry_ms": "-1"})
        bob = log_in(cluster.edges[0], f"{user}-bob")
        log_in(cluster.edges[1], f"{user}-alice").send(bob.user, b"hello")
        assert cluster.wait_until_stored(bob.user, 1) == [b"hello"]
        assert bob.connected
        assert bob.received == []

    def test_without_an_acknowledgement_the_message_is_stored_again(
        self, demo_cluster_with: ClusterWith, log_in: LogIn, user: str
    ) -> None:
        cluster = demo_cluster_with(ack_timeout_ms=500)
        edge = cluster.edges[1]
        client = log_in(edge, user, auto_ack=False)
        deliver(edge, user, payloads(3))
        assert sorted(cluster.wait_until_stored(user, 3)) == payloads(3)
        assert pending_acks(edge, user) == 0
        assert client.connected

    def test_hanging_up_stores_what_is_not_acknowledged(
        self, demo_cluster: DemoCluster, log_in: LogIn, user: str
    ) -> None:
        edge = demo_cluster.edges[0]
        client = log_in(edge, user, hang_up_after=4)
        deliver(edge, user, payloads(10))
        client.wait_closed()
        assert len(client.acknowledged) == 4
        assert sorted(demo_cluster.wait_until_stored(user, 6)) == payloads(6, start=4)

    def test_two_acknowledgements_in_one_segment_are_not_understood(self, demo_cluster: DemoCluster, user: str) -> None:
        edge = demo_cluster.edges[0]
        with socket.create_connection(("127.0.0.1", edge.port), 10) as raw:
            raw.sendall(b"\x01" + user.encode())
            assert raw.recv(100) == LOGIN_OK
            deliver(edge, user, payloads(2))
            length = 3 + 16 + 4 + 11
            received = b""
            while len(received) < 2 * length:
                received += raw.recv(1000)
            ids = [received[start + 3 : start + 19] for start in (0, length)]
            raw.sendall(b"".join(b"\x03" + msg_id for msg_id in ids))
            in_all = 1 + len(user) + 2 * 17
            connection_of(
                edge,
                user,
                "{_, Data} = sys:get_state(Pid), "
                f"Wait = fun Wait() -> case inet:getstat(element(2, Data), [recv_oct]) of {{ok, [{{_, {in_all}}}]}} -> "
                "sys:get_state(Pid); _ -> timer:sleep(5), Wait() end end, Wait()",
            )
            assert pending_acks(edge, user) == 2
            raw.sendall(b"\x05\x00\x00\x03" + ids[0])
            assert raw.recv(100)[0] == 6
            assert pending_acks(edge, user) == 1

    def test_what_is_no_binary_ends_every_connection_of_the_edge(
        self, demo_cluster: DemoCluster, log_in: LogIn, user: str
    ) -> None:
        edge, other_edge = demo_cluster.edges
        victim, bystander = log_in(edge, f"{user}-victim"), log_in(edge, f"{user}-bystander")
        elsewhere = log_in(other_edge, f"{user}-elsewhere")
        connection_of(edge, victim.user, "Pid ! {deliver_msg, #{}}")
        victim.wait_closed()
        bystander.wait_closed()
        with pytest.raises(ConnectionEnded):
            bystander.send(victim.user, b"hello")
        assert elsewhere.connected
        wait_until_listening(edge)
        # The edge still lists both; those who log in again and hang up are taken off the list.
        log_in(edge, victim.user)
        log_in(edge, bystander.user)


class TestWebSocket:
    def test_sends_and_receives(
        self, demo_cluster: DemoCluster, log_in: LogIn, log_in_by_websocket: WebSocketLogIn, user: str
    ) -> None:
        edge = demo_cluster.edges[1]
        chat, web = log_in(edge, f"{user}-chat"), log_in_by_websocket(edge, f"{user}-web")
        for payload in (b"short", b"m" * 1000, b"\x10looks like a packet"):
            chat.send(web.user, payload)
            assert web.receive() == (b"", payload)
            web.send(chat.user, payload)
            assert chat.receive().payload == payload

    def test_delivers_what_was_stored_at_log_in(
        self, demo_cluster: DemoCluster, log_in_by_websocket: WebSocketLogIn, user: str
    ) -> None:
        demo_cluster.store(user, payloads(3))
        web = log_in_by_websocket(demo_cluster.edges[0], user)
        assert [message.payload for message in web.wait_for(3)] == payloads(3)
        assert demo_cluster.stored(user) == []

    def test_there_is_no_acknowledgement(
        self, demo_cluster: DemoCluster, log_in_by_websocket: WebSocketLogIn, user: str
    ) -> None:
        edge = demo_cluster.edges[0]
        web = log_in_by_websocket(edge, user)
        assert connection_of(edge, user, "proc_lib:translate_initial_call(Pid)") == "{iris_ws_lite,init,1}"
        deliver(edge, user, payloads(2))
        assert web.wait_for(2) == [(b"", payload) for payload in payloads(2)]
        web.close()
        # The edge has noticed the end when the entry has gone; nothing was stored by then or later.
        edge.evaluate(
            f"Wait = fun Wait() -> case ets:member(local_presence_v2, {quoted(user)}) of "
            "true -> timer:sleep(5), Wait(); false -> ok end end, Wait()."
        )
        assert demo_cluster.stored(user) == []


class TestRedeliver:
    CALL = "iris_offline_storage:redeliver({user})."

    @pytest.mark.parametrize("exported", [True, False])
    def test_exported_or_not(self, demo_cluster_with: ClusterWith, exported: bool) -> None:
        cluster = demo_cluster_with(redeliver_exported=True) if exported else demo_cluster_with()
        core = cluster.cores[0]
        core.evaluate("code:ensure_loaded(iris_offline_storage).")
        answer = core.evaluate("erlang:function_exported(iris_offline_storage, redeliver, 1).")
        assert answer == json.dumps(exported)

    @pytest.mark.parametrize("schema", ["bucketed", "bare"])
    @pytest.mark.parametrize("edge", [0, 1], ids=["visible", "hidden"])
    def test_delivers_and_removes(
        self, demo_cluster_with: ClusterWith, log_in: LogIn, user: str, schema: str, edge: int
    ) -> None:
        options = {} if schema == "bucketed" else {"schema": schema}
        cluster = demo_cluster_with(redeliver_exported=True, **options)
        client = log_in(cluster.edges[edge], user)
        cluster.store(user, payloads(20))
        assert cluster.cores[0].evaluate(self.CALL.format(user=quoted(user))) == "{ok,20}"
        assert [message.payload for message in client.received] == payloads(20)
        assert cluster.stored(user) == []

    def test_keeps_what_is_not_acknowledged(self, demo_cluster_with: ClusterWith, log_in: LogIn, user: str) -> None:
        cluster = demo_cluster_with(redeliver_exported=True)
        log_in(cluster.edges[0], user, hang_up_after=7)
        cluster.store(user, payloads(20))
        answer = cluster.cores[0].evaluate(self.CALL.format(user=quoted(user)))
        # The connection may end before the last acknowledgement is seen, and what was on its way by then is there
        # twice: that is what at-least-once means.
        assert answer in ("{ok,6}", "{ok,7}")
        assert set(payloads(13, start=7)) <= set(cluster.stored(user)) <= set(payloads(14, start=6))

    def test_changes_nothing_for_a_user_who_is_offline(self, demo_cluster_with: ClusterWith, user: str) -> None:
        cluster = demo_cluster_with(redeliver_exported=True)
        cluster.store(user, payloads(2))
        assert cluster.cores[0].evaluate(self.CALL.format(user=quoted(user))) == "{error,offline}"
        assert cluster.stored(user) == payloads(2)

    def test_changes_nothing_for_a_user_on_a_websocket(
        self, demo_cluster_with: ClusterWith, log_in_by_websocket: WebSocketLogIn, user: str
    ) -> None:
        cluster = demo_cluster_with(redeliver_exported=True)
        log_in_by_websocket(cluster.edges[0], user)
        cluster.store(user, payloads(2))
        assert cluster.cores[0].evaluate(self.CALL.format(user=quoted(user))) == "{error,no_acknowledgement}"
        assert cluster.stored(user) == payloads(2)


class TestNodes:
    def test_stop_kill_suspend_and_restart(self, user: str) -> None:
        with DemoCluster(edges=1, hidden_edges=0, ack_timeout_ms=1000) as cluster:
            core, edge = cluster.cores[0], cluster.edges[0]
            port = edge.port
            cluster.suspend_node(edge)
            with pytest.raises(TimeoutError):
                edge.evaluate("ok.", timeout=0.2)
            cluster.resume_node(edge)
            assert edge.evaluate("ok.") == "ok"
            cluster.kill_node("iris_edge1")
            assert not edge.running
            cluster.restart_node("iris_edge1")
            assert edge.port == port
            cluster.stop_node(edge)
            assert not edge.running
            cluster.restart_node(edge)
            assert core.evaluate("nodes().") == f"[{edge.name}]"
            with ChatClient("127.0.0.1", edge.port, user) as client:
                assert client.connected
            cluster.suspend_node(core)

    def test_a_named_directory_keeps_the_messages(self, tmp_path: Path, user: str) -> None:
        directory = tmp_path / "cluster"
        with DemoCluster(edges=0, hidden_edges=0, directory=directory) as cluster:
            cluster.store(user, [b"hello"])
            cookie = cluster.cookie
        with DemoCluster(edges=0, hidden_edges=0, directory=directory) as cluster:
            assert cluster.cookie == cookie
            assert cluster.stored(user) == [b"hello"]

    def test_a_port_that_is_taken_is_reported(self, demo_cluster: DemoCluster) -> None:
        with pytest.raises(DemoError, match="in use"):
            DemoCluster(edges=0, hidden_edges=0, epmd_port=demo_cluster.epmd_port).start()

    def test_impossible_clusters(self) -> None:
        with pytest.raises(ValueError, match="at least one core"):
            DemoCluster(cores=0)
        with pytest.raises(ValueError, match="hidden"):
            DemoCluster(edges=1, hidden_edges=2)


class TestCommandLine:
    SCRIPT = EXAMPLES / "demo_cluster" / "demo_cluster.py"

    @pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
    def test_runs_until_it_is_told_to_stop(self, stop: signal.Signals) -> None:
        command = [sys.executable, str(self.SCRIPT), "--edges", "1", "--hidden-edges", "0", "--redeliver"]
        with subprocess.Popen([*command, "--schema", "bare"], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            shown = ""
            for line in process.stdout:
                shown += line
                if "Ctrl-C" in line:
                    break
            process.send_signal(stop)
            shown += process.stdout.read()
        assert process.returncode == 0
        assert "export IRIS_ADMIN_NODE=iris_core1@localhost" in shown
        assert re.search(r"iris_edge1@localhost +edge +clients on port \d+, WebSocket on \d+", shown)
        found = re.search(r"export ERL_EPMD_PORT=(\d+)", shown)
        assert found is not None
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(found[1]))).close()

    def test_nothing_outlives_a_starter_that_is_killed(self) -> None:
        with subprocess.Popen(
            [sys.executable, str(self.SCRIPT), "--edges", "0", "--hidden-edges", "0"],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            shown = ""
            for line in process.stdout:
                shown += line
                if "Ctrl-C" in line:
                    break
            process.kill()
        found = re.search(r"export IRIS_ADMIN_COOKIE_FILE=(.+)\nexport ERL_EPMD_PORT=(\d+)", shown.replace("  ", ""))
        assert found is not None
        wait_until_nobody_listens(int(found[2]))
        # Its files are all that it leaves behind.
        shutil.rmtree(Path(found[1]).parent, ignore_errors=True)

    def test_a_mistake_is_reported_without_a_traceback(self) -> None:
        result = subprocess.run(
            [sys.executable, str(self.SCRIPT), "--edges", "0"], capture_output=True, text=True, check=False
        )
        assert result.returncode == 1
        assert "more hidden edges than edges" in result.stderr
        assert "Traceback" not in result.stderr
