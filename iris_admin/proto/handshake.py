"""The distribution handshake, from the side that dials (OTP's ``dist_util.erl``).

::

    we                                          the node
    N  flags, creation, name (or host)   →
                                         ←      s  ok | ok_simultaneous | named:… | nok | not_allowed | alive
    s  true (only after "alive")         →
                                         ←      N  flags, challenge, creation, name
    r  our challenge, digest of theirs   →
                                         ←      a  digest of ours

With ``NAME_ME`` we send only our host name, and the node hands out a name from its pool. So two operators
never clash, and no connection leaves a new atom behind, as a name made up by each client would.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, cast

from iris_admin.errors import CookieMismatch, HandshakeRefused, ProtocolError, TlsRequired
from iris_admin.proto.flags import NEEDED_FROM_PEER, OUR_FLAGS, DistributionFlags, flag_names
from iris_admin.records import record

_NAME_HEAD = struct.Struct(">cQIH")
_CHALLENGE_HEAD = struct.Struct(">cQIIH")

#: How an alert of TLS begins: what a node that speaks TLS answers to plain distribution.
_TLS_ALERT = b"\x15\x03"

_COOKIE_HINT = "Compare the cookie's hash with the node's: erlang:md5(atom_to_list(erlang:get_cookie()))."
_STATUS_HINTS = {
    "nok": "The node is connecting to us itself; try again.",
    "not_allowed": "net_kernel:allow/1 restricts who may connect to it, or it needs a feature that we lack.",
    "alive": "A node of our fixed name is connected already; choose another name, or none.",
}


#: Characters of a status that an error quotes, and of the name of a node, which is an atom.
_LONGEST_WORD = 80
_LONGEST_NAME = 255


@record
class Joined:
    """A finished handshake.

    :param peer: the full name that the node gave for itself.
    :param name: our own full name, chosen by us or by the node.
    :param creation: our creation, which with ``name`` makes our pids and references unique.
    """

    peer: str
    name: str
    creation: int


def _find_md5() -> Callable[[bytes], Any]:
    # hashlib would load OpenSSL for it, which takes longer than the handshake; and an OpenSSL that keeps to FIPS has no
    # MD5. Builds of Python that lack its own module for it are rare.
    try:
        from _md5 import md5  # type: ignore[import-not-found]
    except ImportError:
        from hashlib import md5
    return partial(md5, usedforsecurity=False)


_md5 = _find_md5()


def digest(cookie: str, challenge: int) -> bytes:
    """The MD5 digest with which both sides prove that they know the cookie."""
    return cast("bytes", _md5(cookie.encode("latin-1") + str(challenge).encode()).digest())


class Handshake:
    """One handshake. Feed it what arrives; send what it returns.

    :param peer: the full name of the node that was dialled; another one answering is refused.
    :param cookie: the shared secret.
    :param host: our host name.
    :param name: the part before the ``@`` of a fixed name, or None to be given one.
    :param challenge: 32 random bits.
    :param creation: 32 random bits; used with a fixed name only.
    :param length_bytes: size of the frames' length field: 2, and 4 over TLS.
    """

    def __init__(
        self,
        *,
        peer: str,
        cookie: str,
        host: str,
        name: str | None,
        challenge: int,
        creation: int,
        length_bytes: int = 2,
    ) -> None:
        self.joined: Joined | None = None
        self._peer = peer
        self._cookie = cookie
        self._challenge = challenge
        self._creation = creation
        self._length_bytes = length_bytes
        #: What the node is to send next; None when the handshake is done.
        self._waiting_for: Literal["status", "challenge", "ack"] | None = "status"
        self._buffer = b""
        if name is None:
            flags, self._name = OUR_FLAGS | DistributionFlags.NAME_ME, host
        else:
            flags, self._name = OUR_FLAGS, f"{name}@{host}"
        encoded = self._name.encode()
        self._to_send = self._frame(_NAME_HEAD.pack(b"N", flags, creation, len(encoded)) + encoded)

    def data_to_send(self) -> bytes:
        """What must go to the node now."""
        data, self._to_send = self._to_send, b""
        return data

    def receive_data(self, data: bytes) -> None:
        """Take what arrived. When the handshake is done, :attr:`joined` is set.

        :raises HandshakeRefused: the node said no.
        :raises CookieMismatch: the node's digest is not that of our cookie.
        :raises TlsRequired: the node speaks TLS, and we do not.
        :raises ProtocolError: the node said something else altogether.
        """
        self._buffer += data
        while self._waiting_for is not None:
            if len(self._buffer) < self._length_bytes:
                return
            if self._buffer[:2] == _TLS_ALERT and self._waiting_for == "status" and self._length_bytes == 2:
                raise TlsRequired(
                    f"{self._peer} uses TLS distribution",
                    node=self._peer,
                    hint="Use TLS as well: --tls, with --tls-ca-file FILE where its authority is your own, "
                    "or tls=Tls(ca_file=…).",
                )
            end = self._length_bytes + int.from_bytes(self._buffer[: self._length_bytes], "big")
            if end > 4096:
                raise self._nonsense(self._buffer[:16])
            if len(self._buffer) < end:
                return
            message, self._buffer = self._buffer[self._length_bytes : end], self._buffer[end:]
            self._receive_message(message)

    def receive_eof(self) -> HandshakeRefused | CookieMismatch:
        """Explain the node's closing of the connection before the handshake was done."""
        # A node that begins to acknowledge has found our digest in order.
        if self._waiting_for == "ack" and not self._buffer:
            return CookieMismatch(
                f"{self._peer} closed the connection on our digest: it does not share our cookie",
                node=self._peer,
                hint=_COOKIE_HINT,
            )
        return HandshakeRefused(
            f"{self._peer} closed the connection during the handshake",
            node=self._peer,
            hint="Is that port an Erlang node's distribution port?"
            + (" Does the node use TLS distribution (--tls)?" if self._length_bytes == 2 else ""),
        )

    def rest(self) -> bytes:
        """Bytes that arrived behind the handshake: the beginning of the connection proper."""
        return self._buffer

    def _frame(self, message: bytes) -> bytes:
        return len(message).to_bytes(self._length_bytes, "big") + message

    def _nonsense(self, message: bytes) -> ProtocolError:
        return ProtocolError(
            f"{self._peer} sent no handshake message: {message[:16]!r}",
            node=self._peer,
            hint="Is that port an Erlang node's distribution port?",
        )

    def _receive_message(self, message: bytes) -> None:
        tag = message[:1]
        try:
            if self._waiting_for == "status" and tag == b"s":
                self._receive_status(message[1:])
            elif self._waiting_for == "challenge" and tag == b"N":
                self._receive_challenge(message)
            elif self._waiting_for == "ack" and tag == b"a":
                self._receive_ack(message[1:17])
            else:
                raise self._nonsense(message)
        except (struct.error, UnicodeDecodeError):
            raise self._nonsense(message) from None

    def _receive_status(self, status: bytes) -> None:
        if status in (b"ok", b"ok_simultaneous"):
            pass
        elif status == b"alive":
            # An older link of our fixed name: take its place, as a restarted node does.
            self._to_send += self._frame(b"strue")
        elif status.startswith(b"named:"):
            (name_length,) = struct.unpack_from(">H", status, 6)
            self._name = status[8 : 8 + name_length].decode()
            if not 0 < len(self._name) <= _LONGEST_NAME:
                raise self._nonsense(b"s" + status)
            (self._creation,) = struct.unpack_from(">I", status, 8 + name_length)
        else:
            word = status[:_LONGEST_WORD].decode("latin-1")
            raise HandshakeRefused(
                f"{self._peer} refused the handshake: {word}",
                node=self._peer,
                status=word,
                hint=_STATUS_HINTS.get(word),
            )
        self._waiting_for = "challenge"

    def _receive_challenge(self, message: bytes) -> None:
        _, flags, challenge, _creation, name_length = _CHALLENGE_HEAD.unpack_from(message)
        name = message[_CHALLENGE_HEAD.size : _CHALLENGE_HEAD.size + name_length].decode()
        if len(name) > _LONGEST_NAME:
            raise self._nonsense(message)
        if name != self._peer:
            raise HandshakeRefused(
                f"dialled {self._peer}, but the node there calls itself {name}",
                node=self._peer,
                hint=f"Use the name that it has: {name}",
                actual_name=name,
            )
        missing = NEEDED_FROM_PEER & ~flags
        if missing:
            raise HandshakeRefused(
                f"{name} is too old: it lacks {', '.join(flag_names(missing))}",
                node=name,
                hint="iris_admin speaks to OTP 25 and later.",
            )
        self._to_send += self._frame(b"r" + struct.pack(">I", self._challenge) + digest(self._cookie, challenge))
        self._waiting_for = "ack"

    def _receive_ack(self, their_digest: bytes) -> None:
        if their_digest != digest(self._cookie, self._challenge):
            raise CookieMismatch(
                f"{self._peer} could not prove that it knows our cookie", node=self._peer, hint=_COOKIE_HINT
            )
        self._waiting_for = None
        self.joined = Joined(self._peer, self._name, self._creation)
