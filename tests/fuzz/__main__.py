"""Look for findings with atheris.

Usage: ``python -m tests.fuzz [TARGET …] [--seconds N] [--findings DIRECTORY]``. Each target runs in a process of its
own, one after the other; a line says how many inputs were tried, and the exit code is 1 if there were findings. Each is
a small file, with its traceback beside it: once it is mended, the file belongs into ``tests/fuzz/corpus/TARGET``.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz import CORPUS, TARGETS

#: What libFuzzer lets one input take: seconds, and the process: MiB.
SECONDS_FOR_ONE = 10
MOST_MEMORY = 1500
LONGEST_INPUT = 4096


def main() -> int:
    """Run the targets."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; by default all")
    parser.add_argument("--seconds", type=int, default=20, help="for each target (default: %(default)s)")
    parser.add_argument("--findings", type=Path, help="directory for findings; by default a new temporary one")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(f"there is no target {', '.join(sorted(unknown))}")
    if importlib.util.find_spec("atheris") is None:
        parser.error("atheris is not installed: pip install 'iris-admin[fuzz]'")
    if options.inside:
        _fuzz(options.targets[0], options.seconds, options.findings)
    findings = options.findings or Path(tempfile.mkdtemp(prefix="fuzz-findings-"))
    failed = [name for name in options.targets or TARGETS if not _run(name, options.seconds, findings / name)]
    return 1 if failed else 0


def _run(name: str, seconds: int, findings: Path) -> bool:
    """Run a target in another process, and tell what came of it."""
    findings.mkdir(parents=True, exist_ok=True)
    before = set(findings.iterdir())
    command = [sys.executable, "-m", "tests.fuzz", name, "--inside", "--seconds", str(seconds), "--findings", findings]
    # The codec in Python, for the way through it guides the search; the target "codec" compares it with the other.
    environment = os.environ | {"IRIS_ADMIN_CODEC": "pure"}
    start = time.monotonic()
    run = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, errors="replace", check=False)
    took = time.monotonic() - start
    tried = re.search(r"number_of_executed_units: *(\d+)", run.stderr)
    found = sorted(path for path in set(findings.iterdir()) - before if path.suffix != ".txt")
    print(f"{name}: {took:.0f} s, {int(tried[1]) if tried else 0:,} inputs, {len(found)} findings", flush=True)
    for path in found:
        print(f"  {path}")
    if run.returncode != 0 or tried is None:
        print(run.stderr[-3000:])
    return not found and run.returncode == 0 and tried is not None


def _fuzz(name: str, seconds: int, findings: Path) -> None:
    """Be libFuzzer. Does not return."""
    import atheris

    with atheris.instrument_imports(include=["iris_admin"]):
        from tests.fuzz.check import Findings, target

        module = target(name)
    keep = Findings(findings)

    def try_one(data: bytes) -> None:
        keep.try_input(module.run, data)

    with tempfile.TemporaryDirectory(prefix="fuzz-corpus-") as working:
        for number, seed in enumerate(module.seeds()):
            Path(working, f"seed-{number}").write_bytes(seed)
        arguments = [
            f"-max_total_time={seconds}",
            f"-timeout={SECONDS_FOR_ONE}",
            f"-report_slow_units={SECONDS_FOR_ONE}",
            f"-rss_limit_mb={MOST_MEMORY}",
            f"-max_len={LONGEST_INPUT}",
            f"-artifact_prefix={findings}/",
            "-print_final_stats=1",
            "-verbosity=1",
        ]
        seeds = [str(CORPUS / name)] if (CORPUS / name).is_dir() else []
        atheris.Setup([sys.argv[0], *arguments, working, *seeds], try_one)
        atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
