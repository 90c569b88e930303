"""What kind of node a node is. Found by the applications that run on it, never by its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from iris_admin.errors import IrisAdminError
from iris_admin.operations.names import node_name
from iris_admin.operations.results import Result
from iris_admin.operations.steps import AllOf, Call, Operation
from iris_admin.proto.io_protocol import chardata_to_str
from iris_admin.records import record
from iris_admin.terms import Term


@record
class Role(Result):
    """What runs on a node.

    :param node: the node.
    :param role: ``core``, ``edge``, ``core+edge``, or ``other`` for a node without a running Iris.
    :param iris_core: version of the running application, or None; likewise the others.
    """

    node: str
    role: str
    iris_core: str | None
    iris_edge: str | None
    mnesia: str | None

    @property
    def is_core(self) -> bool:
        """Whether Iris's core runs there."""
        return self.iris_core is not None

    @property
    def is_edge(self) -> bool:
        """Whether Iris's edge runs there."""
        return self.iris_edge is not None

    def __str__(self) -> str:
        return self.role


@dataclass(frozen=True, slots=True)
class Members:
    """The nodes of a cluster by role.

    :param roles: of the nodes that answered.
    :param unanswered: the others, with the reason.
    """

    roles: dict[str, Role]
    unanswered: dict[str, IrisAdminError]

    @property
    def cores(self) -> list[str]:
        """The nodes that Iris's core runs on, in order."""
        return [node for node, role in self.roles.items() if role.is_core]

    @property
    def edges(self) -> list[str]:
        """The nodes that Iris's edge runs on, in order."""
        return [node for node, role in self.roles.items() if role.is_edge]


def role(node: str | None = None) -> Operation[Role]:
    """The role of a node.

    :param node: which; None is the operation's own node.
    """
    applications = yield _which_applications(node)
    return role_of((yield from node_name(node)), applications)


def members(nodes: Sequence[str], *, timeout: float | None = None) -> Operation[Members]:
    """The roles of several nodes, asked at once. A node that does not answer is no error here.

    :param timeout: of each answer, in seconds; None is the facade's default.
    """
    outcomes = yield AllOf(tuple(_which_applications(node, timeout) for node in nodes))
    roles, unanswered = {}, {}
    for node, outcome in zip(nodes, outcomes, strict=True):
        if isinstance(outcome, IrisAdminError):
            unanswered[node] = outcome
        elif isinstance(outcome, Exception):
            raise outcome
        else:
            roles[node] = role_of(node, outcome)
    return Members(roles, unanswered)


def cores(nodes: Sequence[str]) -> Operation[list[str]]:
    """Those of the nodes that answer and are cores."""
    return (yield from members(nodes)).cores


def edges(nodes: Sequence[str]) -> Operation[list[str]]:
    """Those of the nodes that answer and are edges."""
    return (yield from members(nodes)).edges


def role_of(node: str, applications: Term) -> Role:
    """The role of a node on which these applications run.

    :param applications: as ``application:which_applications/0`` gives them.
    """
    versions = {str(name): chardata_to_str(version, "utf-8") or "" for name, _description, version in applications}
    core, edge = versions.get("iris_core"), versions.get("iris_edge")
    parts = [name for name, version in (("core", core), ("edge", edge)) if version is not None]
    return Role(node, "+".join(parts) or "other", core, edge, versions.get("mnesia"))


def _which_applications(node: str | None, timeout: float | None = None) -> Call:
    return Call("application", "which_applications", node=node, timeout=timeout, idempotent=True)
