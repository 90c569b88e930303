"""Runs an operation for a facade that blocks: performs each step, and sends its result or throws its error back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from iris_admin.operations.steps import (
    AllOf,
    Call,
    Capture,
    ChatExchange,
    ChatLogIn,
    ChatLogOut,
    Knock,
    Local,
    Now,
    Operation,
    Pause,
    PrepareAudit,
    Progress,
    RecordChange,
    RunCommand,
    SaveBackup,
    Step,
)
from iris_admin.terms import Term

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")


class Callee(Protocol):
    """What a step needs of a node; see :class:`iris_admin.client.Node`."""

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
            return _perform_all(steps, find_node)
        case Pause(seconds):
            time.sleep(seconds)
        case Now():
            return time.time()
        case SaveBackup(label, terms):
            from iris_admin.backup import save_backup

            return save_backup(label, terms)
        case Local(function):
            return function()
        case PrepareAudit():
            from iris_admin.audit import prepare_audit

            prepare_audit()
        case RecordChange():
            from iris_admin.audit import record

            record(step.command, step.node, step.plan, step.outcome, step.backup)
        case RunCommand(arguments, timeout):
            from iris_admin.site_command import run_command

            return run_command(arguments, timeout)
        case Knock(doors, timeout):
            from iris_admin.transport.knock import knock

            return knock(doors, timeout)
        case ChatLogIn() | ChatExchange() | ChatLogOut():
            from iris_admin.transport.chat import perform_chat

            return perform_chat(step)
        case Progress(message):
            if on_progress is not None:
                on_progress(message)
    return None


def _perform_all(steps: tuple[Step, ...], find_node: NodeFinder) -> list[Any]:
    """Have all calls under way at once; an error takes the place of its result."""
    started: list[Any] = []
    try:
        for step in steps:
            call = step.call if isinstance(step, Capture) else step
            if not isinstance(call, Call):
                raise TypeError(f"only calls can be made at once, not {step!r}")
            try:
                started.append(
                    find_node(call.node).submit(
                        call.module, call.function, *call.args, timeout=call.timeout, capture=isinstance(step, Capture)
                    )
                )
            except Exception as error:
                started.append(error)
        return [_outcome(item) for item in started]
    except BaseException:
        cancel_all(started)
        raise


def cancel_all(started: Iterable[Any]) -> None:
    """Kill the remote processes of those that are futures: whoever waited for them was interrupted."""
    for item in started:
        if not isinstance(item, Exception):
            item.cancel()


def _outcome(started: Any) -> Any:
    if isinstance(started, Exception):
        return started
    try:
        return started.result()
    except Exception as error:
        return error
