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
from typing import TYPE_CHECKING, Literal

from iris_admin.codec_choice import CODEC_VARIABLE, wanted_codec
from iris_admin.errors import ConfigError
from iris_admin.proto import _etf_decode, _etf_encode
from iris_admin.proto._etf_decode import DEFAULT_MAX_SIZE
from iris_admin.proto._etf_encode import MAX_DEPTH, canonical
from iris_admin.terms import Term

__all__ = [
    "DEFAULT_MAX_SIZE",
    "IMPLEMENTATION",
    "MAX_DEPTH",
    "canonical",
    "decode",
    "decode_term",
    "encode",
    "encode_term",
]

#: Input from which on it pays to hold back the cyclic garbage collector, in bytes.
_PAUSE_COLLECTOR_FROM = 64 * 1024

#: Which codec is at work.
IMPLEMENTATION: Literal["pure", "compiled"] = "pure"

_decode: Callable[..., Term] = _etf_decode.decode
_decode_term: Callable[[bytes | memoryview, int], tuple[Term, int]] = _etf_decode.decode_term
encode = _etf_encode.encode
encode_term = _etf_encode.encode_term

if not TYPE_CHECKING and (_wanted := wanted_codec()) != "pure":
    try:
        from iris_admin.proto import _etf
    except ImportError as error:
        if _wanted == "compiled":
            raise ConfigError(
                f"{CODEC_VARIABLE} asks for the compiled codec, which cannot be imported: {error}",
                hint=f"install iris_admin again where a C compiler and Python's headers are, or unset {CODEC_VARIABLE}",
            ) from error
    else:
        IMPLEMENTATION = "compiled"
        _decode, _decode_term, encode, encode_term = _etf.decode, _etf.decode_term, _etf.encode, _etf.encode_term


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
    from iris_admin.large_term import decode_large

    return decode_large(_decode_term, data, offset)
