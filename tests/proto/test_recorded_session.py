"""What a real node sends means the same, however the network cuts it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iris_admin.proto.connection import Connection
from iris_admin.proto.etf import encode_term
from iris_admin.proto.events import CallEnded, Connected, Event
from iris_admin.proto.rpc import Failed, Returned
from iris_admin.terms import Atom, Term, charlist
from tests.support.erlang import ErlangNode

NOW = 0.0


@dataclass(frozen=True)
class Received:
    data: bytes


@dataclass(frozen=True)
class Made:
    """A call."""

    module: str
    function: str
    args: bytes
    capture: bool


@dataclass(frozen=True)
class Cancelled:
    call_id: int


@dataclass
class Session:
    """All that happened on a connection to a real node."""

    peer: str
    cookie: str
    steps: list[Received | Made | Cancelled] = field(default_factory=list)
    sent: bytes = b""
    events: list[Event] = field(default_factory=list)
    last_call: int = 0

    def connection(self) -> Connection:
        return Connection(
            peer=self.peer,
            cookie=self.cookie,
            host="127.0.0.1",
            challenge=0x12345678,
            creation=0,
            now=NOW,
        )

    def take(self, connection: Connection, step: Received | Made | Cancelled) -> bytes:
        """Do a step; returns what is to be sent then."""
        match step:
            case Received(data):
                connection.receive_data(data, NOW)
            case Made(module, function, args, capture):
                self.last_call = connection.call(module, function, args, NOW, capture=capture)
            case Cancelled(call_id):
                connection.cancel(call_id, NOW)
        sent = b""
        while data := connection.data_to_send():
            sent += data
        while (event := connection.next_event()) is not None:
            self.events.append(event)
        self.sent += sent
        return sent

    @property
    def received(self) -> bytes:
        return b"".join(step.data for step in self.steps if isinstance(step, Received))


class Recorder:
    """Talks to a node, and keeps what is said."""

    def __init__(self, node: ErlangNode) -> None:
        self.session = Session(node.name, node.cookie)
        self._socket = socket.create_connection(("127.0.0.1", node.port), timeout=20)
        self._connection = self.session.connection()
        hello = self._connection.data_to_send()
        self.session.sent += hello
        self._socket.sendall(hello)
        self._receive_until(lambda: bool(self.session.events))
        event = self.session.events[0]
        assert isinstance(event, Connected)
        self.our_name = Atom(event.joined.name)

    def _do(self, step: Received | Made | Cancelled) -> None:
        self.session.steps.append(step)
        self._socket.sendall(self.session.take(self._connection, step))

    def _receive_until(self, done: Any) -> None:
        while not done():
            data = self._socket.recv(65536)
            assert data, self.session.events
            self._do(Received(data))

    def start(self, module: str, function: str, *args: Term, capture: bool = False) -> int:
        """Make a call; its number."""
        self._do(Made(module, function, encode_term(list(args)), capture))
        return self.session.last_call

    def cancel(self, call_id: int) -> None:
        self._do(Cancelled(call_id))

    def wait(self, *call_ids: int) -> None:
        def all_ended() -> bool:
            ended = {event.call_id for event in self.session.events if isinstance(event, CallEnded)}
            return ended.issuperset(call_ids)

        self._receive_until(all_ended)

    def call(self, module: str, function: str, *args: Term, capture: bool = False) -> None:
        self.wait(self.start(module, function, *args, capture=capture))

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._socket.close()


@pytest.fixture(scope="module")
def session(erlang_node: ErlangNode) -> Session:
    with Recorder(erlang_node) as recorder:
        whereis = (Atom("erlang"), Atom("whereis"), [Atom("init")])
        recorder.call("erlang", "node")
        for failing in ("throw", "exit", "error"):
            recorder.call("erlang", failing, Atom("badarg"))
        recorder.call("lists", "no_such_function")
        recorder.call("io", "format", charlist("~p ~ts~n"), [42, "Grüße".encode()], capture=True)
        recorder.call("io", "put_chars", "€".encode(), capture=True)
        # The node asks things of us, in the midst of our call.
        recorder.call("rpc", "call", recorder.our_name, *whereis)
        recorder.call("erpc", "call", recorder.our_name, *whereis)
        recorder.call("rpc", "call", recorder.our_name, Atom("os"), Atom("cmd"), [charlist("id")])
        recorder.call("net_adm", "ping", recorder.our_name)
        # Long messages both ways, and short ones in between.
        long = recorder.start("binary", "copy", b"x", 200_000)
        recorder.wait(long, *(recorder.start("erlang", "abs", -number) for number in range(20)))
        recorder.call("erlang", "byte_size", bytes(150_000))
        sleeping = recorder.start("timer", "sleep", 60_000)
        recorder.call("erlang", "abs", -1)
        recorder.cancel(sleeping)
        recorder.cancel(recorder.start("timer", "sleep", 60_000))
        recorder.call("erlang", "abs", -2)
    return recorder.session


def test_what_the_session_holds(session: Session) -> None:
    outcomes = [(event.outcome(), event.output) for event in session.events if isinstance(event, CallEnded)]
    stack_of_error = outcomes[3][0].stacktrace  # type: ignore[union-attr]
    assert outcomes[:4] == [
        (Returned(Atom(session.peer)), None),
        (Failed("throw", Atom("badarg")), None),
        (Failed("exit", Atom("badarg")), None),
        (Failed("error", Atom("badarg"), stack_of_error), None),
    ]
    undefined = outcomes[4][0]
    assert isinstance(undefined, Failed)
    assert (undefined.kind, undefined.reason) == ("error", Atom("undef"))
    assert outcomes[5:7] == [(Returned(Atom("ok")), "42 Grüße\n"), (Returned(Atom("ok")), "€")]
    assert outcomes[7:9] == [(Returned(Atom("undefined")), None)] * 2
    refused = outcomes[9][0]
    assert isinstance(refused, Returned)
    assert refused.value[:1] == (Atom("badrpc"),)
    assert outcomes[10] == (Returned(Atom("pong")), None)
    values = [outcome.value for outcome, _ in outcomes[11:] if isinstance(outcome, Returned)]
    assert sorted(value for value in values if type(value) is int) == sorted([*range(20), 150_000, 1, 2])
    assert [value for value in values if type(value) is bytes] == [b"x" * 200_000]
    assert len(session.received) > 200_000


def replay(session: Session, pieces: Iterator[int]) -> Session:
    """The session once more, with what was received cut in pieces of these sizes."""
    again = Session(session.peer, session.cookie)
    connection = again.connection()
    again.sent += connection.data_to_send()
    # What comes without anything of ours in between is one stream.
    for is_received, steps in groupby(session.steps, lambda step: isinstance(step, Received)):
        if is_received:
            stream = b"".join(step.data for step in steps if isinstance(step, Received))
            start = 0
            while start < len(stream):
                end = start + next(pieces)
                again.take(connection, Received(stream[start:end]))
                start = end
        else:
            for step in steps:
                again.take(connection, step)
    return again


def sizes(size: int) -> Iterator[int]:
    while True:
        yield size


def some_sizes(seed: int, longest: int) -> Iterator[int]:
    random = Random(seed)
    while True:
        yield random.randint(1, longest)


def assert_same(again: Session, session: Session) -> None:
    assert again.sent == session.sent
    assert again.events == session.events


def test_byte_by_byte(session: Session) -> None:
    assert_same(replay(session, sizes(1)), session)


def test_all_at_once(session: Session) -> None:
    assert_same(replay(session, sizes(1 << 30)), session)


@given(seed=st.integers(0, 2**32), longest=st.sampled_from([3, 50, 1000, 100_000]))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_cut(session: Session, seed: int, longest: int) -> None:
    assert_same(replay(session, some_sizes(seed, longest)), session)


@given(data=st.data())
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_session_ends_in_an_error_or_goes_on(session: Session, data: st.DataObject) -> None:
    """Flip a byte of what was received: no other exception than ours may come of it."""
    place = data.draw(st.integers(0, 4000))
    value = data.draw(st.integers(1, 255))
    again = Session(session.peer, session.cookie)
    connection = again.connection()
    connection.data_to_send()
    received = 0
    for step in session.steps:
        if isinstance(step, Received):
            offset = place - received
            received += len(step.data)
            if 0 <= offset < len(step.data):
                damaged = bytearray(step.data)
                damaged[offset] ^= value
                step = Received(bytes(damaged))
        elif not connection.is_open:
            return
        again.take(connection, step)
        if received > place + 10_000:
            break
    for event in again.events:
        if isinstance(event, CallEnded):
            try:
                event.outcome()
            except ValueError:  # a DecodeError
                continue
