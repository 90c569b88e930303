"""The usual call, byte by byte.

A call is a request to spawn a process, and is answered by two frames: by the pid of that process, and by its end, whose
reason holds what the function returned. A node sends our references and pids back as they were, and its own pids all
begin alike. So once it has sent one of them, nearly every byte of an answer is known before it comes.
"""

from __future__ import annotations

import struct

from iris_admin.proto import rpc
from iris_admin.proto.control import Operation
from iris_admin.proto.framing import LENGTH_BYTES, WHOLE

#: What a reference and a pid end with, behind the name of the node.
REFERENCE_WORDS = struct.Struct(">IIII")
PID_WORDS = struct.Struct(">III")

#: The control tuple of a request, before and behind our reference and twice our pid: who spawns, and the group leader.
REQUEST_HEAD = b"h\6a" + bytes([Operation.SPAWN_REQUEST])
REQUEST_TAIL = rpc.ERPC_EXECUTE_CALL + rpc.OPTION_LINK
#: How the bodies of the two frames begin.
_REPLY_HEAD = WHOLE + b"h\5a" + bytes([Operation.SPAWN_REPLY])
EXIT_HEAD = WHOLE + b"h\3a" + bytes([Operation.PAYLOAD_EXIT])
_FLAG_LINKED = b"a\1"


class Usual:
    """What is known of the calls of one connection.

    :param reference_head: how our references begin, encoded.
    :param our_pid_head: how our pids begin.
    :param pid_head: how the node's pids begin.
    :ivar linked: what is between our pid and the last words of the node's in the first frame.
    :ivar reply_head: how that frame begins, with its length.
    :ivar reply_size: its whole size.
    :ivar reply_caller: the offset of the last words of our pid in it.
    :ivar exit_caller: the same of the second frame, from its body on.
    :ivar least: no second frame is shorter.
    :ivar pieces: what a whole exchange consists of, for ``iris_admin.transport._exchange``.
    """

    __slots__ = ("exit_caller", "least", "linked", "pid_head", "pieces", "reply_caller", "reply_head", "reply_size")

    def __init__(self, reference_head: bytes, our_pid_head: bytes, pid_head: bytes) -> None:
        self.pid_head = pid_head
        self.linked = _FLAG_LINKED + pid_head
        caller = len(_REPLY_HEAD) + len(reference_head) + REFERENCE_WORDS.size + len(our_pid_head)
        length = caller + len(self.linked) + 2 * PID_WORDS.size
        self.reply_head = length.to_bytes(LENGTH_BYTES, "big") + _REPLY_HEAD
        self.reply_caller = LENGTH_BYTES + caller
        self.reply_size = LENGTH_BYTES + length
        self.exit_caller = len(EXIT_HEAD) + len(pid_head) + PID_WORDS.size + len(our_pid_head)
        self.least = LENGTH_BYTES + self.exit_caller + PID_WORDS.size
        self.pieces = (
            WHOLE + REQUEST_HEAD,
            REQUEST_TAIL + rpc.LIST_OF_FOUR,
            rpc.NIL,
            reference_head,
            our_pid_head,
            self.reply_head,
            self.linked,
            EXIT_HEAD + pid_head,
            rpc.TRIPLE,
            rpc.RETURN,
        )
