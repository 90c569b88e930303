"""Operations without a network: a test answers the calls that an operation waits for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import pytest

from iris_admin.operations import mnesia, offline, presence, stats
from iris_admin.operations.steps import AllOf, Call, Capture, Operation, Pause, Progress, Step
from iris_admin.terms import Term

T = TypeVar("T")

#: Gives a call's result, or its error (returned or raised).
Answer = Callable[[Call], Any]


@pytest.fixture(autouse=True)
def remote_expressions(monkeypatch: pytest.MonkeyPatch) -> None:
    """An expression of ``remote/`` becomes a call of ``remote:<its name>`` with its bindings as the one argument."""

    def run_remote(
        name: str, bindings: Mapping[str, Term] | None = None, *, node: str | None = None, **options: Any
    ) -> Operation[Term]:
        return (yield Call("remote", name, (dict(bindings or {}),), node=node))

    for module in (mnesia, offline, presence, stats):
        monkeypatch.setattr(module, "run_remote", run_remote)


class Run:
    """Runs an operation by the answers of a test, and keeps what it asked.

    :ivar calls: all calls, in order.
    :ivar progress: all lines for the person who waits.
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.calls: list[Call] = []
        self.progress: list[str] = []

    def __call__(self, operation: Operation[T]) -> T:
        try:
            step = next(operation)
            while True:
                result = self._perform(step)
                step = operation.throw(result) if isinstance(result, Exception) else operation.send(result)
        except StopIteration as stop:
            value: T = stop.value
            return value

    def _perform(self, step: Step) -> Any:
        match step:
            case AllOf(steps):
                return [self._perform(each) for each in steps]
            case Capture(call) | (Call() as call):
                self.calls.append(call)
                try:
                    return self._answer(call)
                except Exception as error:
                    return error
            case Progress(message):
                self.progress.append(message)
            case Pause():
                pass
            case _:
                raise AssertionError(f"not expected: {step}")
        return None

    @property
    def names(self) -> list[str]:
        """What was called, as ``module:function``."""
        return [f"{call.module}:{call.function}" for call in self.calls]
