"""A TCP server that plays one connection at a time by a test's script, and keeps what it was sent."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Plays one connection; what it returns is of no interest.
Script = Callable[[socket.socket], object]


class Peer:
    """A server on 127.0.0.1.

    :ivar port: its port.
    :ivar errors: what went wrong in the script.
    """

    def __init__(self, script: Script) -> None:
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.errors: list[Exception] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection:
                    connection.settimeout(10)
                    try:
                        self._script(connection)
                    except Exception as error:
                        self.errors.append(error)

    def close(self) -> None:
        """Stop it, and wait until its script has ended."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(15)


@contextmanager
def peer(script: Script) -> Iterator[Peer]:
    """A server for the time of a ``with`` block; errors of its script are raised at its end."""
    server = Peer(script)
    try:
        yield server
    finally:
        server.close()
    if server.errors:
        raise server.errors[0]


def read_all(connection: socket.socket) -> bytes:
    """All that the client sends until it hangs up."""
    received = b""
    while data := connection.recv(65536):
        received += data
    return received


def answering(answer: bytes) -> Script:
    """A script that reads something, answers, and hangs up."""

    def script(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(answer)

    return script
