"""Erlang text: typed by operators, and printed by nodes."""

from __future__ import annotations

from iris_admin.errors import TermSyntaxError
from iris_admin.proto.etf import encode
from iris_admin.syntax import format_term, parse_term
from iris_admin.syntax.tokens import tokenize
from tests.support.hostile import DANGEROUS

_LARGE = 100_000


def seeds() -> list[bytes]:
    """Terms and expressions of each kind."""
    texts = (
        '{ok, <<"bob">>, [1, 2.5e3, $a, $\\n], #{a => \'B c\', "x" => []}}',
        '<<1:16, 2:3/unit:2, 3.0/float-little, "é"/utf8, $x>>',
        "[a, b | c] % comment",
        "16#FF + 1_000 - 2#101 * -3",
        "lists:map(fun(X) -> X * 2 end, [1, 2]), 'a\\x{E9}\\^a\\377'",
        "<0.1.2> #Ref<0.1.2.3> #Fun<m.1.2> fun m:f/2 #Port<0.5>",
        '"""\n  text\n  """ ~s"x" ~b[y]',
        "case X of {_, Y} when Y > 1; is_list(Y) -> {X}; _ -> throw(no) end.",
        '- 1.0e-300 "abc" "def" \'true\' ?MACRO #rec{a = 1}',
    )
    return [text.encode() for text in texts]


def run(data: bytes) -> None:
    """Parse the bytes as text."""
    text = data.decode("utf-8", "replace")
    try:
        for token in tokenize(text):
            assert isinstance(token, tuple)
    except TermSyntaxError as error:
        _look_at(error, text)
    try:
        term = parse_term(text)
    except TermSyntaxError as error:
        _look_at(error, text)
        return
    if len(encode(term)) > _LARGE:
        return  # a size of a few digits asks for a binary of up to 64 MiB, and writing that takes its time
    written = format_term(term)
    assert not DANGEROUS.search(written), written
    assert parse_term(written) == term, written


def _look_at(error: TermSyntaxError, text: str) -> None:
    assert error.position is None or 0 <= error.position <= len(text)
    assert len(str(error)) < 1000, "an error that quotes all that it was given"
