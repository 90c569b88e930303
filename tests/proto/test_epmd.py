"""What EPMD says. The replies are those of the daemon of OTP 25."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_admin.errors import ProtocolError
from iris_admin.proto import epmd
from iris_admin.proto.epmd import NodeRegistration

DB1 = b"w\x00\x8d\xf9M\x00\x00\x06\x00\x05\x00\x03db1\x00\x00"
NAMES = b"\x00\x00\x8c\x11name edge1 at port 42365\nname db1 at port 36345\n"


def test_requests() -> None:
    assert epmd.port_please2_request("db1") == bytes.fromhex("00047a646231")
    assert epmd.port_please2_request("ö") == b"\x00\x03z\xc3\xb6"
    assert epmd.names_request() == bytes.fromhex("00016e")


class TestPort2Response:
    def test_a_registered_node(self) -> None:
        assert epmd.read_port2_response(DB1) == NodeRegistration("db1", 36345, hidden=False, highest_version=6)

    def test_a_node_registered_as_hidden(self) -> None:
        registration = epmd.read_port2_response(DB1.replace(b"M", b"H"))
        assert registration is not None
        assert registration.hidden

    @pytest.mark.parametrize("result", [1, 2, 255])
    def test_no_such_node(self, result: int) -> None:
        assert epmd.read_port2_response(bytes((ord("w"), result))) is None

    def test_extra_data_of_a_node_is_skipped(self) -> None:
        assert epmd.read_port2_response(DB1[:-2] + b"\x00\x05extra") == epmd.read_port2_response(DB1)

    @pytest.mark.parametrize("length", range(len(DB1) - 2))
    def test_a_reply_that_was_cut_short(self, length: int) -> None:
        with pytest.raises(ProtocolError):
            epmd.read_port2_response(DB1[:length])

    @pytest.mark.parametrize("reply", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"v\x00\x00\x01", b"\x00" * 20])
    def test_somebody_else_answers(self, reply: bytes) -> None:
        with pytest.raises(ProtocolError, match="no reply of EPMD") as caught:
            epmd.read_port2_response(reply)
        assert caught.value.hint == "Does EPMD listen on that port?"

    @given(st.one_of(st.binary(max_size=40), st.binary(max_size=40).map(lambda rest: b"w\0" + rest)))
    def test_any_bytes(self, reply: bytes) -> None:
        try:
            registration = epmd.read_port2_response(reply)
        except ProtocolError:
            return
        assert registration is None or 0 <= registration.port < 65536


class TestNamesResponse:
    def test_two_nodes(self) -> None:
        assert epmd.read_names_response(NAMES) == {"edge1": 42365, "db1": 36345}

    def test_no_node(self) -> None:
        assert epmd.read_names_response(b"\x00\x00\x11\x11") == {}

    @pytest.mark.parametrize("length", range(4))
    def test_a_reply_that_was_cut_short(self, length: int) -> None:
        with pytest.raises(ProtocolError, match="no reply of EPMD"):
            epmd.read_names_response(NAMES[:length])

    @pytest.mark.parametrize(
        "line",
        [
            "active name     <db1> at port 36345, fd = 5",
            "name db1 at port",
            "name db1 at port x",
            "name db1 at port -1",
            "db1 36345",
        ],
    )
    def test_a_line_of_another_shape(self, line: str) -> None:
        with pytest.raises(ProtocolError, match="no line of EPMD's names"):
            epmd.read_names_response(NAMES + line.encode() + b"\n")

    @given(st.binary(max_size=60))
    def test_any_bytes(self, reply: bytes) -> None:
        try:
            names = epmd.read_names_response(b"\0\0\x11\x11" + reply)
        except ProtocolError:
            return
        assert all(type(port) is int for port in names.values())


class TestDump:
    DUMP = (
        b"\x00\x00\x8f\xa3"
        b"active name     <iris_edge1> at port 34345, fd = 7\n\x00"
        b"old/unused name <iris_edge2>, port = 33311, fd = 5 \n\x00"
        b"old/unused name <iris_edge1>, port = 33312, fd = 6 \n\x00"
    )

    def test_request(self) -> None:
        assert epmd.dump_request() == b"\x00\x01d"

    def test_names_that_are_registered_and_names_that_were(self) -> None:
        """As EPMD of OTP 25 wrote it. A name that came back is not gone."""
        assert epmd.read_dump_response(self.DUMP) == ({"iris_edge1": 34345}, {"iris_edge2": 33311})

    @pytest.mark.parametrize("data", [b"", b"\0\0\0\0hello\n"])
    def test_what_is_none(self, data: bytes) -> None:
        with pytest.raises(ProtocolError):
            epmd.read_dump_response(data)


class TestDumpResponse:
    ACTIVE = b"active name     <test2> at port 40787, fd = 6\n\x00active name     <test1> at port 35231, fd = 5\n\x00"
    GONE = b"active name     <test1> at port 35231, fd = 5\n\x00old/unused name <test2>, port = 40787, fd = 6 \n\x00"
    PORT = b"\x00\x00\xe1)"

    def test_request(self) -> None:
        assert epmd.dump_request() == b"\0\1d"

    def test_registered_ones(self) -> None:
        assert epmd.read_dump_response(self.PORT + self.ACTIVE) == ({"test2": 40787, "test1": 35231}, {})

    def test_one_that_was_registered(self) -> None:
        assert epmd.read_dump_response(self.PORT + self.GONE) == ({"test1": 35231}, {"test2": 40787})

    def test_one_that_is_registered_again(self) -> None:
        both = self.GONE + b"active name     <test2> at port 1, fd = 7\n\x00"
        assert epmd.read_dump_response(self.PORT + both) == ({"test1": 35231, "test2": 1}, {})

    def test_none(self) -> None:
        assert epmd.read_dump_response(self.PORT) == ({}, {})

    @pytest.mark.parametrize("reply", [b"", b"\0\0\x11", PORT + b"name db1 at port 1\n", PORT + b"HTTP/1.1 400\r\n"])
    def test_somebody_else_answers(self, reply: bytes) -> None:
        with pytest.raises(ProtocolError):
            epmd.read_dump_response(reply)
