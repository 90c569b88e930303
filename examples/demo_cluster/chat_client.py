"""Clients of an edge node: a TCP one that acknowledges messages, and a WebSocket one that cannot.

They speak the protocol that is described in ``iris/iris_proto.erl``. Two of its packets, log-in and
acknowledgement, have no length: the edge takes everything that has arrived with them as a part of them.
So :class:`ChatClient` sends nothing behind an acknowledgement until it knows that the edge has read it.
For this it puts a status question in front of every acknowledgement, in the same segment; the edge
handles both in one go, and its answer says that the way is free.

Python's library only. Example::

    with ChatClient("127.0.0.1", port, "bob") as bob:
        message = bob.receive()
        print(message.payload)
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Self

LOGIN_OK = b"\x03LOGIN_OK"
LOGIN, SEND, ACKNOWLEDGE, ASK_STATUS, STATUS, MESSAGE = 1, 2, 3, 5, 6, 16
# Nobody has the empty name, so the question costs the cluster nothing and changes nothing.
NOBODY = b""
WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
BINARY_FRAME, CLOSE_FRAME, PING_FRAME, PONG_FRAME = 2, 8, 9, 10


class ChatError(Exception):
    """The edge refused the log-in or said something that is not in the protocol."""


class ConnectionEnded(ChatError):
    """The connection has ended, so nothing more will arrive."""


class Message(NamedTuple):
    """A message as a client received it.

    :ivar msg_id: the edge's id for this delivery, different each time a message is delivered; empty if it came
        over a WebSocket to a user who was online, because such messages have none.
    :ivar payload: what the sender sent.
    """

    msg_id: bytes
    payload: bytes


class _Client:
    """What both clients share: a reading thread, and the list of what has arrived."""

    def __init__(self, host: str, port: int, user: str, timeout: float) -> None:
        self.host = host
        self.port = port
        self.user = user
        self.timeout = timeout
        self._changed = threading.Condition(threading.RLock())
        self._received: list[Message] = []
        self._read_up_to = 0
        self._logged_in = False
        self._ended: str | None = None
        self._buffer = b""
        self._socket: socket.socket | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self.login() if self._socket is None else self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def received(self) -> list[Message]:
        """Everything that has arrived until now, in the order of arrival."""
        with self._changed:
            return list(self._received)

    @property
    def connected(self) -> bool:
        """Whether the connection is up."""
        with self._changed:
            return self._logged_in and self._ended is None

    def login(self) -> Self:
        """Connect, log in, and start to receive.

        Logging in makes the cluster send what it has stored for the user, and remove it from the store.

        :raises ChatError: the edge refused.
        :raises OSError: the edge cannot be reached.
        :raises TimeoutError: no answer in time.
        """
        self._socket = socket.create_connection((self.host, self.port), self.timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._greet(self._socket)
        self._socket.settimeout(None)
        self._reader = threading.Thread(target=self._read, args=(self._socket,), name=f"chat {self.user}", daemon=True)
        self._reader.start()
        self._write(self._login_packet())
        self._wait(lambda: self._logged_in, self.timeout, "log-in")
        return self

    def receive(self, timeout: float | None = None) -> Message:
        """The next message that this method has not returned yet; waits for it.

        :param timeout: seconds; ``None`` for the client's own.
        :raises TimeoutError: nothing arrived in time.
        :raises ConnectionEnded: the connection has ended and everything has been returned.
        """
        with self._changed:
            self._wait(lambda: len(self._received) > self._read_up_to, timeout, "message")
            self._read_up_to += 1
            return self._received[self._read_up_to - 1]

    def wait_for(self, count: int, timeout: float | None = None) -> list[Message]:
        """Wait until that many messages have arrived since the log-in, and return all that have.

        :raises TimeoutError: fewer arrived in time.
        :raises ConnectionEnded: the connection ended before.
        """
        self._wait(lambda: len(self._received) >= count, timeout, f"{count} messages")
        return self.received

    def wait_closed(self, timeout: float | None = None) -> None:
        """Wait until the connection has ended, by whichever side.

        :raises TimeoutError: it is still up.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._ended is not None, self._seconds(timeout)):
                raise TimeoutError(f"{self.user}: the connection is still up")

    def close(self) -> None:
        """Hang up. May be called more than once."""
        self._end("hung up")
        if self._reader is not None and self._reader is not threading.current_thread():
            self._reader.join(self.timeout)

    def _greet(self, connection: socket.socket) -> None:
        """What comes before the first packet."""

    def _login_packet(self) -> bytes:
        return bytes([LOGIN]) + self.user.encode()

    def _write(self, packet: bytes) -> None:
        raise NotImplementedError

    def _consume(self) -> bool:
        """Take one packet from the buffer; False if there is no complete one."""
        raise NotImplementedError

    def _read(self, connection: socket.socket) -> None:
        reason = "the edge hung up"
        try:
            while data := connection.recv(65536):
                with self._changed:
                    self._buffer += data
                    while self._consume():
                        pass
                    self._changed.notify_all()
        except OSError as error:
            reason = str(error)
        except ChatError as error:
            reason = f"protocol error: {error}"
        self._end(reason)

    def _end(self, reason: str) -> None:
        with self._changed:
            if self._ended is None:
                self._ended = reason
                if self._socket is not None:
                    # Wakes the reading thread, which a mere close would not. The other side may have been quicker.
                    with contextlib.suppress(OSError):
                        self._socket.shutdown(socket.SHUT_RDWR)
                    self._socket.close()
            self._changed.notify_all()

    def _wait(self, condition: Callable[[], bool], timeout: float | None, what: str) -> None:
        with self._changed:
            self._changed.wait_for(lambda: condition() or self._ended is not None, self._seconds(timeout))
            if not condition():
                if self._ended is not None:
                    raise ConnectionEnded(f"{self.user}: no {what}: {self._ended}")
                raise TimeoutError(f"{self.user}: no {what} in time; {len(self._received)} messages have arrived")

    def _seconds(self, timeout: float | None) -> float:
        return self.timeout if timeout is None else timeout


