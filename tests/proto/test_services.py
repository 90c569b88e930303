"""What peers ask of us gets the answers of a node on which nothing runs."""

from __future__ import annotations

import pytest

from iris_admin.proto.services import answer_registered, answer_spawn
from iris_admin.terms import Atom, ImproperList, Map, Pid, Reference, Term

NODE = Atom("db1@127.0.0.1")
CALLER = Pid(NODE, 90, 0, 7)
REF = Reference(NODE, 7, (1, 2, 3))
ALIAS = Reference(NODE, 7, (4, 5, 6))
UNDEFINED = Atom("undefined")
UNDEF = Atom("undef")
ERPC = (Atom("erpc"), Atom("execute_call"), 4)
WHEREIS = (Atom("erlang"), Atom("whereis"))


def gen_call(request: Term, tag: Term = REF) -> Term:
    return Atom("$gen_call"), (CALLER, tag), request


def rex(module: str, function: str, args: Term) -> Term:
    return Atom("call"), Atom(module), Atom(function), args, CALLER


class TestSpawn:
    def test_nothing_is_registered_here(self) -> None:
        reason = answer_spawn(ERPC, [REF, *WHEREIS, [Atom("iris_durable_batcher_1")]])
        assert reason == (REF, Atom("return"), UNDEFINED)

    @pytest.mark.parametrize(
        ("module", "function", "args"),
        [("erlang", "node", []), ("erlang", "whereis", []), ("erlang", "whereis", [1, 2]), ("os", "cmd", [b"id"])],
    )
    def test_no_function_can_be_called(self, module: str, function: str, args: list[Term]) -> None:
        called = (Atom(module), Atom(function), args)
        assert answer_spawn(ERPC, [REF, *called]) == (REF, Atom("error"), UNDEF, [(*called, [])])

    def test_a_process_of_another_function_dies_of_undef(self) -> None:
        mfa = (Atom("lists"), Atom("seq"), 2)
        assert answer_spawn(mfa, [1, 3]) == (UNDEF, [(Atom("lists"), Atom("seq"), [1, 3], [])])

    @pytest.mark.parametrize(
        ("mfa", "args"),
        [(ERPC, [REF]), (ERPC, [REF, 1, 2, []]), (ERPC, [REF, *WHEREIS, Atom("no_list")])],
    )
    def test_erpc_with_other_arguments(self, mfa: Term, args: list[Term]) -> None:
        assert answer_spawn(mfa, args) == (UNDEF, [(Atom("erpc"), Atom("execute_call"), args, [])])

    @pytest.mark.parametrize(
        ("mfa", "args"), [(Atom("a"), []), ((1, 2, 3), []), ((*WHEREIS, 1), Atom("a")), (Map([([], 1)]), [])]
    )
    def test_nonsense(self, mfa: Term, args: Term) -> None:
        assert answer_spawn(mfa, args) == Atom("badarg")


class TestNetKernel:
    def test_a_ping(self) -> None:
        assert answer_registered("net_kernel", gen_call((Atom("is_auth"), NODE))) == (CALLER, (REF, Atom("yes")))

    @pytest.mark.parametrize("request_", [Atom("is_auth"), (Atom("spawn"), 1), (Atom("is_auth"), 1, 2), [], 1])
    def test_anything_else(self, request_: Term) -> None:
        assert answer_registered("net_kernel", gen_call(request_)) == (
            CALLER,
            (REF, (Atom("error"), Atom("notsup"))),
        )


class TestRex:
    def test_nothing_is_registered_here(self) -> None:
        answer = answer_registered("rex", gen_call(rex("erlang", "whereis", [Atom("iris_durable_batcher_1")])))
        assert answer == (CALLER, (REF, UNDEFINED))

    def test_in_the_old_way_that_blocks_others(self) -> None:
        request = (Atom("block_call"), *WHEREIS, [Atom("x")], CALLER)
        assert answer_registered("rex", gen_call(request)) == (CALLER, (REF, UNDEFINED))

    def test_no_function_can_be_called(self) -> None:
        answer = answer_registered("rex", gen_call(rex("os", "cmd", [b"id"])))
        stack = [(Atom("os"), Atom("cmd"), [b"id"], [])]
        assert answer == (CALLER, (REF, (Atom("badrpc"), (Atom("EXIT"), (UNDEF, stack)))))

    @pytest.mark.parametrize("request_", [Atom("hello"), (Atom("call"), 1, 2, 3, 4), rex("a", "b", Atom("c"))])
    def test_nonsense(self, request_: Term) -> None:
        assert answer_registered("rex", gen_call(request_)) == (
            CALLER,
            (REF, (Atom("badrpc"), Atom("notsup"))),
        )


class TestWhereTheAnswerGoes:
    @pytest.mark.parametrize(
        ("tag", "receiver"),
        [
            (REF, CALLER),
            (ImproperList((Atom("alias"),), ALIAS), ALIAS),
            ([ImproperList((Atom("alias"),), ALIAS), REF], ALIAS),
            (ImproperList((ImproperList((Atom("alias"),), ALIAS),), REF), ALIAS),
            (ImproperList((Atom("other"),), ALIAS), CALLER),
            (ImproperList((Atom("alias"),), 1), CALLER),
            ([], CALLER),
            ((Atom("any"), Atom("term")), CALLER),
        ],
    )
    def test_receiver_and_tag(self, tag: Term, receiver: Term) -> None:
        answer = answer_registered("net_kernel", gen_call((Atom("is_auth"), NODE), tag))
        assert answer == (receiver, (tag, Atom("yes")))


class TestOthers:
    @pytest.mark.parametrize("name", ["net_kernel", "rex", "global_name_server", "iris_durable_batcher_1"])
    @pytest.mark.parametrize(
        "message",
        [
            Atom("hello"),
            (Atom("$gen_cast"), Atom("x")),
            (Atom("$gen_call"), Atom("no_caller"), 1),
            (Atom("features_request"), CALLER),
            (),
            Map([([], 1)]),
        ],
    )
    def test_a_message_that_waits_for_nothing(self, name: str, message: Term) -> None:
        assert answer_registered(name, message) is None

    def test_a_call_of_a_process_that_does_not_exist(self) -> None:
        # Its monitor says so.
        assert answer_registered("iris_durable_batcher_1", gen_call(Atom("status"))) is None
