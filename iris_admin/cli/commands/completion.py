"""``iris-admin completion``."""

from __future__ import annotations

import click

from iris_admin.cli.command import Command
from iris_admin.cli.session import Session


@click.command("completion", cls=Command, short_help="Print a script for completion by SHELL.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_obj
def command(_session: Session, shell: str) -> None:
    """Print a script that has SHELL complete commands and options.

    For bash, in ~/.bashrc: eval "$(iris-admin completion bash)"; for zsh likewise, in ~/.zshrc. For fish:
    iris-admin completion fish > ~/.config/fish/completions/iris-admin.fish
    """
    from click.shell_completion import get_completion_class

    from iris_admin.cli.main import COMPLETE_VARIABLE, PROGRAM, main

    kind = get_completion_class(shell)
    assert kind is not None, "click knows these shells"
    click.echo(kind(main, {}, PROGRAM, COMPLETE_VARIABLE).source())
