"""Commands of ``iris-admin`` that a signal ends at some moment, and what must hold after that.

Shared by the tests and ``tests/signal_rounds.py``.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import signal
import subprocess
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
from demo_cluster import ChatClient, DemoCluster

from iris_admin.audit import read_audit
from iris_admin.backup import open_backup
from iris_admin.cli.main import main
from iris_admin.operations.offline import payloads_of
from tests.cli.support import clean_environment

#: What the installed command does.
PROGRAM = [sys.executable, "-c", "from iris_admin.cli.start import main; main()"]
#: A command ends so soon after a signal, in seconds.
PATIENCE = 2.0
#: What a busy machine adds.
SLACK = 6.0
#: Rows of a user whose messages a command changes.
ROWS = 600
#: How long a command runs at most before it gets its signal, in seconds.
LONGEST = 1.2

_user_numbers = itertools.count(1)


@dataclass(frozen=True)
class Moment:
    """When a command gets which signal.

    :param number: ``SIGINT``, as by Ctrl-C, or ``SIGTERM``.
    :param after: in seconds, from the moment at which the command catches signals, or from its start.
    :param is_early: from its start, so that it may be still loading its modules.
    """

    number: signal.Signals
    after: float
    is_early: bool

    @classmethod
    def draw(cls, choice: random.Random) -> Moment:
        """At random; many of the moments are early, for most commands are short."""
        number = choice.choice([signal.SIGINT, signal.SIGTERM])
        if choice.random() < 0.2:
            return cls(number, choice.uniform(0, 0.2), is_early=True)
        return cls(number, LONGEST * choice.random() ** 3, is_early=False)


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    :param exit_code: as a shell tells it.
    :param was_signalled: whether it got its signal; else it had ended before.
    :param seconds: from the signal to the end.
    :param errors: its stderr.
    """

    exit_code: int
    was_signalled: bool
    seconds: float
    errors: str


