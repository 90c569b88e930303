"""The Erlang nodes that are measured: started by whoever measures, with an EPMD of their own, and ended with it."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.erlang import Epmd, NodeFactory

SOURCES = Path(__file__).parent / "erl"


@contextmanager
def erlang_nodes() -> Iterator[NodeFactory]:
    """What starts nodes on 127.0.0.1; all of them are ended at the end.

    Modules of ``bench/erl`` are for nodes started with ``flags=["-pa", str(compiled(…))]``.
    """
    with tempfile.TemporaryDirectory(prefix="iris-admin-bench-") as directory:
        epmd = Epmd()
        factory = NodeFactory(epmd, lambda: Path(tempfile.mkdtemp(dir=directory)))
        try:
            yield factory
        finally:
            factory.stop_all()
            epmd.stop()


def compiled(module: str, directory: str | Path) -> Path:
    """Compile a module of ``bench/erl``.

    :param directory: an existing one, which gets the result.
    :return: that directory.
    """
    subprocess.run(["erlc", "-o", str(directory), str(SOURCES / f"{module}.erl")], check=True)
    return Path(directory)
