"""What nodes ask of us. The node asks while we are idle, so the I/O thread answers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from iris_admin.client import Node
from iris_admin.terms import Atom
from tests.support.erlang import ErlangNode

PROBE = "iris_admin_test_probe"


@pytest.fixture
def ask(node: Node, probed_node: ErlangNode) -> Callable[[str], str]:
    """Evaluate an expression on the node, in which ``Us`` is our name there."""
    return lambda expression: probed_node.evaluate(f"Us = '{node.our_name}', {expression}")


class TestCallsOfOurs:
    def test_nothing_is_registered_here(self, ask: Callable[[str], str]) -> None:
        """Iris's durable batcher asks this, and makes whoever gives another answer its replica."""
        assert ask("rpc:call(Us, erlang, whereis, [iris_durable_batcher_1])") == "undefined"
        assert ask("rpc:call(Us, erlang, whereis, [init], 5000)") == "undefined"
        assert ask("erpc:call(Us, erlang, whereis, [init])") == "undefined"
        assert ask("rpc:block_call(Us, erlang, whereis, [init])") == "undefined"
        assert ask("gen_server:call({rex, Us}, {call, erlang, whereis, [init], group_leader()})") == "undefined"

    def test_no_function_can_be_called(self, ask: Callable[[str], str]) -> None:
        assert ask('rpc:call(Us, os, cmd, ["id"])').startswith("{badrpc,{'EXIT',{undef,[{os,cmd,[\"id\"],[]}")
        assert ask('catch erpc:call(Us, os, cmd, ["id"])').startswith("{'EXIT',{{exception,undef,[{os,cmd,[\"id\"],[]}")
        assert ask('rpc:block_call(Us, os, cmd, ["id"])').startswith("{badrpc,{'EXIT',{undef,")
        assert ask('gen_server:call({rex, Us}, {call, os, cmd, ["id"], group_leader()})').startswith("{badrpc,")
        assert ask("gen_server:call({rex, Us}, nonsense)") == "{badrpc,notsup}"

    def test_several_nodes_at_once(self, ask: Callable[[str], str]) -> None:
        assert ask("erpc:multicall([Us, Us], erlang, whereis, [init])") == "[{ok,undefined},{ok,undefined}]"
        assert ask("rpc:multicall([Us], erlang, whereis, [init])") == "{[undefined],[]}"

    def test_casts_are_swallowed(self, ask: Callable[[str], str]) -> None:
        assert ask("erpc:cast(Us, erlang, halt, [])") == "ok"
        assert ask("rpc:cast(Us, erlang, halt, [])") == "true"
        assert ask("rpc:abcast([Us], somebody, hello)") == "abcast"
        assert ask("gen_server:cast({somebody, Us}, hello)") == "ok"
        assert ask("{somebody, Us} ! hello") == "hello"
        assert ask("rpc:call(Us, erlang, whereis, [init])") == "undefined"

    def test_processes_spawned_here_end(self, ask: Callable[[str], str]) -> None:
        ended = ask("{Pid, Ref} = spawn_monitor(Us, lists, seq, [1, 3]), receive {'DOWN', Ref, _, Pid, R} -> R end")
        assert ended == "{undef,[{lists,seq,[1,3],[]}]}"
        linked = ask(
            "process_flag(trap_exit, true), Pid = spawn_link(Us, lists, seq, [1, 3]),"
            " receive {'EXIT', Pid, R} -> process_flag(trap_exit, false), R end"
        )
        assert linked == "{undef,[{lists,seq,[1,3],[]}]}"
        assert ask("is_pid(spawn(Us, lists, seq, [1, 3]))") == "true"

    def test_a_time_out_of_theirs_is_never_needed(self, ask: Callable[[str], str]) -> None:
        """A client that stays silent hangs them for as long as they care to wait."""
        microseconds = int(ask("element(1, timer:tc(fun() -> rpc:call(Us, erlang, node, []) end))"))
        assert microseconds < 5_000_000


class TestPing:
    def test_net_adm(self, ask: Callable[[str], str]) -> None:
        assert ask("net_adm:ping(Us)") == "pong"

    def test_is_auth(self, ask: Callable[[str], str]) -> None:
        assert ask("gen:call({net_kernel, Us}, '$gen_call', {is_auth, node()}, 5000)") == "{ok,yes}"

    def test_other_requests_to_net_kernel(self, ask: Callable[[str], str]) -> None:
        assert ask("gen_server:call({net_kernel, Us}, {allowed})") == "{error,notsup}"


class TestUnknownNames:
    @pytest.mark.parametrize("module", ["gen_server", "gen_statem", "gen_event"])
    def test_a_call_ends_at_once(self, ask: Callable[[str], str], module: str) -> None:
        call = (
            f"{module}:call({{nobody, Us}}, hello)"
            if module != "gen_event"
            else "gen_event:sync_notify({nobody, Us}, x)"
        )
        assert "noproc" in ask(f"catch {call}")

    def test_monitor(self, ask: Callable[[str], str]) -> None:
        down = ask("Ref = monitor(process, {nobody, Us}), receive {'DOWN', Ref, process, {nobody, Us}, R} -> R end")
        assert down == "noproc"


