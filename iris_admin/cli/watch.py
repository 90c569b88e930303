"""Commands that look again and again, and show what changed between two looks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from iris_admin.cli.session import Session

F = TypeVar("F", bound=Callable[..., Any])

#: Lines between two headers.
_PAGE = 20


def watch_options(command: F) -> F:
    """Give a command the options ``--watch``, ``--interval`` and ``--times``."""
    for option in (
        click.option(
            "--times",
            type=click.IntRange(min=1),
            metavar="N",
            help="With --watch: stop after so many lines. By default it goes on until Ctrl-C.",
        ),
        click.option(
            "--interval",
            type=click.FloatRange(0.1, 3600),
            default=2.0,
            show_default=True,
            metavar="S",
            help="With --watch: seconds between two looks.",
        ),
        click.option("--watch", is_flag=True, help="Look again and again, and show the change per second."),
    ):
        command = option(command)
    return command


def refuse_without_end(session: Session, times: int | None) -> None:
    """Refuse formats that need an end, where there is none.

    :raises click.UsageError: it is one of those.
    """
    if times is None and session.format in ("json", "csv"):
        raise click.UsageError("--watch has no end, so it writes a table or -o jsonl; or say --times N.")


def watch(
    session: Session,
    look: Callable[[Any], Any],
    header: Sequence[str],
    cells: Callable[[dict[str, Any]], Sequence[Any]],
    *,
    times: int | None,
    notes: Callable[[dict[str, Any]], Sequence[str]] = lambda _document: (),
) -> None:
    """Look again and again, and write a line for each look, or an object where that is asked for.

    :param look: is given the last result, or None, and gives the next one.
    :param header: of the columns of the table.
    :param cells: gives a line's cells.
    :param times: how often; None for ever.
    :param notes: gives lines that follow a line, e.g. of what is wrong.
    """
    from iris_admin.cli.layout import cell

    widths = [max(len(title), 9) for title in header]

    def line(values: Sequence[Any]) -> str:
        return "  ".join(cell(value).rjust(width) for value, width in zip(values, widths, strict=True)).rstrip()

    result = None
    collected: list[dict[str, Any]] = []
    number = 0
    while times is None or number < times:
        result = look(result)
        document = result.to_dict()
        if session.format in ("json", "csv"):
            collected.append(document)
        else:
            lines = [line(header)] if number % _PAGE == 0 else []
            session.show(document, text=lambda: [*lines, line(cells(document)), *notes(document)])  # noqa: B023
            sys.stdout.flush()
        number += 1
    if collected:
        session.show(collected, text=lambda: ())


def per_second(value: float | None) -> str | None:
    """A change per second of a number, with its sign: ``+12.5``."""
    if value is None:
        return None
    if round(value, 1) == 0:
        return "0"
    return f"{value:+.0f}" if abs(value) >= 10 else f"{value:+.1f}"


def size_per_second(value: float | None) -> str | None:
    """A change per second of a number of bytes, with its sign: ``+1.5 MiB``."""
    from iris_admin.cli.layout import size

    if value is None:
        return None
    number = round(value)
    return size(0) if number == 0 else f"{'+' if number > 0 else '-'}{size(abs(number))}"
