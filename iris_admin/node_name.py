"""Names of nodes, as an operator types them."""

from __future__ import annotations

import re
import socket

from iris_admin.errors import ConfigError
from iris_admin.records import record

#: What a name may be made of before the ``@``, and a host besides letters and digits: net_kernel accepts the same.
_IN_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_IN_HOST = frozenset("_.-:")
#: What a node makes up for a client that asks for a name: 64 random bits to the base of 36, without leading zeros.
_GIVEN = r"[0-9A-Z]{10,13}"


@record
class NodeName:
    """Where a node is and what it is called.

    :param name: the part before the ``@``.
    :param host: the part behind it: a short or full host name, or an IP address.
    :param port: the distribution port, where EPMD is not to be asked; else None.
    """

    name: str
    host: str
    port: int | None = None

    def __str__(self) -> str:
        return f"{self.name}@{self.host}"

    @property
    def is_long(self) -> bool:
        """Whether it is a "long" name, which a node started with ``-name`` has."""
        return "." in self.host or ":" in self.host

    @property
    def is_given(self) -> bool:
        """Whether it looks like a name that a node has made up for a client: an administrator, or a remote shell."""
        return re.fullmatch(_GIVEN, self.name) is not None

    @classmethod
    def parse(cls, text: str) -> NodeName:
        """Read ``db1``, ``db1@host``, ``db1@host.example.com``, ``db1@host:9100``, ``db1@::1`` or ``db1@[::1]:9100``.

        A name without a host is a node on this machine. A port means that EPMD is not asked.

        :raises ConfigError: the text is no node name.
        """
        name, at, rest = text.strip().partition("@")
        host, port_text = (rest, "") if at else (short_host_name(), "")
        if host.startswith("["):
            host, closed, behind = host[1:].partition("]")
            if not closed or behind == ":" or (behind and not behind.startswith(":")):
                raise _bad(text)
            port_text = behind[1:]
        elif host.count(":") == 1:
            host, _, port_text = host.partition(":")
            if not port_text:
                raise _bad(text)
        if not (name and _IN_NAME.issuperset(name)) or not (host and all(map(_may_be_in_host, host))):
            raise _bad(text)
        if not port_text:
            return cls(name, host)
        if not (port_text.isdecimal() and len(port_text) <= 5 and 0 < int(port_text) < 65536):
            raise ConfigError(f"{port_text!r} is no TCP port, in the node name {text!r}")
        return cls(name, host, int(port_text))


def _may_be_in_host(character: str) -> bool:
    return character.isalnum() or character in _IN_HOST


def short_host_name() -> str:
    """This machine's name up to the first dot, which is the host part of a node started with ``-sname``."""
    return socket.gethostname().partition(".")[0]


def _bad(text: str) -> ConfigError:
    return ConfigError(
        f"{text!r} is no node name",
        hint="Write db1, db1@host, db1@host.example.com, or db1@host:9100 to go without EPMD.",
    )
