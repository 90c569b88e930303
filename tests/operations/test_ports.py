"""What nodes listen on, by made-up answers."""

from __future__ import annotations

from typing import Any

import pytest

from iris_admin.errors import NodeDown
from iris_admin.operations.local_steps import Door, Knock, Knocked
from iris_admin.operations.ports import ListeningPort, connect_host, listening, ports
from iris_admin.operations.results import Table
from iris_admin.operations.steps import Call, Step
from iris_admin.terms import Atom, Pid, Term, charlist
from tests.operations.conftest import Run
from tests.operations.test_figures import CORE, EDGE

UNDEFINED = Atom("undefined")
ALL, LOOPBACK = (0, 0, 0, 0), (127, 0, 0, 1)


def pid(number: int) -> Pid:
    return Pid(Atom("edge@db1"), number, 0, 1)


CLIENTS, WEBSOCKET, NET_KERNEL, STRANGER = map(pid, (1, 2, 3, 4))


def socket(port: int, owner: Pid, *, address: Term = ALL, name: str = "undefined", connections: int = 0) -> Term:
    return address, port, owner, Atom(name), Atom("undefined"), connections


def answer(*found: Term, applications: Any = EDGE, children: Any = None, env: Any = (), users: Any = 2) -> Term:
    if children is None:
        children = [(Atom("iris_tcp_listener"), CLIENTS), (Atom("iris_ws_listener"), WEBSOCKET)]
    return Atom("edge@db1"), charlist("1"), applications, users, list(env), children, NET_KERNEL, list(found), 9, 9


class Asking(Run):
    """Answers one node, and knocks.

    :param node: what the node says, or the error.
    :param knocked: what comes of each door, by its port.
    """

    def __init__(self, node: Any, **knocked: Knocked) -> None:
        super().__init__(self._one)
        self._node = node
        self._knocked = {int(port.removeprefix("port")): outcome for port, outcome in knocked.items()}
        self.doors: list[Door] = []

    def _one(self, call: Call) -> Any:
        assert (call.module, call.function) == ("remote", "ports")
        return self._node

    def _perform(self, step: Step) -> Any:
        if isinstance(step, Knock):
            self.doors += step.doors
            return [self._knocked.get(door.port, Knocked(0.001)) for door in step.doors]
        return super()._perform(step)


def by_purpose(table: Table[ListeningPort]) -> dict[str | None, ListeningPort]:
    return {row.purpose: row for row in table}


class TestPurposes:
    def test_by_the_process_that_listens(self) -> None:
        node = answer(
            socket(9100, NET_KERNEL, name="net_kernel", connections=3),
            socket(7000, STRANGER, name="metrics"),
            socket(41000, WEBSOCKET, connections=1),
            socket(42000, CLIENTS, name="iris_edge_listener_42000", connections=5),
        )
        found = Asking(node)(listening("edge@db1"))
        assert [(row.purpose, row.port, row.connections, row.owner) for row in found.ports] == [
            ("clients", 42000, 5, "iris_edge_listener_42000"),
            ("WebSocket", 41000, 1, None),
            ("distribution", 9100, 3, "net_kernel"),
            ("other", 7000, 0, "metrics"),
        ]
        assert (found.role, found.users, found.sockets, found.counted) == ("edge", 2, 9, 9)

    @pytest.mark.parametrize(
        ("env", "websocket"),
        [
            ([(Atom("port"), 8085)], 8086),
            ([(Atom("port"), 8085), (Atom("ws_port"), 9000)], 9000),
        ],
    )
    def test_by_the_environment_where_the_supervisor_is_silent(self, env: Any, websocket: int) -> None:
        node = answer(socket(8085, STRANGER), socket(websocket, STRANGER), children=[], env=env)
        found = by_purpose(Asking(node)(listening()).ports)
        assert (found["clients"].port, found["WebSocket"].port) == (8085, websocket)

    def test_listener_that_is_down(self) -> None:
        node = answer(socket(41000, WEBSOCKET), env=[(Atom("port"), 8085)])
        row = by_purpose(Asking(node)(listening()).ports)["clients"]
        assert (row.listening, row.port, row.connections) == (False, 8085, None)
        assert row.problem == "nothing listens on port 8085 for clients: the edge's listener is down"

    def test_listener_of_unknown_port_that_is_down(self) -> None:
        found = by_purpose(Asking(answer(env=[(Atom("port"), 0)]))(listening()).ports)
        assert (found["clients"].port, found["WebSocket"].port) == (None, None)
        assert str(found["WebSocket"].problem).startswith("nothing listens for WebSocket")

    def test_core_is_not_expected_to_serve_clients(self) -> None:
        found = Asking(answer(applications=CORE, children=[], users=UNDEFINED))(listening())
        assert (len(found.ports), found.role, found.users) == (0, "core", None)

    def test_node_that_does_not_say_what_runs(self) -> None:
        assert Asking(answer(applications=UNDEFINED))(listening()).role is None

    @pytest.mark.parametrize(
        ("address", "text"),
        [(ALL, "0.0.0.0"), ((0,) * 8, "::"), ((0x2001, 0xDB8, 0, 0, 0, 0, 0, 1), "2001:db8::1"), (Atom("any"), None)],
    )
    def test_addresses(self, address: Term, text: str | None) -> None:
        (row,) = Asking(answer(socket(9100, NET_KERNEL, address=address), applications=[]))(listening()).ports
        assert row.address == text


