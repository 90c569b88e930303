"""Asks before something is lost. Without somebody who can answer, nothing is done."""

from __future__ import annotations

import select
import sys
from collections.abc import Iterable

import click

from iris_admin.cli.session import Session
from iris_admin.errors import UnsafeOperation
from iris_admin.text import printable

#: In seconds.
_LOOK_UP = 0.2

#: For commands that ask.
yes_option = click.option("--yes", is_flag=True, help="Do not ask. What would be lost is still told on stderr.")


def confirm(
    session: Session, losses: str | Iterable[str], question: str, *, yes: bool, node: str | None = None
) -> None:
    """Name what is lost, and go on only if a person agrees, or ``--yes`` was given.

    :param losses: what is lost or disturbed: a line or several, for stderr.
    :param question: e.g. ``Delete these 3 messages?``
    :param yes: whether ``--yes`` was given.
    :param node: the node concerned.
    :raises UnsafeOperation: nobody agreed, or there is no terminal to ask on. Its exit code is 77.
    """
    for line in [losses] if isinstance(losses, str) else losses:
        session.tell(line)
    if yes:
        return
    if not _is_a_person_there():
        raise UnsafeOperation(
            f"nobody can be asked here: {printable(question)}",
            node=node,
            hint="Nothing was changed. Without a terminal, --yes has to say that it is meant.",
        )
    if not _agreed(question):
        raise UnsafeOperation("this was not confirmed", node=node, hint="Nothing was changed.")


def _is_a_person_there() -> bool:
    # The question goes to stderr, for stdout may be a file.
    return sys.stdin is not None and sys.stderr is not None and sys.stdin.isatty() and sys.stderr.isatty()


def _agreed(question: str) -> bool:
    click.echo(f"{printable(question)} [y/N] ", nl=False, err=True)
    # A Ctrl-C that comes right before the reading begins would not end it, so we look up from waiting now and then.
    while not select.select([sys.stdin], [], [], _LOOK_UP)[0]:
        pass
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):  # Ctrl-D
        click.echo(err=True)
    return answer.strip().lower() in ("y", "yes")
