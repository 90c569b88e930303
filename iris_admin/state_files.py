"""Where iris_admin keeps files for its user: backups, and the record of what was changed."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path

from iris_admin.errors import IrisAdminError

#: What file systems without hard links say.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


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


def scratch_name(target: Path) -> Path:
    """Where to write what is to become ``target`` by :func:`publish`: a hidden file beside it that nobody else uses."""
    return target.with_name(f".{target.name}.{secrets.token_hex(6)}.part")


def refuse_existing(path: Path) -> None:
    """See that a new file can have this name, before anything is written.

    :raises FileExistsError: there is one.
    """
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))


def create_private(path: Path) -> int:
    """Make a new file that only its owner can read; gives a descriptor to write and read it.

    :raises OSError: it exists, or cannot be made.
    """
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def publish(scratch: Path, target: Path) -> None:
    """Give a finished file its name, and have the disc hold that. Nobody ever sees a half file under it.

    :raises FileExistsError: there is one of that name; it is left alone, as ``scratch`` is.
    :raises OSError: the directory cannot be written to.
    """
    try:
        # Unlike a rename, this does not replace what is there.
        os.link(scratch, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        refuse_existing(target)
        scratch.rename(target)
    else:
        scratch.unlink()
    sync_directory(target.parent)
