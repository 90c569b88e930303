"""Every command, one after the other, on a cluster of five nodes: they are the same before and after."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

import iris_admin
from iris_admin.syntax import tokenize
from tests.cli.support import invoke
from tests.docs.test_commands import COMMANDS
from tests.support.guest import (
    ENDINGS,
    FINDINGS,
    KINDS,
    RUNS,
    Look,
    Visited,
    amount,
    changes,
    command_lines,
    is_name_of_guest,
    known_words,
    new_atoms,
    settled,
)

NO_ATOMS = tuple(kind for kind in KINDS if kind != "atoms")
#: Atoms that a first visit may add. They are what erlang:system_info/1 is asked for: the emulator compares the text of
#: its argument, so where no module has such a word, it is no atom until somebody asks.
WORDS_OF_SYSTEM_INFO = frozenset(
    {"atom_limit", "dirty_io_schedulers", "dist_buf_busy_limit", "ets_count", "ets_limit", "start_time"}
)
#: An atom that the edge of the demo gets in a core's answer to a question of its own.
WORDS_OF_IRIS = frozenset({"iris_shard"})


@pytest.fixture(scope="module")
def visited() -> Iterator[Visited]:
    """Nodes that load code when it is first called, as ``erl`` and an Elixir shell do."""
    with Visited() as found:
        yield found


@pytest.fixture(scope="module")
def preloaded() -> Iterator[Visited]:
    """Nodes that have loaded all code, as a release in embedded mode does when it boots."""
    with Visited(preloaded=True) as found:
        yield found


def run_all(visited: Visited, directory: Path) -> None:
    for name, words in command_lines(visited, directory):
        result = invoke(*words, environment=visited.environment(directory))
        assert result.exit_code in {0, FINDINGS.get(name, 0)}, (words, result.stderr, result.stdout)
        visited.wait_until_alone()


def atoms_of_ours(visited: Visited, before: dict[str, Look]) -> dict[str, set[str]]:
    """The new atoms on each node, besides the names that it has handed out, and what erlang:system_info/1 is asked."""
    found: dict[str, set[str]] = {}
    for node in visited.cluster.nodes:
        new = new_atoms(node, amount(before[node.name], "atoms")) - WORDS_OF_SYSTEM_INFO
        if ours := {atom for atom in new if not is_name_of_guest(atom)}:
            found[node.name] = ours
    return found


def nothing_is_new(visited: Visited, visit: Callable[[], None]) -> None:
    """A visit, the first or a later one, of nodes that have loaded all code."""
    before = settled(visited.cluster)
    visit()
    assert changes(visited.cluster, before, NO_ATOMS)[0] == {}
    assert atoms_of_ours(visited, before) == {}


def test_every_command_is_run() -> None:
    names = {name.partition(" ")[2] for name, command in COMMANDS.items() if not isinstance(command, click.Group)}
    assert names == {*RUNS, *ENDINGS}


def test_our_expressions_are_made_of_words_that_a_core_or_an_edge_knows(preloaded: Visited) -> None:
    """All of them, those too that no command of this test needs."""
    words = {
        str(token[2])
        for path in (Path(iris_admin.__file__).parent / "remote").glob("*.erl")
        for token in tokenize(path.read_text("utf-8"))
        if token[0] == "atom"
    }
    for node in (preloaded.cluster.cores[0], preloaded.cluster.edges[0]):
        words -= known_words(node, words)
    assert words <= WORDS_OF_SYSTEM_INFO


def test_no_visit_leaves_anything_where_all_code_is_loaded(preloaded: Visited, tmp_path: Path) -> None:
    nothing_is_new(preloaded, lambda: run_all(preloaded, tmp_path / "first"))
    preloaded.refill()
    nothing_is_new(preloaded, lambda: run_all(preloaded, tmp_path / "second"))


def test_a_first_visit_has_the_node_load_code_of_its_own_and_the_second_leaves_nothing(
    visited: Visited, tmp_path: Path
) -> None:
    before = settled(visited.cluster)
    run_all(visited, tmp_path / "first")
    assert changes(visited.cluster, before, [kind for kind in NO_ATOMS if kind != "module"])[0] == {}
    first = settled(visited.cluster)
    atoms = atoms_of_ours(visited, before)
    with Visited() as untouched:
        for node, other in zip(visited.cluster.nodes, untouched.cluster.nodes, strict=True):
            loaded = first[node.name]["module"] - before[node.name]["module"]
            for module in loaded:
                own = node.evaluate(f'code:where_is_file("{module}.beam") =:= code:which({module}).')
                assert own == "true", f"{node.name} has loaded {module}, which is not in its code path"
                other.evaluate(f"{{module, _}} = code:ensure_loaded({module}).")
            new = atoms.get(node.name, set()) - WORDS_OF_IRIS
            assert new - known_words(other, new) == set(), "they are in none of the modules that the node has loaded"
    visited.refill()
    run_all(visited, tmp_path / "second")
    # Atoms are compared where all code is loaded: here the node makes those of its own modules as it comes to them.
    assert changes(visited.cluster, first, NO_ATOMS)[0] == {}


def test_no_durable_batcher_chooses_a_guest(preloaded: Visited) -> None:
    """The cores store messages, and look for a second place for each, while we are connected to all and at work."""
    before = preloaded.batchers()
    with iris_admin.connect_cluster(preloaded.cluster.seed, **preloaded.options) as cluster, preloaded.storing():
        hidden = preloaded.cluster.cores[0].evaluate("length(nodes(hidden)).")
        assert int(hidden) == 2, "the hidden edge and we"
        cluster.doctor()
        cluster.smoke(count=5)
        cluster.offline_summary()
        cluster.presence_summary()
    for old, new in zip(before, preloaded.batchers(), strict=True):
        grown = {key: new[key] - old[key] for key in new}
        assert grown["writes_remote"] == grown["writes_wal"] > 0, "a second copy of a message went to no core"
        assert grown["remote_failures"] == 0


#: Command lines with a word in the place of ``WORD`` that no node knows, and how they end. Each operand and each option
#: that takes a text has its line.
WORD = "WORD"
UNKNOWN: tuple[tuple[int, str, list[str]], ...] = (
    (69, "nodes", ["nodes", WORD]),
    (78, "ports", ["ports", WORD]),
    (69, "logs", ["logs", WORD]),
    (0, "logs", ["logs", "--grep", WORD]),
    (0, "logs", ["logs", "--file", WORD]),
    (64, "smoke", ["smoke", "--address", WORD]),
    (78, "smoke", ["smoke", "--address", f"{WORD}=localhost:1"]),
    (69, "restart", ["restart", WORD, "--yes", "--no-bundle"]),
    (69, "stop", ["stop", WORD, "--yes", "--no-bundle"]),
    (69, "process", ["process", WORD]),
    (69, "gc", ["gc", WORD]),
    (0, "offline list", ["offline", "list", "--prefix", WORD]),
    (0, "offline list", ["offline", "list", "--after", WORD]),
    (0, "offline duplicates", ["offline", "duplicates", WORD]),
    (0, "offline show", ["offline", "show", WORD]),
    (0, "offline export", ["offline", "export", WORD, "FILE"]),
    (67, "offline clear", ["offline", "clear", WORD, "--yes"]),
    (74, "offline restore", ["offline", "restore", WORD]),
    (78, "offline restore", ["offline", "restore", "EXPORT", "--core", WORD]),
    (0, "presence list", ["presence", "list", "--prefix", WORD]),
    (0, "presence list", ["presence", "list", "--after", WORD]),
    (0, "presence show", ["presence", "show", WORD]),
    (67, "user", ["user", WORD]),
    (67, "redeliver", ["redeliver", WORD]),
    (0, "doctor", ["doctor", "--user", WORD]),
    (0, "triage", ["triage", "p1", "--user", WORD]),
    (69, "diff", ["diff", WORD, "SEED"]),
    (69, "diff", ["diff", "SEED", WORD]),
    (65, "rpc", ["rpc", WORD, "f"]),
    (65, "rpc", ["rpc", "erlang", WORD]),
    (65, "rpc", ["rpc", "erlang", "is_atom", WORD]),
    (65, "rpc", ["rpc", "erlang", "is_list", f"[{{a, #{{<<>> => {WORD}}}}}]"]),
    (65, "eval", ["eval", WORD]),
    (65, "eval", ["eval", f"{WORD}:f()"]),
    (65, "eval", ["eval", f"is_atom('{WORD}')"]),
    (65, "eval", ["eval", f"#{WORD}{{}}"]),
    (65, "eval", ["eval", f"V{WORD} + 1"]),
    (0, "eval", ["eval", f"V{WORD} = 1"]),
)
#: Options whose text stays here: files, and those that say how to connect.
STAYS_HERE = {"bundle": {"file"}}


def test_every_operand_has_its_line() -> None:
    for name, command in COMMANDS.items():
        ours = name.partition(" ")[2]
        texts = [
            param.name
            for param in command.params
            if not isinstance(command, click.Group)
            and param.expose_value
            and isinstance(param.type, click.types.StringParamType | click.Path)
            and param.name not in STAYS_HERE.get(ours, ())
        ]
        lines = [words for _, command_name, words in UNKNOWN if command_name == ours]
        assert len(lines) >= len(texts), f"{name}: {texts}"


def test_an_unknown_word_makes_no_atom(preloaded: Visited, tmp_path: Path) -> None:
    nothing_is_new(preloaded, lambda: type_unknown_words(preloaded, tmp_path))


def type_unknown_words(visited: Visited, directory: Path) -> None:
    """Run all lines of :data:`UNKNOWN`; each says so, and no node knows any of the words afterwards."""
    environment = visited.environment(directory)
    export = directory / "export.term"
    assert invoke("offline", "export", visited.stored, str(export), environment=environment).exit_code == 0
    asked: set[str] = set()
    for number, (exit_code, name, words) in enumerate(UNKNOWN):
        word = f"fresh{secrets.token_hex(6)}"
        asked.add(word)
        places = {"FILE": str(directory / f"{number}.term"), "EXPORT": str(export), "SEED": visited.cluster.seed}
        typed = [places.get(part, part).replace(WORD, word) for part in words]
        result = invoke(*typed, environment=environment)
        assert result.exit_code in {exit_code, FINDINGS.get(name, exit_code)}, (typed, result.stderr, result.stdout)
        assert result.exit_code == 0 or word in result.stderr + result.stdout, (typed, result.stderr)
        visited.wait_until_alone()
    for node in visited.cluster.nodes:
        assert known_words(node, asked) == set()


def test_the_others_are_as_before_when_one_node_was_restarted_and_another_stopped(
    visited: Visited, tmp_path: Path
) -> None:
    """Runs last: the cluster is another one afterwards."""
    environment = visited.environment(tmp_path)
    edge, hidden = visited.cluster.edges
    kinds = ("atoms", "module", "ets", "registered", "application", "environment", "schema")
    before = settled(visited.cluster)
    others = {name: found for name, found in before.items() if name != hidden.name}
    result = invoke("restart", hidden.name, "--yes", environment=environment)
    assert result.exit_code == 0, result.stderr
    assert changes(visited.cluster, others, kinds)[0] == {}
    del others[edge.name]
    result = invoke("stop", edge.name, "--yes", environment=environment)
    assert result.exit_code == 0, result.stderr
    assert changes(visited.cluster, others, kinds)[0] == {}
