"""Log files of a made-up node: found, read from their ends, followed."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_admin.errors import ConfigError, IrisAdminError, NodeDown, NotApplicable
from iris_admin.operations import logs as logs_module
from iris_admin.operations.logs import PROBE, Cursor, Logs, follow_logs, logs, open_logs
from iris_admin.operations.steps import Call
from iris_admin.terms import Atom, charlist
from tests.operations.conftest import Run

UNDEFINED = Atom("undefined")


class Machine:
    """A node with files, which answers as ``log_files`` and ``read_logs`` do.

    :ivar files: path to inode and content.
    """

    def __init__(self, **files: bytes) -> None:
        self.files = {
            f"/log/{name}".encode(): (number, content) for number, (name, content) in enumerate(files.items(), 1)
        }
        self.sources: list[tuple[Any, list[bytes]]] = [(Atom("default"), sorted(self.files))]
        self.output: Any = b"/dev/null"
        self.down: list[Exception] = []
        self.read = 0

    def __call__(self, call: Call) -> Any:
        if self.down:
            raise self.down.pop()
        if call.function == "log_files":
            handlers = [(Atom("default"), Atom("logger_std_h"), Atom("standard_io"))]
            outputs = [(b"standard output", self.output), (b"standard error", UNDEFINED)]
            return Atom("n@h"), charlist("42"), b"/srv/iris", handlers, outputs, self.sources
        assert call.function == "read_logs"
        (bindings,) = call.args
        return [self._piece(*read) for read in bindings["Reads"]]

    def _piece(self, path: bytes, position: int, length: int, inode: int) -> Any:
        if path not in self.files:
            return Atom("error"), Atom("enoent")
        now, content = self.files[path]
        data = content[position : position + length] if inode in (0, now) else b""
        self.read += len(data)
        return len(content), now, 1_700_000_000, data

    def append(self, name: str, data: bytes) -> None:
        inode, content = self.files[f"/log/{name}".encode()]
        self.files[f"/log/{name}".encode()] = (inode, content + data)


def texts(found: Logs) -> list[str]:
    return [entry.text for entry in found.entries]


def lines(first: int, last: int) -> bytes:
    return b"".join(b"line %d\n" % number for number in range(first, last + 1))


NOISE = b"=WARNING REPORT==== 23-Nov-2026::09:04:31.4 ===\nOS_MON (memsup) called by <0.1.0>, not started\n\n"


def report(text: str) -> bytes:
    return f"=ERROR REPORT==== 23-Nov-2026::09:04:32.5 ===\n{text}\n".encode()


PARTS = st.lists(st.sampled_from([NOISE, report("a"), report("b\nc"), b"plain\n"]), max_size=30)


class TestTheEnd:
    def test_last_events(self) -> None:
        found = Run(Machine(a=lines(1, 500)))(logs(count=3))
        assert texts(found) == ["line 498", "line 499", "line 500"]
        (file,) = found.files
        assert (file.path, file.source, file.bytes, file.problem) == ("/log/a", "default", len(lines(1, 500)), None)
        assert file.modified == "2023-11-14T22:13:20Z"

    def test_only_as_much_is_read_as_is_needed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(logs_module, "PIECE", 1000)
        machine = Machine(a=lines(1, 100_000))
        found = Run(machine)(logs(count=2))
        assert machine.read == 1000 + 2 * PROBE
        assert found.files[0].unread == len(lines(1, 100_000)) - 1000

    def test_noise_does_not_count(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(logs_module, "PIECE", 500)
        content = report("one") + NOISE * 30 + report("two") + NOISE * 20 + report("three") + NOISE
        found = Run(Machine(a=content))(logs(count=2))
        assert [entry.folded for entry in found.entries] == [0, 20, 0, 1]
        assert found.entries[0].text.endswith("two")
        everything = Run(Machine(a=content))(logs(count=2, everything=True))
        assert [entry.folded for entry in everything.entries] == [0, 0]
        assert "OS_MON" in everything.entries[1].text

    def test_pattern_is_looked_for_in_whole_events(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(logs_module, "PIECE", 300)
        content = report("reason: eacces\nfile: bob") + NOISE * 50 + report("reason: enoent") + NOISE * 50
        found = Run(Machine(a=content))(logs(pattern="(?s)eacces.*bob"))
        assert len(found.entries) == 1
        with pytest.raises(ConfigError, match="no regular expression"):
            Run(Machine(a=content))(logs(pattern="("))

    def test_depth_is_a_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(logs_module, "PIECE", 100)
        machine = Machine(a=NOISE * 1000)
        found = Run(machine)(logs(depth=2000))
        assert machine.read == 2000 + 2 * PROBE
        assert found.files[0].unread == len(NOISE) * 1000 - 2000

    def test_older_files_go_on_where_the_newest_begins(self) -> None:
        machine = Machine(a=lines(8, 9), b=lines(4, 7), c=lines(1, 3))
        machine.sources = [(Atom("default"), [b"/log/a", b"/log/b", b"/log/c"])]
        assert texts(Run(machine)(logs(count=5))) == [f"line {number}" for number in range(5, 10)]
        assert texts(Run(machine)(logs())) == [f"line {number}" for number in range(1, 10)]
        assert Run(machine)(logs()).files[0].older == ("/log/b", "/log/c")

    def test_several_files(self) -> None:
        machine = Machine(a=b"from a\n", b=b"from b\n")
        machine.sources = [
            (Atom("default"), [b"/log/a"]),
            (b"standard error", [b"/log/b"]),
            (Atom("x"), [b"/log/gone"]),
        ]
        found = Run(machine)(logs())
        assert [(file.source, file.problem) for file in found.files] == [
            ("default", None),
            ("standard error", None),
            ("x", "it cannot be read: enoent"),
        ]
        assert [(entry.file, entry.text) for entry in found.entries] == [("/log/a", "from a"), ("/log/b", "from b")]
        assert texts(Run(machine)(logs(file="b"))) == ["from b"]
        advice = Run(machine)(logs(file="other")).advice
        assert advice == "No log file has 'other' in its name: /log/a, /log/b, /log/gone"

    def test_a_file_that_two_write_is_read_once(self) -> None:
        machine = Machine(a=b"x\n")
        machine.sources = [(Atom("default"), [b"/log/a"]), (b"standard output", [b"/log/a"])]
        assert texts(Run(machine)(logs())) == ["x"]

    def test_bytes_that_are_no_text(self) -> None:
        assert texts(Run(Machine(a="grün".encode() + b" \xff\n"))(logs())) == ["grün \\xff"]

    @given(PARTS, st.integers(1, 400))
    def test_pieces_of_any_size_give_the_same(self, parts: list[bytes], piece: int) -> None:
        content = b"".join(parts)
        whole = Run(Machine(a=content))(logs(count=10))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(logs_module, "PIECE", piece)
            assert Run(Machine(a=content))(logs(count=10)).entries == whole.entries


class TestWithoutAFile:
    @pytest.mark.parametrize(
        ("output", "advice"),
        [
            (b"/dev/null", "thrown away.*logger:add_handler"),
            (b"socket:[123]", "journalctl _PID=42"),
            (b"pipe:[123]", "the program that started process 42.*docker logs"),
            (b"/dev/pts/3", "goes to /dev/pts/3"),
            (UNDEFINED, "look at how it was started"),
        ],
    )
    def test_advice(self, output: Any, advice: str) -> None:
        machine = Machine()
        machine.sources, machine.output = [], output
        found = Run(machine)(logs())
        assert (len(found.files), len(found.entries)) == (0, 0)
        text = str(found.advice)
        assert text.startswith(
            "n@h writes no log file (handlers of logger: default (logger_std_h)), and there is no *.log"
        )

        assert re.search(advice, text)
        with pytest.raises(IrisAdminError, match="no log file to follow") as raised:
            Run(machine)(open_logs())
        assert raised.value.hint == found.advice


class Following:
    """A log that is followed."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.run = Run(machine)
        self.cursors: list[Cursor] = self.run(open_logs())

    def news(self, **options: Any) -> list[str]:
        return [entry.text for entry in self.run(follow_logs(self.cursors, **options))]


