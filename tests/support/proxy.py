"""A TCP proxy in front of a real node, or of EPMD, that does to the wire what networks do.

It knows where the frames of the distribution protocol begin, so that a fault can be told to happen at a protocol step:
"in the middle of the node's third message". It does not look into them.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Self

Kind = Literal["delay", "swallow", "silence", "end", "reset", "duplicate", "throttle", "corrupt"]
Direction = Literal["up", "down"]

#: Frames of the handshake, with two bytes of length, in each direction: our name and our answer to the challenge; the
#: node's status, challenge and acknowledgement. Those behind them have four.
_HANDSHAKE_FRAMES = {"up": 2, "down": 3}
_RECEIVE_SIZE = 64 << 10
#: Pieces in which a throttled direction sends, a second.
_SLICES = 20
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Fault:
    """What happens to one direction of each connection, from a certain byte on.

    - ``delay``: this byte and all behind it come later by ``seconds``
    - ``swallow``: nothing arrives any more in this direction, not even the end of the connection
    - ``silence``: the same in both directions, as when a cable is pulled
    - ``end``: the connection is ended in order (FIN), both ways
    - ``reset``: it is torn down (RST), both ways
    - ``duplicate``: the frame is sent twice
    - ``throttle``: from here on, only ``rate`` bytes a second
    - ``corrupt``: the byte arrives inverted

    :param kind: one of these.
    :param direction: ``up`` to the node, ``down`` from it.
    :param frame: which frame, counted from 0 at the beginning of a connection, or at :meth:`Proxy.arm_now`.
    :param offset: which byte of that frame; its length's first is 0.
    """

    kind: Kind
    direction: Direction
    frame: int = 0
    offset: int = 0
    seconds: float = 0.3
    rate: int = 100_000


class _Pipe:
    """One direction of a connection."""

    def __init__(self, proxy: Proxy, direction: Direction, source: socket.socket, sink: socket.socket) -> None:
        self.proxy = proxy
        self.direction: Direction = direction
        self.source = source
        self.sink = sink
        self.frames = 0
        # The frame at which counting begins for a fault; None for one that is not about this connection.
        self.base: int | None = 0
        self.swallows = False
        self.rate: int | None = None
        self.has_ended = False
        self._buffer = b""

    def take(self, data: bytes) -> Iterator[bytes]:
        """The frames that a piece of the stream completes; their number has been counted then."""
        self._buffer += data
        while True:
            size = self.proxy.frame_size(self.direction, self.frames, self._buffer)
            if size is None or len(self._buffer) < size:
                return
            frame, self._buffer = self._buffer[:size], self._buffer[size:]
            self.frames += 1
            yield frame

    def rest(self) -> bytes:
        """What has come behind the last whole frame."""
        rest, self._buffer = self._buffer, b""
        return rest

    def send(self, data: bytes) -> None:
        """Pass it on, unless the receiver is gone."""
        with contextlib.suppress(OSError):
            if self.rate is None:
                self.sink.sendall(data)
                return
            size = max(1, self.rate // _SLICES)
            for start in range(0, len(data), size):
                piece = data[start : start + size]
                if self.proxy.is_closed.wait(len(piece) / self.rate):
                    return
                self.sink.sendall(piece)


class _Connection:
    """A client's connection and ours to the target."""

    def __init__(self, proxy: Proxy, client: socket.socket, target: socket.socket) -> None:
        self.proxy = proxy
        self.sockets = (client, target)
        self.up = _Pipe(proxy, "up", client, target)
        self.down = _Pipe(proxy, "down", target, client)
        self.is_cut = False
        self._lock = threading.Lock()
        for pipe in (self.up, self.down):
            threading.Thread(target=self._carry, args=(pipe,), name="proxy", daemon=True).start()

    def close(self) -> None:
        for each in self.sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _carry(self, pipe: _Pipe) -> None:
        with contextlib.suppress(OSError):
            while data := pipe.source.recv(_RECEIVE_SIZE):
                for frame in pipe.take(data):
                    self._pass(pipe, frame)
        if rest := pipe.rest():
            self._pass(pipe, self.proxy.last_words(pipe, rest))
        if not (pipe.swallows or self.is_cut):
            with contextlib.suppress(OSError):
                pipe.sink.shutdown(socket.SHUT_WR)
        with self._lock:
            pipe.has_ended = True
            is_over = self.up.has_ended and self.down.has_ended
        if is_over:
            for each in self.sockets:
                each.close()
            self.proxy.forget(self)

    def _pass(self, pipe: _Pipe, frame: bytes) -> None:
        fault = self.proxy.fault_for(pipe)
        if fault is None:
            if not (pipe.swallows or self.is_cut):
                pipe.send(frame)
            return
        before, behind = frame[: fault.offset], frame[fault.offset :]
        if pipe.swallows or self.is_cut:
            return
        pipe.send(before)
        self.proxy.has_fired.set()
        match fault.kind:
            case "delay":
                self.proxy.is_closed.wait(fault.seconds)
                pipe.send(behind)
            case "swallow":
                pipe.swallows = True
            case "silence":
                self.up.swallows = self.down.swallows = True
            case "end":
                self.is_cut = True
                for each in self.sockets:
                    with contextlib.suppress(OSError):
                        each.shutdown(socket.SHUT_WR)
            case "reset":
                self.is_cut = True
                for each in self.sockets:
                    with contextlib.suppress(OSError):
                        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                        # Tells nobody, but ends our own waiting for data; the closing that follows sends the reset.
                        each.shutdown(socket.SHUT_RD)
            case "duplicate":
                pipe.send(behind)
                pipe.send(frame)
            case "throttle":
                pipe.rate = fault.rate
                pipe.send(behind)
            case "corrupt":
                pipe.send(bytes([behind[0] ^ 0xFF]) + behind[1:])


