"""Erlang terms and results as JSON: what ``-o json`` prints.

======================================  =====================================================================
Erlang                                  JSON
======================================  =====================================================================
``true``, ``false``                     ``true``, ``false``
any other atom                          its name, as a string: ``undefined`` is ``"undefined"``
integer, float                          number; integers of any size are written in full
binary                                  its text where it is UTF-8, else Erlang syntax: ``"<<255,0>>"``
list, tuple                             array; a charlist is an array of integers, as it is a list of integers
map                                     object; the keys are written as below
anything else (pid, reference, fun, …)  Erlang syntax, as a string: ``"<0.123.0>"``
======================================  =====================================================================

A key that is an atom or a binary in UTF-8 becomes its text, any other Erlang syntax. Where two keys of a map
would become the same text (``ok`` and ``<<"ok">>``), all keys of that map are written in Erlang syntax.
What lies deeper than :data:`MAX_DEPTH` levels is written in Erlang syntax, as a string.

JSON has fewer kinds of values than Erlang, so this cannot be turned back; for that there is
:func:`iris_admin.format_term`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from iris_admin.terms import Map, Term
from iris_admin.text import binary_text

#: Levels of nesting that are shown as JSON; parsers give up somewhere beyond.
MAX_DEPTH = 100


def to_json_value(value: Any, *, node: str | None = None) -> Any:
    """Turn a term, or a result's ``to_dict()`` with terms in it, into what :func:`json.dumps` takes.

    :param value: besides terms, ``str`` and ``None`` stay what they are.
    :param node: the node that the term comes from, so that its own pids are written ``<0.123.0>``.
    """
    return _convert(value, node, 0)


def to_json_text(value: Any, *, indent: int | None = None, ascii_only: bool = False) -> str:
    """Write a JSON document that a terminal cannot take for commands.

    :param value: as from :func:`to_json_value`.
    :param indent: columns of a level; None for everything on one line.
    :param ascii_only: whether to escape everything beyond ASCII.
    """
    import json

    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only, allow_nan=False)
    if ascii_only:
        return text
    # json.dumps leaves control characters above 127 and those that turn the direction of text; they only occur
    # within strings, where an escape means the same.
    lines = text.split("\n")
    return "\n".join(
        line if line.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)
        for line in lines
    )


def _convert(value: Any, node: str | None, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int | float):
        return value
    if isinstance(value, bytes | bytearray):
        return binary_text(bytes(value))
    if depth == MAX_DEPTH:
        return _erlang(value, node)
    if isinstance(value, list | tuple):
        return [_convert(element, node, depth + 1) for element in value]
    if isinstance(value, dict | Map):
        keys = _keys(value.keys(), node)
        return {key: _convert(item, node, depth + 1) for key, item in zip(keys, value.values(), strict=True)}
    return _erlang(value, node)


def _keys(keys: Iterable[Term], node: str | None) -> list[str]:
    names = [_key(key, node) for key in keys]
    if len(set(names)) == len(names):
        return names
    return [_erlang(key, node) for key in keys]


def _key(key: Term, node: str | None) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, str):
        return str(key)
    return binary_text(key) if isinstance(key, bytes) else _erlang(key, node)


def _erlang(term: Term, node: str | None) -> str:
    from iris_admin.syntax import format_term

    return format_term(term, width=None, node=node)
