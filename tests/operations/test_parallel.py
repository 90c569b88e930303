"""Operations side by side ask their questions together, and do not suffer from one another."""

from __future__ import annotations

import pytest

from iris_admin.errors import NodeDown
from iris_admin.operations.parallel import side_by_side
from iris_admin.operations.steps import AllOf, Call, Operation, Pause, Progress


def ask(*questions: str) -> Operation[list[object]]:
    answers = []
    for question in questions:
        answers.append((yield Call("m", question)))
    return answers


def ask_together(*questions: str) -> Operation[list[object]]:
    answers: list[object] = yield AllOf(tuple(Call("m", question) for question in questions))
    return answers


def test_one_operation_is_passed_through() -> None:
    operation = side_by_side({"a": ask("x", "y")})
    assert next(operation) == Call("m", "x")
    assert operation.send(1) == Call("m", "y")
    with pytest.raises(StopIteration) as stop:
        operation.send(2)
    assert stop.value.value == {"a": [1, 2]}


def test_none_at_all() -> None:
    with pytest.raises(StopIteration) as stop:
        next(side_by_side({}))
    assert stop.value.value == {}


def test_calls_of_a_round_go_together() -> None:
    operation = side_by_side({"a": ask("x", "y"), "b": ask_together("p", "q")})
    assert next(operation) == AllOf((Call("m", "x"), Call("m", "p"), Call("m", "q")))
    assert operation.send([1, 2, 3]) == Call("m", "y")
    with pytest.raises(StopIteration) as stop:
        operation.send(4)
    assert stop.value.value == {"a": [1, 4], "b": [2, 3]}


def test_an_error_is_one_operation_s_own() -> None:
    operation = side_by_side({"a": ask("x"), "b": ask("y")})
    next(operation)
    error = NodeDown("gone")
    with pytest.raises(StopIteration) as stop:
        operation.send([error, 2])
    assert stop.value.value == {"a": error, "b": [2]}


def test_an_error_of_the_last_one_too() -> None:
    operation = side_by_side({"a": ask("x")})
    next(operation)
    error = NodeDown("gone")
    with pytest.raises(StopIteration) as stop:
        operation.throw(error)
    assert stop.value.value == {"a": error}


def test_an_operation_can_handle_its_error() -> None:
    def careful() -> Operation[str]:
        try:
            yield Call("m", "x")
        except NodeDown:
            return str((yield Call("m", "again")))
        return "no error"

    operation = side_by_side({"a": careful(), "b": careful()})
    next(operation)
    assert operation.send([NodeDown("gone"), 1]) == Call("m", "again")
    with pytest.raises(StopIteration) as stop:
        operation.send("yes")
    assert stop.value.value == {"a": "yes", "b": "no error"}


def test_other_steps_are_made_one_by_one() -> None:
    def talk(name: str) -> Operation[str]:
        yield Progress(name)
        return str((yield Call("m", name)))

    operation = side_by_side({"a": talk("a"), "b": talk("b")})
    assert next(operation) == Progress("a")
    assert operation.send(None) == Progress("b")
    assert operation.send(None) == AllOf((Call("m", "a"), Call("m", "b")))


def test_pauses_of_all_are_one() -> None:
    def wait(seconds: float) -> Operation[str]:
        yield Call("m", "before")
        yield Pause(seconds)
        return (yield Call("m", "after"))

    operation = side_by_side({"a": wait(1), "b": wait(3), "c": wait(2)})
    assert next(operation) == AllOf((Call("m", "before"),) * 3)
    assert operation.send([1, 2, 3]) == Pause(3)
    assert operation.send(None) == AllOf((Call("m", "after"),) * 3)
    with pytest.raises(StopIteration) as stop:
        operation.send(["x", "y", "z"])
    assert stop.value.value == {"a": "x", "b": "y", "c": "z"}


def test_a_mistake_of_ours_is_no_outcome() -> None:
    def broken() -> Operation[None]:
        yield Call("m", "x")
        raise TypeError("a mistake")

    operation = side_by_side({"a": broken()})
    next(operation)
    with pytest.raises(TypeError, match="a mistake"):
        operation.send(None)


def test_an_interrupted_operation_can_tidy_up() -> None:
    tidied = []

    def tidy() -> Operation[None]:
        try:
            yield Call("m", "x")
        finally:
            tidied.append(True)

    operation = side_by_side({"a": tidy(), "b": tidy()})
    next(operation)
    with pytest.raises(KeyboardInterrupt):
        operation.throw(KeyboardInterrupt())
    assert tidied == [True, True]
