"""TLS on a TCP connection.

An SSL object of OpenSSL is not for two threads at once, and here one thread reads while others send. So it never sees
the socket: it turns bytes into bytes, in memory and under a lock, and nobody waits while holding that. What was
decrypted is handed out at once and as a whole; nothing stays behind that a poll of the socket would not show.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

from iris_admin.errors import ConfigError
from iris_admin.tls import words
from iris_admin.transport.io_thread import Lock
from iris_admin.transport.stream import set_timeout

_RECEIVE_SIZE = 64 << 10
#: The longest record of TLS; to read more at once gives no more.
_RECORD = 16 << 10
#: What is encrypted at most before the socket has taken it.
_SEND_SIZE = 64 << 10
#: How long a TLS node may think before it is asked whether it is one, in seconds; at most half of the time there is.
_SILENCE = 2.0


class TlsStream:
    """A connection on which TLS is spoken: a :class:`~iris_admin.transport.stream.Stream`. Made by :func:`start_tls`.

    One thread may read while others send.
    """

    def __init__(self, sock: socket.socket, tls: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO):
        self._socket = sock
        self._tls = tls
        self._incoming = incoming
        self._outgoing = outgoing
        # Guards all that follows, and the SSL object.
        self._lock = Lock()
        # Encrypted.
        self._unsent = b""
        # How much of what send() was offered is in _unsent, and not yet reported as sent.
        self._promised = 0
        self._end: Exception | None = None

    @property
    def cipher_is_agreed(self) -> bool:
        """Whether the handshake has come so far that the node has chosen a cipher."""
        return self._tls.cipher() is not None

    def handshake(self, deadline: float, on_silence: Callable[[], None]) -> None:
        """Do the handshake, on a blocking socket.

        :param on_silence: called once if the node says nothing, or hangs up without having said anything.
        :raises TimeoutError: it was not finished in time.
        :raises OSError: it failed; an :class:`ssl.SSLError` where TLS says why.
        """
        silent = True
        while True:
            try:
                self._tls.do_handshake()
                finished = True
            except ssl.SSLWantReadError:
                finished = False
            except ssl.SSLError:
                # An alert that tells the node why.
                with contextlib.suppress(OSError):
                    self._socket.sendall(self._outgoing.read())
                raise
            set_timeout(self._socket, deadline)
            self._socket.sendall(self._outgoing.read())
            if finished:
                return
            try:
                now = time.monotonic()
                set_timeout(
                    self._socket, min(deadline, now + min(_SILENCE, (deadline - now) / 2)) if silent else deadline
                )
                data = self._socket.recv(_RECEIVE_SIZE)
            except TimeoutError:
                if not silent:
                    raise
                on_silence()
                silent = False
                continue
            if data:
                self._incoming.write(data)
            else:
                if silent:
                    on_silence()
                self._incoming.write_eof()
            silent = False

    def fileno(self) -> int:
        """That of the socket."""
        return self._socket.fileno()

    def recv(self, size: int, /) -> bytes:
        """What has arrived, decrypted; empty at the end.

        :param size: how many bytes to take from the socket.
        :raises BlockingIOError: nothing that is of use yet, e.g. a part of a record; also on a blocking socket.
        :raises OSError: the connection is broken.
        """
        if self._end is None and (plain := self._receive(size)):
            return plain
        if self._end is None:
            raise BlockingIOError
        if isinstance(self._end, EOFError):
            return b""
        raise self._end

    def send(self, data: bytes, /) -> int:
        """Encrypt a part, send it, and say how much that was.

        :raises BlockingIOError: the socket does not take it all now; the same bytes must be offered again.
        """
        with self._lock:
            if not self._promised:
                part = memoryview(data)[:_SEND_SIZE]
                # While the node renegotiates, it must be listened to first.
                with contextlib.suppress(ssl.SSLWantReadError):
                    while self._promised < len(part):
                        self._promised += self._tls.write(part[self._promised :])
            self._push()
            if not self._promised:
                raise BlockingIOError
            sent, self._promised = self._promised, 0
            return sent

    def sendall(self, data: bytes, /) -> None:
        """Send all of it, on a blocking socket and before others use it."""
        while data:
            data = data[self.send(data) :]

    def settimeout(self, seconds: float | None, /) -> None:
        """Have the socket wait so long."""
        self._socket.settimeout(seconds)

    def setblocking(self, blocking: bool, /) -> None:
        """Have the socket wait or not."""
        self._socket.setblocking(blocking)

    def getsockname(self) -> Any:
        """Our own address."""
        return self._socket.getsockname()

    def shutdown(self, how: int, /) -> None:
        """Say that this is the end, as TLS wants it, and end the connection."""
        # The node's own farewell is not waited for.
        with self._lock, contextlib.suppress(OSError, ValueError):
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()
            self._push()
        self._socket.shutdown(how)

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def _receive(self, size: int) -> bytes:
        # In the last segment of the handshake there may have been more than that.
        data = None if self._incoming.pending else self._socket.recv(size)
        with self._lock:
            if data:
                self._incoming.write(data)
            elif data is not None:
                self._incoming.write_eof()
            plain, self._end = self._decrypt()
            # An answer of TLS itself: new keys, an alert. What the socket does not take goes with what is sent next.
            with contextlib.suppress(OSError):
                self._push()
        if plain and self._end is not None:
            # The socket must show once more that something can be read, or nobody would ask for the end.
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RD)
        return plain

    def _decrypt(self) -> tuple[bytes, Exception | None]:
        """All that can be decrypted now, and what ends the connection behind it."""
        pieces = []
        end: Exception | None = EOFError()
        try:
            while piece := self._tls.read(_RECORD):
                pieces.append(piece)
        except ssl.SSLWantReadError:
            end = None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            # With a farewell or without one, it is the same: messages have their lengths, so that one cut short shows.
            pass
        except ssl.SSLError as error:
            error.strerror = words(error)
            end = error
        return b"".join(pieces), end

    def _push(self) -> None:
        """Have the socket take what is encrypted; ``_lock`` is held."""
        if self._outgoing.pending:
            self._unsent += self._outgoing.read()
        while self._unsent:
            self._unsent = self._unsent[self._socket.send(self._unsent) :]


def tls_stream(sock: socket.socket, context: ssl.SSLContext, server_name: str) -> TlsStream:
    """Have TLS spoken on a connection; the handshake is still to be done.

    :param server_name: whom the other side's certificate must be for.
    :raises ConfigError: that is none.
    """
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        tls = context.wrap_bio(incoming, outgoing, server_hostname=server_name)
    except ValueError:
        raise ConfigError(f"{server_name!r} is no name that a TLS certificate could be for") from None
    return TlsStream(sock, tls, incoming, outgoing)
