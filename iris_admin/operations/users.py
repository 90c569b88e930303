"""The names of Iris's users: binaries, whatever a caller types."""

from __future__ import annotations

from iris_admin.errors import EncodeError


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
