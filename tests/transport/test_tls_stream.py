"""TLS on a connection, against OpenSSL at the other end of a pair of sockets: what no node does on demand."""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from iris_admin.tls import Tls
from iris_admin.transport.tls_stream import TlsStream, tls_stream
from tests.support.certificates import Certificates
from tests.support.failures import SLACK

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


class Server:
    """The other end. It encrypts in memory, so that the test decides what goes over the wire, and when."""

    def __init__(self, sock: socket.socket, certificates: Certificates, version: ssl.TLSVersion) -> None:
        self.socket = sock
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.maximum_version = version
        context.load_cert_chain(certificates.both("node"))
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)

    def handshake(self) -> None:
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.socket.sendall(self.outgoing.read())
                self.incoming.write(self.socket.recv(65536))
            else:
                self.socket.sendall(self.outgoing.read())
                return

    def encrypted(self, data: bytes) -> bytes:
        for start in range(0, len(data), 16384):
            self.tls.write(data[start : start + 16384])
        return self.outgoing.read()

    def farewell(self) -> bytes:
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self.outgoing.read()

    def receive(self) -> bytes:
        """All that has arrived, decrypted."""
        self.incoming.write(self.socket.recv(1 << 20))
        data = b""
        try:
            while piece := self.tls.read(16384):
                data += piece
        except ssl.SSLWantReadError:
            pass
        return data


@pytest.fixture(params=VERSIONS, ids=["1.2", "1.3"])
def ends(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[tuple[TlsStream, Server]]:
    """Our end, which does not block, and the other."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(SLACK)
        server = Server(theirs, certificates, request.param)
        stream = tls_stream(ours, Tls(certificates.certificate("ca")).context(), "localhost")
        with ThreadPoolExecutor(1) as pool:
            greeted = pool.submit(server.handshake)
            stream.handshake(time.monotonic() + SLACK, lambda: pytest.fail("the server was silent"))
            greeted.result(SLACK)
        stream.setblocking(False)
        # Tickets for another session, which are of no interest.
        with pytest.raises(BlockingIOError):
            stream.recv(65536)
        yield stream, server


def readable(stream: TlsStream) -> bool:
    return bool(select.select([stream], [], [], 0)[0])


def fill(stream: TlsStream) -> None:
    while True:
        stream.send(b"x" * 65536)


def test_what_arrived_at_once_is_given_at_once(ends: tuple[TlsStream, Server]) -> None:
    """Or a poll of the socket would show nothing, while the rest waits within OpenSSL."""
    stream, server = ends
    data = bytes(range(256)) * 512
    server.socket.sendall(server.encrypted(data))
    assert stream.recv(1 << 20) == data
    assert not readable(stream)


def test_byte_by_byte(ends: tuple[TlsStream, Server]) -> None:
    stream, server = ends
    wire = server.encrypted(b"whole")
    for byte in wire[:-1]:
        server.socket.sendall(bytes([byte]))
        with pytest.raises(BlockingIOError):
            stream.recv(65536)
    server.socket.sendall(wire[-1:])
    assert stream.recv(65536) == b"whole"


def test_data_and_farewell_in_one_segment(ends: tuple[TlsStream, Server]) -> None:
    stream, server = ends
    server.socket.sendall(server.encrypted(b"last words") + server.farewell())
    assert stream.recv(65536) == b"last words"
    # The other side keeps the connection open, and yet its end shows.
    assert readable(stream)
    assert stream.recv(65536) == b""
    assert stream.recv(65536) == b""


def test_the_end_without_a_farewell(ends: tuple[TlsStream, Server]) -> None:
    stream, server = ends
    server.socket.sendall(server.encrypted(b"last words"))
    server.socket.shutdown(socket.SHUT_WR)
    assert stream.recv(65536) == b"last words"
    assert stream.recv(65536) == b""


def test_a_record_that_somebody_has_changed(ends: tuple[TlsStream, Server]) -> None:
    stream, server = ends
    wire = bytearray(server.encrypted(b"to be trusted"))
    wire[-1] ^= 1
    server.socket.sendall(wire)
    with pytest.raises(OSError) as caught:  # noqa: PT011  (what it says comes next)
        stream.recv(65536)
    assert caught.value.strerror in ("decryption failed or bad record mac", "record layer failure")  # since OpenSSL 3.5


def test_more_than_the_socket_takes(ends: tuple[TlsStream, Server]) -> None:
    stream, server = ends
    data = bytes(range(256)) * 40_000
    rest, received = data, b""
    refused = 0
    while rest:
        try:
            rest = rest[stream.send(rest) :]
        except BlockingIOError:
            refused += 1
            received += server.receive()
    assert refused > 10
    while len(received) < len(data):
        received += server.receive()
    assert received == data


def test_reading_while_the_socket_takes_no_more(ends: tuple[TlsStream, Server]) -> None:
    """Both sides send more than fits, and each must go on reading."""
    stream, server = ends
    with pytest.raises(BlockingIOError):
        fill(stream)
    server.socket.sendall(server.encrypted(b"an answer"))
    assert stream.recv(65536) == b"an answer"


def test_our_farewell(ends: tuple[TlsStream, Server]) -> None:
    stream, server = ends
    stream.shutdown(socket.SHUT_RDWR)
    server.incoming.write(server.socket.recv(65536))
    assert server.tls.read(1) == b""  # and no error: a farewell, not a cut
