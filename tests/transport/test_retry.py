"""The one policy of trying again."""

from __future__ import annotations

import time

import pytest

from iris_admin.errors import CookieMismatch, EpmdUnreachable, IrisAdminError, NodeDown
from iris_admin.transport.retry import ATTEMPTS, FIRST_PAUSE, LEAST_TIME, with_retries


class Attempts:
    """Fails so often, and keeps the times at which it was tried."""

    def __init__(self, failures: int, error: type[IrisAdminError] = NodeDown) -> None:
        self.times: list[float] = []
        self._failures = failures
        self._error = error

    def __call__(self) -> int:
        self.times.append(time.monotonic())
        if len(self.times) <= self._failures:
            raise self._error(f"attempt {len(self.times)}")
        return len(self.times)


def in_time(seconds: float) -> float:
    return time.monotonic() + seconds


def test_one_is_enough() -> None:
    attempts = Attempts(0)
    assert with_retries(attempts, in_time(10)) == 1
    assert with_retries(Attempts(0), in_time(-1)) == 1


def test_what_passes_by_itself() -> None:
    attempts = Attempts(2)
    assert with_retries(attempts, in_time(10)) == 3
    pauses = [later - earlier for earlier, later in zip(attempts.times, attempts.times[1:], strict=False)]
    assert FIRST_PAUSE <= pauses[0] < pauses[1]


def test_what_does_not_pass_by_itself() -> None:
    attempts = Attempts(9, CookieMismatch)
    with pytest.raises(CookieMismatch, match="attempt 1"):
        with_retries(attempts, in_time(10))
    assert len(attempts.times) == 1


def test_another_error_ends_it() -> None:
    errors = iter([NodeDown("first"), CookieMismatch("second")])

    def attempt() -> None:
        raise next(errors)

    with pytest.raises(CookieMismatch, match="second"):
        with_retries(attempt, in_time(10))


def test_an_error_that_is_none_of_ours() -> None:
    def attempt() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        with_retries(attempt, in_time(10))


def test_not_for_ever() -> None:
    attempts = Attempts(9)
    with pytest.raises(NodeDown, match=f"attempt {ATTEMPTS}"):
        with_retries(attempts, in_time(60))
    assert len(attempts.times) == ATTEMPTS


@pytest.mark.parametrize("seconds", [-1, 0, 0.05, 0.15, 0.25, 0.35, 0.45, 0.55])
def test_none_begins_when_there_is_no_time_left(seconds: float) -> None:
    """It would fail for want of time, and its error would hide what is wrong."""
    attempts = Attempts(9, EpmdUnreachable)
    deadline = in_time(seconds)
    with pytest.raises(EpmdUnreachable):
        with_retries(attempts, deadline)
    # On a busy machine a pause takes longer than it was meant to.
    assert all(start < deadline - LEAST_TIME / 4 for start in attempts.times[1:])
    assert time.monotonic() < max(deadline, attempts.times[0] + 0.1) + 1
