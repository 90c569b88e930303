"""``iris-admin offline``."""

from __future__ import annotations

from typing import Any

import click

from iris_admin.cli.command import Group
from iris_admin.cli.confirm import confirm, yes_option
from iris_admin.cli.session import Session
from iris_admin.errors import EX_UNAVAILABLE

_KEYS = {"bucketed": "{User, Bucket}", "bare": "User", "both": "{User, Bucket} and User"}
#: Messages that are shown before it is asked whether to delete them; --dry-run shows all.
_SHOWN_BEFORE = 20


@click.group("offline", cls=Group, short_help="The messages stored for absent users: look, export, clear, restore.")
def command() -> None:
    """Look at the messages that are stored for users who were offline, take them out, clear them, put them back."""


_within = click.option(
    "--within",
    type=click.FloatRange(0, min_open=True),
    default=120.0,
    show_default=True,
    metavar="S",
    help="Stop the walk through the table after so many seconds, and show what is known then.",
)


@command.command("summary")
@click.option(
    "--top", type=click.IntRange(0, 1000), default=10, show_default=True, help="Show so many of the largest backlogs."
)
@_within
@click.pass_obj
def summary(session: Session, top: int, within: float) -> None:
    """Show how much is stored: rows, bytes, users, since when, the largest backlogs, and what waits to be written.

    The table is walked through on a core, at low priority and in bounded memory: ten million rows take it a quarter
    of a minute. CSV and JSON lines have a line for each of the largest backlogs.
    """
    with session.connect_cluster() as cluster:
        document = cluster.offline_summary(top=top, within=within).to_dict()
    session.show(document, rows=document["largest"], text=lambda: _summary_lines(document))


@command.command("list")
@click.option("--prefix", default="", metavar="TEXT", help="Only users whose names begin so.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Show so many users at most."
)
@click.option("--after", metavar="USER", help="Only users behind this one: the next page.")
@_within
@click.pass_obj
def list_users(session: Session, prefix: str, limit: int, after: str | None, within: float) -> None:
    """List the users for whom messages are stored, in the order of their names, a page at a time."""
    with session.connect_cluster() as cluster:
        document = cluster.offline_list(prefix=prefix, limit=limit, after=after, within=within).to_dict()
    session.show(document, rows=document["users"], text=lambda: _list_lines(document))


@command.command("duplicates")
@click.argument("user", required=False)
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="Show so many messages at most."
)
@_within
@click.pass_obj
def duplicates(session: Session, user: str | None, limit: int, within: float) -> None:
    """Find messages that are stored more than once for the same user: for USER, or for any.

    They are compared on the core, and named by their digests, as "offline show" has them. That nothing is found does
    not mean that there is such a user: "user" tells.
    """
    with session.connect_cluster() as cluster:
        document = cluster.offline_duplicates(user, limit=limit, within=within).to_dict()
    session.show(document, rows=document["duplicates"], text=lambda: _duplicates_lines(document))


@command.command("export")
@click.argument("user_and_file", nargs=-1, metavar="USER|--all FILE")
@click.option("--all", "everybody", is_flag=True, help="The messages of all users.")
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["term", "jsonl"]),
    help="term: whole rows, which can be restored; jsonl: an object of JSON for each message. By default jsonl for a "
    "FILE that ends in .jsonl, .ndjson or .json, else term.",
)
@click.pass_obj
def export(session: Session, user_and_file: tuple[str, ...], everybody: bool, file_format: str | None) -> None:
    """Write the messages that are stored for USER, or for all users, to a new FILE that only you can read.

    Nothing is removed. They come in pieces, so the size of the table does not matter. For a user whom nobody knows, the
    file is written all the same, without messages: "user" tells whether there is such a user.
    """
    if len(user_and_file) != (1 if everybody else 2):
        raise click.UsageError("Name either USER and FILE, or --all and FILE.")
    user = None if everybody else user_and_file[0]
    with session.connect_cluster() as cluster:
        document = cluster.offline_export(user_and_file[-1], user=user, format=file_format).to_dict()
    session.show(document, text=lambda: _export_lines(document))


