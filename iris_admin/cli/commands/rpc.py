"""``iris-admin rpc``."""

from __future__ import annotations

import click

from iris_admin.cli.command import Command
from iris_admin.cli.session import Session
from iris_admin.errors import EncodeError


class _Rpc(Command):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # A negative number is a term, not an option; a blank in front changes nothing for either.
        return super().parse_args(ctx, [f" {arg}" if arg[:1] == "-" and arg[1:2].isdigit() else arg for arg in args])


@click.command("rpc", cls=_Rpc)
@click.argument("module")
@click.argument("function")
@click.argument("terms", metavar="[TERM]...", nargs=-1)
@click.pass_obj
def command(session: Session, module: str, function: str, terms: tuple[str, ...]) -> None:
    r"""Call MODULE:FUNCTION(TERM, ...) on the node.

    Each TERM is an argument in Erlang syntax: bob is an atom, '"bob"' a string, '<<"bob">>' a binary, which is what
    Iris's users are. What the function prints is shown first, then what it returned, in Erlang syntax.

    Every atom must be known to the node already, so that a typing error does not leave a new one there.
    """
    from iris_admin.cli.value import show_value
    from iris_admin.syntax import parse_term
    from iris_admin.terms import MAX_ATOM_CHARACTERS, Atom

    for name in (module, function):
        if not 0 < len(name) <= MAX_ATOM_CHARACTERS:
            raise EncodeError(f"a name of {len(name)} characters cannot be that of a module or function")
    arguments = [parse_term(term) for term in terms]
    with session.connect() as node:
        node.check_atoms(Atom(module), Atom(function), arguments)
        value, output = node.capture(module, function, *arguments)
    show_value(session, node.name, value, output)
