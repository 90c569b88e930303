"""Find a node and join it: name resolution, EPMD, TCP, handshake; each failure with its own error."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, cast

from iris_admin.cookie import Cookie
from iris_admin.errors import (
    ConfigError,
    ConnectError,
    EpmdUnreachable,
    HandshakeRefused,
    HandshakeTimeout,
    HostNotFound,
    NodeNotFound,
    NodeUnreachable,
    NotAnErlangNode,
    ProtocolError,
)
from iris_admin.node_name import NodeName, short_host_name
from iris_admin.proto import epmd
from iris_admin.proto.connection import DEFAULT_NET_TICKTIME, Connection
from iris_admin.proto.events import Connected, Lost
from iris_admin.records import record
from iris_admin.transport.stream import Stream, set_timeout

if TYPE_CHECKING:
    import ssl

    from iris_admin.tls import Tls
    from iris_admin.transport.tls_stream import TlsStream

EPMD_PORT_VARIABLE = "ERL_EPMD_PORT"

#: As :func:`socket.getaddrinfo` gives it and :meth:`socket.socket.connect` takes it.
SocketAddress: TypeAlias = Any

_RECEIVE_SIZE = 64 << 10
#: How long a node may take to show that it speaks plain distribution, in seconds.
_PLAIN_PATIENCE = 1.0
#: EPMD's replies are lists of a host's nodes; none comes near.
_MAX_EPMD_REPLY = 1 << 20


@record
class Dialing:
    """All that is needed to reach a node.

    :param target: the node.
    :param cookie: the shared secret.
    :param name: a fixed name for us (before the ``@``), or None to be given one by the node.
    :param epmd_port: EPMD's TCP port on the node's host.
    :param net_ticktime: in seconds, see :class:`~iris_admin.proto.connection.Connection`.
    :param connect_timeout: for all steps together, in seconds.
    :param retries: whether to try again what may pass by itself.
    :param address: a host name or address to connect to, where that is not the host of the node's name.
    :param tls: how TLS is spoken, or None for plain distribution.
    """

    target: NodeName
    cookie: Cookie
    name: str | None = None
    epmd_port: int = epmd.DEFAULT_PORT
    net_ticktime: float = DEFAULT_NET_TICKTIME
    connect_timeout: float = 5.0
    retries: bool = True
    address: str | None = None
    tls: Tls | None = None

    @property
    def host(self) -> str:
        """Where the node and its EPMD are."""
        return self.address or self.target.host

    @property
    def server_name(self) -> str:
        """Whom the node's certificate must be for."""
        name = None if self.tls is None else self.tls.server_name
        return self.target.host if name is None else name

    def dial(self, deadline: float) -> tuple[Stream, Connection]:
        """Connect and join.

        :param deadline: when to give up, on the clock of :func:`time.monotonic`.
        :returns: a connected non-blocking socket, and the joined connection.
        :raises ConnectError: one of its kinds for each step that can fail.
        :raises ConfigError: a file that TLS needs is unusable; nothing was sent.
        """
        node = str(self.target)
        context = None if self.tls is None else self.tls.context()
        port = self.target.port
        if port is None:
            port = self._ask_epmd(deadline).port
        try:
            sock = open_connection(self.host, port, deadline)
        except ConnectError as error:
            error.node = node
            raise
        except OSError as error:
            raise NodeUnreachable(
                f"{node} does not accept connections on {self.host}:{port}: {reason(error)}",
                node=node,
                hint="Has the node just died, or does a firewall drop its distribution port?",
            ) from None
        try:
            stream = sock if context is None else self._start_tls(sock, context, port, deadline)
            return stream, self._join(stream, deadline)
        except ProtocolError as error:
            sock.close()
            raise NotAnErlangNode(
                f"what answers on {self.host}:{port} is no Erlang node: {error}",
                node=node,
                hint="Is that port the node's distribution port?",
            ) from None
        except BaseException:
            sock.close()
            raise

    def _start_tls(self, sock: socket.socket, context: ssl.SSLContext, port: int, deadline: float) -> TlsStream:
        # Imported when it is needed: ssl takes longer than a call.
        from iris_admin.transport.tls_failure import not_spoken
        from iris_admin.transport.tls_stream import tls_stream

        def on_silence() -> None:
            # A plain node takes the beginning of TLS for the length of a message, and waits for that.
            if self._is_plain(port, deadline):
                raise not_spoken(str(self.target)) from None

        stream = tls_stream(sock, context, self.server_name)
        try:
            stream.handshake(deadline, on_silence)
        except TimeoutError:
            raise HandshakeTimeout(
                f"{self.target} accepted the connection, but did not finish the TLS handshake in time",
                node=str(self.target),
                hint="The node's VM may be stopped or overloaded; look at its machine. Does the node use TLS at all?",
                in_tls=True,
            ) from None
        except OSError as error:
            self._raise_tls_failure(stream, error)
        return stream

    def _raise_tls_failure(self, stream: TlsStream, error: OSError) -> NoReturn:
        import ssl

        from iris_admin.transport.tls_failure import closed_in_handshake, tls_failure

        if not isinstance(error, ssl.SSLError) or isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            raise closed_in_handshake(str(self.target)) from None
        raise tls_failure(
            error,
            str(self.target),
            self.server_name,
            shows_certificate=self.tls is not None and self.tls.certificate is not None,
            cipher_is_agreed=stream.cipher_is_agreed,
        ) from None

    def _is_plain(self, port: int, deadline: float) -> bool:
        """Whether the node answers plain distribution; its first answer is enough."""
        deadline = min(deadline, time.monotonic() + _PLAIN_PATIENCE)
        with contextlib.suppress(OSError, ConnectError), open_connection(self.host, port, deadline) as sock:
            # Under a name that the node gives: nothing of it stays there.
            sock.sendall(self._connection(sock, name=None, length_bytes=2).data_to_send())
            set_timeout(sock, deadline)
            return sock.recv(_RECEIVE_SIZE)[2:3] == b"s"
        return False

    def _ask_epmd(self, deadline: float) -> epmd.NodeRegistration:
        node, host = str(self.target), self.host
        try:
            request = epmd.port_please2_request(self.target.name)
            registration = epmd.read_port2_response(query_epmd(host, self.epmd_port, request, deadline))
            if registration is not None:
                return registration
            names = epmd.read_names_response(query_epmd(host, self.epmd_port, epmd.names_request(), deadline))
        except ProtocolError as error:
            raise EpmdUnreachable(
                f"what answers on {host}:{self.epmd_port} is no EPMD: {error}", node=node, hint=error.hint
            ) from None
        except ConnectError as error:
            error.node = node
            raise
        others = ", ".join(sorted(names)) or "none"
        raise NodeNotFound(
            f"EPMD on {host} knows no node {self.target.name!r}; registered there: {others}",
            node=node,
            hint="Is the node down, or its name misspelt?",
            registered=tuple(sorted(names)),
        )

    def _connection(self, sock: Stream, *, name: str | None, length_bytes: int) -> Connection:
        return Connection(
            peer=str(self.target),
            cookie=self.cookie.value,
            host=self._our_host(sock),
            name=name,
            challenge=int.from_bytes(os.urandom(4), "big"),
            # Creations 0 to 3 are those of a time when they had two bits.
            creation=int.from_bytes(os.urandom(4), "big") | 4,
            net_ticktime=self.net_ticktime,
            now=time.monotonic(),
            length_bytes=length_bytes,
        )

    def _join(self, sock: Stream, deadline: float) -> Connection:
        connection = self._connection(sock, name=self.name, length_bytes=2 if self.tls is None else 4)
        while True:
            try:
                set_timeout(sock, deadline)
                # A node that refuses us has closed perhaps, but what it said before that can still be read.
                with contextlib.suppress(ConnectionError):
                    sock.sendall(connection.data_to_send())
                data = sock.recv(_RECEIVE_SIZE)
            except TimeoutError:
                raise HandshakeTimeout(
                    f"{self.target} accepted the connection, but did not finish the handshake in time",
                    node=str(self.target),
                    hint="The node's VM may be stopped or overloaded; look at its machine.",
                ) from None
            except BlockingIOError:
                continue  # only a part of a TLS record has arrived
            except OSError as error:
                # With TLS 1.3 a node looks at our certificate when the handshake is over for us.
                if self.tls is not None and not isinstance(error, ConnectionError):
                    self._raise_tls_failure(cast("TlsStream", sock), error)
                if self.tls is None:
                    # Whoever does not share our cookie closes in order.
                    raise HandshakeRefused(
                        f"{self.target} broke the connection during the handshake: {reason(error)}",
                        node=str(self.target),
                        hint="Did the node end just now, or does a firewall cut its connections?",
                    ) from None
                data = b""
            if data:
                connection.receive_data(data, time.monotonic())
            else:
                connection.receive_eof()
            event = connection.next_event()
            if isinstance(event, Connected):
                sock.setblocking(False)
                return connection
            if isinstance(event, Lost):
                raise event.error

    def _our_host(self, sock: Stream) -> str:
        # A node with a long name takes only peers whose host looks long, too; an address always does.
        if self.target.is_long:
            return str(sock.getsockname()[0])
        return short_host_name()


