"""Operations without a network: a test answers the calls that an operation waits for."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any, TypeVar

import pytest

from iris_admin import operations
from iris_admin.operations import evaluate
from iris_admin.operations.local_steps import PrepareAudit, RecordChange
from iris_admin.operations.steps import AllOf, Call, Capture, Now, Operation, Pause, Progress, Step
from iris_admin.terms import Term

T = TypeVar("T")

#: All modules that evaluate expressions of ``remote/``.
MODULES = [
    module
    for module in (
        import_module(entry.name) for entry in pkgutil.walk_packages(operations.__path__, "iris_admin.operations.")
    )
    if hasattr(module, "run_remote") and module is not evaluate
]

#: Gives a call's result, or its error (returned or raised).
Answer = Callable[[Call], Any]


@pytest.fixture(autouse=True)
def remote_expressions(monkeypatch: pytest.MonkeyPatch) -> None:
    """An expression of ``remote/`` becomes a call of ``remote:<its name>`` with its bindings as the one argument."""

    def run_remote(
        name: str, bindings: Mapping[str, Term] | None = None, *, node: str | None = None, **options: Any
    ) -> Operation[Term]:
        return (yield Call("remote", name, (dict(bindings or {}),), node=node))

    for module in MODULES:
        monkeypatch.setattr(module, "run_remote", run_remote)


class Run:
    """Runs an operation by the answers of a test, and keeps what it asked.

    :ivar calls: all calls, in order.
    :ivar progress: all lines for the person who waits.
    :ivar paused: for how long it waited, each time.
    :ivar records: what it had to say to the audit file.
    :param clock: what it is told when it asks for the time; by default that does not pass.
    """

    def __init__(self, answer: Answer, *, clock: Iterable[float] = ()) -> None:
        self._answer = answer
        self._clock = iter(clock)
        self.calls: list[Call] = []
        self.progress: list[str] = []
        self.paused: list[float] = []
        self.records: list[RecordChange] = []

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
            case Pause(seconds):
                self.paused.append(seconds)
            case Now():
                return next(self._clock, 0.0)
            case PrepareAudit():
                pass
            case RecordChange():
                self.records.append(step)
            case _:
                raise AssertionError(f"not expected: {step}")
        return None

    @property
    def names(self) -> list[str]:
        """What was called, as ``module:function``."""
        return [f"{call.module}:{call.function}" for call in self.calls]
