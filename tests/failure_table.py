"""Provoke every failure of ``tests/support/failures.py``, and then every fault of the wire at every step of a session
(``tests/support/faults.py``), and print which error comes of each, and how soon.

Run it from the root of the project: ``python -m tests.failure_table``
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from tests.support.certificates import Certificates
from tests.support.erlang import Epmd, NodeFactory
from tests.support.failures import FAILURES, Failure, Scene, provoke
from tests.support.faults import CASES, NET_TICKTIME, NODE_OPTIONS, Case, Stage


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


def fault_table(cases: Iterable[Case], stage: Stage) -> str:
    """A row for each step, a column for each fault: the error, or ``ok``, and the seconds."""
    cells: dict[str, dict[str, str]] = {}
    for case in cases:
        outcome = stage.play(case)
        name = "ok" if outcome.kind is None else outcome.kind.__name__
        if outcome.kind not in case.outcomes or outcome.wrong:
            name += f" (and not {case.error.__name__ if case.error else 'ok'})"
        if outcome.remote_ended_after is None:
            name += " (something stays on the node)"
        cells.setdefault(case.step.what, {})[case.name] = f"{name} {outcome.seconds:.2f}"
    names = list(dict.fromkeys(name for row in cells.values() for name in row))
    rows = [["", *names], ["---"] * (len(names) + 1)]
    rows += [[what, *(row.get(name, "") for name in names)] for what, row in cells.items()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    with ExitStack() as stack:
        epmd = Epmd()
        stack.callback(epmd.stop)
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        nodes = NodeFactory(epmd, lambda: Path(tempfile.mkdtemp(dir=directory)))
        stack.callback(nodes.stop_all)
        certificates = Certificates.make(Path(tempfile.mkdtemp(dir=directory)))
        scene = Scene(nodes, stack.enter_context(ExitStack()), certificates)
        sys.stdout.write(table(FAILURES, scene) + "\n\n")
        sys.stdout.write(fault_table(CASES, Stage(nodes(net_ticktime=NET_TICKTIME, flags=NODE_OPTIONS))) + "\n")


if __name__ == "__main__":
    main()
