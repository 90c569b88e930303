"""``iris-admin diff``."""

from __future__ import annotations

import click

from iris_admin.cli.command import Command
from iris_admin.cli.session import Session


@click.command("diff", cls=Command)
@click.argument("a", metavar="NODE")
@click.argument("b", metavar="NODE")
@click.pass_obj
def command(session: Session, a: str, b: str) -> None:
    """Show in what two nodes differ: release, limits, applications, settings, copies of tables, and the code they run.

    Code is compared by the MD5 of the modules that are loaded on both. Secrets among the settings are
    neither shown nor compared. Without -n, the first NODE is the one to connect to.
    """
    from iris_admin.node_name import NodeName

    one, other = (str(NodeName.parse(name)) for name in (a, b))
    if not session.names_a_node():
        session.given["node"] = a
    with session.connect_cluster() as cluster:
        cluster.include([name for name in (one, other) if name not in cluster.nodes])
        document = cluster.diff(one, other).to_dict()

    def lines() -> list[str]:
        from iris_admin.cli.layout import columns, count

        rows = [[row["kind"], row["name"], row["a"], row["b"]] for row in document["differences"]]
        compared = ", ".join(count(number, kind) for kind, number in document["compared"].items())
        return [
            f"{count(len(rows), 'difference')}; compared: {compared}",
            *(f"note: {note}" for note in document["notes"]),
            *(["", *columns(rows, ["KIND", "NAME", document["a"], document["b"]])] if rows else []),
        ]

    session.show(document, rows=document["differences"], text=lines)
