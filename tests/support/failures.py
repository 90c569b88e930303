"""Everything that can be wrong with reaching a node, made on purpose.

Each case of :data:`FAILURES` is provoked by one function, which the tests and ``tests/failure_table.py`` share.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Unpack

import iris_admin
from iris_admin import errors
from iris_admin.client import Node
from iris_admin.errors import IrisAdminError
from iris_admin.tls import Tls
from tests.support.certificates import Certificates
from tests.support.erlang import ErlangNode, NodeFactory, NodeOptions, free_port

#: Time-outs of the cases, in seconds: long enough for a busy machine, short enough to wait for.
CONNECT_TIMEOUT = 0.8
CALL_TIMEOUT = 0.3
#: What a failure may take longer than its time-out, in seconds, on a busy machine.
SLACK = 4.0

#: What a well-behaved web server answers to a handshake.
HTTP = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"


@contextmanager
def listener(serve: Callable[[socket.socket], None] | None = None) -> Iterator[int]:
    """A port that accepts connections; each is served by a thread, or left alone.

    :param serve: called with each connection, which is closed when it returns.
    """
    stop = threading.Event()
    accepted: list[socket.socket] = []

    def handle(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            assert serve is not None
            serve(connection)

    def accept(server: socket.socket) -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                if serve is None:
                    accepted.append(connection)
                else:
                    threading.Thread(target=handle, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=accept, args=(server,), daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            stop.set()
            server.shutdown(socket.SHUT_RDWR)  # wakes the thread
            thread.join(10)
            for connection in accepted:
                connection.close()


@contextmanager
def black_hole() -> Iterator[int]:
    """A port that swallows attempts to connect, as behind a firewall that drops them: its queue is full."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        while True:
            filler = stack.enter_context(socket.socket())
            filler.settimeout(0.2)
            try:
                filler.connect(server.getsockname())
            except TimeoutError:
                break
        yield server.getsockname()[1]


def say(data: bytes) -> Callable[[socket.socket], None]:
    """Serve a connection by saying this, whatever is asked."""

    def serve(connection: socket.socket) -> None:
        connection.sendall(data)
        while connection.recv(4096):
            pass

    return serve


def hang_up(connection: socket.socket) -> None:
    """Serve a connection by closing it when something was said."""
    connection.recv(1)


def drip(connection: socket.socket) -> None:
    """Serve a connection by a handshake message of which a byte comes now and then."""
    connection.sendall(b"\x0f\x00s")
    while True:
        connection.sendall(b"x")
        time.sleep(0.05)


class Scene:
    """Where failures are provoked: nodes, listeners and connections, all of which end with it."""

    def __init__(self, nodes: NodeFactory, stack: ExitStack, certificates: Certificates) -> None:
        self._nodes = nodes
        self.certificates = certificates
        self._stack = stack
        self._living: ErlangNode | None = None

    @property
    def epmd_port(self) -> int:
        return self._nodes.epmd.port

    @property
    def living(self) -> ErlangNode:
        """A node with which nothing is wrong."""
        if self._living is None:
            self._living = self._nodes()
        return self._living

    def doomed(self, **options: Unpack[NodeOptions]) -> ErlangNode:
        """A node for one case alone."""
        node = self._nodes(**options)
        self._stack.callback(node.kill)
        return node

    def port(self, manager: Any) -> int:
        """Open a port that lasts as long as the scene."""
        return int(self._stack.enter_context(manager))

    def connect(self, node: str, **options: Any) -> Node:
        defaults = {"cookie": "SECRET", "epmd_port": self.epmd_port, "connect_timeout": CONNECT_TIMEOUT}
        return self._stack.enter_context(iris_admin.connect(node, **{**defaults, **options}))

    def join(self, node: ErlangNode, **options: Any) -> Node:
        return self.connect(node.name, cookie=node.cookie, **options)


