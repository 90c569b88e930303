"""A backup file is complete and on the disc, or there is none."""

from __future__ import annotations

import errno
import os
import re
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iris_admin import backup
from iris_admin.backup import DIRECTORY_VARIABLE, backup_directory, read_backup, save_backup
from iris_admin.errors import EX_IOERR, BackupError, EncodeError
from iris_admin.proto.etf import encode
from iris_admin.syntax import format_term
from iris_admin.terms import Atom
from tests.support.erlang import ErlangNode
from tests.support.term_strategies import terms

RECORD = (Atom("offline_msg"), (b"bob", 0), 1_700_000_000_000, [b"one", b"\xff\n\x00"])


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    chosen = tmp_path / "a" / "backups"
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(chosen))
    return chosen


class TestSaving:
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
    @given(st.lists(terms(), max_size=5))
    def test_terms_come_back(self, values: list[object]) -> None:
        path = save_backup("test", values)
        # Equal for Erlang, which tells 1 from 1.0.
        assert [encode(term) for term in read_backup(path)] == [encode(value) for value in values]

    def test_only_the_owner_can_read_it(self, directory: Path) -> None:
        path = save_backup("redeliver", [RECORD])
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700

    def test_name_tells_what_and_when(self, directory: Path) -> None:
        path = save_backup("redeliver", [RECORD])
        assert path.parent == directory
        assert re.fullmatch(r"redeliver-\d{8}T\d{6}\.\d{6}Z\.backup", path.name)

    @pytest.mark.parametrize("label", ["../../etc/passwd", "a b\n\x1b", "", "x" * 1000, ".", "größe"])
    def test_label_cannot_leave_the_directory(self, directory: Path, label: str) -> None:
        path = save_backup(label, [RECORD])
        assert path.parent == directory
        assert re.fullmatch(r"[\w.-]+", path.name, re.ASCII)
        assert read_backup(path) == (RECORD,)

    def test_no_two_files_have_the_same_name(self) -> None:
        with ThreadPoolExecutor(8) as pool:
            paths = list(pool.map(lambda number: save_backup("x", [number]), range(40)))
        assert [read_backup(path) for path in paths] == [(number,) for number in range(40)]

    def test_a_name_that_is_taken_is_not_overwritten(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        (directory / "scratch").write_text("first")
        first = backup._publish(directory / "scratch", directory, "x")
        (directory / "scratch").write_text("second")
        second = backup._publish(directory / "scratch", directory, "x")
        assert (first.name, second.name) == ("x.backup", "x-2.backup")
        assert (first.read_text(), second.read_text()) == ("first", "second")

    @pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP])
    def test_a_file_system_without_hard_links(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        def link(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "link", link)
        path = save_backup("x", [RECORD])
        assert read_backup(path) == (RECORD,)
        (directory / "scratch").touch()
        second = backup._publish(directory / "scratch", directory, path.stem)
        assert second.name == f"{path.stem}-2.backup"
        assert read_backup(path) == (RECORD,)

    def test_erlang_reads_it_as_the_module_says(self, erlang_node: ErlangNode) -> None:
        path = save_backup("redeliver", [RECORD, 1.0, {Atom("a"): []}])
        assert backup.__doc__
        snippet = re.search(r"^    \{ok, Data\}.*\.$", backup.__doc__, re.DOTALL | re.MULTILINE)
        assert snippet
        read = erlang_node.evaluate(f'Name = "{path}", {snippet[0].strip()}')
        assert read == format_term([RECORD, 1.0, {Atom("a"): []}], width=None)


class TestFailing:
    def test_what_is_no_term_makes_no_file(self, directory: Path) -> None:
        with pytest.raises(EncodeError):
            save_backup("x", [RECORD, object()])
        assert not directory.exists()

    def test_directory_that_cannot_be(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path / "file" / "backups"))
        with pytest.raises(BackupError, match="not a directory") as caught:
            save_backup("x", [RECORD])
        assert caught.value.exit_code == EX_IOERR
        assert DIRECTORY_VARIABLE in str(caught.value.hint)

    def test_file_that_cannot_grow_is_removed(self, directory: Path) -> None:
        """In a process of its own, which may write no more than 1000 bytes to a file: as if the disc were full."""
        script = """
import resource
from iris_admin.backup import save_backup
from iris_admin.errors import BackupError
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    save_backup("x", [b"x" * 100_000])
except BackupError as error:
    print(error)
"""
        run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert "could not be written: file too large" in run.stdout
        assert list(directory.iterdir()) == []

    def test_file_that_is_not_what_was_written_is_removed(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(backup, "read_backup", lambda path: (1.0,))
        with pytest.raises(BackupError, match="does not hold what was written"):
            save_backup("x", [1])
        assert list(directory.iterdir()) == []


class TestReading:
    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(BackupError, match="no such file"):
            read_backup(tmp_path / "nothing")

    @pytest.mark.parametrize("data", [b"", b"\n", b"iris_admin backup 2\n", b"\x00" * 1000, b"x" * 100_000])
    def test_something_else(self, tmp_path: Path, data: bytes) -> None:
        path = tmp_path / "file"
        path.write_bytes(data)
        with pytest.raises(BackupError, match="is no backup file"):
            read_backup(path)

    def test_every_cut_is_noticed(self) -> None:
        path = save_backup("x", [RECORD, RECORD])
        data = path.read_bytes()
        for length in range(len(data)):
            path.write_bytes(data[:length])
            with pytest.raises(BackupError):
                read_backup(path)
        path.write_bytes(data + b"\x00")
        with pytest.raises(BackupError, match="cut or changed"):
            read_backup(path)

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (b"\x00\x00\x00\x02\x83\xff", "no Erlang term"),
            (b"\x00\x00\x00\x02\x83", "no Erlang term"),
            (b"\x00\x00", "no Erlang term"),
            (b"", "holds 0 terms instead of 1"),
        ],
    )
    def test_wrong_content_with_a_right_sum(self, tmp_path: Path, body: bytes, message: str) -> None:
        from hashlib import sha256

        path = tmp_path / "file"
        line = f"iris_admin backup 1 label=x time=2026-01-01T00:00:00Z terms=1 sha256={sha256(body).hexdigest()}\n"
        path.write_bytes(line.encode() + body)
        with pytest.raises(BackupError, match=message):
            read_backup(path)


class TestDirectory:
    def test_own_variable_first(self, directory: Path) -> None:
        assert backup_directory() == directory

    def test_state_directory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(DIRECTORY_VARIABLE)
        monkeypatch.setenv("XDG_STATE_HOME", "/state")
        assert backup_directory() == Path("/state/iris_admin/backups")

    @pytest.mark.parametrize("state", ["", "relative"])
    def test_home(self, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
        monkeypatch.delenv(DIRECTORY_VARIABLE)
        monkeypatch.setenv("XDG_STATE_HOME", state)
        monkeypatch.setenv("HOME", "/home/bob")
        assert backup_directory() == Path("/home/bob/.local/state/iris_admin/backups")
