"""The blocking facade for a whole cluster: several nodes, found from one."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from iris_admin.client import Node, connect
from iris_admin.errors import ConfigError, ConnectError, IrisAdminError, NodeNotFound
from iris_admin.node_name import NodeName
from iris_admin.operations.parallel import side_by_side
from iris_admin.operations.steps import Call, Operation
from iris_admin.runner import perform_all, run
from iris_admin.terms import Atom, Term

if TYPE_CHECKING:
    from iris_admin.bundle_file import Bundle
    from iris_admin.operations.clear import Cleared, ClearPlan
    from iris_admin.operations.diff import Diff
    from iris_admin.operations.doctor import Diagnosis
    from iris_admin.operations.mnesia_status import MnesiaStatus
    from iris_admin.operations.mnesia_tables import MnesiaTables
    from iris_admin.operations.offline import Offline
    from iris_admin.operations.offline_duplicates import OfflineDuplicates
    from iris_admin.operations.offline_export import OfflineExport
    from iris_admin.operations.offline_summary import Backlog, OfflineList, OfflineSummary
    from iris_admin.operations.ports import ListeningPort
    from iris_admin.operations.presence import Presence
    from iris_admin.operations.presence_overview import PresenceList, PresenceSummary
    from iris_admin.operations.redeliver import Redelivery
    from iris_admin.operations.restore import Restored
    from iris_admin.operations.results import Table
    from iris_admin.operations.smoke import Smoke
    from iris_admin.operations.stuck import RedeliveryFailed, Stuck
    from iris_admin.operations.triage import TriageStep
    from iris_admin.operations.user import UserReport

T = TypeVar("T")

#: Connecting waits for the network, not for the processor.
_CONNECTORS = 16
#: How often nodes that were found are asked whom they know in their turn.
_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class PerNode(Mapping[str, Any]):
    """The outcome of one call on several nodes: node name to what it returned, or to the error in its place."""

    outcomes: dict[str, Any]

    def __getitem__(self, node: str) -> Any:
        return self.outcomes[node]

    def __iter__(self) -> Iterator[str]:
        return iter(self.outcomes)

    def __len__(self) -> int:
        return len(self.outcomes)

    @property
    def values_by_node(self) -> dict[str, Any]:
        """Of the nodes that answered."""
        return {node: outcome for node, outcome in self.outcomes.items() if not isinstance(outcome, IrisAdminError)}

    @property
    def errors_by_node(self) -> dict[str, IrisAdminError]:
        """Of the nodes that did not."""
        return {node: outcome for node, outcome in self.outcomes.items() if isinstance(outcome, IrisAdminError)}


def connect_cluster(seed: str, *, on_progress: Callable[[str], None] | None = None, **options: Any) -> Cluster:
    """Join all nodes of a cluster, given one.

    The others are those that the seed is connected to, hidden ones included, those that they are connected to, and
    so on. One that cannot be joined is no error here: it is in :attr:`Cluster.unreachable`, and every call shows it.

    :param seed: a node, as for :func:`iris_admin.client.connect`.
    :param on_progress: told a line now and then by operations that take long.
    :param options: as for :func:`iris_admin.client.connect`; they serve for every node.
    :raises ConnectError: the seed cannot be joined.
    """
    first = connect(seed, **options)
    try:
        return Cluster(first, on_progress=on_progress)
    except BaseException:
        first.close()
        raise


class Cluster:
    """Nodes of one cluster. Made by :func:`connect_cluster`; a context manager."""

    def __init__(self, seed: Node, *, on_progress: Callable[[str], None] | None = None) -> None:
        self._seed = seed
        self.on_progress = on_progress
        self._nodes: dict[str, Node] = {seed.name: seed}
        #: Nodes of the cluster that could not be joined, with the reason.
        self.unreachable: dict[str, IrisAdminError] = {}
        #: Names that are connected but that no EPMD knows: other administrators and remote shells.
        self.guests: tuple[str, ...] = ()
        self._lock = threading.Lock()
        self.refresh()

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Cluster of {len(self.nodes)}: {', '.join(self.nodes)}>"

    @property
    def seed(self) -> Node:
        """The node that the others were found from."""
        return self._seed

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names of all nodes, the unreachable ones included, in order."""
        return tuple(sorted({*self._nodes, *self.unreachable}))

    def node(self, name: str | None = None) -> Node:
        """One node of the cluster; the seed without a name.

        :raises ConnectError: it could not be joined.
        :raises ConfigError: there is no such node.
        """
        if name is None:
            return self._seed
        if name in self._nodes:
            return self._nodes[name]
        if name in self.unreachable:
            raise self.unreachable[name].copy()
        raise ConfigError(f"{name} is no node of this cluster", node=name, hint=f"Its nodes: {', '.join(self.nodes)}")

    def refresh(self) -> None:
        """Look for the cluster's nodes again, and join those that are not joined yet.

        Each node that was joined is asked in its turn which nodes it is connected to: a hidden edge knows only cores.

        :raises IrisAdminError: the seed does not answer.
        """
        guests: set[str] = set()
        unreachable: dict[str, IrisAdminError] = {}
        asked: set[str] = set()
        while new := tuple(name for name in self._nodes if name not in asked):
            asked.update(new)
            answers = self.call("erlang", "nodes", Atom("connected"), nodes=new)
            if self._seed.name in answers.errors_by_node:
                raise answers.errors_by_node[self._seed.name]
            found = {str(name) for connected in answers.values_by_node.values() for name in connected}
            ours = {node.our_name for node in self._nodes.values()}
            self._join_all(sorted(found.difference(ours, self._nodes, guests, unreachable)), guests, unreachable)
        with self._lock:
            self.guests, self.unreachable = tuple(sorted(guests)), unreachable

    def include(self, names: Iterable[str]) -> None:
        """Join nodes that the others are not connected to: behind a partition, or dead.

        One that cannot be joined is in :attr:`unreachable` afterwards.

        :param names: full names; those that are known already are left as they are.
        """
        new = sorted(set(names).difference(self._nodes, self.unreachable))
        if not new:
            return
        not_there: set[str] = set()
        unreachable: dict[str, IrisAdminError] = {}
        self._join_all(new, not_there, unreachable)
        for name in not_there:
            unreachable[name] = NodeNotFound(f"no EPMD knows {name}", node=name)
        with self._lock:
            self.unreachable = {**self.unreachable, **unreachable}

    def _join_all(self, names: list[str], guests: set[str], unreachable: dict[str, IrisAdminError]) -> None:
        if not names:
            return
        pool = ThreadPoolExecutor(min(_CONNECTORS, len(names)))
        try:
            for name, joined in zip(names, pool.map(self._join, names), strict=True):
                if isinstance(joined, Node):
                    self._nodes[name] = joined
                elif isinstance(joined, NodeNotFound) or (
                    isinstance(joined, ConnectError) and NodeName.parse(name).is_given
                ):
                    guests.add(name)
                else:
                    unreachable[name] = joined
        finally:
            # Whoever is interrupted does not wait for nodes that do not answer.
            pool.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """Leave every node."""
        for node in self._nodes.values():
            node.close()

    def call(
        self,
        module: str,
        function: str,
        *args: Term,
        timeout: float | None = None,
        nodes: tuple[str, ...] | None = None,
    ) -> PerNode:
        """Call a function on every node at once.

        :param nodes: on these only.
        :returns: for each node what it returned, or the error in its place; one node's failure is no other's.
        """
        names = self.nodes if nodes is None else nodes
        calls = tuple(Call(module, function, args, node=name, timeout=timeout) for name in names)
        outcomes = dict(zip(names, perform_all(calls, self.node), strict=True))
        for outcome in outcomes.values():
            if isinstance(outcome, BaseException) and not isinstance(outcome, IrisAdminError):
                raise outcome
        return PerNode(outcomes)

    def redeliver(self, user: str | bytes, *, dry_run: bool = False) -> Redelivery:
        """Deliver a user's stored messages; see :func:`iris_admin.operations.redeliver.redeliver`."""
        from iris_admin.operations.redeliver import redeliver

        return self._run(redeliver(user, self.nodes, dry_run=dry_run))

    # Operations

    def memory(self) -> PerNode:
        """The memory of each node by kind, in bytes; see :func:`iris_admin.operations.memory.memory`."""
        from iris_admin.operations.memory import memory

        return PerNode(self._run(side_by_side({name: memory(name) for name in self.nodes})))

    def stats(self) -> PerNode:
        """The vital figures of each node; see :func:`iris_admin.operations.stats.stats`."""
        from iris_admin.operations.stats import stats

        return PerNode(self._run(side_by_side({name: stats(name) for name in self.nodes})))

    def system(self, interval: float = 0.5) -> PerNode:
        """The machine of each node; see :func:`iris_admin.operations.system.system`."""
        from iris_admin.operations.system import system

        return PerNode(self._run(side_by_side({name: system(interval, node=name) for name in self.nodes})))

    def mnesia_tables(self) -> MnesiaTables:
        """Mnesia's tables on all nodes; see :func:`iris_admin.operations.mnesia_tables.mnesia_tables`."""
        from iris_admin.operations.mnesia_tables import mnesia_tables

        return self._run(mnesia_tables(self.nodes))

    def mnesia_status(self, *, interval: float = 1.0) -> MnesiaStatus:
        """What Mnesia is doing on all nodes; see :func:`iris_admin.operations.mnesia_status.mnesia_status`."""
        from iris_admin.operations.mnesia_status import mnesia_status

        return self._run(mnesia_status(self.nodes, interval=interval))

    def offline_show(self, user: str | bytes, *, payload: bool = False, limit: int | None = None) -> Offline:
        """What is stored for a user; see :func:`iris_admin.operations.offline.offline_show`."""
        from iris_admin.operations.offline import offline_show

        return self._run(offline_show(user, self.nodes, payload=payload, limit=limit))

    def presence_show(self, user: str | bytes) -> Presence:
        """Where a user is connected; see :func:`iris_admin.operations.presence.presence_show`."""
        from iris_admin.operations.presence import presence_show

        return self._run(presence_show(user, self.nodes))

    def offline_summary(self, *, top: int = 10, within: float = 120.0) -> OfflineSummary:
        """How much is stored, and for whom; see :func:`iris_admin.operations.offline_summary.offline_summary`."""
        from iris_admin.operations.offline_summary import offline_summary

        return self._run(offline_summary(self.nodes, top=top, within=within))

    def offline_list(
        self, *, prefix: str | bytes = b"", limit: int = 100, after: str | bytes | None = None, within: float = 120.0
    ) -> OfflineList:
        """A page of the users for whom something is stored; see
        :func:`iris_admin.operations.offline_summary.offline_list`.
        """
        from iris_admin.operations.offline_summary import offline_list

        return self._run(offline_list(self.nodes, prefix=prefix, limit=limit, after=after, within=within))

    def offline_backlogs(self, *users: str | bytes) -> Table[Backlog]:
        """How much is stored for each of some users; see :func:`iris_admin.operations.stuck.backlogs`."""
        from iris_admin.operations.stuck import backlogs

        return self._run(backlogs(users, self.nodes))

    def offline_duplicates(
        self, user: str | bytes | None = None, *, limit: int = 100, within: float = 120.0
    ) -> OfflineDuplicates:
        """Messages that are stored more than once; see
        :func:`iris_admin.operations.offline_duplicates.offline_duplicates`.
        """
        from iris_admin.operations.offline_duplicates import offline_duplicates

        return self._run(offline_duplicates(self.nodes, user, limit=limit, within=within))

    def offline_export(
        self, file: str | os.PathLike[str], *, user: str | bytes | None = None, format: str | None = None
    ) -> OfflineExport:
        """Write stored messages to a new file, and leave them where they are; see :mod:`iris_admin.export`.

        :param file: it must not exist.
        :param user: only this user's messages.
        :param format: ``term``, from which they can be restored, or ``jsonl``; by default the file's name decides.
        """
        from iris_admin.export import ExportFile
        from iris_admin.operations.offline_export import read_rows

        with ExportFile(file, user, format) as export:
            return export.finish(self._run(read_rows(self.nodes, export.write, user=user)))

    def offline_clear_plan(self, user: str | bytes, *, oldest: int | None = None) -> ClearPlan:
        """Exactly which rows of a user would be deleted; see :func:`iris_admin.operations.clear.plan_clear`."""
        from iris_admin.operations.clear import plan_clear

        return self._run(plan_clear(user, self.nodes, oldest=oldest))

    def offline_clear(self, plan: ClearPlan) -> Cleared:
        """Delete exactly what a plan says, after a backup; see :func:`iris_admin.operations.clear.clear`."""
        from iris_admin.operations.clear import clear

        return self._run(clear(plan, self.nodes))

    def offline_restore(
        self, file: str | os.PathLike[str], *, core: str | None = None, dry_run: bool = False, again: bool = False
    ) -> Restored:
        """Put the records of a backup file back, once; see :func:`iris_admin.operations.restore.restore`."""
        from iris_admin.operations.restore import restore
        from iris_admin.restore import RestoreFile

        with RestoreFile(file, dry_run=dry_run) as source:
            return self._run(restore(source, self.nodes, core=core, dry_run=dry_run, again=again))

    def stuck_users(self, *, within: float = 120.0) -> Stuck:
        """Users who are connected and have stored messages; see :func:`iris_admin.operations.stuck.stuck_users`."""
        from iris_admin.operations.stuck import stuck_users

        return self._run(stuck_users(self.nodes, within=within))

    def redeliver_all(self, *users: str | bytes, dry_run: bool = False) -> list[Redelivery | RedeliveryFailed]:
        """Deliver the stored messages of several users; see :func:`iris_admin.operations.stuck.redeliver_all`."""
        from iris_admin.operations.stuck import redeliver_all

        return self._run(redeliver_all(users, self.nodes, dry_run=dry_run))

    def presence_summary(self, *, within: float = 120.0) -> PresenceSummary:
        """Who is connected, and whether the cores know; see
        :func:`iris_admin.operations.presence_overview.presence_summary`.
        """
        from iris_admin.operations.presence_overview import presence_summary

        return self._run(presence_summary(self.nodes, within=within))

    def presence_list(
        self, *, prefix: str | bytes = b"", limit: int = 100, after: str | bytes | None = None, within: float = 120.0
    ) -> PresenceList:
        """A page of the users of whom a node has an entry; see
        :func:`iris_admin.operations.presence_overview.presence_list`.
        """
        from iris_admin.operations.presence_overview import presence_list

        return self._run(presence_list(self.nodes, prefix=prefix, limit=limit, after=after, within=within))

    def user(self, user: str | bytes) -> UserReport:
        """Everything about a user; see :func:`iris_admin.operations.user.user_report`."""
        from iris_admin.operations.user import user_report

        return self._run(user_report(user, self.nodes))

    def find_strangers(self, expected: Iterable[str] = ()) -> None:
        """Look for nodes that those known know of without being connected to them, and join those, if they live.

        :param expected: nodes that should be there.
        """
        from iris_admin.operations.doctor import strangers

        self.include(expected)
        for _ in range(_ROUNDS):
            before = self.nodes
            self.include(self._run(strangers(before, epmd_port=self._seed.epmd_port)))
            if self.nodes == before:
                return

    def doctor(self, user: str | bytes | None = None, *, expected: Iterable[str] = ()) -> Diagnosis:
        """Everything that can be wrong, looked at at once; see :func:`iris_admin.operations.doctor.doctor`.

        Nodes that have died or are parted from the others are looked for first; those become nodes of this object.

        :param user: a user to look at as well.
        :param expected: nodes that should be there.
        """
        from iris_admin.operations.doctor import doctor

        wanted = tuple(expected)
        self.find_strangers(wanted)
        return self._run(doctor(self.nodes, user=user, expected=wanted, epmd_port=self._seed.epmd_port))

    def triage(
        self, level: str, *, user: str | bytes | None = None, expected: Iterable[str] = ()
    ) -> Iterator[TriageStep]:
        """Go the steps of the incident runbook, and give each one as soon as it is done.

        :param level: ``p0``, ``p1`` or ``p2``.
        :param user: a user to look at as well.
        :param expected: nodes that should be there.
        :raises ConfigError: the runbook has no such level.
        """
        from iris_admin.operations.triage import look_around, plan, triage_step

        steps = list(plan(level))
        wanted = tuple(expected)
        self.find_strangers(wanted)
        whom = self._run(look_around(self.nodes, user=user, expected=wanted, epmd_port=self._seed.epmd_port))
        for number, _title in steps:
            yield self._run(triage_step(level, number, whom))

    def bundle(self, path: str | os.PathLike[str], *, payload: bool = False, expected: Iterable[str] = ()) -> Bundle:
        """Collect what is known of every node into a new zip file that only its owner may read.

        :param path: the file; it must not exist.
        :param payload: whether the logs may hold messages of people.
        :param expected: nodes that should be there.
        :raises BackupError: the file exists, or cannot be written.
        """
        from iris_admin.bundle_file import require_new, write_bundle
        from iris_admin.operations.bundle import bundle

        require_new(path)
        wanted = tuple(expected)
        self.find_strangers(wanted)
        contents = self._run(
            bundle(
                self.nodes,
                payload=payload,
                secrets=self._seed.secrets,
                expected=wanted,
                epmd_port=self._seed.epmd_port,
            )
        )
        return write_bundle(path, contents)

    def diff(self, a: str, b: str) -> Diff:
        """In what two nodes differ; see :func:`iris_admin.operations.diff.diff`.

        :param a: a node's full name; likewise ``b``.
        """
        from iris_admin.operations.diff import diff

        return self._run(diff(a, b))

    def ports(self, nodes: tuple[str, ...] | None = None) -> Table[ListeningPort]:
        """What the nodes listen on, and what of it is reached from here; see
        :func:`iris_admin.operations.ports.ports`.

        :param nodes: these only.
        """
        from iris_admin.operations.ports import ports

        return self._run(ports(self.nodes if nodes is None else nodes, epmd_port=self._seed.epmd_port))

    def smoke(
        self,
        *,
        count: int = 1,
        addresses: Mapping[str, tuple[str, int]] | None = None,
        timeout: float = 5.0,
        tokens: bool = False,
    ) -> Smoke:
        """The login test: users of our own log in on each edge and send each other messages; see
        :func:`iris_admin.operations.smoke.smoke`.
        """
        from secrets import token_hex

        from iris_admin.operations.smoke import smoke

        operation = smoke(
            self.nodes, tag=token_hex(6), count=count, addresses=addresses, timeout=timeout, tokens=tokens
        )
        return self._run(operation)

    # How it is done

    def _join(self, name: str) -> Node | IrisAdminError:
        try:
            target = NodeName.parse(name)
            return self._seed.sibling(target, is_guest=target.is_given)
        except IrisAdminError as error:
            return error

    def _run(self, operation: Operation[T]) -> T:
        return run(operation, self.node, self.on_progress)
