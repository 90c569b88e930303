"""``iris-admin logs``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import click

from iris_admin.cli.command import Command
from iris_admin.cli.session import Session


@click.command("logs", cls=Command)
@click.argument("target", metavar="[NODE]", required=False)
@click.option(
    "-n",
    "--count",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="Show the last so many events of each file.",
)
@click.option("--grep", metavar="RE", help="Show only events with a match of this regular expression in their text.")
@click.option("-f", "--follow", is_flag=True, help="Go on and show what is added, until Ctrl-C.")
@click.option("--all", "everything", is_flag=True, help="Show known noise as well, such as the warnings of OS_MON.")
@click.option("--file", metavar="TEXT", help="Only log files that have this in their name.")
@click.pass_obj
def command(
    session: Session,
    target: str | None,
    count: int,
    grep: str | None,
    follow: bool,
    everything: bool,
    file: str | None,
) -> None:
    """Show the end of NODE's log files: an event is what was logged at once, in one line or many.

    The files are those that the handlers of its logger write, those that its standard output and error were sent to,
    or else those ending in .log in its working directory; the node reads them itself, in pieces. Known noise is folded
    into a line that counts it. A restart may empty the files: look, or make a bundle, before it.

    NODE is by default the node that stands before the command: iris-admin -n NODE logs.
    """
    if follow and session.format in ("json", "csv"):
        raise click.UsageError("--follow has no end, so it writes a table or -o jsonl.")
    with session.connect_to(target) as node:
        found = node.logs(count=count, pattern=grep, everything=everything, file=file)
        document = found.to_dict()
        session.show(document, rows=document["entries"], text=lambda: _lines(document))
        if document["advice"] and not document["files"]:
            session.tell(document["advice"])
        if follow and document["files"]:
            for entry in node.follow_logs(pattern=grep, everything=everything, file=file):
                row = entry.to_dict()
                session.show(row, text=lambda row=row: _entry_lines(row))  # type: ignore[misc]
                sys.stdout.flush()


def _lines(document: dict[str, Any]) -> Iterator[str]:
    from iris_admin.cli.layout import count, size

    for file in document["files"]:
        facts = [str(file["source"])]
        if file["bytes"] is not None:
            facts += [size(file["bytes"]), f"last written {file['modified']}"]
        if file["older"]:
            facts.append(f"{count(len(file['older']), 'older file')}")
        yield f"==> {_printable(file['path'])} ({', '.join(facts)})"
        if file["problem"]:
            yield file["problem"]
        if file["unread"]:
            yield f"… {size(file['unread'])} before this were not looked at"
        for entry in document["entries"]:
            if entry["file"] == file["path"]:
                yield from _entry_lines(entry)


def _entry_lines(entry: dict[str, Any]) -> list[str]:
    text = _printable(entry["text"], keep="\n\t")
    return [f"… {text}; --all shows them" if entry["folded"] else text]


def _printable(text: str, keep: str = "") -> str:
    from iris_admin.text import printable

    return printable(text, keep=keep)
