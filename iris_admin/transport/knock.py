"""Try doors: does a TCP connection from this machine work, and does something useful answer?

A client that hangs up in the middle of a WebSocket's greeting makes Iris's edge drop all its WebSocket clients, for
the process that fails takes its listener with it. So such a port is never merely connected to: the greeting is sent at
once, and the connection is closed as the protocol wants it.
"""

from __future__ import annotations

import base64
import os
import socket
import threading
import time
from collections.abc import Sequence

from iris_admin.errors import IrisAdminError
from iris_admin.operations.local_steps import Door, Knocked
from iris_admin.proto import epmd
from iris_admin.transport.dialing import open_connection, query_epmd, reason

#: Trying a door waits for the network, not for the processor.
_THREADS = 32
_MASKED_CLOSE_FRAME = bytes([0x88, 0x80, 0, 0, 0, 0])
_LONGEST_HEAD = 4096


def knock(doors: Sequence[Door], timeout: float) -> list[Knocked]:
    """Try each door once, all at the same time.

    :param timeout: for each, in seconds.
    """
    results: list[Knocked] = [Knocked(None, "not tried")] * len(doors)
    waiting = iter(range(len(doors)))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                index = next(waiting, None)
            if index is None:
                return
            results[index] = _knock(doors[index], timeout)

    # Daemons, so that Ctrl-C does not wait for them.
    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(_THREADS, len(doors)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def _knock(door: Door, timeout: float) -> Knocked:
    start = time.monotonic()
    deadline = start + timeout
    try:
        if door.kind == "epmd":
            names = epmd.read_names_response(query_epmd(door.host, door.port, epmd.names_request(), deadline))
            return Knocked(time.monotonic() - start, names=names)
        if door.kind == "epmd memory":
            _, gone = epmd.read_dump_response(query_epmd(door.host, door.port, epmd.dump_request(), deadline))
            return Knocked(time.monotonic() - start, names=gone)
        with open_connection(door.host, door.port, deadline) as sock:
            seconds = time.monotonic() - start
            return Knocked(seconds, _greet(sock, door, deadline) if door.kind == "websocket" else None)
    except IrisAdminError as error:
        return Knocked(None, str(error))
    except OSError as error:
        return Knocked(None, reason(error))


def _greet(sock: socket.socket, door: Door, deadline: float) -> str | None:
    """Open and close a WebSocket; what is wrong with the answer, or None."""
    key = base64.b64encode(os.urandom(16))
    sock.sendall(
        b"GET / HTTP/1.1\r\nHost: %b:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: %b\r\nSec-WebSocket-Version: 13\r\n\r\n" % (door.host.encode(), door.port, key)
    )
    head = b""
    try:
        while b"\r\n\r\n" not in head and len(head) < _LONGEST_HEAD:
            sock.settimeout(max(deadline - time.monotonic(), 0.001))
            data = sock.recv(_LONGEST_HEAD)
            if not data:
                break
            head += data
    except OSError as error:
        return f"it accepts connections, but does not answer a WebSocket's greeting: {reason(error)}"
    status = head.partition(b"\r\n")[0].decode("latin-1")
    if " 101 " not in f"{status} ":
        return f"it accepts connections, but answers a WebSocket's greeting with {status!r}"
    sock.sendall(_MASKED_CLOSE_FRAME)
    return None
