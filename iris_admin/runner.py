"""Runs an operation for a facade that blocks: performs each step, and sends its result or throws its error back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from iris_admin.operations.steps import Operation, Step

T = TypeVar("T")


def run(operation: Operation[T], perform: Callable[[Step], Any]) -> T:
    """Drive an operation to its end.

    :param perform: does one step and returns its result.
    :returns: what the operation returns.
    """
    try:
        step = next(operation)
        while True:
            try:
                result = perform(step)
            except BaseException as error:
                # An interrupted operation gets the chance to tidy up, as it would on any error.
                step = operation.throw(error)
            else:
                step = operation.send(result)
    except StopIteration as stop:
        value: T = stop.value
        return value
