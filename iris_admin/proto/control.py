"""Control messages: the signals between processes of connected nodes.

Operations and layouts are those of the section "Protocol between Connected Nodes" of OTP's documentation. The
variants with a trace token (``_TT``) mean the same as the plain ones; :func:`read` drops the token.
"""

from __future__ import annotations

from enum import IntEnum

from iris_admin.errors import ProtocolError
from iris_admin.proto.etf import decode_term
from iris_admin.terms import Term


class Operation(IntEnum):
    """First element of a control tuple."""

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
_WITH_TRACE_TOKEN: dict[int, tuple[Operation, int]] = {
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

#: Length of each control tuple, with its operation.
_ARITY: dict[int, int] = {
    Operation.LINK: 3,
    Operation.SEND: 3,
    Operation.EXIT: 4,
    Operation.REG_SEND: 4,
    Operation.GROUP_LEADER: 3,
    Operation.EXIT2: 4,
    Operation.MONITOR_P: 4,
    Operation.DEMONITOR_P: 4,
    Operation.MONITOR_P_EXIT: 5,
    Operation.SEND_SENDER: 3,
    Operation.PAYLOAD_EXIT: 3,
    Operation.PAYLOAD_EXIT2: 3,
    Operation.PAYLOAD_MONITOR_P_EXIT: 4,
    Operation.SPAWN_REQUEST: 6,
    Operation.SPAWN_REPLY: 5,
    Operation.ALIAS_SEND: 3,
    Operation.UNLINK_ID: 4,
    Operation.UNLINK_ID_ACK: 4,
}


def read(message: bytes, offset: int) -> tuple[tuple[Term, ...], int]:
    """Read the control tuple at ``offset`` of a message.

    :returns: the tuple without a trace token, and the offset of the payload behind it.
    :raises ProtocolError: for anything that is no control tuple of a known operation.
    """
    control, payload_offset = decode_term(message, offset)
    if type(control) is not tuple or not control or type(control[0]) is not int:
        raise ProtocolError(f"this is no control message: {control!r}")
    operation = control[0]
    traced = _WITH_TRACE_TOKEN.get(operation)
    if traced is not None:
        operation, token = traced
        control = (operation, *control[1:token], *control[token + 1 :])
    if len(control) != _ARITY.get(operation):
        raise ProtocolError(f"this is no control message: {control!r}")
    return control, payload_offset
