"""What TLS costs: the same calls on a node that speaks TLS 1.3 and on one that does not, in turns."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import TypeVar

import iris_admin
from bench.nodes import erlang_nodes
from bench.report import Row
from iris_admin.client import Node
from tests.support.certificates import Certificates

_ROUNDS = 7
_CALLS = 500
_IN_FLIGHT = 64

T = TypeVar("T")


def measure() -> list[Row]:
    """The rows of the table: ours over TLS, and plain beside it. They are for information."""
    with tempfile.TemporaryDirectory(prefix="iris-admin-bench-") as directory, erlang_nodes() as start:
        certificates = Certificates.make(Path(directory))
        tls_node, plain_node = start(flags=certificates.distribution_flags(versions="'tlsv1.3'")), start()
        tls = iris_admin.Tls(certificates.certificate("ca"))

        def over_tls() -> Node:
            return iris_admin.connect(tls_node.name, cookie=tls_node.cookie, epmd_port=tls_node.epmd_port, tls=tls)

        def plain() -> Node:
            return iris_admin.connect(plain_node.name, cookie=plain_node.cookie, epmd_port=plain_node.epmd_port)

        rows = [_row("connect and one call", 1e3, "ms", _connect, over_tls, plain)]
        with over_tls() as ours, plain() as theirs:
            for name, factor, unit, work in (
                ("a call, one after another", 1e6 / _CALLS, "us", _calls),
                (f"a call, {_IN_FLIGHT} in flight", 1e6 / _CALLS, "us", _in_flight),
                ("a reply of 25 MB", 1e3, "ms", _large_reply),
            ):
                rows.append(_row(name, factor, unit, work, ours, theirs))
        return rows


def _row(name: str, factor: float, unit: str, work: Callable[[T], object], over_tls: T, plain: T) -> Row:
    seconds: tuple[list[float], list[float]] = ([], [])
    for node in (over_tls, plain):
        work(node)
    for _ in range(_ROUNDS):
        for node, taken in zip((over_tls, plain), seconds, strict=True):
            start = time.perf_counter()
            work(node)
            taken.append(time.perf_counter() - start)
    ours, theirs = map(median, seconds)
    return Row(
        f"{name}, TLS to plain",
        f"{ours * factor:.3g} {unit}",
        "",
        f"plain {theirs * factor:.3g} {unit}",
        ours / theirs,
        None,
        at_most=True,
    )


def _connect(node: Callable[[], Node]) -> None:
    with node() as joined:
        joined.ping()


def _calls(node: Node) -> None:
    for _ in range(_CALLS):
        node.call("erlang", "node")


def _in_flight(node: Node) -> None:
    waiting = [node.submit("erlang", "node") for _ in range(_IN_FLIGHT)]
    for _ in range(_CALLS - _IN_FLIGHT):
        waiting.pop(0).result()
        waiting.append(node.submit("erlang", "node"))
    for future in waiting:
        future.result()


def _large_reply(node: Node) -> None:
    node.call("lists", "duplicate", 100_000, b"x" * 250, timeout=60)
