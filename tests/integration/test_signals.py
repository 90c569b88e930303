"""Ctrl-C and SIGTERM at random moments of every command: it ends at once and quietly, and nothing is half done."""

from __future__ import annotations

import os
import pty
import random
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from demo_cluster import DemoCluster

from tests.support.signals import COMMANDS, PROGRAM, SLACK, Moment, Scene, check, leaves

#: Of each command; tests/signal_rounds.py has the time for more.
MOMENTS = 2


@pytest.fixture(scope="module")
def demo() -> Iterator[DemoCluster]:
    with DemoCluster() as demo:
        yield demo


@pytest.fixture
def scene(demo: DemoCluster, tmp_path: Path) -> Scene:
    return Scene(demo, tmp_path)


def test_every_command_is_among_them() -> None:
    assert set(leaves()) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_at_random_moments(scene: Scene, command: tuple[str, ...]) -> None:
    choice = random.Random(" ".join(command))
    for _ in range(1 if command in (("stop",), ("restart",)) else MOMENTS):  # these take seconds
        check(scene, command, Moment.draw(choice))


def test_a_long_command_is_ended_and_says_so(scene: Scene) -> None:
    """That the signals of the other tests do arrive."""
    for number in (signal.SIGINT, signal.SIGTERM):
        ended = check(scene, ("rpc",), Moment(number, 0.5, is_early=False))
        assert (ended.was_signalled, ended.exit_code, ended.errors) == (True, 128 + number, "")


#: Has the signal come when the command's first large module is looked for.
_WHILE_LOADING = """
import os, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "click":
            os.kill(os.getpid(), 2)
sys.meta_path.insert(0, Finder())
from iris_admin.cli.start import main
main()
"""


def test_while_its_modules_are_loaded_it_ends_without_a_word(scene: Scene) -> None:
    """Until it can answer itself, it is ended as any program is."""
    done = subprocess.run(
        [sys.executable, "-c", _WHILE_LOADING], capture_output=True, env=scene.environment, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")


#: Has the signal come in the callback of a weak reference, from which Python lets no exception out.
_IN_A_CALLBACK = """
import os, sys, time, weakref
from iris_admin.cli import main as module
class Thing:
    pass
def run(self, args, prog_name):
    thing = Thing()
    reference = weakref.ref(thing, lambda _: os.kill(os.getpid(), {number}))
    {handler}
    del thing
    time.sleep(30)
module._Program._run = run
module.main()
"""


@pytest.mark.parametrize(
    ("number", "handler"),
    [(signal.SIGINT, "pass"), (signal.SIGTERM, "module.signal.signal(15, module.raise_terminated)")],
)
def test_a_signal_that_python_drops_counts(scene: Scene, number: int, handler: str) -> None:
    script = _IN_A_CALLBACK.format(number=int(number), handler=handler)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, env=scene.environment, timeout=20, check=False
    )
    assert (done.returncode, done.stderr) == (128 + number, b"")


def test_at_a_question_the_terminal_stays_as_it_was(scene: Scene) -> None:
    user, messages = scene.new_user()
    controller, terminal = pty.openpty()
    before = termios.tcgetattr(terminal)
    with subprocess.Popen(
        [*PROGRAM, "offline", "clear", user],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=scene.environment,
        start_new_session=True,
    ) as process:
        shown = b""
        deadline = time.monotonic() + 30
        while b"[y/N]" not in shown:
            assert select.select([controller], [], [], max(0.0, deadline - time.monotonic()))[0], shown
            shown += os.read(controller, 65536)
        process.send_signal(signal.SIGINT)
        assert process.wait(SLACK) == 130
    assert termios.tcgetattr(terminal) == before
    os.close(controller)
    os.close(terminal)
    assert b"Traceback" not in shown
    assert set(scene.demo.stored(user)) == set(messages)
    scene.wait_until_left()
