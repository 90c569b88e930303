"""Many awaited calls, so many of them under way at once: what :meth:`iris_admin.client.Node.map` is, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from iris_admin.errors import RemoteError
from iris_admin.terms import Term


async def call_each(
    call: Callable[[Sequence[Term]], Awaitable[Term]], arguments: Sequence[Sequence[Term]], in_flight: int
) -> list[Term]:
    """Call once with each argument list.

    :param call: makes one call.
    :param in_flight: how many calls are under way at once, at most.
    :returns: what they returned, in the order of the arguments.
    :raises RemoteError: a call did not return; the first of them, when all have ended. Any other error is raised at
        once, and the calls that are under way are cancelled.
    """
    gate = asyncio.Semaphore(in_flight)

    async def call_one(args: Sequence[Term]) -> Term | RemoteError:
        async with gate:
            try:
                return await call(args)
            except RemoteError as error:
                return error

    calls = [asyncio.ensure_future(call_one(args)) for args in arguments]
    try:
        outcomes = await asyncio.gather(*calls)
    finally:
        for each in calls:
            each.cancel()
    for outcome in outcomes:
        if isinstance(outcome, RemoteError):
            raise outcome
    return outcomes
