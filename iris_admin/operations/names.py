"""What a node is called."""

from __future__ import annotations

from iris_admin.operations.steps import Call, Operation


def node_name(node: str | None) -> Operation[str]:
    """The full name of a node; the node itself is asked only where it is the operation's own."""
    return str((yield Call("erlang", "node", idempotent=True))) if node is None else node
