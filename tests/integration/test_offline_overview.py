"""Summary, list and duplicates, held against a model of the table in Python, whatever the size of a chunk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from demo_cluster import DemoCluster
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import iris_admin
from iris_admin.cluster import Cluster
from iris_admin.errors import NotApplicable, UnsafeOperation
from iris_admin.operations import offline_summary
from iris_admin.operations.offline import iso_time
from iris_admin.syntax import format_term
from iris_admin.terms import Atom, Term

OFFLINE_MSG = Atom("offline_msg")


@dataclass(frozen=True)
class Row:
    """A row of offline_msg."""

    user: bytes
    bucket: int | None
    timestamp: int
    messages: tuple[bytes, ...] | bytes

    @property
    def key(self) -> Term:
        return self.user if self.bucket is None else (self.user, self.bucket)

    @property
    def term(self) -> Term:
        messages = list(self.messages) if isinstance(self.messages, tuple) else self.messages
        return (OFFLINE_MSG, self.key, self.timestamp, messages)

    @property
    def payloads(self) -> tuple[bytes, ...]:
        return self.messages if isinstance(self.messages, tuple) else (self.messages,)


PAYLOADS = st.sampled_from([b"", b"a", b"b", b"\xff\x00", b"x" * 100])
ROWS = st.builds(
    Row,
    user=st.sampled_from([b"a", b"aa", b"ab", b"b", b"b\xff", b"b\xff\xff", b"c", b"\xff", b"\xff\xff", b"z\n"]),
    bucket=st.sampled_from([None, 0, 0, 0, 1, 15]),
    timestamp=st.integers(1, 50),
    messages=PAYLOADS | st.lists(PAYLOADS, max_size=3).map(tuple),
)
TABLES = st.frozensets(ROWS, max_size=40)
CHUNKS = st.sampled_from([1, 2, 3, 7, 5000])
_SETTINGS = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module", params=["disc_copies", "disc_only_copies"])
def demo(request: pytest.FixtureRequest) -> Iterator[DemoCluster]:
    """A cluster whose table is for these tests alone, in each place where Mnesia can keep it."""
    with DemoCluster(edges=1, hidden_edges=0) as demo:
        if request.param != "disc_copies":
            demo.cores[0].evaluate(
                f"{{atomic, ok}} = mnesia:change_table_copy_type(offline_msg, node(), {request.param})."
            )
        yield demo


@pytest.fixture(scope="module")
def cluster(demo: DemoCluster) -> Iterator[Cluster]:
    with iris_admin.connect_cluster(demo.seed, cookie_file=demo.cookie_file, epmd_port=demo.epmd_port) as cluster:
        yield cluster


def fill(demo: DemoCluster, rows: frozenset[Row]) -> None:
    terms = format_term([row.term for row in rows], width=None)
    demo.cores[0].evaluate(
        "{atomic, ok} = mnesia:clear_table(offline_msg), "
        f"lists:foreach(fun(Row) -> ok = mnesia:dirty_write(Row) end, {terms})."
    )


@contextmanager
def in_chunks(size: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(offline_summary, "CHUNK", size)
        yield


@_SETTINGS
@given(TABLES, CHUNKS)
@example(frozenset(), 1)
@example(frozenset(Row(b"a", None, number, b"") for number in range(20)), 3)
@example(frozenset(Row(b"a", number % 16, 1, bytes([number])) for number in range(40)), 2)
def test_summary(demo: DemoCluster, cluster: Cluster, rows: frozenset[Row], chunk: int) -> None:
    fill(demo, rows)
    with in_chunks(chunk):
        found = cluster.offline_summary(top=5)
    (store,) = found.stores
    assert (found.rows, store.rows_read, store.cut) == (len(rows), len(rows), False)
    assert store.messages == sum(len(row.payloads) for row in rows)
    assert store.payload_bytes == sum(len(payload) for row in rows for payload in row.payloads)
    assert store.users == len({row.user for row in rows})
    assert store.keys == len({row.key for row in rows})
    assert store.oldest == iso_time(min((row.timestamp for row in rows), default=None))
    expected = Counter(row.user for row in rows)
    assert [backlog.rows for backlog in found.largest] == sorted(expected.values(), reverse=True)[:5]
    for backlog in found.largest:
        of_user = [row for row in rows if row.user == backlog.user]
        assert backlog.rows == len(of_user)
        assert backlog.messages == sum(len(row.payloads) for row in of_user)
        assert backlog.bytes == sum(len(payload) for row in of_user for payload in row.payloads)
        assert backlog.keys == len({row.key for row in of_user})
        assert backlog.oldest == iso_time(min(row.timestamp for row in of_user))
        assert backlog.newest == iso_time(max(row.timestamp for row in of_user))
        assert backlog.scheme == {
            frozenset([True]): "bare",
            frozenset([False]): "bucketed",
        }.get(frozenset(row.bucket is None for row in of_user), "both")


@_SETTINGS
@given(
    TABLES,
    CHUNKS,
    st.sampled_from([b"", b"a", b"b", b"b\xff", b"\xff", b"\xff\xff", b"q"]),
    st.sampled_from([None, b"a", b"b\xff", b"\xff"]),
    st.integers(1, 4),
)
def test_list(
    demo: DemoCluster,
    cluster: Cluster,
    rows: frozenset[Row],
    chunk: int,
    prefix: bytes,
    after: bytes | None,
    limit: int,
) -> None:
    fill(demo, rows)
    with in_chunks(chunk):
        found = cluster.offline_list(prefix=prefix, after=after, limit=limit)
    users = sorted({row.user for row in rows})
    expected = [user for user in users if user.startswith(prefix) and (after is None or user > after)]
    assert [backlog.user for backlog in found.users] == expected[:limit]
    assert found.more == (len(expected) > limit)
    assert found.after == (expected[limit - 1] if len(expected) > limit else None)


@_SETTINGS
@given(TABLES, CHUNKS)
@example(frozenset([Row(b"a", None, 1, b""), Row(b"a", 0, 1, b""), Row(b"b", 0, 1, b"")]), 3)
@example(frozenset(Row(b"a", bucket, 1, b"") for bucket in range(16)), 5)
def test_duplicates(demo: DemoCluster, cluster: Cluster, rows: frozenset[Row], chunk: int) -> None:
    fill(demo, rows)
    with in_chunks(chunk):
        found = cluster.offline_duplicates()
        of_one = cluster.offline_duplicates(b"a")
    copies = Counter((row.user, payload) for row in rows for payload in row.payloads)
    several = {message: count for message, count in copies.items() if count > 1}
    assert found.rows_read == len(rows)
    assert found.messages == len(several)
    assert found.users == len({user for user, _ in several})
    assert found.surplus == sum(count - 1 for count in several.values())
    assert found.surplus_bytes == sum((count - 1) * len(payload) for (_, payload), count in several.items())
    assert sorted((each.user, each.copies, each.size) for each in found.duplicates) == sorted(
        (user, count, len(payload)) for (user, payload), count in several.items()
    )
    assert of_one.messages == sum(user == b"a" for user, _ in several)


def test_pages_follow_one_another(demo: DemoCluster, cluster: Cluster) -> None:
    fill(demo, frozenset(Row(b"user%03d" % number, 0, 1, b"") for number in range(25)))
    pages: list[list[bytes]] = []
    after = None
    while not pages or after is not None:
        page = cluster.offline_list(limit=10, after=after)
        pages.append([backlog.user for backlog in page.users])
        after = page.after
    assert [len(page) for page in pages] == [10, 10, 5]
    assert [user for page in pages for user in page] == [b"user%03d" % number for number in range(25)]


def test_digests_are_those_of_show(demo: DemoCluster, cluster: Cluster) -> None:
    fill(demo, frozenset(Row(b"a", 0, number, b"twice") for number in (1, 2)))
    demo.cores[0].evaluate('[mnesia:dirty_write({offline_msg, {<<"b">>, 0}, N, #{a => 1}}) || N <- [1, 2]].')
    for user in ("a", "b"):
        (found,) = cluster.offline_duplicates(user).duplicates
        assert {message.digest for message in cluster.offline_show(user).messages} == {found.digest}


def test_a_walk_that_runs_out_of_time_says_so(demo: DemoCluster, cluster: Cluster) -> None:
    fill(demo, frozenset(Row(b"user%d" % number, 0, 1, b"") for number in range(100)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(offline_summary, "CHUNK", 1)
        patch.setattr("iris_admin.operations.walk.SLICE_MS", 0)
        found = cluster.offline_summary(within=1e-6)
        page = cluster.offline_list(within=1e-6)
    assert found.cut
    assert found.rows == 100
    assert 0 < found.stores[0].rows_read < 10
    assert page.cut
    assert "stopped" in page.notes[0]


def test_no_process_stays_behind(demo: DemoCluster, cluster: Cluster) -> None:
    core = demo.cores[0]
    fill(demo, frozenset(Row(b"user%d" % number, 0, 1, b"") for number in range(100)))
    low = "[P || P <- processes(), process_info(P, priority) =:= {priority, low}]."
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(offline_summary, "CHUNK", 1)
        patch.setattr("iris_admin.operations.walk.SLICE_MS", 0)
        cluster.offline_summary(within=1e-6)
    assert core.evaluate(low) == "[]"
    assert core.evaluate("ets:info(offline_msg, safe_fixed).") in ("false", "undefined")


def test_a_walk_cannot_fill_the_node(demo: DemoCluster, cluster: Cluster) -> None:
    fill(demo, frozenset(Row(b"user%d" % number, 0, 1, b"") for number in range(100)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("iris_admin.operations.walk.MAX_HEAP", 1000)
        with pytest.raises(UnsafeOperation, match="memory"):
            cluster.offline_summary()


def test_what_waits_in_the_write_ahead_log(demo: DemoCluster, cluster: Cluster) -> None:
    fill(demo, frozenset())
    core = demo.cores[0]
    core.evaluate("application:set_env(iris_core, flush_interval_ms, 60000), iris_durable_batcher:force_flush().")
    core.evaluate('timer:sleep(600), iris_core:store_offline_durable(<<"a">>, <<"x">>).')
    try:
        found = cluster.offline_summary()
        assert [(waiting.core, waiting.rows) for waiting in found.waiting] == [(core.name, 1)]
        assert found.rows == 0
    finally:
        core.evaluate("application:set_env(iris_core, flush_interval_ms, 500), iris_durable_batcher:force_flush().")


def test_without_a_core(user: str) -> None:
    with (
        DemoCluster(edges=1, hidden_edges=0) as demo,
        iris_admin.connect_cluster(
            demo.edges[0].name, cookie_file=demo.cookie_file, epmd_port=demo.epmd_port
        ) as cluster,
    ):
        demo.kill_node(demo.cores[0])
        for question in (cluster.offline_summary, cluster.offline_list, cluster.offline_duplicates):
            with pytest.raises(NotApplicable, match="stores offline messages"):
                question()
        with pytest.raises(NotApplicable, match="core"):
            cluster.offline_clear_plan(user)
