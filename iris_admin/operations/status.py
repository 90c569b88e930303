"""What Iris's own modules say of themselves on a node, as far as it means something there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from iris_admin.errors import IrisAdminError, RemoteError
from iris_admin.operations.results import Result, plain
from iris_admin.operations.roles import role
from iris_admin.operations.steps import AllOf, Call, Operation
from iris_admin.records import record

_TIMEOUT = 5.0
#: Only what changes nothing, and only where it is true: the same figures of an edge would all be zero.
_ON_CORE = (
    ("iris_partition_guard", "get_status"),
    ("iris_cluster_manager", "get_status"),
    ("iris_flow_controller", "get_stats"),
    ("iris_durable_batcher", "get_stats"),
    ("iris_durable_batcher", "get_durability_mode"),
    ("iris_presence", "get_stats"),
)
_ON_EDGE = (
    ("iris_async_router", "get_stats"),
    ("iris_circuit_breaker", "get_all_status"),
)


@record
class Status(Result):
    """What Iris's modules say on a node.

    :param node: the node.
    :param role: ``core``, ``edge``, ``core+edge`` or ``other``.
    :param answers: by ``module:function``; None where the module does not answer.
    :param missing: why not, likewise.
    """

    node: str
    role: str
    answers: Mapping[str, Any]
    missing: Mapping[str, str]


def status(node: str | None = None) -> Operation[Status]:
    """What Iris's modules say of themselves on a node.

    :param node: which; None is the operation's own node.
    """
    where = yield from role(node)
    asked = (*(_ON_CORE if where.is_core else ()), *(_ON_EDGE if where.is_edge else ()))
    outcomes = yield AllOf(
        tuple(Call(module, function, node=node, timeout=_TIMEOUT, idempotent=True) for module, function in asked)
    )
    answers: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for (module, function), outcome in zip(asked, outcomes, strict=True):
        name = f"{module}:{function}"
        if isinstance(outcome, RemoteError) and outcome.is_undef:
            missing[name] = "this release of Iris does not have it"
        elif isinstance(outcome, IrisAdminError):
            missing[name] = str(outcome)
        elif isinstance(outcome, Exception):
            raise outcome
        else:
            answers[name] = plain(outcome)
    return Status(where.node, where.role, answers, missing)
