"""The commands that findings and the steps of ``triage`` name exist."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from iris_admin.cli.main import main
from iris_admin.operations import triage
from tests.cli.support import invoke
from tests.support.erlang import free_port

OPERATIONS = Path(__file__).parents[2] / "iris_admin" / "operations"
_NAMED = re.compile(r"iris-admin( -n \{?\w+\}?)? (?P<words>[a-z]+( [a-z]+)?)")
NAMED = sorted(
    {
        match["words"]
        for path in (*(OPERATIONS / "checks").glob("*.py"), OPERATIONS / "triage.py")
        for match in _NAMED.finditer(path.read_text(encoding="utf-8"))
    }
)


@pytest.mark.parametrize("words", NAMED)
def test_command_exists(words: str) -> None:
    command: click.Command | None = main
    for word in words.split():
        if not isinstance(command, click.Group):
            return  # the rest are arguments
        command = command.get_command(click.Context(command), word)
        assert command is not None, words


@pytest.mark.parametrize(
    "line", sorted({line for each in triage._PLANS.values() for one in each for line in one.commands})
)
def test_what_triage_says_is_complete(line: str, tmp_path: Path) -> None:
    """Typed as it stands, with names filled in, a command gets as far as to the node, which is not there."""
    names = {"NODE": "nobody@localhost", "CORE": "nobody@localhost", "USER": "bob", "FILE.zip": str(tmp_path / "f.zip")}
    words = [names.get(word, word) for word in line.split()[1:]]
    environment = {"IRIS_ADMIN_NODE": "nobody@localhost", "IRIS_ADMIN_COOKIE": "c", "ERL_EPMD_PORT": str(free_port())}
    result = invoke(*words, environment=environment)
    assert result.exit_code == 69, result.stderr
