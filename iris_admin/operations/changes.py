"""Operations that change something leave a line in the audit file, however they end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from iris_admin.operations.local_steps import PrepareAudit, RecordChange
from iris_admin.operations.steps import Operation

T = TypeVar("T")


@dataclass(slots=True)
class Change:
    """What is to be changed; the operation adds what it learns on its way.

    :param command: as on the command line, without arguments: ``offline clear``.
    :param node: the node that is changed, or that the change is made through.
    :param plan: what is to be done, e.g. the user and how many records; no payloads.
    :param outcome: how it ended; to be set by the operation.
    :param backup: the file with what was there before; likewise.
    """

    command: str
    node: str | None
    plan: object
    outcome: str = "done"
    backup: Path | None = None


def audited(change: Change, work: Operation[T]) -> Operation[T]:
    """Run an operation that changes something, and record it at its end, be that an error, a Ctrl-C or a SIGKILL.

    Nothing is begun when the audit file cannot be written. To be put around the steps that change something, not
    around those before that only look: a change that was refused is none.

    :param change: ``work`` sets its ``outcome``, and its ``backup`` as soon as that exists.
    :raises AuditError: the audit file cannot be written.
    """
    begun = yield PrepareAudit(change.command, change.node, change.plan)
    try:
        result = yield from work
    except GeneratorExit:  # dropped by its driver, so that nobody would take a step from it
        raise
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}".removesuffix(": ")
        yield RecordChange(change.command, change.node, change.plan, f"failed: {reason}", change.backup, begun)
        raise
    yield RecordChange(change.command, change.node, change.plan, change.outcome, change.backup, begun)
    return result
