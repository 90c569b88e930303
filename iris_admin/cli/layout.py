"""Text for people: aligned columns and units. Nothing in it makes a terminal do anything but show it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from iris_admin.text import count as count  # a part of this module, for those who lay out
from iris_admin.text import printable

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def size(number: int) -> str:
    """A number of bytes, to three digits: ``1.23 MiB``."""
    value, unit = float(number), "B"
    for unit_above in _UNITS:
        if abs(value) < 999.5:
            break
        value, unit = value / 1024, unit_above
    return f"{number} B" if unit == "B" else f"{value:.3g} {unit}"


def duration(seconds: float) -> str:
    """A length of time, in its two largest units: ``3 d 4 h``."""
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    rest = int(seconds)
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if rest >= length or parts:
            parts.append(f"{rest // length} {unit}")
            rest %= length
    return " ".join(parts[:2])


def columns(rows: Iterable[Sequence[Any]], header: Sequence[str] = ()) -> list[str]:
    """Lines of aligned columns; numbers stand to the right.

    :param rows: cells; each has its text by :func:`cell`.
    :param header: the first line, if there is to be one.
    """
    lines = [list(row) for row in rows]
    texts = [[printable(text) for text in header]] if header else []
    texts += [[cell(value) for value in row] for row in lines]
    count = max(map(len, texts), default=0)
    widths = [max(display_width(row[i]) for row in texts if i < len(row)) for i in range(count)]
    right = [_are_numbers([row[i] for row in lines if i < len(row)]) for i in range(count)]
    return ["  ".join(_padded(text, widths[i], right[i]) for i, text in enumerate(row)).rstrip() for row in texts]


def cell(value: Any) -> str:
    """A value in a table."""
    if isinstance(value, str):  # nearly always
        return printable(value)
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(cell(element) for element in value) or "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{printable(str(key))}: {cell(item)}" for key, item in value.items()) or "-"
    return printable(str(value))


def _are_numbers(values: Sequence[Any]) -> bool:
    present = [value for value in values if value is not None]
    return bool(present) and all(
        isinstance(value, Number | int | float) and not isinstance(value, bool) for value in present
    )


class Number(str):
    """The text of a number with its unit, which stands to the right in a column."""


def _padded(text: str, width: int, right: bool) -> str:
    space = " " * (width - display_width(text))
    return space + text if right else text + space


def display_width(text: str) -> int:
    """Columns that a text takes in a terminal."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def fields(pairs: Iterable[tuple[str, Any]]) -> list[str]:
    """A line for each name and its value; None says nothing and gets none."""
    return columns([(name, _Left(cell(value))) for name, value in pairs if value is not None])


class _Left(str):
    """A cell of a column of different things, where a number has no reason to stand to the right."""


def table(rows: Iterable[Mapping[str, Any]], *names: str) -> list[str]:
    """Objects as a table, after an empty line; nothing at all where there are none.

    :param names: the fields to show; by default all. One that is None in every row is left out.
    """
    shown = list(rows)
    known = names or tuple(dict.fromkeys(name for row in shown for name in row))
    used = [name for name in known if any(row.get(name) is not None for row in shown)]
    if not used:
        return []
    cells = [[human(name, row.get(name)) for name in used] for row in shown]
    return ["", *columns(cells, [title(name).upper() for name in used])]


def title(name: str) -> str:
    """The name of a field for people: without its unit, which the value shows."""
    for suffix in ("_bytes", "_seconds", "_ms"):
        name = name.removesuffix(suffix)
    return name.replace("_", " ")


def human(name: str, value: Any) -> Any:
    """The value of a field for people, in the unit that the field has."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if name in ("bytes", "size") or name.endswith("_bytes"):
        return Number(size(int(value)))
    if name in ("seconds", "age", "uptime") or name.endswith("_seconds"):
        return Number(duration(value))
    return Number(duration(value / 1000)) if name.endswith("_ms") else value


def moment(milliseconds: int | None) -> str | None:
    """A time in milliseconds since the epoch, as ISO 8601 has it, in UTC."""
    if milliseconds is None:
        return None
    from datetime import UTC, datetime, timedelta

    try:
        time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return f"{milliseconds} ms since 1970"
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
