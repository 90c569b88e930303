"""The awaiting facade: :mod:`iris_admin.client` and :mod:`iris_admin.cluster`, awaited.

The connections live in the same I/O thread, not on the event loop: a loop that is busy for longer than the
cluster's ``net_ticktime`` would be dropped, for nobody would answer the ticks.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from iris_admin import client, cluster
from iris_admin.awaited import ask
from iris_admin.call_each import call_each
from iris_admin.calls import encode_calls
from iris_admin.cluster import PerNode
from iris_admin.errors import IrisAdminError
from iris_admin.operations.parallel import side_by_side
from iris_admin.operations.steps import AllOf, Call, Capture, Operation, Pause, Step
from iris_admin.runner import Callee, perform
from iris_admin.terms import Term

if TYPE_CHECKING:
    from pathlib import Path

    from iris_admin.bundle_file import Bundle
    from iris_admin.operations.clear import Cleared, ClearPlan
    from iris_admin.operations.diff import Diff
    from iris_admin.operations.doctor import Diagnosis
    from iris_admin.operations.ets import EtsTables, TableOrder
    from iris_admin.operations.gc import Gc
    from iris_admin.operations.lifecycle import Ended, EndingPlan
    from iris_admin.operations.logs import LogEntry, Logs
    from iris_admin.operations.memory import Memory
    from iris_admin.operations.memory_change import MemoryChange
    from iris_admin.operations.mnesia import MnesiaInfo
    from iris_admin.operations.mnesia_locks import MnesiaLocks, MnesiaTransactions
    from iris_admin.operations.mnesia_status import MnesiaStatus
    from iris_admin.operations.mnesia_tables import MnesiaTables
    from iris_admin.operations.offline import Offline
    from iris_admin.operations.offline_duplicates import OfflineDuplicates
    from iris_admin.operations.offline_export import OfflineExport
    from iris_admin.operations.offline_summary import Backlog, OfflineList, OfflineSummary
    from iris_admin.operations.ports import ListeningPort
    from iris_admin.operations.presence import Presence
    from iris_admin.operations.presence_overview import PresenceList, PresenceSummary
    from iris_admin.operations.processes import By, Process, Processes
    from iris_admin.operations.redeliver import Redelivery
    from iris_admin.operations.restore import Restored
    from iris_admin.operations.results import Table
    from iris_admin.operations.roles import Role
    from iris_admin.operations.smoke import Smoke
    from iris_admin.operations.stats import Stats, StatsChange
    from iris_admin.operations.stuck import RedeliveryFailed, Stuck
    from iris_admin.operations.system import System
    from iris_admin.operations.triage import TriageStep
    from iris_admin.operations.user import UserReport

T = TypeVar("T")


async def connect(node: str, **options: Any) -> Node:
    """Join a node's cluster as a hidden node; see :func:`iris_admin.client.connect`."""
    return Node(await asyncio.to_thread(client.connect, node, **options))


async def connect_cluster(seed: str, *, on_progress: Callable[[str], None] | None = None, **options: Any) -> Cluster:
    """Join all nodes of a cluster, given one; see :func:`iris_admin.cluster.connect_cluster`."""
    return Cluster(await asyncio.to_thread(cluster.connect_cluster, seed, on_progress=on_progress, **options))


