"""What a connection needs of a socket, whether TLS is spoken on it or not."""

from __future__ import annotations

import time
from typing import Any, Protocol


class Stream(Protocol):
    """The part of :class:`socket.socket` that connections use."""

    def fileno(self) -> int:
        """What can be polled."""

    def recv(self, size: int, /) -> bytes:
        """What has arrived; empty at the end. A :class:`BlockingIOError` means: nothing yet."""

    def send(self, data: bytes, /) -> int:
        """Send a part, and say how much. After a :class:`BlockingIOError` the same bytes must be offered again."""

    def sendall(self, data: bytes, /) -> None:
        """Send, and wait until the socket has taken it."""

    def settimeout(self, seconds: float | None, /) -> None:
        """Have what is called here wait so long."""

    def setblocking(self, blocking: bool, /) -> None:
        """Have what is called here wait or not."""

    def getsockname(self) -> Any:
        """Our own address."""

    def shutdown(self, how: int, /) -> None:
        """End the connection."""

    def close(self) -> None:
        """Give the socket back."""


def set_timeout(stream: Stream, deadline: float) -> None:
    """Have what is called on a stream wait until a deadline.

    :param deadline: on the clock of :func:`time.monotonic`.
    :raises TimeoutError: it has passed.
    """
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError("no answer in time")
    stream.settimeout(remaining)
