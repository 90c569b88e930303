"""Runs an operation for a facade that blocks: performs each step, and sends its result or throws its error back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from iris_admin.operations.steps import AllOf, Call, Capture, Local, Now, Operation, Pause, Progress, Step
from iris_admin.terms import Term

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")


#: So many connections are made at once: connecting waits for the network, not for the processor.
_CONNECTORS = 16


class Callee(Protocol):
    """What a step needs of a node; see :class:`iris_admin.client.Node`."""

    @property
    def is_connected(self) -> bool:
        """Whether a call needs no new connection, as far as is known."""

    def reconnect(self, *, timeout: float | None) -> None:
        """Connect, unless it is connected."""

    def call(self, module: str, function: str, *args: Term, timeout: float | None, idempotent: bool) -> Term:
        """Call a function and wait."""

    def capture(
        self, module: str, function: str, *args: Term, timeout: float | None, idempotent: bool
    ) -> tuple[Term, str]:
        """Call a function that prints, and wait."""

    def submit(self, module: str, function: str, *args: Term, timeout: float | None, capture: bool) -> Future[Any]:
        """Call a function without waiting."""


#: Gives the node that a step names; None is the one that the operation was started on.
NodeFinder = Callable[[str | None], Callee]


def run(operation: Operation[T], find_node: NodeFinder, on_progress: Callable[[str], None] | None = None) -> T:
    """Drive an operation to its end.

    :param find_node: gives the node for a step; it may raise what connecting raises.
    :param on_progress: told each line that the operation has for the person who waits.
    :returns: what the operation returns.
    """
    try:
        step = next(operation)
        while True:
            try:
                result = perform(step, find_node, on_progress)
            except BaseException as error:
                # An interrupted operation gets the chance to tidy up, as it would on any error.
                step = operation.throw(error)
            else:
                step = operation.send(result)
    except StopIteration as stop:
        value: T = stop.value
        return value


def perform(step: Step, find_node: NodeFinder, on_progress: Callable[[str], None] | None) -> Any:
    """Do one step; see :mod:`iris_admin.operations.steps` for what each gives."""
    match step:
        case Call():
            return find_node(step.node).call(
                step.module, step.function, *step.args, timeout=step.timeout, idempotent=step.idempotent
            )
        case Capture(call):
            return find_node(call.node).capture(
                call.module, call.function, *call.args, timeout=call.timeout, idempotent=call.idempotent
            )
        case AllOf(steps):
            return perform_all(steps, find_node)
        case Pause(seconds):
            time.sleep(seconds)
        case Now():
            return time.time()
        case Local(function):
            return function()
        case Progress(message):
            if on_progress is not None:
                on_progress(message)
        case _:
            # Imported when it is needed: most commands ask a node, and no more.
            from iris_admin.local_runner import perform_locally

            return perform_locally(step)
    return None


def perform_all(steps: tuple[Step, ...], find_node: NodeFinder) -> list[Any]:
    """Have all calls under way at once; an error takes the place of its result."""
    calls = tuple(_call_of(step) for step in steps)
    started: dict[int, Future[Any]] = {}
    outcomes: dict[int, Any] = {}
    lost: dict[int, Callee] = {}

    def start(index: int, node: Callee) -> None:
        call = calls[index]
        capture = isinstance(steps[index], Capture)
        try:
            started[index] = node.submit(call.module, call.function, *call.args, timeout=call.timeout, capture=capture)
        except Exception as error:
            outcomes[index] = error

    try:
        for index, call in enumerate(calls):
            try:
                node = find_node(call.node)
            except Exception as error:
                outcomes[index] = error
                continue
            if node.is_connected:
                start(index, node)
            else:
                lost[index] = node
        for index, failure in _reconnect(lost, calls):
            if failure is None:
                start(index, lost[index])
            else:
                outcomes[index] = failure
        for index, future in started.items():
            try:
                outcomes[index] = future.result()
            except Exception as error:
                outcomes[index] = error
    except BaseException:
        # Whoever waits was interrupted: what runs on the nodes is of no use any more.
        for future in started.values():
            future.cancel()
        raise
    return [outcomes[index] for index in range(len(steps))]


def _call_of(step: Step) -> Call:
    call = step.call if isinstance(step, Capture) else step
    if not isinstance(call, Call):
        raise TypeError(f"only calls can be made at once, not {step!r}")
    return call


def _reconnect(lost: dict[int, Callee], calls: tuple[Call, ...]) -> Iterator[tuple[int, Exception | None]]:
    """Connect anew to nodes, side by side: in turn, each would wait for the time-outs of those before it.

    :returns: for each the error, or None where it is connected again, in the order in which that is known.
    """
    if not lost:
        return
    from concurrent.futures import ThreadPoolExecutor, as_completed

    pool = ThreadPoolExecutor(min(_CONNECTORS, len(lost)))
    try:
        attempts = {pool.submit(node.reconnect, timeout=calls[index].timeout): index for index, node in lost.items()}
        for attempt in as_completed(attempts):
            error = attempt.exception()
            if error is not None and not isinstance(error, Exception):
                raise error
            yield attempts[attempt], error
    finally:
        # Whoever is interrupted does not wait for nodes that do not answer.
        pool.shutdown(wait=False, cancel_futures=True)
