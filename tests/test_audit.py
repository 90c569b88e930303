"""The audit file."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from iris_admin import audit
from iris_admin.audit import AuditEntry, begin, prepare_audit, read_audit, record
from iris_admin.client import Node
from iris_admin.errors import AuditError, NodeDown
from iris_admin.operations.changes import Change, audited
from iris_admin.operations.local_steps import PrepareAudit, RecordChange
from iris_admin.operations.steps import Operation, Progress
from iris_admin.runner import run


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An audit file of this test's own, in a directory that does not exist yet."""
    path = tmp_path / "state" / "audit.jsonl"
    monkeypatch.setenv("IRIS_ADMIN_AUDIT_FILE", str(path))
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    return path


def test_an_entry_is_one_line_of_json_with_these_fields(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "alice")
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.7 50000 192.0.2.1 22")
    record("redeliver", "core@db1", {"user": b"bob\n\x1b[2J", "records": 3}, "delivered", Path("/backups/1.backup"))
    (line,) = file.read_text(encoding="ascii").splitlines()
    values = json.loads(line)
    assert list(values) == (
        ["time", "who", "sudo_user", "host", "ssh_client", "process_id", "node", "command", "plan", "outcome", "backup"]
    )
    assert values["plan"] == {"user": "bob\n\x1b[2J", "records": 3}
    assert (values["sudo_user"], values["ssh_client"], values["process_id"]) == ("alice", "192.0.2.7", os.getpid())
    assert (values["node"], values["command"]) == ("core@db1", "redeliver")
    assert (values["outcome"], values["backup"]) == ("delivered", "/backups/1.backup")


def test_only_its_owner_can_read_it(file: Path) -> None:
    prepare_audit()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_reading_back(file: Path) -> None:
    written = [record("gc", f"n{number}@h", None, "done") for number in range(3)]
    found = read_audit()
    assert (found.file, list(found.entries), found.damaged) == (file, written, ())


def test_without_a_file_nothing_was_done() -> None:
    assert list(read_audit().entries) == []


def test_a_line_that_was_cut_spoils_no_other(file: Path) -> None:
    first = record("gc", None, None, "done")
    with file.open("ab") as lines:
        lines.write(b'{"time": "2026-')
    last = record("gc", None, None, "done")
    found = read_audit()
    assert list(found.entries) == [first, last]
    assert found.damaged == (2,)


def test_fields_of_another_version_do_no_harm(file: Path) -> None:
    record("gc", None, None, "done")
    values = json.loads(file.read_text(encoding="ascii"))
    del values["ssh_client"]
    file.write_text(json.dumps(values | {"new": 1}) + "\n[]\n", encoding="ascii")
    found = read_audit()
    assert [(entry.command, entry.ssh_client) for entry in found.entries] == [("gc", None)]
    assert found.damaged == (2,)


def _record_some(number: int) -> list[AuditEntry]:
    return [record("gc", None, [number, index] * 1000, "done") for index in range(20)]


def test_several_commands_at_once() -> None:
    with ProcessPoolExecutor(4) as pool:
        written = [entry for entries in pool.map(_record_some, range(4)) for entry in entries]
    found = read_audit()
    assert found.damaged == ()
    assert sorted(entry.plan for entry in found.entries) == sorted(entry.plan for entry in written)


def test_a_file_that_cannot_be_written(file: Path) -> None:
    file.parent.mkdir()
    file.mkdir()
    with pytest.raises(AuditError, match="is a directory") as caught:
        prepare_audit()
    assert "Nothing was changed" in str(caught.value.hint)
    assert caught.value.exit_code == 74
    with pytest.raises(AuditError, match="cannot be read"):
        read_audit()


def test_the_default_is_in_the_state_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("IRIS_ADMIN_AUDIT_FILE")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert audit.audit_file() == tmp_path / "iris_admin" / "audit.jsonl"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert audit.audit_file() == tmp_path / "home" / ".local" / "state" / "iris_admin" / "audit.jsonl"


def _begin_and_die() -> None:
    begin("offline clear", "core@db1", {"user": "bob"})
    os._exit(9)


class TestKilled:
    """A program that is killed leaves its line all the same, once."""

    def test_it_is_written_by_whoever_looks_next(self, file: Path) -> None:
        process = get_context("fork").Process(target=_begin_and_die)
        process.start()
        process.join()
        assert not file.read_bytes()
        for _ in range(2):
            (entry,) = read_audit().entries
            assert (entry.command, entry.node, entry.plan) == ("offline clear", "core@db1", {"user": "bob"})
            assert entry.process_id == process.pid
            assert entry.outcome.startswith("not finished: the program was killed")
        assert list(file.parent.iterdir()) == [file]

    def test_or_by_whoever_changes_something_next(self, file: Path) -> None:
        process = get_context("fork").Process(target=_begin_and_die)
        process.start()
        process.join()
        begun = begin("gc", None, None)
        assert file.read_bytes().count(b"\n") == 1
        record("gc", None, None, "done", begun=begun)
        assert [entry.command for entry in read_audit().entries] == ["offline clear", "gc"]

    def test_one_that_is_under_way_is_left_alone(self, file: Path) -> None:
        first, second = begin("gc", None, 1), begin("gc", None, 2)
        assert len(read_audit().entries) == 0
        record("gc", None, 1, "done", begun=first)
        record("gc", None, 2, "done", begun=second)
        assert [entry.plan for entry in read_audit().entries] == [1, 2]
        assert list(file.parent.iterdir()) == [file]


class TestAuditedOperations:
    """Whatever changes something is recorded, however it ends."""

    @staticmethod
    def work(change: Change) -> Operation[int]:
        change.backup = Path("/b")
        yield Progress("working")
        change.outcome = "all of it"
        return 7

    def test_one_that_succeeds(self) -> None:
        change = Change("clear", "n@h", "3 records")
        assert run(audited(change, self.work(change)), _no_node) == 7
        (entry,) = read_audit().entries
        assert (entry.command, entry.plan, entry.outcome, entry.backup) == ("clear", "3 records", "all of it", "/b")

    @pytest.mark.parametrize("error", [NodeDown("n@h has gone"), KeyboardInterrupt()])
    def test_one_that_fails(self, error: BaseException) -> None:
        change = Change("clear", "n@h", "3 records")

        def fail(_message: str) -> None:
            raise error

        with pytest.raises(type(error)):
            run(audited(change, self.work(change)), _no_node, fail)
        (entry,) = read_audit().entries
        assert entry.outcome.startswith(f"failed: {type(error).__name__}")
        assert entry.backup == "/b"

    def test_nothing_is_begun_without_a_record(self, file: Path) -> None:
        file.mkdir(parents=True)
        change = Change("clear", "n@h", "3 records")
        with pytest.raises(AuditError):
            run(audited(change, self.work(change)), _no_node)
        assert change.backup is None

    def test_one_that_its_driver_drops(self) -> None:
        change = Change("clear", "n@h", "3 records")
        operation = audited(change, self.work(change))
        assert isinstance(next(operation), PrepareAudit)
        assert isinstance(operation.send(None), Progress)
        operation.close()

    def test_steps(self) -> None:
        change = Change("clear", "n@h", "3 records")
        steps = list(_steps(audited(change, self.work(change))))
        assert steps == [
            PrepareAudit("clear", "n@h", "3 records"),
            Progress("working"),
            RecordChange("clear", "n@h", "3 records", "all of it", Path("/b")),
        ]


def _steps(operation: Operation[int]) -> Iterator[object]:
    yield from operation


def _no_node(_name: str | None) -> Node:
    raise AssertionError("no node is asked")
