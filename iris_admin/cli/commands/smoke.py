"""``iris-admin smoke``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from iris_admin.cli.command import Command
from iris_admin.cli.session import Session
from iris_admin.errors import EX_UNAVAILABLE


def _read_address(_ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]) -> dict[str, tuple[str, int]]:
    addresses = {}
    for text in value:
        node, equals, address = text.partition("=")
        host, colon, port = address.rpartition(":")
        if not (node and equals and host and colon and port.isdecimal() and 0 < int(port) < 65536):
            raise click.BadParameter(f"{text!r} is not NODE=HOST:PORT.")
        addresses[node] = (host.strip("[]"), int(port))
    return addresses


@click.command("smoke", cls=Command)
@click.option(
    "--count",
    type=click.IntRange(1, 100_000),
    default=1,
    show_default=True,
    help="Messages for each pair of edges, for the 50th and 99th percentile of their delivery.",
)
@click.option(
    "--address",
    "addresses",
    multiple=True,
    metavar="NODE=HOST:PORT",
    callback=_read_address,
    help="Where to reach an edge's clients port, e.g. through a load balancer; may be given for each edge.",
)
@click.option(
    "--patience",
    type=click.FloatRange(0, 600, min_open=True),
    default=5.0,
    show_default=True,
    help="Seconds to wait for each log-in, message and acknowledgement.",
)
@click.option(
    "--tokens",
    is_flag=True,
    help="Log in as well where that needs a token, which the edge then makes for us. Only if users can log in there: "
    "where the check of a token fails, the edge drops all its TCP clients.",
)
@click.pass_obj
def command(session: Session, count: int, addresses: dict[str, tuple[str, int]], patience: float, tokens: bool) -> None:
    """Test the log-in for real: log in on each edge, and send messages from each edge to each.

    Two users of our own, with names that nobody else has, log in on each edge; each message is acknowledged. What the
    cluster writes about them is removed at the end, exactly that. No other user is touched.

    Exit code 69 unless all went well, with 99 % of the messages delivered within 500 ms, the runbook's limit.
    """
    with session.connect_somewhere() as cluster:
        cluster.find_strangers(session.expected())
        known = {session.full_name(node): address for node, address in addresses.items()}
        for name in known:
            cluster.node(name)  # raises an error that names those that there are
        found = cluster.smoke(count=count, addresses=known, timeout=patience, tokens=tokens)
    document = found.to_dict()
    session.show(document, rows=document["pairs"], text=lambda: _lines(document))
    if found.verdict != "ok":
        click.get_current_context().exit(EX_UNAVAILABLE)


def _lines(document: dict[str, Any]) -> Iterator[str]:
    from iris_admin.cli.layout import cell, table

    yield f"log-in and delivery: {document['verdict']}"
    yield from table(document["logins"])
    yield from table(document["pairs"])
    if document["notes"] or document["left"]:
        yield ""
    for note in document["notes"]:
        yield f"note: {cell(note)}"
    for left in document["left"]:
        yield f"left behind: {cell(left)}"
