"""Frames and fragments: from a stream of bytes to whole messages, and back.

After the handshake a frame is a four-byte length and a body. An empty one is a tick. As FRAGMENTS is
negotiated, a body is one of::

    131 'D' 0 control [message]             a whole message
    131 'E' sequence fragment 0 control …   the first piece of a long one; fragment ids count down to 1
    131 'F' sequence fragment …             a further piece

so that short signals can pass between the pieces of a long one. (Sources: the sections "Protocol between
Connected Nodes" and "Distribution Header for fragmented messages" of OTP's documentation.)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

from iris_admin.errors import ProtocolError

if TYPE_CHECKING:
    from iris_admin.proto.long_message import Body, LongMessage, PieceInPlace

#: Size of the length in front of a frame.
LENGTH_BYTES = 4
#: What is cheaper joined to what comes next than kept, in bytes.
_SHORT_REST = 4 << 10
#: A node cuts at 64 KiB, but a control message in front may add to that.
MAX_FRAME = 64 << 20
#: Bound of all incomplete messages of one connection together, in bytes.
MAX_MESSAGE = 1 << 30
#: What a piece costs besides its bytes: a peer may send millions of empty ones.
_PIECE_COST = 500
#: Where we cut, as the BEAM does.
FRAGMENT_SIZE = 64 << 10

#: From this size on, in bytes, the body of a frame is not copied: it is likely to be put together with others.
_LONG_BODY = 4 << 10

TICK = b"\0\0\0\0"

_LENGTH = struct.Struct(">I")
#: How the body of a frame begins that is a whole message.
WHOLE = b"\x83D\0"
_FRAGMENT_HEAD = struct.Struct(">BBQQ")
_FIRST_FRAGMENT = ord("E")
_NEXT_FRAGMENT = ord("F")
_GOES_ON = bytes([131, _NEXT_FRAGMENT])
#: What the frame of a further fragment begins with.
_FRAME_HEAD = struct.Struct(">I2sQQ")


class FrameReader:
    """Cuts a stream into the bodies of its frames."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        #: How much has come of a frame that is not complete, in bytes.
        self.have = 0
        self._need = LENGTH_BYTES

    def begun(self) -> tuple[Body, int]:
        """What has come of the body of a frame, if it came in one piece, and how much of it is missing."""
        if self._need == LENGTH_BYTES or len(self._chunks) != 1:
            return b"", 0
        return memoryview(self._chunks[0])[LENGTH_BYTES:], self._need - self.have

    def drop_begun(self) -> None:
        """Go on behind the frame that has begun."""
        self._chunks, self.have, self._need = [], 0, LENGTH_BYTES

    def take_short_rest(self) -> bytes:
        """Give back what has come of a frame that is not complete, if that is little."""
        if not 0 < self.have <= _SHORT_REST:
            return b""
        rest = b"".join(self._chunks)
        self.drop_begun()
        return rest

    def receive_data(self, data: bytes) -> Iterator[Body]:
        """Take a piece of the stream; give the bodies of the frames that it completes, one after the other.

        :raises ProtocolError: for a frame longer than :data:`MAX_FRAME`, when those before it have been given.
        """
        position, end = 0, len(data)
        if self.have:
            missing = self._need - self.have
            if missing > end:
                self._chunks.append(data)
                self.have += end
                return
            if self._need == LENGTH_BYTES:
                data = self.take_short_rest() + data
                end = len(data)
            else:
                # Only what completes the frame is joined to it: what follows may be much, and would be copied for it.
                frame = b"".join([*self._chunks, data[:missing]])
                position = missing
                yield _body(frame, LENGTH_BYTES, len(frame))
        self._need = LENGTH_BYTES
        while end - position >= LENGTH_BYTES:
            start = position + LENGTH_BYTES
            length = int.from_bytes(data[position:start], "big")
            if length > MAX_FRAME:
                raise ProtocolError(f"a frame of {length} bytes, where {MAX_FRAME} are allowed")
            if end - start < length:
                self._need = LENGTH_BYTES + length
                break
            position = start + length
            yield _body(data, start, position)
        self._chunks = [data[position:]]
        self.have = end - position


def _body(data: bytes, start: int, end: int) -> Body:
    return data[start:end] if end - start < _LONG_BODY else memoryview(data)[start:end]