class ChatClient(_Client):
    """A TCP client of an edge.

    :param host: where the edge listens.
    :param port: its TCP port.
    :param user: whom to log in as.
    :param auto_ack: acknowledge every message as it arrives. Otherwise call :meth:`ack`, or never do.
    :param hang_up_after: acknowledge this many messages and then hang up (implies ``auto_ack``); ``None`` to stay.
    :param timeout: seconds that methods wait when they are not told otherwise.
    """

    def __init__(
        self,
        host: str,
        port: int,
        user: str,
        *,
        auto_ack: bool = True,
        hang_up_after: int | None = None,
        timeout: float = 10.0,
    ) -> None:
        super().__init__(host, port, user, timeout)
        self.auto_ack = auto_ack
        self.hang_up_after = hang_up_after
        self._outgoing: deque[tuple[bytes, bytes | None]] = deque()
        self._on_its_way: bytes | None = None
        self._acknowledged: list[bytes] = []

    @property
    def acknowledged(self) -> list[bytes]:
        """The ids of the messages whose acknowledgement the edge has read."""
        with self._changed:
            return list(self._acknowledged)

    def send(self, target: str, payload: bytes) -> None:
        """Send a message to another user. The protocol has no confirmation of that.

        :param payload: at most 65,535 bytes.
        """
        name = target.encode()
        packet = struct.pack(">BH", SEND, len(name)) + name + struct.pack(">H", len(payload)) + payload
        self._queue(packet, None)

    def ack(self, msg_id: bytes) -> None:
        """Acknowledge a message. :meth:`wait_acknowledged` tells when the edge has read it."""
        self._queue(struct.pack(">BH", ASK_STATUS, len(NOBODY)) + NOBODY + bytes([ACKNOWLEDGE]) + msg_id, msg_id)

    def wait_acknowledged(self, count: int, timeout: float | None = None) -> None:
        """Wait until the edge has read that many acknowledgements since the log-in.

        :raises TimeoutError: it has not.
        :raises ConnectionEnded: the connection ended before.
        """
        self._wait(lambda: len(self._acknowledged) >= count, timeout, f"{count} acknowledgements")

    def _queue(self, packet: bytes, msg_id: bytes | None) -> None:
        with self._changed:
            if self._ended is not None:
                raise ConnectionEnded(f"{self.user}: {self._ended}")
            self._outgoing.append((packet, msg_id))
            self._send_queued()

    def _send_queued(self) -> None:
        while self._outgoing and self._on_its_way is None:
            packet, self._on_its_way = self._outgoing.popleft()
            self._write(packet)

    def _write(self, packet: bytes) -> None:
        assert self._socket is not None
        self._socket.sendall(packet)

    def _consume(self) -> bool:
        data = self._buffer
        if not self._logged_in:
            if len(data) < len(LOGIN_OK) and LOGIN_OK.startswith(data):
                return False
            if not data.startswith(LOGIN_OK):
                raise ChatError(f"the edge refused the log-in: {data[:100]!r}")
            self._buffer = data[len(LOGIN_OK) :]
            self._logged_in = True
            return True
        if not data:
            return False
        if data[0] == MESSAGE:
            return self._consume_message(data)
        if data[0] == STATUS:
            return self._consume_status(data)
        raise ChatError(f"unknown packet {data[:100]!r}")

    def _consume_message(self, data: bytes) -> bool:
        found = _split_message(data)
        if found is None:
            return False
        message, self._buffer = found
        self._received.append(message)
        if self.hang_up_after is None:
            if self.auto_ack:
                self.ack(message.msg_id)
        elif len(self._received) <= self.hang_up_after:
            self.ack(message.msg_id)
        return True

    def _consume_status(self, data: bytes) -> bool:
        if len(data) < 3:
            return False
        (name_length,) = struct.unpack_from(">H", data, 1)
        total = 3 + name_length + 1 + 8
        if len(data) < total:
            return False
        self._buffer = data[total:]
        if self._on_its_way is not None:
            self._acknowledged.append(self._on_its_way)
            self._on_its_way = None
        if self.hang_up_after is not None and len(self._acknowledged) >= self.hang_up_after:
            self._end(f"hung up after {self.hang_up_after} acknowledgements")
            return False
        self._send_queued()
        return True


