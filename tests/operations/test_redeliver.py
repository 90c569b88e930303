"""Which core a redeliver works with, by made-up answers: cores may not share their tables."""

from __future__ import annotations

from typing import Any

import pytest

from iris_admin.errors import UnsafeOperation
from iris_admin.operations.redeliver import Redelivery, Verdict, redeliver
from iris_admin.operations.steps import Call
from iris_admin.terms import Atom
from tests.operations.conftest import Run
from tests.operations.test_offline import NODES, Cluster, record

APART = {"core1@h": ["core1@h"], "core2@h": ["core2@h"]}


class Answers(Cluster):
    """A cluster whose user is offline, with what a redeliver asks besides the rows."""

    def __call__(self, call: Call) -> Any:
        match call.module, call.function:
            case "mnesia", "system_info":
                return [Atom(copy) for copy in self.copies[str(call.node)]]
            case "iris_partition_guard", _:
                return Atom("ok")
            case "iris_offline_storage", "module_info":
                return []
            case "remote", "presence_edge":
                return [], []
        return super().__call__(call)


def plan(run: Run) -> Redelivery:
    return run(redeliver("bob", NODES, dry_run=True))


def asked(run: Run, module: str, function: str) -> set[str | None]:
    return {call.node for call in run.calls if (call.module, call.function) == (module, function)}


def test_the_core_that_holds_the_messages_is_asked_and_guarded() -> None:
    run = Run(Answers(stores={"core1@h": [], "core2@h": [record(b"x")]}, copies=APART))
    found = plan(run)
    assert (found.verdict, len(found.messages)) == (Verdict.OFFLINE, 1)
    assert asked(run, "iris_partition_guard", "is_safe_for_writes") == {"core2@h"}


def test_messages_in_two_stores_are_refused() -> None:
    run = Run(Answers(stores={"core1@h": [record(b"x")], "core2@h": [record(b"y")]}, copies=APART))
    with pytest.raises(UnsafeOperation, match="core1@h, core2@h do not share their tables") as refused:
        plan(run)
    assert "Nothing was changed" in refused.value.hint


def test_a_core_of_that_store_that_cannot_be_reached_is_refused() -> None:
    copies = APART | {"core2@h": ["core2@h", "core3@h"]}
    run = Run(Answers(stores={"core1@h": [], "core2@h": [record(b"x")]}, copies=copies))
    with pytest.raises(UnsafeOperation, match="core3@h runs Mnesia too"):
        plan(run)


def test_one_store_is_not_looked_for_twice() -> None:
    run = Run(Answers(record(b"x")))
    assert len(plan(run).messages) == 1
    assert len([call for call in run.calls if call.function == "offline_records"]) == 1
