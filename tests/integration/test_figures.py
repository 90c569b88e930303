"""The machine, processes, tables and garbage of real nodes, held against what the nodes say themselves."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from iris_admin.client import Node
from iris_admin.errors import NoSuchProcess
from iris_admin.operations import gc as gc_module
from iris_admin.operations import processes as processes_module
from iris_admin.terms import Atom
from tests.integration.conftest import Footprint
from tests.support.erlang import ErlangNode, NodeFactory

Connect = Callable[..., Node]


@pytest.fixture(autouse=True)
def audit_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "audit.jsonl"
    monkeypatch.setenv("IRIS_ADMIN_AUDIT_FILE", str(path))
    return path


@pytest.fixture
def erlang(fresh_node: NodeFactory) -> ErlangNode:
    """A node of this test's own, with a word for starting processes that stay."""
    return fresh_node()


def hold(node: ErlangNode, what: str, *, name: str | None = None, before: str = "ok") -> str:
    """Start a process that holds a value until it is told ``stop``; its pid as the node writes it."""
    register = "" if name is None else f"register({name}, Pid), "
    return node.evaluate(
        f"Me = self(), Pid = spawn(fun() -> {before}, Held = {what}, Me ! {{ready, self()}}, "
        f"receive stop -> Held end end), receive {{ready, Pid}} -> ok end, {register}pid_to_list(Pid)."
    ).strip('"')