class Node:
    """A node that we are connected to; what :class:`iris_admin.client.Node` does, awaited."""

    def __init__(self, node: client.Node) -> None:
        self._node = node

    async def __aenter__(self) -> Node:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return repr(self._node)

    @property
    def name(self) -> str:
        """The node's full name."""
        return self._node.name

    @property
    def our_name(self) -> str | None:
        """The full name under which the node knows us, while connected."""
        return self._node.our_name

    @property
    def is_connected(self) -> bool:
        """Whether the link stands, as far as is known."""
        return self._node.is_connected

    def close(self) -> None:
        """Leave the cluster."""
        self._node.close()

    async def reconnect(self, *, timeout: float | None = None) -> None:
        """Connect, unless the link stands; see :meth:`iris_admin.client.Node.reconnect`."""
        if not self._node.is_connected:
            await asyncio.to_thread(self._node.reconnect, timeout=timeout)

    async def call(
        self, module: str, function: str, *args: Term, timeout: float | None = None, idempotent: bool = False
    ) -> Term:
        """Call a function; see :meth:`iris_admin.client.Node.call`. Cancelling kills the remote process."""
        return await ask(self._node, module, function, args, timeout, idempotent)

    async def capture(
        self, module: str, function: str, *args: Term, timeout: float | None = None, idempotent: bool = False
    ) -> tuple[Term, str]:
        """Call a function that prints; see :meth:`iris_admin.client.Node.capture`."""
        value, output = await ask(self._node, module, function, args, timeout, idempotent, capture=True)
        return value, output

    async def map(
        self,
        module: str,
        function: str,
        arguments: Iterable[Sequence[Term]],
        *,
        timeout: float | None = None,
        in_flight: int = 64,
    ) -> list[Term]:
        """Call a function with each of many argument lists; see :meth:`iris_admin.client.Node.map`."""
        lists = [tuple(args) for args in arguments]
        encode_calls(module, function, lists, in_flight)
        return await call_each(lambda args: self.call(module, function, *args, timeout=timeout), lists, in_flight)

    async def eval(
        self,
        text: str,
        bindings: Mapping[str, Term] | None = None,
        *,
        timeout: float | None = None,
        capture: bool = False,
    ) -> Term:
        """Evaluate Erlang expressions; see :meth:`iris_admin.client.Node.eval`."""
        from iris_admin.operations.evaluate import evaluate

        return await self._run(evaluate(text, bindings, timeout=timeout, capture=capture))

    async def check_atoms(self, *terms: Term) -> None:
        """See that the node knows all atoms of some terms; see :meth:`iris_admin.client.Node.check_atoms`."""
        from iris_admin.operations.evaluate import atoms_in, require_atoms

        await self._run(require_atoms(atoms_in(*terms)))

    async def ping(self) -> float:
        """Ask the node for its name; the time that took, in seconds."""
        start = time.perf_counter()
        await self.call("erlang", "node", idempotent=True)
        return time.perf_counter() - start

    async def bundle(self, path: str | os.PathLike[str], *, payload: bool = False) -> Bundle:
        """Collect what is known of the node into a new file; see :meth:`iris_admin.client.Node.bundle`."""
        from iris_admin.bundle_file import require_new, write_bundle
        from iris_admin.operations.bundle import bundle

        require_new(path)
        node = self._node
        operation = bundle((node.name,), payload=payload, secrets=node.secrets, epmd_port=node.epmd_port)
        contents = await self._run(operation)
        return await asyncio.to_thread(write_bundle, path, contents)

    async def ports(self) -> Table[ListeningPort]:
        """What the node listens on; see :meth:`iris_admin.client.Node.ports`."""
        from iris_admin.operations.ports import ports

        return await self._run(ports([self.name], epmd_port=self._node.epmd_port))

    async def logs(
        self, *, count: int = 100, pattern: str | None = None, everything: bool = False, file: str | None = None
    ) -> Logs:
        """The last events of the node's log files; see :meth:`iris_admin.client.Node.logs`."""
        from iris_admin.operations.logs import logs

        return await self._run(logs(count=count, pattern=pattern, everything=everything, file=file))

    async def follow_logs(
        self, *, pattern: str | None = None, everything: bool = False, file: str | None = None
    ) -> AsyncIterator[LogEntry]:
        """What is added to the node's log files; see :meth:`iris_admin.client.Node.follow_logs`."""
        from iris_admin.operations.logs import follow_logs, open_logs

        cursors = await self._run(open_logs(file=file))
        while True:
            for entry in await self._run(follow_logs(cursors, pattern=pattern, everything=everything)):
                yield entry

    # Operations

    async def memory(self) -> Memory:
        """The node's memory by kind, in bytes; see :func:`iris_admin.operations.memory.memory`."""
        from iris_admin.operations.memory import memory

        return await self._run(memory())

    async def memory_change(self, interval: float = 1.0, *, since: MemoryChange | None = None) -> MemoryChange:
        """How the node's memory changes per second; see :func:`iris_admin.operations.memory_change.memory_change`."""
        from iris_admin.operations.memory_change import memory_change

        return await self._run(memory_change(interval, since=since))

    async def stats(self) -> Stats:
        """The node's vital figures; see :func:`iris_admin.operations.stats.stats`."""
        from iris_admin.operations.stats import stats

        return await self._run(stats())

    async def stats_change(self, interval: float = 1.0, *, since: StatsChange | Stats | None = None) -> StatsChange:
        """How the node's figures change per second; see :func:`iris_admin.operations.stats.stats_change`."""
        from iris_admin.operations.stats import stats_change

        return await self._run(stats_change(interval, since=since))

    async def system(self, interval: float = 0.5) -> System:
        """The machine that the node runs on; see :func:`iris_admin.operations.system.system`."""
        from iris_admin.operations.system import system

        return await self._run(system(interval))

    async def processes(
        self, by: By = "memory", *, count: int = 10, interval: float | None = None, within: float = 60.0
    ) -> Processes:
        """The node's largest or busiest processes; see :func:`iris_admin.operations.processes.processes`."""
        from iris_admin.operations.processes import processes

        return await self._run(processes(by, count=count, interval=interval, within=within))

    async def process(self, which: str) -> Process:
        """One process, by its pid or name; see :func:`iris_admin.operations.processes.process`."""
        from iris_admin.operations.processes import process

        return await self._run(process(which))

    async def ets_tables(self, by: TableOrder = "memory", *, count: int = 10) -> EtsTables:
        """The node's largest ETS tables; see :func:`iris_admin.operations.ets.ets_tables`."""
        from iris_admin.operations.ets import ets_tables

        return await self._run(ets_tables(by, count=count))

    async def gc_process(self, which: str) -> Gc:
        """Collect the garbage of one process; see :func:`iris_admin.operations.gc.gc_process`."""
        from iris_admin.operations.gc import gc_process

        return await self._run(gc_process(which))

    async def gc_top(self, count: int = 10, *, by: By = "memory", within: float = 60.0) -> Gc:
        """Collect the garbage of the largest processes; see :func:`iris_admin.operations.gc.gc_top`."""
        from iris_admin.operations.gc import gc_top

        return await self._run(gc_top(count, by=by, within=within))

    async def gc_all(self) -> Gc:
        """Collect the garbage of all processes, without asking; see :func:`iris_admin.operations.gc.gc_all`."""
        from iris_admin.operations.gc import gc_all

        return await self._run(gc_all())

    async def role(self) -> Role:
        """What kind of node it is; see :func:`iris_admin.operations.roles.role`."""
        from iris_admin.operations.roles import role

        return await self._run(role())

    async def mnesia_info(self) -> MnesiaInfo:
        """What there is to know about Mnesia on the node; see :func:`iris_admin.operations.mnesia.mnesia_info`."""
        from iris_admin.operations.mnesia import mnesia_info

        return await self._run(mnesia_info())

    async def mnesia_locks(self, *, count: int = 20) -> MnesiaLocks:
        """Who holds and who wants locks there; see :func:`iris_admin.operations.mnesia_locks.mnesia_locks`."""
        from iris_admin.operations.mnesia_locks import mnesia_locks

        return await self._run(mnesia_locks(count=count))

    async def mnesia_transactions(self, *, count: int = 20) -> MnesiaTransactions:
        """The transactions that are under way there.

        See :func:`iris_admin.operations.mnesia_locks.mnesia_transactions`.
        """
        from iris_admin.operations.mnesia_locks import mnesia_transactions

        return await self._run(mnesia_transactions(count=count))

    # How it is done

    async def ending_plan(self) -> EndingPlan:
        """What stopping or restarting the node would mean; see :meth:`iris_admin.client.Node.ending_plan`."""
        from iris_admin.operations.lifecycle import ending_plan

        return await self._run(ending_plan(self.name))

    async def restart(self, *, keep: bool = True, saved: Path | None = None, wait: float = 60.0) -> Ended:
        """Restart the node, and wait until it is back; see :meth:`iris_admin.client.Node.restart`."""
        from iris_admin.operations.lifecycle import restart

        return await self._run(restart(self.name, keep=keep, saved=saved, wait=wait))

    async def stop(self, *, keep: bool = True, saved: Path | None = None, wait: float = 60.0) -> Ended:
        """Stop the node, and wait until it is gone; see :meth:`iris_admin.client.Node.stop`."""
        from iris_admin.operations.lifecycle import stop

        epmd_port = self._node.epmd_port
        return await self._run(stop(self.name, keep=keep, saved=saved, wait=wait, epmd_port=epmd_port))

    async def start_by(self, command: Sequence[str], *, first: Sequence[str] = (), wait: float = 60.0) -> Ended:
        """Start the node by a command; see :meth:`iris_admin.client.Node.start_by`."""
        from iris_admin.operations.lifecycle import start

        return await self._run(start(self.name, command, first=first, wait=wait))

    async def stop_by(self, command: Sequence[str], *, wait: float = 60.0) -> Ended:
        """End the node by a command; see :meth:`iris_admin.client.Node.stop_by`."""
        from iris_admin.operations.lifecycle import stop_by_command

        return await self._run(stop_by_command(self.name, command, wait=wait))

    async def _call(self, call: Call, *, capture: bool) -> Any:
        return await ask(
            self._node, call.module, call.function, call.args, call.timeout, call.idempotent, capture=capture
        )

    async def _run(self, operation: Operation[T]) -> T:
        return await _run(operation, lambda _: self, self._node.on_progress)