def leaves(group: click.Command = main, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command that there is."""
    if not isinstance(group, click.Group):
        yield path
        return
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield from leaves(command, (*path, name))


class Scene:
    """A demo cluster, and a directory for what commands write.

    :param demo: it is this scene's alone.
    """

    def __init__(self, demo: DemoCluster, directory: Path) -> None:
        self.demo = demo
        self.directory = directory
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            # Whoever runs the tests in the background of a script has it ignored, and commands would inherit that.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self.environment = clean_environment(
            demo.environment
            | {"IRIS_ADMIN_BACKUP_DIR": str(directory), "IRIS_ADMIN_AUDIT_FILE": str(directory / "audit.jsonl")}
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*PROGRAM, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
        )

    def run(self, *words: str) -> None:
        """Run a command to its end, which must be a good one."""
        with self.start(*words) as process:
            _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors

    def interrupt(self, moment: Moment, *words: str) -> Ended:
        """Run a command and send it a signal."""
        with self.start(*words) as process:
            if not moment.is_early:
                _wait_until_it_catches(process)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(moment.after)
            was_signalled = process.poll() is None
            start = time.monotonic()
            process.send_signal(moment.number)
            _, errors = process.communicate(timeout=60)
            seconds = time.monotonic() - start
        code = process.returncode
        return Ended(code if code >= 0 else 128 - code, was_signalled, seconds, errors)

    def new_user(self) -> tuple[str, list[bytes]]:
        """A user with stored messages."""
        user = f"signal{next(_user_numbers)}"
        self.demo.cores[0].evaluate(
            f'ok = mnesia:dirty_write({{user_meta, <<"{user}">>, 4}}), lists:foreach(fun(I) -> '
            f'ok = mnesia:dirty_write({{offline_msg, {{<<"{user}">>, I rem 4}}, I, '
            f'<<"{user} ", (integer_to_binary(I))/binary>>}}) end, lists:seq(0, {ROWS - 1})).'
        )
        return user, [f"{user} {number}".encode() for number in range(ROWS)]

    def foreign_work(self) -> list[str]:
        """What runs on each node for somebody who is none of its cluster, or stands connected to it."""
        return [
            node.evaluate(
                'Ours = [node() | nodes() ++ [N || N <- nodes(hidden), lists:prefix("iris_", atom_to_list(N))]], '
                "{[P || P <- processes(), {_, G} <- [process_info(P, group_leader)], not lists:member(node(G), Ours)],"
                " nodes(connected) -- Ours}."
            )
            for node in self.demo.nodes
        ]

    def wait_until_left(self) -> None:
        """Wait until no node has anything of a command any more."""
        deadline = time.monotonic() + SLACK
        while (found := self.foreign_work()) != ["{[],[]}"] * len(self.demo.nodes):
            assert time.monotonic() < deadline, f"still there: {found}"

    def rows(self) -> int:
        """In the offline store."""
        return int(
            self.demo.cores[0].evaluate("iris_durable_batcher:force_flush(), mnesia:table_info(offline_msg, size).")
        )

    def kept(self) -> set[bytes]:
        """The messages in backup files, each of which must be complete."""
        return {
            payload
            for path in self.directory.glob("*.backup")
            for record in open_backup(path)
            for payload in payloads_of(record)
        }


def _wait_until_it_catches(process: subprocess.Popen[str]) -> None:
    """Wait until a command catches SIGTERM, or has ended."""
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        with contextlib.suppress(OSError, StopIteration):
            line = next(line for line in status.read_text().splitlines() if line.startswith("SigCgt:"))
            if int(line.split()[1], 16) & (1 << (signal.SIGTERM - 1)):
                return
        time.sleep(0.001)


def _plain(*words: str) -> Callable[[Scene, Moment], Ended]:
    """A command that changes nothing."""

    def play(scene: Scene, moment: Moment) -> Ended:
        before = scene.rows()
        ended = scene.interrupt(moment, *words)
        scene.wait_until_left()
        assert scene.rows() == before
        return ended

    return play


def _of_a_node(*words: str) -> Callable[[Scene, Moment], Ended]:
    """One that is told about the first edge."""
    return lambda scene, moment: _plain(*words, scene.demo.edges[0].name)(scene, moment)


def _diff(scene: Scene, moment: Moment) -> Ended:
    return _plain("diff", *(edge.name for edge in scene.demo.edges))(scene, moment)


def _bundle(scene: Scene, moment: Moment) -> Ended:
    path = scene.directory / f"{next(_user_numbers)}.zip"
    ended = _plain("bundle", str(path))(scene, moment)
    if path.exists():
        assert zipfile.ZipFile(path).testzip() is None
    else:
        assert ended.exit_code != 0
    return ended


def _export(scene: Scene, moment: Moment) -> Ended:
    user, messages = scene.new_user()
    path = scene.directory / f"{user}.term"
    ended = scene.interrupt(moment, "offline", "export", user, str(path))
    if path.exists():
        assert sum(len(payloads_of(record)) for record in open_backup(path)) == len(messages)
    else:
        assert ended.exit_code != 0
    assert Counter(scene.demo.stored(user)) == Counter(messages)
    return ended


def _clear(scene: Scene, moment: Moment) -> Ended:
    user, messages = scene.new_user()
    ended = scene.interrupt(moment, "offline", "clear", user, "--yes")
    left = Counter(scene.demo.stored(user))
    assert not left - Counter(messages)
    assert set(messages) - set(left) <= scene.kept()
    for path in scene.directory.glob("*.backup"):
        scene.run("offline", "restore", str(path))
    assert Counter(scene.demo.stored(user)) == Counter(messages)
    return ended


def _restore(scene: Scene, moment: Moment) -> Ended:
    user, messages = scene.new_user()
    scene.run("offline", "clear", user, "--yes")
    assert scene.demo.stored(user) == []
    (path,) = scene.directory.glob("*.backup")
    ended = scene.interrupt(moment, "offline", "restore", str(path))
    assert not Counter(scene.demo.stored(user)) - Counter(messages)
    scene.run("offline", "restore", str(path))
    assert Counter(scene.demo.stored(user)) == Counter(messages)
    return ended


def _redeliver(scene: Scene, moment: Moment) -> Ended:
    user = f"signal{next(_user_numbers)}"
    messages = [f"{user} {number}".encode() for number in range(60)]
    with ChatClient("127.0.0.1", scene.demo.edges[0].port, user) as client:
        scene.demo.store(user, messages)
        ended = scene.interrupt(moment, "redeliver", user)
        # What the edge was handed is delivered still.
        deadline = time.monotonic() + SLACK
        while {message.payload for message in client.received} | set(scene.demo.stored(user)) != set(messages):
            assert time.monotonic() < deadline, "a message was lost"
        if scene.demo.stored(user):
            scene.run("redeliver", user)
        counts = Counter(message.payload for message in client.wait_for(len(messages)))
    assert set(counts) == set(messages)
    assert scene.demo.stored(user) == []
    return ended


def _end_node(*words: str) -> Callable[[Scene, Moment], Ended]:
    def play(scene: Scene, moment: Moment) -> Ended:
        edge = scene.demo.edges[1]
        try:
            return scene.interrupt(moment, *words, edge.name, "--yes", "--no-bundle")
        finally:
            # Whether it was ended or not.
            scene.demo.restart_node(edge)

    return play


#: Every command, with what it is given and what must hold.
COMMANDS: dict[tuple[str, ...], Callable[[Scene, Moment], Ended]] = {
    ("ping",): _plain("ping"),
    ("nodes",): _plain("nodes", "localhost"),
    ("ports",): _plain("ports"),
    ("logs",): _plain("logs", "--follow"),
    ("smoke",): _plain("smoke"),
    ("restart",): _end_node("restart"),
    ("stop",): _end_node("stop"),
    ("system",): _plain("system", "--all"),
    ("memory",): _plain("memory", "--watch", "--interval", "0.1"),
    ("stats",): _plain("stats", "--all"),
    ("processes",): _plain("processes", "--by", "reductions", "--interval", "1"),
    ("process",): _plain("process", "init"),
    ("ets",): _plain("ets"),
    ("gc",): _plain("gc", "--all", "--yes"),
    ("mnesia", "info"): _plain("mnesia", "info"),
    ("mnesia", "tables"): _plain("mnesia", "tables"),
    ("mnesia", "status"): _plain("mnesia", "status"),
    ("mnesia", "locks"): _plain("mnesia", "locks"),
    ("mnesia", "transactions"): _plain("mnesia", "transactions"),
    ("offline", "summary"): _plain("offline", "summary"),
    ("offline", "list"): _plain("offline", "list"),
    ("offline", "duplicates"): _plain("offline", "duplicates"),
    ("offline", "export"): _export,
    ("offline", "clear"): _clear,
    ("offline", "restore"): _restore,
    ("offline", "show"): _plain("offline", "show", "nobody"),
    ("presence", "summary"): _plain("presence", "summary"),
    ("presence", "list"): _plain("presence", "list"),
    ("presence", "show"): _plain("presence", "show", "nobody"),
    ("user",): _plain("user", "nobody"),
    ("redeliver",): _redeliver,
    ("doctor",): _plain("doctor"),
    ("triage",): _plain("triage", "p0"),
    ("bundle",): _bundle,
    ("diff",): _diff,
    ("audit",): _plain("audit"),
    ("rpc",): _plain("rpc", "timer", "sleep", "60000", "--timeout", "60"),
    ("eval",): _plain("eval", "timer:sleep(60000)", "--timeout", "60"),
    ("completion",): _plain("completion", "bash"),
}
#: How commands end that nothing interrupts: well, or with what they have to say.
_OWN_ENDS = (0, 67, 69)


def check(scene: Scene, command: tuple[str, ...], moment: Moment) -> Ended:
    """Interrupt a command, and see that it ends soon, quietly and with its code, and leaves nothing half done."""
    ended = COMMANDS[command](scene, moment)
    scene.wait_until_left()
    assert ended.seconds < PATIENCE + SLACK
    of_python = moment.is_early and "iris_admin/cli/" not in ended.errors
    if not of_python:
        assert "Traceback" not in ended.errors, ended.errors
        assert "Exception ignored" not in ended.errors, ended.errors
        assert "internal error" not in ended.errors, ended.errors
    ends = {128 + moment.number, *_OWN_ENDS}
    if of_python and "KeyboardInterrupt" in ended.errors:
        ends.add(1)
    assert ended.exit_code in ends, (ended.exit_code, ended.errors)
    left = [path.name for path in scene.directory.iterdir() if ".part" in path.name or ".pending-" in path.name]
    assert left == []
    read_audit(scene.directory / "audit.jsonl")
    for path in scene.directory.glob("*"):
        path.unlink()
    return ended
