"""Erlang text cut into tokens, as ``erl_scan`` does it.

The tokens can be sent to a node as they are, for its ``erl_parse`` to read: nothing there has to scan text from
outside. They are those of OTP 25, and every later release reads them too. Where releases disagree about a text,
it is refused instead of being read in one of the two ways: triple-quoted strings, and the rarer control escapes.
``maybe`` and ``else`` are atoms, as they are by default up to OTP 26.
"""

from __future__ import annotations

from typing import NamedTuple

from iris_admin.errors import TermSyntaxError
from iris_admin.syntax.numerals import parse_integer
from iris_admin.terms import MAX_ATOM_CHARACTERS, Atom, Term

RESERVED_WORDS = frozenset(
    {"after", "and", "andalso", "band", "begin", "bnot", "bor", "bsl", "bsr", "bxor", "case", "catch", "cond", "div"}
    | {"end", "fun", "if", "let", "not", "of", "or", "orelse", "receive", "rem", "try", "when", "xor"}
)

_SYMBOLS = {
    3: frozenset(("...", "=:=", "=/=")),
    2: frozenset(
        ["?=", "<<", "<-", "<=", ">>", ">=", "->", "--", "++", "=<", "==", "=>", "/=", "||", ":=", "::", ".."]
    ),
}

_ESCAPES = {
    "n": 10,
    "r": 13,
    "t": 9,
    "v": 11,
    "b": 8,
    "f": 12,
    "e": 27,
    "s": 32,
    "d": 127,
}

_DIGITS = "0123456789"
_OCTAL_DIGITS = "01234567"
_HEXADECIMAL_DIGITS = "0123456789abcdefABCDEF"
_MAX_BASE = 36


class Token(NamedTuple):
    """One token and where it stands.

    :param category: ``atom``, ``var``, ``integer``, ``float``, ``char``, ``string``, ``dot``, or else the operator,
        bracket or reserved word itself.
    :param value: what an atom, variable, number, character or string means; None for all others.
    :param line: line of its first character, from 1 on.
    :param start: offset of its first character in the text.
    :param end: offset behind its last character.
    """

    category: str
    value: Term
    line: int
    start: int
    end: int


def tokenize(text: str) -> list[tuple[Term, ...]]:
    """Cut text into tokens in the form of ``erl_scan:string/1``, ready to be sent to a node.

    >>> tokenize("f(X).")[:3]
    [(Atom('atom'), 1, Atom('f')), (Atom('('), 1), (Atom('var'), 1, Atom('X'))]

    :param text: Erlang source text; comments are skipped.
    :return: ``{Category, Line, Symbol}`` or ``{Category, Line}`` for each token. A ``dot`` comes only where the text
        has one.
    :raises TermSyntaxError: where the text is no Erlang, with the position.
    """
    return [
        (Atom(token.category), token.line) if token.value is None else (Atom(token.category), token.line, token.value)
        for token in scan(text)
    ]


def scan(text: str) -> list[Token]:
    """Cut text into tokens that know their place.

    :param text: as for :func:`tokenize`.
    :return: the tokens.
    :raises TermSyntaxError: as :func:`tokenize`.
    """
    return _Scanner(text).tokens()


def is_lower(character: str) -> bool:
    """Whether a name that starts with this character is an atom. Erlang knows the letters of Latin-1 only."""
    return "a" <= character <= "z" or ("ß" <= character <= "ÿ" and character != "\xf7")


def is_upper(character: str) -> bool:
    """Whether a name that starts with this character is a variable (the underscore left aside)."""
    return "A" <= character <= "Z" or ("À" <= character <= "Þ" and character != "\xd7")


def is_name_character(character: str) -> bool:
    """Whether the character can stand inside an atom without quotes, or inside a variable."""
    return is_lower(character) or is_upper(character) or character in _DIGITS or character in "_@"


def is_legal_code_point(code: int) -> bool:
    """Whether Erlang text may hold the code point: no surrogates, nothing that Unicode keeps unassigned for good."""
    return 0 <= code < 0xD800 or 0xDFFF < code < 0xFFFE or 0xFFFF < code <= 0x10FFFF


