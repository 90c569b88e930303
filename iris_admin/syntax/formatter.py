"""Writing terms as a node prints them.

The layout is that of ``io_lib:format("~tp", [Term])``: a term that is too long for a line is broken behind commas,
elements are aligned behind their bracket or tag, and where that would leave less than half of the line, with an
indentation of 4 instead (of 1, if even that is too much). Column arithmetic follows ``io_lib_pretty``, since the
output is meant to be equal to the character.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from iris_admin.errors import EncodeError
from iris_admin.syntax.numerals import format_integer
from iris_admin.syntax.tokens import RESERVED_WORDS, is_lower, is_name_character
from iris_admin.terms import (
    Atom,
    BitString,
    Export,
    Fun,
    ImproperList,
    LocalTerm,
    Map,
    NativeRecord,
    Pid,
    Port,
    Reference,
    Term,
)

#: Atoms that are printed with quotes. The last two are reserved since OTP 27: quoted, they can be typed anywhere.
_QUOTED = RESERVED_WORDS | {"maybe", "else"}
#: A term that nests deeper is written on one line: its lines would be nothing but indentation.
MAX_LAYOUT_DEPTH = 150

#: What cannot be written at all: such a value contains itself, or no node would take it.
_MAX_DEPTH = 10_000

_NAMED_ESCAPES = {
    10: r"\n",
    13: r"\r",
    9: r"\t",
    11: r"\v",
    8: r"\b",
    12: r"\f",
    27: r"\e",
    127: r"\d",
    92: r"\\",
}
_CONTROLS = (*range(32), *range(127, 160))
#: Characters that cannot be seen, or that turn the direction of writing.
_HIDDEN = (
    0x61C,
    *range(0x200B, 0x2010),
    *range(0x2028, 0x202F),
    *range(0x2060, 0x206A),
    0xFEFF,
    0xFFF9,
    0xFFFA,
    0xFFFB,
)
#: What takes the place of a character, by the kind of quotes around it.
_ESCAPES = {
    quote: {code: f"\\{code:03o}" for code in _CONTROLS}
    | {code: f"\\x{{{code:X}}}" for code in _HIDDEN}
    | _NAMED_ESCAPES
    | {ord(quote): "\\" + quote}
    for quote in "'\""
}

#: The characters of Latin-1 that a list or a binary may hold to be written as a string.
_PRINTABLE = bytes((8, 9, 10, 11, 12, 13, 27, *range(32, 127), *range(160, 256)))


def format_term(term: Term, width: int | None = 80, *, node: str | None = None) -> str:
    r"""Write a term in Erlang syntax.

    >>> print(format_term((Atom("ok"), b"bob", [98, 111, 98], {Atom("a"): 1.0e10})))
    {ok,<<"bob">>,"bob",#{a => 1.0e10}}

    Lists and binaries whose elements are all printable characters of Latin-1 are written as strings, as a node does
    it that was started without ``+pc unicode``. Maps keep the order in which they came.

    :param term: any value of the table in :mod:`iris_admin.terms`.
    :param width: columns of a line; None for everything on one line, as ``~0tp`` writes it.
    :param node: the node whose view is wanted. Its own pids, ports and references are written as it prints them,
        ``<0.123.0>``; all others show their node's name, ``<db1@host.123.0>``, because the number that stands in
        this place on a node means something there only.
    :return: the text.
    :raises EncodeError: for a value that is no term.
    """
    writer = _Writer(node)
    if width is None or _nests_deeply(term):
        return writer.line(term)
    box = writer.box(term)
    if box.length < width - 1:
        return box.line()
    for indentation in (-1, 4):
        layout = _Layout(width, box.length, indentation)
        if layout.suits(box):
            return layout.text(box)
    return _Layout(width, box.length, 1).text(box)


def format_atom(name: str) -> str:
    """Write an atom: in quotes unless it starts with a small letter and goes on with letters, digits, _ and @.

    :param name: the atom's name.
    """
    plain = name and is_lower(name[0]) and name not in _QUOTED and all(map(is_name_character, name))
    return name if plain else _quoted(name, "'")


def _quoted(text: str, quote: str) -> str:
    return quote + text.translate(_ESCAPES[quote]) + quote


def format_float(value: float) -> str:
    """Write a float in the fewest digits that mean the same float, as Erlang does.

    :raises EncodeError: for NaN and infinity.
    """
    text = repr(value)
    if text in ("nan", "inf", "-inf"):
        raise EncodeError(f"{text} has no Erlang counterpart")
    sign = "-" if text.startswith("-") else ""
    mantissa, _, exponent = text.lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    # The digits alone, and the place of the decimal point counted from their left end.
    digits = (whole + fraction).lstrip("0")
    place = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    if not digits:
        return sign + "0.0"
    scientific = f"{digits[0]}.{digits[1:] or '0'}e{place - 1}"
    if place <= 0:
        plain = "0." + "0" * -place + digits
    elif place >= len(digits):
        plain = digits + "0" * (place - len(digits)) + ".0"
    else:
        plain = f"{digits[:place]}.{digits[place:]}"
    # From 2**53 on the digits in front of the point would pretend to be exact.
    return sign + (scientific if len(scientific) < len(plain) or abs(value) >= 2**53 else plain)


def _below(term: Term) -> Iterable[Term] | None:
    """The terms inside a container, or None for anything else."""
    if isinstance(term, tuple | list):
        return term
    if isinstance(term, dict | Map):
        return (part for pair in term.items() for part in pair)
    if isinstance(term, ImproperList):
        return (*term.elements, term.tail)
    return term.values if isinstance(term, NativeRecord) else None


def _nests_deeply(term: Term) -> bool:
    stack = [iter((term,))]
    while stack:
        for item in stack[-1]:
            below = _below(item)
            if below is not None:
                stack.append(iter(below))
                break
        else:
            stack.pop()
        if len(stack) > MAX_LAYOUT_DEPTH:
            return True
    return False


@dataclass(slots=True)
class _Box:
    """A term prepared for layout.

    :param length: columns that it takes on one line.
    :param kind: ``text`` (never broken), ``binary`` (broken behind its commas), or a container: ``list``, ``tuple``,
        ``tagged`` (a tuple that starts with an atom and has more elements), ``map``, and a map's ``pair``.
    :param text: what a box without items says.
    :param tail: what follows the bar of an improper list.
    """

    length: int
    kind: str
    text: str = ""
    items: Sequence[_Box] = ()
    tail: _Box | None = None

    @property
    def is_text(self) -> bool:
        """Whether it may share its line with neighbours although the whole is broken."""
        if self.kind == "pair":
            return self.items[0].kind == "text" == self.items[1].kind
        return self.kind == "text"

    def line(self) -> str:
        """The term on one line."""
        if not self.items:
            return self.text
        parts = [item.line() for item in self.items]
        if self.kind == "pair":
            return " => ".join(parts)
        inside = ",".join(parts)
        if self.kind == "list":
            return f"[{inside}]" if self.tail is None else f"[{inside}|{self.tail.line()}]"
        return f"#{{{inside}}}" if self.kind == "map" else f"{{{inside}}}"


class _Writer:
    """Terms as text on one line, and as boxes.

    :param node: whose view is wanted, see :func:`format_term`.
    """

    def __init__(self, node: str | None) -> None:
        self._node = node

    def line(self, term: Term) -> str:
        """The term on one line, however deep it nests."""
        out: list[str] = []
        stack = [iter((self._checked(term),))]
        while stack:
            for item in stack[-1]:
                if type(item) is str:  # a piece of text: no term is a plain str
                    out.append(item)
                    continue
                leaf = self.leaf(item)
                if leaf is None:
                    stack.append(self._pieces(item))
                    break
                out.append(leaf)
            else:
                stack.pop()
            if len(stack) > _MAX_DEPTH:
                raise EncodeError(f"the value nests deeper than {_MAX_DEPTH} levels, or contains itself")
        return "".join(out)

    def _pieces(self, term: Term) -> Iterator[Term]:
        """A container's brackets and commas as str, and its elements as terms."""
        if isinstance(term, dict | Map):
            separator = "#{"
            for key, value in term.items():
                yield from (separator, self._checked(key), " => ", self._checked(value))
                separator = ","
            yield "}"
        elif isinstance(term, NativeRecord):
            separator = f"#{format_atom(term.module)}:{format_atom(term.name)}{{"
            yield from () if term.fields else (separator,)
            for name, value in zip(term.fields, term.values, strict=True):
                yield from (separator, format_atom(name), " = ", self._checked(value))
                separator = ","
            yield "}"
        else:
            opening, closing = "{}" if isinstance(term, tuple) else "[]"
            separator = opening
            for element in term.elements if isinstance(term, ImproperList) else term:
                yield from (separator, self._checked(element))
                separator = ","
            if isinstance(term, ImproperList):
                yield from ("|", self._checked(term.tail))
            yield closing

    def _checked(self, term: Term) -> Term:
        if type(term) is str:
            raise _no_term(term)
        return term

    def box(self, term: Term) -> _Box:
        """The term prepared for layout; it must not nest too deeply."""
        leaf = self.leaf(term)
        if leaf is not None:
            return _Box(len(leaf), "binary" if _is_number_binary(term, leaf) else "text", leaf)
        if isinstance(term, dict | Map):
            pairs = [self._pair(key, value) for key, value in term.items()]
            return _Box(_joined_length(pairs) + 3, "map", "", pairs)
        if isinstance(term, NativeRecord):
            text = self.line(term)
            return _Box(len(text), "text", text)
        if isinstance(term, ImproperList):
            elements = [self.box(element) for element in term.elements]
            tail = self.box(term.tail)
            return _Box(_joined_length(elements) + 3 + tail.length, "list", "", elements, tail)
        elements = [self.box(element) for element in term]
        kind = "list"
        if isinstance(term, tuple):
            kind = "tagged" if len(term) > 1 and isinstance(term[0], Atom | bool) else "tuple"
        return _Box(_joined_length(elements) + 2, kind, "", elements)

    def _pair(self, key: Term, value: Term) -> _Box:
        items = (self.box(key), self.box(value))
        return _Box(items[0].length + 4 + items[1].length, "pair", "", items)

    def leaf(self, term: Term) -> str | None:
        """What is written in one piece; None for a container with something in it.

        :raises EncodeError: for a value that is no term.
        """
        if isinstance(term, Atom):
            return _cached_atom(term)
        if isinstance(term, bool):
            return "true" if term else "false"
        if isinstance(term, int):
            return format_integer(int(term))
        if isinstance(term, bytes | bytearray):
            return _binary(bytes(term))
        if isinstance(term, float):
            return format_float(float(term))
        if isinstance(term, list):
            return _string(term) if term else "[]"
        if isinstance(term, tuple):
            return None if term else "{}"
        if isinstance(term, dict | Map):
            return None if term else "#{}"
        if isinstance(term, Pid):
            return f"<{self._place(term.node)}.{term.id}.{term.serial}>"
        if isinstance(term, Reference):
            return f"#Ref<{self._place(term.node)}.{'.'.join(map(str, reversed(term.ids)))}>"
        if isinstance(term, ImproperList | NativeRecord):
            return None
        if isinstance(term, BitString):
            return f"<<{','.join(map(str, term.data[:-1]))}{',' if term.data[:-1] else ''}{_last_bits(term)}>>"
        if isinstance(term, Port):
            return f"#Port<{self._place(term.node)}.{term.id}>"
        if isinstance(term, Export):
            return f"fun {format_atom(term.module)}:{format_atom(term.function)}/{term.arity}"
        if isinstance(term, Fun):
            return f"#Fun<{format_atom(term.module)}.{term.old_index}.{term.old_uniq}>"
        if isinstance(term, LocalTerm):
            return "#Local<>"
        raise _no_term(term)

    def _place(self, node: Atom) -> str:
        # A name that a peer made up may hold anything.
        return "0" if node == self._node else node.translate(_ESCAPES["'"])


@lru_cache(maxsize=4096)
def _cached_atom(name: Atom) -> str:
    return format_atom(name)


def _no_term(value: Term) -> EncodeError:
    return EncodeError(f"a value of the type {type(value).__name__} has no Erlang counterpart")


def _joined_length(boxes: Sequence[_Box]) -> int:
    return sum(box.length for box in boxes) + len(boxes) - 1


def _is_number_binary(term: Term, text: str) -> bool:
    return isinstance(term, bytes | bytearray | BitString) and text[2:3] not in ('"', ">")


def _last_bits(bits: BitString) -> str:
    return f"{bits.data[-1] >> (8 - bits.last_bits)}:{bits.last_bits}"


def _is_printable(latin1: bytes) -> bool:
    return not latin1.translate(None, _PRINTABLE)


def _string(items: list[Term]) -> str | None:
    """A list of printable characters as a string, or None for any other list."""
    if type(items[0]) is not int:
        return None
    try:
        characters = bytes(items)
    except (TypeError, ValueError):
        return None
    if not _is_printable(characters) or set(map(type, items)) != {int}:
        return None
    return _quoted(characters.decode("latin-1"), '"')


def _binary(data: bytes) -> str:
    if not data:
        return "<<>>"
    suffix = ""
    try:
        text = data.decode()
        suffix = "" if len(text) == len(data) else "/utf8"
        printable = text.isascii() or max(text) <= "\xff"
        printable = printable and _is_printable(text.encode("latin-1"))
    except UnicodeDecodeError:
        text = data.decode("latin-1")
        printable = _is_printable(data)
    return f"<<{_quoted(text, chr(34))}{suffix}>>" if printable else f"<<{','.join(map(str, data))}>>"


class _Unsuitable(Exception):
    """An indentation does not leave enough of the line."""


class _Layout:
    """A box broken into lines.

    Columns count from 1. ``behind`` is the number of closing brackets that must find room behind a box, ``used``
    what its line holds already beyond the indentation.

    :param width: columns of a line.
    :param most: characters that a line may have beyond its indentation.
    :param indentation: of what follows the tag of a tuple and the arrow of a pair; -1 to align behind the tag.
    """

    def __init__(self, width: int, most: int, indentation: int) -> None:
        self._width = width
        self._most = most
        self._indentation = indentation
        self._value_indentation = indentation if indentation > 0 else 4

    def text(self, box: _Box) -> str:
        """The box in lines."""
        out: list[str] = []
        self._put(out, box, 1, 0, 0, 0)
        return "".join(out)

    def suits(self, box: _Box) -> bool:
        """Whether the indentation leaves enough of the line everywhere."""
        try:
            self._check(box, 1, 0, 0)
        except _Unsuitable:
            return False
        return True

    def _fits(self, length: int, column: int, behind: int, used: int) -> bool:
        return length < self._width - column - behind and length + used + behind <= self._most

    def _joins_line(self, box: _Box, column: int, behind: int, used: int) -> bool:
        """Whether a box may stand on its predecessor's line, behind a comma."""
        length = box.length + 1
        if behind == 0:  # another comma will follow
            return length + 1 < self._width - column and used + length + 1 <= self._most and box.is_text
        return length < self._width - column - behind and used + length + behind <= self._most and box.is_text

    # Writing. ``indent`` is the indentation of a new line, in spaces.

    def _put(self, out: list[str], box: _Box, column: int, indent: int, behind: int, used: int) -> None:
        if self._fits(box.length, column, behind, used) or not (box.items or box.kind == "binary"):
            out.append(box.line())
        elif box.kind == "binary":
            self._put_binary(out, box.text, column + 2, indent + 2, behind, used)
        elif box.kind == "map":
            out.append("#{")
            self._put_items(out, box, 0, column + 2, indent + 2, behind, used + 1)
            out.append("}")
        elif box.kind != "tagged":
            opening, closing = "[]" if box.kind == "list" else "{}"
            out.append(opening)
            self._put_items(out, box, 0, column + 1, indent + 1, behind, used + 1)
            out.append(closing)
        else:
            tag = box.items[0]
            out.append("{" + tag.text)
            if 0 < self._indentation < tag.length + 2:
                column, indent = column + self._indentation, indent + self._indentation
                end = column - self._indentation + tag.length + 2
                self._put_rest(out, box, 1, column, end, indent, behind, used + 1 + tag.length)
            else:
                out.append(",")
                hanging = tag.length + 2
                self._put_items(out, box, 1, column + hanging, indent + hanging, behind, used + tag.length + 2)
            out.append("}")

    def _put_items(
        self, out: list[str], box: _Box, first: int, column: int, indent: int, behind: int, used: int
    ) -> None:
        """Write items from the given one on; that one without a comma."""
        is_last = first + 1 == len(box.items)
        length = self._put_item(out, box.items[first], column, indent, behind + 1 if is_last else 0, used)
        used = length if box.kind == "map" else used + length
        self._put_rest(out, box, first + 1, column, column + length, indent, behind, used)

    def _put_rest(
        self, out: list[str], box: _Box, first: int, start: int, column: int, indent: int, behind: int, used: int
    ) -> None:
        """Write items from the given one on, each behind a comma.

        :param start: column of the items that begin a line.
        :param column: where the line ends so far.
        """
        for number in range(first, len(box.items)):
            item = box.items[number]
            closing = behind + 1 if number + 1 == len(box.items) else 0
            if self._joins_line(item, column, closing, used):
                out.append("," + item.line())
                column += item.length + 1
                used += item.length + 1
            else:
                out.append(",\n" + " " * indent)
                used = self._put_item(out, item, start, indent, closing, 0)
                column = start + used
        if box.tail is not None:
            tail = box.tail
            if self._fits(tail.length + 1, column, behind + 1, used) and tail.is_text:
                out.append("|" + tail.line())
            else:
                out.append("|\n" + " " * indent)
                self._put(out, tail, start, indent, behind + 1, 0)

    def _put_item(self, out: list[str], item: _Box, column: int, indent: int, behind: int, used: int) -> int:
        """Write an item and return its length, or the width of a line if nothing may follow on its line."""
        if self._fits(item.length, column, behind, used) and (item.is_text or item.kind == "pair"):
            out.append(item.line())
            return item.length if item.is_text else self._width
        if item.kind == "pair":
            key, value = item.items
            self._put(out, key, column, indent, behind, used)
            extra = self._value_indentation
            out.append(" =>\n" + " " * (indent + extra))
            self._put(out, value, column + extra, indent + extra, behind, 0)
        else:
            self._put(out, item, column, indent, behind, used)
        return self._width

    def _put_binary(self, out: list[str], text: str, column: int, indent: int, behind: int, used: int) -> None:
        room = max(8, min(self._width - column, self._most - 4 - used) - behind)
        left = room
        out.append("<<")
        parts = text[2:-2].split(",")
        for number, part in enumerate(parts):
            is_last = number + 1 == len(parts)
            piece = part if is_last else part + ","
            if len(piece) > left:
                out.append("\n" + " " * indent)
                left = room
            out.append(piece)
            left -= len(piece)
        out.append(">>")

    # Checking: the same walk without text.

    def _check(self, box: _Box, column: int, behind: int, used: int) -> None:
        if self._fits(box.length, column, behind, used) or not box.items:
            return
        if box.kind == "map":
            self._check_items(box, 0, column + 2, behind, used + 2)
        elif box.kind != "tagged":
            self._check_items(box, 0, column + 1, behind, used + 1)
        else:
            tag = box.items[0]
            end = column + tag.length + 2
            if 0 < self._indentation < tag.length + 2:
                start = column + self._indentation
                if self._most + start > self._width and start > self._width // 2:
                    raise _Unsuitable
                self._check_rest(box, 1, start, end, behind, used + 1 + tag.length)
            elif self._most + end >= self._width and end >= self._width // 2:
                raise _Unsuitable
            else:
                self._check_items(box, 1, end, behind, used + tag.length + 2)

    def _check_items(self, box: _Box, first: int, column: int, behind: int, used: int) -> None:
        is_last = first + 1 == len(box.items)
        length = self._check_item(box.items[first], column, behind + 1 if is_last else 0, used)
        self._check_rest(box, first + 1, column, column + length, behind, used + length)

    def _check_rest(self, box: _Box, first: int, start: int, column: int, behind: int, used: int) -> None:
        for number in range(first, len(box.items)):
            item = box.items[number]
            closing = behind + 1 if number + 1 == len(box.items) else 0
            if self._joins_line(item, column, closing, used):
                column += item.length + 1
                used += item.length + 1
            else:
                used = self._check_item(item, start, closing, 0)
                column = start + used
        tail = box.tail
        if tail is not None and not (self._fits(tail.length + 1, column, behind + 1, used) and tail.is_text):
            self._check(tail, column, behind + 1, 0)

    def _check_item(self, item: _Box, column: int, behind: int, used: int) -> int:
        if self._fits(item.length, column, behind, used) and (item.is_text or item.kind == "pair"):
            return item.length if item.is_text else self._width
        if item.kind == "pair":
            key, value = item.items
            self._check(key, column, behind, used)
            self._check(value, column + self._value_indentation, behind, 0)
        else:
            self._check(item, column, behind, used)
        return self._width
