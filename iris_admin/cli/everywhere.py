"""Shows the outcome of one question on every node of a cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from iris_admin.errors import EX_UNAVAILABLE

if TYPE_CHECKING:
    from iris_admin.cli.session import Session
    from iris_admin.cluster import PerNode


def show_everywhere(
    session: Session, outcomes: PerNode, for_people: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    """Show what each node answered, and exit with 69 if one did not.

    The document is a list with an object for each node; that of one that did not answer has ``node``, ``error`` (the
    kind), ``message`` and ``hint``.

    :param for_people: gives the names and values of the table.
    """
    from iris_admin.operations.results import plain

    documents = [
        plain(outcome) | {"node": name} if isinstance(outcome, Exception) else outcome.to_dict()
        for name, outcome in outcomes.items()
    ]
    session.show(
        documents,
        text=lambda: _lines(
            {document["node"]: for_people(document) for document in documents if "error" not in document}
        ),
    )
    for name, error in outcomes.errors_by_node.items():
        session.tell(f"error: {name}: {error}")
    if outcomes.errors_by_node:
        click.get_current_context().exit(EX_UNAVAILABLE)


def _lines(shown: dict[str, dict[str, Any]]) -> list[str]:
    """A column for each node: there are more fields than nodes."""
    from iris_admin.cli.layout import columns

    names = dict.fromkeys(name for values in shown.values() for name in values)
    return columns([[name, *(values[name] for values in shown.values())] for name in names], ["", *shown])
