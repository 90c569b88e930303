"""Tries one input, and says what is wrong with the outcome."""

from __future__ import annotations

import hashlib
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import FrameType, ModuleType

#: No input of a fuzzer's size needs a tenth of it; in seconds, on a busy machine.
MOST_SECONDS = 20


class TooSlow(BaseException):
    """An input took too long. Not an Exception, so that nothing on the way takes it for one of its own."""


def target(name: str) -> ModuleType:
    """The module of a target."""
    return import_module(f"tests.fuzz.{name}")


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Raise :class:`TooSlow` when the block takes longer."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TooSlow

    previous = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


class Findings:
    """Keeps an input for each place where something else was raised than what is documented.

    :param directory: where to.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._known: set[object] = set()

    def try_input(self, run: Callable[[bytes], None], data: bytes) -> None:
        """Try an input."""
        try:
            run(data)
        except Exception as error:
            self._keep(error, data)

    def _keep(self, error: Exception, data: bytes) -> None:
        frames = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
        kind = (type(error), frames[0:1], frames[-1:]) if isinstance(error, RecursionError) else (type(error), *frames)
        key = repr(kind)
        if key in self._known or len(self._known) > 50:
            return
        self._known.add(key)
        stem = self.directory / f"finding-{hashlib.sha1(data).hexdigest()[:12]}"
        stem.write_bytes(data)
        lines = traceback.format_exception(error)
        text = "".join(lines if len(lines) < 40 else [*lines[:15], "…\n", *lines[-15:]])
        stem.with_suffix(".txt").write_text(text, errors="backslashreplace")
