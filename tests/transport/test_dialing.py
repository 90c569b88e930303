"""Finding addresses."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from iris_admin.errors import HostNotFound
from iris_admin.transport.dialing import resolve


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise AssertionError("a thread was started")

    monkeypatch.setattr(threading.Thread, "start", refuse)


@pytest.mark.usefixtures("no_threads")
@pytest.mark.parametrize(
    ("host", "address"),
    [("127.0.0.1", ("127.0.0.1", 4369)), ("::1", ("::1", 4369, 0, 0)), ("10.0.0.1", ("10.0.0.1", 4369))],
)
def test_an_address_is_its_own_and_takes_no_time(host: str, address: tuple[object, ...]) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    assert resolve(host, 4369, time.monotonic() - 1) == [(family, address)]


def test_localhost() -> None:
    addresses = [address[0] for _, address in resolve("localhost", 4369, time.monotonic() + 5)]
    assert set(addresses) <= {"127.0.0.1", "::1"}
    assert addresses


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 300, "größe.invalid", "-"])
def test_a_host_that_does_not_exist(host: str) -> None:
    with pytest.raises(HostNotFound, match="cannot be resolved") as caught:
        resolve(host, 4369, time.monotonic() + 5)
    assert repr(host) in str(caught.value)
    assert caught.value.hint
