"""Evaluating text on a node: what is asked of the node, and that nothing which it does not know is sent as an atom."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest

from iris_admin.errors import RemoteError, TermSyntaxError, UnknownAtom
from iris_admin.operations import evaluate as module
from iris_admin.operations.evaluate import atoms_in, evaluate, require_atoms, run_remote
from iris_admin.operations.steps import AllOf, Call, Capture
from iris_admin.proto.etf import decode
from iris_admin.terms import (
    Atom,
    Export,
    Fun,
    ImproperList,
    Map,
    NativeRecord,
    Pid,
    Port,
    Reference,
    Term,
    charlist,
)

BADARG = RemoteError("badarg", kind="error", reason=Atom("badarg"), mfa=("erlang", "binary_to_term", 2))
FORM = (Atom("call"), 1, 2, 3)


class FakeNode:
    """Answers an operation's steps as a node would that knows these atoms, has these modules, and so on."""

    def __init__(self, known: str = "ok lists sort", modules: dict[str, str] | None = None) -> None:
        self.known = {Atom(word) for word in known.split()}
        #: Names of modules on disc, each with the atoms that loading it makes known.
        self.modules = modules or {}
        self.parsed: Term = (Atom("ok"), [FORM])
        self.value: Term | Exception = 42
        self.calls: list[Call] = []

    def run(self, operation: Generator[Any, Any, Any]) -> Any:
        try:
            step = next(operation)
            while True:
                try:
                    result = self._take(step)
                except RemoteError as error:
                    step = operation.throw(error)
                else:
                    step = operation.send(result)
        except StopIteration as stop:
            return stop.value

    def _take(self, step: Any) -> Any:
        if isinstance(step, AllOf):
            return [self._or_error(each) for each in step.steps]
        if isinstance(step, Capture):
            return self._call(step.call), "printed"
        return self._call(step)

    def _or_error(self, call: Call) -> Any:
        try:
            return self._call(call)
        except RemoteError as error:
            return error

    def _call(self, call: Call) -> Any:
        self.calls.append(call)
        match (call.module, call.function):
            case ("erlang", "binary_to_term"):
                data, options = call.args
                assert options == [Atom("safe")]
                if not atoms_in(decode(data)) <= self.known:
                    raise BADARG
                return decode(data)
            case ("code", "where_is_file"):
                name = "".join(map(chr, call.args[0])).removesuffix(".beam")
                return charlist(f"/lib/{name}.beam") if name in self.modules else Atom("non_existing")
            case ("code", "ensure_loaded"):
                self.known |= {call.args[0], *map(Atom, self.modules[call.args[0]].split())}
                return Atom("module"), call.args[0]
            case ("erl_parse", "parse_exprs"):
                return self.parsed
            case ("erl_parse", "format_error"):
                return [charlist("syntax error before: "), b"here"]
            case ("erl_eval", "expr"):
                if isinstance(self.value, Exception):
                    raise self.value
                return self.value
        raise AssertionError(call)

    def names(self) -> list[str]:
        return [f"{call.module}:{call.function}" for call in self.calls]

    def tokens(self) -> list[tuple[Term, ...]]:
        (tokens,) = next(call.args for call in self.calls if call.function == "parse_exprs")
        return list(tokens)

    def environment(self) -> list[tuple[Term, Term]]:
        return list(next(call.args[1] for call in self.calls if call.function == "expr").items())


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


class TestSteps:
    def test_without_atoms(self, node: FakeNode) -> None:
        assert node.run(evaluate("1 + 2.")) == 42
        assert node.names() == ["erl_parse:parse_exprs", "erl_eval:expr"]
        assert node.calls[1].args == (FORM, {}, Atom("none"), Atom("none"), Atom("value"))

    def test_atoms_are_looked_at_first(self, node: FakeNode) -> None:
        assert node.run(evaluate("lists:sort([ok])")) == 42
        assert node.names() == ["erlang:binary_to_term", "erl_parse:parse_exprs", "erl_eval:expr"]
        assert decode(node.calls[0].args[0]) == ["lists", "ok", "sort"]

    def test_node_and_time_out(self, node: FakeNode) -> None:
        node.run(evaluate("ok", node="db2@host", timeout=3.0))
        assert {call.node for call in node.calls} == {"db2@host"}
        assert [call.timeout for call in node.calls] == [None, None, 3.0]

    def test_only_the_evaluation_itself_must_not_be_repeated(self, node: FakeNode) -> None:
        node.run(evaluate("ok"))
        assert [call.idempotent for call in node.calls] == [True, True, False]

    def test_with_what_is_printed(self, node: FakeNode) -> None:
        assert node.run(evaluate("ok", capture=True)) == (42, "printed")

    def test_the_text_is_the_body_of_a_fun(self, node: FakeNode) -> None:
        # So the values of its variables do not come back with the result, large as they may be.
        node.run(evaluate("1"))
        kinds = [token[0] for token in node.tokens()]
        assert kinds == ["(", "fun", "(", ")", "->", "integer", "end", ")", "(", ")", "dot"]