class Proxy:
    """Listens on a port of its own on 127.0.0.1, and connects everybody to another port there.

    :param target: that port.
    :param framing: ``distribution``, or ``whole``: what is said in one direction, up to its end, is one frame.
    :param rewrite: changes what comes from the target; for ``whole`` only.
    """

    def __init__(
        self,
        target: int,
        framing: Literal["distribution", "whole"] = "distribution",
        rewrite: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self.target = target
        self.is_closed = threading.Event()
        #: Whether the fault has happened since it was armed.
        self.has_fired = threading.Event()
        self._framing = framing
        self._rewrite = rewrite
        self._fault: Fault | None = None
        self._connections: list[_Connection] = []
        self._lock = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="proxy", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything."""
        self.is_closed.set()
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self._thread.join(10)
        self._server.close()
        self.drop_connections()

    def drop_connections(self) -> None:
        """End all connections, also those that a fault holds open."""
        for connection in self.connections:
            connection.close()

    def arm(self, fault: Fault) -> None:
        """Have this happen to every connection that is made from now on, until :meth:`heal`."""
        self._set(fault, base_of=lambda _: None)

    def arm_now(self, fault: Fault) -> None:
        """Have this happen to the connections that exist, counted from this moment."""
        self._set(fault, base_of=lambda pipe: pipe.frames)

    def heal(self) -> None:
        """Let connections be whole; those that a fault has happened to stay as they are."""
        with self._lock:
            self._fault = None

    @property
    def connections(self) -> list[_Connection]:
        """Those that exist."""
        with self._lock:
            return list(self._connections)

    def frames(self, direction: Direction) -> int:
        """How many frames have come in a direction on the connections that exist."""
        return sum(getattr(connection, direction).frames for connection in self.connections)

    def forget(self, connection: _Connection) -> None:
        """A connection is over."""
        with self._lock, contextlib.suppress(ValueError):
            self._connections.remove(connection)

    def fault_for(self, pipe: _Pipe) -> Fault | None:
        """The fault that happens to the frame which a pipe has counted last."""
        with self._lock:
            fault = self._fault
            if fault is None or fault.direction != pipe.direction or pipe.base is None:
                return None
            return fault if pipe.frames - pipe.base == fault.frame + 1 else None

    def frame_size(self, direction: Direction, number: int, data: bytes) -> int | None:
        """The size of the frame that begins here, or None where that is not known yet."""
        if self._framing == "whole":
            return len(data) or None if direction == "up" else None
        length_bytes = 2 if number < _HANDSHAKE_FRAMES[direction] else 4
        if len(data) < length_bytes:
            return None
        return length_bytes + int.from_bytes(data[:length_bytes], "big")

    def last_words(self, pipe: _Pipe, rest: bytes) -> bytes:
        """What to pass on of what came behind the last whole frame, or of all, where all is one frame."""
        if self._framing == "distribution":
            return rest
        pipe.frames += 1
        return rest if self._rewrite is None else self._rewrite(rest)

    def _set(self, fault: Fault, base_of: Callable[[_Pipe], int | None]) -> None:
        self.has_fired.clear()
        with self._lock:
            self._fault = fault
            for connection in self._connections:
                for pipe in (connection.up, connection.down):
                    pipe.base = base_of(pipe)

    def _accept(self) -> None:
        while not self.is_closed.is_set():
            try:
                client, _ = self._server.accept()
            except OSError:
                continue
            try:
                target = socket.create_connection(("127.0.0.1", self.target), 10)
            except OSError:
                # As if nobody listened here, either: the client's connection is torn down.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                client.close()
                continue
            target.settimeout(None)
            for each in (client, target):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._connections.append(_Connection(self, client, target))


class EpmdProxy(Proxy):
    """Stands in for an EPMD, and answers with the ports of proxies instead of the nodes' own.

    :param epmd_port: of the real one.
    :param ports: the nodes' ports, each with the one to be told instead; what is not in it stays as it is.
    """

    def __init__(self, epmd_port: int, ports: Mapping[int, int] | None = None) -> None:
        self.ports = dict(ports or {})
        super().__init__(epmd_port, "whole", self._change)

    def _change(self, reply: bytes) -> bytes:
        if reply[:2] == b"w\0":  # the answer about one node
            port = int.from_bytes(reply[2:4], "big")
            return reply[:2] + self.ports.get(port, port).to_bytes(2, "big") + reply[4:]
        # The list of all; it begins with EPMD's own port.
        return reply[:4] + re.sub(rb"(?<= at port )\d+", self._other_port, reply[4:])

    def _other_port(self, match: re.Match[bytes]) -> bytes:
        port = int(match[0])
        return str(self.ports.get(port, port)).encode()
