"""Integers of any size as text. Python's own conversion stops at 4,300 digits, Erlang's does not."""

from __future__ import annotations

_CHUNK = 4000


def parse_integer(digits: str, base: int) -> int:
    """The integer that the digits mean.

    :param digits: digits of the base, nothing else.
    :param base: 2..36.
    """
    if len(digits) <= _CHUNK:
        return int(digits, base)
    # Halves instead of chunk after chunk: the multiplications stay balanced.
    low = len(digits) // 2
    shift: int = base**low
    return parse_integer(digits[:-low], base) * shift + parse_integer(digits[-low:], base)


def format_integer(value: int) -> str:
    """The integer in decimal digits."""
    if -(10**18) < value < 10**18:
        return str(value)
    if value < 0:
        return "-" + format_integer(-value)
    # 3.32 bits to a digit; an estimate is enough.
    digits = value.bit_length() * 100 // 332
    if digits <= _CHUNK:
        return str(value)
    low = digits // 2
    high, rest = divmod(value, 10**low)
    return format_integer(high) + format_integer(rest).rjust(low, "0")
