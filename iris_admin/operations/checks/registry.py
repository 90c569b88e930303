"""All checks, in the order in which their findings are shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from iris_admin.operations.checks import (
    backlog,
    breakers,
    limits,
    links,
    listeners,
    mailboxes,
    metrics,
    mnesia,
    nodes,
    presence,
    pressure,
    quorum,
    user,
    write_ahead_log,
)
from iris_admin.operations.checks.finding import Finding
from iris_admin.operations.checks.subject import Subject
from iris_admin.operations.steps import Operation

#: Looks at one thing all over the cluster.
Check: TypeAlias = Callable[[Subject], Operation[list[Finding]]]

CHECKS: dict[str, Check] = {
    module.NAME: module.check
    for module in (
        nodes,
        links,
        quorum,
        mnesia,
        listeners,
        mailboxes,
        limits,
        pressure,
        breakers,
        write_ahead_log,
        backlog,
        presence,
        user,
        metrics,
    )
}
