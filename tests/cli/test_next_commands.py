"""The commands that findings and the steps of ``triage`` name exist."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from iris_admin.cli.main import main

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
