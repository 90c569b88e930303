"""Who a node is: release, uptime, role, and whether others see it."""

from __future__ import annotations

from iris_admin.operations.evaluate import run_remote
from iris_admin.operations.names import node_name
from iris_admin.operations.results import Result
from iris_admin.operations.roles import Role, role_of
from iris_admin.operations.steps import Operation
from iris_admin.proto.io_protocol import chardata_to_str
from iris_admin.records import record


@record
class Identity(Result):
    """Who a node is.

    :param node: its full name.
    :param role: what runs on it; None when it did not say in time.
    :param otp_release: of Erlang/OTP, e.g. ``25``.
    :param uptime: since its operating system process began, in seconds: ``init:restart/0`` changes nothing in it.
    :param hidden: whether it was started with ``-hidden``, so that others leave it out of ``nodes()``.
    :param creation: a number that is another one each time the node starts, also by ``init:restart/0``.
    """

    node: str
    role: Role | None
    otp_release: str
    uptime: float
    hidden: bool
    creation: int


def identity(node: str | None = None, *, timeout: float | None = None) -> Operation[Identity]:
    """Who a node is.

    :param node: which; None is the operation's own node.
    :param timeout: of the answer, in seconds.
    """
    name = yield from node_name(node)
    release, uptime, applications, hidden, creation = yield from run_remote("identity", node=node, timeout=timeout)
    return Identity(
        node=name,
        role=None if applications == "undefined" else role_of(name, applications),
        otp_release=chardata_to_str(release, "utf-8") or "",
        uptime=uptime / 1000,
        hidden=hidden,
        creation=creation,
    )
