"""Log text of Erlang nodes: cut into events, with known noise folded.

An event is what one call of the logger wrote: in the older format a line ``=WARNING REPORT==== … ===`` and all up to
the next such line, in the newer one a line that begins with a time, and the indented lines below it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

#: Known noise: Iris asks for figures of OS_MON twice a second, whether it runs or not; and the alarm about memory,
#: which Linux sets off by using it for its cache.
_NOISE = re.compile(
    r"(?:^|: |\s)(?:OS_MON \((?P<part>\w+)\) called by <[\d.]+>, (?P<why>not started|unavailable|unknown)"
    r"|(?P<alarm>alarm_handler): \{(?:set,\{|clear,)(?:system|process)_memory_high_watermark\b.*)\s*$"
)
_OLD_HEADER = re.compile(
    r"=(?P<level>[A-Z ]+) REPORT==== (?P<day>\d+)-(?P<month>\w{3})-(?P<year>\d{4})::(?P<time>[\d:.]+) ==="
)
_NEW_HEADER = re.compile(r"(?P<time>\d{4}-\d\d-\d\d[T ][\d:.]+(?:Z|[+-]\d\d:?\d\d)?) (?P<level>[a-z]+):(?= |$)")
_OLD_START = re.compile(rb"^=[A-Z ]+ REPORT==== ", re.MULTILINE)
_ANY_START = re.compile(rb"(?<=\n)(?=\S)")
_MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"


@dataclass(frozen=True, slots=True)
class Event:
    """What was logged at once.

    :param text: the lines, as they are in the file.
    :param time: in ISO 8601, by the node's clock, in its local time where no zone is given; None where none is told.
    :param level: as in logger's levels: ``warning``; None where none is told.
    :param noise: what known noise it is, as part and problem, e.g. ``("memsup", "not started")``; None for any other.
    """

    text: str
    time: str | None
    level: str | None
    noise: tuple[str, str] | None


def events(text: str) -> Iterator[Event]:
    """Cut log text into its events, oldest first."""
    lines: list[str] = []
    in_report = False
    for line in text.split("\n"):
        old = line.startswith("=") and _OLD_HEADER.match(line) is not None
        # Noise is one line; what follows it without a header was printed, not logged.
        printed = in_report and len(lines) > 1 and bool(line.strip()) and _is_noise("\n".join(lines[1:]))
        if old or printed or (not in_report and line[:1].strip()):
            if lines:
                yield from _event(lines)
            lines, in_report = [], old
        lines.append(line)
    yield from _event(lines)


def has_headers(data: bytes) -> bool:
    """Whether some bytes of a log are in the older format, in which only a header begins an event."""
    return _OLD_START.search(data) is not None


def first_start(data: bytes, *, headers: bool) -> int | None:
    """Where the first event begins that surely begins within some bytes of a log; None where none does.

    :param headers: whether the log is in the older format.
    """
    found = _OLD_START.search(data, 1) if headers else _ANY_START.search(data)
    return None if found is None else found.start()


def complete(data: bytes) -> int:
    """How much of some bytes is surely complete: all lines, but no header that stands without its text yet."""
    end = data.rfind(b"\n") + 1
    last = data.rfind(b"\n", 0, end - 1) + 1 if end else 0
    return last if _OLD_START.match(data, last) else end


class Fold:
    """Known noise that stands together, folded into one count."""

    def __init__(self) -> None:
        self.count = 0
        self._kinds: dict[str, dict[str, None]] = {}
        self.first: str | None = None
        self.last: str | None = None

    def add(self, event: Event) -> None:
        """Count one more."""
        assert event.noise is not None
        part, why = event.noise
        self.count += 1
        self._kinds.setdefault(why, {})[part] = None
        self.first = self.first or event.time
        self.last = event.time or self.last

    def precede(self, other: Fold) -> None:
        """Take up a later row of noise."""
        self.count += other.count
        for why, parts in other._kinds.items():
            self._kinds.setdefault(why, {}).update(parts)
        self.first = self.first or other.first
        self.last = other.last or self.last

    @property
    def text(self) -> str:
        """What was folded, in a line."""
        kinds = "; ".join(f"{', '.join(sorted(parts))} {why}" for why, parts in self._kinds.items())
        times = f", {self.first} to {self.last}" if self.count > 1 and self.first and self.last else ""
        return f"{self.count} known warning{'s' * (self.count != 1)} folded: {kinds}{times}"


def _event(lines: list[str]) -> Iterator[Event]:
    text = "\n".join(lines).strip("\n")
    if not text.strip():
        return
    head, _, rest = text.partition("\n")
    if old := _OLD_HEADER.match(head):
        month = _MONTHS.index(old["month"]) // 3 + 1 if old["month"] in _MONTHS else 0
        time = f"{old['year']}-{month:02}-{int(old['day']):02}T{old['time']}"
        yield Event(text, time, old["level"].lower(), _noise(rest))
    elif new := _NEW_HEADER.match(head):
        yield Event(text, new["time"].replace(" ", "T"), new["level"], _noise(text))
    else:
        yield Event(text, None, None, _noise(text))


def _noise(body: str) -> tuple[str, str] | None:
    if "\n" in body.strip("\n"):
        return None
    found = _NOISE.search(body.strip("\n"))
    if found is None:
        return None
    if found["alarm"]:
        return ("system memory", "above or below its watermark")
    return (f"OS_MON ({found['part']})", found["why"])


def _is_noise(body: str) -> bool:
    return _noise(body) is not None


def fold(found: Iterable[Event]) -> Iterator[Event | Fold]:
    """Put a :class:`Fold` in the place of noise that stands together."""
    folded: Fold | None = None
    for event in found:
        if event.noise is None:
            if folded is not None:
                yield folded
                folded = None
            yield event
        else:
            folded = folded or Fold()
            folded.add(event)
    if folded is not None:
        yield folded
