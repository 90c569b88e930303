"""The blocking facade: :class:`Node`, one node, and what can be asked of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from iris_admin.calls import Called, answer, encode_call, encode_calls
from iris_admin.cookie import find_cookie
from iris_admin.errors import ConfigError
from iris_admin.node_name import NodeName
from iris_admin.operations.steps import Operation
from iris_admin.proto.connection import DEFAULT_NET_TICKTIME
from iris_admin.proto.events import CallEnded
from iris_admin.records import replace
from iris_admin.runner import run
from iris_admin.terms import Term
from iris_admin.transport.connector import Connector
from iris_admin.transport.dialing import Dialing, default_epmd_port
from iris_admin.transport.retry import with_retries

if TYPE_CHECKING:
    from concurrent.futures import Future
    from pathlib import Path

    from iris_admin.bundle_file import Bundle
    from iris_admin.operations.ets import EtsTables, TableOrder
    from iris_admin.operations.gc import Gc
    from iris_admin.operations.lifecycle import Ended, EndingPlan
    from iris_admin.operations.logs import LogEntry, Logs
    from iris_admin.operations.memory import Memory
    from iris_admin.operations.memory_change import MemoryChange
    from iris_admin.operations.mnesia import MnesiaInfo
    from iris_admin.operations.mnesia_locks import MnesiaLocks, MnesiaTransactions
    from iris_admin.operations.ports import ListeningPort
    from iris_admin.operations.processes import By, Process, Processes
    from iris_admin.operations.results import Table
    from iris_admin.operations.roles import Role
    from iris_admin.operations.stats import Stats, StatsChange
    from iris_admin.operations.system import System
    from iris_admin.tls import Tls

T = TypeVar("T")

DEFAULT_TIMEOUT = 10.0
DEFAULT_CONNECT_TIMEOUT = 5.0
#: For nodes that are hardly any, in seconds.
GUEST_TIMEOUT = 1.0


def connect(
    node: str,
    *,
    cookie: str | None = None,
    cookie_file: str | os.PathLike[str] | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    connect_timeout: float = DEFAULT_CONNECT_TIMEOUT,
    name: str | None = None,
    epmd_port: int | None = None,
    net_ticktime: float = DEFAULT_NET_TICKTIME,
    tls: Tls | None = None,
) -> Node:
    """Join a node's cluster as a hidden node.

    :param node: ``db1``, ``db1@host``, ``db1@host.example.com``, or ``db1@host:9100`` to go without EPMD.
    :param cookie: the secret; see :func:`iris_admin.cookie.find_cookie` for where it is looked for otherwise.
    :param cookie_file: a file that holds it.
    :param timeout: of each call that sets none itself, in seconds.
    :param connect_timeout: of connecting, all attempts together, in seconds.
    :param name: a fixed name for us, before the ``@``. By default the node hands out a name from its pool, so
        that two operators never clash and no new atom is left behind.
    :param epmd_port: EPMD's TCP port; by default ``ERL_EPMD_PORT`` or 4369.
    :param net_ticktime: the cluster's, in seconds: after a quarter more of silence the node counts as gone.
    :param tls: for nodes that use TLS distribution: how; by default it is plain.
    :raises ConfigError: the node name, the cookie or a file for TLS is unusable.
    :raises ConnectError: the node cannot be joined; its kinds say which step failed.
    """
    dialing = dialing_for(
        node,
        cookie=cookie,
        cookie_file=cookie_file,
        connect_timeout=connect_timeout,
        name=name,
        epmd_port=epmd_port,
        net_ticktime=net_ticktime,
        tls=tls,
    )
    joined = Node(dialing, timeout=timeout)
    joined.reconnect()
    return joined


def node_at(node: str, *, timeout: float = DEFAULT_TIMEOUT, **options: Any) -> Node:
    """A node that is joined by the first call, so that there can be one for a node that is down.

    :param node: as for :func:`connect`, like the other parameters.
    :raises ConfigError: the node name or the cookie is unusable.
    """
    return Node(dialing_for(node, **options), timeout=timeout)


def dialing_for(
    node: str,
    *,
    cookie: str | None = None,
    cookie_file: str | os.PathLike[str] | None = None,
    connect_timeout: float = DEFAULT_CONNECT_TIMEOUT,
    name: str | None = None,
    epmd_port: int | None = None,
    net_ticktime: float = DEFAULT_NET_TICKTIME,
    tls: Tls | None = None,
) -> Dialing:
    """All that is needed to reach a node; :func:`connect` explains the parameters.

    :raises ConfigError: the node name or the cookie is unusable.
    """
    if tls is not None:
        from iris_admin.tls import Tls

        if not isinstance(tls, Tls):
            raise ConfigError(f"tls must be like Tls(ca_file=…), not {tls!r}")
    return Dialing(
        target=NodeName.parse(node),
        cookie=find_cookie(cookie, cookie_file),
        name=name,
        epmd_port=default_epmd_port() if epmd_port is None else epmd_port,
        net_ticktime=net_ticktime,
        connect_timeout=connect_timeout,
        tls=tls,
    )


class Node:
    """A node that we are connected to. Made by :func:`connect`.

    After a loss it connects again with the next call. Any thread may use it. It is a context manager; without
    ``with``, :meth:`close` it, or leave it to the garbage collector.
    """

    def __init__(self, dialing: Dialing, *, timeout: float) -> None:
        self.timeout = timeout
        #: Told a line now and then by operations that take long.
        self.on_progress: Callable[[str], None] | None = None
        self._connector = Connector(dialing)
        self._name = str(dialing.target)

    def __enter__(self) -> Node:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __del__(self) -> None:
        connector: Connector | None = getattr(self, "_connector", None)
        if connector is not None:
            connector.close_soon()

    def __repr__(self) -> str:
        state = "connected" if self.is_connected else "not connected"
        return f"<Node {self.name}: {state}>"

    @property
    def name(self) -> str:
        """The node's full name."""
        return self._name

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be in anything that is kept of the node: the cookie."""
        return (self._connector.dialing.cookie.value,)

    @property
    def epmd_port(self) -> int | None:
        """The TCP port of its host's EPMD; None where EPMD is not asked."""
        dialing = self._connector.dialing
        return dialing.epmd_port if dialing.target.port is None else None

    @property
    def our_name(self) -> str | None:
        """The full name under which the node knows us, while connected."""
        link = self._connector.link
        return link.our_name if link is not None else None

    @property
    def is_connected(self) -> bool:
        """Whether the link stands, as far as is known."""
        return self._connector.link is not None

    def close(self) -> None:
        """Leave the cluster. Calls that still wait raise :class:`~iris_admin.errors.NodeDown`."""
        self._connector.close()

    def sibling(self, target: NodeName, *, is_guest: bool = False) -> Node:
        """Join another node of the same cluster, with the same options.

        :param is_guest: whether it is more likely a client like us, so that one short attempt is enough.
        :raises ConnectError: it cannot be joined.
        """
        dialing = replace(self._connector.dialing, target=target)
        if is_guest:
            dialing = replace(dialing, connect_timeout=min(GUEST_TIMEOUT, dialing.connect_timeout), retries=False)
        node = Node(dialing, timeout=self.timeout)
        node.reconnect()
        return node

    def reconnect(self, *, timeout: float | None = None) -> None:
        """Connect, unless the link stands.

        :param timeout: in seconds, where that is less than connecting may take anyway.
        :raises ConnectError: the node cannot be joined.
        """
        self._connector.connect(float("inf") if timeout is None else time.monotonic() + timeout)

    # Calls

    def call(
        self, module: str, function: str, *args: Term, timeout: float | None = None, idempotent: bool = False
    ) -> Term:
        """Call ``module:function(*args)`` on the node and wait for what it returns.

        :param args: terms; see :mod:`iris_admin.terms` for what stands for what.
        :param timeout: in seconds; by default the node's. When it passes, the remote process is killed.
        :param idempotent: whether a second run does no harm: then a lost link is answered by another attempt.
        :raises EncodeError: an argument is no term; nothing was sent.
        :raises RemoteError: the function did not return.
        :raises CallTimeout: no answer in time.
        :raises NodeDown: the link was lost while waiting.
        """
        ended = self._ended(module, function, args, timeout, idempotent, False)
        return answer(ended, self._name, module, function, len(args))

    def capture(
        self, module: str, function: str, *args: Term, timeout: float | None = None, idempotent: bool = False
    ) -> tuple[Term, str]:
        """Like :meth:`call`, for a function that prints.

        :returns: what it returned, and what it printed.
        """
        ended = self._ended(module, function, args, timeout, idempotent, True)
        return answer(ended, self._name, module, function, len(args)), ended.output or ""

    def submit(
        self, module: str, function: str, *args: Term, timeout: float | None = None, capture: bool = False
    ) -> Future[Any]:
        """Like :meth:`call`, without waiting. Cancelling the future kills the remote process.

        :param capture: whether the result is to be as that of :meth:`capture`.
        :returns: a future of the result.
        """
        from iris_admin.futures import CallFuture

        encoded = encode_call(module, function, args)
        seconds = self._time(timeout)
        deadline = time.monotonic() + seconds
        link = self._connector.connect(deadline)
        called = Called(self.name, module, function, len(args))
        return CallFuture.start(link, called, encoded, seconds, deadline, capture=capture)

    def map(
        self,
        module: str,
        function: str,
        arguments: Iterable[Sequence[Term]],
        *,
        timeout: float | None = None,
        in_flight: int = 64,
    ) -> list[Term]:
        """Call a function once with each of many argument lists; several calls are under way at any time.

        :param arguments: the argument list of each call.
        :param timeout: of each call, in seconds; by default the node's. When it passes, all that run are killed.
        :param in_flight: how many calls are under way at once, at most.
        :returns: what they returned, in the order of the arguments.
        :raises ValueError: ``in_flight`` is less than 1.
        :raises EncodeError: an argument is no term; nothing was sent.
        :raises RemoteError: a function did not return; the first of them, when all have ended.
        :raises CallTimeout: one of them did not answer in time.
        :raises NodeDown: the link was lost while waiting.
        """
        lists = [tuple(args) for args in arguments]
        encoded = encode_calls(module, function, lists, in_flight)
        seconds = self._time(timeout)
        link = self._connector.connect(time.monotonic() + seconds)
        results = []
        for args, ended in zip(lists, link.call_all(module, function, encoded, seconds, in_flight), strict=True):
            if ended is None:
                raise Called(self.name, module, function, len(args)).timeout(seconds)
            results.append(answer(ended, self.name, module, function, len(args)))
        return results

    def eval(
        self,
        text: str,
        bindings: Mapping[str, Term] | None = None,
        *,
        timeout: float | None = None,
        capture: bool = False,
    ) -> Term:
        """Evaluate Erlang expressions on the node; nothing is loaded there.

        :param text: expressions separated by commas, as in the shell; the dot at the end may be left out.
        :param bindings: variables and their values.
        :param capture: whether the result is to be as that of :meth:`capture`.
        :returns: the value of the last expression.
        :raises TermSyntaxError: the text is no Erlang.
        :raises UnknownAtom: the node does not know an atom in it.
        """
        from iris_admin.operations.evaluate import evaluate

        return self._run(evaluate(text, bindings, timeout=timeout, capture=capture))

    def check_atoms(self, *terms: Term) -> None:
        """See that the node knows all atoms of some terms, before a call makes those that it does not.

        For what a person has typed: an atom stays on the node until that ends.

        :raises UnknownAtom: the node does not know one of them.
        """
        from iris_admin.operations.evaluate import atoms_in, require_atoms

        self._run(require_atoms(atoms_in(*terms)))

    def ping(self) -> float:
        """Ask the node for its name.

        :returns: the time that took, in seconds.
        """
        start = time.perf_counter()
        self.call("erlang", "node", idempotent=True)
        return time.perf_counter() - start

    # Operations

    def memory(self) -> Memory:
        """The node's memory by kind, in bytes; see :func:`iris_admin.operations.memory.memory`."""
        from iris_admin.operations.memory import memory

        # By its name, which it need not be asked for then.
        return self._run(memory(self.name))

    def memory_change(self, interval: float = 1.0, *, since: MemoryChange | None = None) -> MemoryChange:
        """How the node's memory changes per second; see :func:`iris_admin.operations.memory_change.memory_change`."""
        from iris_admin.operations.memory_change import memory_change

        return self._run(memory_change(interval, since=since))

    def stats(self) -> Stats:
        """The node's vital figures; see :func:`iris_admin.operations.stats.stats`."""
        from iris_admin.operations.stats import stats

        return self._run(stats())

    def stats_change(self, interval: float = 1.0, *, since: StatsChange | Stats | None = None) -> StatsChange:
        """How the node's figures change per second; see :func:`iris_admin.operations.stats.stats_change`."""
        from iris_admin.operations.stats import stats_change

        return self._run(stats_change(interval, since=since))

    def system(self, interval: float = 0.5) -> System:
        """The machine that the node runs on; see :func:`iris_admin.operations.system.system`."""
        from iris_admin.operations.system import system

        return self._run(system(interval))

    def processes(
        self, by: By = "memory", *, count: int = 10, interval: float | None = None, within: float = 60.0
    ) -> Processes:
        """The node's largest or busiest processes; see :func:`iris_admin.operations.processes.processes`."""
        from iris_admin.operations.processes import processes

        return self._run(processes(by, count=count, interval=interval, within=within))

    def process(self, which: str) -> Process:
        """One process, by its pid or name; see :func:`iris_admin.operations.processes.process`."""
        from iris_admin.operations.processes import process

        return self._run(process(which))

    def ets_tables(self, by: TableOrder = "memory", *, count: int = 10) -> EtsTables:
        """The node's largest ETS tables; see :func:`iris_admin.operations.ets.ets_tables`."""
        from iris_admin.operations.ets import ets_tables

        return self._run(ets_tables(by, count=count))

    def gc_process(self, which: str) -> Gc:
        """Collect the garbage of one process; see :func:`iris_admin.operations.gc.gc_process`."""
        from iris_admin.operations.gc import gc_process

        return self._run(gc_process(which))

    def gc_top(self, count: int = 10, *, by: By = "memory", within: float = 60.0) -> Gc:
        """Collect the garbage of the largest processes; see :func:`iris_admin.operations.gc.gc_top`."""
        from iris_admin.operations.gc import gc_top

        return self._run(gc_top(count, by=by, within=within))

    def gc_all(self) -> Gc:
        """Collect the garbage of all processes, without asking; see :func:`iris_admin.operations.gc.gc_all`."""
        from iris_admin.operations.gc import gc_all

        return self._run(gc_all())

    def role(self) -> Role:
        """What kind of node it is; see :func:`iris_admin.operations.roles.role`."""
        from iris_admin.operations.roles import role

        return self._run(role())

    def mnesia_info(self) -> MnesiaInfo:
        """What there is to know about Mnesia on the node; see :func:`iris_admin.operations.mnesia.mnesia_info`."""
        from iris_admin.operations.mnesia import mnesia_info

        return self._run(mnesia_info())

    def mnesia_locks(self, *, count: int = 20) -> MnesiaLocks:
        """Who holds and who wants locks there; see :func:`iris_admin.operations.mnesia_locks.mnesia_locks`."""
        from iris_admin.operations.mnesia_locks import mnesia_locks

        return self._run(mnesia_locks(count=count))

    def mnesia_transactions(self, *, count: int = 20) -> MnesiaTransactions:
        """The transactions that are under way there.

        See :func:`iris_admin.operations.mnesia_locks.mnesia_transactions`.
        """
        from iris_admin.operations.mnesia_locks import mnesia_transactions

        return self._run(mnesia_transactions(count=count))

    def bundle(self, path: str | os.PathLike[str], *, payload: bool = False) -> Bundle:
        """Collect what is known of the node into a new zip file; see :meth:`iris_admin.cluster.Cluster.bundle`."""
        from iris_admin.bundle_file import require_new, write_bundle
        from iris_admin.operations.bundle import bundle

        require_new(path)
        contents = self._run(bundle((self.name,), payload=payload, secrets=self.secrets, epmd_port=self.epmd_port))
        return write_bundle(path, contents)

    def ports(self) -> Table[ListeningPort]:
        """What the node listens on, and what of it is reached from here; see
        :func:`iris_admin.operations.ports.ports`.
        """
        from iris_admin.operations.ports import ports

        return self._run(ports([self.name], epmd_port=self.epmd_port))

    def logs(
        self, *, count: int = 100, pattern: str | None = None, everything: bool = False, file: str | None = None
    ) -> Logs:
        """The last events of the node's log files; see :func:`iris_admin.operations.logs.logs`."""
        from iris_admin.operations.logs import logs

        return self._run(logs(count=count, pattern=pattern, everything=everything, file=file))

    def follow_logs(
        self, *, pattern: str | None = None, everything: bool = False, file: str | None = None
    ) -> Iterator[LogEntry]:
        """What is added to the node's log files, as it happens, without end.

        See :func:`iris_admin.operations.logs.follow_logs` for what becomes of rotated files, and of a node that ends.
        """
        from iris_admin.operations.logs import follow_logs, open_logs

        cursors = self._run(open_logs(file=file))
        while True:
            yield from self._run(follow_logs(cursors, pattern=pattern, everything=everything))

    def ending_plan(self) -> EndingPlan:
        """What stopping or restarting the node would mean; see :func:`iris_admin.operations.lifecycle.ending_plan`."""
        from iris_admin.operations.lifecycle import ending_plan

        return self._run(ending_plan(self.name))

    def restart(self, *, keep: bool = True, saved: Path | None = None, wait: float = 60.0) -> Ended:
        """Restart the node by ``init:restart/0``, and wait until it is back, without asking anybody.

        See :func:`iris_admin.operations.lifecycle.restart`, and :meth:`ending_plan` for what that means.
        """
        from iris_admin.operations.lifecycle import restart

        return self._run(restart(self.name, keep=keep, saved=saved, wait=wait))

    def stop(self, *, keep: bool = True, saved: Path | None = None, wait: float = 60.0) -> Ended:
        """Stop the node by ``init:stop/0``, and wait until it is gone, without asking anybody.

        See :func:`iris_admin.operations.lifecycle.stop`, and :meth:`ending_plan` for what that means.
        """
        from iris_admin.operations.lifecycle import stop

        return self._run(stop(self.name, keep=keep, saved=saved, wait=wait, epmd_port=self.epmd_port))

    def start_by(self, command: Sequence[str], *, first: Sequence[str] = (), wait: float = 60.0) -> Ended:
        """Start the node, which is down, by a command; see :func:`iris_admin.operations.lifecycle.start`."""
        from iris_admin.operations.lifecycle import start

        return self._run(start(self.name, command, first=first, wait=wait))

    def stop_by(self, command: Sequence[str], *, wait: float = 60.0) -> Ended:
        """End the node, which does not answer, by a command; see
        :func:`iris_admin.operations.lifecycle.stop_by_command`.
        """
        from iris_admin.operations.lifecycle import stop_by_command

        return self._run(stop_by_command(self.name, command, wait=wait))

    # How it is done

    def _time(self, timeout: float | None) -> float:
        return self.timeout if timeout is None else timeout

    def _ended(
        self,
        module: str,
        function: str,
        args: Sequence[Term],
        timeout: float | None,
        idempotent: bool,
        capture: bool,
    ) -> CallEnded:
        """Make a call; how it ended."""
        encoded = encode_call(module, function, args)
        seconds = self.timeout if timeout is None else timeout
        deadline = time.monotonic() + seconds
        link = self._connector.link
        if link is None or idempotent:
            ended = self._attempts(module, function, encoded, deadline, idempotent, capture)
        else:
            ended = link.call(module, function, encoded, deadline, capture)
        if ended is None:
            raise Called(self._name, module, function, len(args)).timeout(seconds)
        return ended

    def _attempts(
        self, module: str, function: str, args: bytes, deadline: float, idempotent: bool, capture: bool
    ) -> CallEnded | None:
        def attempt() -> CallEnded | None:
            return self._connector.connect(deadline).call(module, function, args, deadline, capture)

        return with_retries(attempt, deadline) if idempotent else attempt()

    def _run(self, operation: Operation[T]) -> T:
        return run(operation, self._find, self.on_progress)

    def _find(self, name: str | None) -> Node:
        if name is None or name == self.name:
            return self
        raise ValueError(f"this is {self.name}; a cluster is needed to reach {name}")
