"""A disc that is full while a command writes: it says so, nothing is deleted on the cluster, and no half file stays."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from demo_cluster import DemoCluster

from tests.cli.support import SCRIPT, clean_environment
from tests.support.demo import LogIn

#: Mounts a small disc, where no other process sees it; the command runs on it, and then what lies there is listed.
_ON_A_SMALL_DISC = """
mount -t tmpfs -o size=64k tmpfs "$1" && cd "$1" || exit 99
[ -z "$2" ] || head -c 1000000 /dev/zero > fill 2>/dev/null
shift 2
"$@"
code=$?
rm -f fill
ls -A >&3
exit $code
"""


def _can_mount() -> str | None:
    """Why no disc can be mounted here, or None."""
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", "mount -t tmpfs -o size=64k tmpfs /mnt"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr.strip() or None if done.returncode else None


@pytest.fixture(scope="module", autouse=True)
def _small_discs() -> None:
    why = _can_mount()
    if why is None:
        return
    if os.getuid() == 0 and os.environ.get("CI"):
        pytest.fail(f"root cannot mount a small disc here: {why}")
    pytest.skip(f"no small disc can be mounted here: {why}")


class Ended:
    """How a command on the small disc ended.

    :ivar files: what lay on the disc behind it.
    """

    def __init__(self, exit_code: int, output: str, errors: str, files: list[str]) -> None:
        self.exit_code = exit_code
        self.output = output
        self.errors = errors
        self.files = files


@pytest.fixture
def on_a_small_disc(demo_cluster: DemoCluster, tmp_path: Path) -> Callable[..., Ended]:
    """Run a command in a directory with room for 64 KiB, where its backups go, too."""
    disc = tmp_path / "disc"
    disc.mkdir()

    def run(*words: str, is_full: bool = False, audit_file: Path = tmp_path / "audit.jsonl") -> Ended:
        environment = clean_environment(
            demo_cluster.environment
            | {"IRIS_ADMIN_BACKUP_DIR": str(disc), "IRIS_ADMIN_AUDIT_FILE": str(audit_file), "PYTHONPATH": _root()}
        )
        reader, writer = os.pipe()
        done = subprocess.run(
            [
                *(
                    "unshare",
                    "--mount",
                    "sh",
                    "-c",
                    f"exec 3>/proc/self/fd/{writer}\n{_ON_A_SMALL_DISC}",
                    "sh",
                    str(disc),
                ),
                "full" if is_full else "",
                str(SCRIPT),
                *words,
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=environment,
            pass_fds=[writer],
            check=False,
        )
        os.close(writer)
        with os.fdopen(reader) as listing:
            return Ended(done.returncode, done.stdout, done.stderr, listing.read().split())

    return run


def _root() -> str:
    return os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])


@pytest.fixture
def messages(demo_cluster: DemoCluster, user: str) -> list[bytes]:
    """200 KB of a user's messages, which do not fit on the disc."""
    payloads = [b"%b %04d " % (user.encode(), number) + b"x" * 2000 for number in range(100)]
    demo_cluster.store(user, payloads)
    return payloads


def assert_it_says_so(ended: Ended, hint: str) -> None:
    assert ended.exit_code == 74, ended.errors
    assert "no space left on device" in ended.errors
    assert f"\nhint: {hint}" in ended.errors
    assert "Traceback" not in ended.errors
    assert ended.files == []


def test_clear_deletes_nothing(
    on_a_small_disc: Callable[..., Ended], demo_cluster: DemoCluster, user: str, messages: list[bytes], tmp_path: Path
) -> None:
    ended = on_a_small_disc("offline", "clear", user, "--yes")
    assert_it_says_so(ended, "Is there room, and permission to write? IRIS_ADMIN_BACKUP_DIR names another directory.")
    assert Counter(demo_cluster.stored(user)) == Counter(messages)
    (entry,) = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert entry["outcome"].startswith("failed: BackupError")
    assert entry["backup"] is None


def test_redeliver_sends_nothing(
    on_a_small_disc: Callable[..., Ended],
    demo_cluster: DemoCluster,
    user: str,
    log_in: LogIn,
) -> None:
    client = log_in(demo_cluster.edges[0], user)
    payloads = [b"%d " % number + b"x" * 2000 for number in range(100)]
    demo_cluster.store(user, payloads)
    ended = on_a_small_disc("redeliver", user)
    assert_it_says_so(ended, "Is there room, and permission to write? IRIS_ADMIN_BACKUP_DIR names another directory.")
    assert client.received == []
    assert Counter(demo_cluster.stored(user)) == Counter(payloads)


@pytest.mark.parametrize("name", ["messages.term", "messages.jsonl"])
def test_export(
    on_a_small_disc: Callable[..., Ended], demo_cluster: DemoCluster, user: str, messages: list[bytes], name: str
) -> None:
    ended = on_a_small_disc("offline", "export", user, name)
    assert_it_says_so(ended, "Is there room, and permission to write? Nothing was changed on the cluster.")
    assert Counter(demo_cluster.stored(user)) == Counter(messages)


def test_bundle(on_a_small_disc: Callable[..., Ended]) -> None:
    assert_it_says_so(on_a_small_disc("bundle", "b.zip", is_full=True), "Is there room, and permission to write?")


@pytest.mark.parametrize("command", ["stop", "restart"])
def test_a_node_whose_state_cannot_be_kept_is_not_ended(
    on_a_small_disc: Callable[..., Ended], demo_cluster: DemoCluster, command: str
) -> None:
    edge = demo_cluster.edges[1]
    before = edge.evaluate("{os:getpid(), whereis(init), erlang:system_info(start_time)}.")
    ended = on_a_small_disc(command, edge.name, "--yes", is_full=True)
    assert_it_says_so(ended, "")
    assert edge.evaluate("{os:getpid(), whereis(init), erlang:system_info(start_time)}.") == before


def test_what_cannot_be_recorded_is_not_done(
    on_a_small_disc: Callable[..., Ended], demo_cluster: DemoCluster, user: str, messages: list[bytes], tmp_path: Path
) -> None:
    audit_file = tmp_path / "disc" / "audit.jsonl"
    ended = on_a_small_disc("offline", "clear", user, "--yes", is_full=True, audit_file=audit_file)
    assert ended.exit_code == 74, ended.errors
    assert "no space left on device" in ended.errors
    assert "Nothing was changed, for it could not be recorded." in ended.errors
    assert [name for name in ended.files if name.endswith((".backup", ".part"))] == []
    assert Counter(demo_cluster.stored(user)) == Counter(messages)
