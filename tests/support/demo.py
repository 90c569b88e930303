"""Fixtures around the demo cluster of ``examples/``: clusters that tests share, users, and chat clients."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
if str(EXAMPLES) not in sys.path:
    sys.path.insert(0, str(EXAMPLES))

from demo_cluster import ChatClient, DemoCluster, DemoNode, WebSocketClient  # noqa: E402  (found by the path above)

_user_numbers = itertools.count(1)


class LogIn(Protocol):
    """What :func:`log_in` gives: logs a user in on an edge, and hangs up at the end of the test."""

    def __call__(
        self, edge: DemoNode, user: str, *, auto_ack: bool = True, hang_up_after: int | None = None
    ) -> ChatClient: ...


@pytest.fixture(scope="session")
def demo_cluster_with() -> Iterator[Callable[..., DemoCluster]]:
    """Clusters with options of :class:`DemoCluster`, shared by all tests that ask for the same ones.

    For tests that leave the nodes as they found them; whoever stops nodes starts a cluster of their own.
    """
    clusters: dict[tuple[tuple[str, Any], ...], DemoCluster] = {}
    with ExitStack() as stack:

        def get(**options: Any) -> DemoCluster:
            key = tuple(sorted((name, repr(value)) for name, value in options.items()))
            if key not in clusters:
                clusters[key] = stack.enter_context(DemoCluster(**options))
            return clusters[key]

        yield get


@pytest.fixture(scope="session")
def demo_cluster(demo_cluster_with: Callable[..., DemoCluster]) -> DemoCluster:
    """One core, a visible and a hidden edge, without ``redeliver/1``, shared by all tests."""
    return demo_cluster_with()


@pytest.fixture
def user() -> str:
    """A user name that no other test has."""
    return f"user{next(_user_numbers)}"


@pytest.fixture
def log_in() -> Iterator[LogIn]:
    """Log users in over TCP; the connections end with the test."""
    with ExitStack() as stack:

        def connect(
            edge: DemoNode, user: str, *, auto_ack: bool = True, hang_up_after: int | None = None
        ) -> ChatClient:
            client = ChatClient("127.0.0.1", edge.port, user, auto_ack=auto_ack, hang_up_after=hang_up_after)
            return stack.enter_context(client)

        yield connect


@pytest.fixture
def log_in_by_websocket() -> Iterator[Callable[[DemoNode, str], WebSocketClient]]:
    """Log users in over WebSocket; the connections end with the test."""
    with ExitStack() as stack:
        yield lambda edge, user: stack.enter_context(WebSocketClient("127.0.0.1", edge.ws_port, user))