def _is_white(character: str) -> bool:
    return character <= " " or "\x80" <= character <= "\xa0"


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._tokens: list[Token] = []

    def tokens(self) -> list[Token]:
        text = self._text
        while self._at < len(text):
            character = text[self._at]
            if _is_white(character):
                self._line += character == "\n"
                self._at += 1
            elif character == "%":
                self._comment()
            elif is_lower(character):
                self._name("atom")
            elif is_upper(character) or character == "_":
                self._name("var")
            elif character in _DIGITS:
                self._number()
            elif character == '"':
                self._string()
            elif character == "'":
                self._quoted_atom()
            elif character == "$":
                self._character()
            else:
                self._symbol()
        return self._tokens

    def _add(self, category: str, value: Term, start: int, line: int | None = None) -> None:
        self._tokens.append(Token(category, value, self._line if line is None else line, start, self._at))

    def _peek(self, distance: int = 0) -> str:
        """The character at that distance, or an empty string behind the end."""
        at = self._at + distance
        return self._text[at : at + 1]

    def _comment(self) -> None:
        end = self._text.find("\n", self._at)
        end = len(self._text) if end < 0 else end
        for at in range(self._at, end):
            if not is_legal_code_point(ord(self._text[at])):
                raise _illegal_character(self._text[at], at)
        self._at = end

    def _name(self, category: str) -> None:
        start = self._at
        while self._peek() and is_name_character(self._peek()):
            self._at += 1
        name = self._text[start : self._at]
        if category == "atom" and name in RESERVED_WORDS:
            self._add(name, None, start)
        else:
            self._add(category, _atom(name, start), start)

    def _digits(self, allowed: str) -> str:
        """Digits, with single underscores between them left out."""
        digits: list[str] = []
        while True:
            character = self._peek()
            if character and character in allowed:
                digits.append(character)
                self._at += 1
            elif character == "_" and digits and self._peek(1) and self._peek(1) in allowed:
                self._at += 1
            else:
                return "".join(digits)

    def _number(self) -> None:
        start = self._at
        digits = self._digits(_DIGITS)
        if self._peek() == "#":
            self._based_integer(digits, start)
        elif self._peek() == "." and self._peek(1) and self._peek(1) in _DIGITS:
            self._at += 1
            self._float(digits, start)
        else:
            self._add("integer", parse_integer(digits, 10), start)

    def _based_integer(self, base_digits: str, start: int) -> None:
        base = parse_integer(base_digits, 10)
        if not 2 <= base <= _MAX_BASE:
            raise TermSyntaxError(
                f"no integer is written in base {base_digits}", position=start, hint="a base lies between 2 and 36"
            )
        self._at += 1
        letters = "abcdefghijklmnopqrstuvwxyz"[: max(0, base - 10)]
        digits = self._digits(_DIGITS[:base] + letters + letters.upper())
        if not digits:
            raise TermSyntaxError(f"no digit of base {base} after {base}#", position=self._at)
        self._add("integer", parse_integer(digits, base), start)

    def _float(self, whole: str, start: int) -> None:
        text = f"{whole}.{self._digits(_DIGITS)}"
        if self._peek() and self._peek() in "eE":
            self._at += 1
            sign = self._peek()
            if sign and sign in "+-":
                self._at += 1
            else:
                sign = ""
            exponent = self._digits(_DIGITS)
            if not exponent:
                raise TermSyntaxError("a float without digits in its exponent", position=start)
            text += f"e{sign}{exponent}"
        value = float(text)
        if value == float("inf"):
            raise TermSyntaxError(f"the float {text} is too large", position=start)
        self._add("float", value, start)

    def _string(self) -> None:
        start, line = self._at, self._line
        if self._text.startswith('"""', start):
            raise TermSyntaxError(
                "three double quotes mean one thing up to OTP 26 and another from OTP 27 on",
                position=start,
                hint=r"write the string in ordinary quotes, with \n for new lines and \" for quotes",
            )
        value = self._quoted('"', "string")
        self._add("string", value, start, line)

    def _quoted_atom(self) -> None:
        start, line = self._at, self._line
        name = "".join(map(chr, self._quoted("'", "quoted atom")))
        self._add("atom", _atom(name, start), start, line)

    def _quoted(self, quote: str, thing: str) -> list[int]:
        start = self._at
        self._at += 1
        codes: list[int] = []
        while True:
            character = self._peek()
            if not character:
                raise TermSyntaxError(
                    f"unterminated {thing}", position=start, hint=f"it starts here and needs a closing {quote}"
                )
            if character == quote:
                self._at += 1
                return codes
            codes.append(self._code(thing, start))

    def _character(self) -> None:
        start, line = self._at, self._line
        self._at += 1
        self._add("char", self._code("character", start), start, line)

    def _code(self, thing: str, start: int) -> int:
        """One character of a string, atom or character literal, or the escape sequence for one."""
        at = self._at
        character = self._peek()
        if not character:
            raise TermSyntaxError(f"unterminated {thing}", position=start)
        self._at += 1
        if character == "\\":
            return self._escape(thing, start)
        if not is_legal_code_point(ord(character)):
            raise _illegal_character(character, at)
        self._line += character == "\n"
        return ord(character)

    def _escape(self, thing: str, start: int) -> int:
        at = self._at - 1
        character = self._peek()
        if not character:
            raise TermSyntaxError(f"unterminated {thing}", position=start)
        self._at += 1
        if character in _OCTAL_DIGITS:
            while self._at < at + 4 and self._peek() and self._peek() in _OCTAL_DIGITS:
                self._at += 1
            return int(self._text[at + 1 : self._at], 8)
        if character == "x":
            return self._hexadecimal(at)
        if character == "^":
            control = self._peek()
            if not ("@" <= control <= "_" or "a" <= control <= "z"):
                raise TermSyntaxError("no control character is written like this", position=at, hint=r"e.g. \^A")
            self._at += 1
            return ord(control) & 31
        if not is_legal_code_point(ord(character)):
            raise _illegal_character(character, at)
        self._line += character == "\n"
        return _ESCAPES.get(character, ord(character))

    def _hexadecimal(self, at: int) -> int:
        if self._peek() == "{":
            end = self._text.find("}", self._at)
            digits = self._text[self._at + 1 : end] if end >= 0 else ""
            self._at = end + 1
        else:
            digits = self._text[self._at : self._at + 2]
            digits = digits if len(digits) == 2 else ""
            self._at += 2
        if not digits or not all(digit in _HEXADECIMAL_DIGITS for digit in digits):
            raise TermSyntaxError("no character is written like this", position=at, hint=r"e.g. \xE9 or \x{1F600}")
        # No code point has more than six digits, leading zeros aside.
        significant = digits.lstrip("0") or "0"
        if len(significant) > 6 or not is_legal_code_point(int(significant, 16)):
            raise TermSyntaxError(f"there is no character U+{significant.upper()}", position=at)
        return int(significant, 16)

    def _symbol(self) -> None:
        start = self._at
        for size, symbols in _SYMBOLS.items():
            symbol = self._text[start : start + size]
            if symbol in symbols:
                self._at += size
                self._add(symbol, None, start)
                return
        symbol = self._text[start]
        if symbol > "\xff":
            raise TermSyntaxError(
                f"the character {symbol!r} cannot stand here",
                position=start,
                hint='Erlang takes it only inside quotes: \'atom\', "string" or <<"binary"/utf8>>',
            )
        following = self._peek(1)
        self._at += 1
        if symbol == "." and (not following or _is_white(following) or following == "%"):
            self._add("dot", None, start)
        else:
            self._add(symbol, None, start)


def _atom(name: str, position: int) -> Atom:
    if len(name) > MAX_ATOM_CHARACTERS:
        raise TermSyntaxError(f"a name of {len(name)} characters; {MAX_ATOM_CHARACTERS} are allowed", position=position)
    return Atom(name)


def _illegal_character(character: str, position: int) -> TermSyntaxError:
    return TermSyntaxError(f"U+{ord(character):04X} is no character", position=position)
