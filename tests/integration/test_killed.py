"""Clear and redeliver, killed at random moments while messages keep arriving: nothing is lost."""

from __future__ import annotations

import json
import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from demo_cluster import DemoCluster

from iris_admin.audit import read_audit
from iris_admin.backup import open_backup
from iris_admin.errors import BackupError
from iris_admin.operations.offline import payloads_of
from tests.cli.support import SCRIPT, clean_environment
from tests.support.demo import LogIn

ROWS = 1500
KILLS = 4


@contextmanager
def arriving(demo: DemoCluster, user: str) -> Iterator[list[bytes]]:
    """Messages for a user are stored, one after another; the list has those that were acknowledged to their sender."""
    stored: list[bytes] = []
    is_over = threading.Event()

    def store() -> None:
        while not is_over.is_set():
            payload = f"{user} arrived {len(stored)}"
            demo.cores[0].evaluate(f'ok = iris_core:store_offline_durable(<<"{user}">>, <<"{payload}">>).')
            stored.append(payload.encode())

    thread = threading.Thread(target=store)
    thread.start()
    try:
        yield stored
    finally:
        is_over.set()
        thread.join()


def insert(demo: DemoCluster, user: str, count: int) -> list[bytes]:
    """Rows in four buckets."""
    demo.cores[0].evaluate(
        f'ok = mnesia:dirty_write({{user_meta, <<"{user}">>, 4}}), lists:foreach(fun(I) -> '
        f'P = <<"{user} old ", (integer_to_binary(I))/binary>>, '
        f'ok = mnesia:dirty_write({{offline_msg, {{<<"{user}">>, I rem 4}}, I, P}}) end, lists:seq(0, {count - 1})).'
    )
    return [f"{user} old {number}".encode() for number in range(count)]


class Command:
    """``iris-admin`` in a process of its own."""

    def __init__(self, demo: DemoCluster, directory: Path) -> None:
        self.environment = clean_environment(
            demo.environment
            | {"IRIS_ADMIN_BACKUP_DIR": str(directory), "IRIS_ADMIN_AUDIT_FILE": str(directory / "audit.jsonl")}
        )
        self.directory = directory

    def run(self, *words: str, kill_after: float | None = None) -> tuple[bool, str]:
        """Whether it was killed, and what it printed."""
        with subprocess.Popen(
            [SCRIPT, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self.environment,
        ) as process:
            try:
                process.wait(kill_after or 60)
            except subprocess.TimeoutExpired:
                process.kill()
            assert process.stdout is not None
            return process.wait() < 0, process.stdout.read().decode()

    def backups(self) -> list[Path]:
        """The files that are complete."""
        complete = []
        for path in sorted(self.directory.glob("*.backup")):
            try:
                open_backup(path)
                complete.append(path)
            except BackupError:
                assert not path.with_name(path.name + ".restored").exists()
        return complete


@pytest.mark.parametrize("seed", range(KILLS))
def test_clear(demo_cluster: DemoCluster, user: str, tmp_path: Path, seed: int) -> None:
    command = Command(demo_cluster, tmp_path)
    old = insert(demo_cluster, user, ROWS)
    with arriving(demo_cluster, user) as arrived:
        command.run("offline", "clear", user, "--yes", kill_after=random.Random(seed).uniform(0.2, 0.8))
    everything = {*old, *arrived}
    left = set(demo_cluster.stored(user))
    kept = {payload for path in command.backups() for record in open_backup(path) for payload in payloads_of(record)}
    assert everything - left <= kept
    entries = read_audit(tmp_path / "audit.jsonl").entries
    assert [entry.command for entry in entries] == ["offline clear"] * len(entries)
    assert len(entries) == 1 or not kept
    assert left <= everything
    for path in command.backups():
        _, first = command.run("offline", "restore", str(path), "-o", "json")
        _, second = command.run("offline", "restore", str(path), "-o", "json")
        assert json.loads(first)["put_back"] == len(everything - left)
        assert json.loads(second)["put_back"] == 0
    assert Counter(demo_cluster.stored(user)) == Counter(everything)
    command.run("offline", "clear", user, "--yes")


@pytest.mark.parametrize("seed", range(KILLS))
def test_redeliver(demo_cluster: DemoCluster, user: str, tmp_path: Path, log_in: LogIn, seed: int) -> None:
    command = Command(demo_cluster, tmp_path)
    client = log_in(demo_cluster.edges[seed % 2], user)
    old = insert(demo_cluster, user, 200)
    with arriving(demo_cluster, user) as arrived:
        killed, _ = command.run("redeliver", user, kill_after=random.Random(seed).uniform(0.25, 0.6))
    everything = {*old, *arrived}
    # What the edge had been handed is still delivered.
    held = (
        f'[{{_, P}}] = ets:lookup(local_presence_v2, <<"{user}">>), {{_, D}} = sys:get_state(P), '
        "map_size(hd([F || F <- tuple_to_list(D), is_map(F)]))."
    )
    quiet, seen = 0, -1
    while quiet < 10:
        is_quiet = seen == len(client.received) and demo_cluster.edges[seed % 2].evaluate(held) == "0"
        quiet, seen = quiet + 1 if is_quiet else 0, len(client.received)
        time.sleep(0.05)
    received = {message.payload for message in client.received}
    left = demo_cluster.stored(user)
    assert received | set(left) == everything
    assert len(received & set(left)) <= (80 if killed else 0)
    while demo_cluster.stored(user):
        command.run("redeliver", user)
    counts = Counter(message.payload for message in client.wait_for(len(everything)))
    assert set(counts) == everything
    assert max(counts.values()) <= 2
    assert sum(count > 1 for count in counts.values()) <= 80
