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
        self._size += len(piece)
        if self._room is not None and not self._pieces and self._size <= len(self._room):
            self._room[self._filled : self._size] = piece
            self._filled = self._size
            return
        self._pieces.append(bytes(piece))
        if self._size >= _ROOM_FROM:
            self._make_room(min(further, _MOST_TRUSTED * self._size))

    def whole(self) -> Body:
        """All of it; what is shown by a memoryview does not change any more."""
        if self._room is None or self._pieces:
            return self._joined()
        return memoryview(self._room).toreadonly()[: self._filled]

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
