"""``iris-admin system``."""

from __future__ import annotations

from typing import Any

import click

from iris_admin.cli.command import Command, all_option
from iris_admin.cli.session import Session


@click.command("system", cls=Command, short_help="Show load, CPUs, memory and discs of the node's machine.")
@all_option
@click.option(
    "--interval",
    type=click.FloatRange(0, 60),
    default=0.5,
    show_default=True,
    metavar="S",
    help="How long to look how busy the CPUs are; 0 leaves that out.",
)
@click.pass_obj
def command(session: Session, everywhere: bool, interval: float) -> None:
    """Show the machine that the node runs on: load, CPUs, memory, discs, and limits of its container.

    The node is asked, so it may be any machine: by os_mon where that runs there, else the node reads the files of
    /proc. No program is started. Each value says where it comes from, and what cannot be told says why.
    """
    if everywhere:
        from iris_admin.cli.everywhere import show_everywhere

        with session.connect_cluster() as cluster:
            show_everywhere(session, cluster.system(interval), _for_people)
        return
    with session.connect() as node:
        document = node.system(interval).to_dict()
    session.show(document, text=lambda: _lines(document))


#: What of a document is shown together, and whose source is named with it.
_SUBJECTS = {
    "load": ("load",),
    "CPUs": ("cpu", "cpu_busy"),
    "memory": ("memory",),
    "swap": ("memory",),
    "memory limit": ("limits",),
    "this node": ("node",),
    "open files": ("node",),
    "fullest disc": ("disks",),
}


def _lines(document: dict[str, Any]) -> list[str]:
    from iris_admin.cli.layout import columns, table

    rows = []
    for subject, text in _for_people(document).items():
        sources = [document["sources"].get(source) for source in _SUBJECTS.get(subject, ())]
        rows.append((subject, text, ", ".join(source for source in sources if source)))
    lines = columns([("node", document["node"], ""), *rows])
    if document["disks"]:
        lines += [*table(document["disks"]), ""]
    lines += [f"cannot tell {subject}, because {reason}" for subject, reason in document["cannot_tell"].items()]
    return lines


def _for_people(document: dict[str, Any]) -> dict[str, Any]:
    from iris_admin.cli.layout import size

    def octets(name: str) -> str:
        return "?" if document[name] is None else size(document[name])

    cpus = "?" if document["cpu_count"] is None else str(document["cpu_count"])
    if document["cpu_limit"] is not None:
        cpus += f", of which {document['cpu_limit']:g} may be used"
    if document["cpu_busy_percent"] is not None:
        cpus += f", {document['cpu_busy_percent']:g} % busy"
    loads = [document[f"load_{minutes}"] for minutes in (1, 5, 15)]
    limit = document["memory_limit_bytes"]
    fullest = max(document["disks"], key=lambda disk: disk["used_percent"], default=None)
    resident, swapped = document["node_resident_bytes"], document["node_swapped_bytes"]
    return {
        "system": document["os"],
        "load": None if None in loads else " ".join(f"{load:.2f}" for load in loads),
        "CPUs": cpus,
        "memory": f"{octets('memory_available_bytes')} available of {octets('memory_total_bytes')}",
        "swap": "none"
        if document["swap_total_bytes"] == 0
        else f"{octets('swap_free_bytes')} free of {octets('swap_total_bytes')}",
        "memory limit": "none" if limit is None else f"{octets('memory_limit_used_bytes')} used of {size(limit)}",
        "this node": None
        if resident is None
        else f"{size(resident)} in memory" + (f", {size(swapped)} swapped out" if swapped else ""),
        "open files": None if document["open_files_limit"] is None else f"at most {document['open_files_limit']}",
        "fullest disc": None if fullest is None else f"{fullest['name']}, {fullest['used_percent']} % used",
    }
