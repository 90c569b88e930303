"""Where iris_admin keeps files for its user: backups, and the record of what was changed."""

from __future__ import annotations

import os
from pathlib import Path

from iris_admin.errors import IrisAdminError


def state_path(name: str, variable: str, failure: type[IrisAdminError]) -> Path:
    """The place of one of these: what the variable says, else ``iris_admin/<name>`` in the user's state directory.

    That is ``$XDG_STATE_HOME`` or ``~/.local/state``.

    :param failure: raised where there is no home directory.
    """
    chosen = os.environ.get(variable)
    if chosen:
        return Path(chosen).absolute()
    state = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state):  # such a value is to be ignored, says the XDG specification
        try:
            state = str(Path.home() / ".local" / "state")
        except RuntimeError:
            raise failure(f"there is no home directory to keep {name} in", hint=f"Set {variable}.") from None
    return Path(state) / "iris_admin" / name


def sync_directory(directory: Path) -> None:
    """Have the disc hold a directory's entries: a new file in it is there after a crash only then."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
