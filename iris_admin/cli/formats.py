"""The formats for programs: JSON, JSON lines, CSV."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from iris_admin.json_values import to_json_text
from iris_admin.text import printable

#: What makes a spreadsheet take a cell for a formula; the wide ones do in some languages.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def write(output_format: str, document: Any, rows: Sequence[Mapping[str, Any]] | None = None) -> str:
    """A document in one of the formats.

    :param output_format: ``json``, ``jsonl`` or ``csv``.
    :param document: JSON values.
    :param rows: what has a line of its own in the last two; by default the document, or its elements.
    """
    if output_format == "json":
        return json_text(document, indent=2) + "\n"
    if rows is None:
        rows = document if isinstance(document, list) else [document]
    if output_format == "jsonl":
        return "".join(json_text(row) + "\n" for row in rows)
    return csv_text(rows)


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON that the encoding of stdout can hold."""
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower()
    return to_json_text(value, indent=indent, ascii_only=not encoding.startswith("utf"))


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV, with the names of the fields in the first line.

    A text that a spreadsheet would take for a formula gets an apostrophe in front. Control characters other than
    newlines and tabs are escaped; a field that has an inner structure is written as JSON.
    """
    import csv
    import io

    names = list(dict.fromkeys(name for row in rows for name in row))
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    writer.writerow(map(_cell, names))
    writer.writerows([_cell(row.get(name)) for name in names] for row in rows)
    return output.getvalue()


def _cell(value: Any) -> str | int | float:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return value
    text = value if isinstance(value, str) else json_text(value)
    if text.startswith(_FORMULA):
        text = "'" + text
    # A carriage return, which the csv module leaves without quotation marks, would begin a new row for many readers.
    return printable(text, keep="\n\t")
