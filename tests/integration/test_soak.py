"""A short soak: what ``python -m tests.soak`` does for half an hour, bounded by calls instead of time."""

from __future__ import annotations

from contextlib import closing

from tests import soak
from tests.integration.conftest import join
from tests.support.erlang import NodeFactory

#: Each kind of call comes in each hundred.
CALLS = 1_000
RESTART_EVERY = 300
LOOK_EVERY = 100


def test_mixed_calls_while_the_node_restarts(fresh_node: NodeFactory) -> None:
    erlang = fresh_node()
    with closing(join(erlang, timeout=60, connect_timeout=60)) as node:
        node.ping()
        run = soak.Soak(erlang, node, calls=CALLS, restarts=RESTART_EVERY, look=LOOK_EVERY, rate=None)
        report = run.run()
        assert report.made.total() == CALLS
        assert set(report.made) == {name for name, *_ in soak.MIX}
        assert len(report.restarts) == (CALLS - 1) // RESTART_EVERY
        assert report.unexcused == []
        # One interval is looked at while calls are under way; all threads are over at the last one.
        assert {interval.threads for interval in report.intervals[:-1]} == {report.intervals[0].threads}
        assert report.intervals[-1].threads == report.intervals[0].threads - soak.THREADS
        assert max(interval.files for interval in report.intervals) <= report.intervals[0].files + 2
