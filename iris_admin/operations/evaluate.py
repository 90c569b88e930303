"""Evaluate Erlang expressions on a node, and leave nothing there.

The text is cut into tokens here and parsed and evaluated there, by ``erl_parse`` and ``erl_eval``; no module is
loaded. A scanner on the node would turn every variable's name into an atom, and atoms are never collected. So
variables travel under names that every node knows anyway, and an atom of an operator's text must be known to the
node (or be the name of a module that it can load) before it is sent as one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

from iris_admin.errors import RemoteError, TermSyntaxError, UnknownAtom
from iris_admin.operations.steps import AllOf, Call, Capture, Operation
from iris_admin.proto.etf import encode
from iris_admin.remote import source
from iris_admin.syntax import tokenize
from iris_admin.terms import (
    Atom,
    Export,
    Fun,
    ImproperList,
    Map,
    NativeRecord,
    Pid,
    Port,
    Reference,
    Term,
    charlist,
)

#: Names of BIFs of the module erlang, which every release has.
_BIFS = (
    "abs adler32 adler32_combine append append_element apply atom_to_binary atom_to_list binary_part "
    "binary_to_atom binary_to_existing_atom binary_to_float binary_to_integer binary_to_list binary_to_term "
    "bit_size bitstring_to_list bump_reductions byte_size cancel_timer ceil check_old_code check_process_code "
    "convert_time_unit crc32 crc32_combine date decode_packet delete_element delete_module demonitor display "
    "element erase error exit external_size float float_to_binary float_to_list floor fun_info fun_to_list "
    "function_exported garbage_collect get get_cookie get_keys get_module_info group_leader hd insert_element "
    "integer_to_binary integer_to_list iolist_size iolist_to_binary is_alive is_atom is_binary is_bitstring "
    "is_boolean is_builtin is_float is_function is_integer is_list is_map is_number is_pid is_port "
    "is_process_alive is_record is_reference is_tuple length link list_to_atom list_to_binary list_to_bitstring "
    "list_to_existing_atom list_to_float list_to_integer list_to_pid list_to_tuple load_module localtime "
    "make_ref map_get map_size max md5 memory min module_loaded monitor monitor_node monotonic_time node nodes "
    "now open_port phash2 pid_to_list port_close port_command port_connect port_control port_info port_to_list "
    "ports process_flag process_info processes put read_timer register registered round self send setelement "
    "size spawn spawn_link spawn_monitor split_binary statistics system_info system_time time tl trunc "
    "tuple_size tuple_to_list unique_integer unlink unregister whereis"
)
#: Atoms to name variables by.
_VARIABLE_NAMES = tuple(Atom(name) for name in _BIFS.split())

_VAR = Atom("var")
_LINE = 1


def _symbols(text: str) -> list[tuple[Term, ...]]:
    return [(Atom(symbol), _LINE) for symbol in text.split()]


# A fun keeps the variables of the text out of what erl_eval gives back.
_BEFORE = _symbols("( fun ( ) ->")
_AFTER = [*_symbols("end ) ( )"), (Atom("dot"), _LINE)]

_parsed_remote: dict[str, tuple[Term, dict[str, Atom]]] = {}


def evaluate(
    text: str,
    bindings: Mapping[str, Term] | None = None,
    *,
    node: str | None = None,
    timeout: float | None = None,
    capture: bool = False,
) -> Operation[Term]:
    """Evaluate an operator's text.

    :param text: expressions separated by commas; a dot at the end may be left out.
    :param bindings: variables and their values.
    :param node: where; None is the operation's own node.
    :param timeout: of the evaluation, in seconds.
    :param capture: whether to give a tuple of the value and the text that was printed.
    :returns: the value of the last expression.
    :raises TermSyntaxError: the text is no Erlang.
    :raises UnknownAtom: the node does not know an atom in it.
    :raises RemoteError: the evaluation failed.
    """
    tokens, names = _prepare(text, bindings or {})
    atoms = (token[2] for token in tokens if token[0] == "atom")
    modules = (token[2] for token, behind in pairwise(tokens) if token[0] == "atom" and behind[0] == ":")
    yield from require_atoms(atoms, modules=modules, node=node)
    form = yield from _parse(tokens, node)
    return (yield from _evaluate_form(form, names, bindings or {}, node, timeout, idempotent=False, capture=capture))


def run_remote(
    name: str,
    bindings: Mapping[str, Term] | None = None,
    *,
    node: str | None = None,
    timeout: float | None = None,
    idempotent: bool = True,
) -> Operation[Term]:
    """Evaluate one of our own expressions, the file ``remote/<name>.erl``.

    It is parsed by the first node that is asked, and the parsed form is kept.

    :param bindings: all of its free variables and their values.
    """
    if name not in _parsed_remote:
        tokens, names = _prepare(source(name), bindings or {})
        form = yield from _parse(tokens, node)
        _parsed_remote[name] = (form, names)
    form, names = _parsed_remote[name]
    return (yield from _evaluate_form(form, names, bindings or {}, node, timeout, idempotent=idempotent))


def require_atoms(atoms: Iterable[Atom], *, modules: Iterable[Atom] = (), node: str | None = None) -> Operation[None]:
    """See that a node knows some atoms, without making any.

    An atom that is unknown, but names a module in the node's code path, is made known by loading that module, as
    a call of it would do.

    :param modules: those of the atoms that name modules: when others are unknown, these are loaded as well, for
        they may be the names of their functions.
    :raises UnknownAtom: the node does not know one of them.
    """
    wanted = sorted(set(atoms))
    if not wanted:
        return
    unknown = yield from _unknown_atoms(wanted, node)
    loadable = []
    for atom in sorted({*unknown, *modules}) if unknown else ():
        found = yield Call("code", "where_is_file", (charlist(f"{atom}.beam"),), node=node, idempotent=True)
        if isinstance(found, list):
            loadable.append(atom)
    for module in loadable:
        yield Call("code", "ensure_loaded", (module,), node=node, idempotent=True)
    if loadable:
        unknown = yield from _unknown_atoms(unknown, node)
    if unknown:
        raise UnknownAtom(
            f"the node does not know the atom{'s' if len(unknown) > 1 else ''} {', '.join(unknown)}",
            node=node,
            hint="Is it misspelt? A new atom would stay on the node for ever, so none was made.",
        )


def atoms_in(*terms: Term) -> set[Atom]:
    """All atoms that some terms are made of, besides ``true`` and ``false``, which every node knows."""
    found: set[Atom] = set()
    rest = list(terms)
    while rest:
        match rest.pop():
            case Atom() as atom:
                found.add(atom)
            case list() | tuple() as elements:
                rest.extend(elements)
            case dict() | Map() as associations:
                rest.extend(associations.keys())
                rest.extend(associations.values())
            case ImproperList(elements, tail):
                rest.extend((*elements, tail))
            case Export(module, function):
                found |= {module, function}
            case Pid(node) | Port(node) | Reference(node):
                found.add(node)
            case Fun() as fun:
                found.add(fun.module)
                rest.extend((fun.pid, *fun.free_vars))
            case NativeRecord(module, name, fields, values):
                found |= {module, name, *fields}
                rest.extend(values)
    return found


def _unknown_atoms(atoms: list[Atom], node: str | None) -> Operation[list[Atom]]:
    def known(term: Term) -> Call:
        # Within a binary, an atom is not made by the mere arrival of the message.
        return Call("erlang", "binary_to_term", (encode(term), [Atom("safe")]), node=node, idempotent=True)

    try:
        yield known(atoms)
        return []
    except RemoteError as error:
        if error.reason != "badarg":
            raise
    outcomes = yield AllOf(tuple(known(atom) for atom in atoms))
    return [atom for atom, outcome in zip(atoms, outcomes, strict=True) if isinstance(outcome, RemoteError)]


def _prepare(text: str, bindings: Mapping[str, Term]) -> tuple[list[tuple[Term, ...]], dict[str, Atom]]:
    """Tokens of a call of a fun with the text as its body, and the names by which its variables travel."""
    tokens = tokenize(text)
    if tokens and tokens[-1][0] == "dot":
        tokens.pop()
    if not tokens:
        raise TermSyntaxError("there is nothing to evaluate")
    if any(token[0] == "dot" for token in tokens):
        raise TermSyntaxError("a dot ends the text", hint="Separate expressions with commas.")
    for token in tokens:
        # The scanner takes any character for a symbol, but the node need not have an atom of that name.
        if not (token[0].isascii() and token[0].isprintable()):
            raise TermSyntaxError(f"Erlang has no symbol {token[0]!s}")
    variables = {token[2] for token in tokens if token[0] == _VAR and token[2] != "_"}
    wanted = sorted(variables.union(bindings))
    if len(wanted) > len(_VARIABLE_NAMES):
        raise TermSyntaxError(f"more than {len(_VARIABLE_NAMES)} different variables")
    names = dict(zip(wanted, _VARIABLE_NAMES, strict=False))
    body = [(_VAR, token[1], names.get(token[2], token[2])) if token[0] == _VAR else token for token in tokens]
    return [*_BEFORE, *body, *_AFTER], names


def _parse(tokens: list[tuple[Term, ...]], node: str | None) -> Operation[Term]:
    parsed = yield Call("erl_parse", "parse_exprs", (tokens,), node=node, idempotent=True)
    match parsed:
        case ("ok", [form]):
            return form
        case ("error", (_, _, description)):
            text = yield Call("erl_parse", "format_error", (description,), node=node, idempotent=True)
            raise TermSyntaxError(_flatten(text))
    raise TermSyntaxError("the text is no sequence of expressions")


def _flatten(chardata: Term) -> str:
    from iris_admin.proto.io_protocol import chardata_to_str

    return chardata_to_str(chardata, "utf-8") or "syntax error"


def _evaluate_form(
    form: Term,
    names: Mapping[str, Atom],
    bindings: Mapping[str, Term],
    node: str | None,
    timeout: float | None,
    *,
    idempotent: bool,
    capture: bool = False,
) -> Operation[Term]:
    # A map: with the list that erl_eval takes as well, it would search for each variable from its beginning.
    environment = {names[variable]: value for variable, value in bindings.items()}
    arguments = (form, environment, Atom("none"), Atom("none"), Atom("value"))
    try:
        call = Call("erl_eval", "expr", arguments, node=node, timeout=timeout, idempotent=idempotent)
        return (yield Capture(call) if capture else call)
    except RemoteError as error:
        match error.reason:
            case ("unbound", variable):
                original = next((name for name, sent in names.items() if sent == variable), str(variable))
                raise TermSyntaxError(f"variable {original} is unbound") from None
        raise