class TestVariables:
    def test_they_travel_under_names_that_every_node_knows(self, node: FakeNode) -> None:
        node.run(evaluate("Total = Count + _Rest, Total", {"Count": 3, "Limit": [4]}))
        sent = [token[2] for token in node.tokens() if token[0] == "var"]
        assert len(sent) == 4
        assert sent[0] == sent[3]
        assert len(set(sent)) == 3
        assert {"Total", "Count", "_Rest", "Limit"}.isdisjoint(atoms_in(*[call.args for call in node.calls]))
        assert [value for _, value in node.environment()] == [3, [4]]
        assert node.environment()[0][0] == sent[1]

    def test_the_anonymous_one_stays_what_it_is(self, node: FakeNode) -> None:
        node.run(evaluate("[_, _] = X", {"X": [1, 2]}))
        assert [token[2] for token in node.tokens() if token[0] == "var"][:2] == ["_", "_"]

    def test_values_of_different_kinds_are_not_compared(self, node: FakeNode) -> None:
        assert node.run(evaluate("1", {"A": {}, "B": b"", "C": Atom("ok")})) == 42

    def test_every_name_that_stands_for_one_is_known_to_every_node(self) -> None:
        assert len(set(module._VARIABLE_NAMES)) == len(module._VARIABLE_NAMES) > 70

    def test_too_many(self, node: FakeNode) -> None:
        text = ", ".join(f"V{index} = {index}" for index in range(len(module._VARIABLE_NAMES) + 1))
        with pytest.raises(TermSyntaxError, match="different variables"):
            node.run(evaluate(text))
        assert node.calls == []

    def test_an_unbound_one_is_called_by_its_own_name(self, node: FakeNode) -> None:
        first = module._VARIABLE_NAMES[0]
        node.value = RemoteError("failed", reason=(Atom("unbound"), first))
        with pytest.raises(TermSyntaxError, match="variable Missing is unbound"):
            node.run(evaluate("Missing + 1"))
        node.value = RemoteError("failed", reason=(Atom("unbound"), Atom("other")))
        with pytest.raises(TermSyntaxError, match="variable other is unbound"):
            node.run(evaluate("Missing + 1"))


class TestRefusedBeforeAnythingIsSent:
    @pytest.mark.parametrize("text", ["", "  \n", ".", "% only a comment"])
    def test_nothing(self, node: FakeNode, text: str) -> None:
        with pytest.raises(TermSyntaxError, match="nothing to evaluate"):
            node.run(evaluate(text))
        assert node.calls == []

    @pytest.mark.parametrize("text", ["ok. ok.", "ok. ok", "1.\n2."])
    def test_several_ends(self, node: FakeNode, text: str) -> None:
        with pytest.raises(TermSyntaxError, match="a dot ends the text") as caught:
            node.run(evaluate(text))
        assert caught.value.hint == "Separate expressions with commas."
        assert node.calls == []

    @pytest.mark.parametrize("text", ["'ok", '"text', "$", "1 § 2"])
    def test_no_erlang(self, node: FakeNode, text: str) -> None:
        with pytest.raises(TermSyntaxError):
            node.run(evaluate(text))
        assert node.calls == []


class TestRefusedByTheNode:
    def test_syntax_error(self, node: FakeNode) -> None:
        node.parsed = (Atom("error"), (1, Atom("erl_parse"), [b"syntax error before: ", b"here"]))
        with pytest.raises(TermSyntaxError, match="syntax error before: here"):
            node.run(evaluate("1 +"))
        assert "erl_eval:expr" not in node.names()

    @pytest.mark.parametrize("parsed", [(Atom("ok"), [FORM, FORM]), (Atom("ok"), []), Atom("error")])
    def test_text_that_breaks_out_of_its_fun(self, node: FakeNode, parsed: Term) -> None:
        node.parsed = parsed
        with pytest.raises(TermSyntaxError, match="no sequence of expressions"):
            node.run(evaluate("1 end)(), (fun() -> 2"))

    def test_a_failure_of_the_text_itself(self, node: FakeNode) -> None:
        node.value = RemoteError("failed", reason=Atom("badarith"))
        with pytest.raises(RemoteError, match="failed"):
            node.run(evaluate("1 / 0"))


