"""The entry point of ``iris-admin``: reads the command line, runs the command, and turns its end into an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from iris_admin.cli.command import LazyGroup
from iris_admin.cli.session import Session
from iris_admin.cli.signals import heed_dropped_signals, interrupted, raise_terminated, signal

#: In the order of the help: what an operator needs first, first.
COMMANDS = (
    "ping",
    "nodes",
    "ports",
    "logs",
    "smoke",
    "restart",
    "stop",
    "system",
    "memory",
    "stats",
    "processes",
    "process",
    "ets",
    "gc",
    "mnesia",
    "offline",
    "presence",
    "user",
    "redeliver",
    "doctor",
    "triage",
    "bundle",
    "diff",
    "audit",
    "rpc",
    "eval",
    "completion",
)
PROGRAM = "iris-admin"
COMPLETE_VARIABLE = "_IRIS_ADMIN_COMPLETE"


class _Program(LazyGroup):
    def main(  # type: ignore[override]  # click's own has overloads for the type of the result
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **settings: Any
    ) -> Any:
        """Run the program, and exit."""
        if COMPLETE_VARIABLE in os.environ:
            return super().main(args, prog_name or PROGRAM, **settings)
        if args is not None:
            sys.exit(self._run(list(args), prog_name or PROGRAM))
        exit_code = None
        while True:
            try:
                # See cli/start.py.
                if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:
                    signal.signal(signal.SIGINT, signal.default_int_handler)
                heed_dropped_signals()
                if exit_code is None:
                    exit_code = self._run(sys.argv[1:], prog_name or PROGRAM)
                # What comes now comes too late.
                for number in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(number, signal.SIG_IGN)
                break
            except KeyboardInterrupt as error:
                # Between two steps of ours, e.g. while an error is being reported.
                exit_code = interrupted(error)
        # The end of the process, now: tearing the interpreter down would take as long as many a command, and would
        # wait for threads that still try to connect.
        if sys.stderr is not None:
            sys.stderr.flush()
        os._exit(exit_code)

    def _run(self, args: list[str], prog_name: str) -> int:
        previous = signal.getsignal(signal.SIGTERM)
        ctx = None
        exit_code = 0
        try:
            signal.signal(signal.SIGTERM, raise_terminated)
            try:
                ctx = self.make_context(prog_name, args)
                with ctx:
                    self.invoke(ctx)
            except click.exceptions.Exit as exit_request:
                exit_code = exit_request.exit_code
            if sys.stdout is not None:
                sys.stdout.flush()
        except BaseException as error:
            # Imported when it is needed: most commands succeed.
            from iris_admin.cli.failure import report

            exit_code = report(error, None if ctx is None else Session.of(ctx))
        finally:
            signal.signal(signal.SIGTERM, previous)
        return exit_code


def _show_version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from iris_admin.version import __version__

        click.echo(f"{PROGRAM} {__version__}")
        ctx.exit()


main = _Program(
    PROGRAM,
    names=COMMANDS,
    help="Look after a running Iris cluster: join it as a hidden Erlang node, ask, and leave nothing behind.\n\n"
    "Data goes to stdout, everything else to stderr.",
    epilog="These options may also stand behind the command. Exit codes: 0 done, 64 wrong command line, 65 wrong "
    "value, 67 no such user, 69 node not reached or check failed, 70 error in the called code or in iris-admin, 75 no "
    "answer in time, 77 not permitted, 78 wrong configuration, 130 Ctrl-C, 143 SIGTERM.",
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_show_version,
            help="Show the version.",
        )
    ],
)

if __name__ == "__main__":
    main()