class TestTrying:
    def test_every_door_in_its_own_way(self) -> None:
        node = answer(
            socket(42000, CLIENTS), socket(41000, WEBSOCKET), socket(9100, NET_KERNEL), socket(7000, STRANGER)
        )
        run = Asking(node, port4369=Knocked(0.002, names={"edge": 9100}))
        found = by_purpose(run(ports(["edge@db1"], epmd_port=4369)))
        assert run.doors == [Door("db1", 42000), Door("db1", 41000, "websocket"), Door("db1", 4369, "epmd")]
        assert (found["clients"].reachable, found["clients"].connect_seconds) == (True, 0.001)
        # We talk to the node by that port already.
        assert (found["distribution"].reachable, found["distribution"].connect_seconds) == (True, None)
        # Nobody knows what a mere connection does there.
        assert found["other"].reachable is None
        assert (found["EPMD"].node, found["EPMD"].host, found["EPMD"].listening) == (None, "db1", True)

    def test_tls_is_not_talked_to_in_clear(self) -> None:
        node = answer(socket(42000, CLIENTS), socket(41000, WEBSOCKET), env=[(Atom("tls_enabled"), True)])
        run = Asking(node)
        found = by_purpose(run(ports(["edge@db1"])))
        assert [door.kind for door in run.doors] == ["tcp", "tcp"]
        assert (found["clients"].tls, found["WebSocket"].tls) == (True, True)

    def test_what_is_not_reached(self) -> None:
        node = answer(socket(42000, CLIENTS, address=LOOPBACK), socket(41000, WEBSOCKET))
        refused = Knocked(None, "connection refused")
        found = by_purpose(Asking(node, port42000=refused, port41000=refused)(ports(["edge@db1"])))
        assert found["clients"].problem == (
            "connection refused; it listens on 127.0.0.1 only, for programs on its own machine"
        )
        assert (found["WebSocket"].problem, found["WebSocket"].reachable) == ("connection refused", False)

    def test_epmd_that_is_down(self) -> None:
        run = Asking(answer(applications=[]), port4369=Knocked(None, "EPMD on db1:4369 does not answer"))
        (row,) = run(ports(["edge@db1"], epmd_port=4369))
        assert (row.listening, row.reachable, row.problem) == (None, False, "EPMD on db1:4369 does not answer")

    def test_node_that_is_down_is_no_end_of_the_others(self) -> None:
        def one(call: Call) -> Any:
            if call.node == "down@db2":
                raise NodeDown("gone", node="down@db2")
            return answer(socket(9100, NET_KERNEL), applications=[])

        rows = Run(one)(ports(["down@db2", "edge@db1"]))
        assert [(row.node, row.purpose, row.problem) for row in rows] == [
            ("down@db2", None, "gone"),
            ("edge@db1", "distribution", None),
        ]

    @pytest.mark.parametrize(("address", "host"), [(ALL, "db1"), (LOOPBACK, "db1"), ((10, 0, 0, 7), "10.0.0.7")])
    def test_where_clients_connect_to(self, address: Term, host: str) -> None:
        row = by_purpose(Asking(answer(socket(42000, CLIENTS, address=address)))(listening()).ports)["clients"]
        assert connect_host(row) == host