def default_epmd_port() -> int:
    """EPMD's port: ``ERL_EPMD_PORT`` as for ``erl`` itself, else 4369.

    :raises ConfigError: the variable holds no port.
    """
    text = os.environ.get(EPMD_PORT_VARIABLE)
    if not text:
        return epmd.DEFAULT_PORT
    if not (text.isdecimal() and len(text) <= 5 and 0 < int(text) < 65536):
        raise ConfigError(f"the variable {EPMD_PORT_VARIABLE} is no TCP port: {text!r}")
    return int(text)


def query_epmd(host: str, port: int, request: bytes, deadline: float) -> bytes:
    """Send one request to a host's EPMD and return its whole reply.

    :param port: EPMD's TCP port.
    :param deadline: on the clock of :func:`time.monotonic`.
    :raises HostNotFound: the host name does not resolve.
    :raises EpmdUnreachable: nobody answers there.
    """
    try:
        with open_connection(host, port, deadline) as sock:
            sock.sendall(request)
            reply = bytearray()
            while len(reply) < _MAX_EPMD_REPLY:
                set_timeout(sock, deadline)
                data = sock.recv(_RECEIVE_SIZE)
                if not data:
                    break
                reply += data
            return bytes(reply)
    except OSError as error:
        raise EpmdUnreachable(
            f"EPMD on {host}:{port} does not answer: {reason(error)}",
            hint=f"Is {EPMD_PORT_VARIABLE} right? Without EPMD, give the node's own port: name@{host}:PORT",
        ) from None


