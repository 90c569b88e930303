"""The other end of a :class:`Connection`, played by the test: no socket, and a clock that the test sets."""

from __future__ import annotations

import struct
from collections import deque
from hashlib import md5
from typing import NamedTuple

from iris_admin.proto.connection import Connection
from iris_admin.proto.etf import decode_term, encode_term
from iris_admin.proto.events import CallEnded, Connected, Event
from iris_admin.proto.rpc import Outcome
from iris_admin.terms import Atom, Pid, Reference, Term

PEER = Atom("db1@127.0.0.1")
OUR_NAME = Atom("3KXVFBSZJI4PX@127.0.0.1")
OUR_CREATION = 0x86813D2E
COOKIE = "SECRET"
OUR_CHALLENGE = 0x12345678
TICK = "tick"

_FLAGS_OF_OTP_25 = 0xF07DF7FBC


class Signal(NamedTuple):
    """What we sent: the control tuple, and the message behind it, if there is one."""

    control: tuple[Term, ...]
    payload: Term = None


def pid(number: int) -> Pid:
    """A process of the node."""
    return Pid(PEER, number, 0, 7)


def reference(number: int) -> Reference:
    """A reference of the node."""
    return Reference(PEER, 7, (number, 2, 3))


def receive_in_place(connection: Connection, data: bytes, now: float, *, size: int) -> int:
    """Receive as a driver does that puts things in their place, and what has none in pieces of so many bytes.

    :returns: how many bytes had a place.
    """
    in_place = 0
    while data:
        place = connection.place()
        if place is None:
            come = data[:size]
            connection.receive_data(come, now)
        else:
            come = data[: len(place)]
            place[: len(come)] = come
            connection.placed(len(come), now)
            in_place += len(come)
        data = data[len(come) :]
    return in_place


