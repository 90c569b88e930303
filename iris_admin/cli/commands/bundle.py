"""``iris-admin bundle``."""

from __future__ import annotations

import click

from iris_admin.cli.command import Command
from iris_admin.cli.session import Session


@click.command("bundle", cls=Command)
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--payload", is_flag=True, help="Leave messages of people in the logs, too. They are private.")
@click.pass_obj
def command(session: Session, file: str, payload: bool) -> None:
    """Collect what can be known of every node into a new zip FILE: JSON, and a page, summary.html, for people.

    What it will cost is told first. Cookies, tokens and passwords are left out, and so are messages of people. Only
    you may read FILE. What a node does not tell is recorded in manifest.json, and is no error.
    """
    from iris_admin.bundle_file import require_new
    from iris_admin.operations.bundle import bundle_cost

    require_new(file)
    with session.connect_somewhere() as cluster:
        session.tell(f"This takes {bundle_cost(cluster.nodes)}.")
        written = cluster.bundle(file, payload=payload, expected=session.expected())
    document = written.to_dict()

    def lines() -> list[str]:
        from iris_admin.cli.layout import count, duration, size

        shown = [
            f"{document['path']}: {count(document['documents'], 'document')} of "
            f"{count(len(document['nodes']), 'node')}, {size(document['bytes'])}, in {duration(document['seconds'])}"
        ]
        return shown + [f"could not be had: {name}" for name in document["failed"]]

    session.show(document, text=lines)