@command.command("clear")
@click.argument("user")
@click.option("--dry-run", is_flag=True, help="Show exactly what would be deleted, and change nothing.")
@click.option(
    "--oldest", type=click.IntRange(1), metavar="N", help="Only the oldest N rows, of a backlog that is too large."
)
@yes_option
@click.pass_obj
def clear(session: Session, user: str, dry_run: bool, oldest: int | None, yes: bool) -> None:
    """Delete the messages that are stored for USER: exactly those that are shown before.

    It asks first, and writes a backup file, from which "offline restore" puts them back. A message that arrives
    meanwhile is not touched. Exit code 77 if nobody confirmed, 69 if something is stored nevertheless.
    """
    with session.connect_cluster() as cluster:
        plan = cluster.offline_clear_plan(user, oldest=oldest)
        planned = plan.to_dict()
        if dry_run or not plan.total_records:
            session.show(
                planned if dry_run else cluster.offline_clear(plan).to_dict(),
                rows=planned["messages"] if dry_run else None,
                text=lambda: _plan_lines(planned),
            )
            return
        confirm(
            session,
            _plan_lines(planned, most=_SHOWN_BEFORE),
            f"Delete {_messages(plan.total_messages)} of {planned['user']}?",
            yes=yes,
        )
        done = cluster.offline_clear(plan)
    document = done.to_dict()
    session.show(document, text=lambda: _cleared_lines(document))
    if not done.is_done:
        click.get_current_context().exit(EX_UNAVAILABLE)


@command.command("restore")
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@click.option("--core", metavar="NODE", help="The core to put them back through, where not all share their tables.")
@click.option("--again", is_flag=True, help="Put back what was put back before and is not stored any more, too.")
@click.pass_obj
def restore(session: Session, file: str, dry_run: bool, core: str | None, again: bool) -> None:
    """Put the messages of FILE back: a backup of "offline clear" or "redeliver", or an export in the format term.

    Each is put back once, however often this is run: what is still stored is left as it is, and what was put back
    before is noted in FILE.restored. A message that its user received before arrives again.
    """
    with session.connect_cluster() as cluster:
        name = None if core is None else session.full_name(core)
        document = cluster.offline_restore(file, core=name, dry_run=dry_run, again=again).to_dict()
    session.show(document, text=lambda: _restored_lines(document))


@command.command("show")
@click.argument("user")
@click.option(
    "--payload", is_flag=True, help="Show the messages themselves, too. They are private: think before you do."
)
@click.pass_obj
def show(session: Session, user: str, payload: bool) -> None:
    """Show the messages that are stored for USER, oldest first: time, size and digest of each.

    Nothing is removed or delivered by this. That nothing is stored does not mean that there is such a user: "user"
    tells.
    """
    with session.connect_cluster() as cluster:
        found = cluster.offline_show(user, payload=payload)
    document = found.to_dict()
    session.show(document, rows=document["messages"], text=lambda: _lines(document))


def _lines(document: dict[str, Any]) -> list[str]:
    from iris_admin.cli.layout import count, fields, moment, size, table

    last_seen = document["last_seen"]
    head: list[tuple[str, Any]] = [
        ("user", document["user"]),
        (
            "stored",
            f"{count(document['total_messages'], 'message')} in {count(document['total_records'], 'record')}, "
            f"{size(document['total_bytes'])}" + (", of which the first are shown" if document["cut"] else ""),
        ),
        ("key", _KEYS.get(document["scheme"])),
        ("buckets", document["bucket_count"]),
        ("last seen", None if last_seen is None else moment(last_seen * 1000)),
    ]
    head += _waiting_fields(document["waiting"])
    head += [("note", note) for note in document["notes"]]
    messages = [
        message | {"part": f"{message['part']} of {message['parts']}" if message["parts"] > 1 else None}
        for message in document["messages"]
    ]
    return [*fields(head), *table(messages, "time", "bucket", "part", "kind", "size", "digest", "payload")]


def _summary_lines(document: dict[str, Any]) -> list[str]:
    from iris_admin.cli.layout import Number, count, duration, fields, size, table

    stores = [
        {
            "core": store["core"],
            "rows": store["rows"],
            "messages": store["messages"],
            "users": store["users"],
            "payloads": Number(size(store["payload_bytes"])),
            "table": Number(size(store["memory_bytes"])),
            "oldest": store["oldest"],
            "looked at": Number(f"{store['rows_read']} rows in {duration(store['seconds'])}")
            if not store["cut"]
            else Number(f"only {store['rows_read']} rows in {duration(store['seconds'])}"),
        }
        for store in document["stores"]
    ]
    head: list[tuple[str, Any]] = [("stored", count(document["rows"], "row"))]
    head += _waiting_fields(document["waiting"])
    head += [("note", note) for note in document["notes"]]
    if document["cut"]:
        head.append(("note", "not the whole table was looked at; --within gives it more time"))
    certain = max((store["certain_from"] for store in document["stores"]), default=1)
    if certain > 1:
        head.append(("note", f"of a table so large, backlogs of fewer than {certain} rows may be missing below"))
    return [*fields(head), *table(stores), *_backlog_lines(document["largest"])]


def _list_lines(document: dict[str, Any]) -> list[str]:
    from iris_admin.cli.layout import count, fields

    head: list[tuple[str, Any]] = [("stored for", count(len(document["users"]), "user") + " of this page")]
    head += [("note", note) for note in document["notes"]]
    if document["more"]:
        head.append(("more", f"--after {document['after']}"))
    return [*fields(head), *_backlog_lines(document["users"])]


