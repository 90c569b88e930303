"""Runs ``iris-admin`` on a terminal, as a person would."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import termios
from collections.abc import Iterator

from tests.cli.support import SCRIPT, clean_environment


class Terminal:
    """A command on a terminal of its own.

    :ivar seen: what it has shown.
    """

    def __init__(self, *words: str, environment: dict[str, str]) -> None:
        self.descriptor, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [SCRIPT, *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=clean_environment(environment),
            start_new_session=True,
            # The terminal becomes that of the new session, so that Ctrl-C reaches it.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        self.seen = b""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.descriptor)

    def wait_for(self, text: bytes) -> None:
        """Wait until a text comes."""
        for piece in self._pieces():
            self.seen += piece
            if text in self.seen:
                return
        raise AssertionError(f"{text!r} does not come: {self.seen!r}")

    def answer(self, text: str) -> None:
        """Type something."""
        os.write(self.descriptor, text.encode())

    def end(self) -> int:
        """Wait for the end.

        :returns: its exit code.
        """
        for piece in self._pieces():
            self.seen += piece
        return self.process.wait(60)

    def _pieces(self) -> Iterator[bytes]:
        while select.select([self.descriptor], [], [], 60)[0]:
            try:
                piece = os.read(self.descriptor, 65536)
            except OSError:  # nobody has the terminal open any more
                return
            if not piece:
                return
            yield piece
