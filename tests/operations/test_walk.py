"""A walk through a table, its slices answered by the test."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from iris_admin.errors import NodeDown, RemoteError, UnsafeOperation
from iris_admin.operations.steps import Call, Operation, Progress
from iris_admin.operations.walk import PROGRESS_EVERY, Walked, walk
from iris_admin.terms import Atom, Pid, Term
from tests.operations.conftest import Run

WALKER = Pid(Atom("core@h"), 100, 0, 1)
MORE, DONE = Atom("more"), Atom("done")


class Target:
    """A node that has some answers for the walker."""

    def __init__(self, *answers: Any) -> None:
        self._answers = iter(answers)
        self.stopped = 0

    def __call__(self, call: Call) -> Term:
        assert call.node == "core@h"
        match call:
            case Call(
                "remote", "walk_table+walker", ({"Chunk": 7, "SliceMs": int(), "IdleMs": int(), "MaxHeap": int()},)
            ):
                return WALKER
            case Call("remote", "walk_next", ({"Walker": Pid()},)):
                answer = next(self._answers)
                if isinstance(answer, Exception):
                    raise answer
                return answer
            case Call("erlang", "exit"):
                assert call.args == (WALKER, Atom("kill"))
                self.stopped += 1
                return True
        raise AssertionError(call)


def go(target: Target, run: Run, taken: list[Term], *, most: int = 1000, within: float | None = None) -> Walked:
    def take(answer: Term) -> Operation[bool]:
        taken.append(answer)
        yield Progress(f"{answer}")
        return len(taken) < most

    return run(walk("walk_table", {"Chunk": 7}, node="core@h", take=take, within=within))


def clock(*times: float) -> Iterable[float]:
    yield from times
    while True:
        yield times[-1]


def test_to_the_end() -> None:
    target, taken = Target((MORE, 1), (MORE, 2), (DONE, 3)), list[Term]()
    walked = go(target, Run(target, clock=clock(10, 11, 12, 13)), taken)
    assert taken == [1, 2, 3]
    assert walked == Walked(seconds=3, cut=False)
    assert target.stopped == 0


def test_until_the_time_is_over() -> None:
    target, taken = Target((MORE, 1), (MORE, 2), (MORE, 3)), list[Term]()
    walked = go(target, Run(target, clock=clock(10, 11, 12.5)), taken, within=2)
    assert taken == [1, 2]
    assert walked == Walked(seconds=2.5, cut=True)
    assert target.stopped == 1


def test_until_there_is_enough() -> None:
    target, taken = Target((MORE, 1), (MORE, 2)), list[Term]()
    assert go(target, Run(target), taken, most=1).cut
    assert target.stopped == 1


def test_enough_at_the_very_end_is_the_end() -> None:
    target, taken = Target((DONE, 1)), list[Term]()
    assert not go(target, Run(target), taken, most=1, within=0).cut
    assert target.stopped == 0


def test_few_lines_for_the_person_who_waits() -> None:
    target, taken = Target(*((MORE, number) for number in range(40)), (DONE, 40)), list[Term]()
    run = Run(target, clock=clock(*(number / 4 for number in range(60))))
    go(target, run, taken)
    assert len(taken) == 41
    assert 0 < len(run.progress) <= 10 / PROGRESS_EVERY
    assert "0" not in run.progress
    assert "40" not in run.progress


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        ((Atom("error"), (Atom("error"), Atom("badarg"))), RemoteError, "badarg"),
        ((Atom("exited"), Atom("killed")), UnsafeOperation, "half a gigabyte"),
        ((Atom("exited"), Atom("noproc")), RemoteError, "noproc"),
        (NodeDown("gone", node="core@h"), NodeDown, "gone"),
    ],
)
def test_failures(answer: Any, error: type[Exception], text: str) -> None:
    target, taken = Target((MORE, 1), answer), list[Term]()
    with pytest.raises(error, match=text):
        go(target, Run(target), taken)
    assert taken == [1]
    assert target.stopped == 1


def test_an_error_of_the_taker_stops_it() -> None:
    target = Target((MORE, 1))

    def take(answer: Term) -> Operation[bool]:
        yield Progress(f"{answer}")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Run(target)(walk("walk_table", {"Chunk": 7}, node="core@h", take=take))
    assert target.stopped == 1


def test_one_that_its_driver_drops() -> None:
    def take(answer: Term) -> Operation[bool]:
        yield Progress(f"{answer}")
        return True

    operation = walk("walk_table", {"Chunk": 7}, node="core@h", take=take)
    next(operation)  # the time
    assert isinstance(operation.send(0.0), Call)
    operation.send(WALKER)
    operation.close()
