"""Stop a node, restart it, or start one that is down; and wait until that has happened.

``init:restart/0`` takes all applications down in order and boots again within the same operating system process, with
the same command line. ``init:stop/0`` ends the process; who starts it again, if anybody does, is the site's business.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from iris_admin.errors import CallTimeout, CookieMismatch, HandshakeRefused, IrisAdminError, NodeDown, RemoteError
from iris_admin.node_name import NodeName
from iris_admin.operations.delivery import flush
from iris_admin.operations.evaluate import run_remote
from iris_admin.operations.identity import Identity, identity
from iris_admin.operations.local_steps import (
    CommandEnded,
    Door,
    Knock,
    Knocked,
    PrepareAudit,
    RecordChange,
    RunCommand,
    SaveBackup,
)
from iris_admin.operations.logs import logs
from iris_admin.operations.memory import memory
from iris_admin.operations.ports import listening
from iris_admin.operations.results import Result
from iris_admin.operations.roles import Role, role_of
from iris_admin.operations.stats import stats
from iris_admin.operations.steps import AllOf, Call, Now, Operation, Pause, Progress
from iris_admin.proto.io_protocol import chardata_to_str
from iris_admin.records import record, replace
from iris_admin.syntax import format_term
from iris_admin.terms import Atom

#: How long to wait for a node that is to end or to come back, in seconds, unless told otherwise.
WAIT = 60.0
#: Iris's applications by the parts of a role, in the order in which they are started.
_IRIS = {"core": "iris_core", "edge": "iris_edge"}
_LOOK_AGAIN = 0.1
_ANSWER_WITHIN = 3.0
_LOG_EVENTS_KEPT = 1000


@record
class EndingPlan(Result):
    """What ending a node would mean.

    :param node: the node.
    :param role: ``core``, ``edge``, ``core+edge`` or ``other``; None where it did not say in time.
    :param users: users connected to the edge, who would lose their connections; None where there are none to count.
    :param unflushed_rows: rows that wait in the core's write-ahead log; None where the node has none.
    :param other_copies: the other nodes with an active copy of the stored messages; None on a node without Mnesia.
    :param heart: whether ``heart`` would start the node again if it died; it does not after ``init:stop/0``.
    :param os_pid: of the node's operating system process.
    :param uptime: of that process, in seconds.
    :param creation: changes when the node starts again.
    :param peers: the nodes that it is connected to, hidden ones included, without this client.
    :param warnings: what there is to consider, in sentences.
    """

    node: str
    role: str | None
    users: int | None
    unflushed_rows: int | None
    other_copies: tuple[str, ...] | None
    heart: bool
    os_pid: int | None
    uptime: float
    creation: int
    peers: tuple[str, ...]
    warnings: tuple[str, ...]


@record
class Ended(Result):
    """What came of stopping, restarting or starting a node.

    :param node: the node.
    :param action: ``restart``, ``stop`` or ``start``.
    :param done: whether it ended as it was meant to.
    :param explanation: the outcome in a sentence.
    :param gone_seconds: until the node was gone; None where it was down before, or is not gone.
    :param back_seconds: until it answered again, counted from when it was gone, or from the command that started it;
        None where it has not, or was not to.
    :param role_before: what ran on it, ``role_after`` what runs there now.
    :param disconnected: the nodes that it was connected to before, and is not now.
    :param started: Iris's applications that had to be started separately, because the node's own boot does not.
    :param saved: the file with the node's state and logs from before.
    :param command: the site's own command that was run, if one was, and ``output`` what it printed.
    """

    node: str
    action: str
    done: bool
    explanation: str
    gone_seconds: float | None = None
    back_seconds: float | None = None
    role_before: str | None = None
    role_after: str | None = None
    disconnected: tuple[str, ...] = ()
    started: tuple[str, ...] = ()
    saved: Path | None = None
    command: str | None = None
    output: str | None = None


def ending_plan(node: str) -> Operation[EndingPlan]:
    """What ending a node would mean, before anything is done.

    :param node: its full name.
    """
    bindings = {
        "Presence": b"local_presence_v2",
        "Batcher": b"iris_durable_batcher",
        "Statistic": b"get_stats",
        "Pending": b"total_pending",
        "Offline": b"offline_msg",
        "Mnesia": b"mnesia",
        "Holders": b"where_to_write",
    }
    answer = yield from run_remote("ending", bindings, node=node)
    applications, users, waiting, copies, heart, os_pid, uptime, creation, peers = answer
    role = None if applications == "undefined" else role_of(node, applications)
    is_core = role is not None and role.is_core
    plan = EndingPlan(
        node=node,
        role=None if role is None else role.role,
        users=users if isinstance(users, int) else None,
        # The batcher of an edge says 0, and that means nothing.
        unflushed_rows=waiting if isinstance(waiting, int) and is_core else None,
        other_copies=tuple(map(str, copies)) if isinstance(copies, list) and is_core else None,
        heart=heart is True,
        os_pid=int(chardata_to_str(os_pid, "utf-8") or 0) or None,
        uptime=uptime / 1000,
        creation=creation,
        peers=tuple(sorted(map(str, peers))),
        warnings=(),
    )
    return replace(plan, warnings=tuple(_warnings(plan)))


def stop(
    node: str,
    *,
    keep: bool = True,
    saved: Path | None = None,
    wait: float = WAIT,
    epmd_port: int | None = None,
) -> Operation[Ended]:
    """Shut a node down in an orderly way, and wait until it is gone.

    :param node: its full name.
    :param keep: save its state and the end of its logs before, unless they are in ``saved``.
    :param saved: a file that has them already, such as a bundle.
    :param wait: how long to wait, in seconds.
    :param epmd_port: of its host's EPMD, which tells whether something has started the node again.
    """
    plan = yield from ending_plan(node)
    return (yield from _recorded(node, "stop", plan, _stop(plan, keep, saved, wait, epmd_port)))


def restart(node: str, *, keep: bool = True, saved: Path | None = None, wait: float = WAIT) -> Operation[Ended]:
    """Have a node boot again, and wait until it is back, with the applications of Iris that ran on it before.

    What the boot itself does not start is started as the operator would, by ``application:ensure_all_started/1``; and
    it is connected to the nodes that it was connected to.

    :param node: its full name.
    :param keep: save its state and the end of its logs before, unless they are in ``saved``.
    :param saved: a file that has them already, such as a bundle.
    :param wait: how long to wait for the end, and again for the return, in seconds.
    """
    plan = yield from ending_plan(node)
    return (yield from _recorded(node, "restart", plan, _restart(plan, keep, saved, wait)))


def start(node: str, command: Sequence[str], *, first: Sequence[str] = (), wait: float = WAIT) -> Operation[Ended]:
    """Start a node that is down by a command of the site, and wait until it answers.

    :param node: its full name.
    :param command: the program and its arguments.
    :param first: a command to run before, such as one that ends a node that hangs; its outcome does not matter.
    :param wait: how long the command may take, and again how long to wait for the node, in seconds.
    """
    return (yield from _recorded(node, "start", None, _start(node, command, first, wait)))


def stop_by_command(node: str, command: Sequence[str], *, wait: float = WAIT) -> Operation[Ended]:
    """End a node that does not answer by a command of the site.

    :param node: its full name.
    :param command: the program and its arguments.
    :param wait: how long the command may take, in seconds.
    """
    return (yield from _recorded(node, "stop", None, _stop_by_command(node, command, wait)))


def _recorded(node: str, action: str, plan: EndingPlan | None, do: Operation[Ended]) -> Operation[Ended]:
    """Do it, and write it to the audit file, however it ends."""
    planned = None if plan is None else plan.to_dict()
    begun = yield PrepareAudit(action, node, planned)
    try:
        ended = yield from do
    except GeneratorExit:
        raise
    except BaseException as error:
        reason = f"not finished: {type(error).__name__}: {error}"
        yield RecordChange(action, node, planned, reason, begun=begun)
        raise
    if ended.command is not None:
        planned = {"command": ended.command}
    yield RecordChange(action, node, planned, ended.explanation, ended.saved, begun)
    return ended


def _stop(before: EndingPlan, keep: bool, saved: Path | None, wait: float, epmd_port: int | None) -> Operation[Ended]:
    node = before.node
    yield from _prepare(before)
    if saved is None and keep:
        saved = yield from _save(node, "stop")
    yield Progress(f"{node}: asked to stop")
    gone = yield from _end(node, "stop", wait)
    ended = Ended(node, "stop", False, "", gone, role_before=before.role, saved=saved)
    if gone is None:
        why = f"it still answers after {wait:g} s: something holds up its end, see iris-admin logs"
        return replace(ended, explanation=why)
    problem = None if epmd_port is None else (yield from _still_there(before, epmd_port))
    if problem is not None:
        return replace(ended, explanation=f"it ended after {gone:.1f} s, but {problem}")
    return replace(ended, done=True, explanation=f"it ended after {gone:.1f} s")


def _still_there(before: EndingPlan, epmd_port: int) -> Operation[str | None]:
    """Whether something has started a node again that has ended, by its EPMD, which notices its end a moment later."""
    name = NodeName.parse(before.node)
    start: float = yield Now()
    while True:
        knocked: list[Knocked] = yield Knock((Door(name.host, epmd_port, "epmd"),), _ANSWER_WITHIN)
        if name.name not in (knocked[0].names or {}):
            return None
        if (yield Now()) - start > _ANSWER_WITHIN:
            break
        yield Pause(_LOOK_AGAIN)
    try:
        yield from identity(before.node, timeout=_ANSWER_WITHIN)
    except IrisAdminError as error:
        return f"its name is still registered with EPMD: {error}"
    return "it answers again: something has started it anew"


def _restart(before: EndingPlan, keep: bool, saved: Path | None, wait: float) -> Operation[Ended]:
    node = before.node
    yield from _prepare(before)
    if saved is None and keep:
        saved = yield from _save(node, "restart")
    yield Progress(f"{node}: asked to restart")
    gone = yield from _end(node, "restart", wait)
    ended = Ended(node, "restart", False, "", gone, role_before=before.role, saved=saved)
    if gone is None:
        why = f"it still answers after {wait:g} s, and has not begun anew: something holds up its end"
        return replace(ended, role_after=before.role, explanation=why)
    yield Progress(f"{node}: gone after {gone:.1f} s")
    back = yield from _await_back(node, wait, before.creation)
    if isinstance(back, str):
        return replace(ended, explanation=f"it was gone after {gone:.1f} s, but {back}")
    seconds, _ = back
    said = [f"it was gone after {gone:.1f} s and back after another {seconds:.1f} s"]
    started, problem = yield from _start_missing(node, before.role, wait)
    if started:
        said.append(f"its boot does not start {' and '.join(started)}, so that was done separately")
    if problem is not None:
        return replace(ended, back_seconds=seconds, started=started, explanation="; ".join([*said, problem]))
    disconnected = yield from _reconnect(before)
    if disconnected:
        said.append(f"it is not connected to {', '.join(disconnected)} any more")
    after = yield from identity(node)
    return replace(
        ended,
        done=_role_text(after.role) == before.role,
        explanation="; ".join(said),
        back_seconds=seconds,
        role_after=_role_text(after.role),
        disconnected=disconnected,
        started=started,
    )


def _start(node: str, command: Sequence[str], first: Sequence[str], wait: float) -> Operation[Ended]:
    printed = ""
    if first:
        yield Progress(f"running {' '.join(first)}")
        ran: CommandEnded = yield RunCommand(tuple(first), wait)
        printed += ran.output
    yield Progress(f"running {' '.join(command)}")
    ran = yield RunCommand(tuple(command), wait)
    ended = Ended(node, "start", False, "", command=" ".join(command), output=printed + ran.output)
    if ran.problem is not None:
        return replace(ended, explanation=f"the site's command failed: {ran.problem}")
    back = yield from _await_back(node, wait, None)
    if isinstance(back, str):
        return replace(ended, explanation=f"the site's command went well, but {back}")
    seconds, after = back
    role = _role_text(after.role)
    why = f"it answers {seconds:.1f} s after the site's command; what runs there: {role or 'cannot tell'}"
    return replace(ended, done=True, back_seconds=seconds, role_after=role, explanation=why)


def _stop_by_command(node: str, command: Sequence[str], wait: float) -> Operation[Ended]:
    yield Progress(f"running {' '.join(command)}")
    ran: CommandEnded = yield RunCommand(tuple(command), wait)
    why = "the site's command went well" if ran.problem is None else f"the site's command failed: {ran.problem}"
    return Ended(node, "stop", ran.problem is None, why, command=" ".join(command), output=ran.output)


def _prepare(before: EndingPlan) -> Operation[None]:
    """Have a core write to the tables what waits in its log."""
    if before.role is None or "core" in before.role:
        try:
            yield from flush([before.node])
        except IrisAdminError as error:
            # Its orderly end does so, too.
            yield Progress(f"{before.node} does not write its write-ahead log to the tables: {error}")


def _reconnect(before: EndingPlan) -> Operation[tuple[str, ...]]:
    """Connect a node to those that it was connected to; those that it does not reach.

    Edges come back to a core only when one of their users logs in, and until then are not seen.
    """
    try:
        now = yield Call("erlang", "nodes", (Atom("connected"),), node=before.node, idempotent=True)
        missing = sorted(set(before.peers).difference(map(str, now)))
        if missing:
            yield Progress(f"{before.node}: connecting it to {', '.join(missing)}")
        pongs = yield AllOf(tuple(Call("net_adm", "ping", (Atom(peer),), node=before.node) for peer in missing))
    except IrisAdminError as error:
        yield Progress(f"{before.node} does not say what it is connected to: {error}")
        return ()
    return tuple(peer for peer, pong in zip(missing, pongs, strict=True) if pong != "pong")


def _end(node: str, function: str, wait: float) -> Operation[float | None]:
    """Have ``init`` end the node; the seconds until it was gone, or None if it is not."""
    start: float = yield Now()
    # A call that never returns: the loss of the link ends it, at the moment when the node ends.
    asked, waiting = yield AllOf(
        (
            Call("init", function, node=node),
            Call("timer", "sleep", (Atom("infinity"),), node=node, timeout=wait),
        )
    )
    for outcome in (asked, waiting):
        if isinstance(outcome, Exception) and not isinstance(outcome, IrisAdminError):
            raise outcome
    if isinstance(asked, IrisAdminError) and not isinstance(asked, NodeDown):
        raise asked
    if isinstance(waiting, CallTimeout):
        return None
    # Where init has killed the call before the link was closed, it is a matter of moments.
    deadline = start + wait
    while isinstance(waiting, RemoteError) and (yield Now()) < deadline:
        try:
            yield Call("timer", "sleep", (Atom("infinity"),), node=node, timeout=_ANSWER_WITHIN)
        except RemoteError:
            yield Pause(_LOOK_AGAIN)
        except IrisAdminError:
            break
    end: float = yield Now()
    return end - start


def _await_back(node: str, wait: float, creation: int | None) -> Operation[tuple[float, Identity] | str]:
    """Wait until a node has booted; why it has not, if it does not in time."""
    start = yield Now()
    last: IrisAdminError | None = None
    while (yield Now()) - start < wait:
        try:
            found = yield from identity(node, timeout=_ANSWER_WITHIN)
            status = yield Call("init", "get_status", node=node, timeout=_ANSWER_WITHIN, idempotent=True)
        except IrisAdminError as error:
            # A handshake that is torn down is that of a node which is ending, or not up yet.
            if isinstance(error, CookieMismatch) or (isinstance(error, HandshakeRefused) and error.status):
                return f"it is back, but does not let us in: {error}"
            last = error
        else:
            # Until then it still starts applications, or evaluates what its command line says.
            if found.creation != creation and status[0] == "started":
                return (yield Now()) - start, (yield from identity(node))
        yield Pause(_LOOK_AGAIN)
    if last is None:
        return f"it has not finished its boot within {wait:g} s"
    return f"it is not back after {wait:g} s: {last}"


def _start_missing(node: str, before: str | None, wait: float) -> Operation[tuple[tuple[str, ...], str | None]]:
    """Start the applications of Iris that ran before and do not now; what was started, and what went wrong."""
    if before is None:
        return (), None
    after = (yield from identity(node)).role
    if after is None:
        return (), "it does not say in time what runs on it"
    started: list[str] = []
    for part, application in _IRIS.items():
        if part not in before or part in after.role:
            continue
        yield Progress(f"{node}: starting {application}")
        try:
            outcome = yield Call("application", "ensure_all_started", (Atom(application),), node=node, timeout=wait)
        except IrisAdminError as error:
            return tuple(started), f"{application} does not start: {error}"
        if outcome[0] != "ok":
            return tuple(started), f"{application} does not start: {format_term(outcome[1], width=None)}"
        started.append(application)
    return tuple(started), None


def _save(node: str, action: str) -> Operation[Path]:
    """Save what the end of a node destroys: its figures, and the end of its logs."""
    yield Progress(f"{node}: saving its state and the end of its logs")
    parts: dict[str, Operation[Any]] = {
        "stats": stats(node),
        "memory": memory(node),
        "ports": listening(node),
        "logs": logs(node, count=_LOG_EVENTS_KEPT, everything=True),
    }
    kept: dict[str, Any] = {"node": node}
    for name, part in parts.items():
        try:
            result: Result = yield from part
            kept[name] = result.to_dict()
        except IrisAdminError as error:
            kept[name] = {"error": str(error)}
    saved: Path = yield SaveBackup(f"before-{action}-{node}", (json.dumps(kept, indent=1).encode(),))
    return saved


def _warnings(plan: EndingPlan) -> list[str]:
    warnings = []
    if plan.users == 1:
        warnings.append("1 user is connected to it, and loses the connection")
    elif plan.users:
        warnings.append(f"{plan.users} users are connected to it, and lose their connections")
    if plan.unflushed_rows:
        warnings.append(f"rows wait in its write-ahead log, {plan.unflushed_rows} of them: they are written before")
    if plan.other_copies == ():
        warnings.append("no other core has a copy of the stored messages: none can be stored or fetched meanwhile")
    warnings.append("its log files may be emptied when it starts again")
    return warnings


def _role_text(role: Role | None) -> str | None:
    return None if role is None else role.role
