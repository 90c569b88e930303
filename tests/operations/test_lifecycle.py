"""Stopping, restarting and starting, by made-up answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from iris_admin.errors import BackupError, CallTimeout, CookieMismatch, NodeDown, NodeNotFound, RemoteError
from iris_admin.operations.lifecycle import Ended, ending_plan, restart, start, stop, stop_by_command
from iris_admin.operations.local_steps import CommandEnded, Knock, Knocked, RunCommand, SaveBackup
from iris_admin.operations.steps import Call, Step
from iris_admin.terms import Atom, Term, charlist
from tests.operations.conftest import Run
from tests.operations.test_figures import CORE, EDGE

NODE = "edge@db1"
UNDEFINED = Atom("undefined")
DOWN = NodeNotFound("EPMD on db1 knows no node 'edge'", node=NODE)


class Machine(Run):
    """A node that ends and comes back.

    :ivar gone_by: what a call that waits for the end of the node meets.
    :ivar absences: what calls meet before it is back.
    :ivar after: the applications that run on it once it is back.
    """

    def __init__(self, applications: Any = EDGE, **facts: Any) -> None:
        super().__init__(self._one, clock=(moment / 10 for moment in count()))
        self.applications, self.after = applications, applications
        self.facts = {"users": 3, "waiting": UNDEFINED, "copies": UNDEFINED, "peers": [Atom("core@db1")]} | facts
        self.gone_by: list[Exception] = [NodeDown("the link was lost", node=NODE)]
        self.absences: list[Exception] = [DOWN, DOWN]
        self.status: list[str] = ["starting", "started"]
        self.creation = 7
        self.asked: str | None = None
        self.connected: list[Term] = [Atom("core@db1")]
        self.ran: list[tuple[str, ...]] = []
        self.ending = CommandEnded(None, "printed\n")
        self.saved: list[SaveBackup] = []
        self.registered: dict[str, int] = {}
        self.start_outcome: Term = (Atom("ok"), [])

    def _perform(self, step: Step) -> Any:
        match step:
            case SaveBackup():
                self.saved.append(step)
                return Path("/backups/it")
            case Knock():
                return [Knocked(0.001, names=self.registered)]
            case RunCommand(arguments, _):
                self.ran.append(arguments)
                self.asked = "command"
                return self.ending
        return super()._perform(step)

    def _one(self, call: Call) -> Any:
        assert call.node == NODE
        if self.asked is not None and f"{call.module}:{call.function}" != "timer:sleep" and self.absences:
            raise self.absences.pop(0)
        match call.module, call.function:
            case "remote", "ending":
                facts = self.facts
                return (
                    *(self.applications, facts["users"], facts["waiting"], facts["copies"]),
                    *(False, charlist("42"), 5000, self.creation, facts["peers"]),
                )
            case "remote", "identity":
                return charlist("25"), 5000, self.applications, False, self.creation
            case "remote", _:
                raise RemoteError("not asked for here", node=NODE)
            case "erlang", "memory":
                return [(Atom(kind), 1) for kind in ["total", "processes", "processes_used", "system", "atom"]] + [
                    (Atom(kind), 1) for kind in ["atom_used", "binary", "code", "ets"]
                ]
            case "init", "stop" | "restart" as what:
                self.asked = what
                self.creation += 1
                self.applications = self.after
                return Atom("ok")
            case "init", "get_status":
                return Atom(self.status.pop(0) if len(self.status) > 1 else self.status[0]), Atom("started")
            case "timer", "sleep":
                raise self.gone_by.pop(0)
            case "application", "ensure_all_started":
                self.applications = EDGE
                return self.start_outcome
            case "erlang", "nodes":
                return self.connected
            case "net_adm", "ping":
                return Atom("pang")
            case "iris_durable_batcher", "force_flush":
                return Atom("ok")
        raise AssertionError(call)

    @property
    def outcome(self) -> str:
        (record,) = self.records
        return record.outcome


class TestPlan:
    def test_edge(self) -> None:
        plan = Machine()(ending_plan(NODE))
        assert (plan.role, plan.users, plan.unflushed_rows, plan.other_copies) == ("edge", 3, None, None)
        assert plan.warnings[0] == "3 users are connected to it, and lose their connections"

    def test_core(self) -> None:
        plan = Machine(CORE, users=UNDEFINED, waiting=12, copies=[])(ending_plan(NODE))
        assert (plan.role, plan.users, plan.unflushed_rows, plan.other_copies) == ("core", None, 12, ())
        assert plan.warnings[:2] == (
            "rows wait in its write-ahead log, 12 of them: they are written before",
            "no other core has a copy of the stored messages: none can be stored or fetched meanwhile",
        )

    def test_figures_of_an_edge_that_mean_nothing_are_left_out(self) -> None:
        plan = Machine(waiting=0, copies=[])(ending_plan(NODE))
        assert (plan.unflushed_rows, plan.other_copies) == (None, None)

    def test_fields(self) -> None:
        assert list(Machine()(ending_plan(NODE)).to_dict()) == [
            *("node", "role", "users", "unflushed_rows", "other_copies", "heart", "os_pid", "uptime", "creation"),
            *("peers", "warnings"),
        ]


class TestStop:
    def test_stops(self) -> None:
        run = Machine()
        ended = run(stop(NODE, epmd_port=4369))
        assert (ended.done, ended.saved, ended.role_before) == (True, Path("/backups/it"), "edge")
        assert ended.gone_seconds is not None
        assert run.outcome == ended.explanation
        assert isinstance(run.records[0].plan, dict)
        assert run.records[0].plan["users"] == 3
        assert run.records[0].backup == ended.saved

    def test_state_is_saved_before_anything_happens(self) -> None:
        run = Machine()
        run(stop(NODE))
        (saved,) = run.saved
        assert saved.label == "before-stop-edge@db1"
        kept = json.loads(saved.terms[0])
        assert set(kept) == {"node", "stats", "memory", "ports", "logs"}
        # What cannot be told is no reason to keep nothing.
        assert kept["memory"]["total"] == 1
        assert kept["logs"] == {"error": "not asked for here"}

    def test_without(self) -> None:
        run = Machine()
        assert run(stop(NODE, keep=False)).saved is None
        assert run.saved == []

    def test_core_flushes_its_log_first(self) -> None:
        run = Machine(CORE, users=UNDEFINED, waiting=1, copies=[])
        run(stop(NODE, keep=False))
        assert run.names.index("iris_durable_batcher:force_flush") < run.names.index("init:stop")

    def test_started_anew_by_something(self) -> None:
        run = Machine()
        run.registered, run.absences = {"edge": 9100}, []
        ended = run(stop(NODE, epmd_port=4369))
        assert not ended.done
        assert ended.explanation.endswith("but it answers again: something has started it anew")

    def test_name_that_stays_registered(self) -> None:
        run = Machine()
        run.registered = {"edge": 9100}
        ended = run(stop(NODE, epmd_port=4369))
        assert not ended.done
        assert "but its name is still registered with EPMD" in ended.explanation

    def test_epmd_notices_the_end_a_moment_later(self) -> None:
        class Slow(Machine):
            def _perform(self, step: Step) -> Any:
                if isinstance(step, Knock):
                    self.registered = {} if len(self.paused) == 3 else {"edge": 9100}
                return super()._perform(step)

        run = Slow()
        assert run(stop(NODE, epmd_port=4369)).done
        assert len(run.paused) == 3

    def test_that_does_not_end(self) -> None:
        run = Machine()
        run.gone_by = [CallTimeout("no answer", timeout=60)]
        ended = run(stop(NODE))
        assert (ended.done, ended.gone_seconds) == (False, None)
        assert "still answers after 60 s" in ended.explanation

    def test_call_that_is_killed_before_the_link_is_lost(self) -> None:
        run = Machine()
        run.gone_by = [RemoteError("killed", kind="killed"), RemoteError("killed", kind="killed"), NodeDown("lost")]
        assert run(stop(NODE)).done

    def test_failure_is_recorded(self) -> None:
        class Full(Machine):
            def _perform(self, step: Step) -> Any:
                return BackupError("no room") if isinstance(step, SaveBackup) else super()._perform(step)

        run = Full()
        with pytest.raises(BackupError):
            run(stop(NODE))
        assert "init:stop" not in run.names
        assert run.outcome == "not finished: BackupError: no room"


class TestRestart:
    def test_restarts(self) -> None:
        run = Machine()
        ended = run(restart(NODE))
        assert (ended.done, ended.role_after, ended.started, ended.disconnected) == (True, "edge", (), ())
        assert ended.back_seconds is not None
        assert run.outcome == ended.explanation

    def test_boot_that_is_not_finished_is_waited_for(self) -> None:
        run = Machine()
        run.status = ["starting"] * 4 + ["started"]
        assert run(restart(NODE)).done
        assert run.names.count("init:get_status") == 5

    def test_same_creation_is_the_node_from_before(self) -> None:
        class Slow(Machine):
            def _one(self, call: Call) -> Any:
                answer = super()._one(call)
                if call.function == "restart":
                    self.creation -= 1
                if call.function == "get_status" and self.names.count("init:get_status") == 3:
                    self.creation += 1
                return answer

        slow = Slow()
        assert slow(restart(NODE)).done
        assert slow.names.count("init:get_status") > 3

    def test_application_that_the_boot_does_not_start(self) -> None:
        run = Machine()
        run.after = []
        ended = run(restart(NODE))
        assert (ended.done, ended.started, ended.role_after) == (True, ("iris_edge",), "edge")
        assert "its boot does not start iris_edge, so that was done separately" in ended.explanation

    def test_application_that_does_not_start(self) -> None:
        run = Machine()
        run.after, run.start_outcome = [], (Atom("error"), (Atom("iris_edge"), Atom("eaddrinuse")))
        ended = run(restart(NODE))
        assert not ended.done
        assert "iris_edge does not start: {iris_edge,eaddrinuse}" in ended.explanation

    def test_peers_are_connected_again(self) -> None:
        run = Machine(peers=[Atom("core@db1"), Atom("edge2@db1")])
        ended = run(restart(NODE))
        pings = [call.args for call in run.calls if call.function == "ping"]
        assert pings == [(Atom("edge2@db1"),)]
        assert ended.disconnected == ("edge2@db1",)
        assert "not connected to edge2@db1 any more" in ended.explanation

    def test_not_back_in_time(self) -> None:
        run = Machine()
        run.absences = [DOWN] * 1000
        ended = run(restart(NODE, wait=10))
        assert (ended.done, ended.back_seconds) == (False, None)
        assert "it is not back after 10 s: EPMD on db1 knows no node 'edge'" in ended.explanation

    def test_other_cookie_afterwards(self) -> None:
        run = Machine()
        run.absences = [DOWN, CookieMismatch("it does not share our cookie")]
        assert "it is back, but does not let us in" in run(restart(NODE)).explanation

    def test_fields(self) -> None:
        assert list(Ended(NODE, "stop", True, "").to_dict()) == [
            *("node", "action", "done", "explanation", "gone_seconds", "back_seconds", "role_before", "role_after"),
            *("disconnected", "started", "saved", "command", "output"),
        ]


class TestCommands:
    @pytest.fixture
    def run(self) -> Iterator[Machine]:
        machine = Machine()
        yield machine
        assert len(machine.records) == 1

    def test_start(self, run: Machine) -> None:
        ended = run(start(NODE, ["systemctl", "start", "iris"]))
        assert run.ran == [("systemctl", "start", "iris")]
        assert (ended.done, ended.role_after, ended.command) == (True, "edge", "systemctl start iris")
        assert ended.output == "printed\n"
        assert run.records[0].plan == {"command": "systemctl start iris"}

    def test_first_the_one_that_hangs_is_ended(self, run: Machine) -> None:
        run(start(NODE, ["start"], first=["stop"]))
        assert run.ran == [("stop",), ("start",)]

    def test_command_that_fails(self, run: Machine) -> None:
        run.ending = CommandEnded("exit code 5", "no such unit\n")
        ended = run(start(NODE, ["start"]))
        assert (ended.done, ended.explanation) == (False, "the site's command failed: exit code 5")
        assert ended.output == "no such unit\n"

    def test_command_that_helps_nothing(self, run: Machine) -> None:
        run.absences = [DOWN] * 1000
        ended = run(start(NODE, ["start"], wait=5))
        assert ended.explanation.startswith("the site's command went well, but it is not back after 5 s")

    @pytest.mark.parametrize(("problem", "done"), [(None, True), ("exit code 1", False)])
    def test_stop(self, run: Machine, problem: str | None, done: bool) -> None:
        run.ending = CommandEnded(problem, "")
        assert run(stop_by_command(NODE, ["stop"])).done is done
