"""The external term format: Erlang terms as bytes.

https://www.erlang.org/doc/apps/erts/erl_ext_dist.html

Every tag that a node of OTP 25 to 29 sends is decoded, and encoding the value again gives the same term. Forms that
nodes no longer send (old pids, references, ports, floats, Latin-1 atoms) are encoded in today's form. Atoms ``true``
and ``false`` are bools, a list of bytes (STRING_EXT) is a list of integers, and a map whose keys a dict would mix up
is a :class:`~iris_admin.terms.Map`.

Bytes from outside are never trusted: whatever is wrong with them is a :class:`~iris_admin.errors.DecodeError`,
without recursion, and with memory bounded by about 100 times the input.

There are two codecs behind these functions, :data:`IMPLEMENTATION` says which of them is at work: one in Python, and
an optional one in C. They give the same results and the same errors; see :mod:`iris_admin.codec_choice`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from iris_admin.codec_choice import CODEC_VARIABLE, wanted_codec
from iris_admin.errors import ConfigError
from iris_admin.terms import DEFAULT_MAX_SIZE, MAX_DEPTH, Term

__all__ = [
    "DEFAULT_MAX_SIZE",
    "IMPLEMENTATION",
    "MAX_DEPTH",
    "canonical",
    "decode",
    "decode_coming",
    "decode_term",
    "encode",
    "encode_term",
]

#: Input from which on it pays to hold back the cyclic garbage collector, in bytes.
_PAUSE_COLLECTOR_FROM = 64 << 10
#: And from which on it pays to take memory in large pages.
_LARGE_PAGES_FROM = 1 << 20

#: Which codec is at work.
IMPLEMENTATION: Literal["pure", "compiled"]

_decode: Callable[..., Term]
_decode_term: Callable[[bytes | memoryview, int], tuple[Term, int]]
_decode_coming: Callable[..., tuple[Term, int] | None] | None
encode: Callable[[Term], bytes]
encode_term: Callable[[Term], bytes]


def _compiled_codec() -> Any:
    """The module of the compiled codec; None where it is not built, or not wanted."""
    wanted = wanted_codec()
    if wanted == "pure":
        return None
    try:
        from iris_admin.proto import _etf  # type: ignore[attr-defined]
    except ImportError as error:
        if wanted == "compiled":
            raise ConfigError(
                f"{CODEC_VARIABLE} asks for the compiled codec, which cannot be imported: {error}",
                hint=f"install iris_admin again where a C compiler and Python's headers are, or unset {CODEC_VARIABLE}",
            ) from error
        return None
    return _etf


if (_etf := _compiled_codec()) is not None:
    IMPLEMENTATION = "compiled"
    _decode, _decode_term, _decode_coming = _etf.decode, _etf.decode_term, _etf.decode_coming
    encode, encode_term = _etf.encode, _etf.encode_term
else:
    from iris_admin.proto import _etf_decode, _etf_encode

    IMPLEMENTATION = "pure"
    _decode, _decode_term, _decode_coming = _etf_decode.decode, _etf_decode.decode_term, None
    encode, encode_term = _etf_encode.encode, _etf_encode.encode_term


def canonical(term: Term) -> bytes:
    """Bytes that are equal for two terms exactly where Erlang's ``=:=`` (of OTP 27) holds between them.

    :raises EncodeError: as :func:`encode_term`.
    """
    from iris_admin.proto import _etf_encode

    return _etf_encode.canonical(term)


def decode(data: bytes | bytearray | memoryview, *, max_size: int = DEFAULT_MAX_SIZE) -> Term:
    """Decode one term in the form of ``term_to_binary``: with the leading version byte 131.

    :param data: the whole encoding, nothing behind it; compressed or not.
    :param max_size: what a compressed term may grow to, in bytes.
    :return: the term, as :mod:`iris_admin.terms` represents it.
    :raises DecodeError: for anything but exactly one valid term, with the offset where decoding stopped. Inside
        compressed data the offset counts in the uncompressed bytes.
    """
    data = bytes(data)
    if len(data) < _PAUSE_COLLECTOR_FROM:
        return _decode(data, max_size=max_size)
    # Imported when it is needed: few commands get as much.
    from iris_admin.large_term import decode_large

    return decode_large(_decode, data, max_size=max_size)


def decode_term(data: bytes | bytearray | memoryview, offset: int = 0) -> tuple[Term, int]:
    """Decode one term without the version byte.

    :param data: bytes that hold the term. Anything but ``bytes`` is copied; by the compiled codec, a memoryview that
        cannot be written to is not.
    :param offset: where the term starts.
    :return: the term and the offset behind it.
    :raises DecodeError: when there is no valid term at the offset.
    """
    if not (type(data) is bytes or (type(data) is memoryview and data.readonly)):
        data = bytes(data)
    if len(data) - offset < _PAUSE_COLLECTOR_FROM:
        return _decode_term(data, offset)
    from iris_admin.large_term import decode_large, decode_very_large

    if len(data) - offset < _LARGE_PAGES_FROM:
        return decode_large(_decode_term, data, offset)
    return decode_very_large(_decode_term, data, offset)


def decode_coming(room: memoryview, offset: int, filled: int, more: Callable[[int], int]) -> tuple[Term, int] | None:
    """Decode a term of which only the beginning has come.

    :param room: where the term comes; cannot be written to by this view of it.
    :param offset: where it starts.
    :param filled: how much of the room is filled, in bytes.
    :param more: tells that now, and is called again and again. It is given how much has to be there for the decoding to
        go on, and should return when so much is; if not, no more comes.
    :return: the term and the offset behind it. None if it is to be decoded by :func:`decode_term` when all has come, as
        something is wrong with it, or rare; always from the pure codec.
    """
    if _decode_coming is None:
        return None
    from iris_admin.large_term import decode_very_large

    return decode_very_large(_decode_coming, room, offset, filled, more)
