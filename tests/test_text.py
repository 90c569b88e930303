"""Text of a node does not command the terminal of whoever looks at it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from iris_admin.text import binary_text, printable


class TestPrintable:
    def test_plain_text_stays(self) -> None:
        assert printable("Grüße, 世界 – “so”\\n") == "Grüße, 世界 – “so”\\n"

    def test_commands_become_visible(self) -> None:
        assert printable("\x1b]0;pwned\x07\r\n") == r"\e]0;pwned\x{7}\r\n"

    def test_control_characters_above_127_and_marks_of_direction_too(self) -> None:
        assert printable("\x9b2J\u202etxt.exe\u200b\u2028\ud800") == (
            r"\x{9B}2J\x{202E}txt.exe\x{200B}\x{2028}\x{D800}"
        )

    def test_lines_can_be_kept(self) -> None:
        assert printable("a\n\tb\x1b", keep="\n\t") == "a\n\tb\\e"

    @given(st.text(st.characters(exclude_categories=[])))
    def test_nothing_else_comes_through(self, text: str) -> None:
        assert printable(text).isprintable()
        assert set(printable(text, keep="\n")) <= set(printable(text)) | {"\n"}


class TestBinaryText:
    @given(st.text())
    def test_utf8_is_its_text(self, text: str) -> None:
        assert binary_text(text.encode()) == text

    def test_anything_else_is_erlang(self) -> None:
        assert binary_text(b"\xc3\x28") == '<<"Ã(">>'
        assert binary_text(b"\xff\x00") == "<<255,0>>"
