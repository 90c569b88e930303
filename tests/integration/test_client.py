"""Calls to a real node, and what they leave there."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, ClassVar

import pytest

from iris_admin.client import Node
from iris_admin.errors import (
    CallTimeout,
    EncodeError,
    IrisAdminError,
    RemoteError,
    TermSyntaxError,
    UnknownAtom,
)
from iris_admin.terms import Atom, Export, ImproperList, Pid, Reference, Term, charlist
from tests.integration.conftest import Footprint
from tests.support.erlang import ErlangNode, NodeFactory

PROBE = "iris_admin_test_probe"


class TestCall:
    @pytest.mark.parametrize(
        ("function", "args", "value"),
        [
            ("erlang:abs", [-5], 5),
            ("erlang:node", [], None),
            ("lists:reverse", [[1, b"two", Atom("three")]], [Atom("three"), b"two", 1]),
            ("erlang:list_to_tuple", [[1.5, True, []]], (1.5, True, [])),
            ("maps:from_list", [[(1, Atom("a"))]], {1: Atom("a")}),
            ("lists:append", [[1], 2], ImproperList((1,), 2)),
            ("erlang:list_to_binary", [charlist("abc")], b"abc"),
            ("erlang:atom_to_list", [Atom("abc")], charlist("abc")),
            ("erlang:apply", [Export(Atom("erlang"), Atom("max"), 2), [1, 2]], 2),
            ("erlang:get", [Atom("no_such_key")], Atom("undefined")),
            ("binary:copy", ["Grüße €".encode(), 2], "Grüße €Grüße €".encode()),
        ],
    )
    def test_what_it_returns(self, node: Node, function: str, args: list[Term], value: Term) -> None:
        module, _, name = function.partition(":")
        result = node.call(module, name, *args)
        assert result == (Atom(node.name) if value is None else value)
        assert type(result) is type(value) or value is None

    def test_a_value_that_looks_like_a_failure(self, node: Node) -> None:
        for value in ((Atom("badrpc"), Atom("nodedown")), (Atom("EXIT"), Atom("a")), (Atom("error"), 1)):
            assert node.call("erlang", "hd", [value]) == value

    def test_throw(self, node: Node) -> None:
        with pytest.raises(RemoteError, match=r"threw \{a,1\}") as caught:
            node.call("erlang", "throw", (Atom("a"), 1))
        error = caught.value
        assert (error.kind, error.reason, error.stacktrace) == ("throw", (Atom("a"), 1), None)
        assert (error.node, error.mfa, error.exit_code) == (node.name, ("erlang", "throw", 1), 70)

    @pytest.mark.parametrize("reason", ["normal", "kill", "killed", "shutdown"])
    def test_exit(self, node: Node, reason: str) -> None:
        with pytest.raises(RemoteError, match=f"exited with {reason}") as caught:
            node.call("erlang", "exit", Atom(reason))
        assert (caught.value.kind, caught.value.reason) == ("exit", reason)

    def test_error(self, node: Node) -> None:
        with pytest.raises(RemoteError, match="failed with badarith") as caught:
            node.call("erlang", "div", 1, 0)
        error = caught.value
        assert (error.kind, error.reason) == ("error", "badarith")
        module, function, arguments, _ = error.stacktrace[0]
        assert (module, function, arguments) == ("erlang", "div", [1, 0])
        assert not error.is_undef

    @pytest.mark.parametrize(("module", "function"), [("lists", "reverse_all"), ("nowhere", "reverse")])
    def test_a_function_that_does_not_exist(self, node: Node, module: str, function: str) -> None:
        with pytest.raises(RemoteError, match="failed with undef") as caught:
            node.call(module, function, [])
        assert caught.value.is_undef
        assert f"{module}:{function}/1" in (caught.value.hint or "")

    def test_an_undefined_function_further_down(self, node: Node) -> None:
        with pytest.raises(RemoteError) as caught:
            node.call("lists", "map", Export(Atom("nowhere"), Atom("f"), 1), [1])
        assert caught.value.reason == "undef"
        assert not caught.value.is_undef

    def test_the_process_kills_itself(self, node: Node, probed_node: ErlangNode) -> None:
        future = node.submit(PROBE, "block")
        probed_node.evaluate(f"[exit(Pid, kill) || Pid <- {PROBE}:blocked(1)]")
        with pytest.raises(RemoteError, match="was ended from outside: killed") as caught:
            future.result(10)
        assert (caught.value.kind, caught.value.reason) == ("killed", "killed")
        probed_node.evaluate(f"{PROBE}:reasons(1)")

    def test_no_more_processes(self, fresh_node: NodeFactory, connect: Callable[..., Node]) -> None:
        erlang = fresh_node(flags=["+P", "1024"])
        client = connect(erlang)
        client.ping()
        erlang.evaluate(
            "persistent_term:put(hogs, (fun Hog(Pids) ->"
            " try Hog([spawn(fun() -> receive stop -> ok end end) | Pids]) catch error:system_limit -> Pids end"
            " end)([]))"
        )
        with pytest.raises(RemoteError, match="could not be called: system_limit") as caught:
            client.call("erlang", "abs", -1)
        assert (caught.value.kind, caught.value.reason) == ("erpc", "system_limit")
        erlang.evaluate("[exit(Pid, kill) || Pid <- persistent_term:get(hogs)]")
        assert client.call("erlang", "abs", -1) == 1

    def test_a_long_reason_is_cut_in_the_message_only(self, node: Node) -> None:
        with pytest.raises(RemoteError) as caught:
            node.call("erlang", "throw", bytes(range(256)) * 40)
        assert len(str(caught.value)) < 600
        assert len(caught.value.reason) == 10_240

    def test_nothing_is_sent_that_cannot_be(self, node: Node, probed_node: ErlangNode) -> None:
        before = probed_node.evaluate(f"{PROBE}:counted()")
        for bad in ("text", None, float("nan"), {1: "text"}, object()):
            with pytest.raises(EncodeError):
                node.call(PROBE, "count", bad)
        for module, function in (("", "f"), ("m", ""), ("m" * 256, "f"), ("m", "\udc80")):
            with pytest.raises(EncodeError):
                node.call(module, function)
        assert node.call("erlang", "abs", -1) == 1
        assert probed_node.evaluate(f"{PROBE}:counted()") == before

    def test_who_calls(self, node: Node) -> None:
        caller = node.call("erlang", "group_leader")
        assert isinstance(caller, Pid)
        assert caller.node == node.our_name

    def test_unicode_names(self, node: Node) -> None:
        with pytest.raises(RemoteError) as caught:
            node.call("модуль", "größe")
        assert caught.value.mfa == ("модуль", "größe", 0)
        assert caught.value.is_undef

    def test_references_and_pids_come_back_the_same(self, node: Node) -> None:
        reference = node.call("erlang", "make_ref")
        assert isinstance(reference, Reference)
        assert node.call("erlang", "hd", [reference]) == reference
        pid = node.call("erlang", "whereis", Atom("init"))
        assert node.call("erlang", "is_process_alive", pid) is True


class TestCapture:
    def test_what_is_printed(self, node: Node) -> None:
        value, text = node.capture("io", "format", charlist("~p ~ts ~s~n"), [42, "Grüße €".encode(), charlist("x")])
        assert (value, text) == (Atom("ok"), "42 Grüße € x\n")

    def test_nothing_printed(self, node: Node) -> None:
        assert node.capture("erlang", "abs", -1) == (1, "")

    def test_unicode_of_every_kind(self, node: Node) -> None:
        text = "Grüße € 😀 e\N{COMBINING ACUTE ACCENT}\n"
        assert node.capture("io", "put_chars", text.encode())[1] == text
        assert node.capture("io", "put_chars", charlist(text))[1] == text

    def test_mnesia_info_is_what_the_node_prints_itself(
        self, fresh_node: NodeFactory, connect: Callable[..., Node], tmp_path: Path
    ) -> None:
        erlang = fresh_node(mnesia=True)
        file = tmp_path / "printed"
        erlang.evaluate(
            f'{{ok, File}} = file:open("{file}", [write, {{encoding, utf8}}]), Leader = group_leader(),'
            " group_leader(File, self()), mnesia:info(), group_leader(Leader, self()), file:close(File)"
        )
        value, text = connect(erlang).capture("mnesia", "info")
        assert value == Atom("ok")
        assert f"running db nodes   = ['{erlang.name}']" in text
        # Some of its numbers count what has happened.
        assert re.sub(r"\d+", "#", text) == re.sub(r"\d+", "#", file.read_text("utf-8"))

    def test_many_pieces_keep_their_order(self, node: Node) -> None:
        text = 'lists:foreach(fun(N) -> io:format("~p ", [N]), io:put_chars("a ") end, lists:seq(1, 300))'
        value, printed = node.eval(text, capture=True)
        assert value == Atom("ok")
        assert printed == "".join(f"{number} a " for number in range(1, 301))

    def test_by_a_future(self, node: Node) -> None:
        assert node.submit("io", "put_chars", b"text", capture=True).result(10) == (Atom("ok"), "text")
        assert node.submit("io", "put_chars", b"text").result(10) == Atom("ok")

    def test_what_another_process_prints_late_is_answered(self, node: Node, probed_node: ErlangNode) -> None:
        """It inherited the group leader of a call that is over, and must not hang."""
        node.eval(
            "spawn(fun() -> Probe ! {blocked, self()}, receive go_on -> exit(io:put_chars(<<1>>)) end end)",
            {"Probe": Atom(PROBE)},
        )
        probed_node.evaluate(f"[Pid ! go_on || Pid <- {PROBE}:blocked(1)]")
        assert "terminated" in probed_node.evaluate(f"{PROBE}:reasons(1)")

    def test_reading_meets_the_end_of_the_file(self, node: Node) -> None:
        assert node.call("io", "get_line", charlist("> ")) == Atom("eof")
        assert node.call("io", "get_chars", charlist("> "), 3) == Atom("eof")
        assert node.call("io", "read", charlist("> ")) == Atom("eof")
        assert node.call("io", "columns") == (Atom("error"), Atom("enotsup"))

    def test_without_capture_output_is_dropped(self, node: Node) -> None:
        assert node.call("io", "put_chars", b"nobody reads this") == Atom("ok")


class TestEval:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("1 + 2.", 3),
            ("length([1, 2, 3])", 3),
            ("X = 3, Y = X * 2, {X, Y}", (3, 6)),
            ("[Q * Q || Q <- lists:seq(1, 3)]", [1, 4, 9]),
            ("case {ok, 1} of {ok, V} -> V; _ -> error end", 1),
            ('{<<"Grüße"/utf8>>, "Grüße", $ü}', ("Grüße".encode(), charlist("Grüße"), 252)),
            ("F = fun Fac(0) -> 1; Fac(N) -> N * Fac(N - 1) end, F(20)", 2432902008176640000),
            ("#{a => 1, 2 => [x]}", {Atom("a"): 1, 2: [Atom("x")]}),
            ("try hd([]) catch error:badarg -> caught end", Atom("caught")),
            ("receive after 1 -> done end", Atom("done")),
            ("% a comment\nok", Atom("ok")),
        ],
    )
    def test_value(self, node: Node, text: str, value: Term) -> None:
        assert node.eval(text) == value

    def test_bindings(self, node: Node) -> None:
        assert node.eval("Count + length(List)", {"Count": 40, "List": [1, 2], "Unused": b""}) == 42

    def test_output(self, node: Node) -> None:
        assert node.eval('io:format("~p", [1]), 2', capture=True) == (2, "1")

    @pytest.mark.parametrize("text", ["1 +", "foo(", "1 2", "X", "'ok", "", "1 end, fun() -> 2"])
    def test_no_erlang(self, node: Node, text: str) -> None:
        with pytest.raises(TermSyntaxError):
            node.eval(text)

    @pytest.mark.parametrize(
        ("text", "kind", "reason"),
        [
            ("throw(a)", "throw", "a"),
            ("exit(a)", "exit", "a"),
            ("error(a)", "error", "a"),
            ("1 / 0", "error", "badarith"),
            ("lists:abs(1)", "error", "undef"),
            ("X = 1, X = 2", "error", (Atom("badmatch"), 2)),
        ],
    )
    def test_failure(self, node: Node, text: str, kind: str, reason: Term) -> None:
        with pytest.raises(RemoteError) as caught:
            node.eval(text)
        assert (caught.value.kind, caught.value.reason) == (kind, reason)

    def test_time_out(self, node: Node, probed_node: ErlangNode) -> None:
        with pytest.raises(CallTimeout):
            node.eval(f"{PROBE}:block()", timeout=0.3)
        assert probed_node.evaluate(f"{PROBE}:reasons(1)") == "[killed]"

    def test_an_atom_that_the_node_does_not_know(self, node: Node, footprint: Callable[[], Footprint]) -> None:
        before = footprint()
        for text in ("[iris_no_such_atom]", "iris_no_such_module:f()", "lists:iris_no_such_function([])"):
            with pytest.raises(UnknownAtom, match="iris_no_such"):
                node.eval(text)
        before.assert_unchanged()

    def test_variables_leave_no_atoms(self, node: Node, footprint: Callable[[], Footprint]) -> None:
        node.eval("X = 1, X")
        before = footprint()
        assert node.eval("IrisNewVariable = 1, IrisOther = 2, {IrisNewVariable, IrisOther}") == (1, 2)
        with pytest.raises(TermSyntaxError, match="IrisUnbound is unbound"):
            node.eval("IrisUnbound")
        before.assert_unchanged()

    def test_a_module_that_is_known_but_not_loaded(self, fresh_node: NodeFactory, connect: Callable[..., Node]) -> None:
        client = connect(fresh_node())
        assert client.eval("public_key:pem_decode(<<>>)") == []

    def test_check_atoms(self, node: Node) -> None:
        node.check_atoms([Atom("ok"), {Atom("error"): (Atom("lists"),)}], b"iris_no_atom", 1)
        with pytest.raises(UnknownAtom, match="iris_no_such_atom"):
            node.check_atoms(Atom("ok"), [{1: Atom("iris_no_such_atom")}])


class TestSubmit:
    def test_results_and_failures(self, node: Node) -> None:
        good = node.submit("erlang", "abs", -1)
        bad = node.submit("erlang", "throw", 1)
        assert good.result(10) == 1
        with pytest.raises(RemoteError, match="threw 1"):
            bad.result(10)
        assert isinstance(bad.exception(), RemoteError)

    def test_callbacks(self, node: Node) -> None:
        done = threading.Event()
        results: list[Any] = []

        def on_done(future: Future[Any]) -> None:
            results.append(future.result())
            done.set()

        node.submit("erlang", "abs", -1).add_done_callback(on_done)
        assert done.wait(10)
        assert results == [1]

    def test_out_of_order(self, node: Node, probed_node: ErlangNode) -> None:
        slow = node.submit(PROBE, "hold", 1)
        quick = [node.submit("erlang", "abs", -number) for number in range(10)]
        assert [future.result(10) for future in quick] == list(range(10))
        assert not slow.done()
        probed_node.evaluate(f"[Pid ! go_on || Pid <- {PROBE}:blocked(1)]")
        assert slow.result(10) == 1
        probed_node.evaluate(f"{PROBE}:reasons(1)")

    def test_what_cannot_be_sent_fails_at_once(self, node: Node) -> None:
        with pytest.raises(EncodeError):
            node.submit("erlang", "abs", "text")

    def test_ten_thousand_at_once(self, node: Node) -> None:
        futures = [node.submit("erlang", "abs", -number, timeout=60) for number in range(10_000)]
        assert not wait(futures, 60).not_done
        assert [future.result() for future in futures] == list(range(10_000))


class TestMap:
    @pytest.mark.parametrize("in_flight", [1, 2, 64, 10_000])
    def test_results_in_order(self, node: Node, in_flight: int) -> None:
        arguments = ([-number] for number in range(1000))
        assert node.map("erlang", "abs", arguments, in_flight=in_flight) == list(range(1000))

    def test_nothing_to_do(self, node: Node) -> None:
        assert node.map("erlang", "abs", []) == []

    def test_the_first_failure_when_all_have_ended(self, node: Node, probed_node: ErlangNode) -> None:
        probed_node.evaluate("ets:new(iris_admin_test_map, [named_table, public])")
        table = Atom("iris_admin_test_map")
        arguments: list[list[Term]] = [[table, (number,)] for number in range(200)]
        arguments[20], arguments[30] = [table, b"first"], [table, b"second"]
        with pytest.raises(RemoteError, match="badarg"):
            node.map("ets", "insert", arguments)
        assert probed_node.evaluate("ets:info(iris_admin_test_map, size)") == "198"
        probed_node.evaluate("ets:delete(iris_admin_test_map)")

    def test_time_out_kills_what_runs(self, node: Node, probed_node: ErlangNode) -> None:
        with pytest.raises(CallTimeout):
            node.map(PROBE, "block", [()] * 3, timeout=0.3)
        assert probed_node.evaluate(f"{PROBE}:reasons(3)") == "[killed,killed,killed]"
        assert node.call("erlang", "abs", -1) == 1

    def test_nothing_is_sent_that_cannot_be(self, node: Node, probed_node: ErlangNode) -> None:
        with pytest.raises(EncodeError):
            node.map(PROBE, "block", [(), ("text",)])
        with pytest.raises(ValueError, match="0 calls"):
            node.map("erlang", "abs", [[1]], in_flight=0)
        assert node.call(PROBE, "blocked", 0) == []

    def test_beside_other_threads(self, node: Node) -> None:
        with ThreadPoolExecutor(8) as pool:
            maps = [pool.submit(node.map, "erlang", "abs", [[-turn] for turn in range(500)]) for _ in range(4)]
            single = [pool.submit(node.call, "erlang", "abs", -number) for number in range(200)]
            assert [each.result(60) for each in maps] == [list(range(500))] * 4
            assert [each.result(60) for each in single] == list(range(200))


class TestLeavesNothing:
    ACTIONS: ClassVar[dict[str, Callable[[Node], Any]]] = {
        "call": lambda node: node.call("erlang", "abs", -1),
        "throw": lambda node: node.call("erlang", "throw", 1),
        "exit": lambda node: node.call("erlang", "exit", 1),
        "error": lambda node: node.call("erlang", "div", 1, 0),
        "undef": lambda node: node.call("lists", "iris_not_there", 1),
        "no-module": lambda node: node.call("iris_not_there", "f"),
        "arity": lambda node: node.call("lists", "reverse", *range(256)),
        "capture": lambda node: node.capture("io", "format", charlist("~p"), [1]),
        "submit": lambda node: [node.submit("erlang", "abs", -1) for _ in range(50)][-1].result(10),
        "cancel": lambda node: node.submit("timer", "sleep", 60_000).cancel(),
        "time-out": lambda node: node.call("timer", "sleep", 60_000, timeout=0.05),
        "eval": lambda node: node.eval("X = lists:seq(1, 3), length(X)"),
        "large": lambda node: node.call("erlang", "byte_size", bytes(200_000)),
        "check_atoms": lambda node: node.check_atoms(Atom("iris_not_this_either")),
    }

    @pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)
    def test_every_kind_of_call(
        self, node: Node, footprint: Callable[[], Footprint], action: Callable[[Node], Any]
    ) -> None:
        def act() -> None:
            with contextlib.suppress(IrisAdminError):
                action(node)

        act()  # the first time loads modules, and makes atoms of the names that were called
        node.call("timer", "sleep", 0)
        before = footprint()
        for _ in range(3):
            act()
        before.assert_unchanged()
