"""``iris-admin stats``."""

from __future__ import annotations

from typing import Any

import click

from iris_admin.cli.command import Command, all_option
from iris_admin.cli.session import Session
from iris_admin.cli.watch import watch_options


@click.command("stats", cls=Command, short_help="Show the vital figures of the node, and its role.")
@all_option
@watch_options
@click.pass_obj
def command(session: Session, everywhere: bool, watch: bool, interval: float, times: int | None) -> None:
    """Show the node's vital figures: what it holds, what it may hold at most, how busy it is, and its role.

    The role is found by the applications that run on the node: core, edge, core+edge, or other. A link to another node
    is busy when more waits there than it takes: processes that send to that node are stopped then.

    With --watch a line shows what is done per second: reductions (the work of processes), collections of garbage and
    what they reclaim, bytes in and out; and which links are busy. Our own looks are in it: each costs the node some
    40,000 reductions, less than a millisecond.
    """
    if watch:
        _watch(session, everywhere, interval, times)
        return
    if everywhere:
        from iris_admin.cli.everywhere import show_everywhere

        with session.connect_cluster() as cluster:
            show_everywhere(session, cluster.stats(), _for_people)
        return
    with session.connect() as node:
        document = node.stats().to_dict()
    session.show(document, text=lambda: _lines(document))


def _watch(session: Session, everywhere: bool, interval: float, times: int | None) -> None:
    from iris_admin.cli import watch as watching

    if everywhere:
        raise click.UsageError("--watch looks at one node; leave --all out.")
    watching.refuse_without_end(session, times)
    with session.connect() as node:
        watching.watch(
            session,
            lambda last: node.stats_change(interval, since=last),
            ("RUN QUEUE", "REDUCTIONS/S", "GC/S", "RECLAIMED/S", "SWITCHES/S", "IN/S", "OUT/S", "PROCESSES", "/S"),
            _cells,
            times=times,
            notes=_busy_links,
        )


def _cells(document: dict[str, Any]) -> list[Any]:
    from iris_admin.cli.layout import size
    from iris_admin.cli.watch import per_second

    def plain(value: float | None) -> str | None:
        return None if value is None else f"{value:.0f}"

    def octets(value: float | None) -> str | None:
        return None if value is None else size(round(value))

    return [
        document["run_queue"],
        plain(document["reductions"]),
        plain(document["garbage_collections"]),
        octets(document["reclaimed_bytes"]),
        plain(document["context_switches"]),
        octets(document["input_bytes"]),
        octets(document["output_bytes"]),
        document["now"]["processes"],
        per_second(document["processes"]),
    ]


def _busy_links(document: dict[str, Any]) -> list[str]:
    from iris_admin.cli.layout import cell, size

    return [
        f"busy: the link to {cell(link['node'])}, where {size(link['queue_bytes'])} wait"
        for link in document["links"]
        if link["busy"]
    ]


def _lines(document: dict[str, Any]) -> list[str]:
    from iris_admin.cli.layout import fields, table

    return [
        *fields([("node", document["node"]), *_for_people(document).items()]),
        *table(document["links"], "node", "hidden", "busy", "queue_bytes", "received_bytes", "sent_bytes"),
    ]


def _for_people(document: dict[str, Any]) -> dict[str, Any]:
    """The figures, each with its limit beside it."""
    from iris_admin.cli.layout import cell, duration, size

    def of_limit(figure: str, limit: str) -> str | None:
        if document[figure] is None:
            return None
        return f"{document[figure]} of {document[limit]}" if document[limit] else str(document[figure])

    def octets(figure: str) -> str | None:
        return None if document[figure] is None else size(document[figure])

    *schedulers, dirty_cpu, dirty_io = document["run_queues"] or [0, 0]
    collections = document["garbage_collections"]
    return {
        "role": document["role"],
        "up for": duration(document["uptime"]),
        "release": f"OTP {document['otp_release']}, ERTS {document['erts_version']}",
        "processes": of_limit("processes", "process_limit"),
        "ports": of_limit("ports", "port_limit"),
        "atoms": of_limit("atoms", "atom_limit"),
        "ETS tables": document["ets_tables"],
        "run queue": f"{document['run_queue']} ({cell(schedulers)}; dirty CPU {dirty_cpu}, dirty I/O {dirty_io})",
        "schedulers": document["schedulers_online"],
        "reductions": document["reductions"],
        "garbage": None if collections is None else f"{collections} collections, {octets('reclaimed_bytes')} reclaimed",
        "input": octets("input_bytes"),
        "output": octets("output_bytes"),
        "visible nodes": document["visible_nodes"],
        "hidden nodes": document["hidden_nodes"],
        "busy links": cell([link["node"] for link in document["links"] if link["busy"]]),
    }
