"""What was measured, as rows of one table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

_HEAD = ("", "ours", "BEAM", "peers", "ratio", "target", "")


@dataclass(frozen=True)
class Row:
    """One line of the table.

    :param name: what was measured.
    :param ours: our figure, with its unit.
    :param beam: that of the Erlang node which does the same; empty if there is none to compare with.
    :param peers: those of others that are installed, each with its name; or of whatever else is worth seeing beside.
    :param ratio: what is held against the target; the name says of what, unless it is ours to the BEAM's. None if
        nothing could be measured.
    :param target: None for a row that is for information only.
    :param at_most: whether the target is the most that the ratio may be, or the least.
    """

    name: str
    ours: str
    beam: str
    peers: str
    ratio: float | None
    target: float | None
    at_most: bool

    @property
    def passed(self) -> bool:
        """Whether the target was met. What could not be measured has not met it."""
        if self.target is None:
            return True
        if self.ratio is None:
            return False
        return self.ratio <= self.target if self.at_most else self.ratio >= self.target


def table(sections: Mapping[str, Sequence[Row]]) -> str:
    """The text of the table.

    :param sections: the title of each section, and its rows.
    """
    lines = [(title, [_cells(row) for row in rows]) for title, rows in sections.items()]
    widths = [
        max(map(len, column)) for column in zip(_HEAD, *(cells for _, each in lines for cells in each), strict=True)
    ]
    printed = [_line(_HEAD, widths)]
    for title, cells in lines:
        printed += ["", title, *(_line(each, widths) for each in cells)]
    return "\n".join(printed)


def missed(rows: Iterable[Row]) -> list[Row]:
    """Those that have not met their targets."""
    return [row for row in rows if not row.passed]


def _cells(row: Row) -> tuple[str, ...]:
    ratio = "" if row.ratio is None else f"{row.ratio:.3g}" if row.ratio < 100 else f"{row.ratio:.0f}"
    if row.target is None:
        return row.name, row.ours, row.beam, row.peers, ratio, "", ""
    target = f"{'<=' if row.at_most else '>='} {row.target:g}"
    return row.name, row.ours, row.beam, row.peers, ratio, target, "pass" if row.passed else "MISSED"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    name, *rest = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join([f"  {name}", *rest]).rstrip()
