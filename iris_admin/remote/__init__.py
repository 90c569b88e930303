"""Expressions that run on the target: readable Erlang, one file each, evaluated there by ``erl_eval``.

What must look at a million processes or rows does so where they are, and sends back only the answer. The free
variables of a file are the bindings that it is run with; a comment at its top says what they are.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def source(name: str) -> str:
    """The text of ``<name>.erl``.

    :param name: several names joined by ``+`` give one text: what a file defines serves those behind it.
    """
    return ",\n".join((Path(__file__).parent / f"{part}.erl").read_text("utf-8") for part in name.split("+"))