class TestProcessesOfOurs:
    """Each call has a process on our side: the group leader of what was called."""

    LEADER = f"[Pid] = {PROBE}:blocked(1), {{group_leader, Leader}} = process_info(Pid, group_leader)"

    def end(self, probed_node: ErlangNode) -> None:
        probed_node.evaluate(f"[Pid ! go_on || Pid <- {PROBE}:blocked(1)], {PROBE}:reasons(1)")

    def test_a_monitor_fires_when_the_call_ends(self, node: Node, probed_node: ErlangNode) -> None:
        future = node.submit(PROBE, "hold", 1)
        still = probed_node.evaluate(
            f"{self.LEADER}, put(watched, monitor(process, Leader)), receive {{'DOWN', _, _, _, _}} -> gone"
            " after 50 -> still_there end"
        )
        assert still == "still_there"
        self.end(probed_node)
        assert future.result(10) == 1
        reason = "Ref = get(watched), receive {'DOWN', Ref, _, _, Reason} -> Reason after 10000 -> silence end"
        assert probed_node.evaluate(reason) == "noproc"

    def test_a_monitor_that_was_taken_back(self, node: Node, probed_node: ErlangNode) -> None:
        future = node.submit(PROBE, "hold", 1)
        probed_node.evaluate(f"{self.LEADER}, demonitor(monitor(process, Leader), [flush])")
        self.end(probed_node)
        assert future.result(10) == 1

    def test_a_monitor_of_a_call_that_is_over(self, node: Node, probed_node: ErlangNode) -> None:
        leader = node.call("erlang", "group_leader")
        assert leader.node == node.our_name
        assert node.eval(
            "Ref = erlang:monitor(process, Leader),"
            " receive {'DOWN', Ref, process, _, Reason} -> Reason after 10000 -> silence end",
            {"Leader": leader},
        ) == Atom("noproc")

    def test_links(self, node: Node, probed_node: ErlangNode) -> None:
        future = node.submit(PROBE, "hold", 1)
        # To a call that runs, and away from it again: that waits for our acknowledgement.
        probed_node.evaluate(f"{self.LEADER}, link(Leader), unlink(Leader), link(Leader), unlink(Leader)")
        self.end(probed_node)
        assert future.result(10) == 1
        # To a call that is over.
        leader = node.call("erlang", "group_leader")
        assert node.eval(
            "process_flag(trap_exit, true), link(Leader), receive {'EXIT', Leader, R} -> R after 10000 -> silence end",
            {"Leader": leader},
        ) == Atom("noproc")

    def test_messages_are_swallowed(self, node: Node, probed_node: ErlangNode) -> None:
        future = node.submit(PROBE, "hold", 1)
        probed_node.evaluate(f"{self.LEADER}, Leader ! hello, exit(Leader, kill), Leader ! {{io_request, 1, 2, 3}}")
        self.end(probed_node)
        assert future.result(10) == 1

    def test_nobody_waits_when_we_leave(self, probed_node: ErlangNode, connect: Callable[..., Node]) -> None:
        node = connect(probed_node)
        node.submit(PROBE, "trap", 20_000)
        probed_node.evaluate(f"{self.LEADER}, put(watched, monitor(process, Leader))")
        node.close()
        reason = "Ref = get(watched), receive {'DOWN', Ref, _, _, Reason} -> Reason after 10000 -> silence end"
        assert probed_node.evaluate(reason) == "noconnection"
        probed_node.evaluate(f"[exit(Pid, kill) || Pid <- {PROBE}:blocked(1)], {PROBE}:reasons(1)")


def test_a_node_that_asks_the_moment_we_join(probed_node: ErlangNode, connect: Callable[..., Node]) -> None:
    """As Iris's durable batcher does on ``nodeup``. The answer must not wait for the next call or tick."""
    probed_node.evaluate(
        "Asker = spawn(fun() -> net_kernel:monitor_nodes(true, [{node_type, hidden}]), register(asker, self()),"
        " (fun Next(Answers) -> receive"
        " {nodeup, Us, _} -> Next([{Us, timer:tc(fun() -> rpc:call(Us, erlang, whereis, [x], 5000) end)} | Answers]);"
        " {tell, From} -> From ! {answers, Answers}; _ -> Next(Answers) end end)([]) end)"
    )
    names = []
    for _ in range(10):
        node = connect(probed_node)
        names.append(node.our_name)
        probed_node.evaluate(f"rpc:call('{node.our_name}', erlang, whereis, [x])")
        node.close()
        probed_node.evaluate(f"{PROBE}:gone('{node.our_name or names[-1]}')")
    slowest = probed_node.evaluate(
        "asker ! {tell, self()}, receive {answers, Answers} -> {length(Answers),"
        " lists:max([T || {_, {T, _}} <- Answers]), lists:usort([A || {_, {_, A}} <- Answers])} end"
    )
    count, microseconds, answers = slowest.strip("{}").split(",", 2)
    assert int(count) == 10
    assert int(microseconds) < 3_000_000
    assert answers == "[undefined]"
