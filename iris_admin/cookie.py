"""The cookie: the secret that the nodes of a cluster share.

A cookie is never logged and never shown; a failed connection shows its :func:`fingerprint`.
"""

from __future__ import annotations

import os
import stat

from iris_admin.errors import ConfigError
from iris_admin.records import record

COOKIE_VARIABLE = "IRIS_ADMIN_COOKIE"
COOKIE_FILE_VARIABLE = "IRIS_ADMIN_COOKIE_FILE"

#: Longer ones are refused by the VM, since a cookie is an atom.
_MAX_LENGTH = 255


@record
class Cookie:
    """A cookie and where it came from.

    :param value: the secret; left out of the repr.
    :param source: words for a person: the file or variable it was read from.
    """

    value: str
    source: str

    def __repr__(self) -> str:
        return f"Cookie(source={self.source!r})"

    @property
    def fingerprint(self) -> str:
        """A hash to compare cookies by: what ``base64:encode(erlang:md5(atom_to_list(erlang:get_cookie())))`` shows."""
        # Shown when something is wrong, so neither is imported before.
        from base64 import b64encode
        from hashlib import md5

        return b64encode(md5(self.value.encode("latin-1"), usedforsecurity=False).digest()).decode()


def find_cookie(cookie: str | None = None, cookie_file: str | os.PathLike[str] | None = None) -> Cookie:
    """Find the cookie: argument, file, ``IRIS_ADMIN_COOKIE``, ``IRIS_ADMIN_COOKIE_FILE``, then the VM's own places.

    Those are ``~/.erlang.cookie`` and ``$XDG_CONFIG_HOME/erlang/.erlang.cookie`` (OTP's module ``auth``).

    :param cookie: the secret itself.
    :param cookie_file: a file that holds it.
    :raises ConfigError: there is none, or the file is unusable.
    """
    if cookie is not None:
        return _checked(cookie, "the argument")
    if cookie_file is not None:
        return read_cookie_file(cookie_file)
    if value := os.environ.get(COOKIE_VARIABLE):
        return _checked(value, f"the variable {COOKIE_VARIABLE}")
    if file_name := os.environ.get(COOKIE_FILE_VARIABLE):
        return read_cookie_file(file_name)
    home = os.path.expanduser("~")
    config_home = os.environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    candidates = [os.path.join(home, ".erlang.cookie"), os.path.join(config_home, "erlang", ".erlang.cookie")]
    for candidate in candidates:
        if os.path.exists(candidate):
            return read_cookie_file(candidate)
    raise ConfigError(
        "no cookie was given, and none was found in " + " or ".join(candidates),
        hint=f"Use --cookie-file FILE, or set {COOKIE_FILE_VARIABLE} or {COOKIE_VARIABLE}.",
    )


def read_cookie_file(file: str | os.PathLike[str]) -> Cookie:
    """Read a cookie file as the VM does.

    :raises ConfigError: it cannot be read, is empty, or others than its owner can read it.
    """
    path = os.path.expanduser(file)
    try:
        mode = os.stat(path).st_mode
        with open(path, "rb") as opened:
            value = opened.read().decode("latin-1")
    except OSError as error:
        raise ConfigError(f"the cookie file {path} cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(mode) and not stat.S_ISFIFO(mode):
        raise ConfigError(f"the cookie file {path} is no file")
    if stat.S_ISREG(mode) and mode & 0o077:
        raise ConfigError(
            f"the cookie file {path} is open to others (mode {mode & 0o777:o}); a node refuses it as well",
            hint=f"chmod 400 {path}",
        )
    # What the VM takes from it (auth:check_cookie/2): the first line, blanks included, if nothing else follows.
    line, _, rest = value.replace("\r", "\n").partition("\n")
    if not (line.isascii() and line.isprintable()) or rest.strip("\n "):
        raise ConfigError(f"the cookie file {path} holds more than one line of ASCII; a node refuses it as well")
    return _checked(line, path)


def _checked(value: str, source: str) -> Cookie:
    if not value:
        raise ConfigError(f"the cookie in {source} is empty")
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        raise ConfigError(f"the cookie in {source} has characters beyond Latin-1, which no node accepts") from None
    if len(value) > _MAX_LENGTH:
        raise ConfigError(f"the cookie in {source} is longer than {_MAX_LENGTH} characters, which no node accepts")
    return Cookie(value, source)
