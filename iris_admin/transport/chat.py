"""A client of an edge, as small as a login test needs: log in, send, receive, acknowledge.

Two packets of the protocol, log-in and acknowledgement, have no length: the edge takes all that has arrived with them
for a part of them. So nothing is sent behind an acknowledgement before the edge has surely read it: a status question
goes in front of it, in the same segment, and the edge's answer to that says that the way is free.
"""

from __future__ import annotations

import socket
import struct
import time
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple

from iris_admin.errors import ChatError, IrisAdminError
from iris_admin.operations.local_steps import ChatExchange, ChatLogIn, ChatLogOut, Exchanged
from iris_admin.transport.dialing import open_connection, reason

LOGIN, SEND, ACKNOWLEDGE, ASK_STATUS = 1, 2, 3, 5
_LOGIN_OK = b"\x03LOGIN_OK"
_STATUS, _MESSAGE, _RATE_LIMITED = 0x06, 0x10, 0xFF
#: Behind the user's name: one byte for whether he is online, eight for when he was.
_STATUS_TAIL = 9
#: An edge ignores a log-in that is longer, user and token together.
LONGEST_LOGIN = 256
_RECEIVE_SIZE = 64 << 10
#: How long the edge may take to hang up after us, in seconds; it is not waited for longer.
_HANG_UP = 1.0


class Message(NamedTuple):
    """A message as it arrived: the edge's id for it, and what the sender sent."""

    message_id: bytes
    payload: bytes


