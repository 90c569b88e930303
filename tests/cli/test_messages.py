"""The commands for stored messages and presence: their JSON, their exit codes, and that they ask before they delete."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from demo_cluster import DemoCluster

from iris_admin.audit import read_audit
from tests.cli.support import invoke, run
from tests.cli.terminal import Terminal
from tests.support.demo import LogIn

Run = Callable[..., Result]

BACKLOG = (
    *("core", "user", "rows", "messages", "bytes", "oldest", "oldest_age_seconds", "newest", "keys", "scheme"),
    *("undeliverable", "huge"),
)
MESSAGE = ("core", "bucket", "timestamp", "time", "part", "parts", "kind", "size", "digest", "payload")
WAITING = ("core", "rows", "reason")
CONNECTION = ("node", "pid", "alive", "kind", "initial_call", "problem")
BELIEF = ("core", "backend", "online", "edge", "pid", "registered", "age", "verdict", "explanation")
KEY = ("core", "bucket", "records", "messages", "bytes")


@pytest.fixture(autouse=True)
def backups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IRIS_ADMIN_BACKUP_DIR", str(tmp_path / "backups"))
    monkeypatch.setenv("IRIS_ADMIN_AUDIT_FILE", str(tmp_path / "audit.jsonl"))
    return tmp_path / "backups"


def document(result: Result) -> Any:
    return json.loads(result.stdout)


def lines(result: Result) -> list[Any]:
    return [json.loads(line) for line in result.stdout.splitlines()]


class TestFields:
    """The names of the fields are an interface."""

    def test_offline_summary(self, on_demo: Run, demo_cluster: DemoCluster, user: str) -> None:
        demo_cluster.store(user, [b"one", b"two"])
        found = document(on_demo("offline", "summary", "-o", "json"))
        assert tuple(found) == ("rows", "stores", "largest", "waiting", "cut", "notes")
        assert tuple(found["stores"][0]) == (
            *("core", "copies", "rows", "memory_bytes", "rows_read", "messages", "payload_bytes", "users", "keys"),
            *("oldest", "oldest_age_seconds", "certain_from", "cut", "seconds"),
        )
        assert tuple(found["largest"][0]) == BACKLOG
        assert tuple(found["waiting"][0]) == WAITING
        assert lines(on_demo("offline", "summary", "--top", "1", "-o", "jsonl"))[0]["rows"] >= 2

    def test_offline_list(self, on_demo: Run, demo_cluster: DemoCluster, user: str) -> None:
        demo_cluster.store(user, [b"one", b"two"])
        found = document(on_demo("offline", "list", "--prefix", user, "-o", "json"))
        assert tuple(found) == ("users", "more", "after", "cut", "notes")
        assert tuple(found["users"][0]) == BACKLOG
        assert (found["users"][0]["user"], found["users"][0]["rows"]) == (user, 2)

    def test_offline_duplicates(self, on_demo: Run, demo_cluster: DemoCluster, user: str) -> None:
        demo_cluster.store(user, [b"one", b"one"])
        found = document(on_demo("offline", "duplicates", user, "-o", "json"))
        assert tuple(found) == (
            *("user", "rows_read", "users", "messages", "surplus", "surplus_bytes", "duplicates", "cut", "notes"),
        )
        assert tuple(found["duplicates"][0]) == ("core", "user", "copies", "size", "digest", "oldest", "newest")

    def test_offline_export(self, on_demo: Run, demo_cluster: DemoCluster, user: str, tmp_path: Path) -> None:
        demo_cluster.store(user, [b"one"])
        found = document(on_demo("offline", "export", user, str(tmp_path / "x.jsonl"), "-o", "json"))
        assert tuple(found) == (*("file", "format", "user", "cores", "rows", "messages", "bytes", "seconds", "notes"),)
        assert (found["format"], found["user"], found["rows"]) == ("jsonl", user, 1)

    def test_offline_clear_and_restore(self, on_demo: Run, demo_cluster: DemoCluster, user: str) -> None:
        demo_cluster.store(user, [b"one"])
        planned = document(on_demo("offline", "clear", user, "--dry-run", "-o", "json"))
        assert tuple(planned) == (
            *("user", "messages", "total_records", "total_messages", "total_bytes", "keys", "notes"),
        )
        assert tuple(planned["messages"][0]) == MESSAGE
        assert tuple(planned["keys"][0]) == KEY
        done = document(on_demo("offline", "clear", user, "--yes", "-o", "json"))
        assert tuple(done) == ("user", "planned", "deleted", "gone", "left", "arrived", "verified", "backups")
        restored = document(on_demo("offline", "restore", done["backups"][0], "-o", "json"))
        assert tuple(restored) == (
            *("file", "label", "saved", "core", "dry_run", "records", "put_back", "already_stored", "put_back_before"),
            "notes",
        )
        assert demo_cluster.stored(user) == [b"one"]

    def test_presence_summary(self, on_demo: Run, demo_cluster: DemoCluster, user: str, log_in: LogIn) -> None:
        log_in(demo_cluster.edges[0], user)
        found = document(on_demo("presence", "summary", "-o", "json"))
        assert tuple(found) == ("connections", "edges", "cores", "problems", "cannot_tell", "cut")
        assert tuple(found["edges"][0]) == (
            *("node", "entries", "looked_at", "tcp", "websocket", "other", "stale", "cut", "seconds"),
        )
        assert tuple(found["cores"][0]) == (
            *("node", "backend", "entries", "looked_at", "agrees", "expired", "stale", "contradicts", "cannot_tell"),
            *("missing", "unused_entries", "cut", "seconds"),
        )

    def test_presence_list(self, on_demo: Run, demo_cluster: DemoCluster, user: str, log_in: LogIn) -> None:
        log_in(demo_cluster.edges[0], user)
        found = document(on_demo("presence", "list", "--prefix", user, "--limit", "1", "-o", "json"))
        assert tuple(found) == ("users", "more", "after", "cannot_tell", "cut")
        assert tuple(found["users"][0]) == ("user", "online", "connections", "beliefs", "cannot_tell")
        assert tuple(found["users"][0]["connections"][0]) == CONNECTION
        assert tuple(found["users"][0]["beliefs"][0]) == BELIEF

    def test_user(self, on_demo: Run, demo_cluster: DemoCluster, user: str, log_in: LogIn) -> None:
        log_in(demo_cluster.edges[0], user)
        demo_cluster.store(user, [b"one"])
        found = document(on_demo("user", user, "-o", "json"))
        assert tuple(found) == (
            *("user", "online", "last_seen", "connections", "beliefs", "pending", "stored", "keys", "bucket_count"),
            *("unreachable_rows", "waiting", "next_login", "danger", "cannot_tell", "notes"),
        )
        assert tuple(found["connections"][0]) == CONNECTION
        assert tuple(found["beliefs"][0]) == BELIEF
        assert tuple(found["pending"][0]) == (
            *("node", "pid", "count", "oldest_age_seconds", "bytes", "message_queue_len", "reason"),
        )
        assert tuple(found["stored"][0]) == BACKLOG
        assert tuple(found["keys"][0]) == KEY
        assert tuple(found["waiting"][0]) == WAITING

    def test_redeliver_to_several(self, on_demo: Run, demo_cluster: DemoCluster, user: str, log_in: LogIn) -> None:
        log_in(demo_cluster.edges[0], user)
        demo_cluster.store(user, [b"one"])
        first, second = document(on_demo("redeliver", user, f"{user}x", "-o", "json", exit_code=69))
        assert (first["user"], first["verdict"]) == (user, "delivered")
        assert tuple(second) == ("user", "error", "explanation")


class TestText:
    def test_what_a_person_sees(self, on_demo: Run, demo_cluster: DemoCluster, user: str, log_in: LogIn) -> None:
        log_in(demo_cluster.edges[0], user)
        demo_cluster.store(user, [b"one", b"one"])
        shown = {
            command: on_demo(*command.split()).stdout
            for command in (
                "offline summary",
                f"offline list --prefix {user} --limit 1",
                f"offline duplicates {user}",
                f"user {user}",
                "presence summary",
                f"presence list --prefix {user} --limit 1",
                "redeliver --stuck --dry-run",
            )
        }
        for command, text in shown.items():
            assert demo_cluster.seed in text or user in text, command
        assert "2 messages in 2 rows" in shown[f"user {user}"]
        assert "1 message of 1 user, stored 1 time too often" in shown[f"offline duplicates {user}"]

    def test_names_that_would_command_the_terminal(self, on_demo: Run, demo_cluster: DemoCluster, user: str) -> None:
        name = f"{user}\x1b[2J"
        demo_cluster.store(name, [b"one"])
        for command in (("offline", "list", "--prefix", user), ("user", name), ("offline", "clear", name, "--dry-run")):
            assert "\x1b" not in on_demo(*command).stdout
        on_demo("offline", "clear", name, "--yes")


class TestAsking:
    def test_without_a_terminal_nothing_is_changed(
        self, demo_environment: dict[str, str], demo_cluster: DemoCluster, user: str, backups: Path
    ) -> None:
        demo_cluster.store(user, [b"one"])
        exit_code, output, errors = run("offline", "clear", user, environment=demo_environment)
        assert (exit_code, output) == (77, "")
        assert "1 message in 1 row" in errors
        assert "Without a terminal, --yes" in errors
        assert demo_cluster.stored(user) == [b"one"]
        assert not backups.exists()
        assert len(read_audit().entries) == 0

    def test_with_yes(self, on_demo: Run, demo_cluster: DemoCluster, user: str) -> None:
        demo_cluster.store(user, [b"one"])
        result = on_demo("offline", "clear", user, "--yes")
        assert "1 message in 1 row" in result.stderr
        assert "deleted   1 of 1 row" in result.stdout
        assert demo_cluster.stored(user) == []

    @pytest.mark.parametrize(
        ("answer", "exit_code", "left"),
        [(b"y\n", 0, []), (b"yes\n", 0, []), (b"n\n", 77, [b"one"]), (b"\n", 77, [b"one"]), (b"\x04", 77, [b"one"])],
    )
    def test_on_a_terminal(
        self,
        demo_environment: dict[str, str],
        demo_cluster: DemoCluster,
        user: str,
        answer: bytes,
        exit_code: int,
        left: list[bytes],
    ) -> None:
        demo_cluster.store(user, [b"one"])
        with Terminal("offline", "clear", user, environment=demo_environment) as terminal:
            terminal.wait_for(b"[y/N]")
            assert f"Delete 1 message of {user}?".encode() in terminal.seen
            assert demo_cluster.stored(user) == [b"one"]
            os.write(terminal.descriptor, answer)
            assert terminal.end() == exit_code
        assert demo_cluster.stored(user) == left

    def test_a_message_that_comes_while_it_is_asked_stays(
        self, demo_environment: dict[str, str], demo_cluster: DemoCluster, user: str
    ) -> None:
        demo_cluster.store(user, [b"one"])
        with Terminal("offline", "clear", user, environment=demo_environment) as terminal:
            terminal.wait_for(b"[y/N]")
            demo_cluster.store(user, [b"two"])
            os.write(terminal.descriptor, b"y\n")
            assert terminal.end() == 0
            assert b"meanwhile, and not touched: 1 row" in terminal.seen
        assert demo_cluster.stored(user) == [b"two"]

    def test_an_interrupt_at_the_question(
        self, demo_environment: dict[str, str], demo_cluster: DemoCluster, user: str
    ) -> None:
        demo_cluster.store(user, [b"one"])
        with Terminal("offline", "clear", user, environment=demo_environment) as terminal:
            terminal.wait_for(b"[y/N]")
            os.write(terminal.descriptor, b"\x03")
            assert terminal.end() == 130
        assert demo_cluster.stored(user) == [b"one"]


class TestWrongUse:
    @pytest.mark.parametrize(
        "words",
        [
            ("redeliver",),
            ("redeliver", "bob", "--stuck"),
            ("offline", "export", "bob"),
            ("offline", "export", "--all"),
            ("offline", "export", "--all", "bob", "file"),
            ("offline", "list", "--limit", "0"),
            ("offline", "summary", "--within", "0"),
            ("offline", "clear", "bob", "--oldest", "0"),
            ("presence", "list", "--limit", "100000"),
        ],
    )
    def test_usage(self, demo_environment: dict[str, str], words: tuple[str, ...]) -> None:
        assert invoke(*words, environment=demo_environment).exit_code == 64

    @pytest.mark.parametrize(
        ("words", "exit_code"),
        [
            (("user", "nobody-at-all"), 67),
            (("offline", "clear", "nobody-at-all", "--yes"), 67),
            (("offline", "restore", "/nowhere.backup"), 74),
            (("offline", "export", "--all", "/nowhere/file"), 74),
            (("user", ""), 65),
        ],
    )
    def test_failures(self, demo_environment: dict[str, str], words: tuple[str, ...], exit_code: int) -> None:
        result = invoke(*words, environment=demo_environment)
        assert (result.exit_code, result.stdout) == (exit_code, "")
        assert result.stderr.startswith("error: ")

    def test_on_a_node_that_is_no_iris(self, erlang_node: Any) -> None:
        for words in (
            ("offline", "summary"),
            ("offline", "list"),
            ("offline", "duplicates"),
            ("offline", "clear", "bob", "--yes"),
            ("presence", "summary"),
            ("presence", "list"),
            ("user", "bob"),
            ("redeliver", "--stuck"),
        ):
            result = invoke(*words, environment=erlang_node.environment)
            assert (result.exit_code, result.stdout) == (69, ""), words
            assert erlang_node.name in result.stderr
