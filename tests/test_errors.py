"""The tree of errors: as documented, and every error survives a process boundary and a copy."""

from __future__ import annotations

import copy
import pickle
import re
from typing import Any

import pytest

from iris_admin import errors
from iris_admin.errors import IrisAdminError, RemoteError
from iris_admin.terms import Atom

ALL = sorted(
    (item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, IrisAdminError)),
    key=lambda cls: cls.__name__,
)

#: Values for what some errors carry besides message, node and hint.
DETAILS: dict[str, Any] = {
    "position": 3,
    "registered": ("db1", "db2"),
    "status": "nok",
    "actual_name": "db2@host",
    "timeout": 2.5,
    "reached": True,
    "in_tls": True,
    "kind": "throw",
    "reason": (Atom("a"), [1]),
    "stacktrace": [(Atom("m"), Atom("f"), 1, [])],
    "mfa": ("m", "f", 1),
    "offset": 7,
    "node": "db1@host",
    "hint": "Do this.",
}


def parameters(cls: type[IrisAdminError]) -> dict[str, Any]:
    """One value for each keyword that the error takes."""
    code = cls.__init__.__code__  # type: ignore[misc]
    names = code.co_varnames[2 : 2 + code.co_kwonlyargcount]
    return {name: DETAILS[name] for name in names}


@pytest.mark.parametrize("cls", ALL)
class TestEveryError:
    def test_message_node_and_hint(self, cls: type[IrisAdminError]) -> None:
        error = cls("what happened", **parameters(cls))
        assert str(error) == "what happened"
        for name, value in parameters(cls).items():
            assert getattr(error, name) == value
        bare = cls("what happened")
        assert (bare.node, bare.hint) == (None, None)

    @pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
    def test_pickles(self, cls: type[IrisAdminError], protocol: int) -> None:
        error = cls("what happened", **parameters(cls))
        again = pickle.loads(pickle.dumps(error, protocol))
        assert type(again) is cls
        assert str(again) == "what happened"
        assert again.args == error.args
        assert vars(again) == vars(error)

    @pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
    def test_copies(self, cls: type[IrisAdminError], copied: Any) -> None:
        error = cls("what happened", **parameters(cls))
        again = copied(error)
        assert again is not error
        assert type(again) is cls
        assert (str(again), vars(again)) == (str(error), vars(error))
        again.node = "other@host"
        assert error.node != "other@host"

    def test_a_copy_has_no_traceback_of_its_own(self, cls: type[IrisAdminError]) -> None:
        with pytest.raises(cls) as caught:
            raise cls("what happened")
        assert copy.copy(caught.value).__traceback__ is None

    def test_exit_code_of_sysexits(self, cls: type[IrisAdminError]) -> None:
        assert cls.exit_code in {65, 67, 69, 70, 74, 75, 76, 77, 78}

    def test_docstring(self, cls: type[IrisAdminError]) -> None:
        assert cls.__doc__


def test_exit_codes() -> None:
    codes = {cls.__name__: cls.exit_code for cls in ALL}
    expected = {
        "ConfigError": 78,
        "TermSyntaxError": 65,
        "EncodeError": 65,
        "DecodeError": 65,
        "UnknownAtom": 65,
        "NoSuchUser": 67,
        "ConnectError": 69,
        "NodeNotFound": 69,
        "NodeDown": 69,
        "NotApplicable": 69,
        "RemoteError": 70,
        "CallTimeout": 75,
        "CookieMismatch": 77,
        "UnsafeOperation": 77,
    }
    assert {name: codes[name] for name in expected} == expected


def test_the_tree_is_as_drawn() -> None:
    """Each line of the drawing is a class below the one that it hangs from, and no class is missing."""
    drawing = (errors.__doc__ or "").partition("::\n")[2]
    drawn: dict[str, str | None] = {}
    above: list[str] = []
    for line in drawing.splitlines():
        match = re.fullmatch(r"    ([│├└─ ]*)(\w+)(?: {2,}.*)?", line)
        if match is None:
            continue
        depth = len(match[1]) // 4
        del above[depth:]
        drawn[match[2]] = above[-1] if above else None
        above.append(match[2])
    assert drawn == {cls.__name__: None if cls is IrisAdminError else cls.__mro__[1].__name__ for cls in ALL}


def test_errors_are_python_errors_too() -> None:
    assert issubclass(errors.CallTimeout, TimeoutError)
    assert issubclass(errors.DecodeError, ValueError)
    assert issubclass(errors.EncodeError, ValueError)


def test_only_what_may_pass_by_itself_is_tried_again() -> None:
    assert {cls.__name__ for cls in ALL if cls.transient} == {
        "EpmdUnreachable",
        "NodeNotFound",
        "NodeUnreachable",
        "NodeDown",
    }


class TestIsUndef:
    MFA = ("m", "f", 1)

    def error(self, **changes: Any) -> RemoteError:
        trace = [(Atom("m"), Atom("f"), [42], []), (Atom("erl_eval"), Atom("do_apply"), 6, [])]
        details = {"kind": "error", "reason": Atom("undef"), "stacktrace": trace, "mfa": self.MFA} | changes
        return RemoteError("it failed", **details)

    @pytest.mark.parametrize("arity", [1, [42]])
    def test_the_called_function_does_not_exist(self, arity: Any) -> None:
        assert self.error(stacktrace=[(Atom("m"), Atom("f"), arity, [])]).is_undef

    def test_nor_can_it_be_told_without_a_stack_trace(self) -> None:
        assert self.error(stacktrace=None).is_undef
        assert self.error(stacktrace=[]).is_undef

    @pytest.mark.parametrize(
        "changes",
        [
            {"kind": "exit"},
            {"reason": Atom("badarg")},
            {"reason": (Atom("undef"), 1)},
            {"mfa": None},
            {"stacktrace": [(Atom("m"), Atom("g"), [42], []), (Atom("m"), Atom("f"), 1, [])]},
            {"stacktrace": [(Atom("m"), Atom("f"), [1, 2], [])]},
            {"stacktrace": [(Atom("other"), Atom("f"), 1, [])]},
        ],
    )
    def test_something_else_failed(self, changes: dict[str, Any]) -> None:
        assert not self.error(**changes).is_undef