class TestProcesses:
    def test_by_memory(self, erlang: ErlangNode, connect: Connect) -> None:
        large = hold(erlang, "lists:seq(1, 100000)", name="large")
        small = hold(erlang, "lists:seq(1, 50000)")
        found = connect(erlang).processes(count=2)
        assert [row.pid for row in found.processes] == [large, small]
        assert found.processes[0].registered_name == "large"
        memory = int(erlang.evaluate("element(2, process_info(whereis(large), memory))."))
        assert found.processes[0].memory_bytes == memory
        assert found.process_count >= int(erlang.evaluate("erlang:system_info(process_count)."))
        assert (found.by, found.interval_seconds) == ("memory", None)

    def test_by_messages_that_wait(self, erlang: ErlangNode, connect: Connect) -> None:
        node = connect(erlang)
        assert list(node.processes("message_queue_len").processes) == []
        waiting = hold(erlang, "ok", name="waiting")
        erlang.evaluate("[waiting ! {secret, N} || N <- lists:seq(1, 1000)].")
        (row,) = node.processes("message_queue_len").processes
        assert (row.pid, row.message_queue_len) == (waiting, 1000)
        assert "secret" not in repr(row.to_dict())

    def test_by_binaries(self, erlang: ErlangNode, connect: Connect) -> None:
        holder = hold(erlang, "[binary:copy(<<0>>, 1000000) || _ <- lists:seq(1, 5)]")
        first = connect(erlang).processes("binary", count=1).processes[0]
        assert first.pid == holder
        assert first.binary_bytes is not None
        assert 5_000_000 <= first.binary_bytes < 5_100_000

    def test_by_reductions_within_an_interval(self, erlang: ErlangNode, connect: Connect) -> None:
        # Much was done by the one, but long ago; the other is at it.
        work = "lists:foreach(fun(_) -> lists:seq(1, 1000) end, lists:seq(1, 3000))"
        hold(erlang, "ok", name="was_busy", before=work)
        busy = erlang.evaluate("pid_to_list(spawn(fun Work() -> lists:sum(lists:seq(1, 100)), Work() end)).").strip('"')
        found = connect(erlang).processes("reductions", count=3, interval=0.2)
        assert found.processes[0].pid == busy
        assert found.processes[0].change is not None
        assert found.processes[0].change > 10_000
        assert "was_busy" not in [row.registered_name for row in found.processes]
        assert found.interval_seconds == 0.2

    def test_those_that_end_meanwhile_do_not_disturb(self, erlang: ErlangNode, connect: Connect) -> None:
        erlang.evaluate(
            "Churn = fun Churn() -> spawn(fun() -> lists:seq(1, 1000) end), "
            "receive stop -> ok after 0 -> Churn() end end, register(churn, spawn(Churn))."
        )
        stay = hold(erlang, "lists:seq(1, 200000)")
        node = connect(erlang)
        for interval in (None, 0.05):
            for by in processes_module.CRITERIA:
                node.processes(by, interval=interval)  # type: ignore[arg-type]
        assert node.processes(count=1).processes[0].pid == stay

    @pytest.mark.parametrize("order", ["lists:seq(1, 2500)", "lists:seq(2500, 1, -1)"])
    def test_the_best_are_found_among_many_chunks(
        self, erlang: ErlangNode, connect: Connect, order: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(processes_module, "CHUNK", 100)
        erlang.evaluate(
            f"Me = self(), [begin Pid = spawn(fun() -> receive stop -> ok end end), "
            f"[Pid ! x || _ <- lists:seq(1, N)] end || N <- {order}, N rem 100 =:= 0 orelse "
            "begin spawn(fun() -> receive stop -> ok end end), false end]."
        )
        found = connect(erlang).processes("message_queue_len", count=7)
        assert [row.message_queue_len for row in found.processes] == [2500, 2400, 2300, 2200, 2100, 2000, 1900]

    def test_initial_call_of_otp_s_behaviours(self, erlang: ErlangNode, connect: Connect) -> None:
        found = connect(erlang).processes(count=100).processes
        by_name = {row.registered_name: row for row in found}
        assert by_name["logger"].initial_call == "logger_server:init/1"
        current = erlang.evaluate("element(2, process_info(whereis(kernel_sup), current_function))")
        module, function, arity = current.strip("{}").split(",")  # the arity differs between releases
        assert by_name["kernel_sup"].current_function == f"{module}:{function}/{arity}"

    def test_a_large_dictionary_is_not_read(
        self, erlang: ErlangNode, connect: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(processes_module, "MAX_DICTIONARY", 0)
        found = connect(erlang).processes(count=100).processes
        calls = {row.registered_name: row.initial_call for row in found}
        release = int(erlang.evaluate("erlang:system_info(otp_release).").strip('"'))
        assert calls["logger"] == ("logger_server:init/1" if release >= 27 else "proc_lib:init_p/5")

    def test_answers_while_a_process_executes_native_code(self, erlang: ErlangNode, connect: Connect) -> None:
        pid = native_code(erlang)
        found = connect(erlang).processes(count=100)
        assert pid in [row.pid for row in found.processes]
        assert connect(erlang).process(pid).pid == pid

    def test_the_answer_is_short(self, erlang: ErlangNode, connect: Connect) -> None:
        erlang.evaluate("[spawn(fun() -> receive stop -> ok end end) || _ <- lists:seq(1, 5000)].")
        node = connect(erlang)
        node.processes()
        before = sent_bytes(node)
        node.processes()
        assert sent_bytes(node) - before < 10_000

    def test_nothing_is_left_behind(self, node: Node, footprint: Callable[[], Footprint]) -> None:
        def look() -> None:
            for by in processes_module.CRITERIA:
                node.processes(by)  # type: ignore[arg-type]
                node.processes(by, interval=0.01)  # type: ignore[arg-type]
            node.process("init")
            node.ets_tables()
            node.ets_tables("rows")
            node.stats_change(0.01)
            node.memory_change(0.01)
            node.system(0.01)
            node.gc_process("init")
            node.gc_top(3)
            node.gc_all()
            with pytest.raises(NoSuchProcess):
                node.process("a_name_that_nobody_has_ever_had")

        look()  # some names of figures are atoms only since somebody has asked for them
        before = footprint()
        look()
        before.assert_unchanged()


def sent_bytes(node: Node) -> int:
    """What the node has sent to us."""
    sent = node.eval(
        "[Port | _] = [P || Row <- ets:lookup(sys_dist, node(group_leader())), P <- tuple_to_list(Row), is_port(P)], "
        "{ok, [{send_oct, Sent}]} = inet:getstat(Port, [send_oct]), Sent"
    )
    assert isinstance(sent, int)
    return sent


def native_code(node: ErlangNode) -> str:
    """Start a process that executes native code, on a dirty scheduler, for longer than a test takes; its pid."""
    return node.evaluate(
        "Pid = spawn(fun() -> crypto:generate_key(rsa, {16384, 65537}) end), "
        "Wait = fun Wait() -> case process_info(Pid, current_function) of {_, {crypto, _, _}} -> ok; "
        "_ -> timer:sleep(10), Wait() end end, Wait(), pid_to_list(Pid)."
    ).strip('"')


class TestProcess:
    def test_by_pid_and_by_name(self, erlang: ErlangNode, connect: Connect) -> None:
        pid = hold(erlang, "lists:seq(1, 1000)", name="held", before="process_flag(trap_exit, true)")
        node = connect(erlang)
        found = node.process("held")
        assert [node.process(which).registered_name for which in (pid, pid.strip("<>"))] == ["held", "held"]
        assert (found.pid, found.registered_name, found.status) == (pid, "held", "waiting")
        assert (found.trap_exit, found.priority, found.message_queue_data) == (True, "normal", "on_heap")
        assert (found.links, found.monitors, found.monitored_by) == (0, 0, 0)
        assert found.stacktrace
        assert found.max_heap_bytes is None

    def test_relations_and_limits(self, erlang: ErlangNode, connect: Connect) -> None:
        erlang.evaluate(
            "Me = self(), register(hub, spawn_opt(fun() -> [spawn_link(fun() -> receive stop -> ok end end) || "
            "_ <- lists:seq(1, 7)], monitor(process, init), Me ! ready, receive stop -> ok end end, "
            "[{max_heap_size, 1000000}])), receive ready -> ok end, monitor(process, hub)."
        )
        found = connect(erlang).process("hub")
        assert (found.links, found.monitors, found.monitored_by) == (7, 1, 1)
        assert found.max_heap_bytes == 8_000_000

    def test_too_many_relations_are_not_counted(
        self, erlang: ErlangNode, connect: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(processes_module, "MAX_RELATIONS_HEAP", 20_000)
        erlang.evaluate(
            "Me = self(), register(hub, spawn(fun() -> [spawn_link(fun() -> receive stop -> ok end end) || "
            "_ <- lists:seq(1, 20000)], Me ! ready, receive stop -> ok end end)), receive ready -> ok end."
        )
        found = connect(erlang).process("hub")
        assert (found.links, found.monitors, found.monitored_by) == (None, None, None)
        assert found.registered_name == "hub"

    @pytest.mark.parametrize(
        "which", ["nobody_is_called_so", "<0.32767.8191>", "0.99999999999.0", "", "<1.2.3>", "grün", "\ud800"]
    )
    def test_there_is_none(self, node: Node, which: str) -> None:
        with pytest.raises(NoSuchProcess, match="there is no process"):
            node.process(which)

    def test_a_name_is_no_new_atom(self, node: Node) -> None:
        name = f"nobody_{os.urandom(6).hex()}"
        with pytest.raises(NoSuchProcess):
            node.process(name)
        with pytest.raises(Exception, match="badarg"):
            node.call("erlang", "binary_to_existing_atom", name.encode())

    def test_one_that_has_ended(self, erlang: ErlangNode, connect: Connect) -> None:
        pid = hold(erlang, "ok", name="short")
        erlang.evaluate("Ref = monitor(process, short), short ! stop, receive {'DOWN', Ref, _, _, _} -> ok end.")
        with pytest.raises(NoSuchProcess) as caught:
            connect(erlang).process(pid)
        assert caught.value.exit_code == 69


class TestEts:
    def test_largest(self, erlang: ErlangNode, connect: Connect) -> None:
        owner = hold(
            erlang,
            "Table = ets:new(big, [named_table, ordered_set, private]), [ets:insert(Table, {N, N}) || "
            "N <- lists:seq(1, 20000)]",
            name="keeper",
        )
        hold(erlang, "[ets:new(small, []) || _ <- lists:seq(1, 1500)]")
        found = connect(erlang).ets_tables(count=3)
        first = found.tables[0]
        assert (first.name, first.named, first.rows) == ("big", True, 20000)
        assert (first.type, first.protection) == ("ordered_set", "private")
        assert (first.owner, first.owner_name) == (owner, "keeper")
        assert first.bytes == int(erlang.evaluate("ets:info(big, memory) * erlang:system_info(wordsize)."))
        assert found.table_count == int(erlang.evaluate("length(ets:all())."))
        total = int(erlang.evaluate("lists:sum([ets:info(T, memory) || T <- ets:all()]) * 8."))
        assert found.total_bytes is not None
        assert abs(found.total_bytes - total) < 100_000

    def test_by_rows(self, erlang: ErlangNode, connect: Connect) -> None:
        hold(erlang, "Table = ets:new(rows, []), [ets:insert(Table, {N}) || N <- lists:seq(1, 5000)]")
        found = connect(erlang).ets_tables("rows", count=1)
        assert (found.tables[0].name, found.tables[0].named, found.tables[0].rows) == ("rows", False, 5000)
        assert found.total_bytes is None
        assert found.total_rows is not None
        assert found.total_rows > 5000


class TestGc:
    GARBAGE = "begin lists:seq(1, 500000), ok end"

    def test_one_process(self, erlang: ErlangNode, connect: Connect, audit_file: Path) -> None:
        pid = hold(erlang, self.GARBAGE, name="untidy")
        node = connect(erlang)
        found = node.gc_process("untidy")
        (row,) = found.processes
        assert (found.scope, found.asked, found.answered, row.pid, row.answered) == ("process", 1, 1, pid, True)
        assert row.memory_before_bytes is not None
        assert row.memory_after_bytes is not None
        assert row.memory_before_bytes > 1_000_000 > row.memory_after_bytes
        assert found.processes_after_bytes < found.processes_before_bytes
        (entry,) = map(json.loads, audit_file.read_text().splitlines())
        assert (entry["command"], entry["node"], entry["plan"]) == ("gc", node.name, {"process": pid})

    def test_the_first_by_binaries(self, erlang: ErlangNode, connect: Connect) -> None:
        pid = hold(erlang, "begin [binary:copy(<<0>>, 1000000) || _ <- lists:seq(1, 20)], ok end")
        found = connect(erlang).gc_top(1, by="binary")
        (row,) = found.processes
        assert row.pid == pid
        assert row.binary_before_bytes is not None
        assert row.binary_before_bytes >= 1_000_000
        assert row.binary_after_bytes == 0
        assert found.scope == "top"

    def test_all_in_batches(
        self, erlang: ErlangNode, connect: Connect, monkeypatch: pytest.MonkeyPatch, audit_file: Path
    ) -> None:
        monkeypatch.setattr(gc_module, "BATCH", 200)
        erlang.evaluate("[spawn(fun() -> receive stop -> ok end end) || _ <- lists:seq(1, 1000)].")
        pid = hold(erlang, self.GARBAGE)
        node = connect(erlang)
        told: list[str] = []
        node.on_progress = told.append
        before = node.process(pid).memory_bytes
        found = node.gc_all()
        after = node.process(pid).memory_bytes
        assert before is not None
        assert after is not None
        assert before > 1_000_000 > after
        assert found.scope == "all"
        assert found.asked == found.answered >= 1000
        assert 4 <= len(told) <= 8
        done = [int(re.findall(r"\d+", line)[0]) for line in told]
        assert done == sorted(done)
        assert json.loads(audit_file.read_text())["outcome"] == f"{found.asked} processes"

    def test_native_code_does_not_hold_up_the_others(
        self, erlang: ErlangNode, connect: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(gc_module, "PATIENCE", 0.2)
        node = connect(erlang)
        pid = native_code(erlang)
        (row,) = node.gc_process(pid).processes
        assert (row.pid, row.answered) == (pid, False)
        found = node.gc_all()
        assert found.asked - found.answered == 1
        assert node.process(pid).pid == pid


class TestSystem:
    def test_from_the_files_of_the_system(self, node: Node) -> None:
        found = node.system(0.1)
        own = Path("/proc/meminfo").read_text()
        total = re.search(r"MemTotal:\s+(\d+) kB", own)
        assert total is not None
        assert found.os.startswith("unix/linux ")
        assert found.memory_total_bytes == int(total[1]) * 1024
        assert found.cpu_count == len(os.sched_getaffinity(0))
        assert None not in (found.load_1, found.load_5, found.load_15, found.memory_available_bytes)
        assert found.cpu_busy_percent is not None
        assert 0 <= found.cpu_busy_percent <= 100
        assert found.node_resident_bytes is not None
        assert 10 << 20 < found.node_resident_bytes < 10 << 30
        assert found.sources["memory"] == "/proc/meminfo"
        assert "os_mon does not run" in found.cannot_tell["disks"]

    def test_from_os_mon(self, erlang: ErlangNode, connect: Connect) -> None:
        erlang.evaluate("{ok, _} = application:ensure_all_started(os_mon).")
        found = connect(erlang).system(0)
        assert found.sources["load"] == "cpu_sup of os_mon"
        assert found.sources["memory"] == "memsup of os_mon"
        assert found.sources["disks"].startswith("disksup of os_mon")
        assert found.memory_total_bytes == connect(erlang).system(0).memory_total_bytes
        assert any(disk.name == "/" and disk.total_bytes > 0 for disk in found.disks)
        assert found.cpu_busy_percent is None
        assert "disks" not in found.cannot_tell

    def test_a_part_of_os_mon_that_is_switched_off(self, erlang: ErlangNode, connect: Connect) -> None:
        erlang.evaluate(
            "application:load(os_mon), application:set_env(os_mon, start_disksup, false), "
            "application:set_env(os_mon, start_cpu_sup, false), {ok, _} = application:ensure_all_started(os_mon)."
        )
        found = connect(erlang).system(0)
        assert found.sources["load"] == "/proc/loadavg"
        assert found.cannot_tell["disks"].startswith("disksup of os_mon does not run on the node")
        # To ask a part that is switched off would have written this into the node's log.
        assert "OS_MON" not in erlang.output


class TestChanges:
    @pytest.fixture
    def pair(self, fresh_node: NodeFactory) -> Iterator[tuple[ErlangNode, ErlangNode]]:
        one, other = fresh_node(), fresh_node()
        one.evaluate(f"erlang:set_cookie('{other.name}', '{other.cookie}'), pong = net_adm:ping('{other.name}').")
        yield one, other
        other.resume()

    def test_a_link_that_is_not_read_is_busy(self, pair: tuple[ErlangNode, ErlangNode], connect: Connect) -> None:
        one, other = pair
        node = connect(one)
        (link,) = node.stats().links
        assert (link.node, link.hidden, link.busy, link.queue_bytes) == (other.name, False, False, 0)
        other.suspend()
        one.evaluate(
            f"spawn(fun Send() -> {{init, '{other.name}'}} ! binary:copy(<<0>>, 100000), Send() end), "
            # Until nothing goes out any more: the buffers of both sides are full then.
            "Wait = fun Wait(Before) -> timer:sleep(200), {_, {output, Sent}} = statistics(io), "
            "if Sent =:= Before -> ok; true -> Wait(Sent) end end, Wait(0)."
        )
        change = node.stats_change(0.1)
        (busy,) = change.links
        assert busy.busy is True
        assert busy.queue_bytes is not None
        assert busy.queue_bytes >= 8192
        assert busy.sent_bytes == 0

    def test_work_shows(self, erlang: ErlangNode, connect: Connect) -> None:
        node = connect(erlang)
        erlang.evaluate("spawn(fun Work() -> lists:sum(lists:seq(1, 1000)), Work() end).")
        first = node.stats_change(0.2)
        assert first.reductions is not None
        assert first.reductions > 1_000_000
        assert first.garbage_collections is not None
        assert first.garbage_collections > 0
        second = node.stats_change(0.1, since=first)
        assert second.now.uptime > first.now.uptime
        assert len(first.run_queues) == int(erlang.evaluate("erlang:system_info(schedulers).")) + 2

    def test_wall_time_is_read_and_never_switched_on(self, erlang: ErlangNode, connect: Connect) -> None:
        node = connect(erlang)
        assert node.stats_change(0.01).scheduler_utilization is None
        assert erlang.evaluate("erlang:statistics(scheduler_wall_time).") == "undefined"
        # It is on as long as the process lives that has switched it on.
        erlang.evaluate(
            "Me = self(), spawn(fun() -> erlang:system_flag(scheduler_wall_time, true), Me ! on, "
            "receive stop -> ok end end), receive on -> ok end."
        )
        shares = node.stats_change(0.1).scheduler_utilization
        assert shares is not None
        assert all(0 <= share <= 1 for share in shares)

    def test_memory(self, erlang: ErlangNode, connect: Connect) -> None:
        node = connect(erlang)
        first = node.memory_change(0.05)
        hold(erlang, "ets:insert(ets:new(filler, []), [{N} || N <- lists:seq(1, 50000)])")
        second = node.memory_change(0.05, since=first)
        assert second.ets > 1_000_000
        assert second.now.ets == node.call("erlang", "memory", Atom("ets"))
