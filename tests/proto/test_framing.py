"""Frames and fragments, cut in every way."""

from __future__ import annotations

import errno
import itertools
import mmap
import struct
import tracemalloc
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_admin.errors import ProtocolError
from iris_admin.proto import framing, long_message
from iris_admin.proto.framing import FragmentAssembler, FrameReader, fragment_frames, whole_frame
from iris_admin.proto.long_message import LongMessage


def frame(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def fragments(sequence: int, message: bytes, cuts: list[int], control: bytes = b"") -> list[bytes]:
    """The bodies of a message's fragments, cut at these places, and with the control tuple whole in the first."""
    places = [0, *sorted(cuts), len(message)]
    pieces = [message[start:end] for start, end in pairwise(places)]
    bodies = []
    for index, piece in enumerate(pieces):
        kind, head = (b"E", b"\0" + control) if index == 0 else (b"F", b"")
        bodies.append(b"\x83" + kind + struct.pack(">QQ", sequence, len(pieces) - index) + head + piece)
    return bodies


def read(reader: FrameReader, data: bytes) -> list[bytes]:
    return list(reader.receive_data(data))


def assembled(bodies: Iterable[bytes]) -> list[bytes]:
    """Whole messages, in the order in which they were completed."""
    assembler = FragmentAssembler()
    results = [assembler.receive_frame(body) for body in bodies]
    return [result[0][result[1] :] for result in results if type(result) is tuple]


class TestFrameReader:
    def test_ticks_and_bodies(self) -> None:
        reader = FrameReader()
        assert read(reader, framing.TICK + frame(b"one") + framing.TICK + frame(b"two")) == [
            b"",
            b"one",
            b"",
            b"two",
        ]
        assert read(reader, b"") == []

    def test_a_frame_in_pieces(self) -> None:
        reader = FrameReader()
        assert read(reader, b"\0\0") == []
        assert read(reader, b"\0\5he") == []
        assert read(reader, b"llo\0\0\0") == [b"hello"]
        assert read(reader, b"\0") == [b""]

    @given(st.lists(st.binary(max_size=300), max_size=8), st.lists(st.integers(0, 2500), max_size=12))
    def test_any_cut_gives_the_same_frames(self, bodies: list[bytes], cuts: list[int]) -> None:
        stream = b"".join(frame(body) for body in bodies)
        reader = FrameReader()
        found = []
        places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
        for start, end in pairwise(places):
            found += read(reader, stream[start:end])
        assert found == bodies

    @given(st.lists(st.binary(max_size=20), max_size=6))
    def test_byte_by_byte(self, bodies: list[bytes]) -> None:
        reader = FrameReader()
        found = []
        for byte in b"".join(frame(body) for body in bodies):
            found += read(reader, bytes((byte,)))
        assert found == bodies

    def test_a_frame_of_the_greatest_size_is_waited_for(self) -> None:
        assert read(FrameReader(), framing.MAX_FRAME.to_bytes(4, "big") + b"x") == []

    @pytest.mark.parametrize("length", [framing.MAX_FRAME + 1, 0xFFFFFFFF])
    def test_oversize(self, length: int) -> None:
        reader = FrameReader()
        assert read(reader, length.to_bytes(4, "big")[:3]) == []
        with pytest.raises(ProtocolError, match=str(length)):
            read(reader, length.to_bytes(4, "big")[3:])

    def test_frames_before_an_oversize_one_are_given(self) -> None:
        bodies = FrameReader().receive_data(frame(b"one") + frame(b"two") + b"\xff\xff\xff\xff")
        assert [next(bodies), next(bodies)] == [b"one", b"two"]
        with pytest.raises(ProtocolError, match="a frame of"):
            next(bodies)

    def test_a_long_frame_that_trickles_in_is_joined_once(self) -> None:
        # In quadratic time this would take minutes.
        reader = FrameReader()
        body = bytes(4 << 20)
        assert read(reader, len(body).to_bytes(4, "big")) == []
        for start in range(0, len(body) - 256, 256):
            assert read(reader, body[start : start + 256]) == []
        assert read(reader, body[-256:]) == [body]


class TestFragmentAssembler:
    def test_whole_message(self) -> None:
        assert FragmentAssembler().receive_frame(b"\x83D\0control") == (b"\x83D\0control", 3)

    def test_one_fragment(self) -> None:
        assert assembled(fragments(1, b"control and message", [])) == [b"control and message"]

    @given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=9), st.integers(0, 2**64 - 1))
    def test_fragments_of_any_size(self, message: bytes, cuts: list[int], sequence: int) -> None:
        # Without EXIT_PAYLOAD a control tuple itself may be cut, so the cuts are at any place.
        assert assembled(fragments(sequence, message, [min(cut, len(message)) for cut in cuts])) == [message]

    @given(st.lists(st.binary(max_size=60), min_size=1, max_size=20), st.integers(0, 200), st.integers(0, 9))
    def test_room_that_is_made_before_all_has_come(self, pieces: list[bytes], trusted: int, said: int) -> None:
        """Whatever the peer said of how much comes."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(long_message, "_ROOM_FROM", 32)
            patch.setattr(long_message, "_MOST_TRUSTED", trusted)
            message = long_message.LongMessage()
            for number, piece in enumerate(pieces):
                message.add(memoryview(piece), max(0, (len(pieces) + said - number) * 10 - 50))
            whole = message.whole()
        assert whole == b"".join(pieces)
        assert type(whole) is bytes or (type(whole) is memoryview and whole.readonly)

    @given(st.lists(st.binary(min_size=1, max_size=60), min_size=1), st.lists(st.booleans(), min_size=1))
    def test_where_there_is_no_room(self, pieces: list[bytes], fails: list[bool]) -> None:
        failing = itertools.cycle(fails)

        def attempt(*arguments: int) -> mmap.mmap:
            if next(failing):
                raise OSError(errno.ENOMEM, "Cannot allocate memory")
            return real(*arguments)

        real = mmap.mmap
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(long_message, "_ROOM_FROM", 32)
            patch.setattr(mmap, "mmap", attempt)
            message = long_message.LongMessage()
            for piece in pieces:
                message.add(piece, 0)
            assert message.whole() == b"".join(pieces)

    @pytest.mark.parametrize("size", [(1 << 20) - 1, 1 << 20, 3_000_000])
    def test_very_long_messages(self, size: int) -> None:
        message = bytes(range(251)) * (size // 251 + 1)
        frames = b"".join(fragment_frames(5, b"control", message[:size]))
        assert assembled(read(FrameReader(), frames)) == [b"control" + message[:size]]

    def test_what_a_peer_says_of_a_messages_length_takes_no_memory(self) -> None:
        assembler = FragmentAssembler()
        tracemalloc.start()
        try:
            body = b"\x83E" + struct.pack(">QQ", 7, 2**63) + b"\0" + bytes(2 << 20)
            assert type(assembler.receive_frame(body)) is LongMessage
            assert tracemalloc.get_traced_memory()[1] < 20 << 20
        finally:
            tracemalloc.stop()

    @given(st.data())
    def test_interleaved_messages(self, data: st.DataObject) -> None:
        messages = data.draw(st.lists(st.binary(min_size=4, max_size=60), min_size=2, max_size=5))
        queues = [fragments(sequence, message, [1, 2, 3]) for sequence, message in enumerate(messages)]
        bodies = []
        completed = []
        while any(queues):
            index = data.draw(st.sampled_from([index for index, queue in enumerate(queues) if queue]))
            bodies.append(queues[index].pop(0))
            if not queues[index]:
                completed.append(messages[index])
        assert assembled(bodies) == completed

    def test_whole_messages_pass_between_fragments(self) -> None:
        first, *others = fragments(7, b"a long one", [4, 8])
        assert assembled([first, b"\x83D\0short", others[0], b"\x83D\0too", others[1]]) == [
            b"short",
            b"too",
            b"a long one",
        ]

    def test_a_sequence_number_serves_again(self) -> None:
        assert assembled(fragments(7, b"first", [2]) + fragments(7, b"second", [2])) == [b"first", b"second"]

    @pytest.mark.parametrize(
        "order",
        [[1], [0, 2], [0, 1, 1], [0, 0], [0, 1, 2, 2], [2, 1, 0]],
        ids=["no-first", "gap", "twice", "begins-twice", "after-the-last", "backwards"],
    )
    def test_wrong_order(self, order: list[int]) -> None:
        bodies = fragments(7, b"abc", [1, 2])
        with pytest.raises(ProtocolError):
            assembled([bodies[index] for index in order])

    @pytest.mark.parametrize("kind", [b"E", b"F"])
    def test_fragment_zero_does_not_exist(self, kind: bytes) -> None:
        with pytest.raises(ProtocolError):
            assembled([b"\x83" + kind + struct.pack(">QQ", 1, 0) + b"\0x"])

    def test_atoms_of_a_cache_that_was_not_negotiated(self) -> None:
        with pytest.raises(ProtocolError, match="atom cache"):
            assembled([b"\x83E" + struct.pack(">QQ", 1, 1) + b"\2abc"])
        with pytest.raises(ProtocolError):
            assembled([b"\x83D\2abc"])

    @pytest.mark.parametrize(
        "body", [b"\x83", b"p\x83h\0", b"\x83D", b"\x83Z", b"\x83E", b"\x83F" + bytes(15), b"GET / HTTP/1.1\r\n\r\n"]
    )
    def test_no_message(self, body: bytes) -> None:
        with pytest.raises(ProtocolError):
            assembled([body])

    def test_what_is_held_of_incomplete_messages_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(framing, "MAX_MESSAGE", 1000)
        monkeypatch.setattr(framing, "_PIECE_COST", 0)
        assembler = FragmentAssembler()
        for sequence in range(10):
            # A message that is complete counts no longer.
            for body in fragments(sequence, bytes(900), [450]):
                assembler.receive_frame(body)
        for sequence in range(100, 105):
            assembler.receive_frame(fragments(sequence, bytes(400), [200])[0])
        with pytest.raises(ProtocolError, match="more than 1000 bytes"):
            assembler.receive_frame(fragments(105, bytes(400), [200])[0])

    def test_pieces_without_content_count_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(framing, "MAX_MESSAGE", 10_000)
        assembler = FragmentAssembler()
        for sequence in range(20):
            assembler.receive_frame(b"\x83E" + struct.pack(">QQ", sequence, 2) + b"\0")
        with pytest.raises(ProtocolError, match="more than 10000 bytes"):
            assembler.receive_frame(b"\x83E" + struct.pack(">QQ", 20, 2) + b"\0")

    @given(st.sampled_from([b"", b"\x83", b"\x83D\0", b"\x83E", b"\x83F"]), st.binary(max_size=40))
    def test_any_bytes(self, beginning: bytes, rest: bytes) -> None:
        try:
            result = FragmentAssembler().receive_frame(beginning + rest)
        except ProtocolError:
            return
        assert type(result) is not tuple or 0 <= result[1] <= len(result[0])


class TestPiecesInPlace:
    @given(st.data())
    def test_they_are_what_frames_would_be(self, data: st.DataObject) -> None:
        """Two long messages and what passes between their pieces, received in either way, cut anywhere."""
        messages = {number: data.draw(st.binary(min_size=1, max_size=400)) for number in (1, 2)}
        queues = [fragments(number, message, [60, 120, 180]) for number, message in messages.items()]
        bodies: list[bytes] = []
        while any(queues):
            bodies.append(data.draw(st.sampled_from([queue for queue in queues if queue])).pop(0))
            bodies += data.draw(st.lists(st.sampled_from([b"", b"\x83D\0short"]), max_size=1))
        stream = b"".join(frame(body) for body in bodies)
        expected = assembled(body for body in bodies if body)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(long_message, "_ROOM_FROM", data.draw(st.sampled_from([32, 100])))
            patch.setattr(framing, "_LONG_BODY", 8)
            reader, assembler = FrameReader(), FragmentAssembler()
            found: list[bytes] = []
            piece = None

            def take(result: object) -> None:
                if isinstance(result, tuple):
                    found.append(bytes(result[0][result[1] :]))

            while stream:
                piece = piece or assembler.begin_in_place(reader)
                size = data.draw(st.integers(1, 100))
                if piece is not None and data.draw(st.booleans()):
                    place = piece.place()
                    come, stream = stream[: min(size, len(place))], stream[min(size, len(place)) :]
                    place[: len(come)] = come
                    come = piece.placed(len(come))
                else:
                    come, stream = stream[:size], stream[size:]
                    come = come if piece is None else piece.put(come)
                if piece is not None:
                    if piece.missing:
                        continue
                    if data.draw(st.booleans()) and assembler.go_on_in_place(piece, come):
                        assert piece.missing > 0
                        continue
                    take(assembler.end_in_place(piece))
                    piece = None
                for body in reader.receive_data(come):
                    if body:
                        take(assembler.receive_frame(body))
        assert found == expected

    def test_what_is_held_is_bounded_there_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(framing, "MAX_MESSAGE", 3 << 20)
        reader, assembler = FrameReader(), FragmentAssembler()
        head = b"\x83E" + struct.pack(">QQ", 7, 2**40) + b"\0"
        for body in read(reader, frame(head + bytes(1 << 20))):
            assembler.receive_frame(body)
        for fragment in (2**40 - 1, 2**40 - 2):
            rest = frame(b"\x83F" + struct.pack(">QQ", 7, fragment) + bytes(1 << 20))
            assert read(reader, rest[:22]) == []
            piece = assembler.begin_in_place(reader)
            assert piece is not None
            assert piece.put(rest[22:]) == b""
            if fragment == 2**40 - 1:
                assert assembler.end_in_place(piece) is None
        assert not assembler.go_on_in_place(
            piece, frame(b"\x83F" + struct.pack(">QQ", 7, 2**40 - 3) + bytes(5000))[:22]
        )
        with pytest.raises(ProtocolError, match="more than 3145728 bytes"):
            assembler.end_in_place(piece)

    def test_the_next_piece_at_once(self) -> None:
        size = (1 << 20) + 3 * 65_536
        first, *others = fragments(7, bytes(size), [1 << 20, size - 131_072, size - 65_536])
        reader, assembler = FrameReader(), FragmentAssembler()
        assembler.receive_frame(first)
        read(reader, frame(others[0])[:22])
        piece = assembler.begin_in_place(reader)
        assert piece is not None
        assert piece.put(others[0][18:]) == b""
        tick_and_next = (bytes(4) + frame(others[1]))[:22]
        others_head = frame(fragments(8, bytes(200_000), [100_000])[1])[:22]
        for behind in (b"", frame(others[1])[:21], frame(others[2])[:22], tick_and_next, others_head):
            assert not assembler.go_on_in_place(piece, behind)
        assert assembler.go_on_in_place(piece, frame(others[1])[:22])
        assert piece.missing == len(others[1]) - 18
        assert piece.put(others[1][18:]) == b""
        assert assembler.go_on_in_place(piece, frame(others[2])[:22])
        assert piece.put(others[2][18:]) == b""
        assert assembler.end_in_place(piece) == (bytes(size), 0)

    def test_only_the_next_piece_of_a_message_with_room(self) -> None:
        first, second, third = fragments(7, bytes(3 << 20), [1 << 20, 2 << 20])
        for opening, body in [
            ([first], third),  # not its turn
            ([first], second[:18] + bytes(4000)),  # too short to be worth it
            ([], second),  # of no message
            ([b"\x83E" + struct.pack(">QQ", 7, 3) + b"\0x"], second),  # of one that has no room yet
            ([first], b"\x83D\0" + bytes(70_000)),
            ([first], b"\x83E" + struct.pack(">QQ", 8, 9) + bytes(70_000)),
        ]:
            reader, assembler = FrameReader(), FragmentAssembler()
            for one in opening:
                assembler.receive_frame(one)
            assert read(reader, frame(body)[:100]) == []
            assert assembler.begin_in_place(reader) is None
            assert read(reader, frame(body)[100:]) == [body]


class TestSending:
    def test_whole_frame(self) -> None:
        assert whole_frame(b"control", b"message") == b"\0\0\0\x11\x83D\0controlmessage"
        assert whole_frame(b"control") == b"\0\0\0\x0a\x83D\0control"

    @pytest.mark.parametrize("size", [1, 65536, 65537, 131072, 200_000])
    def test_fragments_come_back_together(self, size: int) -> None:
        message = bytes(range(256)) * (size // 256 + 1)
        message = message[:size]
        frames = list(fragment_frames(5, b"control", message))
        assert len(frames) == -(-size // 65536)
        bodies = read(FrameReader(), b"".join(frames))
        assert assembled(bodies) == [b"control" + message]

    def test_fragments_count_down_to_one(self) -> None:
        frames = list(fragment_frames(5, b"control", bytes(200_000)))
        heads = [struct.unpack_from(">IBcQQ", data) for data in frames]
        assert [head[2] for head in heads] == [b"E", b"F", b"F", b"F"]
        assert [head[3:] for head in heads] == [(5, 4), (5, 3), (5, 2), (5, 1)]
        assert frames[0][22:30] == b"\0control"
        assert max(len(data) for data in frames) < 65536 + 100
