"""EPMD, the Erlang Port Mapper Daemon: which nodes run on a host, and on which port each listens.

Requests carry a two-byte length, replies none: they end where the daemon closes the connection. Source: the
section "EPMD Protocol" of OTP's distribution protocol guide.
"""

from __future__ import annotations

import re
import struct

from iris_admin.errors import ProtocolError
from iris_admin.records import record

DEFAULT_PORT = 4369

#: The lowest distribution version that a node must reach; it came with OTP 23.
DISTRIBUTION_VERSION = 6

NODE_TYPE_HIDDEN = 72
NODE_TYPE_NORMAL = 77

_PORT_PLEASE2_REQ = 122
_PORT2_RESP = 119
_NAMES_REQ = 110
_DUMP_REQ = 100
_PORT2_RESP_HEAD = struct.Struct(">HBBHHH")
_DUMPED = r"(active|old/unused) name +<(.*)>,? (?:at port|port =) ([0-9]{1,5}), fd = -?[0-9]+ *"
_HIGHEST_PORT = 65535
#: Characters of a strange line that an error quotes.
_QUOTED = 80


@record
class NodeRegistration:
    """What EPMD knows of one node.

    :param name: the part before the ``@``.
    :param port: the TCP port of its distribution listener.
    :param hidden: whether it was registered as a hidden node.
    :param highest_version: the highest distribution version that it speaks.
    """

    name: str
    port: int
    hidden: bool
    highest_version: int


def port_please2_request(name: str) -> bytes:
    """Ask for one node. ``name`` is the part before the ``@``."""
    encoded = name.encode()
    return struct.pack(">HB", len(encoded) + 1, _PORT_PLEASE2_REQ) + encoded


def read_port2_response(data: bytes) -> NodeRegistration | None:
    """Read the whole reply to :func:`port_please2_request`.

    :returns: the registration, or None where no such node is registered.
    :raises ProtocolError: for a reply that is none.
    """
    if len(data) < 2 or data[0] != _PORT2_RESP:
        raise ProtocolError(f"this is no reply of EPMD: {data[:16]!r}", hint="Does EPMD listen on that port?")
    if data[1] != 0:
        return None
    if len(data) < 2 + _PORT2_RESP_HEAD.size:
        raise ProtocolError("EPMD's reply was cut short")
    port, node_type, _protocol, highest, _lowest, name_length = _PORT2_RESP_HEAD.unpack_from(data, 2)
    name_start = 2 + _PORT2_RESP_HEAD.size
    name = data[name_start : name_start + name_length]
    if len(name) != name_length:
        raise ProtocolError("EPMD's reply was cut short")
    return NodeRegistration(name.decode("utf-8", "replace"), port, node_type == NODE_TYPE_HIDDEN, highest)


def names_request() -> bytes:
    """Ask for all nodes of the host."""
    return struct.pack(">HB", 1, _NAMES_REQ)


def read_names_response(data: bytes) -> dict[str, int]:
    """Read the whole reply to :func:`names_request`: node name (before the ``@``) to port.

    :raises ProtocolError: for a reply that is none.
    """
    if len(data) < 4:
        raise ProtocolError(f"this is no reply of EPMD: {data[:16]!r}", hint="Does EPMD listen on that port?")
    names = {}
    for line in data[4:].decode("utf-8", "replace").splitlines():
        words = line.split()
        if len(words) != 5 or words[0] != "name" or words[2:4] != ["at", "port"] or not _is_port(words[4]):
            raise ProtocolError(f"this is no line of EPMD's names: {line[:_QUOTED]!r}")
        names[words[1]] = int(words[4])
    return names


def dump_request() -> bytes:
    """Ask for all nodes of the host, and for those that were registered once and are not any more."""
    return struct.pack(">HB", 1, _DUMP_REQ)


def read_dump_response(data: bytes) -> tuple[dict[str, int], dict[str, int]]:
    """Read the whole reply to :func:`dump_request`.

    EPMD keeps up to a thousand names that are not registered any more, as long as it runs itself.

    :returns: nodes that are registered, and those that were, each by name (before the ``@``) with its port.
    :raises ProtocolError: for a reply that is none.
    """
    if len(data) < 4:
        raise ProtocolError(f"this is no reply of EPMD: {data[:16]!r}", hint="Does EPMD listen on that port?")
    active: dict[str, int] = {}
    gone: dict[str, int] = {}
    # EPMD sends the zero at the end of each of its strings, too.
    for line in data[4:].decode("utf-8", "replace").replace("\0", "").splitlines():
        found = re.fullmatch(_DUMPED, line)
        if found is None or not _is_port(found[3]):
            raise ProtocolError(f"this is no line of what EPMD remembers: {line[:_QUOTED]!r}")
        (active if found[1] == "active" else gone)[found[2]] = int(found[3])
    return active, {name: port for name, port in gone.items() if name not in active}


def _is_port(text: str) -> bool:
    # Python refuses to read a number of thousands of digits, with an error of its own.
    return text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= _HIGHEST_PORT
