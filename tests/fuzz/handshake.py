"""The handshake, by a peer that does know the cookie or does not."""

from __future__ import annotations

import struct

from iris_admin.errors import ConnectError, ProtocolError
from iris_admin.proto.connection import Connection
from iris_admin.proto.events import Connected, Lost
from iris_admin.proto.handshake import digest
from tests.fuzz.choices import Choices
from tests.proto import test_handshake as golden


def seeds() -> list[bytes]:
    """A recorded handshake: at once, and message by message."""
    messages = [golden.STATUS_NAMED[2:], golden.CHALLENGE[2:], golden.CHALLENGE_ACK[2:]]
    plain = b"".join(b"\0" + len(message).to_bytes(2, "big") + message for message in messages)
    words = (b"sok", b"sok_simultaneous", b"salive", b"snok", b"snot_allowed")
    return [
        b"\0" + plain,
        b"\1" + plain,
        *(b"\0\0" + len(word).to_bytes(2, "big") + word + b"\1" + b"\2" for word in words),
        b"\0\3" + len(golden.STATUS_NAMED).to_bytes(2, "big") + golden.STATUS_NAMED,
        b"\0\4\x00\x03abc\1\2",
    ]


def run(data: bytes) -> None:
    """Answer a client's handshake, as the bytes say."""
    choices = Choices(data)
    connection = Connection(
        peer=golden.PEER,
        cookie=golden.COOKIE,
        host="127.0.0.1",
        name="admin" if choices.byte() & 1 else None,
        challenge=golden.OUR_CHALLENGE,
        creation=0x1234,
        now=0.0,
    )
    while choices.left:
        connection.receive_data(_message(choices), 0.0)
        assert len(connection.data_to_send()) < 10_000
        match connection.next_event():
            case Lost(error):
                assert isinstance(error, ConnectError | ProtocolError), repr(error)
                str(error)
                return
            case Connected(joined):
                assert joined.peer == golden.PEER
                connection.call("erlang", "node", b"j", 0.0)
                assert connection.data_to_send()
                return
    connection.receive_eof()
    event = connection.next_event()
    assert isinstance(event, Lost)
    assert isinstance(event.error, ConnectError), repr(event.error)


def _message(choices: Choices) -> bytes:
    match choices.byte() % 5:
        case 0:
            message = choices.sized()
        case 1:
            flags = (1 << 64) - 1 if choices.left else golden.THEIR_FLAGS
            message = struct.pack(">cQIIH", b"N", flags, 5, 7, len(golden.PEER)) + golden.PEER.encode()
        case 2:
            message = b"a" + digest(golden.COOKIE, golden.OUR_CHALLENGE)
        case 3:
            return choices.sized()
        case _:
            name = choices.sized()
            message = b"snamed:" + len(name).to_bytes(2, "big") + name + b"\0\0\0\7"
    return len(message).to_bytes(2, "big") + message
