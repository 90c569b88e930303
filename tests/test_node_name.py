"""Names of nodes, as an operator types them."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_admin.errors import ConfigError
from iris_admin.node_name import NodeName, short_host_name


@pytest.mark.parametrize(
    ("text", "name", "host", "port", "is_long"),
    [
        ("db1@host", "db1", "host", None, False),
        ("db1@host.example.com", "db1", "host.example.com", None, True),
        ("db1@127.0.0.1", "db1", "127.0.0.1", None, True),
        ("db1@::1", "db1", "::1", None, True),
        ("db1@fd00::2", "db1", "fd00::2", None, True),
        ("db1@[::1]", "db1", "::1", None, True),
        ("db1@[::1]:9100", "db1", "::1", 9100, True),
        ("db1@host:9100", "db1", "host", 9100, False),
        ("db1@host.example.com:65535", "db1", "host.example.com", 65535, True),
        ("db1@localhost:1", "db1", "localhost", 1, False),
        ("  db1@host\n", "db1", "host", None, False),
        ("iris_core-1@web-1", "iris_core-1", "web-1", None, False),
        ("2WJ5UCX9ZQA5J@host", "2WJ5UCX9ZQA5J", "host", None, False),
    ],
)
def test_what_is_understood(text: str, name: str, host: str, port: int | None, is_long: bool) -> None:
    parsed = NodeName.parse(text)
    assert parsed == NodeName(name, host, port)
    assert parsed.is_long == is_long
    # The port is ours; the node's name for itself does not have it.
    assert str(parsed) == f"{name}@{host}"


@pytest.mark.parametrize("name", ["2WJ5UCX9ZQA5J", "3W5E11264SGSF", "180BNBN905VHB", "AAAAAAAAAA"])
def test_names_that_nodes_give(name: str) -> None:
    assert NodeName(name, "host").is_given


@pytest.mark.parametrize("name", ["db1", "iris_core1", "DB1", "2wj5ucx9zqa5j", "4W5E11264SGSF1", "PROD_SERVER_01"])
def test_names_that_people_give(name: str) -> None:
    assert not NodeName(name, "host").is_given


def test_without_a_host_it_is_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "web-1.example.com")
    assert short_host_name() == "web-1"
    assert NodeName.parse("db1") == NodeName("db1", "web-1")
    assert not NodeName.parse("db1").is_long


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "@",
        "@host",
        "db1@",
        "db1@host@other",
        "db 1@host",
        "db1@ho st",
        "db1@host/path",
        "db.1@host",
        "db1:9100",
        "db1@host:",
        "db1@[::1",
        "db1@[::1]9100",
        "db1@[]",
        "db1@[]:9100",
        "db1@host\0",
        "é@host",
        "'db1@host'",
    ],
)
def test_what_is_no_node_name(text: str) -> None:
    with pytest.raises(ConfigError, match="is no node name") as caught:
        NodeName.parse(text)
    assert repr(text) in str(caught.value)
    assert "db1@host:9100" in (caught.value.hint or "")


@pytest.mark.parametrize("port", ["0", "65536", "99999999999", "x", "-1", "9100x", "1.5", "²"])
def test_what_is_no_port(port: str) -> None:
    with pytest.raises(ConfigError):
        NodeName.parse(f"db1@host:{port}")
    with pytest.raises(ConfigError, match="is no TCP port"):
        NodeName.parse(f"db1@[::1]:{port}")


@pytest.mark.parametrize("text", ["db1@[::1]:", "db1@[::1]: ", "db1@host:"])
def test_a_colon_without_a_port(text: str) -> None:
    with pytest.raises(ConfigError):
        NodeName.parse(text)


_NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True)
_HOSTS = st.from_regex(r"[a-z0-9-]{1,10}(\.[a-z0-9-]{1,10}){0,3}", fullmatch=True)


@given(_NAMES, st.one_of(_HOSTS, st.ip_addresses().map(str)), st.one_of(st.none(), st.integers(1, 65535)))
def test_what_is_written_is_read(name: str, host: str, port: int | None) -> None:
    behind = "" if port is None else f":{port}"
    in_brackets = f"[{host}]" if ":" in host else host
    assert NodeName.parse(f"{name}@{in_brackets}{behind}") == NodeName(name, host, port)
    assert NodeName.parse(f"{name}@{host}") == NodeName(name, host)


@given(st.text(max_size=30))
def test_any_text_is_a_node_name_or_a_config_error(text: str) -> None:
    try:
        parsed = NodeName.parse(text)
    except ConfigError:
        return
    assert parsed.name
    assert parsed.host