class TestAtoms:
    def test_an_unknown_one_is_not_made(self, node: FakeNode) -> None:
        with pytest.raises(UnknownAtom, match=r"does not know the atom nosuch$") as caught:
            node.run(evaluate("lists:nosuch(ok)", node="db1@host"))
        assert caught.value.node == "db1@host"
        assert caught.value.hint is not None
        assert "erl_parse:parse_exprs" not in node.names()
        # It has not been sent as an atom, but within a binary or as text.
        sent = atoms_in(*(call.args for call in node.calls if call.function != "binary_to_term"))
        assert "nosuch" not in sent

    def test_several_unknown_ones(self, node: FakeNode) -> None:
        with pytest.raises(UnknownAtom, match=r"atoms aaa, zzz$"):
            node.run(evaluate("[zzz, ok, aaa]"))

    def test_a_module_that_can_be_loaded(self) -> None:
        node = FakeNode("ok", {"crypto": "strong_rand_bytes"})
        assert node.run(evaluate("crypto:strong_rand_bytes(4)")) == 42
        assert [call.args for call in node.calls if call.function == "ensure_loaded"] == [(Atom("crypto"),)]

    def test_a_module_whose_name_is_known_but_which_is_not_loaded(self) -> None:
        node = FakeNode("ok public_key", {"public_key": "pem_decode"})
        assert node.run(evaluate("public_key:pem_decode(<<>>)")) == 42

    def test_no_module_is_loaded_when_everything_is_known(self) -> None:
        node = FakeNode("public_key pem_decode", {"public_key": "pem_decode"})
        node.run(evaluate("public_key:pem_decode(<<>>)"))
        assert node.names() == ["erlang:binary_to_term", "erl_parse:parse_exprs", "erl_eval:expr"]

    def test_a_known_atom_that_is_only_a_value_loads_nothing(self) -> None:
        node = FakeNode("public_key", {"public_key": ""})
        with pytest.raises(UnknownAtom):
            node.run(evaluate("{public_key, nosuch}"))
        assert "code:ensure_loaded" not in node.names()

    def test_another_error_than_badarg_is_no_statement_about_atoms(self) -> None:
        class Broken(FakeNode):
            def _call(self, call: Call) -> Any:
                raise RemoteError("down", kind="killed", reason=Atom("killed"))

        with pytest.raises(RemoteError, match="down"):
            Broken().run(require_atoms([Atom("ok")]))

    def test_none(self, node: FakeNode) -> None:
        node.run(require_atoms([]))
        assert node.calls == []

    def test_atoms_in_every_kind_of_term(self) -> None:
        pid = Pid(Atom("n1"), 1, 0, 1)
        terms: list[Term] = [
            Atom("a1"),
            [Atom("a2"), (Atom("a3"),)],
            {Atom("a4"): Atom("a5")},
            Map([([Atom("a6")], Atom("a7"))]),
            ImproperList((Atom("a8"),), Atom("a9")),
            Export(Atom("b1"), Atom("b2"), 1),
            pid,
            Port(Atom("n2"), 1, 1),
            Reference(Atom("n3"), 1, (1, 2, 3)),
            Fun(Atom("b3"), 1, b"", 0, 0, 0, Pid(Atom("n4"), 1, 0, 1), (Atom("b4"),)),
            NativeRecord(Atom("b5"), Atom("b6"), (Atom("b7"),), (Atom("b8"),), 0),
            True,
            b"no",
            1.0,
        ]
        numbers = {f"a{index}" for index in range(1, 10)} | {f"b{index}" for index in range(1, 9)}
        assert atoms_in(*terms) == numbers | {"n1", "n2", "n3", "n4"}


class TestOurOwnExpressions:
    @pytest.fixture
    def an_expression(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
        monkeypatch.setattr(module, "_parsed_remote", {})

        def set_text(text: str) -> None:
            monkeypatch.setattr(module, "source", lambda name: text)

        return set_text

    def test_it_is_parsed_once_for_all_nodes(self, node: FakeNode, an_expression: Callable[[str], None]) -> None:
        an_expression("%% Limit: how many.\nlists:seq(1, Limit).\n")
        assert node.run(run_remote("some", {"Limit": 3}, node="db1@host", timeout=2.0)) == 42
        other = FakeNode()
        assert other.run(run_remote("some", {"Limit": 4}, node="db2@host")) == 42
        # Atoms of ours are known where they matter; they are not looked at.
        assert node.names() == ["erl_parse:parse_exprs", "erl_eval:expr"]
        assert other.names() == ["erl_eval:expr"]
        assert other.environment() == [(node.environment()[0][0], 4)]
        assert other.calls[0].args[0] == FORM
        assert [call.timeout for call in node.calls] == [None, 2.0]

    def test_whether_it_may_be_repeated(self, node: FakeNode, an_expression: Callable[[str], None]) -> None:
        an_expression("1.")
        node.run(run_remote("some"))
        node.run(run_remote("some", idempotent=False))
        assert [call.idempotent for call in node.calls if call.function == "expr"] == [True, False]