class NodeSide:
    """A node that is connected to us.

    :ivar connection: our side.
    :ivar now: the time; the test sets it.
    """

    def __init__(self, *, net_ticktime: float = 60.0, now: float = 0.0) -> None:
        self.now = now
        self.connection = Connection(
            peer=PEER,
            cookie=COOKIE,
            host="127.0.0.1",
            challenge=OUR_CHALLENGE,
            creation=0,
            net_ticktime=net_ticktime,
            now=now,
        )
        self._sent = b""
        self._incomplete: dict[int, bytes] = {}
        self._remote: dict[int, Pid] = {}
        self._pids = iter(range(1000, 1_000_000))
        self._signals: deque[Signal | str] = deque()
        self._message_length = 2
        self.handshake_sent = self._drain()
        for message in self.handshake_messages():
            self.connection.receive_data(len(message).to_bytes(2, "big") + message, now)
            self.handshake_sent += self._drain()
        event = self.connection.next_event()
        assert isinstance(event, Connected), event

    @staticmethod
    def handshake_messages() -> list[bytes]:
        """What the node sends to let us join."""
        name, peer = OUR_NAME.encode(), PEER.encode()
        return [
            b"snamed:" + struct.pack(">H", len(name)) + name + struct.pack(">I", OUR_CREATION),
            struct.pack(">cQIIH", b"N", _FLAGS_OF_OTP_25, 99, 7, len(peer)) + peer,
            b"a" + md5(f"{COOKIE}{OUR_CHALLENGE}".encode()).digest(),
        ]

    # What we have sent to the node

    def _drain(self) -> bytes:
        data = b""
        while piece := self.connection.data_to_send():
            data += piece
        return data

    def received(self) -> list[Signal | str]:
        """What the node has received since it was last asked: signals and ticks."""
        return self.read(self._drain())

    def read(self, data: bytes) -> list[Signal | str]:
        """Signals and ticks in bytes that we have sent."""
        found: list[Signal | str] = []
        self._sent += data
        while len(self._sent) >= 4:
            end = 4 + int.from_bytes(self._sent[:4], "big")
            if len(self._sent) < end:
                break
            body, self._sent = self._sent[4:end], self._sent[end:]
            if not body:
                found.append(TICK)
            elif (message := self._message(body)) is not None:
                found.append(message)
        return found

    def _message(self, body: bytes) -> Signal | None:
        if body[1:2] in (b"E", b"F"):
            _, kind, sequence, fragment = struct.unpack_from(">BcQQ", body)
            assert kind == (b"F" if sequence in self._incomplete else b"E")
            start = 18 if kind == b"F" else 19
            self._incomplete[sequence] = self._incomplete.get(sequence, b"") + body[start:]
            if fragment > 1:
                return None
            message = self._incomplete.pop(sequence)
        else:
            assert body[:3] == b"\x83D\0"
            message = body[3:]
        control, end = decode_term(message, 0)
        if end == len(message):
            return Signal(control)
        payload, end = decode_term(message, end)
        assert end == len(message)
        return Signal(control, payload)

    # What the node sends to us

    @staticmethod
    def frame(control: tuple[Term, ...], *payload: Term) -> bytes:
        message = b"\x83D\0" + encode_term(control) + b"".join(map(encode_term, payload))
        return len(message).to_bytes(4, "big") + message

    def send(self, control: tuple[Term, ...], *payload: Term) -> list[Signal | str]:
        """Send a signal; returns what the node receives upon it."""
        return self.send_bytes(self.frame(control, *payload))

    def send_bytes(self, data: bytes) -> list[Signal | str]:
        self.connection.receive_data(data, self.now)
        return self.received()

    def fragments(self, sequence: int, control: tuple[Term, ...], payload: Term, size: int = 65536) -> list[bytes]:
        """The frames of a long message."""
        return self.fragments_of(sequence, control, encode_term(payload), size)

    @staticmethod
    def fragments_of(sequence: int, control: tuple[Term, ...], message: bytes, size: int = 65536) -> list[bytes]:
        """The same, of a payload that is encoded already, or is no term."""
        head = b"\0" + encode_term(control)
        pieces = [message[start : start + size] for start in range(0, len(message), size)]
        frames = []
        for index, piece in enumerate(pieces):
            body = b"\x83" + (b"F" if index else b"E") + struct.pack(">QQ", sequence, len(pieces) - index)
            body += piece if index else head + piece
            frames.append(len(body).to_bytes(4, "big") + body)
        return frames

    # Calls

    def call(self, module: str = "m", function: str = "f", *args: Term, capture: bool = False) -> tuple[int, Signal]:
        """Have us make a call: its number, and the request that the node receives."""
        call_id = self.connection.call(module, function, encode_term(list(args)), self.now, capture=capture)
        (request,) = self.received()
        assert isinstance(request, Signal)
        return call_id, request

    def spawned(self, request: Signal, number: int) -> list[Signal | str]:
        """Answer a spawn request by the pid of a process of this number."""
        _, request_id, client, *_ = request.control
        return self.send((31, request_id, client, 1, pid(number)))

    def exited(self, request: Signal, number: int, *reason: Term) -> list[Signal | str]:
        """Let the process end: with ``{Res, *reason}``, or with the only element of ``reason`` alone."""
        res = request.payload[0]
        whole = (res, *reason) if len(reason) > 1 else reason[0]
        return self.send((24, pid(number), request.control[2]), whole)

    def running_call(self, number: int, *, capture: bool = False) -> tuple[int, Signal]:
        """A call whose process runs on the node."""
        call_id, request = self.call(capture=capture)
        assert self.spawned(request, number) == []
        return call_id, request

    # Events

    def events(self) -> list[Event]:
        found = []
        while (event := self.connection.next_event()) is not None:
            found.append(event)
        return found

    def ended(self) -> list[tuple[int, Outcome, str | None]]:
        """The calls that ended since it was last asked: number, outcome, output."""
        found = []
        for event in self.events():
            assert isinstance(event, CallEnded), event
            found.append((event.call_id, event.outcome(), event.output))
        return found
