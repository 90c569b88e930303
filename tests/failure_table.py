"""Provoke every failure of ``tests/support/failures.py`` and print which error comes of it, and how soon.

Run it from the root of the project: ``python -m tests.failure_table``
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from tests.support.erlang import Epmd, NodeFactory
from tests.support.failures import FAILURES, Failure, Scene, provoke


def table(failures: Iterable[Failure], scene: Scene) -> str:
    """A row for each failure: what was wrong, the error, and its seconds."""
    rows = [("case", "error", "seconds")]
    for failure in failures:
        error, seconds = provoke(failure, scene)
        name = type(error).__name__ if error is not None else "none"
        if not isinstance(error, failure.error):
            name += f" (and not {failure.error.__name__})"
        rows.append((failure.what, name, f"{seconds:.2f}"))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(f"{what:{widths[0]}}  {error:{widths[1]}}  {time:>{widths[2]}}" for what, error, time in rows)


def main() -> None:
    with ExitStack() as stack:
        epmd = Epmd()
        stack.callback(epmd.stop)
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        nodes = NodeFactory(epmd, lambda: Path(tempfile.mkdtemp(dir=directory)))
        stack.callback(nodes.stop_all)
        scene = Scene(nodes, stack.enter_context(ExitStack()))
        sys.stdout.write(table(FAILURES, scene) + "\n")


if __name__ == "__main__":
    main()
