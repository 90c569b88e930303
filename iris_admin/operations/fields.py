"""Reads single values out of what a node answers."""

from __future__ import annotations

from iris_admin.proto.io_protocol import chardata_to_str
from iris_admin.terms import Atom, Pid, Port, Term


def number(term: Term) -> int | None:
    """An integer; None for anything else, such as ``undefined``."""
    return term if isinstance(term, int) and not isinstance(term, bool) else None


def text(term: Term) -> str | None:
    """An atom's name, a charlist's or binary's text, and any other term in Erlang syntax; None for ``undefined``."""
    if term == "undefined":
        return None
    if isinstance(term, str):
        return str(term)
    if isinstance(term, list | bytes):
        flat = chardata_to_str(term, "utf-8")
        if flat is not None:
            return flat
    return syntax(term)


def items(term: Term) -> list[Term]:
    """The elements of a list; none for anything else."""
    return term if isinstance(term, list) else []


def names(term: Term) -> tuple[str, ...]:
    """The atoms of a list as text, sorted."""
    return tuple(sorted(map(str, items(term))))


def local_name(term: Term) -> str | None:
    """A pid or port as its own node writes it, ``<0.123.0>``; None for anything else."""
    match term:
        case Pid():
            return f"<0.{term.id}.{term.serial}>"
        case Port():
            return f"#Port<0.{term.id}>"
    return None


def mfa(term: Term) -> str | None:
    """``{Module, Function, Arity}`` as ``module:function/arity``; None for anything else."""
    match term:
        case (Atom() as module, Atom() as function, arity):
            count = len(arity) if isinstance(arity, list) else arity
            return f"{syntax(module)}:{syntax(function)}/{count}"
    return None


def syntax(term: Term) -> str:
    """A term in Erlang syntax, on one line."""
    # Seldom needed where a command must start fast.
    from iris_admin.syntax import format_term

    return format_term(term, width=None)