@dataclass(frozen=True)
class Failure:
    """A case.

    :param what: in words.
    :param error: what it must raise.
    :param within: after how many seconds at the latest, not counting what prepares it.
    :param prepare: makes what is wrong; returns what must raise the error.
    """

    what: str
    error: type[IrisAdminError]
    within: float
    prepare: Callable[[Scene], Callable[[], object]]


def _connect(node: str, **options: Any) -> Callable[[Scene], Callable[[], object]]:
    return lambda scene: lambda: scene.connect(node, **options)


def _to_port(manager: Callable[[], Any]) -> Callable[[Scene], Callable[[], object]]:
    def prepare(scene: Scene) -> Callable[[], object]:
        port = scene.port(manager())
        return lambda: scene.connect(f"db1@127.0.0.1:{port}")

    return prepare


def _to_epmd(manager: Callable[[], Any]) -> Callable[[Scene], Callable[[], object]]:
    def prepare(scene: Scene) -> Callable[[], object]:
        port = scene.port(manager())
        return lambda: scene.connect("db1@127.0.0.1", epmd_port=port)

    return prepare


def _wrong_cookie(scene: Scene) -> Callable[[], object]:
    name = scene.living.name
    return lambda: scene.connect(name, cookie="WRONG")


def _other_node(scene: Scene) -> Callable[[], object]:
    port = scene.living.port
    return lambda: scene.connect(f"other@127.0.0.1:{port}", cookie=scene.living.cookie)


def _stopped_before(scene: Scene) -> Callable[[], object]:
    node = scene.doomed()
    node.suspend()
    return lambda: scene.join(node)


def _stopped_in_call(scene: Scene) -> Callable[[], object]:
    node = scene.doomed()
    client = scene.join(node)
    client.ping()
    node.suspend()
    return lambda: client.call("erlang", "node", timeout=CALL_TIMEOUT)


def _silent_in_call(scene: Scene) -> Callable[[], object]:
    node = scene.doomed()
    client = scene.join(node, net_ticktime=0.8)
    client.ping()
    node.suspend()
    return lambda: client.call("erlang", "node", timeout=60)


def _killed_in_call(scene: Scene) -> Callable[[], object]:
    node = scene.doomed()
    client = scene.join(node)
    waiting = client.submit("timer", "sleep", 60_000, timeout=60)
    client.ping()

    def fail() -> None:
        node.kill()
        waiting.result(60)

    return fail


def _killed_before_call(scene: Scene) -> Callable[[], object]:
    node = scene.doomed()
    client = scene.join(node)
    node.kill()

    def fail() -> None:
        # The first call may find the old connection; what comes after tries to make a new one.
        with contextlib.suppress(errors.NodeDown):
            client.call("erlang", "node")
        client.call("erlang", "node")

    return fail


def _slow_call(scene: Scene) -> Callable[[], object]:
    client = scene.join(scene.living)
    return lambda: client.call("timer", "sleep", 60_000, timeout=CALL_TIMEOUT)


def _no_such_function(scene: Scene) -> Callable[[], object]:
    client = scene.join(scene.living)
    return lambda: client.call("lists", "no_such_function")


def _tls(
    ca: str = "ca", *, ours: str | None = None, server_name: str | None = None, **node: Any
) -> Callable[[Scene], Callable[[], object]]:
    """A node that speaks TLS.

    :param ca: the authority that we trust.
    :param ours: our certificate.
    :param node: as for :meth:`~tests.support.certificates.Certificates.distribution_flags`.
    """

    def prepare(scene: Scene) -> Callable[[], object]:
        files = scene.certificates
        tls = Tls(files.certificate(ca), files.both(ours) if ours else None, server_name=server_name)
        target = scene.doomed(flags=files.distribution_flags(**node))
        return lambda: scene.join(target, tls=tls)

    return prepare


def _plain_to_tls(scene: Scene) -> Callable[[], object]:
    node = scene.doomed(flags=scene.certificates.distribution_flags())
    return lambda: scene.join(node)


