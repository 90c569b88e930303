"""The one policy of trying again: for connecting, and for calls that a second run does no harm."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from iris_admin.errors import IrisAdminError

T = TypeVar("T")

ATTEMPTS = 4
#: Pauses between attempts, in seconds: doubling from the first, never more than the last, with some jitter.
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 1.0
#: An attempt that had less time than this left, in seconds, would fail for want of it, and hide what is wrong.
LEAST_TIME = 0.1


def with_retries(attempt: Callable[[], T], deadline: float) -> T:
    """Run ``attempt`` until it succeeds, fails for good, has failed :data:`ATTEMPTS` times, or the time is over.

    Only errors that say of themselves that they are ``transient`` are answered by another attempt.

    :param deadline: no attempt begins shortly before it or later, on the clock of :func:`time.monotonic`.
    """
    try:
        return attempt()
    except IrisAdminError as error:
        if not error.transient or time.monotonic() + FIRST_PAUSE + LEAST_TIME >= deadline:
            raise
    # Imported when something has failed: it takes longer than a whole command that works.
    from tenacity import Retrying

    time.sleep(FIRST_PAUSE)
    return Retrying(**retry_policy(deadline))(attempt)


def retry_policy(deadline: float) -> dict[str, Any]:
    """The policy for the attempts behind the first, as arguments for tenacity's ``Retrying`` or its async twin."""
    from tenacity import retry_if_exception, stop_after_attempt, wait_exponential, wait_random

    enough = stop_after_attempt(ATTEMPTS - 1)
    return {
        "retry": retry_if_exception(lambda error: isinstance(error, IrisAdminError) and error.transient),
        "stop": lambda state: enough(state) or time.monotonic() + state.upcoming_sleep + LEAST_TIME >= deadline,
        "wait": wait_exponential(multiplier=2 * FIRST_PAUSE, max=LONGEST_PAUSE) + wait_random(0, FIRST_PAUSE),
        "reraise": True,
    }
