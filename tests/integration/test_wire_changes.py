"""Redeliver and clear over a wire that fails at some frame: an error in time, and no message is lost."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from demo_cluster import DemoCluster

import iris_admin
from iris_admin.backup import open_backup
from iris_admin.cluster import Cluster
from iris_admin.errors import IrisAdminError
from iris_admin.operations.offline import payloads_of
from iris_admin.proto import epmd
from iris_admin.transport.dialing import query_epmd
from tests.support.demo import LogIn
from tests.support.failures import SLACK
from tests.support.faults import CONNECT_TIMEOUT, FAULTS, NET_TICKTIME, UNTIL_NOTICED
from tests.support.proxy import Direction, EpmdProxy, Fault, Kind, Proxy
from tests.support.signals import Scene

#: Of each fault, at frames drawn at random, always the same ones.
MOMENTS = 1
MESSAGES = 60
#: Of the nodes.
DEMO_NET_TICKTIME = 4
_KINDS: tuple[Kind, ...] = tuple(dict.fromkeys(kind for _, kind, _ in FAULTS if kind != "throttle"))


class Wires:
    """A proxy in front of every node of a demo cluster, and an EPMD that leads there."""

    def __init__(self, demo: DemoCluster, proxies: dict[str, Proxy], epmd_proxy: EpmdProxy) -> None:
        self.demo = demo
        self.proxies = proxies
        self.epmd = epmd_proxy

    @contextmanager
    def joined(self) -> Iterator[Cluster]:
        with iris_admin.connect_cluster(
            self.demo.seed,
            cookie_file=self.demo.cookie_file,
            epmd_port=self.epmd.port,
            connect_timeout=CONNECT_TIMEOUT,
            net_ticktime=NET_TICKTIME,
        ) as cluster:
            yield cluster

    def frames(self) -> dict[tuple[str, Direction], int]:
        """How many frames each connection has carried."""
        directions: tuple[Direction, Direction] = ("up", "down")
        return {(name, way): proxy.frames(way) for name, proxy in self.proxies.items() for way in directions}


@contextmanager
def wires_to(demo: DemoCluster) -> Iterator[Wires]:
    reply = query_epmd("127.0.0.1", demo.epmd_port, epmd.names_request(), time.monotonic() + 10)
    ports = {f"{name}@localhost": port for name, port in epmd.read_names_response(reply).items()}
    proxies = {name: Proxy(port) for name, port in ports.items()}
    with EpmdProxy(demo.epmd_port, {ports[name]: proxy.port for name, proxy in proxies.items()}) as epmd_proxy:
        try:
            yield Wires(demo, proxies, epmd_proxy)
        finally:
            for proxy in proxies.values():
                proxy.close()


@pytest.fixture(scope="module")
def demo(demo_cluster_with: Callable[..., DemoCluster]) -> DemoCluster:
    return demo_cluster_with(net_ticktime=DEMO_NET_TICKTIME)


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IRIS_ADMIN_BACKUP_DIR", str(tmp_path))
    monkeypatch.setenv("IRIS_ADMIN_AUDIT_FILE", str(tmp_path / "audit.jsonl"))
    return tmp_path


def store(demo: DemoCluster, user: str) -> list[bytes]:
    messages = [f"{user} {number}".encode() for number in range(MESSAGES)]
    demo.store(user, messages)
    return messages


def play(wires: Wires, operation: Callable[[Cluster], object], fault_at: tuple[str, Fault] | None) -> bool:
    """Run an operation, during which a fault happens to one node's connection; whether it succeeded."""
    with wires.joined() as cluster:
        if fault_at is not None:
            wires.proxies[fault_at[0]].arm_now(fault_at[1])
        start = time.monotonic()
        error = None
        try:
            operation(cluster)
        except IrisAdminError as raised:
            error = raised
        # Every step that tidies up may run into a time-out of its own.
        assert time.monotonic() - start < 3 * (UNTIL_NOTICED + CONNECT_TIMEOUT) + SLACK
    # An operation that looks at several nodes names them in its text.
    assert error is None or ("@localhost" in f"{error.node} {error}" and error.hint)
    return error is None


def draw(wires: Wires, operation: Callable[[Cluster], object], kind: Kind, choice: random.Random) -> tuple[str, Fault]:
    """A fault at one of the frames that an operation takes when nothing is wrong."""
    with wires.joined() as cluster:
        before = wires.frames()
        operation(cluster)
        carried = {where: count - before[where] for where, count in wires.frames().items() if count > before[where]}
    (name, direction), count = choice.choice(sorted(carried.items()))
    return name, Fault(kind, direction, choice.randrange(count), 4, seconds=0.3)


def assert_nothing_runs_on(demo: DemoCluster, tmp_path: Path) -> None:
    """The nodes end what is left of us by themselves, though the connections are held open."""
    scene = Scene(demo, tmp_path)
    deadline = time.monotonic() + DEMO_NET_TICKTIME * 1.25 + SLACK
    while (found := scene.foreign_work()) != ["{[],[]}"] * len(demo.nodes):
        assert time.monotonic() < deadline, found


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("moment", range(MOMENTS))
def test_clear(demo: DemoCluster, directory: Path, user: str, kind: Kind, moment: int) -> None:
    def clear(cluster: Cluster) -> None:
        cluster.offline_clear(cluster.offline_clear_plan(user))

    with wires_to(demo) as wires:
        store(demo, user)
        name, fault = draw(wires, clear, kind, random.Random(f"clear {kind} {moment}"))
        for path in directory.glob("*.backup"):
            path.unlink()
        messages = store(demo, user)
        is_done = play(wires, clear, (name, fault))
        left = Counter(demo.stored(user))
        assert not left - Counter(messages)
        assert not (is_done and left)
        backups = list(directory.glob("*.backup"))
        kept = {payload for path in backups for record in open_backup(path) for payload in payloads_of(record)}
        assert set(messages) - set(left) <= kept
        for proxy in wires.proxies.values():
            proxy.heal()
        with wires.joined() as cluster:
            for path in backups:
                cluster.offline_restore(path)
        assert Counter(demo.stored(user)) == Counter(messages)
        assert_nothing_runs_on(demo, directory)


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("moment", range(MOMENTS))
def test_redeliver(demo: DemoCluster, directory: Path, user: str, log_in: LogIn, kind: Kind, moment: int) -> None:
    client = log_in(demo.edges[moment % 2], user)

    def redeliver(cluster: Cluster) -> None:
        cluster.redeliver(user)

    with wires_to(demo) as wires:
        before = store(demo, user)
        name, fault = draw(wires, redeliver, kind, random.Random(f"redeliver {kind} {moment}"))
        messages = [*before, *(payload + b" again" for payload in before)]
        demo.store(user, messages[len(before) :])
        play(wires, redeliver, (name, fault))
        for proxy in wires.proxies.values():
            proxy.heal()
        # What the edge was handed is delivered still; the rest is stored still.
        deadline = time.monotonic() + SLACK
        while {message.payload for message in client.received} | set(demo.stored(user)) != set(messages):
            assert time.monotonic() < deadline, "a message was lost"
        with wires.joined() as cluster:
            while demo.stored(user):
                cluster.redeliver(user)
        assert {message.payload for message in client.received} == set(messages)
        assert_nothing_runs_on(demo, directory)
