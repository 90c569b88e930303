"""Put records of a backup file back into ``offline_msg``: once, however often it is asked for.

The table is a bag, so a record that is still stored cannot be put there twice. One that was put back and is not stored
any more has been delivered meanwhile, or cleared again: that is known by a journal beside the backup file, and it is
not put back a second time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from iris_admin.errors import BackupError, ConfigError, UnsafeOperation
from iris_admin.operations.changes import Change, audited
from iris_admin.operations.clear import transaction
from iris_admin.operations.evaluate import atoms_in, require_atoms, run_remote
from iris_admin.operations.guards import reachable_cores, refuse_when_partitioned
from iris_admin.operations.offline import find_stores
from iris_admin.operations.results import Result
from iris_admin.operations.roles import members
from iris_admin.operations.steps import Local, Now, Operation, Progress
from iris_admin.operations.walk import PROGRESS_EVERY
from iris_admin.records import record
from iris_admin.terms import Atom, Term

_OFFLINE_MSG = Atom("offline_msg")
PROMISE = (
    "A message that somebody received before it was restored arrives again: the file does not know what was delivered."
)


class RestoreSource(Protocol):
    """A backup file and its journal; see :class:`iris_admin.restore.RestoreFile`."""

    path: Path
    label: str
    time: str
    terms: int

    def read(self) -> list[tuple[Term, bool]]:
        """The next records, and of each whether the journal says that it was put back; none at the end."""

    def mark(self) -> None:
        """Note in the journal, on the disc, that the records that were read last are in the store."""


@record
class Restored(Result):
    """What was put back.

    :param file: the backup file.
    :param label: what it was made for, e.g. ``clear-bob`` or ``redeliver``.
    :param saved: when, in ISO 8601, UTC.
    :param core: the core that it was put back through.
    :param dry_run: whether nothing was changed; the numbers say what would be done then.
    :param records: how many the file holds.
    :param put_back: how many were put back.
    :param already_stored: how many were in the store as they are.
    :param put_back_before: how many were put back by an earlier run and are not stored any more: delivered or deleted
        since. They were left out.
    :param notes: what else should be known.
    """

    file: Path
    label: str
    saved: str
    core: str
    dry_run: bool
    records: int
    put_back: int
    already_stored: int
    put_back_before: int
    notes: tuple[str, ...]


def restore(
    source: RestoreSource, nodes: Sequence[str], *, core: str | None = None, dry_run: bool = False, again: bool = False
) -> Operation[Restored]:
    """Put the records of a backup file back.

    It is done in transactions of some hundred records; if it ends in between, the next run goes on. A record that was
    put back by a run that was killed before it could note that, and that was delivered before the next run, arrives
    twice.

    :param source: the file.
    :param nodes: all nodes of the cluster.
    :param core: the core to put it back through; needed where not all cores share their tables.
    :param dry_run: only look what would be done.
    :param again: put back what the journal says was put back, too.
    :raises BackupError: the file holds something else than records of ``offline_msg``.
    :raises NotApplicable: none of the nodes is an Iris core.
    :raises UnsafeOperation: the cluster is partitioned, a running core cannot be reached, or the table's keys are of
        another form than the file's.
    """
    found = yield from members(nodes)
    any_core, _cores = yield from reachable_cores(found)
    yield from refuse_when_partitioned(any_core)
    stores, notes = yield from find_stores(found)
    chosen = next((store.core for store in stores if core in (None, store.core, *store.copies)), None)
    if chosen is None:
        raise ConfigError(f"{core} holds no offline messages", node=core)
    if len(stores) > 1 and core is None:
        raise UnsafeOperation(
            "not all cores share their tables, and the file does not say where it is from",
            hint=f"Name one of: {', '.join(store.core for store in stores)}.",
        )
    work = _restore(source, chosen, dry_run=dry_run, again=again, notes=notes)
    if dry_run:
        return (yield from work)
    plan = {"file": source.path, "label": source.label, "records": source.terms}
    change = Change("offline restore", chosen, plan, backup=source.path)
    return (yield from audited(change, _told(work, change)))


def _told(work: Operation[Restored], change: Change) -> Operation[Restored]:
    result = yield from work
    change.outcome = (
        f"put back {result.put_back} of {result.records} records, {result.already_stored} were stored, "
        f"{result.put_back_before} were put back before"
    )
    return result


def _restore(source: RestoreSource, core: str, *, dry_run: bool, again: bool, notes: list[str]) -> Operation[Restored]:
    done = put_back = already_stored = put_back_before = 0
    told = yield Now()
    while records := (yield Local(source.read)):
        for row, _ in records:
            _refuse_other_terms(row, source.path)
        if not done:
            yield from _refuse_other_keys(records[0][0], core)
        yield from _require_atoms([row for row, _ in records], core)
        # What was put back before is only looked for.
        for only_look in (False, True):
            group = [row for row, was_put_back in records if (was_put_back and not again) is only_look]
            if not group:
                continue
            bindings: dict[str, Term] = {"Records": group, "DryRun": dry_run or only_look}
            flags = yield from transaction("restore_records", bindings, core)
            already_stored += sum(flags)
            missing = len(flags) - sum(flags)
            if only_look:
                put_back_before += missing
            else:
                put_back += missing
        if not dry_run:
            yield Local(source.mark)
        done += len(records)
        now = yield Now()
        if now - told >= PROGRESS_EVERY:
            told = now
            yield Progress(f"{core}: {done} of {source.terms} records")
    if put_back:
        notes.append(PROMISE)
        if source.label.startswith("redeliver"):
            notes.append("The file was made before a redelivery, which has delivered some of its messages, or all.")
    if put_back_before:
        notes.append(
            f"{put_back_before} records were put back by an earlier run and are not stored any more: they were "
            "delivered, or deleted. --again puts them back once more."
        )
    return Restored(
        file=source.path,
        label=source.label,
        saved=source.time,
        core=core,
        dry_run=dry_run,
        records=done,
        put_back=put_back,
        already_stored=already_stored,
        put_back_before=put_back_before,
        notes=tuple(notes),
    )


def _refuse_other_terms(record: Term, path: Path) -> None:
    match record:
        case ("offline_msg", (bytes(), int()) | bytes(), _, _):
            return
    raise BackupError(f"{path} holds something else than stored messages, so it is not for this table")


def _refuse_other_keys(record: Term, core: str) -> Operation[None]:
    """See that Iris would find the records: its keys are of one form on a cluster."""
    bare = yield from run_remote("offline_scheme", node=core)
    mine = isinstance(record[1], bytes)
    if isinstance(bare, bool) and bare is not mine:
        forms = {True: "the bare user", False: "user and bucket"}
        raise UnsafeOperation(
            f"the keys of offline_msg on {core} are {forms[bare]}, those of the file {forms[mine]}: Iris would not "
            "find these messages there",
            node=core,
            hint="Is the file from another cluster? Nothing was changed.",
        )


def _require_atoms(records: Sequence[Term], core: str) -> Operation[None]:
    atoms = set()
    for row in records:
        if not isinstance(row[3], bytes):
            atoms |= atoms_in(row[3])
    if atoms - {_OFFLINE_MSG}:
        yield from require_atoms(atoms, node=core)
