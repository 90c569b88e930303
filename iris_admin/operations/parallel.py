"""Run operations side by side, as one operation: the calls that they wait for are made all at once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

from iris_admin.errors import IrisAdminError
from iris_admin.operations.steps import AllOf, Call, Capture, Operation, Pause, Step

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


def side_by_side(operations: Mapping[K, Operation[T]]) -> Operation[dict[K, T | IrisAdminError]]:
    """Run several operations, in rounds: the slowest call of a round is waited for before the next round begins.

    For operations of equal steps on different nodes that is no loss. Other steps than calls are made one after the
    other, save that operations pause together where all do.

    :param operations: by whatever tells them apart.
    :returns: under the same keys what each returned, or its error in its place; one's failure is no other's.
    """
    outcomes: dict[K, T | IrisAdminError] = {}
    steps: dict[K, Step] = {}

    def go_on(key: K, value: Any) -> None:
        steps.pop(key, None)
        try:
            operation = operations[key]
            steps[key] = operation.throw(value) if isinstance(value, Exception) else operation.send(value)
        except StopIteration as stop:
            outcomes[key] = stop.value
        except IrisAdminError as error:
            outcomes[key] = error

    try:
        for key in operations:
            go_on(key, None)
        while steps:
            calls = {key: step for key, step in steps.items() if isinstance(step, Call | Capture | AllOf)}
            pauses = [step.seconds for step in steps.values() if isinstance(step, Pause)]
            if len(pauses) == len(steps):
                # Time passes for all of them at once.
                yield Pause(max(pauses))
                for key in list(steps):
                    go_on(key, None)
            elif len(calls) < 2:
                key, step = next(iter(steps.items()))
                try:
                    value = yield step
                except Exception as error:
                    value = error
                go_on(key, value)
            elif calls:
                results = iter((yield AllOf(tuple(part for step in calls.values() for part in _parts(step)))))
                for key, step in calls.items():
                    values = [next(results) for _ in _parts(step)]
                    go_on(key, values if isinstance(step, AllOf) else values[0])
    finally:
        for operation in operations.values():
            operation.close()
    return {key: outcomes[key] for key in operations}


def _parts(step: Step) -> tuple[Step, ...]:
    return step.steps if isinstance(step, AllOf) else (step,)
