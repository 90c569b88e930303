"""Backup files in pieces, the journal of what was put back, and exports: what needs no node."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iris_admin import restore
from iris_admin.backup import BackupWriter, open_backup, read_backup, save_backup
from iris_admin.errors import BackupError, ConfigError
from iris_admin.export import ExportFile, format_of
from iris_admin.operations.offline_export import Exported
from iris_admin.proto.etf import encode
from iris_admin.restore import RestoreFile
from iris_admin.terms import Atom, Term
from tests.support.term_strategies import terms

_SETTINGS = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)


def record(number: int, payload: bytes = b"x") -> Term:
    return (Atom("offline_msg"), (b"bob", 0), number, payload)


def framed(*values: Term) -> bytes:
    return b"".join(len(data).to_bytes(4, "big") + data for data in map(encode, values))


@pytest.fixture(autouse=True)
def _backups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IRIS_ADMIN_BACKUP_DIR", str(tmp_path / "backups"))


class TestWriter:
    @_SETTINGS
    @given(st.lists(st.lists(terms(), max_size=3), max_size=4))
    def test_terms_come_back(self, tmp_path_factory: pytest.TempPathFactory, pieces: list[list[Term]]) -> None:
        path = tmp_path_factory.mktemp("writer") / "file"
        writer = BackupWriter(path, "export")
        for piece in pieces:
            writer.write(framed(*piece), len(piece))
        assert writer.finish() == path.stat().st_size
        expected = [encode(term) for piece in pieces for term in piece]
        assert [encode(term) for term in open_backup(path)] == expected
        assert [encode(term) for term in read_backup(path)] == expected
        assert open_backup(path).label == "export"

    def test_until_it_is_finished_it_is_no_backup(self, tmp_path: Path) -> None:
        writer = BackupWriter(tmp_path / "file", "export")
        writer.write(framed(record(1)), 1)
        writer._file.flush()
        assert not (tmp_path / "file").exists()
        with pytest.raises(BackupError, match="cut or changed"):
            open_backup(writer._scratch)
        writer.discard()
        assert list(tmp_path.iterdir()) == []

    def test_an_existing_file_is_not_touched(self, tmp_path: Path) -> None:
        path = save_backup("clear", [record(1)])
        with pytest.raises(BackupError, match="file exists"):
            BackupWriter(path, "export")
        assert read_backup(path) == (record(1),)

    def test_only_its_owner_can_read_it(self, tmp_path: Path) -> None:
        BackupWriter(tmp_path / "file", "export").finish()
        assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600

    @pytest.mark.parametrize("place", [10, -1, -30])
    def test_a_changed_file_is_noticed(self, place: int) -> None:
        path = save_backup("clear", [record(1), record(2)])
        data = bytearray(path.read_bytes())
        data[place] ^= 1
        path.write_bytes(data)
        with pytest.raises(BackupError):
            open_backup(path)

    def test_a_wrong_number_of_terms_is_noticed(self) -> None:
        path = save_backup("clear", [record(1), record(2)])
        path.write_bytes(path.read_bytes().replace(b"terms=2", b"terms=3"))
        with pytest.raises(BackupError, match="does not hold 3 terms"):
            open_backup(path)


class TestJournal:
    def read_all(self, source: RestoreFile) -> list[tuple[int, bool]]:
        """The number and the state of each record."""
        found = []
        while group := source.read():
            found += [(record[2], done) for record, done in group]
        return found

    @pytest.fixture
    def file(self, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(restore, "BATCH", 3)
        return save_backup("clear", [record(number) for number in range(10)])

    def test_groups(self, file: Path) -> None:
        with RestoreFile(file) as source:
            assert (source.label, source.terms) == ("clear", 10)
            assert [len(group) for group in iter(source.read, [])] == [3, 3, 3, 1]

    def test_groups_are_bounded_by_their_size(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(restore, "BATCH_BYTES", 250)
        file = save_backup("clear", [record(number, b"x" * 100) for number in range(4)] + [record(4, b"x" * 1000)])
        with RestoreFile(file) as source:
            assert [len(group) for group in iter(source.read, [])] == [1, 1, 1, 1, 1]

    def test_what_was_put_back_is_known_the_next_time(self, file: Path) -> None:
        with RestoreFile(file) as source:
            source.read()
            source.mark()
            source.read()
            source.mark()
            source.read()  # killed before it could note this
        with RestoreFile(file) as source:
            assert self.read_all(source) == [(number, number < 6) for number in range(10)]

    def test_a_line_that_was_cut_counts_for_nothing(self, file: Path) -> None:
        with RestoreFile(file) as source:
            source.read()
            source.mark()
        journal = file.with_name(file.name + ".restored")
        line = journal.read_bytes()
        journal.write_bytes(line + line[: len(line) // 2])
        with RestoreFile(file) as source:
            assert self.read_all(source) == [(number, number < 3) for number in range(10)]
        with RestoreFile(file) as source:
            for _ in range(4):
                source.read()
                source.mark()
        with RestoreFile(file) as source:
            assert all(done for _, done in self.read_all(source))

    def test_a_journal_of_another_file_counts_for_nothing(self, file: Path, tmp_path: Path) -> None:
        with RestoreFile(file) as source:
            source.read()
            source.mark()
        other = save_backup("clear", [record(number) for number in range(10, 20)])
        journal = other.with_name(other.name + ".restored")
        journal.write_bytes(file.with_name(file.name + ".restored").read_bytes())
        with RestoreFile(other) as source:
            assert not any(done for _, done in self.read_all(source))

    def test_two_exclude_each_other(self, file: Path) -> None:
        with RestoreFile(file), pytest.raises(BackupError, match="by somebody else just now"):
            RestoreFile(file)
        with RestoreFile(file):
            pass

    def test_a_dry_run_leaves_no_journal(self, file: Path) -> None:
        with RestoreFile(file, dry_run=True) as source:
            assert len(self.read_all(source)) == 10
        assert list(file.parent.iterdir()) == [file]

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_a_directory_that_cannot_be_written(self, file: Path) -> None:
        file.parent.chmod(0o500)
        try:
            with pytest.raises(BackupError, match="journal"):
                RestoreFile(file)
        finally:
            file.parent.chmod(0o700)

    @_SETTINGS
    @given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 5)), max_size=6))
    def test_ranges(self, ranges: list[tuple[int, int]]) -> None:
        file = save_backup("clear", [record(number) for number in range(20)])
        sha = open_backup(file).sha256
        lines = [f"{sha} {first} {first + length} 2026-01-01T00:00:00Z\n" for first, length in ranges]
        file.with_name(file.name + ".restored").write_text("".join(lines))
        with RestoreFile(file) as source:
            done = {number for number, was in self.read_all(source) if was}
        assert done == {number for first, length in ranges for number in range(first, first + length)}


class TestExportFile:
    @pytest.mark.parametrize(
        ("name", "chosen", "expected"),
        [
            ("a.term", None, "term"),
            ("a", None, "term"),
            ("a.jsonl", None, "jsonl"),
            ("a.NDJSON", None, "jsonl"),
            ("a.json", None, "jsonl"),
            ("a.jsonl", "term", "term"),
            ("a.term", "jsonl", "jsonl"),
        ],
    )
    def test_format(self, name: str, chosen: str | None, expected: str) -> None:
        assert format_of(Path(name), chosen) == expected

    def test_a_format_that_does_not_exist(self) -> None:
        with pytest.raises(ConfigError, match="xml"):
            format_of(Path("a"), "xml")

    @pytest.mark.parametrize("name", ["a.term", "a.jsonl"])
    def test_it_is_removed_when_something_fails(self, tmp_path: Path, name: str) -> None:
        def fail() -> None:
            with ExportFile(tmp_path / name, None) as file:
                file.write(framed(record(1)), 1, "core@h")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        assert list(tmp_path.iterdir()) == []

    def test_json_lines(self, tmp_path: Path) -> None:
        with ExportFile(tmp_path / "a.jsonl", "bob") as file:
            file.write(framed(record(1, b"\xff"), (Atom("offline_msg"), b"\x00\xff", 2, [b"a", {}])), 2, "core@h")
            result = file.finish(Exported(("core@h",), 2, 0.5))
        found = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text("ascii").splitlines()]
        assert (result.rows, result.messages, result.bytes) == (2, 3, (tmp_path / "a.jsonl").stat().st_size)
        assert [(line["user"], line["bucket"], line["part"], line["kind"]) for line in found] == [
            ("bob", 0, 1, "binary"),
            ("<<0,255>>", None, 1, "binary"),
            ("<<0,255>>", None, 2, "term"),
        ]
        assert [(line["payload"], line["payload_base64"]) for line in found] == [
            (None, "/w=="),
            ("a", None),
            ({}, None),
        ]
