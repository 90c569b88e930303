"""Frames, fragments and control messages."""

from __future__ import annotations

from iris_admin.errors import EncodeError, ProtocolError
from iris_admin.proto import control, framing
from iris_admin.proto.etf import encode_term
from iris_admin.terms import Atom, Pid, Reference
from tests.fuzz.choices import Choices

NODE = Atom("db1@127.0.0.1")
LEAVES = [Pid(NODE, 1, 0, 7), Reference(NODE, 7, (1, 2, 3)), Atom("link"), 1, 12, 31, 24]


def seeds() -> list[bytes]:
    """A whole message, one in fragments, and a control tuple that is put together."""
    message = encode_term((24, LEAVES[0], LEAVES[0])) + encode_term(Atom("normal"))
    whole = framing.whole_frame(message)
    pieces = b"".join(framing.fragment_frames(7, message, b"x" * 70_000))[:1000]
    fragments = b"\2E\0\1\0\2\0\5\0hello\2F\0\1\0\1\0\5world"
    return [b"\0" + len(whole).to_bytes(2, "big") + whole, b"\0\3\0" + pieces, fragments, b"\3\x07\3\0\0\0\0\0\0"]


def run(data: bytes) -> None:
    """Receive frames as the bytes say."""
    choices = Choices(data)
    reader, assembler = framing.FrameReader(), framing.FragmentAssembler()
    try:
        for _ in range(100):
            if not choices.left:
                break
            for body in reader.receive_data(_piece(choices)):
                message = assembler.receive_frame(body) if body else None
                if isinstance(message, tuple):
                    signal, offset = control.read(*message)
                    assert signal[0] in control.OPERATIONS
                    assert 0 < offset <= len(message[0])
    except ProtocolError as error:
        assert len(str(error)) < 2000, "an error that quotes all that it was sent"  # noqa: PT017


def _piece(choices: Choices) -> bytes:
    match choices.byte() % 4:
        case 0:
            return choices.sized()
        case 1:
            body = b"\x83D\0" + choices.sized()
        case 2:
            kind = b"\x83" + choices.take(1)
            numbers = [int.from_bytes(choices.take(2), "big") for _ in range(2)]
            body = kind + b"".join(number.to_bytes(8, "big") for number in numbers) + choices.sized()
        case _:
            operation = choices.choice(list(range(40)))
            elements = [choices.term(LEAVES, 3) for _ in range(choices.randrange(7))]
            try:
                body = b"\x83D\0" + encode_term((operation, *elements)) + encode_term(choices.term(LEAVES, 2))
            except EncodeError:
                return b""
    return len(body).to_bytes(4, "big") + body
