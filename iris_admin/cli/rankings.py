"""Options that rankings share."""

from __future__ import annotations

import click

from iris_admin.operations.processes import CRITERIA, MAX_COUNT, WITHIN

by_option = click.option(
    "--by",
    type=click.Choice(CRITERIA),
    default=CRITERIA[0],
    show_default=True,
    help="What the processes are ranked by.",
)
count_option = click.option(
    "-n",
    "--count",
    type=click.IntRange(1, MAX_COUNT),
    default=10,
    show_default=True,
    help="How many to show.",
)
within_option = click.option(
    "--within",
    type=click.FloatRange(0, min_open=True),
    default=WITHIN,
    show_default=True,
    metavar="S",
    help="How long the node may take for the ranking, in seconds.",
)
