"""Redelivery on the demo cluster: everything arrives, nothing is lost, and what cannot be done is said and left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from demo_cluster import DemoCluster

import iris_admin
from iris_admin.audit import read_audit
from iris_admin.backup import read_backup
from iris_admin.cluster import Cluster
from iris_admin.errors import NoSuchUser, NotApplicable, UnsafeOperation
from iris_admin.operations.redeliver import Verdict
from tests.support.demo import LogIn

PAYLOADS = [b"message %d" % number for number in range(100)]


@pytest.fixture(autouse=True)
def backup_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Backups of these tests go where they are removed."""
    monkeypatch.setenv("IRIS_ADMIN_BACKUP_DIR", str(tmp_path))
    return tmp_path


@contextmanager
def joined(demo: DemoCluster, seed: str | None = None) -> Iterator[Cluster]:
    """A connection to every node of a demo cluster."""
    with iris_admin.connect_cluster(
        seed or demo.seed, cookie_file=demo.cookie_file, epmd_port=demo.epmd_port
    ) as cluster:
        yield cluster


@pytest.fixture(params=["bucketed", "bare"])
def schema(request: pytest.FixtureRequest) -> str:
    """Both shapes of the key of ``offline_msg``."""
    return str(request.param)


@pytest.fixture(params=[False, True], ids=["safe procedure", "redeliver/1"])
def demo(request: pytest.FixtureRequest, schema: str, demo_cluster_with: Callable[..., DemoCluster]) -> DemoCluster:
    """A cluster of each schema, with and without ``redeliver/1``."""
    return demo_cluster_with(schema=schema, redeliver_exported=request.param)


def test_every_message_arrives_in_order_and_none_is_left(demo: DemoCluster, user: str, log_in: LogIn) -> None:
    client = log_in(demo.edges[-1], user)
    with joined(demo) as cluster:
        demo.store(user, PAYLOADS)
        result = cluster.redeliver(user)
        assert [message.payload for message in client.wait_for(len(PAYLOADS))] == PAYLOADS
    assert result.verdict is Verdict.DELIVERED
    assert result.method == ("redeliver/1" if demo.redeliver_exported else "safe procedure")
    assert (result.stored_before, result.stored_after) == (len(PAYLOADS), 0)
    assert demo.stored(user) == []


def test_nothing_is_lost_when_the_client_hangs_up(demo: DemoCluster, user: str, log_in: LogIn) -> None:
    client = log_in(demo.edges[-1], user, hang_up_after=40)
    with joined(demo) as cluster:
        demo.store(user, PAYLOADS)
        result = cluster.redeliver(user)
        client.wait_closed()
        received = [message.payload for message in client.received]
    stored = demo.stored(user)
    assert result.verdict is Verdict.PARTLY_DELIVERED
    assert set(PAYLOADS) == {*received, *stored}
    # Of the message that was under way it cannot be known whether its acknowledgement counted.
    assert len(stored) <= len(PAYLOADS) - 40 + 1


def test_the_backup_holds_the_records(
    demo_cluster: DemoCluster, user: str, log_in: LogIn, backup_directory: Path
) -> None:
    log_in(demo_cluster.edges[0], user)
    with joined(demo_cluster) as cluster:
        demo_cluster.store(user, PAYLOADS[:3])
        result = cluster.redeliver(user)
    assert result.backup is not None
    assert result.backup.parent == backup_directory
    assert [record[3] for record in read_backup(result.backup)] == PAYLOADS[:3]


def test_it_is_in_the_audit_file(demo: DemoCluster, user: str, log_in: LogIn) -> None:
    with log_in(demo.edges[0], user), joined(demo) as cluster:
        cluster.redeliver(user)
        demo.store(user, PAYLOADS[:3])
        before = len(read_audit().entries)
        cluster.redeliver(user, dry_run=True)
        assert len(read_audit().entries) == before
        result = cluster.redeliver(user)
    (entry,) = read_audit().entries[before:]
    fate = "delivered by Iris" if demo.redeliver_exported else "acknowledged"
    assert (entry.command, entry.node, entry.outcome) == ("redeliver", demo.seed, f"delivered: 3 {fate}")
    assert entry.plan["user"] == user
    assert entry.backup == str(result.backup)


def test_from_a_hidden_edge_as_seed(demo_cluster: DemoCluster, user: str, log_in: LogIn) -> None:
    log_in(demo_cluster.edges[0], user)
    with joined(demo_cluster, demo_cluster.edges[-1].name) as cluster:
        demo_cluster.store(user, PAYLOADS[:3])
        assert cluster.redeliver(user).verdict is Verdict.DELIVERED


def test_a_dry_run_changes_nothing(demo_cluster: DemoCluster, user: str, log_in: LogIn, backup_directory: Path) -> None:
    client = log_in(demo_cluster.edges[0], user)
    with joined(demo_cluster) as cluster:
        demo_cluster.store(user, PAYLOADS[:3])
        result = cluster.redeliver(user, dry_run=True)
        assert client.received == []
    assert result.verdict is Verdict.WOULD_DELIVER
    assert result.fates == {"not sent": 3}
    assert demo_cluster.stored(user) == PAYLOADS[:3]
    assert list(backup_directory.iterdir()) == []


