"""A cluster that is looked at before and after, and the commands of ``iris-admin`` that are run on it in between."""

from __future__ import annotations

import base64
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from demo_cluster import ChatClient, DemoCluster, DemoNode

_PROBE = Path(__file__).parent / "erl" / "iris_admin_test_guest.erl"
PROBE = _PROBE.stem
#: A moment for what is on its way out on a node, in seconds; and how often it is looked at.
SETTLED_WITHIN = 30.0
LOOK_AGAIN = 0.05
#: A store each so many seconds while commands run.
STORE_EVERY = 0.05
STORE = 'ok = iris_core:store_offline_durable(<<"guest-load">>, <<"x">>).'
#: What is compared, in the order of the table in docs/footprint.md.
KINDS = (
    *("atoms", "process", "module", "ets", "registered", "port", "monitor", "monitored_by", "link", "node"),
    *("application", "environment", "schema", "presence", "logged"),
)

#: What was seen on a node: how often each thing of each kind is there.
Look = dict[str, Counter[str]]


def look(node: DemoNode) -> Look:
    """See what is on a node, by its own console."""
    answer = node.evaluate(f"{PROBE}:look().")
    encoded = re.fullmatch(r'<<"(.*)">>', answer, re.DOTALL)
    assert encoded is not None, answer
    found: Look = {kind: Counter() for kind in KINDS}
    for line in base64.b64decode(encoded[1]).decode().splitlines():
        kind, tab, thing = line.partition("\t")
        if tab:  # a long term goes on in the next line, which says nothing that the first does not
            found[kind][thing] += 1
    return found


def known_words(node: DemoNode, words: Iterable[str]) -> set[str]:
    """Those of some words that are atoms on a node."""
    asked = sorted(words)
    binaries = ", ".join(f"<<{', '.join(map(str, word.encode()))}>>" for word in asked)
    answer = node.evaluate(
        "Known = fun(Word) -> try binary_to_existing_atom(Word), $1 catch error:badarg -> $0 end end, "
        f"lists:map(Known, [{binaries}])."
    )
    return {word for word, known in zip(asked, answer.strip('"'), strict=True) if known == "1"} if asked else set()


def new_atoms(node: DemoNode, since: int) -> set[str]:
    """The atoms that a node has made since it had so many; they are numbered as they are made."""
    answer = node.evaluate(
        "base64:encode(iolist_to_binary(lists:join(0, [atom_to_binary(binary_to_term(<<131, 75, Number:24>>)) || "
        f"Number <- lists:seq({since}, erlang:system_info(atom_count) - 1)])))."
    )
    return set(base64.b64decode(answer.strip('<">')).decode().split("\0")) - {""}


def is_name_of_guest(atom: str) -> bool:
    """Whether a node has handed out an atom as the name of a guest."""
    return re.fullmatch(r"[0-9A-Z]+@.+", atom) is not None


def amount(found: Look, kind: str) -> int:
    """How many of a kind."""
    return int(next(iter(found["atoms"]))) if kind == "atoms" else found[kind].total()


def differences(before: Look, after: Look, kinds: Iterable[str] = KINDS) -> list[str]:
    """What came and what went, one line for each thing."""
    return [
        f"{kind} {sign}{thing}"
        for kind in kinds
        for sign, things in (("-", before[kind] - after[kind]), ("+", after[kind] - before[kind]))
        for thing in things
    ]


def settled(cluster: DemoCluster) -> dict[str, Look]:
    """The nodes, when nothing changes any more by itself."""
    before = {node.name: look(node) for node in cluster.nodes}
    deadline = time.monotonic() + SETTLED_WITHIN
    while True:
        time.sleep(LOOK_AGAIN)
        now = {node.name: look(node) for node in cluster.nodes}
        if now == before:
            return now
        assert time.monotonic() < deadline, {name: differences(before[name], now[name]) for name in now}
        before = now


def changes(
    cluster: DemoCluster, before: Mapping[str, Look], kinds: Iterable[str] = KINDS
) -> tuple[dict[str, list[str]], dict[str, Look]]:
    """What differs from before, by node, once what is on its way out is gone; and what is there now."""
    deadline = time.monotonic() + SETTLED_WITHIN
    while True:
        now = {node.name: look(node) for node in cluster.nodes if node.running and node.name in before}
        found = {name: lines for name in now if (lines := differences(before[name], now[name], kinds))}
        if not found or time.monotonic() > deadline:
            return found, now
        time.sleep(LOOK_AGAIN)


