"""End every command by Ctrl-C or SIGTERM at random moments, and see that it ends well and leaves nothing half done.

Run it from the root of the project: ``python -m tests.signal_rounds --moments 20``
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import traceback
from pathlib import Path

from tests.support.demo import DemoCluster
from tests.support.signals import COMMANDS, Moment, Scene, check


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=20, help="for each command")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("commands", nargs="*", help="only those whose names begin so")
    options = parser.parse_args()
    failures = runs = signalled = 0
    slowest = 0.0
    with DemoCluster() as demo, tempfile.TemporaryDirectory() as directory:
        scene = Scene(demo, Path(directory))
        for command in COMMANDS:
            if options.commands and command[0] not in options.commands:
                continue
            choice = random.Random(f"{options.seed} {command}")
            for _ in range(options.moments):
                moment = Moment.draw(choice)
                runs += 1
                try:
                    ended = check(scene, command, moment)
                    signalled += ended.was_signalled
                    slowest = max(slowest, ended.seconds if ended.was_signalled else 0.0)
                except Exception:
                    failures += 1
                    sys.stdout.write(f"{' '.join(command)}, {moment}:\n{traceback.format_exc()}\n")
            sys.stdout.write(f"{' '.join(command)}: {options.moments} moments\n")
            sys.stdout.flush()
    sys.stdout.write(
        f"{runs} runs, {signalled} ended by their signal, the slowest within {slowest:.2f} s; {failures} failures\n"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
