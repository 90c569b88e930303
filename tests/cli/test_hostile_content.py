"""A real node whose names, messages and log are hostile: nothing of it comes out raw, whatever asks, in any format."""

from __future__ import annotations

import csv
import io
import json
import socket
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from demo_cluster import DemoCluster

import iris_admin
from iris_admin.cli.session import FORMATS
from iris_admin.errors import RemoteError
from tests.cli.support import invoke
from tests.support.hostile import DANGEROUS

#: A formula, an escape sequence (in 7 and in 8 bits), a title for the window, a turn of direction, a new line, HTML.
HOSTILE = "=1+1\x1b[2J\x9b31m\x1b]0;x\x07\u202e\u2028\r\n<b>\x7f"
#: The same in Erlang's quotes.
ERLANG = "".join(f"\\x{{{ord(character):X}}}" for character in HOSTILE)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

#: What to ask, and whether the answer has the hostile text in it.
COMMANDS: list[tuple[tuple[str, ...], bool]] = [
    (("ping",), False),
    (("nodes",), False),
    (("ports",), False),
    (("logs",), True),
    (("system",), False),
    (("memory",), False),
    (("stats",), False),
    (("processes",), True),
    (("process", "whereis"), False),
    (("ets",), True),
    (("mnesia", "status"), False),
    (("mnesia", "tables"), True),
    (("mnesia", "locks"), False),
    (("offline", "summary"), False),
    (("offline", "list"), True),
    (("offline", "duplicates"), True),
    (("presence", "summary"), False),
    (("presence", "list"), False),
    (("user", HOSTILE), True),
    (("offline", "clear", HOSTILE, "--dry-run"), True),
    (("offline", "clear", HOSTILE), True),
    (("redeliver", HOSTILE, "--dry-run"), True),
    (("doctor",), False),
    (("audit",), False),
    (("rpc", "erlang", "registered"), True),
    (("rpc", "lists", "nth", "1", f'["{ERLANG}"]'), False),
    (("rpc", "erlang", "throw", f'<<"{ERLANG}"/utf8>>'), False),
    (("eval", f'io:format("~ts", ["{ERLANG}"]), [<<"{ERLANG}"/utf8>>, #{{<<"{ERLANG}"/utf8>> => 1}}]'), True),
    (("-v", "eval", f'error({{"{ERLANG}"}})'), False),
    (("-n", f"{HOSTILE}@127.0.0.1", "ping"), True),
    (("-n", "nobody@127.0.0.1", "ping"), True),
]


@pytest.fixture(scope="module")
def hostile_cluster() -> Iterator[DemoCluster]:
    with DemoCluster(edges=1, hidden_edges=0) as demo:
        core = demo.cores[0]
        core.evaluate(
            f'N = list_to_atom("{ERLANG}"), P = spawn(fun() -> receive stop -> ok end end), register(N, P), '
            f"[P ! {{large, lists:seq(1, 100000)}} || _ <- lists:seq(1, 20)], "
            "T = ets:new(N, [named_table, public]), ets:give_away(T, P, x), "
            "[ets:insert(T, {X, X}) || X <- lists:seq(1, 50000)], "
            "{atomic, ok} = mnesia:create_table(list_to_atom([$m | atom_to_list(N)]), []), ok."
        )
        core.evaluate(f'logger:error("~ts", ["{ERLANG}"]), logger_std_h:filesync(default).')
        demo.store(HOSTILE, [HOSTILE.encode(), HOSTILE.encode()])
        with socket.create_connection(("127.0.0.1", int(demo.environment["ERL_EPMD_PORT"])), timeout=10) as epmd:
            name = b"evil\x1b[2J\x7f"
            body = struct.pack(">BHBBHHH", 120, 4, 77, 0, 6, 5, len(name)) + name + b"\0\0"
            epmd.sendall(struct.pack(">H", len(body)) + body)
            epmd.recv(100)
            yield demo


@pytest.fixture
def ask(
    hostile_cluster: DemoCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[str, str]]:
    monkeypatch.setenv("IRIS_ADMIN_BACKUP_DIR", str(tmp_path / "backups"))
    monkeypatch.setenv("IRIS_ADMIN_AUDIT_FILE", str(tmp_path / "audit.jsonl"))

    def run(*words: str) -> tuple[str, str]:
        result = invoke(*words, environment=hostile_cluster.environment)
        assert not isinstance(result.exception, Exception), result.exception
        assert "internal error" not in result.stderr
        assert result.exit_code != 64, result.stderr  # it was asked for in vain
        return result.stdout, result.stderr

    return run


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize(("words", "shows"), COMMANDS, ids=[ascii(" ".join(words))[:40] for words, _ in COMMANDS])
def test_command(ask: Callable[..., tuple[str, str]], words: tuple[str, ...], shows: bool, output_format: str) -> None:
    output, errors = ask(*words, "-o", output_format)
    assert not DANGEROUS.search(output), ascii(output)
    assert not DANGEROUS.search(errors), ascii(errors)
    if shows and output_format in ("table", "json"):  # the rows of the others need not repeat what was asked for
        assert any(escape in output + errors for escape in (r"\e[2J", r"\u001b[2J", r"\x1b[2J")), output + errors
    if output_format == "json" and output:
        json.loads(output)
    if output_format == "jsonl":
        for line in output.splitlines():
            json.loads(line)
    if output_format == "csv":
        for row in csv.reader(io.StringIO(output, newline="")):
            assert not any(value.startswith(_FORMULA) and not _is_number(value) for value in row), row


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def test_bundle(ask: Callable[..., tuple[str, str]], tmp_path: Path) -> None:
    path = tmp_path / "bundle.zip"
    _, errors = ask("bundle", str(path))
    assert not DANGEROUS.search(errors)
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            assert not name.startswith("/")
            assert ".." not in name
            text = archive.read(name).decode()
            assert not DANGEROUS.search(text), name
            assert not name.endswith(".html") or "<b>" not in text


def test_library(hostile_cluster: DemoCluster) -> None:
    environment = hostile_cluster.environment
    with iris_admin.connect(
        hostile_cluster.cores[0].name,
        cookie_file=environment["IRIS_ADMIN_COOKIE_FILE"],
        epmd_port=int(environment["ERL_EPMD_PORT"]),
    ) as node:
        for result in (node.ets_tables(), node.processes(), node.logs()):
            assert not DANGEROUS.search(repr(result))
            html = result._repr_html_()
            assert not DANGEROUS.search(html)
            assert "<b>" not in html
        with pytest.raises(RemoteError) as caught:
            node.call("erlang", "throw", iris_admin.Atom(HOSTILE))
        assert not DANGEROUS.search(str(caught.value))
        assert caught.value.reason == HOSTILE