class FragmentAssembler:
    """Puts the pieces of long messages together; several may be under way at once."""

    def __init__(self) -> None:
        # By the number of a message: its next fragment, what it costs us, and its pieces.
        self._incomplete: dict[int, tuple[int, int, LongMessage]] = {}
        self._held = 0

    def receive_frame(self, body: Body) -> tuple[Body, int] | LongMessage | None:
        """Take the body of one frame.

        :returns: a whole message and the offset of its control tuple in it. While pieces are missing: the message, if
            it has got its room just now, from whose beginning on it can be read; else None.
        :raises ProtocolError: for a body that is no message, or for more than :data:`MAX_MESSAGE` in pieces.
        """
        if body[:3] == WHOLE:
            return bytes(body), 3
        if len(body) < _FRAGMENT_HEAD.size or body[0] != 131 or body[1] not in (_FIRST_FRAGMENT, _NEXT_FRAGMENT):
            raise ProtocolError(f"this is no distribution message: {bytes(body[:16])!r}")
        message: LongMessage | None
        _, kind, sequence, fragment = _FRAGMENT_HEAD.unpack_from(body)
        start = _FRAGMENT_HEAD.size
        if kind == _FIRST_FRAGMENT:
            if body[start : start + 1] != b"\0":
                raise ProtocolError("a fragment refers to an atom cache that was never negotiated")
            start += 1
            # Imported when a long message comes: most commands receive none.
            from iris_admin.proto.long_message import LongMessage

            cost, message = 0, LongMessage()
            if sequence in self._incomplete:
                raise ProtocolError(f"message {sequence} begins twice")
            if fragment < 1:
                raise ProtocolError(f"message {sequence} begins with fragment 0, where they end with 1")
        else:
            expected, cost, message = self._incomplete.pop(sequence, (0, 0, None))
            if message is None or fragment != expected or fragment < 1:
                raise ProtocolError(f"fragment {fragment} of message {sequence}, where {expected} was expected")
        had_room = message.has_room
        message.add(body[start:], (fragment - 1) * FRAGMENT_SIZE)
        whole = self._take(sequence, fragment, cost, message, len(body) - start)
        return message if whole is None and message.has_room and not had_room else whole

    def _take(
        self, sequence: int, fragment: int, cost: int, message: LongMessage, size: int
    ) -> tuple[Body, int] | None:
        """Count a piece that the message has; give that, if it is whole."""
        if fragment == 1:
            self._held -= cost
            return message.whole(), 0
        added = size + _PIECE_COST
        self._held += added
        if self._held > MAX_MESSAGE:
            raise ProtocolError(f"incomplete messages of more than {MAX_MESSAGE} bytes")
        self._incomplete[sequence] = (fragment - 1, cost + added, message)
        return None

    def begin_in_place(self, frames: FrameReader) -> PieceInPlace | None:
        """Take the frame over that has begun, if the rest of it can be put where it belongs."""
        head, missing = frames.begun()
        if missing < _LONG_BODY or len(head) < _FRAGMENT_HEAD.size or head[:2] != _GOES_ON:
            return None
        sequence, fragment = _FRAGMENT_HEAD.unpack_from(head)[2:]
        expected, _, message = self._incomplete.get(sequence, (0, 0, None))
        come = head[_FRAGMENT_HEAD.size :]
        if message is None or fragment != expected or not message.has_room_for(len(come) + missing):
            return None
        from iris_admin.proto.long_message import PieceInPlace

        frames.drop_begun()
        return PieceInPlace(sequence, message, come, missing, _FRAME_HEAD.size)

    def end_in_place(self, piece: PieceInPlace) -> tuple[Body, int] | None:
        """All of the piece has come; what this gives is what :meth:`receive_frame` would."""
        fragment, cost, message = self._incomplete.pop(piece.sequence)
        return self._take(piece.sequence, fragment, cost, message, piece.size)

    def go_on_in_place(self, piece: PieceInPlace, behind: bytes) -> bool:
        """Begin with the next piece of the same message, if that is what is behind this one, all of which has come.

        It is the same as :meth:`end_in_place`, and :meth:`begin_in_place` when all of that has come, but is done in a
        fraction of the time.
        """
        if len(behind) != _FRAME_HEAD.size:
            return False
        length, kind, sequence, fragment = _FRAME_HEAD.unpack(behind)
        size = length - _FRAGMENT_HEAD.size
        expected, cost, message = self._incomplete[piece.sequence]
        if (
            kind != _GOES_ON
            or sequence != piece.sequence
            or not 0 < fragment == expected - 1
            or size < _LONG_BODY
            or not message.has_room_for(size)
            or self._held + piece.size + _PIECE_COST > MAX_MESSAGE
        ):
            return False
        self._take(sequence, expected, cost, message, piece.size)
        piece.size = piece.missing = size
        return True


def whole_frame(control: bytes, message: bytes = b"") -> bytes:
    """Frame a message that fits in one piece."""
    return b"".join((_LENGTH.pack(len(WHOLE) + len(control) + len(message)), WHOLE, control, message))


def fragment_frames(sequence: int, control: bytes, message: bytes) -> Iterator[bytes]:
    """Frame a long message in pieces of :data:`FRAGMENT_SIZE`.

    :param sequence: a number that no other incomplete message of the connection has.
    """
    fragment = -(-len(message) // FRAGMENT_SIZE)
    kind, head = _FIRST_FRAGMENT, b"\0" + control
    for start in range(0, len(message), FRAGMENT_SIZE):
        piece = message[start : start + FRAGMENT_SIZE]
        header = _FRAGMENT_HEAD.pack(131, kind, sequence, fragment)
        yield b"%b%b%b%b" % ((len(header) + len(head) + len(piece)).to_bytes(4, "big"), header, head, piece)
        kind, head, fragment = _NEXT_FRAGMENT, b"", fragment - 1