def reason(error: OSError) -> str:
    """Why a connection failed, in a few words."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return (error.strerror or str(error)).lower()


def open_connection(host: str, port: int, deadline: float) -> socket.socket:
    """Connect to a TCP port, by whichever of the host's addresses answers first in their order.

    :param deadline: on the clock of :func:`time.monotonic`.
    :returns: a blocking socket without delay, with what is left of the time as its time-out.
    :raises HostNotFound: the host name does not resolve.
    :raises OSError: nobody answers.
    """
    addresses = resolve(host, port, deadline)
    for index, (family, address) in enumerate(addresses):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            # An address that swallows packets must not use up the time of those behind it.
            share = (deadline - time.monotonic()) / (len(addresses) - index)
            set_timeout(sock, time.monotonic() + share)
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except OSError:
            sock.close()
            if index == len(addresses) - 1:
                raise
        except BaseException:
            sock.close()
            raise
    raise AssertionError("getaddrinfo gives at least one address")


def resolve(host: str, port: int, deadline: float) -> list[tuple[socket.AddressFamily, SocketAddress]]:
    """The addresses of a host, each with its family, within the time that is left.

    :raises HostNotFound: there is none, or the resolver does not answer in time.
    """
    results: list[tuple[socket.AddressFamily, SocketAddress]] = []
    errors: list[str] = []
    # As bytes, where that is possible: for a str Python loads a codec that takes a millisecond.
    name = host.encode() if host.isascii() else host

    def look_up(flags: int = 0) -> None:
        try:
            found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=flags)
            results.extend((family, address) for family, _, _, _, address in found)
        except (OSError, UnicodeError) as error:
            errors.append(getattr(error, "strerror", None) or str(error))

    look_up(socket.AI_NUMERICHOST)
    if results:
        return results
    errors.clear()
    # The C library's resolver takes no time-out, so it is left behind in a thread when it is too slow.
    thread = threading.Thread(target=look_up, name="iris_admin resolver", daemon=True)
    thread.start()
    thread.join(max(0.0, deadline - time.monotonic()))
    if results:
        return results
    why = errors[0].lower() if errors else "the resolver did not answer in time"
    raise HostNotFound(
        f"the host {host!r} cannot be resolved: {why}",
        hint="Check its spelling, /etc/hosts and DNS. A node started with -sname has a host name without dots.",
    )