class ChatClient:
    """A user on a TCP connection to an edge. Made by :meth:`log_in`.

    :ivar user: the user.
    :ivar login_seconds: from the connection to the edge's answer.
    """

    def __init__(self, sock: socket.socket, user: bytes) -> None:
        self.user = user
        self.login_seconds = 0.0
        self._socket = sock
        self._buffer = b""
        self._messages: deque[Message] = deque()
        self._statuses = 0

    @classmethod
    def log_in(
        cls, host: str, port: int, user: bytes, *, token: bytes | None = None, tls: bool = False, timeout: float = 5.0
    ) -> ChatClient:
        """Connect and log in. What is stored for the user is delivered by this, and removed from the store.

        :param token: where the edge wants one.
        :param tls: whether the edge speaks TLS. Its certificate is not checked: nothing secret is sent.
        :param timeout: for all of it, in seconds.
        :raises ChatError: the edge is not reached, or does not let the user in.
        """
        login = user if token is None else b"%b:%b" % (user, token)
        if b":" in user or len(login) > LONGEST_LOGIN:
            raise ChatError(
                f"no edge takes this log-in: it is longer than {LONGEST_LOGIN} bytes, or has a colon in it",
                reached=False,
            )
        start = time.monotonic()
        deadline = start + timeout
        try:
            sock = open_connection(host, port, deadline)
        except IrisAdminError as error:
            raise ChatError(str(error), reached=False) from None
        except OSError as error:
            raise ChatError(f"{host}:{port} does not accept the connection: {reason(error)}", reached=False) from None
        try:
            client = cls(_with_tls(sock, host) if tls else sock, user)
            client._write(bytes([LOGIN]) + login, deadline)
            client._await_login(deadline)
        except OSError as error:
            sock.close()
            raise ChatError(f"the connection to {host}:{port} failed: {reason(error)}") from None
        except BaseException:
            sock.close()
            raise
        client.login_seconds = time.monotonic() - start
        return client

    def __enter__(self) -> ChatClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def send(self, target: bytes, payload: bytes, deadline: float) -> None:
        """Send a message. The protocol has no confirmation of that.

        :param payload: at most 65,535 bytes.
        :param deadline: on the clock of :func:`time.monotonic`, here as below.
        :raises ChatError: the connection has ended.
        """
        packet = struct.pack(">BH", SEND, len(target)) + target + struct.pack(">H", len(payload)) + payload
        self._write(packet, deadline)

    def receive(self, deadline: float) -> Message:
        """The next message.

        :raises ChatError: none arrived in time, or the connection has ended.
        """
        while not self._messages:
            self._read(deadline, "no message arrived")
        return self._messages.popleft()

    def acknowledge(self, message_id: bytes, deadline: float) -> None:
        """Acknowledge a message, and wait until the edge has read that.

        :raises ChatError: it has not in time, or the connection has ended.
        """
        # About ourselves: the edge keeps the answer for a while, under a name that we clean up after.
        question = struct.pack(">BH", ASK_STATUS, len(self.user)) + self.user
        expected = self._statuses + 1
        self._write(question + bytes([ACKNOWLEDGE]) + message_id, deadline)
        while self._statuses < expected:
            self._read(deadline, "the edge does not answer")

    def close(self) -> None:
        """Hang up, and give the edge a moment to do so, too. May be called more than once."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
            deadline = time.monotonic() + _HANG_UP
            while (remaining := deadline - time.monotonic()) > 0:
                self._socket.settimeout(remaining)
                if not self._socket.recv(_RECEIVE_SIZE):
                    break
        except OSError:
            pass
        self._socket.close()

    def _await_login(self, deadline: float) -> None:
        while len(self._buffer) < len(_LOGIN_OK) and _LOGIN_OK.startswith(self._buffer):
            self._fill(deadline, "the edge does not answer the log-in")
        if not self._buffer.startswith(_LOGIN_OK):
            raise ChatError(f"the edge refuses the log-in: {self._buffer[:100]!r}")
        self._buffer = self._buffer[len(_LOGIN_OK) :]

    def _write(self, data: bytes, deadline: float) -> None:
        try:
            self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
            self._socket.sendall(data)
        except OSError as error:
            raise ChatError(f"the connection failed: {reason(error)}") from None

    def _fill(self, deadline: float, otherwise: str) -> None:
        """Wait for more bytes."""
        try:
            self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
            data = self._socket.recv(_RECEIVE_SIZE)
        except TimeoutError:
            raise ChatError(f"{otherwise} in time") from None
        except OSError as error:
            raise ChatError(f"the connection failed: {reason(error)}") from None
        if not data:
            raise ChatError("the edge hung up")
        self._buffer += data

    def _read(self, deadline: float, otherwise: str) -> None:
        """Take a packet, and wait for it if it has not arrived whole."""
        while not self._take_packet():
            self._fill(deadline, otherwise)

    def _take_packet(self) -> bool:
        data = self._buffer
        if not data:
            return False
        if data[0] == _RATE_LIMITED:
            raise ChatError("the edge's rate limit refuses the message")
        if data[0] not in (_MESSAGE, _STATUS):
            raise ChatError(f"the edge says what is not in the protocol: {data[:100]!r}")
        # Both begin with a text and its length: the message's id, or the user.
        text_end = 3 + int.from_bytes(data[1:3], "big")
        if data[0] == _STATUS:
            end = text_end + _STATUS_TAIL
        elif len(data) < text_end + 4:
            return False
        else:
            end = text_end + 4 + int.from_bytes(data[text_end : text_end + 4], "big")
        if len(data) < end:
            return False
        if data[0] == _STATUS:
            self._statuses += 1
        else:
            self._messages.append(Message(data[3:text_end], data[text_end + 4 : end]))
        self._buffer = data[end:]
        return True


def _with_tls(sock: socket.socket, host: str) -> socket.socket:
    # Imported when it is needed: it takes longer than a whole command.
    import ssl

    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(sock, server_hostname=host)


def perform_chat(step: ChatLogIn | ChatExchange | ChatLogOut) -> ChatClient | Exchanged | None:
    """Do one of the steps that an operation asks of a client; see there for what each gives.

    :raises ChatError: nobody could be logged in.
    """
    match step:
        case ChatLogIn():
            return ChatClient.log_in(
                step.host, step.port, step.user, token=step.token, tls=step.tls, timeout=step.timeout
            )
        case ChatExchange(ChatClient() as sender, ChatClient() as receiver):
            return exchange(sender, receiver, step.payloads, step.timeout)
        case ChatLogOut(ChatClient() as client):
            client.close()
            return None
    raise TypeError(f"this is no session of ours: {step!r}")


def exchange(sender: ChatClient, receiver: ChatClient, payloads: Sequence[bytes], timeout: float) -> Exchanged:
    """Send messages, each one when the last was acknowledged, and time their delivery.

    :param timeout: for each message, and for each acknowledgement, in seconds.
    """
    delivered: list[float] = []
    acknowledged = 0
    try:
        for payload in payloads:
            start = time.monotonic()
            sender.send(receiver.user, payload, start + timeout)
            while True:
                message = receiver.receive(start + timeout)
                seconds = time.monotonic() - start
                if message.payload == payload:
                    delivered.append(seconds)
                receiver.acknowledge(message.message_id, time.monotonic() + timeout)
                if message.payload == payload:
                    break
            acknowledged += 1
    except ChatError as error:
        return Exchanged(tuple(delivered), acknowledged, str(error))
    return Exchanged(tuple(delivered), acknowledged, None)
