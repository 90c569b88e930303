"""Whom the checks look at: the nodes of a cluster, and how each of them is known.

A node that has died is in no list of connected nodes any more. Others still know of it: Mnesia's schema, the
configuration of edges and cores, the presence entries of its users, the operator's list of what should be there, and
the EPMD of its host, which remembers the names that it has served. An edge that none of these knows cannot be missed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from iris_admin.errors import ConfigError, IrisAdminError
from iris_admin.node_name import NodeName
from iris_admin.operations.evaluate import run_remote
from iris_admin.operations.fields import items
from iris_admin.operations.local_steps import Door, Knock, Knocked
from iris_admin.operations.roles import Members, members
from iris_admin.operations.steps import AllOf, Call, Operation
from iris_admin.terms import Atom, Term

#: Of each question of a check, in seconds: a node that is alive answers them in far less.
TIMEOUT = 5.0
#: Presence entries of a core that are looked at for the nodes in them.
MAX_ENTRIES = 20_000
#: Names that are believed of one list.
_MOST_NAMES = 1000

EXPECTED = "expected"
SCHEMA = "schema"
CONFIGURED = "configured"
SEED = "seed"
PRESENCE = "presence"
EPMD = "EPMD"
RELATIVE = "relative"
CONNECTED = "connected"
#: How a node is known, in words; ``{}`` is who says so.
WORDS = {
    EXPECTED: "the operator's configuration file expects it",
    SCHEMA: "it is in the Mnesia schema of {}",
    CONFIGURED: "it is configured as a core on {}",
    SEED: "it is a join seed of {}",
    PRESENCE: "{} has presence entries of users connected there",
    EPMD: "the EPMD of {} remembers it",
    RELATIVE: "the EPMD of {} remembers it, and it is named like nodes of this cluster",
    CONNECTED: "{} is connected to it",
}
#: Reasons to take a node for a core.
CORE_REASONS = frozenset({SCHEMA, CONFIGURED, SEED})
#: Reasons to say that it should be there; the others may be out of date.
STRONG_REASONS = frozenset({EXPECTED, SCHEMA, CONFIGURED, PRESENCE, RELATIVE, CONNECTED})


@dataclass(frozen=True, slots=True)
class Account:
    """What one node knows of others.

    :param connected: the nodes that it is connected to, hidden ones and guests included.
    :param schema: the nodes of its Mnesia schema (cores).
    :param running: those of them on which Mnesia runs, as far as it knows.
    :param mnesia: ``yes``, ``no``, ``starting`` or ``stopping`` (cores).
    :param core_env: environment of ``iris_core``; ``edge_env`` that of ``iris_edge``.
    """

    connected: frozenset[str]
    schema: frozenset[str]
    running: frozenset[str]
    mnesia: str | None
    core_env: Mapping[str, Term]
    edge_env: Mapping[str, Term]

    @property
    def cores(self) -> frozenset[str]:
        """The cores that an edge is configured to use."""
        return _atoms(self.edge_env.get("core_nodes"))


@dataclass(frozen=True, slots=True)
class Subject:
    """The cluster that is looked at.

    :param found: the nodes that answer, and those that do not.
    :param accounts: what those that answer know of others.
    :param known: how each node is known: pairs of a reason, a key of :data:`WORDS`, and who says so.
    :param expected: the nodes that the operator says should be there; empty where nothing is said.
    :param blind: hosts whose EPMD could not be asked for what it remembers, with the reason.
    :param gone: nodes that an EPMD remembers, but that nothing else connects with this cluster.
    :param user: a user to look at.
    """

    found: Members
    accounts: Mapping[str, Account]
    known: Mapping[str, frozenset[tuple[str, str]]]
    expected: frozenset[str] = frozenset()
    blind: Mapping[str, str] | None = None
    gone: tuple[str, ...] = ()
    user: str | bytes | None = None

    @property
    def cores(self) -> list[str]:
        """The cores that answer."""
        return self.found.cores

    @property
    def edges(self) -> list[str]:
        """The edges that answer."""
        return self.found.edges

    @property
    def stores(self) -> list[str]:
        """The cores that answer and on which Mnesia runs."""
        return [core for core in self.cores if core in self.accounts and self.accounts[core].mnesia == "yes"]

    def role_of(self, node: str) -> str | None:
        """``core`` or ``edge``, as far as it is known or can be concluded."""
        if node in self.found.roles:
            return self.found.roles[node].role
        reasons = {reason for reason, _ in self.known.get(node, ())}
        if reasons & CORE_REASONS:
            return "core"
        if PRESENCE in reasons:
            return "edge"
        family = _family(node)
        relatives = {role.role for other, role in self.found.roles.items() if _family(other) == family}
        return relatives.pop() if len(relatives) == 1 and relatives != {"other"} else None

    def why(self, node: str) -> list[str]:
        """How a node is known, in words."""
        by_reason: dict[str, list[str]] = {}
        for reason, source in sorted(self.known.get(node, ())):
            by_reason.setdefault(reason, []).append(source)
        return [WORDS[reason].format(" and ".join(sources)) for reason, sources in by_reason.items()]


def subject(
    nodes: Sequence[str],
    *,
    user: str | bytes | None = None,
    expected: Iterable[str] = (),
    epmd_port: int | None = None,
) -> Operation[Subject]:
    """Find out whom there is to look at.

    :param nodes: all nodes that are known so far; those that do not answer are no error.
    :param expected: nodes that should be there.
    :param epmd_port: of the hosts' EPMD, which is asked for what it remembers; None leaves it out.
    """
    wanted = frozenset(expected)
    found = yield from members(sorted({*nodes, *wanted}), timeout=TIMEOUT)
    accounts = yield from _accounts(found)
    known: dict[str, set[tuple[str, str]]] = {node: set() for node in (*found.roles, *found.unanswered)}

    def add(names: Iterable[str], reason: str, source: str) -> None:
        for name in names:
            if name != source and _is_node_name(name):
                known.setdefault(name, set()).add((reason, source))

    add(wanted, EXPECTED, "")
    for node, account in accounts.items():
        add(account.schema, SCHEMA, node)
        add(account.cores, CONFIGURED, node)
        for key in ("join_seeds", "expected_cluster_nodes"):
            add(_atoms(account.core_env.get(key)), SEED, node)
        # Guests are connected, too; only nodes that are known otherwise are taken for members.
        add(account.connected.intersection(found.unanswered), CONNECTED, node)
    presence = yield from _nodes_in_presence(found.cores)
    for core, names in presence.items():
        add(names, PRESENCE, core)
    blind, gone = yield from _remembered(known, found, add, epmd_port)
    return Subject(
        found=found,
        accounts=accounts,
        known={node: frozenset(reasons) for node, reasons in known.items()},
        expected=wanted,
        blind=blind,
        gone=tuple(sorted(gone)),
        user=user,
    )


def _accounts(found: Members) -> Operation[dict[str, Account]]:
    questions: list[tuple[str, str, Call]] = []

    def ask(node: str, what: str, module: str, function: str, *args: Term) -> None:
        call = Call(module, function, args, node=node, timeout=TIMEOUT, idempotent=True)
        questions.append((node, what, call))

    for node, role in found.roles.items():
        ask(node, "connected", "erlang", "nodes", Atom("connected"))
        if role.is_core:
            ask(node, "core_env", "application", "get_all_env", Atom("iris_core"))
            # With Mnesia stopped, that is what its schema on the disc says.
            ask(node, "schema", "mnesia", "system_info", Atom("db_nodes"))
            ask(node, "running", "mnesia", "system_info", Atom("running_db_nodes"))
            ask(node, "mnesia", "mnesia", "system_info", Atom("is_running"))
        if role.is_edge:
            ask(node, "edge_env", "application", "get_all_env", Atom("iris_edge"))
    outcomes = yield AllOf(tuple(call for _, _, call in questions))
    answers: dict[str, dict[str, Any]] = {node: {} for node in found.roles}
    for (node, what, _), outcome in zip(questions, outcomes, strict=True):
        if not isinstance(outcome, Exception):
            answers[node][what] = outcome
        elif not isinstance(outcome, IrisAdminError):
            raise outcome
    return {
        node: Account(
            connected=_atoms(answer.get("connected")),
            schema=_atoms(answer.get("schema")),
            running=_atoms(answer.get("running")),
            mnesia=str(answer["mnesia"]) if "mnesia" in answer else None,
            core_env=_environment(answer.get("core_env")),
            edge_env=_environment(answer.get("edge_env")),
        )
        for node, answer in answers.items()
    }


def _nodes_in_presence(cores: Sequence[str]) -> Operation[dict[str, frozenset[str]]]:
    found = {}
    for core in cores:
        try:
            counts = yield from run_remote("presence_nodes", {"Max": MAX_ENTRIES}, node=core, timeout=TIMEOUT)
        except IrisAdminError:
            continue
        found[core] = frozenset(str(name) for name, _ in counts)
    return found


_Add: TypeAlias = Callable[[Iterable[str], str, str], None]


def _remembered(
    known: Mapping[str, set[tuple[str, str]]], found: Members, add: _Add, epmd_port: int | None
) -> Operation[tuple[dict[str, str], set[str]]]:
    """What the EPMDs of the hosts remember."""
    hosts = sorted({NodeName.parse(node).host for node in known})
    if epmd_port is None:
        return dict.fromkeys(hosts, "EPMD is not asked here"), set()
    outcomes: list[Knocked] = yield Knock(tuple(Door(host, epmd_port, "epmd memory") for host in hosts), TIMEOUT)
    blind: dict[str, str] = {}
    gone: set[str] = set()
    families = {_family(node) for node, role in found.roles.items() if role.is_core or role.is_edge}
    for host, outcome in zip(hosts, outcomes, strict=True):
        if outcome.names is None:
            blind[host] = outcome.problem or "no answer"
            continue
        for name in outcome.names:
            full = f"{name}@{host}"
            if _family(full) in families:
                add((full,), RELATIVE, host)
            elif full in known:
                add((full,), EPMD, host)
            else:
                gone.add(full)
    return blind, gone


def _family(node: str) -> str:
    """The name of a node without its number and host: ``iris_edge`` of ``iris_edge2@db1``."""
    return re.sub(r"[\d_\-]+$", "", node.partition("@")[0])


def _atoms(term: Term | None) -> frozenset[str]:
    return frozenset(str(name) for name in items(term)[:_MOST_NAMES] if isinstance(name, str))


def _environment(term: Term | None) -> dict[str, Term]:
    return {str(pair[0]): pair[1] for pair in items(term) if isinstance(pair, tuple) and len(pair) == 2}


def _is_node_name(text: str) -> bool:
    try:
        NodeName.parse(text)
    except ConfigError:
        return False
    return "@" in text
