"""The external term format: Erlang terms as bytes.

https://www.erlang.org/doc/apps/erts/erl_ext_dist.html

Every tag that a node of OTP 25 to 29 sends is decoded, and encoding the value again gives the same term. Forms that
nodes no longer send (old pids, references, ports, floats, Latin-1 atoms) are encoded in today's form. Atoms ``true``
and ``false`` are bools, a list of bytes (STRING_EXT) is a list of integers, and a map whose keys a dict would mix up
is a :class:`~iris_admin.terms.Map`.

Bytes from outside are never trusted: whatever is wrong with them is a :class:`~iris_admin.errors.DecodeError`,
without recursion, and with memory bounded by about 100 times the input.
"""

from iris_admin.proto._etf_decode import DEFAULT_MAX_SIZE, decode, decode_term
from iris_admin.proto._etf_encode import MAX_DEPTH, canonical, encode, encode_term

__all__ = ["DEFAULT_MAX_SIZE", "MAX_DEPTH", "canonical", "decode", "decode_term", "encode", "encode_term"]
