"""Usual calls, each of which is one function in C (``_exchange.c``), where that was built."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

from iris_admin.proto.connection import Connection
from iris_admin.proto.events import CallEnded
from iris_admin.proto.rpc import names

#: From this size on arguments are sent in pieces, maybe, and are encoded for longer than a call takes; in bytes.
_LONG_ARGUMENTS = 32 << 10


@cache
def compiled_exchange() -> Callable[..., bytes | tuple[bytes, int, bytes, int]] | None:
    """What ``_exchange.c`` is about, if it was built. Loaded for the second call: most commands make one."""
    try:
        from iris_admin.transport._exchange import exchange  # type: ignore[import-not-found]
    except ImportError:
        return None
    return exchange  # type: ignore[no-any-return]


class Exchanges:
    """Makes calls on a link for which nobody else has anything to do there, and which are not for long.

    :param descriptor: of the socket, on which nothing but our bytes goes.
    :param connection: joined.
    :param looks: how often to look in vain for an answer.
    :ivar last_made: when the last call ended that was answered in time, on the clock of :func:`time.monotonic`.
    """

    def __init__(self, descriptor: int, connection: Connection, *, looks: int) -> None:
        self.last_made = 0.0
        self._descriptor = descriptor
        self._connection = connection
        self._looks = looks
        self._exchange: Callable[..., bytes | tuple[bytes, int, bytes, int]] | None = None

    def make(self, module: str, function: str, args: bytes) -> CallEnded | tuple[int, bytes, bytes, int] | None:
        """Send a call, and look for its answer for a while.

        :param args: the argument list, encoded.
        :returns: how it ended. Else the number of the call, what is still to be sent, what has come, and the number of
            an error of the socket (or 0). None where a call cannot be made like this, or where that was not built.
        """
        begun = self._connection.begin_exchange() if len(args) <= _LONG_ARGUMENTS else None
        if begun is None:
            return None
        exchange = self._exchange = self._exchange or compiled_exchange()
        if exchange is None:
            return None
        pieces, creation, call_id = begun
        outcome = exchange(self._descriptor, pieces, creation, call_id, names(module, function), args, self._looks)
        now = time.monotonic()
        if isinstance(outcome, bytes):
            self.last_made = now
            self._connection.end_exchange(now)
            return CallEnded(call_id, None, outcome, 0, None)
        request, sent, data, error = outcome
        self._connection.take_back(call_id, now)
        return call_id, request[sent:], data, error
