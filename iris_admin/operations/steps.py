"""What an operation can ask of the driver that runs it.

An operation is a generator: it yields steps, is sent their results (or has their errors thrown into it, so
that ``try/except`` reads as usual) and returns its own result. It holds no socket and no clock, and is
written once for the blocking and for the awaiting facade.

What an operation wants done outside of the nodes, on the operator's machine or from there, are the steps of
:mod:`iris_admin.operations.local_steps`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from iris_admin.records import record
from iris_admin.terms import Term

if TYPE_CHECKING:
    from iris_admin.operations.local_steps import LocalStep

T = TypeVar("T")


@record
class Call:
    """Call ``module:function(*args)``; the result is the returned term.

    :param node: the node to call; None is the one that the operation was started on.
    :param timeout: in seconds; None is the facade's default.
    :param idempotent: whether a second run does no harm, so that a lost link may be answered by a retry.
    """

    module: str
    function: str
    args: tuple[Term, ...] = ()
    node: str | None = None
    timeout: float | None = None
    idempotent: bool = False


@record
class Capture:
    """Like :class:`Call`; the result is a tuple of the returned term and the text that was printed."""

    call: Call


@record
class AllOf:
    """Several steps at once; the result is a list with each one's result or, in its place, its error."""

    steps: tuple[Step, ...]


@record
class Pause:
    """Let time pass, in seconds."""

    seconds: float


@record
class Now:
    """The time of the operator's machine; the result is in seconds since the epoch, as a float."""


@record
class Local:
    """Do something on the operator's machine that may wait, e.g. for a disc; the result is what the function returns.

    :param function: the caller's; an error that it raises is the step's.
    """

    function: Callable[[], Any]


@record
class Progress:
    """Tell the person who waits; the result is None.

    :param message: one line.
    """

    message: str


Step: TypeAlias = "Call | Capture | AllOf | Pause | Now | Local | Progress | LocalStep"
#: A generator that yields steps and returns a ``T``.
Operation: TypeAlias = Generator[Step, Any, T]