def test_a_user_who_is_offline(demo_cluster: DemoCluster, user: str, backup_directory: Path) -> None:
    demo_cluster.store(user, PAYLOADS[:3])
    with joined(demo_cluster) as cluster:
        result = cluster.redeliver(user)
    assert result.verdict is Verdict.OFFLINE
    assert demo_cluster.stored(user) == PAYLOADS[:3]
    assert list(backup_directory.iterdir()) == []


def test_a_user_on_a_websocket(
    demo_cluster: DemoCluster, user: str, log_in_by_websocket: Callable[..., object]
) -> None:
    log_in_by_websocket(demo_cluster.edges[0], user)
    demo_cluster.store(user, PAYLOADS[:3])
    with joined(demo_cluster) as cluster:
        result = cluster.redeliver(user)
    assert result.verdict is Verdict.WEBSOCKET
    assert demo_cluster.stored(user) == PAYLOADS[:3]


def test_a_user_with_nothing_stored(demo_cluster: DemoCluster, user: str, log_in: LogIn) -> None:
    log_in(demo_cluster.edges[0], user)
    with joined(demo_cluster) as cluster:
        assert cluster.redeliver(user).verdict is Verdict.NOTHING_STORED


def test_a_user_whom_nobody_knows(demo_cluster: DemoCluster, user: str) -> None:
    with joined(demo_cluster) as cluster, pytest.raises(NoSuchUser, match=user):
        cluster.redeliver(user)


def test_a_client_that_never_acknowledges(
    demo_cluster_with: Callable[..., DemoCluster], user: str, log_in: LogIn
) -> None:
    demo = demo_cluster_with(ack_timeout_ms=1000)
    log_in(demo.edges[0], user, auto_ack=False)
    with joined(demo) as cluster:
        demo.store(user, PAYLOADS[:5])
        result = cluster.redeliver(user)
    # This edge gives up after a second, so each was released without an acknowledgement, and stored again.
    assert result.verdict is Verdict.NOT_DELIVERED
    assert result.fates == {"stored again": 5}
    assert sorted(demo.stored(user)) == sorted(PAYLOADS[:5] * 2)


def test_a_batch_is_unpacked_and_deleted_when_all_of_it_is_acknowledged(
    demo_cluster: DemoCluster, user: str, log_in: LogIn
) -> None:
    client = log_in(demo_cluster.edges[0], user)
    with joined(demo_cluster) as cluster:
        demo_cluster.cores[0].evaluate(f'iris_core:store_batch(<<"{user}">>, [<<"one">>, <<"two">>]).')
        result = cluster.redeliver(user)
        assert sorted(message.payload for message in client.wait_for(2)) == [b"one", b"two"]
    assert result.verdict is Verdict.DELIVERED
    assert demo_cluster.stored(user) == []


def test_what_is_no_binary_is_left_where_it_is(demo_cluster: DemoCluster, user: str, log_in: LogIn) -> None:
    core = demo_cluster.cores[0]
    client = log_in(demo_cluster.edges[0], user)
    with joined(demo_cluster) as cluster:
        demo_cluster.store(user, PAYLOADS[:1])
        core.evaluate(f'mnesia:dirty_write({{offline_msg, {{<<"{user}">>, 0}}, 1, #{{a => 1}}}}).')
        result = cluster.redeliver(user)
        assert client.wait_for(1)[0].payload == PAYLOADS[0]
        assert client.connected
    assert result.fates == {"acknowledged": 1, "cannot be sent": 1}
    assert core.evaluate(f'mnesia:dirty_read(offline_msg, {{<<"{user}">>, 0}}).') == (
        f'[{{offline_msg,{{<<"{user}">>,0}},1,#{{a => 1}}}}]'
    )


def test_equal_messages_are_each_delivered(demo_cluster: DemoCluster, user: str, log_in: LogIn) -> None:
    client = log_in(demo_cluster.edges[0], user)
    with joined(demo_cluster) as cluster:
        demo_cluster.store(user, [b"again"] * 5)
        result = cluster.redeliver(user)
        client.wait_for(5)
    assert result.fates == {"acknowledged": 5}
    assert demo_cluster.stored(user) == []


def test_a_running_core_that_cannot_be_reached_stops_it(user: str, log_in: LogIn) -> None:
    with DemoCluster(cores=2) as demo, joined(demo) as cluster:
        log_in(demo.edges[0], user)
        demo.store(user, PAYLOADS[:3])
        other = demo.cores[1].name
        cluster.node(other).close()
        with pytest.raises(UnsafeOperation, match=other):
            cluster.redeliver(user)


def test_a_cluster_without_a_core(user: str) -> None:
    with DemoCluster() as demo, joined(demo, demo.edges[0].name) as cluster:
        demo.kill_node(demo.cores[0])
        with pytest.raises(NotApplicable, match="core"):
            cluster.redeliver(user)


def test_the_edge_is_killed_while_it_delivers(user: str, log_in: LogIn) -> None:
    with DemoCluster() as demo, joined(demo) as cluster:
        client = log_in(demo.edges[0], user, auto_ack=False)
        demo.store(user, PAYLOADS[:3])

        def kill_when_it_arrives() -> None:
            client.receive()
            demo.kill_node(demo.edges[0])

        with ThreadPoolExecutor(1) as pool:
            killed = pool.submit(kill_when_it_arrives)
            result = cluster.redeliver(user)
            killed.result()
        assert result.verdict is Verdict.NOT_DELIVERED
        assert result.stored_after == 3
        assert sorted(demo.stored(user)) == sorted(PAYLOADS[:3])
