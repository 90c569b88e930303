"""The lock of connections, when whoever holds it is interrupted."""

from __future__ import annotations

import sys
import threading

import pytest

from iris_admin.transport.io_thread import Lock


def is_free(lock: Lock) -> bool:
    """Whether another thread gets the lock."""
    taken = threading.Event()

    def take() -> None:
        with lock:
            taken.set()

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    return taken.wait(0.2)


def test_it_keeps_others_out() -> None:
    lock = Lock()
    with lock:
        assert not is_free(lock)
    assert is_free(lock)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="'with' takes and gives back what it took")
def test_an_interruption_behind_the_taking() -> None:
    lock = Lock()
    lock.__enter__()  # and Ctrl-C comes
    assert not is_free(lock)
    with lock:  # to give the connection up
        pass
    assert is_free(lock)