class Cluster:
    """Nodes of one cluster; what :class:`iris_admin.cluster.Cluster` does, awaited."""

    def __init__(self, joined: cluster.Cluster) -> None:
        self._cluster = joined

    async def __aenter__(self) -> Cluster:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return repr(self._cluster)

    @property
    def seed(self) -> Node:
        """The node that the others were found from."""
        return Node(self._cluster.seed)

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names of all nodes, the unreachable ones included, in order."""
        return self._cluster.nodes

    @property
    def unreachable(self) -> dict[str, IrisAdminError]:
        """Nodes of the cluster that could not be joined, with the reason."""
        return self._cluster.unreachable

    @property
    def guests(self) -> tuple[str, ...]:
        """Names that are connected but that no EPMD knows: other administrators and remote shells."""
        return self._cluster.guests

    def node(self, name: str | None = None) -> Node:
        """One node of the cluster; the seed without a name."""
        return Node(self._cluster.node(name))

    def close(self) -> None:
        """Leave every node."""
        self._cluster.close()

    async def refresh(self) -> None:
        """Look for the cluster's nodes again, and join those that are not joined yet."""
        await asyncio.to_thread(self._cluster.refresh)

    async def call(
        self,
        module: str,
        function: str,
        *args: Term,
        timeout: float | None = None,
        nodes: tuple[str, ...] | None = None,
    ) -> PerNode:
        """Call a function on every node at once; see :meth:`iris_admin.cluster.Cluster.call`."""
        names = self.nodes if nodes is None else nodes
        calls = tuple(Call(module, function, args, node=name, timeout=timeout) for name in names)
        outcomes = await _perform(AllOf(calls), self.node, None)
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, IrisAdminError):
                raise outcome
        return PerNode(dict(zip(names, outcomes, strict=True)))

    async def include(self, names: Iterable[str]) -> None:
        """Join nodes that the others are not connected to; see :meth:`iris_admin.cluster.Cluster.include`."""
        await asyncio.to_thread(self._cluster.include, names)

    async def find_strangers(self, expected: Iterable[str] = ()) -> None:
        """Look for nodes that are known of without being connected; see
        :meth:`iris_admin.cluster.Cluster.find_strangers`.
        """
        await asyncio.to_thread(self._cluster.find_strangers, expected)

    async def doctor(self, user: str | bytes | None = None, *, expected: Iterable[str] = ()) -> Diagnosis:
        """Everything that can be wrong, looked at at once; see :meth:`iris_admin.cluster.Cluster.doctor`."""
        from iris_admin.operations.doctor import doctor

        wanted = tuple(expected)
        await self.find_strangers(wanted)
        port = self._cluster.seed.epmd_port
        return await self._run(doctor(self.nodes, user=user, expected=wanted, epmd_port=port))

    async def triage(
        self, level: str, *, user: str | bytes | None = None, expected: Iterable[str] = ()
    ) -> AsyncIterator[TriageStep]:
        """Go the steps of the incident runbook; see :meth:`iris_admin.cluster.Cluster.triage`."""
        from iris_admin.operations.triage import look_around, plan, triage_step

        steps = list(plan(level))
        wanted = tuple(expected)
        await self.find_strangers(wanted)
        port = self._cluster.seed.epmd_port
        whom = await self._run(look_around(self.nodes, user=user, expected=wanted, epmd_port=port))
        for number, _title in steps:
            yield await self._run(triage_step(level, number, whom))

    async def bundle(
        self, path: str | os.PathLike[str], *, payload: bool = False, expected: Iterable[str] = ()
    ) -> Bundle:
        """Collect what is known of every node into a new file; see :meth:`iris_admin.cluster.Cluster.bundle`."""
        from iris_admin.bundle_file import require_new, write_bundle
        from iris_admin.operations.bundle import bundle

        require_new(path)
        wanted = tuple(expected)
        await self.find_strangers(wanted)
        seed = self._cluster.seed
        contents = await self._run(
            bundle(self.nodes, payload=payload, secrets=seed.secrets, expected=wanted, epmd_port=seed.epmd_port)
        )
        return await asyncio.to_thread(write_bundle, path, contents)

    async def diff(self, a: str, b: str) -> Diff:
        """In what two nodes differ; see :meth:`iris_admin.cluster.Cluster.diff`."""
        from iris_admin.operations.diff import diff

        return await self._run(diff(a, b))

    async def ports(self, nodes: tuple[str, ...] | None = None) -> Table[ListeningPort]:
        """What the nodes listen on; see :meth:`iris_admin.cluster.Cluster.ports`."""
        from iris_admin.operations.ports import ports

        names = self.nodes if nodes is None else nodes
        return await self._run(ports(names, epmd_port=self._cluster.seed.epmd_port))

    # Operations

    async def memory(self) -> PerNode:
        """The memory of each node by kind, in bytes; see :func:`iris_admin.operations.memory.memory`."""
        from iris_admin.operations.memory import memory

        return PerNode(await self._run(side_by_side({name: memory(name) for name in self.nodes})))

    async def stats(self) -> PerNode:
        """The vital figures of each node; see :func:`iris_admin.operations.stats.stats`."""
        from iris_admin.operations.stats import stats

        return PerNode(await self._run(side_by_side({name: stats(name) for name in self.nodes})))

    async def system(self, interval: float = 0.5) -> PerNode:
        """The machine of each node; see :func:`iris_admin.operations.system.system`."""
        from iris_admin.operations.system import system

        return PerNode(await self._run(side_by_side({name: system(interval, node=name) for name in self.nodes})))

    async def mnesia_tables(self) -> MnesiaTables:
        """Mnesia's tables on all nodes; see :func:`iris_admin.operations.mnesia_tables.mnesia_tables`."""
        from iris_admin.operations.mnesia_tables import mnesia_tables

        return await self._run(mnesia_tables(self.nodes))

    async def mnesia_status(self, *, interval: float = 1.0) -> MnesiaStatus:
        """What Mnesia is doing on all nodes; see :func:`iris_admin.operations.mnesia_status.mnesia_status`."""
        from iris_admin.operations.mnesia_status import mnesia_status

        return await self._run(mnesia_status(self.nodes, interval=interval))

    async def offline_show(self, user: str | bytes, *, payload: bool = False, limit: int | None = None) -> Offline:
        """What is stored for a user; see :func:`iris_admin.operations.offline.offline_show`."""
        from iris_admin.operations.offline import offline_show

        return await self._run(offline_show(user, self.nodes, payload=payload, limit=limit))

    async def presence_show(self, user: str | bytes) -> Presence:
        """Where a user is connected; see :func:`iris_admin.operations.presence.presence_show`."""
        from iris_admin.operations.presence import presence_show

        return await self._run(presence_show(user, self.nodes))

    async def redeliver(self, user: str | bytes, *, dry_run: bool = False) -> Redelivery:
        """Deliver a user's stored messages; see :func:`iris_admin.operations.redeliver.redeliver`."""
        from iris_admin.operations.redeliver import redeliver

        return await self._run(redeliver(user, self.nodes, dry_run=dry_run))

    async def offline_summary(self, *, top: int = 10, within: float = 120.0) -> OfflineSummary:
        """How much is stored, and for whom; see :func:`iris_admin.operations.offline_summary.offline_summary`."""
        from iris_admin.operations.offline_summary import offline_summary

        return await self._run(offline_summary(self.nodes, top=top, within=within))

    async def offline_list(
        self, *, prefix: str | bytes = b"", limit: int = 100, after: str | bytes | None = None, within: float = 120.0
    ) -> OfflineList:
        """A page of the users for whom something is stored; see
        :func:`iris_admin.operations.offline_summary.offline_list`.
        """
        from iris_admin.operations.offline_summary import offline_list

        return await self._run(offline_list(self.nodes, prefix=prefix, limit=limit, after=after, within=within))

    async def offline_backlogs(self, *users: str | bytes) -> Table[Backlog]:
        """How much is stored for each of some users; see :func:`iris_admin.operations.stuck.backlogs`."""
        from iris_admin.operations.stuck import backlogs

        return await self._run(backlogs(users, self.nodes))

    async def offline_duplicates(
        self, user: str | bytes | None = None, *, limit: int = 100, within: float = 120.0
    ) -> OfflineDuplicates:
        """Messages that are stored more than once; see
        :func:`iris_admin.operations.offline_duplicates.offline_duplicates`.
        """
        from iris_admin.operations.offline_duplicates import offline_duplicates

        return await self._run(offline_duplicates(self.nodes, user, limit=limit, within=within))

    async def offline_export(
        self, file: str | os.PathLike[str], *, user: str | bytes | None = None, format: str | None = None
    ) -> OfflineExport:
        """Write stored messages to a new file, and leave them where they are; see :mod:`iris_admin.export`.

        :param file: it must not exist.
        :param user: only this user's messages.
        :param format: ``term``, from which they can be restored, or ``jsonl``; by default the file's name decides.
        """
        from iris_admin.export import ExportFile
        from iris_admin.operations.offline_export import read_rows

        with await asyncio.to_thread(ExportFile, file, user, format) as export:
            exported = await self._run(read_rows(self.nodes, export.write, user=user))
            return await asyncio.to_thread(export.finish, exported)

    async def offline_clear_plan(self, user: str | bytes, *, oldest: int | None = None) -> ClearPlan:
        """Exactly which rows of a user would be deleted; see :func:`iris_admin.operations.clear.plan_clear`."""
        from iris_admin.operations.clear import plan_clear

        return await self._run(plan_clear(user, self.nodes, oldest=oldest))

    async def offline_clear(self, plan: ClearPlan) -> Cleared:
        """Delete exactly what a plan says, after a backup; see :func:`iris_admin.operations.clear.clear`."""
        from iris_admin.operations.clear import clear

        return await self._run(clear(plan, self.nodes))

    async def offline_restore(
        self, file: str | os.PathLike[str], *, core: str | None = None, dry_run: bool = False, again: bool = False
    ) -> Restored:
        """Put the records of a backup file back, once; see :func:`iris_admin.operations.restore.restore`."""
        from iris_admin.operations.restore import restore
        from iris_admin.restore import RestoreFile

        with await asyncio.to_thread(RestoreFile, file, dry_run=dry_run) as source:
            return await self._run(restore(source, self.nodes, core=core, dry_run=dry_run, again=again))

    async def stuck_users(self, *, within: float = 120.0) -> Stuck:
        """Users who are connected and have stored messages; see :func:`iris_admin.operations.stuck.stuck_users`."""
        from iris_admin.operations.stuck import stuck_users

        return await self._run(stuck_users(self.nodes, within=within))

    async def redeliver_all(self, *users: str | bytes, dry_run: bool = False) -> list[Redelivery | RedeliveryFailed]:
        """Deliver the stored messages of several users; see :func:`iris_admin.operations.stuck.redeliver_all`."""
        from iris_admin.operations.stuck import redeliver_all

        return await self._run(redeliver_all(users, self.nodes, dry_run=dry_run))

    async def presence_summary(self, *, within: float = 120.0) -> PresenceSummary:
        """Who is connected, and whether the cores know; see
        :func:`iris_admin.operations.presence_overview.presence_summary`.
        """
        from iris_admin.operations.presence_overview import presence_summary

        return await self._run(presence_summary(self.nodes, within=within))

    async def presence_list(
        self, *, prefix: str | bytes = b"", limit: int = 100, after: str | bytes | None = None, within: float = 120.0
    ) -> PresenceList:
        """A page of the users of whom a node has an entry; see
        :func:`iris_admin.operations.presence_overview.presence_list`.
        """
        from iris_admin.operations.presence_overview import presence_list

        return await self._run(presence_list(self.nodes, prefix=prefix, limit=limit, after=after, within=within))

    async def user(self, user: str | bytes) -> UserReport:
        """Everything about a user; see :func:`iris_admin.operations.user.user_report`."""
        from iris_admin.operations.user import user_report

        return await self._run(user_report(user, self.nodes))

    # How it is done

    async def smoke(
        self,
        *,
        count: int = 1,
        addresses: Mapping[str, tuple[str, int]] | None = None,
        timeout: float = 5.0,
        tokens: bool = False,
    ) -> Smoke:
        """The login test; see :meth:`iris_admin.cluster.Cluster.smoke`."""
        from secrets import token_hex

        from iris_admin.operations.smoke import smoke

        operation = smoke(
            self.nodes, tag=token_hex(6), count=count, addresses=addresses, timeout=timeout, tokens=tokens
        )
        return await self._run(operation)

    async def _run(self, operation: Operation[T]) -> T:
        return await _run(operation, self.node, self._cluster.on_progress)


async def _run(
    operation: Operation[T], find_node: Callable[[str | None], Node], on_progress: Callable[[str], None] | None
) -> T:
    """The twin of :func:`iris_admin.runner.run`."""
    try:
        step = next(operation)
        while True:
            try:
                result = await _perform(step, find_node, on_progress)
            except BaseException as error:
                step = operation.throw(error)
            else:
                step = operation.send(result)
    except StopIteration as stop:
        value: T = stop.value
        return value


async def _perform(
    step: Step, find_node: Callable[[str | None], Node], on_progress: Callable[[str], None] | None
) -> Any:
    match step:
        case Call():
            return await find_node(step.node)._call(step, capture=False)
        case Capture(call):
            return await find_node(call.node)._call(call, capture=True)
        case AllOf(steps):
            performing = [_perform(each, find_node, on_progress) for each in steps]
            return await asyncio.gather(*performing, return_exceptions=True)
        case Pause(seconds):
            await asyncio.sleep(seconds)
            return None
    # The others ask nothing of a node, and may write a file.
    return await asyncio.to_thread(perform, step, _no_node, on_progress)


def _no_node(_name: str | None) -> Callee:
    raise AssertionError("only calls need a node")
