"""``iris-admin stats``."""

from __future__ import annotations

from typing import Any

import click

from iris_admin.cli.command import Command, all_option
from iris_admin.cli.session import Session


@click.command("stats", cls=Command, short_help="Show the vital figures of the node, and its role.")
@all_option
@click.pass_obj
def command(session: Session, everywhere: bool) -> None:
    """Show the node's vital figures: what it holds, what it may hold at most, how busy it is, and its role.

    The role is found by the applications that run on the node: core, edge, core+edge, or other.
    """
    if everywhere:
        from iris_admin.cli.everywhere import show_everywhere

        with session.connect_cluster() as cluster:
            show_everywhere(session, cluster.stats(), _for_people)
        return
    with session.connect() as node:
        document = node.stats().to_dict()
    session.show(document, text=lambda: _lines(document))


def _lines(document: dict[str, Any]) -> list[str]:
    from iris_admin.cli.layout import fields

    return fields([("node", document["node"]), *_for_people(document).items()])


def _for_people(document: dict[str, Any]) -> dict[str, Any]:
    """The figures, each with its limit beside it."""
    from iris_admin.cli.layout import duration

    def of_limit(figure: str, limit: str) -> str | None:
        if document[figure] is None:
            return None
        return f"{document[figure]} of {document[limit]}" if document[limit] else str(document[figure])

    return {
        "role": document["role"],
        "up for": duration(document["uptime"]),
        "release": f"OTP {document['otp_release']}, ERTS {document['erts_version']}",
        "processes": of_limit("processes", "process_limit"),
        "ports": of_limit("ports", "port_limit"),
        "atoms": of_limit("atoms", "atom_limit"),
        "ETS tables": document["ets_tables"],
        "run queue": document["run_queue"],
        "schedulers": document["schedulers_online"],
        "visible nodes": document["visible_nodes"],
        "hidden nodes": document["hidden_nodes"],
    }