def _backlog_lines(backlogs: list[dict[str, Any]]) -> list[str]:
    from iris_admin.cli.layout import table

    rows = [
        backlog
        | {
            "danger": "the next login may lose them"
            if backlog["huge"]
            else "no binaries: crash the connection"
            if backlog["undeliverable"]
            else None,
        }
        for backlog in backlogs
    ]
    several = len({backlog["core"] for backlog in backlogs}) > 1
    names = ("user", "rows", "messages", "bytes", "oldest", "newest", "keys", "danger")
    return table(rows, *(("core",) if several else ()), *names)


def _duplicates_lines(document: dict[str, Any]) -> list[str]:
    from iris_admin.cli.layout import count, fields, size, table

    head: list[tuple[str, Any]] = [
        ("user", document["user"]),
        (
            "duplicates",
            f"{count(document['messages'], 'message')} of {count(document['users'], 'user')}, stored "
            f"{count(document['surplus'], 'time')} too often, {size(document['surplus_bytes'])}",
        ),
        ("looked at", count(document["rows_read"], "row") + (", not the whole table" if document["cut"] else "")),
    ]
    head += [("note", note) for note in document["notes"]]
    names = ("user", "copies", "size", "digest", "oldest", "newest")
    return [*fields(head), *table(document["duplicates"], *names)]


def _export_lines(document: dict[str, Any]) -> list[str]:
    from iris_admin.cli.layout import count, duration, fields, size

    head: list[tuple[str, Any]] = [
        ("file", document["file"]),
        ("user", document["user"] if document["user"] is not None else "all"),
        ("format", document["format"]),
        ("written", f"{count(document['rows'], 'row')}, {size(document['bytes'])}, in {duration(document['seconds'])}"),
        ("messages", document["messages"]),
    ]
    return fields([*head, *(("note", note) for note in document["notes"])])


def _plan_lines(document: dict[str, Any], most: int | None = None) -> list[str]:
    from iris_admin.cli.layout import count, fields, size, table

    stored = f"{_messages(document['total_messages'])} in {count(document['total_records'], 'row')}"
    head: list[tuple[str, Any]] = [
        ("user", document["user"]),
        (
            "to delete",
            f"{stored}, {size(document['total_bytes'])}" if document["total_records"] else "nothing is stored",
        ),
    ]
    head += [("note", note) for note in document["notes"]]
    messages = document["messages"][:most]
    lines = [*fields(head), *table(messages, "time", "bucket", "kind", "size", "digest")]
    if len(messages) < len(document["messages"]):
        lines.append(f"… and {len(document['messages']) - len(messages)} more; --dry-run shows all")
    return lines


def _cleared_lines(document: dict[str, Any]) -> list[str]:
    from iris_admin.cli.layout import count, fields

    left, arrived = count(document["left"], "row"), count(document["arrived"], "row")
    head: list[tuple[str, Any]] = [
        ("user", document["user"]),
        ("deleted", f"{document['deleted']} of {count(document['planned'], 'row')}"),
        ("gone before", document["gone"] or None),
        ("left", f"stored nevertheless: {left}" if document["left"] else None),
        ("arrived", f"meanwhile, and not touched: {arrived}" if document["arrived"] else None),
        ("verified", "the store has none of them" if document["verified"] and not document["left"] else None),
        ("not verified", None if document["verified"] else "the store could not be read afterwards"),
    ]
    undo = [("undo", f"iris-admin offline restore {backup}") for backup in document["backups"]]
    return fields([*head, *(("backup", backup) for backup in document["backups"]), *undo])


def _restored_lines(document: dict[str, Any]) -> list[str]:
    from iris_admin.cli.layout import count, fields

    done = "would be put back" if document["dry_run"] else "put back"
    head: list[tuple[str, Any]] = [
        ("file", document["file"]),
        ("made for", f"{document['label']}, {document['saved']}"),
        ("core", document["core"]),
        (done, f"{document['put_back']} of {count(document['records'], 'record')}"),
        ("stored anyway", document["already_stored"] or None),
        ("before", document["put_back_before"] or None),
    ]
    return fields([*head, *(("note", note) for note in document["notes"])])


def _waiting_fields(waiting: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    from iris_admin.cli.layout import count

    found: list[tuple[str, Any]] = []
    for core in waiting:
        if core["rows"]:
            found.append(
                ("waiting", f"{count(core['rows'], 'row')}, of whatever user, not yet written on {core['core']}")
            )
        elif core["reason"]:
            found.append(("waiting", f"cannot tell for {core['core']}: {core['reason']}"))
    return found


def _messages(number: int) -> str:
    from iris_admin.cli.layout import count

    return count(number, "message")
