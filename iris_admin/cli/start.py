"""The first thing that ``iris-admin`` runs: Ctrl-C ends it without a traceback while its modules are still loaded."""

from __future__ import annotations

# What the module signal is made of: that one takes milliseconds, in which Ctrl-C would show a traceback.
import _signal  # type: ignore[import-not-found]
import gc


def main() -> None:
    """Run the program, and exit."""
    # Python raises KeyboardInterrupt wherever it is, and nobody would catch it here. Where the signal is ignored, as
    # for a job in the background of a script, it stays so.
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    # Modules are all that a short command makes, and none of it can be collected. A long one still gets its turn.
    gc.set_threshold(100_000)
    from iris_admin.cli.main import main as run

    run()
