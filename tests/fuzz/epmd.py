"""EPMD's replies."""

from __future__ import annotations

from iris_admin.errors import ProtocolError
from iris_admin.proto import epmd
from tests.proto.test_epmd import DB1, NAMES, TestDump, TestDumpResponse


def seeds() -> list[bytes]:
    """Replies of a daemon."""
    dumps = (TestDump.DUMP, TestDumpResponse.PORT + TestDumpResponse.GONE)
    return [b"\0" + DB1, b"\0w\1", b"\1" + NAMES, *(b"\2" + dump for dump in dumps)]


def run(data: bytes) -> None:
    """Read the bytes as the reply to one of the three requests."""
    reply = data[1:]
    try:
        if data[:1] == b"\0":
            registration = epmd.read_port2_response(reply)
            ports = [] if registration is None else [registration.port]
        elif data[:1] == b"\1":
            ports = list(epmd.read_names_response(reply).values())
        else:
            active, gone = epmd.read_dump_response(reply)
            ports = [*active.values(), *gone.values()]
    except ProtocolError as error:
        assert len(str(error)) < 1000, "an error that quotes all that it was sent"  # noqa: PT017
        return
    assert all(0 <= port < 65536 for port in ports), ports
