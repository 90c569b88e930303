"""What happens to the wire (see ``tests/support/proxy.py``), at every step of a session, and what must come of it.

:data:`CASES` is shared by the tests and ``tests/failure_table.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from iris_admin.client import Node, node_at
from iris_admin.errors import (
    CallTimeout,
    CookieMismatch,
    EpmdUnreachable,
    HandshakeRefused,
    HandshakeTimeout,
    IrisAdminError,
    NodeDown,
    NodeNotFound,
    NotAnErlangNode,
    ProtocolError,
)
from iris_admin.terms import Atom
from tests.support.erlang import ErlangNode
from tests.support.proxy import Direction, EpmdProxy, Fault, Kind, Proxy

#: In seconds: of the client, and of the node (which wants an integer).
CONNECT_TIMEOUT = 0.8
CALL_TIMEOUT = 0.8
NET_TICKTIME = 2
#: Of the node, likewise; it gives up a handshake after ``net_setuptime``.
NODE_OPTIONS = ("-kernel", "net_setuptime", "2")
#: When silence is noticed at the latest, by us or by the node, without what a busy machine adds.
UNTIL_NOTICED = NET_TICKTIME * 1.25

#: A row as long as a stored message's; 100,000 of them make 25 MB.
_ROW = (Atom("offline_msg"), (b"somebody", 0), 1_700_000_000_000, b"x" * 200)
_LARGE = 100_000


@dataclass(frozen=True)
class Step:
    """A moment of a session.

    :param what: in words.
    :param act: what is done; gives None, or what is wrong with its result.
    :param direction: of the frame that the fault happens to.
    :param frame: which one; of a connection, or behind the moment at which it stands idle.
    :param wire: ``epmd`` or ``node``.
    :param is_joined: whether the connection stands already.
    :param at: the byte of the frame that is its type, behind its length.
    """

    what: str
    act: Callable[[Node], str | None]
    direction: Direction
    frame: int
    wire: str = "node"
    is_joined: bool = False
    at: int = 2
    rate: int = 2000


def _compare(found: object, expected: object) -> str | None:
    return None if found == expected else f"a wrong answer: {found!r}"[:200]


def _connect(node: Node) -> str | None:
    node.reconnect()
    return None


def _call(node: Node) -> str | None:
    return _compare(node.call("timer", "sleep", 50, timeout=CALL_TIMEOUT), Atom("ok"))


def _fetch(node: Node) -> str | None:
    rows = node.call("lists", "duplicate", _LARGE, _ROW, timeout=CALL_TIMEOUT + UNTIL_NOTICED)
    return _compare(len(rows), _LARGE) or _compare(set(rows), {_ROW})


STEPS = (
    Step("EPMD: our question", _connect, "up", 0, "epmd"),
    Step("EPMD: its answer", _connect, "down", 0, "epmd", at=1),
    Step("handshake: our name", _connect, "up", 0),
    Step("handshake: the node's status", _connect, "down", 0),
    Step("handshake: its challenge", _connect, "down", 1),
    Step("handshake: our digest", _call, "up", 1),
    Step("handshake: its digest", _call, "down", 2),
    Step("call: the request", _call, "up", 0, is_joined=True, at=4),
    Step("call: the process's id", _call, "down", 0, is_joined=True, at=4),
    Step("call: the answer", _call, "down", 1, is_joined=True, at=4),
    Step("25 MB reply, in the middle", _fetch, "down", 150, is_joined=True, at=4, rate=4_000_000),
)

#: In the order of the table: a name for each, its kind, and whether it happens to the frame's length, not its type.
FAULTS: tuple[tuple[str, Kind, bool], ...] = (
    ("delayed by 0.3 s", "delay", False),
    ("throttled", "throttle", False),
    ("sent twice", "duplicate", False),
    ("FIN", "end", False),
    ("RST", "reset", False),
    ("swallowed, one way", "swallow", False),
    ("swallowed, both ways", "silence", False),
    ("type damaged", "corrupt", False),
    ("length damaged", "corrupt", True),
)


@dataclass(frozen=True)
class Case:
    """A fault at a step.

    :param error: what must come of it; None for the right answer.
    """

    step: Step
    name: str
    kind: Kind
    is_about_length: bool
    error: type[IrisAdminError] | None

    def __str__(self) -> str:
        return f"{self.step.what}, {self.name}"

    @property
    def fault(self) -> Fault:
        """As the proxy takes it."""
        step = self.step
        # Where a frame is cut, half a frame has arrived; what comes later or slowly comes so from its beginning.
        is_whole = self.is_about_length or self.kind in ("delay", "throttle", "duplicate")
        return Fault(self.kind, step.direction, step.frame, 0 if is_whole else step.at, rate=step.rate)

    @property
    def within(self) -> float:
        """When it must have ended, in seconds, without what a busy machine adds."""
        return CONNECT_TIMEOUT + CALL_TIMEOUT + UNTIL_NOTICED

    @property
    def outcomes(self) -> tuple[type[IrisAdminError] | None, ...]:
        """``error``, and what may come in its place."""
        if self.kind == "duplicate" and self.step.wire == "epmd" and self.step.direction == "up":
            # EPMD answers the first question and hangs up on the second, which may tear down its answer.
            return None, EpmdUnreachable
        if self.kind == "duplicate" and self.error is CookieMismatch:
            # The node closes on the second name, and if our digest has come by then, not in order.
            return CookieMismatch, HandshakeRefused
        return (self.error,)


class Stage:
    """A node behind proxies, and what becomes of clients that reach it through them.

    :param node: with a ``net_ticktime`` of :data:`NET_TICKTIME`, and with :data:`NODE_OPTIONS`.
    """

    def __init__(self, node: ErlangNode) -> None:
        self.node = node

    @contextmanager
    def proxies(self) -> Iterator[tuple[Proxy, EpmdProxy]]:
        """In front of the node, and an EPMD that leads there."""
        assert self.node.epmd_port is not None
        with Proxy(self.node.port) as proxy, EpmdProxy(self.node.epmd_port, {self.node.port: proxy.port}) as epmd:
            yield proxy, epmd

    @contextmanager
    def client(self, epmd: EpmdProxy) -> Iterator[Node]:
        """One that has not connected yet."""
        with node_at(
            self.node.name,
            cookie=self.node.cookie,
            epmd_port=epmd.port,
            connect_timeout=CONNECT_TIMEOUT,
            net_ticktime=NET_TICKTIME,
        ) as node:
            yield node

    def play(self, case: Case) -> Outcome:
        """Have it happen while another call waits; then let the wire be whole, and see whether the same client finds
        its way back, and whether the node ends what ran there. What a fault holds open stays open until then.
        """
        before = self.processes()
        with self.proxies() as (proxy, epmd), self.client(epmd) as node:
            hit = epmd if case.step.wire == "epmd" else proxy
            waiting = None
            if case.step.is_joined:
                waiting = node.submit("timer", "sleep", 60_000, timeout=60)
                node.ping()
                hit.arm_now(case.fault)
            else:
                hit.arm(case.fault)
            error, wrong, seconds = None, None, 0.0
            start = time.monotonic()
            try:
                wrong = case.step.act(node)
            except Exception as raised:
                error = raised
            seconds = time.monotonic() - start
            has_fired = hit.has_fired.is_set()
            hit.heal()
            back_after, between = self._come_back(node)
            if waiting is not None:
                waiting.cancel()
            node.close()
            return Outcome(error, wrong, seconds, has_fired, back_after, between, self._until_ended(before))

    def processes(self) -> str:
        """What there is on the node that a client can leave there, as its own console tells."""
        return self.node.evaluate(
            "{erlang:system_info(process_count), erlang:system_info(port_count), length(ets:all()), nodes(connected)}"
        )

    def _until_ended(self, before: str) -> float | None:
        """Seconds until only that is there again that was; None where something stays."""
        start = time.monotonic()
        while self.processes() != before:
            if time.monotonic() - start > 4 * UNTIL_NOTICED:
                return None
            time.sleep(0.02)
        return time.monotonic() - start

    def _come_back(self, node: Node) -> tuple[float, list[Exception]]:
        """Until the next call works: the seconds, and the errors in between."""
        between: list[Exception] = []
        start = time.monotonic()
        while time.monotonic() - start < 4 * UNTIL_NOTICED:
            try:
                if node.call("erlang", "abs", -1, timeout=CALL_TIMEOUT) == 1:
                    break
            except Exception as error:
                between.append(error)
        return time.monotonic() - start, between


@dataclass(frozen=True)
class Outcome:
    """What came of a case.

    :param error: what was raised, or None.
    :param wrong: a wrong answer, or None.
    :param seconds: how long it took.
    :param has_fired: whether the fault has happened at all.
    :param back_after: seconds until a call of the same client worked again.
    :param between: what its calls raised until then.
    :param remote_ended_after: seconds from the client's leaving until nothing of it was left on the node; None where
        something stayed.
    """

    error: Exception | None
    wrong: str | None
    seconds: float
    has_fired: bool
    back_after: float
    between: list[Exception]
    remote_ended_after: float | None

    @property
    def kind(self) -> type[Exception] | None:
        """Of the error."""
        return None if self.error is None else type(self.error)


#: For each step what must come of each fault, in the order of :data:`FAULTS`; None is the right answer. Two things
#: explain the rest: a connection that ends in order while our digest is under way looks like a cookie that does not
#: match, for that is how a node says so; and what is sent twice in the handshake is no handshake, or shifts the frames
#: behind it.
_EXPECTED: tuple[tuple[type[IrisAdminError] | None, ...], ...] = (
    (None, None, None, *[EpmdUnreachable] * 6),
    (None, None, None, *[EpmdUnreachable] * 4, NodeNotFound, EpmdUnreachable),
    (None, None, CookieMismatch, *[HandshakeRefused] * 2, *[HandshakeTimeout] * 2, HandshakeRefused, HandshakeTimeout),
    *[(None, None, NotAnErlangNode, *[HandshakeRefused] * 2, *[HandshakeTimeout] * 2, *[NotAnErlangNode] * 2)] * 2,
    (
        None,
        None,
        CallTimeout,
        CookieMismatch,
        HandshakeRefused,
        *[HandshakeTimeout] * 2,
        CookieMismatch,
        HandshakeTimeout,
    ),
    (None, None, CallTimeout, *[HandshakeRefused] * 2, *[HandshakeTimeout] * 2, *[NotAnErlangNode] * 2),
    (None, None, None, *[NodeDown] * 2, *[CallTimeout] * 2, *[NodeDown] * 2),
    *[(None, None, None, *[NodeDown] * 2, *[CallTimeout] * 2, *[ProtocolError] * 2)] * 2,
    (None, CallTimeout, ProtocolError, *[NodeDown] * 4, *[ProtocolError] * 2),
)

CASES = tuple(
    Case(step, name, kind, is_about_length, error)
    for step, expected in zip(STEPS, _EXPECTED, strict=True)
    for (name, kind, is_about_length), error in zip(FAULTS, expected, strict=True)
)
