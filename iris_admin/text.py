r"""Text from a node, made fit for human eyes and terminals.

User names, table names and messages are other people's data: a terminal that is sent them as they are may be told to
clear its screen, rename its window or pretend that the text is another one.
"""

from __future__ import annotations

from collections.abc import Container

#: File systems take 255 bytes; something may be put behind the name.
LONGEST_FILE_NAME = 150

_ESCAPES = {"\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v", "\b": r"\b", "\f": r"\f", "\x1b": r"\e", "\x7f": r"\d"}


def printable(text: str, *, keep: Container[str] = "") -> str:
    r"""Write out whatever a terminal would not simply show.

    Control characters, marks that change the direction of writing, characters without width and the like become
    visible in Erlang's notation: ``\n``, ``\e``, ``\x{202E}``. It is for reading: a backslash stays what it is, so the
    way back is not always unique.

    >>> print(printable("bob\x1b[2J"))
    bob\e[2J

    :param keep: characters that stay, e.g. ``"\n\t"`` for text of several lines.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in keep else _escape(character) for character in text
    )


def binary_text(data: bytes) -> str:
    r"""What a binary says: its text if it is UTF-8, otherwise the binary in Erlang syntax.

    >>> binary_text("Grüße".encode()), binary_text(b"\xff\x00")
    ('Grüße', '<<255,0>>')
    """
    try:
        return data.decode()
    except UnicodeDecodeError:
        # Seldom needed, and no command should wait for its import in vain.
        from iris_admin.syntax import format_term

        return format_term(data, width=None)


def file_name(text: str) -> str:
    r"""A name for a file or folder, made of a node's or a user's: it cannot lead elsewhere.

    >>> file_name("db1@127.0.0.1"), file_name("../../etc/passwd\0"), file_name("")
    ('db1@127.0.0.1', '_._.._etc_passwd_', '_')

    What is no letter, digit, or one of ``_@.-`` becomes ``_``, as does a dot in front, and it is cut at
    :data:`LONGEST_FILE_NAME` characters. Different texts may become the same name.
    """
    from re import sub

    name = sub(r"[^A-Za-z0-9_@.-]", "_", text)[:LONGEST_FILE_NAME] or "_"
    return f"_{name[1:]}" if name.startswith(".") else name


def _escape(character: str) -> str:
    return _ESCAPES.get(character) or f"\\x{{{ord(character):X}}}"


def count(number: int, noun: str) -> str:
    """A number of things: ``1 message``, ``2 messages``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
