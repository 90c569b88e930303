"""Shows what a call on a node returned, and what it printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iris_admin.json_values import to_json_value
from iris_admin.text import printable

if TYPE_CHECKING:
    from iris_admin.cli.session import Session
    from iris_admin.terms import Term


def show_value(session: Session, node: str, value: Term, output: str) -> None:
    """Show a value: as Erlang in the table, as ``node``, ``value`` and ``output`` in the other formats.

    :param node: where it comes from.
    :param output: what the call printed.
    """
    from iris_admin.syntax import format_term

    def lines() -> list[str]:
        printed = [printable(output.removesuffix("\n"), keep="\n\t")] if output else []
        return [*printed, printable(format_term(value, node=node), keep="\n")]

    document = {"node": node, "value": None, "output": output}
    rows = None
    if session.format == "csv":
        # A cell has no structure.
        rows = [document | {"value": format_term(value, width=None, node=node)}]
    elif session.format != "table":
        document["value"] = to_json_value(value, node=node)
    session.show(document, rows=rows, text=lines)
