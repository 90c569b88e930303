"""The nodes of a host: what EPMD has registered there, and who of them answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from iris_admin.errors import IrisAdminError
from iris_admin.operations.parallel import side_by_side
from iris_admin.operations.results import Result, Table
from iris_admin.operations.stats import Stats, stats
from iris_admin.operations.steps import Operation


@dataclass(frozen=True, slots=True, repr=False)
class RegisteredNode(Result):
    """A node that EPMD knows.

    :param node: its full name.
    :param port: of its distribution listener.
    :param answers: whether it answered a call; EPMD keeps a node that hangs.
    :param role: ``core``, ``edge``, ``core+edge`` or ``other``; None where it did not answer.
    :param otp_release: of Erlang/OTP; likewise.
    :param uptime: in seconds; likewise.
    :param problem: why it did not answer.
    """

    node: str
    port: int
    answers: bool
    role: str | None
    otp_release: str | None
    uptime: float | None
    problem: str | None


def registered_nodes(host: str, registered: Mapping[str, int]) -> Operation[Table[RegisteredNode]]:
    """Try each node that EPMD has registered on a host.

    Asking EPMD is not an operation's business: it is done with :func:`iris_admin.transport.dialing.query_epmd`.

    :param host: as it stands in the nodes' names.
    :param registered: the names, without host, and their ports, as EPMD gives them.
    """
    outcomes = yield from side_by_side({name: stats(f"{name}@{host}") for name in sorted(registered)})
    return Table(
        RegisteredNode,
        (_registered_node(f"{name}@{host}", registered[name], outcome) for name, outcome in outcomes.items()),
    )


def _registered_node(node: str, port: int, outcome: Stats | IrisAdminError) -> RegisteredNode:
    if isinstance(outcome, IrisAdminError):
        return RegisteredNode(node, port, False, None, None, None, str(outcome))
    return RegisteredNode(node, port, True, outcome.role, outcome.otp_release, outcome.uptime, None)
