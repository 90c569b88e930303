"""Presence of all users: what is stale, expired, missing or contradicting, over every edge, core and back end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from demo_cluster import DemoCluster

import iris_admin
from iris_admin import aio
from iris_admin.cluster import Cluster
from iris_admin.operations import presence_overview
from tests.support.demo import LogIn


@contextmanager
def joined(demo: DemoCluster, seed: str | None = None) -> Iterator[Cluster]:
    """A connection to every node of a demo cluster."""
    with iris_admin.connect_cluster(
        seed or demo.seed, cookie_file=demo.cookie_file, epmd_port=demo.epmd_port
    ) as cluster:
        yield cluster


@pytest.fixture(params=["ets", "mnesia"])
def demo(request: pytest.FixtureRequest) -> Iterator[DemoCluster]:
    """A cluster of its own with each back end, for its tables are counted."""
    with DemoCluster(core_env={"presence_backend": request.param}) as demo:
        demo.cores[0].backend = request.param  # type: ignore[attr-defined]
        yield demo


def make_entries_wrong(demo: DemoCluster) -> None:
    """Besides right ones, one of each kind."""
    core, edge = demo.cores[0], demo.edges[0]
    # On an edge, a process that is gone; on the core, a place that is no edge, for one who is connected elsewhere and
    # for one who is not; and nothing for somebody who is connected.
    edge.evaluate(
        "{P, M} = spawn_monitor(fun() -> ok end), receive {'DOWN', M, _, _, _} -> ok end, "
        'ets:insert(local_presence_v2, {<<"dead">>, P}).'
    )
    core.evaluate('[iris_core:register_user(U, node(), self()) || U <- [<<"moved">>, <<"ghost">>]].')
    core.evaluate('iris_presence:unregister(<<"lost">>), mnesia:dirty_delete(presence, <<"lost">>).')


def wait_until_registered(demo: DemoCluster, *users: str) -> None:
    """A login tells the core in the background."""
    names = ", ".join(f'<<"{user}">>' for user in users)
    demo.cores[0].evaluate(
        "Wait = fun Wait(U) -> case ets:member(presence_local, U) orelse mnesia:dirty_read(presence, U) =/= [] of "
        f"true -> ok; false -> timer:sleep(10), Wait(U) end end, lists:foreach(Wait, [{names}])."
    )


def test_what_is_wrong_is_counted_and_named(
    demo: DemoCluster, log_in: LogIn, log_in_by_websocket: Callable[..., object]
) -> None:
    for name, edge in (("right", demo.edges[0]), ("moved", demo.edges[0]), ("lost", demo.edges[-1])):
        log_in(edge, name)
    log_in_by_websocket(demo.edges[0], "web")
    wait_until_registered(demo, "right", "moved", "lost", "web")
    make_entries_wrong(demo)
    with joined(demo) as cluster:
        found = cluster.presence_summary()
        page = cluster.presence_list(limit=3)
        rest = cluster.presence_list(after=page.after)
    first, second = found.edges
    assert (first.entries, first.tcp, first.websocket, first.other, first.stale) == (4, 2, 1, 0, 1)
    assert (second.entries, second.tcp, second.stale) == (1, 1, 0)
    assert found.connections == 4
    (core,) = found.cores
    assert core.backend == demo.cores[0].backend  # type: ignore[attr-defined]
    assert (core.entries, core.looked_at) == (4, 4)
    assert (core.agrees, core.stale, core.contradicts, core.missing, core.cannot_tell) == (2, 1, 1, 1, 0)
    problems = {(problem.user, problem.verdict): problem.node for problem in found.problems}
    assert problems == {
        (b"dead", "stale"): demo.edges[0].name,
        (b"ghost", "stale"): demo.seed,
        (b"moved", "contradicts"): demo.seed,
        (b"lost", "missing"): demo.seed,
    }
    assert [presence.user for presence in page.users] == [b"dead", b"ghost", b"lost"]
    assert (page.more, page.after, rest.more) == (True, b"lost", False)
    verdicts = {presence.user: presence.beliefs[0].verdict for presence in (*page.users, *rest.users)}
    assert verdicts == {
        b"dead": "agrees",
        b"ghost": "stale",
        b"lost": "missing",
        b"moved": "contradicts",
        b"right": "agrees",
        b"web": "agrees",
    }
    assert page.users[0].connections[0].problem == "stale: the process is gone"


def test_the_list_agrees_with_show(demo: DemoCluster, log_in: LogIn) -> None:
    for name in ("a", "b"):
        log_in(demo.edges[0], name)
    log_in(demo.edges[1], "a")
    with joined(demo) as cluster:
        for presence in cluster.presence_list().users:
            shown = cluster.presence_show(presence.user)
            assert presence.connections == shown.connections
            assert [belief.verdict for belief in presence.beliefs] == [belief.verdict for belief in shown.beliefs]


def test_expired_entries(log_in: LogIn) -> None:
    with DemoCluster(edges=1, hidden_edges=0, core_env={"presence_expiry_ms": "1"}) as demo:
        log_in(demo.edges[0], "bob")
        wait_until_registered(demo, "bob")
        demo.cores[0].evaluate("timer:sleep(5).")
        with joined(demo) as cluster:
            found = cluster.presence_summary()
        (core,) = found.cores
        assert (core.expired, core.agrees, core.missing) == (1, 0, 1)
        assert {problem.verdict for problem in found.problems} == {"expired", "missing"}


def test_many_pieces(demo: DemoCluster, log_in: LogIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence_overview, "CHUNK", 2)
    for number in range(7):
        log_in(demo.edges[number % 2], f"user{number}")
    wait_until_registered(demo, *(f"user{number}" for number in range(7)))
    with joined(demo) as cluster:
        found = cluster.presence_summary()
        assert (found.connections, found.cores[0].agrees, found.cores[0].missing) == (7, 7, 0)
        assert [presence.user for presence in cluster.presence_list(prefix="user", limit=4).users] == [
            b"user0",
            b"user1",
            b"user2",
            b"user3",
        ]


def test_an_edge_that_does_not_answer(log_in: LogIn) -> None:
    with DemoCluster() as demo:
        log_in(demo.edges[1], "bob")
        wait_until_registered(demo, "bob")
        with joined(demo) as cluster:
            demo.kill_node(demo.edges[1])
            found = cluster.presence_summary()
            page = cluster.presence_list()
        assert [each.node for each in found.cannot_tell] == [demo.edges[1].name]
        assert (found.cores[0].cannot_tell, found.cores[0].stale) == (1, 0)
        (bob,) = page.users
        assert bob.online is None
        assert bob.beliefs[0].verdict == "cannot tell"


def test_an_edge_without_its_table(demo: DemoCluster) -> None:
    demo.edges[0].evaluate("ets:delete(local_presence_v2).")
    with joined(demo) as cluster:
        found = cluster.presence_summary()
        page = cluster.presence_list()
    assert [(each.node, each.reason) for each in found.cannot_tell] == [
        (demo.edges[0].name, "it has no table local_presence_v2")
    ]
    assert [each.node for each in page.cannot_tell] == [demo.edges[0].name]


class TestStuck:
    def test_who_is_connected_and_has_messages(
        self, demo_cluster: DemoCluster, log_in: LogIn, log_in_by_websocket: Callable[..., object]
    ) -> None:
        names = [f"stuck{number}" for number in range(4)]
        log_in(demo_cluster.edges[0], names[0])
        log_in(demo_cluster.edges[1], names[1])
        log_in_by_websocket(demo_cluster.edges[0], names[2])
        for name in names:
            demo_cluster.store(name, [b"1", b"2"])
        log_in(demo_cluster.edges[0], "stuck_not")
        with joined(demo_cluster) as cluster:
            found = cluster.stuck_users()
            assert [(user.user, user.edge, user.rows) for user in found.users if user.user.startswith(b"stuck")] == [
                (names[0].encode(), demo_cluster.edges[0].name, 2),
                (names[1].encode(), demo_cluster.edges[1].name, 2),
            ]
            outcomes = cluster.redeliver_all(*names[:2], names[3], "stuck_who")
            assert [outcome.to_dict().get("verdict") for outcome in outcomes] == [
                "delivered",
                "delivered",
                "user is offline",
                None,
            ]
            assert outcomes[3].to_dict()["error"] == "NoSuchUser"
            assert [user for user in cluster.stuck_users().users if user.user.startswith(b"stuck")] == []

    def test_users_are_served_once(self, demo_cluster: DemoCluster, user: str, log_in: LogIn) -> None:
        log_in(demo_cluster.edges[0], user)
        demo_cluster.store(user, [b"1"])
        with joined(demo_cluster) as cluster:
            assert len(cluster.redeliver_all(user, user.encode(), dry_run=True)) == 1


def test_the_awaiting_facade_gives_the_same(demo_cluster: DemoCluster, user: str, log_in: LogIn) -> None:
    log_in(demo_cluster.edges[0], user)
    demo_cluster.store(user, [b"1", b"1"])

    async def ask() -> list[object]:
        async with await aio.connect_cluster(
            demo_cluster.seed, cookie_file=demo_cluster.cookie_file, epmd_port=demo_cluster.epmd_port
        ) as cluster:
            return [
                (await cluster.offline_duplicates(user)).surplus,
                [backlog.rows for backlog in await cluster.offline_backlogs(user)],
                user.encode() in [backlog.user for backlog in (await cluster.offline_list(prefix=user)).users],
                (await cluster.offline_summary()).rows > 1,
                user.encode() in [stuck.user for stuck in (await cluster.stuck_users()).users],
                [presence.online for presence in (await cluster.presence_list(prefix=user)).users][:1],
                (await cluster.presence_summary()).connections > 0,
                (await cluster.user(user)).online,
                [each.to_dict()["verdict"] for each in await cluster.redeliver_all(user, dry_run=True)],
            ]

    assert asyncio.run(ask()) == [1, [2], True, True, True, [True], True, True, ["would deliver"]]
