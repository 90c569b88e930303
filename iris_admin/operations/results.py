"""What operations return: records that can become JSON, and tables of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, overload

from iris_admin.errors import IrisAdminError
from iris_admin.json_values import to_json_value
from iris_admin.text import printable

if TYPE_CHECKING:
    import pandas

#: A short text shows this much of a value: characters of a text, elements of a collection.
_BRIEF = 60
_BRIEF_ELEMENTS = 5
#: Rows of a table that a notebook shows; the table says how many there are.
_SHOWN_ROWS = 200
#: Containers within containers that are searched for results.
_DEEPEST = 20


class Result:
    """Base of the results, which are :func:`records <iris_admin.records.record>`, or dataclasses like them."""

    __slots__ = ()

    #: Names of fields that a result carries along and does not show.
    _CARRIED: ClassVar[frozenset[str]] = frozenset()

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, as values that :mod:`json` takes: see :func:`plain`."""
        return {name: plain(value) for name, value in _items(self)}

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={_brief(value)}" for name, value in _items(self))
        return f"{type(self).__name__}({inside})"

    def _repr_html_(self) -> str:
        tables, lines = [], []
        for name, value in _items(self):
            if isinstance(value, Table):
                tables.append(f"<h4>{_escape(name)}</h4>{value._repr_html_()}")
            else:
                lines.append(f"<tr><th>{_escape(name)}</th>{_cell(plain(value))}</tr>")
        return f"<table>{''.join(lines)}</table>{''.join(tables)}"


R = TypeVar("R", bound=Result)


class Table(Sequence[R], Generic[R]):
    """Rows of one kind, in order. It cannot be changed.

    :param row_type: the class of the rows; its fields are the columns.
    :param rows: the rows.
    """

    __slots__ = ("row_type", "rows")

    def __init__(self, row_type: type[R], rows: Iterable[R] = ()) -> None:
        self.row_type = row_type
        self.rows: tuple[R, ...] = tuple(rows)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        names: tuple[str, ...] = self.row_type.__match_args__  # type: ignore[attr-defined]
        return names

    def to_dicts(self) -> list[dict[str, Any]]:
        """Each row as :meth:`Result.to_dict` gives it."""
        return [row.to_dict() for row in self.rows]

    def to_pandas(self) -> pandas.DataFrame:
        """The rows as a pandas data frame.

        :raises ImportError: pandas is not installed (``pip install 'iris-admin[notebook]'``).
        """
        import pandas

        return pandas.DataFrame(self.to_dicts(), columns=list(self.columns))

    @overload
    def __getitem__(self, index: int) -> R: ...

    @overload
    def __getitem__(self, index: slice) -> Table[R]: ...

    def __getitem__(self, index: int | slice) -> R | Table[R]:
        return Table(self.row_type, self.rows[index]) if isinstance(index, slice) else self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Table):
            return NotImplemented
        return (self.row_type, self.rows) == (other.row_type, other.rows)

    def __hash__(self) -> int:
        return hash((self.row_type, self.rows))

    def __repr__(self) -> str:
        return f"<Table of {len(self)} × {self.row_type.__name__}: {', '.join(self.columns)}>"

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{_escape(name)}</th>" for name in self.columns)
        body = "".join(
            f"<tr>{''.join(_cell(value) for value in row.to_dict().values())}</tr>" for row in self.rows[:_SHOWN_ROWS]
        )
        rest = len(self) - _SHOWN_ROWS
        more = f"<p>… and {rest} more rows</p>" if rest > 0 else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def plain(value: object) -> Any:
    """A value as what :mod:`json` takes.

    Results, tables, errors and paths become what one expects, everything else what
    :func:`iris_admin.json_values.to_json_value` says: binaries become their text, or Erlang syntax when they are no
    UTF-8; pids and references Erlang syntax.
    """
    return _plain(value, 0)


def _plain(value: object, depth: int) -> Any:
    match value:
        case Enum():
            return _plain(value.value, depth)
        case Result():
            return value.to_dict()
        case Table():
            return value.to_dicts()
        case IrisAdminError():
            return {"error": type(value).__name__, "message": str(value), "node": value.node, "hint": value.hint}
        case PathLike():
            return str(value)
        # Beyond that depth there are no results, only terms.
        case dict() if depth < _DEEPEST:
            names = to_json_value(dict.fromkeys(value))
            return {name: _plain(item, depth + 1) for name, item in zip(names, value.values(), strict=True)}
        case list() | tuple() if depth < _DEEPEST:
            return [_plain(item, depth + 1) for item in value]
    return to_json_value(value)


def _items(result: Any) -> list[tuple[str, object]]:
    return [(name, getattr(result, name)) for name in result.__match_args__ if name not in result._CARRIED]


def _brief(value: object) -> str:
    """A short repr that says when it leaves something out."""
    if isinstance(value, Table):
        return f"<{len(value)} rows>"
    if isinstance(value, str | bytes) and len(value) > _BRIEF:
        unit = "bytes" if isinstance(value, bytes) else "characters"
        return f"{value[:_BRIEF]!r}… ({len(value)} {unit})"
    if isinstance(value, list | tuple) and len(value) > _BRIEF_ELEMENTS:
        inside = ", ".join(_brief(item) for item in value[:_BRIEF_ELEMENTS])
        return f"({inside}, … {len(value)} in all)"
    if isinstance(value, Enum):
        return repr(value.value)
    return repr(str(value)) if isinstance(value, str) else repr(value)


def _cell(value: object) -> str:
    """A value of :func:`plain` as a cell of an HTML table."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f'<td style="text-align: right">{value}</td>'
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    text = "" if value is None else str(value)
    lines = printable(text, keep="\n").split("\n")
    return f"<td>{'<br>'.join(_escape(line) for line in lines)}</td>"


def _escape(text: str) -> str:
    from html import escape

    return escape(text)
