"""What networks do, at every step of a session with a real node: an error in time, and nothing is left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from iris_admin.errors import IrisAdminError
from tests.failure_table import fault_table
from tests.support.erlang import NodeFactory
from tests.support.failures import SLACK
from tests.support.faults import CASES, NET_TICKTIME, NODE_OPTIONS, UNTIL_NOTICED, Case, Stage


@pytest.fixture(scope="module")
def stage(erlang_epmd: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    nodes = NodeFactory(erlang_epmd, lambda: tmp_path_factory.mktemp("erlang"))  # type: ignore[arg-type]
    stage = Stage(nodes(net_ticktime=NET_TICKTIME, flags=NODE_OPTIONS))
    # Names of the pool are atoms, and the I/O thread has its sockets: both are made once.
    with stage.proxies() as (_, epmd), stage.client(epmd) as node:
        node.ping()
    yield stage
    nodes.stop_all()


def ours() -> tuple[int, set[str]]:
    """How many files and sockets this process has open, and the threads of iris_admin in it."""
    threads = {thread.name for thread in threading.enumerate() if thread.name.startswith("iris_admin")}
    return len(list(Path("/proc/self/fd").iterdir())), threads


def assert_nothing_is_left(before: tuple[int, set[str]]) -> None:
    """There is no more than before, at once or in a moment."""
    end = time.monotonic() + SLACK
    while (now := ours())[0] > before[0] or now[1] != before[1]:
        assert time.monotonic() < end, (before, now)
        time.sleep(0.01)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_fault(case: Case, stage: Stage) -> None:
    before = ours()
    outcome = stage.play(case)
    assert outcome.has_fired
    assert outcome.wrong is None
    assert outcome.seconds < case.within + SLACK
    assert outcome.kind in case.outcomes
    if isinstance(outcome.error, IrisAdminError):
        assert outcome.error.node == stage.node.name
        assert outcome.error.hint
        assert outcome.error.__suppress_context__ or outcome.error.__context__ is None
    assert all(isinstance(error, IrisAdminError) for error in outcome.between)
    assert outcome.back_after < UNTIL_NOTICED + SLACK
    assert outcome.remote_ended_after is not None
    assert outcome.remote_ended_after < UNTIL_NOTICED + SLACK
    assert_nothing_is_left(before)


def test_the_table_can_be_printed(stage: Stage) -> None:
    steps = [CASES[0].step, CASES[-1].step]
    few = [case for case in CASES if case.step in steps and case.name in ("FIN", "delayed by 0.3 s")]
    lines = fault_table(few, stage).splitlines()
    assert [word.strip() for word in lines[0].strip("|").split("|")] == ["", "delayed by 0.3 s", "FIN"]
    assert len(lines) == 2 + len(steps)
    assert lines[-1].startswith("| 25 MB reply")
    assert "NodeDown 0." in lines[-1]