def _tls_to_plain(scene: Scene) -> Callable[[], object]:
    return lambda: scene.join(scene.living, tls=Tls(scene.certificates.certificate("ca")))


def _tls_to_port(manager: Callable[[], Any]) -> Callable[[Scene], Callable[[], object]]:
    def prepare(scene: Scene) -> Callable[[], object]:
        port = scene.port(manager())
        return lambda: scene.connect(f"db1@127.0.0.1:{port}", tls=Tls(scene.certificates.certificate("ca")))

    return prepare


def _tls_stopped(scene: Scene) -> Callable[[], object]:
    node = scene.doomed(flags=scene.certificates.distribution_flags())
    node.suspend()
    return lambda: scene.join(node, tls=Tls(scene.certificates.certificate("ca")))


def _tls_wrong_cookie(scene: Scene) -> Callable[[], object]:
    node = scene.doomed(flags=scene.certificates.distribution_flags())
    return lambda: scene.connect(node.name, cookie="WRONG", tls=Tls(scene.certificates.certificate("ca")))


_1_2, _1_3 = "'tlsv1.2'", "'tlsv1.3'"

#: With four attempts, the pauses between them add up to about a second.
_RETRIES = 1.5

FAILURES = (
    Failure("unknown host", errors.HostNotFound, CONNECT_TIMEOUT, _connect("db1@no-such-host.invalid")),
    Failure(
        "unknown host, port given", errors.HostNotFound, CONNECT_TIMEOUT, _connect("db1@no-such-host.invalid:9100")
    ),
    Failure("EPMD: port closed", errors.EpmdUnreachable, _RETRIES, lambda scene: _epmd_closed(scene)),
    Failure("EPMD: port swallows packets", errors.EpmdUnreachable, CONNECT_TIMEOUT, _to_epmd(black_hole)),
    Failure("EPMD: accepts, says nothing", errors.EpmdUnreachable, CONNECT_TIMEOUT, _to_epmd(listener)),
    Failure("EPMD: talks HTTP", errors.EpmdUnreachable, _RETRIES, _to_epmd(lambda: listener(say(HTTP)))),
    Failure("EPMD: hangs up", errors.EpmdUnreachable, _RETRIES, _to_epmd(lambda: listener(hang_up))),
    Failure("unknown node", errors.NodeNotFound, _RETRIES, _connect("nobody@127.0.0.1")),
    Failure("node: port closed", errors.NodeUnreachable, _RETRIES, lambda scene: _port_closed(scene)),
    Failure("node: port swallows packets", errors.NodeUnreachable, CONNECT_TIMEOUT, _to_port(black_hole)),
    Failure("node: accepts, says nothing", errors.HandshakeTimeout, CONNECT_TIMEOUT, _to_port(listener)),
    Failure("node: a byte now and then", errors.HandshakeTimeout, CONNECT_TIMEOUT, _to_port(lambda: listener(drip))),
    Failure("node: talks HTTP", errors.NotAnErlangNode, 0.0, _to_port(lambda: listener(say(HTTP)))),
    Failure("node: hangs up", errors.HandshakeRefused, 0.0, _to_port(lambda: listener(hang_up))),
    Failure("node: refuses", errors.HandshakeRefused, 0.0, _to_port(lambda: listener(say(b"\0\x0csnot_allowed")))),
    Failure("another node there", errors.HandshakeRefused, 0.0, _other_node),
    Failure("wrong cookie", errors.CookieMismatch, 0.0, _wrong_cookie),
    Failure("stopped (SIGSTOP) before connecting", errors.HandshakeTimeout, CONNECT_TIMEOUT, _stopped_before),
    Failure("stopped (SIGSTOP), in a call", errors.CallTimeout, CALL_TIMEOUT, _stopped_in_call),
    Failure("stopped for net_ticktime (0.8 s) and a quarter", errors.NodeDown, 1.0, _silent_in_call),
    Failure("killed, in a call", errors.NodeDown, 0.0, _killed_in_call),
    Failure("killed before the next call", errors.NodeNotFound, _RETRIES, _killed_before_call),
    Failure("a call takes too long", errors.CallTimeout, CALL_TIMEOUT, _slow_call),
    Failure("no such function", errors.RemoteError, 0.0, _no_such_function),
    Failure("TLS: a node that we talk plainly to", errors.TlsRequired, 0.0, _plain_to_tls),
    Failure("TLS: to a plain node", errors.TlsNotSpoken, CONNECT_TIMEOUT, _tls_to_plain),
    Failure("TLS: to a web server", errors.TlsNotSpoken, 0.0, _tls_to_port(lambda: listener(say(HTTP)))),
    Failure("TLS: accepts, says nothing", errors.HandshakeTimeout, CONNECT_TIMEOUT, _tls_to_port(listener)),
    Failure("TLS: hangs up", errors.TlsError, 0.0, _tls_to_port(lambda: listener(hang_up))),
    Failure("TLS: stopped (SIGSTOP)", errors.HandshakeTimeout, CONNECT_TIMEOUT, _tls_stopped),
    Failure("TLS 1.2: wrong CA", errors.CertificateNotTrusted, 0.0, _tls("other_ca", versions=_1_2)),
    Failure("TLS 1.3: wrong CA", errors.CertificateNotTrusted, 0.0, _tls("other_ca", versions=_1_3)),
    Failure("TLS: certificate expired", errors.CertificateExpired, 0.0, _tls(name="expired")),
    Failure("TLS: certificate not valid yet", errors.CertificateExpired, 0.0, _tls(name="too_early")),
    Failure("TLS: certificate of another host", errors.CertificateNameMismatch, 0.0, _tls(name="elsewhere")),
    Failure("TLS: another server name wanted", errors.CertificateNameMismatch, 0.0, _tls(server_name="db1")),
    Failure(
        "TLS 1.2: no client certificate",
        errors.ClientCertificateRequired,
        0.0,
        _tls(wants_client=True, versions=_1_2),
    ),
    Failure(
        "TLS 1.3: no client certificate",
        errors.ClientCertificateRequired,
        0.0,
        _tls(wants_client=True, versions=_1_3),
    ),
    Failure(
        "TLS 1.2: client certificate of another CA",
        errors.ClientCertificateRefused,
        0.0,
        _tls(ours="other_client", wants_client=True, versions=_1_2),
    ),
    Failure(
        "TLS 1.3: client certificate of another CA",
        errors.ClientCertificateRefused,
        0.0,
        _tls(ours="other_client", wants_client=True, versions=_1_3),
    ),
    Failure(
        "TLS 1.3: client certificate expired",
        errors.ClientCertificateRefused,
        0.0,
        _tls(ours="expired_client", wants_client=True, versions=_1_3),
    ),
    Failure("TLS: the node speaks 1.1 only", errors.TlsVersionMismatch, 0.0, _tls(versions="'tlsv1.1'")),
    Failure("TLS: wrong cookie", errors.CookieMismatch, 0.0, _tls_wrong_cookie),
)


def _epmd_closed(scene: Scene) -> Callable[[], object]:
    port = free_port()
    return lambda: scene.connect("db1@127.0.0.1", epmd_port=port)


def _port_closed(scene: Scene) -> Callable[[], object]:
    port = free_port()
    return lambda: scene.connect(f"db1@127.0.0.1:{port}")


def provoke(failure: Failure, scene: Scene) -> tuple[Exception | None, float]:
    """Have it happen: the error, or None, and the seconds that it took."""
    fail = failure.prepare(scene)
    start = time.monotonic()
    try:
        fail()
    except Exception as error:
        return error, time.monotonic() - start
    return None, time.monotonic() - start
