"""Control messages: the signals between processes of connected nodes.

Operations and layouts are those of the section "Protocol between Connected Nodes" of OTP's documentation. The
variants with a trace token (``_TT``) mean the same as the plain ones; :func:`read` drops the token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iris_admin.errors import ProtocolError
from iris_admin.proto.etf import decode_term
from iris_admin.terms import Atom, Pid, Reference, Term

if TYPE_CHECKING:
    from iris_admin.proto.long_message import Body


class Operation:
    """First element of a control tuple."""

    # Plain numbers, as they stand in messages; an IntEnum takes longer to define than a call lasts.
    LINK = 1
    SEND = 2
    EXIT = 3
    REG_SEND = 6
    GROUP_LEADER = 7
    EXIT2 = 8
    MONITOR_P = 19
    DEMONITOR_P = 20
    MONITOR_P_EXIT = 21
    SEND_SENDER = 22
    PAYLOAD_EXIT = 24
    PAYLOAD_EXIT2 = 26
    PAYLOAD_MONITOR_P_EXIT = 28
    SPAWN_REQUEST = 29
    SPAWN_REPLY = 31
    ALIAS_SEND = 33
    UNLINK_ID = 35
    UNLINK_ID_ACK = 36


#: Trace-token variant → plain operation and the index of the token in the tuple.
_WITH_TRACE_TOKEN: dict[int, tuple[int, int]] = {
    12: (Operation.SEND, 3),
    13: (Operation.EXIT, 3),
    16: (Operation.REG_SEND, 4),
    18: (Operation.EXIT2, 3),
    23: (Operation.SEND_SENDER, 3),
    25: (Operation.PAYLOAD_EXIT, 3),
    27: (Operation.PAYLOAD_EXIT2, 3),
    30: (Operation.SPAWN_REQUEST, 6),
    32: (Operation.SPAWN_REPLY, 5),
    34: (Operation.ALIAS_SEND, 3),
}

#: What stands behind the operation in each control tuple: a pid (p), a pid or a registered name (n), a registered name
#: (a), a reference (r), an integer (i), or any term (.). What is of these kinds is small, and can be compared.
_SHAPES: dict[int, str] = {
    Operation.LINK: "pp",
    Operation.SEND: ".p",
    Operation.EXIT: "pn.",
    Operation.REG_SEND: "p.a",
    Operation.GROUP_LEADER: "pp",
    Operation.EXIT2: "pn.",
    Operation.MONITOR_P: "p.r",
    Operation.DEMONITOR_P: "p.r",
    Operation.MONITOR_P_EXIT: "npr.",
    Operation.SEND_SENDER: "pp",
    Operation.PAYLOAD_EXIT: "pn",
    Operation.PAYLOAD_EXIT2: "pn",
    Operation.PAYLOAD_MONITOR_P_EXIT: "npr",
    Operation.SPAWN_REQUEST: "rpp..",
    Operation.SPAWN_REPLY: "rpi.",
    Operation.ALIAS_SEND: "pr",
    Operation.UNLINK_ID: "ipp",
    Operation.UNLINK_ID_ACK: "ipp",
}
#: All operations that are known.
OPERATIONS = tuple(_SHAPES)
# The atoms true and false are bools here.
_KINDS: dict[str, tuple[type, ...]] = {
    "p": (Pid,),
    "n": (Pid, Atom, bool),
    "a": (Atom, bool),
    "r": (Reference,),
    "i": (int,),
}
#: Bytes of a strange message that an error quotes.
_QUOTED = 40


def read(message: Body, offset: int) -> tuple[tuple[Term, ...], int]:
    """Read the control tuple at ``offset`` of a message.

    :returns: the tuple without a trace token, and the offset of the payload behind it.
    :raises ProtocolError: for anything that is no control tuple of a known operation.
    """
    control, payload_offset = decode_term(message, offset)
    if type(control) is not tuple or not control or type(control[0]) is not int:
        raise _strange(message, offset)
    operation = control[0]
    traced = _WITH_TRACE_TOKEN.get(operation)
    if traced is not None:
        operation, token = traced
        control = (operation, *control[1:token], *control[token + 1 :])
    shape = _SHAPES.get(operation)
    if shape is None or len(control) != len(shape) + 1:
        raise _strange(message, offset)
    for kind, element in zip(shape, control[1:], strict=True):
        if kind != "." and type(element) not in _KINDS[kind]:
            raise _strange(message, offset)
    return control, payload_offset


def _strange(message: Body, offset: int) -> ProtocolError:
    return ProtocolError(f"this is no control message: {bytes(message[offset : offset + _QUOTED])!r}")
