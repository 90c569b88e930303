"""Reading Erlang terms that somebody typed.

Ground terms only: what a variable or a call means, only a node can say (see ``Node.eval``). Whatever cannot be a
term is refused with its position and, for the usual slips, with what to write instead. Nothing is guessed.
"""

from __future__ import annotations

import struct
from typing import NoReturn

from iris_admin.errors import TermSyntaxError
from iris_admin.syntax.tokens import RESERVED_WORDS, Token, scan
from iris_admin.terms import BitString, Export, ImproperList, Term, make_map

#: How many brackets may be open at a time.
MAX_NESTING = 200

_MAX_BINARY_BITS = 8 * 64 * 1024 * 1024
_PYTHON_WORDS = {"True": "true", "False": "false", "None": "undefined"}


def parse_term(text: str) -> Term:
    """Read one Erlang term.

    >>> parse_term('{ok, <<"bob">>, #{a => [1, 2]}}')
    (Atom('ok'), b'bob', {Atom('a'): [1, 2]})

    :param text: the term, with or without a final dot. Comments and line breaks are allowed.
    :return: the term; strings and characters are integers, as everywhere in Erlang.
    :raises TermSyntaxError: when the text is no ground term, or more than one; with position and hint.
    """
    tokens = scan(text)
    if not tokens:
        raise TermSyntaxError("there is no term", position=len(text), hint='e.g. ok, 42, <<"bob">> or {user, 1}')
    parser = _Parser(tokens, len(text))
    return parser.whole()