class TestFollowing:
    @pytest.fixture
    def log(self) -> Following:
        return Following(Machine(a=lines(1, 3)))

    def test_what_is_added(self, log: Following) -> None:
        assert log.news() == []
        log.machine.append("a", b"four\nfi")
        assert log.news() == ["four"]
        log.machine.append("a", b"ve\n")
        assert log.news() == ["five"]

    def test_a_line_without_an_end_is_shown_once_nothing_follows(self, log: Following) -> None:
        log.machine.append("a", b"no end")
        assert log.news() == []
        assert log.news() == ["no end"]
        assert log.news() == []

    def test_a_header_waits_for_its_text(self, log: Following) -> None:
        head, _, body = NOISE.partition(b"\n")
        log.machine.append("a", head + b"\n")
        assert log.news() == []
        log.machine.append("a", body)
        (entry,) = log.run(follow_logs(log.cursors))
        assert entry.folded == 1

    def test_pattern(self, log: Following) -> None:
        log.machine.append("a", lines(10, 20))
        assert log.news(pattern="5$") == ["line 15"]

    def test_more_than_a_piece(self, log: Following, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(logs_module, "PIECE", 10)
        log.machine.append("a", lines(10, 20))
        found: list[str] = []
        while news := log.news() or log.news():
            found += news
        assert found == [f"line {number}" for number in range(10, 21)]

    def test_truncated(self, log: Following) -> None:
        log.machine.files[b"/log/a"] = (1, b"new\n")
        assert log.news() == []
        assert "was truncated" in log.run.progress[0]
        assert log.news() == ["new"]

    def test_rotated(self, log: Following) -> None:
        log.machine.append("a", b"last of the old\n")
        log.machine.files[b"/log/a.0"] = log.machine.files[b"/log/a"]
        log.machine.files[b"/log/a"] = (99, b"first of the new\n")
        assert log.news() == ["last of the old"]
        assert log.news() == ["first of the new"]

    def test_between_two_names(self, log: Following) -> None:
        log.machine.append("a", b"x\n")
        saved = log.machine.files.pop(b"/log/a")
        assert log.news() == []
        log.machine.files[b"/log/a"] = saved
        assert log.news() == ["x"]

    def test_wrap_log(self) -> None:
        machine = Machine(a=b"", b=b"old\n")
        machine.sources = [(Atom("wrapped"), [b"/log/a", b"/log/b"])]
        log = Following(machine)
        machine.append("a", b"x\n")
        assert log.news() == ["x"]
        machine.files[b"/log/b"] = (77, b"next\n")
        machine.sources = [(Atom("wrapped"), [b"/log/b", b"/log/a"])]
        assert log.news() == []
        assert log.news() == ["next"]
        assert log.cursors[0].file.path == "/log/b"

    def test_a_node_that_is_gone_is_waited_for(self, log: Following) -> None:
        log.machine.down = [NodeDown("gone", node="n@h")]
        assert log.news() == []
        assert log.run.progress == ["the node does not answer, waiting for it: gone"]
        assert log.run.paused == [1.0]
        log.machine.append("a", b"back\n")
        assert log.news() == ["back"]

    def test_any_other_error_is_one(self, log: Following) -> None:
        log.machine.down = [NotApplicable("no")]
        with pytest.raises(NotApplicable):
            log.news()


def test_reprs_are_short() -> None:
    found = Run(Machine(a=lines(1, 1000)))(logs())
    assert len(repr(found)) < 300
    assert set(found.to_dict()) == {"node", "files", "entries", "advice"}
    assert list(found.to_dict()["entries"][0]) == ["node", "file", "time", "level", "text", "folded"]
    assert list(found.to_dict()["files"][0]) == [
        *("node", "path", "source", "bytes", "modified", "older", "unread", "problem")
    ]
