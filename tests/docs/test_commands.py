"""Every command and option is explained: in its own help, from which the reference is made, and on some page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from iris_admin.cli.main import main

ROOT = Path(__file__).parents[2]


def commands(command: click.Command, path: tuple[str, ...] = ("iris-admin",)) -> Iterator[tuple[str, click.Command]]:
    """Each command that is not hidden, by all the words one types for it; groups too."""
    yield " ".join(path), command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None and not inner.hidden:
                yield from commands(inner, (*path, name))


COMMANDS = dict(commands(main))


@pytest.mark.parametrize("name", COMMANDS)
def test_command_and_its_options_have_help(name: str) -> None:
    command = COMMANDS[name]
    assert command.help, f"{name} has no help"
    silent = [
        option.opts[-1]
        for option in command.params
        if isinstance(option, click.Option) and not option.hidden and not option.help
    ]
    assert not silent, f"{name}: no help for {silent}"


def test_every_command_is_mentioned_on_some_page() -> None:
    pages = " ".join(page.read_text(encoding="utf-8") for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
    # "iris-admin -n NODE memory" mentions it as well as "iris-admin memory"
    leaves = [name.split() for name, command in COMMANDS.items() if not isinstance(command, click.Group)]
    assert leaves
    missing = [
        " ".join([program, *rest])
        for program, *rest in leaves
        if not re.search(rf"{program}( -n \w+)? {' '.join(map(re.escape, rest))}\b", pages)
    ]
    assert not missing, f"on no page: {missing}"