class Visited:
    """The cluster of the tests and of ``bench/footprint.py``: three cores and two edges, one of them hidden.

    Its durable batchers are in the mode ``cluster``. An expired presence entry stays until somebody asks for it.

    :param preloaded: whether the nodes have loaded all code beforehand, as a release in embedded mode does.
    :ivar listener: a user who is connected to the hidden edge, and acknowledges.
    :ivar stored: a user who is away.
    :ivar expired: a user of whom each core has an entry that has expired.
    """

    listener, stored, expired = "guest-listener", "guest-stored", "guest-expired"

    def __init__(self, *, preloaded: bool = False) -> None:
        self._stack = ExitStack()
        try:
            self.cluster = self._stack.enter_context(
                DemoCluster(
                    cores=3,
                    edges=2,
                    hidden_edges=1,
                    core_env={"durability_mode": "cluster", "presence_cleanup_ms": "86400000"},
                    # The node forgets the name of one that has left at once, not only after a minute.
                    emulator_flags=("+zdntgc", "0"),
                )
            )
            self._prepare(preloaded)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Visited:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _prepare(self, preloaded: bool) -> None:
        names = ", ".join(f"'{node.name}'" for node in self.cluster.nodes)
        for node in self.cluster.nodes:
            node.evaluate(
                f'{{ok, Module, Binary}} = compile:file("{_PROBE}", [binary]), '
                "{module, Module} = code:load_binary(Module, atom_to_list(Module), Binary)."
            )
            if preloaded:
                node.evaluate(f"{PROBE}:load_everything().")
            # What makes atoms of OTP's own when it is first asked.
            node.evaluate(
                "{erlang:memory(), process_info(self(), [garbage_collection, garbage_collection_info]), "
                "erlang:system_info(emu_flavor), proc_lib:initial_call(whereis(kernel_sup))}."
            )
            # Our own questions have names in them, too.
            known_words(node, ["ok"])
            new_atoms(node, 0)
            # From OTP 29 on, its code, when it is loaded, loads the application with its settings.
            node.evaluate("application:load(crypto).")
            # Messages from edge to edge would connect them sooner or later.
            node.evaluate(f"[pong = net_adm:ping(Node) || Node <- [{names}]].")
        edge = self.cluster.edges[1]
        self._stack.enter_context(ChatClient("127.0.0.1", edge.port, self.listener))
        for core in self.cluster.cores:
            core.evaluate(
                f'User = <<"{self.expired}">>, true = ets:insert(presence_local, '
                f"{{User, {{presence_entry, User, '{edge.name}', self(), 0, 0}}}})."
            )
            core.evaluate(STORE)
        self.refill()
        for node in self.cluster.nodes:
            node.evaluate(f"{PROBE}:start().")

    def refill(self) -> None:
        """Store what the commands deliver and clear."""
        for user in (self.listener, self.stored):
            self.cluster.store(user, [b"one", b"two"])

    def wait_until_alone(self) -> None:
        """Wait until every node has noticed that we left: a guest who comes earlier gets a second name, a new atom."""
        deadline = time.monotonic() + SETTLED_WITHIN
        others = str(len(self.cluster.nodes) - 1)
        for node in self.cluster.nodes:
            while node.running and (there := node.evaluate("length(nodes(connected)).")) != others:
                assert time.monotonic() < deadline, f"{node.name} is connected to {there} nodes, not {others}"

    def batchers(self) -> list[dict[str, int]]:
        """The figures of each core's durable batcher."""
        text = "[{Key, Value} || {Key, Value} <- maps:to_list(iris_durable_batcher:get_stats())]."
        return [
            {key: int(value) for key, value in re.findall(r"\{(\w+),(\d+)\}", core.evaluate(text))}
            for core in self.cluster.cores
        ]

    @contextmanager
    def storing(self) -> Iterator[None]:
        """Have one core after the other store messages meanwhile, of which it then looks for a second place."""
        over = threading.Event()
        failed: list[Exception] = []

        def store() -> None:
            while not over.wait(STORE_EVERY):
                for core in self.cluster.cores:
                    try:
                        core.evaluate(STORE)
                    except Exception as error:  # is raised where it is seen
                        failed.append(error)
                        return

        thread = threading.Thread(target=store)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        if failed:
            raise failed[0]

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of :func:`iris_admin.connect` besides the node."""
        return {"cookie_file": self.cluster.cookie_file, "epmd_port": self.cluster.epmd_port}

    def environment(self, directory: Path) -> dict[str, str]:
        """The variables for a command, whose own files go to a directory."""
        return {
            **self.cluster.environment,
            "IRIS_ADMIN_AUDIT_FILE": str(directory / "audit.jsonl"),
            "IRIS_ADMIN_BACKUP_DIR": str(directory / "backups"),
        }


#: How each command is run: its words behind its name, once or several times, given the cluster and a directory for
#: files. A new command needs an entry here. In this order: what is exported is cleared and put back.
Words = list[list[str]]
RUNS: dict[str, Callable[[Visited, Path], Words]] = {
    "ping": lambda _c, _d: [[]],
    "nodes": lambda _c, _d: [[]],
    "ports": lambda _c, _d: [[]],
    "logs": lambda c, _d: [["--count", "5", "--all"], [c.cluster.edges[1].name]],
    "smoke": lambda _c, _d: [["--count", "2"]],
    "system": lambda _c, _d: [["--all", "--interval", "0.1"]],
    "memory": lambda _c, _d: [["--all"], ["--watch", "--interval", "0.1", "--times", "2"]],
    "stats": lambda c, _d: [
        ["--all"],
        ["--watch", "--interval", "0.1", "--times", "2"],
        ["-n", c.cluster.edges[0].name],
    ],
    "processes": lambda _c, _d: [[], ["--by", "reductions", "--interval", "0.1"], ["--by", "binary"]],
    "process": lambda _c, _d: [["iris_presence"]],
    "ets": lambda _c, _d: [[]],
    "gc": lambda _c, _d: [["iris_presence"], ["--top", "3"], ["--all", "--yes"]],
    "mnesia info": lambda _c, _d: [[]],
    "mnesia tables": lambda _c, _d: [[]],
    "mnesia status": lambda _c, _d: [["--interval", "0.1"]],
    "mnesia locks": lambda _c, _d: [[]],
    "mnesia transactions": lambda _c, _d: [[]],
    "offline summary": lambda _c, _d: [[]],
    "offline list": lambda _c, _d: [["--prefix", "guest"]],
    "offline duplicates": lambda c, _d: [[], [c.stored]],
    "offline show": lambda c, _d: [[c.stored, "--payload"]],
    "offline export": lambda c, d: [[c.stored, str(d / "stored.term")], ["--all", str(d / "all.jsonl")]],
    "offline clear": lambda c, _d: [[c.stored, "--dry-run"], [c.stored, "--yes"]],
    "offline restore": lambda _c, d: [[str(d / "stored.term"), "--dry-run"], [str(d / "stored.term")]],
    "presence summary": lambda _c, _d: [[]],
    "presence list": lambda _c, _d: [[]],
    "presence show": lambda c, _d: [[c.expired], [c.listener]],
    "user": lambda c, _d: [[c.expired], [c.listener]],
    "redeliver": lambda c, _d: [["--stuck", "--dry-run"], [c.listener]],
    "doctor": lambda c, _d: [["--user", c.expired]],
    "triage": lambda c, _d: [["p0"], ["p1", "--user", c.expired], ["p2"]],
    "bundle": lambda _c, d: [[str(d / "bundle.zip")]],
    "diff": lambda c, _d: [[c.cluster.cores[0].name, c.cluster.edges[0].name]],
    "audit": lambda _c, _d: [[]],
    "rpc": lambda _c, _d: [["erlang", "memory"], ["iris_core", "get_bucket_count", '<<"guest-stored">>']],
    "eval": lambda _c, _d: [["length(ets:all())"], ["Sum = fun(A, B) -> A + B end, Sum(1, 2)"]],
    "completion": lambda _c, _d: [["bash"]],
}
#: Those that end a node, which is then another one.
ENDINGS = ("restart", "stop")
#: A finding about the cluster is no failure of the command.
FINDINGS = {"doctor": 69, "triage": 69}


def command_lines(visited: Visited, directory: Path) -> Iterator[tuple[str, list[str]]]:
    """All of them: the command's name, and all its words."""
    os.makedirs(directory, exist_ok=True)
    for name, words in RUNS.items():
        for behind in words(visited, directory):
            yield name, [*name.split(), *behind]
