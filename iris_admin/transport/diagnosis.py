"""Why a node cannot be reached: what works, layer by layer, where it stops, and what to try there."""

from __future__ import annotations

import time
from typing import Literal, TypeAlias

from iris_admin.errors import (
    ConnectError,
    CookieMismatch,
    EpmdUnreachable,
    HandshakeTimeout,
    HostNotFound,
    IrisAdminError,
    NodeNotFound,
    NodeUnreachable,
    TlsError,
)
from iris_admin.proto import epmd
from iris_admin.proto.etf import encode_term
from iris_admin.proto.rpc import Returned
from iris_admin.records import record
from iris_admin.transport.dialing import Dialing, query_epmd, resolve
from iris_admin.transport.io_thread import io_thread
from iris_admin.transport.link import Link

Status: TypeAlias = Literal["ok", "failed", "not reached", "not needed"]

NAME_RESOLUTION = "name resolution"
EPMD = "EPMD"
REGISTRATION = "registration"
TCP = "TCP"
TLS = "TLS"
HANDSHAKE = "handshake"
COOKIE = "cookie"
APPLICATION = "application"
#: From the ground up: each needs all those before it.
LAYERS = (NAME_RESOLUTION, EPMD, REGISTRATION, TCP, HANDSHAKE, COOKIE, APPLICATION)
#: Likewise, where one of the two sides speaks TLS.
LAYERS_WITH_TLS = (NAME_RESOLUTION, EPMD, REGISTRATION, TCP, TLS, HANDSHAKE, COOKIE, APPLICATION)

#: What one question may take, in seconds: an operator waits, and has waited for the failure already.
PATIENCE = 2.0

_LAYER_OF_ERROR: tuple[tuple[type[IrisAdminError], str], ...] = (
    (HostNotFound, NAME_RESOLUTION),
    (EpmdUnreachable, EPMD),
    (NodeNotFound, REGISTRATION),
    (NodeUnreachable, TCP),
    (CookieMismatch, COOKIE),
    (TlsError, TLS),
    (ConnectError, HANDSHAKE),
)


@record
class Layer:
    """One layer of a connection.

    :param name: one of :data:`LAYERS_WITH_TLS`.
    :param status: ``not needed`` is said of EPMD where the node's port was given.
    :param detail: what was found there, in words.
    :param advice: what to try, if it failed.
    """

    name: str
    status: Status
    detail: str = ""
    advice: tuple[str, ...] = ()


def diagnose(dialing: Dialing, error: IrisAdminError | None = None) -> list[Layer]:
    """Say what works on the way to a node, and where it stops.

    The layer at which ``error`` happened is not tried again, those before it are, for their details. An error from
    beyond the connection, or none, has the node dialled anew, and asked which applications run.

    :param dialing: how the node was dialled.
    :param error: how that failed.
    :returns: all of :data:`LAYERS`, in their order; :data:`LAYERS_WITH_TLS` where one of the two sides speaks TLS.
    """
    found = _Findings(dialing)
    failed = _layer_of(error)
    running = ""
    if failed is None:
        try:
            running = _dial_again(dialing)
            error = None
        except IrisAdminError as second:
            error, failed = second, _layer_of(second) or APPLICATION
    names = LAYERS_WITH_TLS if dialing.tls is not None or failed == TLS else LAYERS
    layers = []
    for name in names:
        reached = failed is None or names.index(name) <= names.index(failed)
        if name in (EPMD, REGISTRATION) and dialing.target.port is not None:
            layers.append(Layer(name, "not needed", "the node's port was given"))
        elif not reached:
            # Which cookie would be used is worth knowing in any case.
            layers.append(Layer(name, "not reached", found.our_cookie() if name == COOKIE else ""))
        elif name == failed:
            layers.append(Layer(name, "failed", found.failure(name, error), found.advice(name)))
        elif name == APPLICATION:
            layers.append(Layer(name, "ok", running))
        else:
            layers.append(Layer(name, "ok", found.success(name)))
    return layers


def _layer_of(error: IrisAdminError | None) -> str | None:
    if isinstance(error, HandshakeTimeout) and error.in_tls:
        return TLS
    return next((layer for kind, layer in _LAYER_OF_ERROR if isinstance(error, kind)), None)


def _dial_again(dialing: Dialing) -> str:
    """Say which applications run."""
    deadline = time.monotonic() + PATIENCE
    link = Link(*dialing.dial(deadline), io_thread())
    try:
        link.start()
        ended = link.call("application", "which_applications", encode_term([]), deadline)
        if ended is None:
            raise IrisAdminError(f"{dialing.target} lets us in, but does not answer a call within {PATIENCE:g} s")
        outcome = ended.outcome()
    finally:
        link.close()
    if not isinstance(outcome, Returned):
        raise IrisAdminError(f"{dialing.target} lets us in, but cannot say which applications run")
    return f"running: {', '.join(sorted(application[0] for application in outcome.value))}"