class WebSocketClient(_Client):
    """A WebSocket client of an edge. The edge sends and forgets: there is nothing to acknowledge.

    :param host: where the edge listens.
    :param port: its WebSocket port.
    :param user: whom to log in as.
    :param timeout: seconds that methods wait when they are not told otherwise.
    """

    def __init__(self, host: str, port: int, user: str, *, timeout: float = 10.0) -> None:
        super().__init__(host, port, user, timeout)

    def send(self, target: str, payload: bytes) -> None:
        """Send a message to another user (at most 65,535 bytes)."""
        name = target.encode()
        self._write(struct.pack(">BH", SEND, len(name)) + name + struct.pack(">H", len(payload)) + payload)

    def _greet(self, connection: socket.socket) -> None:
        key = base64.b64encode(os.urandom(16))
        connection.sendall(
            b"GET / HTTP/1.1\r\nHost: %b\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: %b\r\nSec-WebSocket-Version: 13\r\n\r\n" % (self.host.encode(), key)
        )
        deadline = time.monotonic() + self.timeout
        head = b""
        while b"\r\n\r\n" not in head:
            data = connection.recv(4096)
            if not data or time.monotonic() > deadline:
                raise ChatError(f"no WebSocket upgrade: {head!r}")
            head += data
        head, _, self._buffer = head.partition(b"\r\n\r\n")
        if base64.b64encode(hashlib.sha1(key + WEBSOCKET_GUID).digest()) not in head:
            raise ChatError(f"the WebSocket upgrade does not match our key: {head!r}")

    def _write(self, packet: bytes) -> None:
        self._write_frame(BINARY_FRAME, packet)

    def _write_frame(self, opcode: int, payload: bytes) -> None:
        length = len(payload)
        if length < 126:
            head = bytes([0x80 | opcode, 0x80 | length])
        elif length < 65536:
            head = bytes([0x80 | opcode, 0x80 | 126]) + struct.pack(">H", length)
        else:
            head = bytes([0x80 | opcode, 0x80 | 127]) + struct.pack(">Q", length)
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        assert self._socket is not None
        self._socket.sendall(head + mask + masked)

    def _consume(self) -> bool:
        found = _split_frame(self._buffer)
        if found is None:
            return False
        opcode, payload, self._buffer = found
        if opcode == CLOSE_FRAME:
            self._end("the edge closed the WebSocket")
            return False
        if opcode == PING_FRAME:
            self._write_frame(PONG_FRAME, payload)
        elif opcode == BINARY_FRAME:
            self._take(payload)
        return True

    def _take(self, payload: bytes) -> None:
        if not self._logged_in:
            if payload != LOGIN_OK:
                raise ChatError(f"the edge refused the log-in: {payload[:100]!r}")
            self._logged_in = True
            return
        # What was stored offline comes in the protocol's own packet, what is delivered later comes bare.
        found = _split_message(payload) if payload[:1] == bytes([MESSAGE]) else None
        self._received.append(found[0] if found is not None and not found[1] else Message(b"", payload))


def _split_message(data: bytes) -> tuple[Message, bytes] | None:
    """The message packet at the start of the data and what follows it, or None if it is not complete."""
    if len(data) < 3:
        return None
    (id_length,) = struct.unpack_from(">H", data, 1)
    if len(data) < 3 + id_length + 4:
        return None
    (length,) = struct.unpack_from(">I", data, 3 + id_length)
    start = 3 + id_length + 4
    if len(data) < start + length:
        return None
    return Message(data[3 : 3 + id_length], data[start : start + length]), data[start + length :]


def _split_frame(data: bytes) -> tuple[int, bytes, bytes] | None:
    """The opcode and payload of the (unmasked) frame at the start of the data, and what follows it."""
    if len(data) < 2:
        return None
    opcode, length, start = data[0] & 0x0F, data[1] & 0x7F, 2
    if length >= 126:
        size = 2 if length == 126 else 8
        if len(data) < start + size:
            return None
        length = int.from_bytes(data[start : start + size], "big")
        start += size
    if len(data) < start + length:
        return None
    return opcode, data[start : start + length], data[start + length :]
