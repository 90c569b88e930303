"""The names of Iris's users: binaries, whatever a caller types."""

from __future__ import annotations

from iris_admin.errors import EncodeError
from iris_admin.terms import Atom, Term


def user_id(user: str | bytes) -> bytes:
    """A user's id as Iris stores it.

    Text becomes UTF-8. Bytes that a command line could not decode, which Python then holds as surrogates, become the
    same bytes again.

    :raises EncodeError: it is empty, or text that no UTF-8 can express.
    """
    try:
        encoded = user if isinstance(user, bytes) else user.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise EncodeError(f"the user id {user!r} cannot be written in UTF-8: {error.reason}") from None
    if not encoded:
        raise EncodeError("the user id is empty", hint="Nothing was asked: no user of Iris has an empty id.")
    return encoded


def user_bounds(prefix: str | bytes = b"", after: str | bytes | None = None) -> list[Term]:
    """Guards of a match specification for the users of a page, ``$1`` being the user.

    :param prefix: only users whose names begin so.
    :param after: only users behind this one, in the order of their bytes.
    """
    user = Atom("$1")
    guards: list[Term] = []
    if after is not None:
        guards.append((Atom(">"), user, user_id(after)))
    if prefix:
        first = user_id(prefix)
        guards.append((Atom(">="), user, first))
        # Behind all names with the prefix is the prefix with its last byte increased; 255 has none behind it.
        stem = first.rstrip(b"\xff")
        if stem:
            guards.append((Atom("<"), user, stem[:-1] + bytes([stem[-1] + 1])))
    return guards
