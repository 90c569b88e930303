"""The handshake against a scripted peer. The golden bytes are those of a node of OTP 25."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable
from hashlib import md5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_admin.errors import CookieMismatch, HandshakeRefused, IrisAdminError, ProtocolError, TlsRequired
from iris_admin.proto.flags import NEEDED_FROM_PEER, OUR_FLAGS, DistributionFlags, flag_names
from iris_admin.proto.handshake import Handshake, Joined, digest

PEER = "db1@127.0.0.1"
COOKIE = "SECRET"
OUR_CHALLENGE = 0x12345678
THEIR_CHALLENGE = 0xD83C469D
#: What a node of OTP 25 sends.
THEIR_FLAGS = 0xF07DF7FBC

# Recorded with a real node, cookie SECRET.
SEND_NAME = bytes.fromhex("00184e0000004f07df5fbc0000000000093132372e302e302e31")
STATUS_NAMED = bytes.fromhex("0024736e616d65643a0017334b58564642535a4a49345058403132372e302e302e3186813d2e")
CHALLENGE = bytes.fromhex("00204e0000000f07df7fbcd83c469d6b03fc86000d646231403132372e302e302e31")
CHALLENGE_REPLY = bytes.fromhex("001572123456783d6c14dad33241c9b0a279b2bf38e8e6")
CHALLENGE_ACK = bytes.fromhex("001161ba4513fb6aee1c83cceaddea1257c045")
GIVEN_NAME = "3KXVFBSZJI4PX@127.0.0.1"


def a_handshake(*, name: str | None = None, length_bytes: int = 2, cookie: str = COOKIE) -> Handshake:
    return Handshake(
        peer=PEER,
        cookie=cookie,
        host="127.0.0.1",
        name=name,
        challenge=OUR_CHALLENGE,
        creation=0x1234,
        length_bytes=length_bytes,
    )


def frame(message: bytes, length_bytes: int = 2) -> bytes:
    return len(message).to_bytes(length_bytes, "big") + message


def challenge_message(*, flags: int = THEIR_FLAGS, name: str = PEER, challenge: int = THEIR_CHALLENGE) -> bytes:
    return struct.pack(">cQIIH", b"N", flags, challenge, 7, len(name.encode())) + name.encode()


def ack_message(cookie: str = COOKIE, challenge: int = OUR_CHALLENGE) -> bytes:
    return b"a" + md5(cookie.encode("latin-1") + str(challenge).encode()).digest()


def waiting_for_status() -> Handshake:
    handshake = a_handshake(name="admin")
    handshake.data_to_send()
    return handshake


def waiting_for_challenge() -> Handshake:
    handshake = waiting_for_status()
    handshake.receive_data(frame(b"sok"))
    return handshake


def waiting_for_ack() -> Handshake:
    handshake = waiting_for_challenge()
    handshake.receive_data(frame(challenge_message()))
    handshake.data_to_send()
    return handshake


class TestRecordedHandshake:
    def test_step_by_step(self) -> None:
        handshake = a_handshake()
        # Our creation belongs to a fixed name; without one, a node expects none.
        assert handshake.data_to_send()[:11] == SEND_NAME[:11]
        assert handshake.data_to_send() == b""
        handshake.receive_data(STATUS_NAMED)
        assert handshake.data_to_send() == b""
        handshake.receive_data(CHALLENGE)
        assert handshake.data_to_send() == CHALLENGE_REPLY
        assert handshake.joined is None
        handshake.receive_data(CHALLENGE_ACK)
        assert handshake.joined == Joined(peer=PEER, name=GIVEN_NAME, creation=0x86813D2E)
        assert handshake.data_to_send() == b""
        assert handshake.rest() == b""

    def test_first_message(self) -> None:
        handshake = Handshake(peer=PEER, cookie=COOKIE, host="127.0.0.1", name=None, challenge=1, creation=0)
        assert handshake.data_to_send() == SEND_NAME

    def test_byte_by_byte(self) -> None:
        handshake = a_handshake()
        sent = handshake.data_to_send()
        for byte in STATUS_NAMED + CHALLENGE + CHALLENGE_ACK:
            assert handshake.joined is None
            handshake.receive_data(bytes((byte,)))
            sent += handshake.data_to_send()
        assert sent.endswith(CHALLENGE_REPLY)
        assert handshake.joined == Joined(PEER, GIVEN_NAME, 0x86813D2E)

    def test_all_at_once_with_what_follows(self) -> None:
        handshake = a_handshake()
        handshake.receive_data(STATUS_NAMED + CHALLENGE + CHALLENGE_ACK + b"\0\0\0\0\0\0")
        assert handshake.joined is not None
        assert handshake.rest() == b"\0\0\0\0\0\0"


class TestOverTls:
    """The lengths have four bytes, from the first message on."""

    MESSAGES = (STATUS_NAMED[2:], CHALLENGE[2:], CHALLENGE_ACK[2:])
    FRAMES = b"".join(frame(message, 4) for message in MESSAGES)

    def test_byte_by_byte(self) -> None:
        handshake = a_handshake(length_bytes=4)
        sent = handshake.data_to_send()
        assert sent[:4] == (len(sent) - 4).to_bytes(4, "big")
        assert sent[4:15] == b"N" + SEND_NAME[3:11] + bytes(2)
        for byte in self.FRAMES:
            assert handshake.joined is None
            handshake.receive_data(bytes((byte,)))
            sent += handshake.data_to_send()
        assert sent.endswith(frame(CHALLENGE_REPLY[2:], 4))
        assert handshake.joined == Joined(PEER, GIVEN_NAME, 0x86813D2E)

    @given(st.data())
    def test_in_any_pieces(self, data: st.DataObject) -> None:
        stream = self.FRAMES + b"behind it"
        handshake = a_handshake(length_bytes=4)
        while handshake.joined is None:
            size = data.draw(st.integers(1, len(stream)))
            handshake.receive_data(stream[:size])
            stream = stream[size:]
        assert handshake.joined == Joined(PEER, GIVEN_NAME, 0x86813D2E)
        assert handshake.rest() + stream == b"behind it"

    @given(st.binary(max_size=64))
    def test_anything_is_taken_or_refused(self, stream: bytes) -> None:
        handshake = a_handshake(length_bytes=4)
        with contextlib.suppress(IrisAdminError):
            handshake.receive_data(stream)
        assert handshake.joined is None

    def test_a_length_that_no_message_has(self) -> None:
        with pytest.raises(ProtocolError):
            a_handshake(length_bytes=4).receive_data(b"HTTP/1.1 400")

    def test_closing_says_nothing_of_tls(self) -> None:
        assert "--tls" in (a_handshake().receive_eof().hint or "")
        assert "--tls" not in (a_handshake(length_bytes=4).receive_eof().hint or "")

    @pytest.mark.parametrize("before", [0, 1])
    def test_a_node_that_wants_it(self, before: int) -> None:
        """Recorded: what a node of OTP 25 that uses TLS answers to plain distribution."""
        alert = bytes.fromhex("1503030002020a")
        handshake = a_handshake()
        handshake.receive_data(alert[:before])
        with pytest.raises(TlsRequired, match=f"{PEER} uses TLS distribution") as caught:
            handshake.receive_data(alert[before:])
        assert caught.value.node == PEER
        assert "--tls" in (caught.value.hint or "")


class TestName:
    def test_by_default_the_node_is_asked_for_one(self) -> None:
        _, tag, flags, _, length = struct.unpack_from(">HcQIH", data := a_handshake().data_to_send())
        assert tag == b"N"
        assert flags == OUR_FLAGS | DistributionFlags.NAME_ME
        assert data[17:] == b"127.0.0.1"
        assert length == 9

    def test_a_fixed_name(self) -> None:
        _, _, flags, creation, _ = struct.unpack_from(">HcQIH", data := a_handshake(name="admin").data_to_send())
        assert flags == OUR_FLAGS
        assert creation == 0x1234
        assert data[17:] == b"admin@127.0.0.1"

    def test_a_fixed_name_is_kept(self) -> None:
        handshake = waiting_for_ack()
        handshake.receive_data(frame(ack_message()))
        assert handshake.joined == Joined(PEER, "admin@127.0.0.1", 0x1234)

    def test_we_are_hidden_and_announce_no_atom_cache(self) -> None:
        unwanted = (
            DistributionFlags.PUBLISHED
            | DistributionFlags.ATOM_CACHE
            | DistributionFlags.HIDDEN_ATOM_CACHE
            | DistributionFlags.DIST_HDR_ATOM_CACHE
            | DistributionFlags.ALTACT_SIG
            | 1 << 36  # internal to OTP
        )
        assert not OUR_FLAGS & unwanted

    def test_all_that_is_mandatory_is_announced(self) -> None:
        assert OUR_FLAGS & 0x1070F94 == 0x1070F94  # OTP 25
        assert OUR_FLAGS & 0x403070F94 == 0x403070F94  # OTP 26 to 29
        assert DistributionFlags.MANDATORY_25_DIGEST == 0x4000000


class TestStatus:
    @pytest.mark.parametrize("status", [b"ok", b"ok_simultaneous"])
    def test_go_on(self, status: bytes) -> None:
        handshake = waiting_for_status()
        handshake.receive_data(frame(b"s" + status))
        assert handshake.data_to_send() == b""
        handshake.receive_data(frame(challenge_message()))
        assert handshake.data_to_send() != b""

    def test_alive_is_answered_by_true(self) -> None:
        handshake = waiting_for_status()
        handshake.receive_data(frame(b"salive"))
        assert handshake.data_to_send() == b"\0\5strue"
        handshake.receive_data(frame(challenge_message()))
        handshake.receive_data(frame(ack_message()))
        assert handshake.joined is not None

    @pytest.mark.parametrize("status", ["nok", "not_allowed", "something_new"])
    def test_refused(self, status: str) -> None:
        with pytest.raises(HandshakeRefused, match=status) as caught:
            waiting_for_status().receive_data(frame(b"s" + status.encode()))
        assert caught.value.status == status
        assert caught.value.node == PEER
        assert (caught.value.hint is None) == (status == "something_new")

    @pytest.mark.parametrize("length", range(6, len(STATUS_NAMED) - 3))
    def test_a_given_name_that_was_cut_short(self, length: int) -> None:
        with pytest.raises(IrisAdminError) as caught:
            a_handshake().receive_data(frame(STATUS_NAMED[2 : 2 + length]))
        assert type(caught.value) in (ProtocolError, HandshakeRefused)


class TestChallenge:
    def test_another_node_answers(self) -> None:
        with pytest.raises(HandshakeRefused, match="calls itself other@host") as caught:
            waiting_for_challenge().receive_data(frame(challenge_message(name="other@host")))
        assert "other@host" in (caught.value.hint or "")
        assert caught.value.node == PEER

    @pytest.mark.parametrize("name", flag_names(NEEDED_FROM_PEER))
    def test_a_node_that_is_too_old(self, name: str) -> None:
        handshake = waiting_for_challenge()
        flag: int = getattr(DistributionFlags, name)
        with pytest.raises(HandshakeRefused, match=f"too old: it lacks {name}$") as caught:
            handshake.receive_data(frame(challenge_message(flags=THEIR_FLAGS & ~flag)))
        assert caught.value.hint == "iris_admin speaks to OTP 25 and later."
        assert handshake.data_to_send() == b""

    def test_a_node_of_otp_29(self) -> None:
        handshake = waiting_for_challenge()
        handshake.receive_data(frame(challenge_message(flags=THEIR_FLAGS | 3 << 37 | 1 << 63)))
        assert handshake.data_to_send() != b""

    def test_our_answer_is_the_digest_of_their_challenge(self) -> None:
        handshake = waiting_for_challenge()
        handshake.receive_data(frame(challenge_message(challenge=4_000_000_000)))
        assert handshake.data_to_send() == frame(
            b"r" + OUR_CHALLENGE.to_bytes(4, "big") + md5(b"SECRET4000000000").digest()
        )


class TestDigest:
    def test_golden(self) -> None:
        assert digest(COOKIE, 0xD83C469D) == CHALLENGE_REPLY[7:]
        assert digest(COOKIE, OUR_CHALLENGE) == CHALLENGE_ACK[3:]

    def test_a_cookie_beyond_ascii(self) -> None:
        assert digest("é", 1) == md5(b"\xe91").digest()

    @pytest.mark.parametrize(
        "answer", [ack_message(cookie="OTHER"), ack_message(challenge=1), b"a", b"a" + bytes(16), ack_message()[:16]]
    )
    def test_a_peer_that_does_not_know_the_cookie(self, answer: bytes) -> None:
        handshake = waiting_for_ack()
        with pytest.raises(CookieMismatch, match="could not prove") as caught:
            handshake.receive_data(frame(answer))
        assert handshake.joined is None
        assert caught.value.node == PEER
        assert caught.value.hint is not None


STEPS: list[tuple[Callable[[], Handshake], bytes]] = [
    (waiting_for_status, b"sok"),
    (waiting_for_challenge, challenge_message()),
    (waiting_for_ack, ack_message()),
]


class TestEveryStep:
    @pytest.mark.parametrize(
        ("start", "error"),
        [
            (waiting_for_status, HandshakeRefused),
            (waiting_for_challenge, HandshakeRefused),
            (waiting_for_ack, CookieMismatch),
        ],
    )
    def test_the_peer_closes(self, start: Callable[[], Handshake], error: type[IrisAdminError]) -> None:
        explained = start().receive_eof()
        assert type(explained) is error
        assert explained.node == PEER
        assert explained.hint is not None

    @pytest.mark.parametrize(("start", "message"), STEPS)
    def test_the_peer_closes_within_a_message(self, start: Callable[[], Handshake], message: bytes) -> None:
        handshake = start()
        handshake.receive_data(frame(message)[:-1])
        assert handshake.joined is None
        # Whoever begins to acknowledge has found our digest in order, so it is never the cookie.
        assert type(handshake.receive_eof()) is HandshakeRefused

    @pytest.mark.parametrize(("start", "message"), STEPS)
    def test_trailing_bytes_of_a_message_are_ignored(self, start: Callable[[], Handshake], message: bytes) -> None:
        if message.startswith(b"s"):
            message = STATUS_NAMED[2:]  # the only status that is not a mere word
        handshake = start()
        handshake.receive_data(frame(message + b"future"))
        for _, further in STEPS[[step for step, _ in STEPS].index(start) + 1 :]:
            handshake.receive_data(frame(further))
        assert handshake.joined is not None
        assert handshake.rest() == b""

    @pytest.mark.parametrize("garbage", [b"HTTP/1.1 400 Bad Request\r\n", b"\0\0", b"\0\1x", b"\0\3xyz", b"\xff\xff\0"])
    @pytest.mark.parametrize("start", [start for start, _ in STEPS])
    def test_garbage(self, start: Callable[[], Handshake], garbage: bytes) -> None:
        handshake = start()
        with pytest.raises(ProtocolError, match="no handshake message") as caught:
            handshake.receive_data(garbage)
        assert caught.value.node == PEER
        assert caught.value.hint is not None
        assert handshake.joined is None

    @pytest.mark.parametrize("start", [start for start, _ in STEPS])
    @pytest.mark.parametrize("message", [message for _, message in STEPS])
    def test_a_message_of_another_step(self, start: Callable[[], Handshake], message: bytes) -> None:
        if (start, message) in STEPS:
            return
        with pytest.raises(ProtocolError):
            start().receive_data(frame(message))

    @given(
        st.sampled_from([start for start, _ in STEPS]),
        st.sampled_from([b"", b"s", b"N", b"a", b"snamed:"]),
        st.binary(),
    )
    def test_any_bytes(self, start: Callable[[], Handshake], beginning: bytes, rest: bytes) -> None:
        for data in (frame(beginning + rest), beginning + rest):
            handshake = start()
            with contextlib.suppress(IrisAdminError):
                handshake.receive_data(data)
            assert handshake.joined is None


class TestFourByteLengths:
    def test_whole_handshake(self) -> None:
        handshake = a_handshake(length_bytes=4)
        first = handshake.data_to_send()
        assert first[:5] == (len(first) - 4).to_bytes(4, "big") + b"N"
        for message in (STATUS_NAMED, CHALLENGE, CHALLENGE_ACK):
            handshake.receive_data(frame(message[2:], 4))
        assert handshake.data_to_send() == frame(CHALLENGE_REPLY[2:], 4)
        assert handshake.joined == Joined(PEER, GIVEN_NAME, 0x86813D2E)

    def test_a_length_out_of_all_proportion(self) -> None:
        with pytest.raises(ProtocolError):
            a_handshake(length_bytes=4).receive_data(b"\xff\xff\xff\xff")
