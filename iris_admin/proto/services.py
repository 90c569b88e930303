"""What other nodes ask of us, and our answers.

Iris's durable batcher, for one, asks every connected node ``rpc:call(Node, erlang, whereis, [Batcher])`` and makes
the first whose answer is not ``undefined`` the replica of its write-ahead log. A client that cannot answer gets
an error recorded there, which is not ``undefined``, and is chosen. So we answer as what we are: a node on which
nothing is registered and no function can be called.
"""

from __future__ import annotations

from iris_admin.terms import Atom, ImproperList, Pid, Reference, Term

_UNDEFINED = Atom("undefined")
_ERROR = Atom("error")
_UNDEF = Atom("undef")
_WHEREIS = ("erlang", "whereis")


def answer_spawn(mfa: Term, args: Term) -> Term:
    """The exit reason of a process that a peer spawned on us.

    :param mfa: module, function and arity to spawn.
    :param args: its argument list.
    """
    match mfa, args:
        case ("erpc", "execute_call", 4), [res, Atom() as module, Atom() as function, list() as called_args]:
            if (module, function) == _WHEREIS and len(called_args) == 1:
                return res, Atom("return"), _UNDEFINED
            return res, _ERROR, _UNDEF, [(module, function, called_args, [])]
        case (Atom() as module, Atom() as function, int()), list():
            return _UNDEF, [(module, function, args, [])]
    return Atom("badarg")


def answer_registered(name: str, message: Term) -> tuple[Pid | Reference, Term] | None:
    """Answer a message that was sent to a registered name of ours.

    :returns: the receiver (a pid or an alias) and the reply to it, or None where nothing is expected.
    """
    match message:
        case ("$gen_call", (Pid() as caller, tag), request):
            reply: Term
            if name == "net_kernel":
                reply = Atom("yes") if _is_ping(request) else (_ERROR, Atom("notsup"))
            elif name == "rex":
                reply = _answer_rex(request)
            else:
                # No such process: a gen call's monitor tells the caller so.
                return None
            return _reply_to(caller, tag), (tag, reply)
    return None


def _is_ping(request: Term) -> bool:
    return type(request) is tuple and len(request) == 2 and request[0] == "is_auth"


def _answer_rex(request: Term) -> Term:
    match request:
        case ("call" | "block_call", "erlang", "whereis", [_], _):
            return _UNDEFINED
        case ("call" | "block_call", Atom() as module, Atom() as function, list() as args, _):
            return Atom("badrpc"), (Atom("EXIT"), (_UNDEF, [(module, function, args, [])]))
    return Atom("badrpc"), Atom("notsup")


def _reply_to(caller: Pid, tag: Term) -> Pid | Reference:
    # gen:reply/2: a tag made with an alias carries it, and the reply must go there.
    match tag:
        case ImproperList(elements=("alias",), tail=Reference() as alias):
            return alias
        case [ImproperList(elements=("alias",), tail=Reference() as alias), *_]:
            return alias
        case ImproperList(elements=(ImproperList(elements=("alias",), tail=Reference() as alias), *_)):
            return alias
    return caller
