"""A node whose side of a real socket the test plays."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

import iris_admin
from iris_admin.client import Node
from tests.proto.node_side import COOKIE
from tests.support.failures import listener


@pytest.fixture
def played() -> Iterator[Callable[..., Node]]:
    """Connect to a node whose side is played by a function."""
    with ExitStack() as stack:

        def connect(serve: Callable[[socket.socket], None], **options: Any) -> Node:
            port = stack.enter_context(listener(serve))
            return stack.enter_context(iris_admin.connect(f"db1@127.0.0.1:{port}", cookie=COOKIE, **options))

        yield connect
