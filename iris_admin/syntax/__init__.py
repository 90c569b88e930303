"""Erlang syntax in and out, without asking a node."""

from iris_admin.syntax.formatter import format_term
from iris_admin.syntax.parser import parse_term
from iris_admin.syntax.tokens import tokenize

__all__ = ["format_term", "parse_term", "tokenize"]
