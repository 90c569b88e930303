"""While large terms are decoded, the collector is paused and threads take turns more often; then all is as before."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from iris_admin.errors import DecodeError
from iris_admin.large_term import decode_large, wait_within
from iris_admin.proto import etf


@pytest.fixture(params=[True, False], ids=["on", "off"])
def was_enabled(request: pytest.FixtureRequest) -> Iterator[bool]:
    """The collector is on, or off, when the test begins; and on again afterwards."""
    if not request.param:
        gc.disable()
    interval = sys.getswitchinterval()
    yield request.param
    gc.enable()
    assert sys.getswitchinterval() == interval


def test_the_collector_is_paused_and_comes_back(was_enabled: bool) -> None:
    assert decode_large(gc.isenabled) is False
    assert gc.isenabled() is was_enabled


def test_arguments_and_results_go_through() -> None:
    assert decode_large(sorted, [2, 1, 3], reverse=True) == [3, 2, 1]


def test_pauses_within_a_pause(was_enabled: bool) -> None:
    def outer() -> tuple[bool, bool]:
        return decode_large(gc.isenabled), gc.isenabled()

    assert decode_large(outer) == (False, False)
    assert gc.isenabled() is was_enabled


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_ends_the_pause(was_enabled: bool, error: type[BaseException]) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(error):
        decode_large(fail)
    assert gc.isenabled() is was_enabled


class Pause:
    """A pause in a thread of its own."""

    def __init__(self) -> None:
        self._begun, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=decode_large, args=(self._run,), daemon=True)
        self._thread.start()
        assert self._begun.wait(10)

    def _run(self) -> None:
        self._begun.set()
        assert self._end.wait(10)

    def end(self) -> None:
        """Return when it has ended."""
        self._end.set()
        self._thread.join(10)


def test_pauses_of_threads_may_overlap(was_enabled: bool) -> None:
    first, second = Pause(), Pause()
    first.end()
    assert not gc.isenabled()
    third = Pause()
    second.end()
    assert not gc.isenabled()
    third.end()
    assert gc.isenabled() is was_enabled


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_while_more_is_waited_for_all_is_as_usual(was_enabled: bool, error: type[BaseException] | None) -> None:
    usual = sys.getswitchinterval()
    seen: list[bool] = []

    def wait(result: int) -> int:
        seen.append(gc.isenabled())
        assert sys.getswitchinterval() == usual
        if error is not None:
            raise error
        return result

    def decode() -> int:
        try:
            return wait_within(wait, 42)
        finally:
            seen.append(gc.isenabled())
            assert sys.getswitchinterval() < usual

    if error is None:
        assert decode_large(decode) == 42
    else:
        with pytest.raises(error):
            decode_large(decode)
    assert seen == [was_enabled, False]
    assert gc.isenabled() is was_enabled


def test_threads_take_turns_more_often() -> None:
    usual = sys.getswitchinterval()
    assert decode_large(sys.getswitchinterval) < usual
    assert sys.getswitchinterval() == usual
    # What the program sets itself stays so, and is not made longer.
    decode_large(sys.setswitchinterval, 0.25)
    try:
        assert sys.getswitchinterval() == 0.25
        sys.setswitchinterval(1e-5)
        assert decode_large(sys.getswitchinterval) == pytest.approx(1e-5)
        assert sys.getswitchinterval() == pytest.approx(1e-5)
    finally:
        sys.setswitchinterval(usual)


def test_another_thread_runs_while_a_large_term_is_decoded() -> None:
    data = etf.encode([(1.5, b"x" * 100)] * 300_000)
    begun, over = threading.Event(), threading.Event()
    turns = 0

    def count() -> None:
        nonlocal turns
        while not over.is_set():
            turns += begun.is_set()
            time.sleep(0)  # gives the interpreter back, so that it has to ask for it

    counting = threading.Thread(target=count)
    counting.start()
    begun.set()
    etf.decode(data)
    seen = turns
    over.set()
    counting.join()
    assert seen > 10


def test_many_threads_decode_large_terms(was_enabled: bool) -> None:
    data = etf.encode([1.5] * 20_000)
    failures: list[BaseException] = []

    def decode() -> None:
        try:
            for _ in range(20):
                assert len(etf.decode(data)) == 20_000
                with pytest.raises(DecodeError):
                    etf.decode(data[:-1])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=decode) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert gc.isenabled() is was_enabled


def test_large_terms_are_decoded_in_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []

    def note(*arguments: object, **keywords: object) -> tuple[None, int]:
        seen.append(gc.isenabled())
        return None, 0

    monkeypatch.setattr(etf, "_decode", note)
    monkeypatch.setattr(etf, "_decode_term", note)
    large = bytes(etf._PAUSE_COLLECTOR_FROM)
    etf.decode(large)
    etf.decode_term(large)
    etf.decode(large[1:])
    etf.decode_term(large, 1)
    assert seen == [False, False, True, True]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_leaves_pauses_behind(was_enabled: bool) -> None:
    pause = Pause()
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, b"%d%d" % (gc.isenabled(), decode_large(gc.isenabled)))
        os._exit(0)
    os.waitpid(child, 0)
    pause.end()
    assert os.read(reader, 10) == b"%d0" % was_enabled
    os.close(reader)
    os.close(writer)
