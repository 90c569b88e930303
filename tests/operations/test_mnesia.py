"""Mnesia as data, by made-up answers: what a node cannot tell must not become a zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from iris_admin.errors import CallTimeout, NotApplicable
from iris_admin.operations.mnesia import MAX_LOCKS, MAX_TABLES, MnesiaTable, mnesia_info
from iris_admin.operations.steps import Call
from iris_admin.terms import Atom, Term, charlist
from tests.operations.conftest import Run
from tests.operations.test_figures import CORE, EDGE, applications

UNDEFINED = Atom("undefined")
BOTH = [Atom("core2@h"), Atom("core1@h")]


def table(name: str = "offline_msg", **values: Term) -> tuple[Term, list[Term]]:
    known: dict[str, Term] = {
        "storage_type": Atom("disc_copies"),
        "type": Atom("bag"),
        "size": 3,
        "memory": 100,
        "ram_copies": [],
        "disc_copies": BOTH,
        "disc_only_copies": [],
        "where_to_write": BOTH,
        "where_to_read": Atom("core1@h"),
        "load_node": Atom("core1@h"),
        "load_reason": (Atom("dumper"), Atom("create_table")),
        "attributes": [Atom("key"), Atom("timestamp"), Atom("msg")],
        "index": [],
    }
    assert values.keys() <= known.keys()
    return Atom(name), list((known | values).values())


def system(**values: Term) -> list[Term]:
    known: dict[str, Term] = {
        "version": charlist("4.21.3"),
        "directory": charlist("/var/lib/größe"),
        "use_dir": True,
        "db_nodes": [*BOTH, Atom("core3@h")],
        "running_db_nodes": BOTH,
        "transaction_commits": 20,
        "transaction_failures": 1,
        "transaction_restarts": 2,
        "transaction_log_writes": 30,
    }
    return list((known | values).values())


def core(
    *tables: Term, count: int | None = None, held: Term = 0, values: list[Term] | None = None, info: Any = None
) -> Callable[[Call], Any]:
    """Answers of a core with these tables."""
    answers = {
        "which_applications": CORE,
        "system_info": Atom("yes"),
        "node": Atom("core1@h"),
        "mnesia": (values or system(), 8, held, 0, len(tables) if count is None else count, list(tables)),
        "info": info or (Atom("ok"), "---> Processes"),
    }
    return lambda call: answers[call.function]


def only_table(answer: Callable[[Call], Any]) -> MnesiaTable:
    (found,) = Run(answer)(mnesia_info()).tables
    return found


class TestData:
    def test_system(self) -> None:
        found = Run(core(table()))(mnesia_info())
        assert found.to_dict() | {"tables": None} == {
            "node": "core1@h",
            "version": "4.21.3",
            "directory": "/var/lib/größe",
            "directory_used": True,
            "running_nodes": ["core1@h", "core2@h"],
            "stopped_nodes": ["core3@h"],
            "commits": 20,
            "failures": 1,
            "restarts": 2,
            "log_writes": 30,
            "held_locks": 0,
            "queued_locks": 0,
            "table_count": 1,
            "tables": None,
            "tables_cut": False,
            "text": "---> Processes",
            "text_missing": None,
        }

    def test_table(self) -> None:
        assert only_table(core(table(index=[3, (4, Atom("bag")), 99]))).to_dict() == {
            "name": "offline_msg",
            "storage": "disc_copies",
            "type": "bag",
            "rows": 3,
            "bytes": 800,
            "ram_copies": [],
            "disc_copies": ["core1@h", "core2@h"],
            "disc_only_copies": [],
            "active_on": ["core1@h", "core2@h"],
            "loaded": True,
            "load_node": "core1@h",
            "load_reason": "{dumper,create_table}",
            "attributes": ["key", "timestamp", "msg"],
            "index": ["timestamp", "msg", "99"],
        }

    def test_disc_only_copies_are_counted_in_bytes_already(self) -> None:
        assert only_table(core(table(storage_type=Atom("disc_only_copies")))).bytes == 100

    def test_a_back_end_of_somebody_else(self) -> None:
        found = only_table(core(table(storage_type=(Atom("ext"), Atom("leveldb_copies"), Atom("mnesia_eleveldb")))))
        assert (found.storage, found.rows, found.bytes) == ("leveldb_copies", 3, 800)

    @pytest.mark.parametrize(
        "values",
        [
            {"storage_type": Atom("unknown"), "size": 0, "memory": 0},
            {"where_to_read": Atom("nowhere"), "size": UNDEFINED, "memory": UNDEFINED},
        ],
    )
    def test_rows_of_a_table_without_a_copy_here_are_unknown_and_not_zero(self, values: dict[str, Term]) -> None:
        found = only_table(core(table(**values)))
        assert (found.rows, found.bytes) == (None, None)

    def test_remote_table_can_be_read_all_the_same(self) -> None:
        found = only_table(core(table(storage_type=Atom("unknown"))))
        assert (found.storage, found.loaded) == ("remote", True)

    def test_table_that_goes_away_meanwhile(self) -> None:
        name, values = table()
        found = only_table(core((name, [UNDEFINED] * len(values))))
        assert (found.storage, found.loaded) == ("remote", False)
        assert not any(value for name, value in found.to_dict().items() if name not in ("name", "storage"))

    def test_what_cannot_be_told_is_none(self) -> None:
        found = Run(core(held=UNDEFINED, values=[UNDEFINED] * len(system())))(mnesia_info())
        assert (found.version, found.commits, found.held_locks, found.directory_used) == (None, None, None, None)


class TestBounds:
    def test_a_schema_of_too_many_tables_is_cut_and_not_printed(self) -> None:
        run = Run(core(table(), count=MAX_TABLES + 1))
        found = run(mnesia_info())
        assert found.tables_cut
        assert found.text is None
        assert str(found.text_missing).startswith(f"mnesia:info() was not called: the schema has {MAX_TABLES + 1}")
        assert "mnesia:info" not in run.names
        (call,) = [call for call in run.calls if call.module == "remote"]
        assert call.args[0]["MaxTables"] == MAX_TABLES

    def test_too_many_locks_are_not_printed(self) -> None:
        run = Run(core(table(), held=MAX_LOCKS + 1))
        assert "locks are held" in str(run(mnesia_info()).text_missing)
        assert "mnesia:info" not in run.names

    def test_text_that_does_not_come_costs_no_data(self) -> None:
        found = Run(core(table(), info=CallTimeout("mnesia:info/0 did not answer")))(mnesia_info())
        assert found.text is None
        assert found.text_missing == "mnesia:info/0 did not answer"
        assert len(found.tables) == 1


class TestNotApplicable:
    def test_edge(self) -> None:
        def answer(call: Call) -> Any:
            return {
                "which_applications": EDGE,
                "get_env": (Atom("ok"), [Atom("core1@h"), Atom("core2@h")]),
            }[call.function]

        run = Run(answer)
        with pytest.raises(NotApplicable, match=r"Mnesia does not run on edge1@h \(it is an edge\)") as caught:
            run(mnesia_info("edge1@h"))
        assert caught.value.hint == "Ask a core instead. edge1@h is configured to use core1@h, core2@h."
        assert not any(call.module == "mnesia" for call in run.calls)

    def test_edge_that_names_no_core(self) -> None:
        def answer(call: Call) -> Any:
            return {
                "which_applications": EDGE,
                "get_env": UNDEFINED,
                "nodes": [Atom(f"n{number}@h") for number in range(12)],
            }[call.function]

        with pytest.raises(NotApplicable) as caught:
            Run(answer)(mnesia_info("edge1@h"))
        assert str(caught.value.hint).endswith("n8@h, n9@h, ….")

    def test_other_node_that_knows_nobody(self) -> None:
        answers = {"which_applications": applications(kernel="8"), "nodes": []}
        with pytest.raises(NotApplicable) as caught:
            Run(lambda call: answers[call.function])(mnesia_info("a@h"))
        assert caught.value.hint == "Ask a core instead."

    def test_core_without_mnesia(self) -> None:
        with pytest.raises(NotApplicable) as caught:
            Run(lambda call: applications(iris_core="1"))(mnesia_info("core1@h"))
        assert "log" in str(caught.value.hint)

    @pytest.mark.parametrize("state", ["starting", "stopping"])
    def test_not_yet_or_no_longer(self, state: str) -> None:
        answers = {"which_applications": CORE, "system_info": Atom(state)}
        with pytest.raises(NotApplicable, match=f"Mnesia is {state}"):
            Run(lambda call: answers[call.function])(mnesia_info("core1@h"))
