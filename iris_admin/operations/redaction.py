"""Takes out of data what nobody but the operator may see: cookies, tokens, passwords, and people's messages."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

REDACTED = "[redacted]"
#: Names of settings whose values are secrets.
_SECRET = re.compile(
    r"secret|passw|token|cookie|credential|private|api_?key|jwt|auth_key|encryption|\bkey\b|_key$", re.I
)
#: Secrets that are known by their form, wherever they stand.
_TOKENS = re.compile(
    r"eyJ[\w-]{5,}\.[\w-]+\.[\w-]*"  # a JSON web token
    r"|(?i:(?<=bearer )[\w.~+/=-]+)"
    r"|(?s:-----BEGIN [A-Z ]+-----.*?-----END [A-Z ]+-----)"
)
#: Binaries as Erlang prints them; in a log they are messages, or states with messages in them.
_BINARY = re.compile(r'<<(?:"(?:[^"\\]|\\.)*"(?:/utf8)?|[\d,\s]+(?:\.\.\.)?)(?:\s*(?:\.\.\.|,\s*\.\.\.))?>>', re.S)


def is_secret(name: object) -> bool:
    """Whether the value of a setting of this name is a secret."""
    return isinstance(name, str | bytes) and bool(
        _SECRET.search(name.decode("utf-8", "replace") if isinstance(name, bytes) else name)
    )


def redact(value: Any, secrets: Iterable[str] = ()) -> Any:
    """A JSON value without secrets.

    :param value: what is behind a name that speaks of a secret is taken out, as a field or as the second of a pair; in
        texts, tokens, keys and the given secrets.
    :param secrets: texts that must not be in it, such as the cookie.
    """
    known = tuple(secret for secret in secrets if secret)
    return _redact(value, known)


def _redact(value: Any, secrets: tuple[str, ...]) -> Any:
    match value:
        case str():
            return _clean(value, secrets)
        case dict():
            return {
                _clean(name, secrets): REDACTED if is_secret(name) and _is_value(item) else _redact(item, secrets)
                for name, item in value.items()
            }
        case [str() as name, item] if is_secret(name) and _is_value(item):
            return [name, REDACTED]
        case list():
            return [_redact(item, secrets) for item in value]
    return value


def without_payloads(text: str) -> str:
    """A text of a log in which no binary is left: they can be messages of people, and names of users."""
    return _BINARY.sub("<<…>>", text)


def _is_value(item: Any) -> bool:
    return item is not None and not isinstance(item, bool | int | float)


def _clean(text: str, secrets: tuple[str, ...]) -> str:
    text = _TOKENS.sub(REDACTED, text)
    for secret in secrets:
        text = text.replace(secret, REDACTED)
    return text