class _Findings:
    """Words for each layer; asks the network again where that gives them."""

    def __init__(self, dialing: Dialing) -> None:
        self._dialing = dialing
        self._host = dialing.host
        self._port: int | None = dialing.target.port

    def success(self, layer: str) -> str:
        """What there is to say of a layer that works."""
        try:
            if layer == NAME_RESOLUTION:
                return self._addresses()
            if layer == EPMD:
                return f"answers on {self._host}:{self._dialing.epmd_port}; {self._registered()}"
            if layer == REGISTRATION:
                return self._registration()
        except IrisAdminError as error:
            return f"worked before, now: {error}"
        if layer == TCP:
            return f"{self._host}:{self._port or '?'} accepts connections"
        if layer == TLS:
            checked = self._dialing.tls is not None and self._dialing.tls.verify
            return f"its certificate is {f'for {self._dialing.server_name}' if checked else 'not checked, as wanted'}"
        return self.our_cookie() if layer == COOKIE else "the node answers as a node does"

    def failure(self, layer: str, error: IrisAdminError | None) -> str:
        """What there is to say of the layer that failed."""
        return f"the node has another one; {self.our_cookie()}" if layer == COOKIE else str(error)

    def our_cookie(self) -> str:
        """Which cookie we use, without telling it."""
        cookie = self._dialing.cookie
        return f"ours is from {cookie.source} and has the hash {cookie.fingerprint}"

    def advice(self, layer: str) -> tuple[str, ...]:
        """What to try where a layer failed."""
        host, name, epmd_port = self._host, self._dialing.target.name, self._dialing.epmd_port
        return {
            NAME_RESOLUTION: (
                f"getent hosts {host}   (on this machine)",
                "the part behind the @ must be written as the node itself has it",
            ),
            EPMD: (
                f"epmd -port {epmd_port} -names   (on {host}; EPMD runs from the start of the first node on)",
                "ERL_EPMD_PORT or --epmd-port, if the nodes there use an EPMD of their own",
                f"a firewall between here and port {epmd_port}",
            ),
            REGISTRATION: (
                f"iris-admin nodes {host}",
                f"whether the node's process still runs on {host}: its registration ends with it",
            ),
            TCP: (
                f"ss -ltnp 'sport = :{self._port}'   (on {host})" if self._port else f"ss -ltnp   (on {host})",
                "a firewall: beside EPMD's port it must let the nodes' own ports pass "
                "(kernel's inet_dist_listen_min and inet_dist_listen_max)",
            ),
            TLS: (
                f"openssl s_client -connect {host}:{self._port or 'PORT'} -verify_hostname {self._dialing.server_name} "
                "-CAfile FILE   (on this machine: what the node shows)",
                "the file that the node's -ssl_dist_optfile names: the options of its server side are what we meet",
                "the node's log, which says at level notice what it did not like",
            ),
            HANDSHAKE: (
                f"whether {name} is the node's full name, host included, as node() shows it there",
                "whether the node is stopped (SIGSTOP), swapped out or overloaded",
            ),
            COOKIE: (
                "base64:encode(erlang:md5(atom_to_list(erlang:get_cookie())))   (on the node: its hash)",
                "--cookie-file FILE, with the file that the node was started with, or the one in its user's home",
            ),
            APPLICATION: ("iris-admin ping, again", "the node's log"),
        }[layer]

    def _addresses(self) -> str:
        found = resolve(self._host, self._port or self._dialing.epmd_port, time.monotonic() + PATIENCE)
        return f"{self._host} is {', '.join(dict.fromkeys(str(address[0]) for _, address in found))}"

    def _ask_epmd(self, request: bytes) -> bytes:
        return query_epmd(self._host, self._dialing.epmd_port, request, time.monotonic() + PATIENCE)

    def _registered(self) -> str:
        names = epmd.read_names_response(self._ask_epmd(epmd.names_request()))
        listed = ", ".join(f"{name} (port {port})" for name, port in sorted(names.items()))
        return f"registered there: {listed or 'no node'}"

    def _registration(self) -> str:
        reply = self._ask_epmd(epmd.port_please2_request(self._dialing.target.name))
        found = epmd.read_port2_response(reply)
        if found is None:
            return f"worked before, now: no node {self._dialing.target.name!r}"
        self._port = found.port
        hidden = "hidden, " if found.hidden else ""
        return f"{found.name} has port {found.port} ({hidden}protocol version {found.highest_version})"
