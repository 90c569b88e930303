"""Rankings of processes, single processes and their garbage, by made-up answers."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from iris_admin.errors import NoSuchProcess, RemoteError
from iris_admin.operations.gc import BATCH, gc_all, gc_process, gc_top
from iris_admin.operations.processes import (
    CHUNK,
    CRITERIA,
    MAX_COUNT,
    Ranking,
    describe,
    find_process,
    process,
    processes,
    rank,
)
from iris_admin.operations.steps import Call
from iris_admin.terms import Atom, Pid, Term, charlist
from tests.operations.conftest import Run

UNDEFINED = Atom("undefined")
NODE = Atom("a@b")


def pid(number: int) -> Pid:
    return Pid(NODE, number, 0, 1)


def described(number: int, **changed: Term) -> Term:
    """What a node says of a process."""
    items = {
        "registered_name": [],
        "initial_call": (Atom("proc_lib"), Atom("init_p"), 5),
        "current_function": (Atom("gen_server"), Atom("loop"), 7),
        "status": Atom("waiting"),
        "memory": 1000 * number,
        "reductions": 10 * number,
        "message_queue_len": number,
    } | changed
    pairs = [(Atom(item), value) for item, value in items.items()]
    return pid(number), pairs, 100, (Atom("iris_edge_conn"), Atom("init"), 1)


def badarg(call: Call) -> RemoteError:
    return RemoteError("badarg", reason=Atom("badarg"), mfa=(call.module, call.function, len(call.args)))


class TestRank:
    def answer(self, call: Call) -> Any:
        return 8, 1000, [(30, pid(3)), (20, pid(2))]

    @pytest.mark.parametrize("by", CRITERIA)
    def test_what_is_asked(self, by: str) -> None:
        run = Run(self.answer)
        found = run(rank(by, count=2, interval=1.5, node="a@b"))
        (call,) = run.calls
        assert (call.function, call.node) == ("rank_processes", "a@b")
        item = "garbage_collection_info" if by == "binary" else by
        assert call.args[0] == {"Item": item, "N": 2, "Interval": 1500, "Size": CHUNK}
        unit = 8 if by == "binary" else 1
        assert found == Ranking(8, 1000, ((30 * unit, pid(3)), (20 * unit, pid(2))))

    @pytest.mark.parametrize(
        ("by", "options"),
        [
            ("heap", {"count": 1}),
            ("memory", {"count": 0}),
            ("memory", {"count": MAX_COUNT + 1}),
            ("memory", {"count": 1, "interval": 0}),
            ("memory", {"count": 1, "interval": -1}),
            ("memory", {"count": 1, "interval": 4000}),
        ],
    )
    def test_out_of_range(self, by: str, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"ranked by|count is|interval is"):
            Run(self.answer)(rank(by, **options))


class TestProcesses:
    def test_rows(self) -> None:
        def answer(call: Call) -> Any:
            if call.function == "rank_processes":
                return 8, 1000, [(30, pid(3)), (20, pid(2)), (10, pid(1))]
            return [
                described(3, registered_name=Atom("third")),
                (pid(2), [], UNDEFINED, UNDEFINED),  # it has ended since
                (*described(1)[:2], UNDEFINED, UNDEFINED),
            ]

        found = Run(answer)(processes("reductions", count=3, interval=2.0, node="a@b"))
        assert (found.node, found.by, found.interval_seconds, found.process_count) == ("a@b", "reductions", 2.0, 1000)
        assert found.processes.to_dicts() == [
            {
                "pid": "<0.3.0>",
                "registered_name": "third",
                "initial_call": "iris_edge_conn:init/1",
                "current_function": "gen_server:loop/7",
                "status": "waiting",
                "memory_bytes": 3000,
                "reductions": 30,
                "message_queue_len": 3,
                "binary_bytes": 800,
                "change": 30,
            },
            {
                "pid": "<0.1.0>",
                "registered_name": None,
                "initial_call": "proc_lib:init_p/5",
                "current_function": "gen_server:loop/7",
                "status": "waiting",
                "memory_bytes": 1000,
                "reductions": 10,
                "message_queue_len": 1,
                "binary_bytes": None,
                "change": 10,
            },
        ]

    def test_nobody_has_any(self) -> None:
        run = Run(lambda call: (8, 5, []))
        found = run(processes("message_queue_len", node="a@b"))
        assert (len(found.processes), found.process_count) == (0, 5)
        assert run.names == ["remote:rank_processes"]

    def test_describe(self) -> None:
        run = Run(lambda call: [described(1), (pid(2), [], UNDEFINED, UNDEFINED)])
        first, second = run(describe([pid(1), pid(2)], word_size=8))
        assert first is not None
        assert (first.pid, first.change, second) == ("<0.1.0>", None, None)


class TestFind:
    @pytest.mark.parametrize("which", ["<0.12.3>", "0.12.3"])
    def test_by_pid(self, which: str) -> None:
        run = Run(lambda call: pid(12) if call.function == "list_to_pid" else True)
        assert run(find_process(which, node="a@b")) == pid(12)
        assert run.calls[0].args == (charlist("<0.12.3>"),)

    def test_by_name(self) -> None:
        answers: dict[str, Any] = {
            "binary_to_existing_atom": Atom("grün"),
            "whereis": pid(1),
            "is_process_alive": True,
        }
        run = Run(lambda call: answers[call.function])
        assert run(find_process("grün")) == pid(1)
        # The text travels as a binary: as an atom it would be made known to the node.
        assert run.calls[0].args == ("grün".encode(),)

    @pytest.mark.parametrize("which", ["nobody", "<0.99.0>", ""])
    def test_what_the_node_does_not_know(self, which: str) -> None:
        run = Run(lambda call: NODE if call.function == "node" else badarg(call))
        with pytest.raises(NoSuchProcess, match="on a@b"):
            run(find_process(which))

    def test_a_name_of_nobody_and_a_dead_pid(self) -> None:
        answers: dict[str, Any] = {"binary_to_existing_atom": Atom("ok"), "whereis": UNDEFINED}
        with pytest.raises(NoSuchProcess):
            Run(lambda call: answers[call.function])(find_process("ok", node="a@b"))
        with pytest.raises(NoSuchProcess):
            Run(lambda call: pid(1) if call.function == "list_to_pid" else False)(find_process("<0.1.0>", node="a@b"))

    def test_other_failures_pass_through(self) -> None:
        error = RemoteError("no", reason=Atom("noproc"))
        with pytest.raises(RemoteError) as caught:
            Run(lambda call: error)(find_process("ok", node="a@b"))
        assert caught.value is error


class TestProcess:
    ITEMS: ClassVar[dict[str, Any]] = {
        "priority": Atom("high"),
        "trap_exit": True,
        "total_heap_size": 1000,
        "stack_size": 10,
        "message_queue_data": Atom("off_heap"),
        "garbage_collection": [
            (Atom("max_heap_size"), {Atom("size"): 500, Atom("kill"): True}),
            (Atom("minor_gcs"), 4),
        ],
        "current_stacktrace": [
            (Atom("m"), Atom("f"), 2, [(Atom("file"), charlist("m.erl")), (Atom("line"), 7)]),
            (Atom("g"), Atom("-h/1-fun-0-"), [b"secret"], []),
        ],
    }

    def run(self, **changed: Any) -> Any:
        answers: dict[str, Any] = {
            "list_to_pid": pid(1),
            "is_process_alive": True,
            "system_info": 8,
            "describe_processes": [described(1, **self.ITEMS)],
            "process_info": (Atom("parent"), pid(9)),
            "count_process_relations": [3, 2, 1],
        }
        answers |= changed
        return Run(lambda call: answers[call.function])(process("<0.1.0>", node="a@b"))

    def test_fields(self) -> None:
        found = self.run()
        assert (found.node, found.pid, found.parent, found.priority) == ("a@b", "<0.1.0>", "<0.9.0>", "high")
        assert (found.heap_bytes, found.stack_bytes, found.max_heap_bytes) == (8000, 80, 4000)
        assert (found.minor_gcs, found.links, found.monitors, found.monitored_by) == (4, 3, 2, 1)
        # Arguments may be anything, and are not shown.
        assert found.stacktrace == ("m:f/2 (m.erl:7)", "g:'-h/1-fun-0-'/1")

    def test_what_the_node_cannot_tell_is_none(self) -> None:
        killed = RemoteError("killed", kind="killed", reason=Atom("killed"))
        found = self.run(process_info=RemoteError("badarg", reason=Atom("badarg")), count_process_relations=killed)
        assert (found.parent, found.links, found.monitors, found.monitored_by) == (None, None, None, None)
        unlimited = self.ITEMS | {"garbage_collection": [(Atom("max_heap_size"), {Atom("size"): 0})]}
        found = self.run(
            process_info=(Atom("parent"), UNDEFINED),
            count_process_relations=[],
            describe_processes=[described(1, **unlimited)],
        )
        assert (found.parent, found.links, found.max_heap_bytes, found.minor_gcs) == (None, None, None, None)

    def test_of_another_node(self) -> None:
        other = Pid(Atom("c@d"), 5, 0, 1)
        assert self.run(process_info=(Atom("parent"), other)).parent == "<c@d.5.0>"

    def test_it_ends_meanwhile(self) -> None:
        with pytest.raises(NoSuchProcess):
            self.run(describe_processes=[(pid(1), [], UNDEFINED, UNDEFINED)])

    def test_other_failures_pass_through(self) -> None:
        with pytest.raises(RemoteError):
            self.run(count_process_relations=RemoteError("no", reason=Atom("noproc")))


MEMORY = [(Atom(kind), 1000) for kind in ("total", "processes", "binary")]


class TestGc:
    def answers(self, **changed: Any) -> dict[str, Any]:
        return {
            "list_to_pid": pid(1),
            "is_process_alive": True,
            "system_info": 8,
            "memory": MEMORY,
            "describe_processes": [described(1)],
            "collect_garbage": [(pid(1), (5000, 10), (100, 0), True)],
            "rank_processes": (8, 50, [(9, pid(1)), (8, pid(2)), (7, pid(3))]),
        } | changed

    def test_one(self) -> None:
        answers = self.answers()
        run = Run(lambda call: answers[call.function])
        found = run(gc_process("<0.1.0>", node="a@b"))
        (row,) = found.processes
        assert (row.memory_before_bytes, row.memory_after_bytes) == (5000, 100)
        assert (row.binary_before_bytes, row.binary_after_bytes, row.answered) == (80, 0, True)
        assert (found.total_before_bytes, found.binary_after_bytes) == (1000, 1000)
        (record,) = run.records
        assert (record.command, record.node, record.plan, record.outcome) == (
            "gc",
            "a@b",
            {"process": "<0.1.0>"},
            "done",
        )

    def test_some_end_and_some_do_not_answer(self) -> None:
        answers = self.answers(
            describe_processes=[described(1), (pid(2), [], UNDEFINED, UNDEFINED), described(3)],
            collect_garbage=[
                (pid(1), (5000, 10), (5000, 10), False),
                (pid(2), UNDEFINED, UNDEFINED, False),
                (pid(3), (1, 1), UNDEFINED, False),
            ],
        )
        run = Run(lambda call: answers[call.function])
        found = run(gc_top(3, by="binary", node="a@b"))
        assert [row.answered for row in found.processes] == [False, True, True]
        assert [row.memory_after_bytes for row in found.processes] == [5000, None, None]
        assert (found.asked, found.answered) == (3, 2)
        assert run.records[0].plan == {"top": 3, "by": "binary"}

    def test_all(self) -> None:
        answers = self.answers(split_processes=(50_000, [pid(10), pid(20)]), collect_garbage_between=(20, 20, 19))
        run = Run(lambda call: answers[call.function])
        found = run(gc_all(node="a@b"))
        batches = [call.args[0] for call in run.calls if call.function == "collect_garbage_between"]
        # From the first process to the last one, and those that are started meanwhile.
        assert [(batch["After"], batch["To"]) for batch in batches] == [(0, pid(10)), (pid(10), pid(20)), (pid(20), ())]
        assert (found.asked, found.answered, len(found.processes)) == (60, 57, 0)
        assert run.progress[-1] == "garbage collected of 60 of 50000 processes"
        assert run.records[0].outcome == "60 processes"
        assert next(call.args[0]["Part"] for call in run.calls if call.function == "split_processes") == BATCH

    def test_a_failure_is_recorded(self) -> None:
        answers = self.answers(split_processes=RemoteError("no", reason=Atom("noproc")))
        run = Run(lambda call: answers[call.function])
        with pytest.raises(RemoteError):
            run(gc_all(node="a@b"))
        assert run.records[0].outcome == "failed: RemoteError: no"