class _Parser:
    def __init__(self, tokens: list[Token], length: int) -> None:
        # The end is a token too, so that looking ahead needs no test for it.
        self._tokens = [*tokens, Token("end of text", None, 0, length, length)]
        self._at = 0
        self._open = 0

    def whole(self) -> Term:
        term = self._term()
        if self._is("dot"):
            self._at += 1
        if not self._is("end of text"):
            self._refuse_rest()
        return term

    # Tokens.

    def _token(self) -> Token:
        return self._tokens[self._at]

    def _is(self, *categories: str) -> bool:
        """Whether the next tokens are of these categories."""
        return tuple(token.category for token in self._tokens[self._at : self._at + len(categories)]) == categories

    def _take(self) -> Token:
        token = self._tokens[self._at]
        self._at += token.category != "end of text"
        return token

    def _skip(self, category: str) -> bool:
        found = self._is(category)
        self._at += found
        return found

    def _expect(self, category: str, where: str) -> Token:
        if not self._is(category):
            token = self._token()
            raise TermSyntaxError(f"{category} is expected {where}, not {_shown(token)}", position=token.start)
        return self._take()

    # Terms.

    def _term(self) -> Term:
        token = self._take()
        category = token.category
        if category in ("integer", "float", "char"):
            return token.value
        if category == "atom":
            return self._atom(token)
        if category == "string":
            return self._string(token)
        if category in ("-", "+") and self._token().category in ("integer", "float", "char"):
            number = self._take().value
            return -number if category == "-" else number
        if category == "fun" and self._is("atom"):
            return self._export()
        if category not in ("[", "{", "<<", "#", "("):
            self._refuse(token)
        if self._open >= MAX_NESTING:
            raise TermSyntaxError(f"more than {MAX_NESTING} open brackets", position=token.start)
        self._open += 1
        try:
            if category == "[":
                return self._list(token)
            if category == "{":
                return tuple(self._sequence("}", token))
            if category == "<<":
                return self._binary(token)
            if category == "#":
                return self._map(token)
            return self._parenthesised(token)
        finally:
            self._open -= 1

    def _atom(self, token: Token) -> Term:
        if self._is("string") and token.value in ("b", "r", "f", "u") and self._token().start == token.end:
            raise TermSyntaxError(
                "this is Python's way to write a string", position=token.start, hint='a binary is <<"...">>'
            )
        if token.value == "true":
            return True
        return False if token.value == "false" else token.value

    def _string(self, token: Token) -> list[int]:
        """Strings that stand side by side are one."""
        codes: list[int] = list(token.value)
        while self._is("string"):
            codes += self._take().value
        return codes

    def _export(self) -> Export:
        module = self._take().value
        self._expect(":", "in fun module:function/arity")
        function = self._expect("atom", "in fun module:function/arity").value
        self._expect("/", "in fun module:function/arity")
        arity = self._expect("integer", "in fun module:function/arity")
        if arity.value > 255:
            raise TermSyntaxError("a function has at most 255 arguments", position=arity.start)
        return Export(module, function, arity.value)

    def _sequence(self, closing: str, opening: Token) -> list[Term]:
        """Terms with commas between them, up to and with the closing bracket."""
        terms: list[Term] = []
        if self._skip(closing):
            return terms
        while True:
            terms.append(self._term())
            if self._skip(closing):
                return terms
            self._comma(closing, opening)

    def _comma(self, closing: str, opening: Token) -> None:
        token = self._token()
        if token.category == ",":
            self._at += 1
            if self._is(closing):
                raise TermSyntaxError(
                    f"a term is missing between the comma and {closing}", position=self._token().start
                )
        elif token.category in ("end of text", "dot"):
            raise TermSyntaxError(
                f"the closing {closing} is missing",
                position=token.start,
                hint=f"for the {opening.category} that is open",
            )
        elif token.category in (":", "=>") and opening.category == "{":
            raise TermSyntaxError("a tuple has no keys", position=token.start, hint="a map is #{key => value}")
        else:
            raise self._unexpected(token, f"a comma or {closing}")

    def _list(self, opening: Token) -> Term:
        elements: list[Term] = []
        if self._skip("]"):
            return elements
        while True:
            elements.append(self._term())
            if self._skip("]"):
                return elements
            if self._skip("|"):
                tail = self._term()
                self._expect("]", "after the tail of the list")
                if isinstance(tail, list):
                    return elements + tail
                if isinstance(tail, ImproperList):
                    return ImproperList((*elements, *tail.elements), tail.tail)
                return ImproperList(tuple(elements), tail)
            self._comma("]", opening)

    def _map(self, opening: Token) -> Term:
        if not self._is("{"):
            if self._is("atom", "{"):
                raise TermSyntaxError(
                    "a record cannot be read without its definition",
                    position=opening.start,
                    hint=f"write it as the tuple that it is: {{{self._token().value}, ...}}",
                )
            self._refuse(opening)
        self._take()
        keys: list[Term] = []
        values: list[Term] = []
        if self._skip("}"):
            return {}
        while True:
            keys.append(self._term())
            token = self._token()
            if token.category != "=>":
                raise TermSyntaxError(
                    f"=> is expected after a key, not {_shown(token)}",
                    position=token.start,
                    hint="a map is #{key => value}",
                )
            self._take()
            values.append(self._term())
            if self._skip("}"):
                break
            self._comma("}", opening)
        try:
            return make_map(keys, values)
        except ValueError:
            raise TermSyntaxError("the map has the same key twice", position=opening.start) from None

    def _parenthesised(self, opening: Token) -> Term:
        if self._is(")"):
            raise TermSyntaxError("there is no term in ()", position=opening.start, hint="the empty tuple is {}")
        term = self._term()
        if self._is(","):
            raise TermSyntaxError(
                "this is Python's way to write a tuple", position=opening.start, hint="in Erlang: {a, b}"
            )
        self._expect(")", "after the term in parentheses")
        return term

    # Binaries.

    def _binary(self, opening: Token) -> bytes | BitString:
        bits = _Bits()
        if self._skip(">>"):
            return b""
        while True:
            self._segment(bits)
            if self._skip(">>"):
                return bits.value()
            self._comma(">>", opening)

    def _segment(self, bits: _Bits) -> None:
        token = self._token()
        start = token.start
        value: Term
        if token.category == "string":
            value = self._string(self._take())
        elif token.category in ("integer", "float", "char", "-", "+", "<<", "("):
            value = self._term()
        else:
            self._refuse(token)
        size: int | None = None
        if self._skip(":"):
            size = self._expect("integer", "as the size of a segment").value
        kind = _Specifiers(start)
        if self._skip("/"):
            kind.add(self._expect("atom", "after the /").value, self)
            while self._skip("-"):
                kind.add(self._expect("atom", "after the -").value, self)
        if token.category == "string" and kind.type not in (None, "integer", "float", "utf8", "utf16", "utf32"):
            raise TermSyntaxError(f"a string cannot be a segment of the type {kind.type}", position=start)
        for item in value if token.category == "string" else (value,):
            kind.encode(item, size, bits)

    def unit(self) -> int:
        """The number after ``unit`` in a segment's type."""
        self._expect(":", "after unit")
        token = self._expect("integer", "after unit:")
        if not 1 <= token.value <= 256:
            raise TermSyntaxError("a unit lies between 1 and 256", position=token.start)
        return int(token.value)

    # Refusals.

    def _refuse(self, token: Token) -> NoReturn:
        """Explain why no term starts with the token."""
        category = token.category
        hint = None
        if category == "var":
            name = str(token.value)
            message = f"{name} is a variable, and a term has none"
            if name in _PYTHON_WORDS:
                hint = f"in Erlang: {_PYTHON_WORDS[name]}"
            else:
                hint = f"quote it: '{name}' is an atom, <<\"{name}\">> a binary"
        elif category == "end of text":
            message = "a term is missing at the end"
        elif category == "dot":
            message = "a term is missing before the dot"
        elif category in RESERVED_WORDS:
            message = f"{category} is a reserved word"
            hint = f"as an atom, quote it: '{category}'"
            if category == "fun":
                hint = "of the funs, only fun module:function/arity can be written as a term"
        elif category == "<" or (category == "#" and self._is("var", "<")):
            message = "pids, ports, references and funs cannot be written as terms"
            hint = 'evaluate e.g. list_to_pid("<0.1.2>") on the node instead'
        else:
            message = f"a term cannot start with {_shown(token)}"
            hint = {"`": "the quote of an atom is '", "~": 'a binary is <<"...">>'}.get(category)
            if category == "atom":
                hint = f'the text of a binary needs quotes: <<"{token.value}">>'
        raise TermSyntaxError(message, position=token.start, hint=hint)

    def _refuse_rest(self) -> NoReturn:
        raise self._unexpected(self._token(), "the end")

    def _unexpected(self, token: Token, wanted: str) -> TermSyntaxError:
        """What stands behind a term where it cannot."""
        hint = None
        before = self._tokens[self._at - 1]
        if token.category == "(" and before.category == "atom":
            hint = "a term calls no functions; evaluate the expression on the node instead"
        elif token.category == ":" and before.category == "atom":
            hint = "a term calls no functions; a map is #{key => value}, a fun is fun module:function/arity"
        elif token.category == "var" or (token.category == "atom" and before.category in ("atom", "integer")):
            hint = "a name with other characters than letters, digits, _ and @ needs quotes: 'a-b c' or <<\"a-b c\">>"
        elif token.category in ("+", "-", "*", "/", "++", "--", "div", "rem", "bor", "band", "bsl", "bsr", "="):
            hint = "a term computes nothing; quote a name that contains it, or evaluate the expression on the node"
        elif token.category == ".":
            hint = "quote a name with dots: 'a.b'"
        elif token.category == ",":
            hint = "one term is wanted; a tuple is {a, b}, a list [a, b]"
        return TermSyntaxError(f"{_shown(token)} stands where {wanted} is expected", position=token.start, hint=hint)


