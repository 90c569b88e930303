"""Which nodes run on a host: what its EPMD knows, and which of them answer."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from iris_admin.client import DEFAULT_CONNECT_TIMEOUT, Node, dialing_for
from iris_admin.errors import (
    CallTimeout,
    ConfigError,
    ConnectError,
    CookieMismatch,
    HandshakeRefused,
    IrisAdminError,
    NodeDown,
    TlsError,
)
from iris_admin.node_name import NodeName
from iris_admin.operations.identity import identity
from iris_admin.operations.results import Result, Table
from iris_admin.proto import epmd
from iris_admin.records import record, replace
from iris_admin.runner import run
from iris_admin.tls import Tls
from iris_admin.transport.dialing import Dialing, default_epmd_port, query_epmd

if TYPE_CHECKING:
    from iris_admin.cluster import Cluster

#: Options of :func:`find_nodes`.
_FIND_OPTIONS = ("cookie", "cookie_file", "epmd_port", "timeout", "connect_timeout", "tls")
#: Asking nodes waits for the network, not for the processor.
_THREADS = 16


@record
class FoundNode(Result):
    """A node that a host's EPMD knows.

    :param host: the host that was asked.
    :param node: full name, as the node itself has it where it answers; None where the host's EPMD does not answer.
    :param port: the TCP port of its distribution listener.
    :param answers: whether the node itself takes part in a handshake; None where there was no cookie to try it with.
    :param role: ``core``, ``edge``, ``core+edge`` or ``other``; None where it did not let us in.
    :param otp_release: of Erlang/OTP, likewise.
    :param iris_version: of the Iris application that runs there, likewise; None where none does.
    :param uptime: how long it has been up, in seconds, likewise.
    :param hidden: whether it was started with ``-hidden``, so that others leave it out of ``nodes()``, likewise.
    :param problem: why something is missing.
    """

    host: str
    node: str | None
    port: int | None
    answers: bool | None
    role: str | None
    otp_release: str | None = None
    iris_version: str | None = None
    uptime: float | None = None
    hidden: bool | None = None
    problem: str | None = None


def find_nodes(
    *hosts: str,
    cookie: str | None = None,
    cookie_file: str | os.PathLike[str] | None = None,
    epmd_port: int | None = None,
    timeout: float | None = None,
    connect_timeout: float = DEFAULT_CONNECT_TIMEOUT,
    tls: Tls | None = None,
) -> Table[FoundNode]:
    """Ask the EPMD of each host for its nodes, and each node who it is.

    Without a cookie the nodes are only listed.

    :param hosts: names or addresses.
    :param timeout: of all that is asked of one node, in seconds; by default that for connecting.
    :param tls: as for :func:`iris_admin.connect`.
    :raises ConfigError: a file for TLS is unusable.
    :raises EpmdUnreachable: there is only one host, and its EPMD does not answer.
    :raises HostNotFound: likewise.
    """
    if tls is not None:
        tls.context()  # before anything is sent
    port = default_epmd_port() if epmd_port is None else epmd_port
    seconds = connect_timeout if timeout is None else timeout
    found: list[tuple[FoundNode, Dialing | None]] = []
    for host in hosts:
        try:
            names = epmd.read_names_response(
                query_epmd(host, port, epmd.names_request(), time.monotonic() + connect_timeout)
            )
        except IrisAdminError as error:
            if len(hosts) == 1:
                raise
            found.append((FoundNode(host, None, None, None, None, problem=str(error)), None))
            continue
        for name, node_port in sorted(names.items()):
            listed = FoundNode(host, f"{name}@{host}", node_port, None, None)
            try:
                dialing = dialing_for(
                    str(listed.node),
                    cookie=cookie,
                    cookie_file=cookie_file,
                    epmd_port=port,
                    connect_timeout=connect_timeout,
                    tls=tls,
                )
            except ConfigError as error:
                found.append((replace(listed, problem=str(error)), None))
            else:
                found.append((listed, replace(dialing, target=replace(dialing.target, port=node_port))))
    return Table(FoundNode, _ask_all(found, seconds))


def find_cluster_nodes(node: str, *, expected: Sequence[str] = (), **options: Any) -> Table[FoundNode]:
    """The nodes of a cluster: those that the EPMDs of its hosts know, and those that are missing there.

    A node that has died is in no EPMD and in nobody's list of connected nodes. It is missed by what others still know
    of it, such as the Mnesia schema and the settings of edges.

    :param node: as for :func:`iris_admin.connect`, like the options. Should it be down, others are asked.
    :param expected: full names of nodes that should be there.
    :raises ConfigError: that is no node name.
    :raises EpmdUnreachable: there is only one host, and its EPMD does not answer.
    :raises HostNotFound: likewise.
    """
    named = str(NodeName.parse(node))
    joined: set[str] = set()
    errors: dict[str, IrisAdminError] = {}
    guests: tuple[str, ...] = ()
    try:
        with connect_somewhere(node, expected=expected, **options) as cluster:
            cluster.find_strangers(expected)
            errors, guests = dict(cluster.unreachable), cluster.guests
            joined.update(name for name in cluster.nodes if name not in errors)
    except IrisAdminError as error:
        errors[named] = error
    known = sorted({named, *joined, *errors, *expected})
    # A guest such as another operator's client need not have an EPMD.
    hosts = dict.fromkeys(NodeName.parse(name).host for name in (named, *known, *guests))
    found = find_nodes(*hosts, **{key: value for key, value in options.items() if key in _FIND_OPTIONS})
    # The host may have been given in another way than the node's own name has it.
    listed = {row.node for row in found} | {f"{str(row.node).partition('@')[0]}@{row.host}" for row in found}
    missing = [
        FoundNode(
            host=NodeName.parse(name).host,
            node=name,
            port=None,
            answers=name in joined,
            role=None,
            problem=str(errors.get(name) or f"the EPMD of {NodeName.parse(name).host} does not know it"),
        )
        for name in known
        if name not in listed
    ]
    return Table(FoundNode, [*found, *missing])


def _ask_all(found: Sequence[tuple[FoundNode, Dialing | None]], timeout: float) -> list[FoundNode]:
    rows = [listed for listed, _ in found]
    waiting: SimpleQueue[tuple[int, Dialing]] = SimpleQueue()
    for index, (_, dialing) in enumerate(found):
        if dialing is not None:
            waiting.put((index, dialing))

    def work() -> None:
        while True:
            try:
                index, dialing = waiting.get(block=False)
            except Empty:
                return
            rows[index] = _ask(rows[index], dialing, timeout)

    # Daemons, so that Ctrl-C does not wait for them.
    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(_THREADS, waiting.qsize()))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return rows


def _ask(listed: FoundNode, dialing: Dialing, timeout: float) -> FoundNode:
    """What a node says of itself."""
    node = Node(dialing, timeout=timeout)
    try:
        with node:
            node.reconnect()
            found = run(identity(timeout=timeout), lambda _: node)
    except HandshakeRefused as error:
        if error.actual_name is not None and dialing.address is None:
            # The host was not given in the way that the node's name has it.
            port, name = dialing.target.port, NodeName.parse(error.actual_name)
            renamed = replace(dialing, target=replace(name, port=port), address=dialing.host)
            return _ask(replace(listed, node=error.actual_name), renamed, timeout)
        return replace(listed, answers=True, problem=str(error))
    except (CookieMismatch, TlsError) as error:
        return replace(listed, answers=True, problem=str(error))
    except IrisAdminError as error:
        return replace(listed, answers=False, problem=str(error))
    role = found.role
    return replace(
        listed,
        answers=True,
        role=None if role is None else role.role,
        otp_release=found.otp_release,
        iris_version=None if role is None else role.iris_core or role.iris_edge,
        uptime=found.uptime,
        hidden=found.hidden,
        problem="it does not say in time what runs on it" if role is None else None,
    )


def connect_somewhere(node: str, *, expected: Sequence[str] = (), **options: Any) -> Cluster:
    """Join a cluster by the node that was named or, where that one is down, by another one.

    The others are those that are expected to be there, then those that the EPMD of the same host knows.

    :param node: as for :func:`iris_admin.connect_cluster`, like the options.
    :param expected: full names of nodes of the cluster.
    :returns: the cluster; the node that was named is in its ``unreachable`` then.
    :raises ConnectError: none of them can be joined; the error is that of the node that was named.
    """
    from iris_admin.cluster import connect_cluster

    try:
        return connect_cluster(node, **options)
    except (CookieMismatch, HandshakeRefused, TlsError):
        raise
    except (ConnectError, NodeDown, CallTimeout) as error:
        first = error
    named = str(NodeName.parse(node))
    for other in (*expected, *_neighbours(node, options)):
        if other == named:
            continue
        try:
            cluster = connect_cluster(other, **options)
        except IrisAdminError:
            continue
        cluster.include([named])
        return cluster
    raise first


def _neighbours(node: str, options: dict[str, Any]) -> Iterator[str]:
    """Nodes of the same host on which Iris runs."""
    known = {key: value for key, value in options.items() if key in _FIND_OPTIONS}
    try:
        found = find_nodes(NodeName.parse(node).host, **known)
    except IrisAdminError:
        return
    yield from (row.node for row in found if row.node is not None and row.role not in (None, "other"))
