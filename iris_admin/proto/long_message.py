"""The pieces of a long message, which come one by one."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from mmap import mmap

#: What a message is read from.
Body: TypeAlias = bytes | memoryview

#: From this size on a message gets room for all of it, in bytes: as much as its peer says, but not more than so many
#: times what has come.
_ROOM_FROM = 1 << 20
_MOST_TRUSTED = 32


class LongMessage:
    """The pieces of a long message.

    Those of a very long one are put where they belong at once, in fresh memory that costs nothing until something is in
    it, and in large pages where there are such: the kernel hands out small ones one by one, which would take longer
    than all else that happens to the message.
    """

    def __init__(self) -> None:
        self._size = 0
        # What is in the room, and behind it pieces that were not put there yet.
        self._room: mmap | None = None
        self._filled = 0
        self._pieces: list[bytes] = []

    def add(self, piece: Body, further: int) -> None:
        """Put a piece behind the others.

        :param further: how much is to come after it, as the peer says, in bytes.
        """
        if self.has_room_for(len(piece)):
            self.place(len(piece))[:] = piece
            self.placed(len(piece))
            return
        self._size += len(piece)
        self._pieces.append(bytes(piece))
        if self._size >= _ROOM_FROM:
            self._make_room(min(further, _MOST_TRUSTED * self._size))

    @property
    def has_room(self) -> bool:
        """Whether what has come, or the beginning of it, is where it belongs."""
        return self._room is not None

    @property
    def filled(self) -> int:
        """How much of :meth:`room` is what has come, in bytes."""
        return self._filled

    def room(self) -> memoryview:
        """The message from its beginning on, in which what has not come yet will be found, or at least a part of it."""
        assert self._room is not None
        return memoryview(self._room).toreadonly()

    def has_room_for(self, size: int) -> bool:
        """Whether so many bytes behind what has come can be put where they belong."""
        return self._room is not None and not self._pieces and self._size + size <= len(self._room)

    def place(self, size: int) -> memoryview:
        """Where the next bytes belong: room for so many, or for fewer at its end."""
        assert self._room is not None
        return memoryview(self._room)[self._filled : self._filled + size]

    def placed(self, size: int) -> None:
        """So many bytes were put there."""
        self._size += size
        self._filled = self._size

    def whole(self) -> Body:
        """All of it; what is shown by a memoryview does not change any more."""
        if self._room is None or self._pieces:
            return self._joined()
        return self.room()[: self._filled]

    def _joined(self) -> bytes:
        return b"".join([b"" if self._room is None else self._room[: self._filled], *self._pieces])

    def _make_room(self, further: int) -> None:
        import mmap

        try:
            room = mmap.mmap(-1, self._size + further, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError:  # there is none: then as pieces
            return
        if hasattr(mmap, "MADV_HUGEPAGE"):
            with contextlib.suppress(OSError):
                room.madvise(mmap.MADV_HUGEPAGE)
        room[: self._size] = self._joined()
        self._room, self._filled, self._pieces = room, self._size, []


class PieceInPlace:
    """A piece of a long message that is received where it belongs, and so is not copied.

    :param sequence: the number of the message.
    :param message: it has room for the piece.
    :param come: the beginning of the piece, which has come.
    :param missing: how much of it has not, in bytes.
    :param ahead: how much more is received with it: what the frame of a next piece begins with, as that has to be known
        before a place can be given for it.
    """

    def __init__(self, sequence: int, message: LongMessage, come: Body, missing: int, ahead: int) -> None:
        message.add(come, missing)
        self.sequence = sequence
        self.size = len(come) + missing
        self.missing = missing
        self._message = message
        self._ahead = ahead

    def place(self) -> memoryview:
        """Where to put what comes next."""
        return self._message.place(self.missing + self._ahead)

    def placed(self, size: int) -> bytes:
        """So many bytes were put there.

        :returns: those that are behind the piece.
        """
        own = min(size, self.missing)
        behind = bytes(self._message.place(size)[own:])
        self._message.placed(own)
        self.missing -= own
        return behind

    def put(self, data: bytes) -> bytes:
        """Put there what has come elsewhere.

        :returns: what is behind the piece.
        """
        own = data[: self.missing]
        self._message.add(own, 0)
        self.missing -= len(own)
        return data[len(own) :]