def _shown(token: Token) -> str:
    if token.category == "end of text":
        return "the end of the text"
    if token.category in ("atom", "var", "integer", "float"):
        return str(token.value)
    if token.category == "string":
        return "a string"
    if token.category == "char":
        return "a character"
    return "the dot" if token.category == "dot" else token.category


class _Bits:
    """A bitstring under construction."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        #: Bits that do not fill a byte yet, and how many they are.
        self._rest = 0
        self._count = 0

    def add(self, value: int, size: int) -> None:
        """Append the lowest bits of a two's complement integer, most significant bit first."""
        bits = self._rest << size | value & ((1 << size) - 1)
        whole, self._count = divmod(self._count + size, 8)
        if whole:
            self._bytes += (bits >> self._count).to_bytes(whole, "big")
        self._rest = bits & ((1 << self._count) - 1)

    def size(self) -> int:
        return len(self._bytes) * 8 + self._count

    def value(self) -> bytes | BitString:
        if not self._count:
            return bytes(self._bytes)
        return BitString(bytes(self._bytes) + bytes((self._rest << (8 - self._count),)), self._count)


class _Specifiers:
    """The type of a segment, as it is written behind the slash."""

    _TYPES = {"bytes": "binary", "bitstring": "bits"} | {
        name: name for name in ("integer", "float", "binary", "bits", "utf8", "utf16", "utf32")
    }

    def __init__(self, position: int) -> None:
        self._position = position
        self.type: str | None = None
        self._endianness: str | None = None
        self._sign: str | None = None
        self._unit: int | None = None

    def add(self, word: str, parser: _Parser) -> None:
        if word in self._TYPES and self.type is None:
            self.type = self._TYPES[word]
        elif word in ("big", "little") and self._endianness is None:
            self._endianness = word
        elif word in ("signed", "unsigned") and self._sign is None:
            self._sign = word
        elif word == "unit" and self._unit is None:
            self._unit = parser.unit()
        elif word == "native":
            raise self._error("native means another thing on another machine", hint="write little or big")
        else:
            raise self._error(f"{word} cannot stand in the type of this segment")

    def encode(self, value: Term, size: int | None, bits: _Bits) -> None:
        """Append one value.

        :param size: what stands behind the colon, in units.
        """
        kind = self.type or "integer"
        if (size is not None or self._unit is not None) and kind.startswith("utf"):
            raise self._error(f"a segment of the type {kind} has no size")
        if self._unit is not None and size is None:
            raise self._error("a unit without a size")
        if kind in ("binary", "bits"):
            self._append(value, size, bits)
        elif not isinstance(value, int | float):
            raise self._error("a binary inside a binary needs its type", hint="write /binary or /bits behind it")
        elif kind == "float":
            self._float(float(value), size, bits)
        elif not isinstance(value, int):
            raise self._error("a float in a binary needs its type", hint="write /float behind it")
        elif kind == "integer":
            self._integer(value, self._checked((8 if size is None else size) * (self._unit or 1), bits), bits)
        else:
            self._unicode(value, kind, bits)

    def _checked(self, size: int, bits: _Bits) -> int:
        if bits.size() + size > _MAX_BINARY_BITS:
            raise self._error("the binary is too large")
        return size

    def _integer(self, value: int, size: int, bits: _Bits) -> None:
        if self._endianness != "little":
            bits.add(value, size)
            return
        whole, rest = divmod(size, 8)
        value &= (1 << size) - 1
        bits.add(int.from_bytes((value & ((1 << 8 * whole) - 1)).to_bytes(whole, "little"), "big"), 8 * whole)
        bits.add(value >> 8 * whole, rest)

    def _float(self, value: float, size: int | None, bits: _Bits) -> None:
        width = (64 if size is None else size) * (self._unit or 1)
        formats = {16: "e", 32: "f", 64: "d"}
        if width not in formats:
            raise self._error("a float has 16, 32 or 64 bits")
        try:
            data = struct.pack(("<" if self._endianness == "little" else ">") + formats[width], value)
        except OverflowError:
            raise self._error(f"the float does not fit into {width} bits") from None
        bits.add(int.from_bytes(data, "big"), width)

    def _unicode(self, value: int, kind: str, bits: _Bits) -> None:
        if not (0 <= value < 0xD800 or 0xDFFF < value <= 0x10FFFF):
            raise self._error(f"{value} is no Unicode code point")
        endianness = "le" if self._endianness == "little" else "be"
        codec = kind if kind == "utf8" else f"utf-{kind[3:]}-{endianness}"
        data = chr(value).encode(codec)
        bits.add(int.from_bytes(data, "big"), self._checked(len(data) * 8, bits))

    def _append(self, value: Term, size: int | None, bits: _Bits) -> None:
        if isinstance(value, bytes):
            data, available = value, len(value) * 8
        elif isinstance(value, BitString):
            data, available = value.data, (len(value.data) - 1) * 8 + value.last_bits
        else:
            raise self._error(f"only a binary can be a segment of the type {self.type}")
        unit = self._unit or (8 if self.type == "binary" else 1)
        width = available if size is None else size * unit
        if width > available or width % unit:
            raise self._error(f"the inner binary has {available} bits, which does not suit its type and size")
        self._checked(width, bits)
        bits.add(int.from_bytes(data, "big") >> (len(data) * 8 - width), width)

    def _error(self, message: str, *, hint: str | None = None) -> TermSyntaxError:
        return TermSyntaxError(message, position=self._position, hint=hint)
