"""Run every test of iris_admin, after installing whatever this machine lacks for that.

Usage: ``python3 tests/run_all.py [ARGUMENT …]``. The arguments go to tox; without any, all of its environments run
(style and types, the tests on real Erlang nodes, the documentation).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "examples"))

import setup_machine  # noqa: E402


def main() -> None:
    """Set the machine up, then become tox."""
    try:
        setup_machine.ensure_python()
        setup_machine.ensure_erlang()
        setup_machine.ensure_programs({"elixir": "elixir"})
        python = setup_machine.ensure_venv(ROOT / ".venv-tests", ["tox>=4.21"])
    except setup_machine.SetupError as error:
        setup_machine.give_up(error)
    os.chdir(ROOT)
    os.execv(python, [str(python), "-m", "tox", *(sys.argv[1:] or ["run"])])


if __name__ == "__main__":
    main()
