"""Clusters whose nodes use TLS distribution."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest

import iris_admin
from iris_admin import Tls, aio
from iris_admin.client import Node
from iris_admin.discovery import find_cluster_nodes, find_nodes
from iris_admin.errors import CallTimeout, ConfigError, NodeDown, TlsNotSpoken
from tests.integration.conftest import Footprint, join, load_probe
from tests.support.certificates import Certificates
from tests.support.erlang import PATIENCE, ErlangNode, NodeFactory
from tests.support.failures import SLACK

PROBE = "iris_admin_test_probe"
TLS_1_3, TLS_1_2 = "'tlsv1.3'", "'tlsv1.2'"


@pytest.fixture(scope="module")
def nodes(erlang_epmd: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeFactory]:
    factory = NodeFactory(erlang_epmd, lambda: tmp_path_factory.mktemp("erlang"))
    yield factory
    factory.stop_all()


@pytest.fixture(scope="module", params=[TLS_1_3, TLS_1_2], ids=["1.3", "1.2"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def strict(nodes: NodeFactory, certificates: Certificates, version: str) -> ErlangNode:
    """A node that wants a certificate of its clients, with the probe."""
    node = nodes(flags=certificates.distribution_flags(wants_client=True, versions=version))
    load_probe(node)
    return node


@pytest.fixture(scope="module")
def tls(certificates: Certificates) -> Tls:
    """What it takes to join them."""
    return Tls(certificates.certificate("ca"), certificates.certificate("client"), certificates.key("client"))


@pytest.fixture
def node(strict: ErlangNode, tls: Tls, connect: Callable[..., Node]) -> Node:
    return connect(strict, tls=tls)


class TestJoining:
    @pytest.mark.parametrize("wants_client", [False, True], ids=["verify_none", "verify_peer"])
    @pytest.mark.parametrize("verify", [True, False], ids=["checked", "unchecked"])
    def test_a_call(
        self,
        nodes: NodeFactory,
        certificates: Certificates,
        version: str,
        wants_client: bool,
        verify: bool,
        connect: Callable[..., Node],
    ) -> None:
        erlang = nodes(flags=certificates.distribution_flags(wants_client=wants_client, versions=version))
        tls = Tls(
            certificates.certificate("ca") if verify else None,
            certificates.both("client") if wants_client else None,
            verify=verify,
        )
        node = connect(erlang, tls=tls)
        assert node.call("erlang", "node") == erlang.name
        assert erlang.evaluate("nodes(hidden)") == f"['{node.our_name}']"
        # A process of ssl carries it, where plain distribution has a port.
        carrier = f"[is_pid(C) || {{N, C}} <- erlang:system_info(dist_ctrl), N =:= '{node.our_name}']"
        assert erlang.evaluate(carrier) == "[true]"

    def test_without_epmd(self, nodes: NodeFactory, certificates: Certificates, tls: Tls) -> None:
        erlang = nodes(epmd="none", flags=certificates.distribution_flags())
        with iris_admin.connect(f"{erlang.name}:{erlang.port}", cookie=erlang.cookie, tls=tls) as node:
            assert node.ping() < PATIENCE

    def test_another_server_name(
        self, nodes: NodeFactory, certificates: Certificates, connect: Callable[..., Node]
    ) -> None:
        erlang = nodes(flags=certificates.distribution_flags("elsewhere"))
        node = connect(erlang, tls=Tls(certificates.certificate("ca"), server_name="db1.example.com"))
        assert node.call("erlang", "abs", -1) == 1

    def test_by_the_host_of_its_name(
        self, nodes: NodeFactory, certificates: Certificates, connect: Callable[..., Node]
    ) -> None:
        erlang = nodes("byname@localhost", flags=certificates.distribution_flags())
        assert connect(erlang, tls=Tls(certificates.certificate("ca"))).call("erlang", "abs", -1) == 1

    def test_again_after_a_restart(
        self, fresh_node: NodeFactory, certificates: Certificates, tls: Tls, connect: Callable[..., Node]
    ) -> None:
        erlang = fresh_node(flags=certificates.distribution_flags(wants_client=True))
        node = connect(erlang, tls=tls)
        node.ping()
        erlang.restart()
        assert node.call("erlang", "abs", -1, idempotent=True, timeout=30) == 1

    def test_a_renewed_certificate_is_taken_up(
        self, strict: ErlangNode, certificates: Certificates, connect: Callable[..., Node], tmp_path: Path
    ) -> None:
        ours = tmp_path / "client.pem"
        ours.touch(mode=0o600)
        ours.write_bytes(certificates.both("client").read_bytes())
        node = connect(strict, tls=Tls(certificates.certificate("ca"), ours))
        ours.write_bytes(certificates.both("expired_client").read_bytes())
        assert node.call("erlang", "abs", -1) == 1
        link = node._connector.link
        assert link is not None
        link.close()
        with pytest.raises(iris_admin.errors.ClientCertificateRefused):
            node.call("erlang", "abs", -1)
        ours.write_bytes(certificates.both("client").read_bytes())
        assert node.call("erlang", "abs", -2) == 2

    def test_nothing_is_left(self, strict: ErlangNode, tls: Tls) -> None:
        def visit() -> None:
            with join(strict, tls=tls) as node:
                node.ping()

        visit()  # loads code there, and takes a name from the pool
        footprint = Footprint(strict)
        for _ in range(5):
            visit()
        footprint.assert_unchanged()

    def test_nothing_is_left_where_it_is_plain(self, nodes: NodeFactory, tls: Tls) -> None:
        erlang = nodes()

        def visit() -> None:
            with pytest.raises(TlsNotSpoken):
                join(erlang, tls=tls, connect_timeout=0.8)

        visit()
        footprint = Footprint(erlang)
        for _ in range(3):
            visit()
        footprint.assert_unchanged()
        assert not [line for line in erlang.output if "REPORT" in line]

    def test_leaving(self, strict: ErlangNode, node: Node) -> None:
        node.ping()
        name = node.our_name
        strict.evaluate("net_kernel:monitor_nodes(true, #{node_type => hidden})")
        node.close()
        assert strict.evaluate(f"receive {{nodedown, '{name}', _}} -> gone after 10000 -> still_there end") == "gone"


class TestCalls:
    def test_a_large_reply(self, node: Node) -> None:
        assert node.call("lists", "duplicate", 100_000, b"x" * 250, timeout=60) == [b"x" * 250] * 100_000

    def test_a_large_argument(self, node: Node) -> None:
        data = bytes(range(256)) * 80_000
        assert node.call("erlang", "md5", data, timeout=60) == md5(data).digest()

    def test_large_ones_in_both_directions_at_once(self, node: Node) -> None:
        data = b"x" * 3_000_000
        futures = [node.submit("erlang", "list_to_binary", [data, b"y"], timeout=60) for _ in range(8)]
        assert all(future.result(60) == data + b"y" for future in futures)

    def test_many_in_flight(self, node: Node) -> None:
        futures = [node.submit("erlang", "abs", -number) for number in range(2000)]
        assert [future.result(60) for future in futures] == list(range(2000))

    def test_eight_threads(self, node: Node) -> None:
        def work(number: int) -> list[Any]:
            return [node.call("erlang", "list_to_tuple", [number, index, b"z" * index]) for index in range(200)]

        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(work, range(8)))
        assert results == [[(number, index, b"z" * index) for index in range(200)] for number in range(8)]

    def test_a_time_out_ends_the_work_there(self, strict: ErlangNode, node: Node) -> None:
        with pytest.raises(CallTimeout):
            node.call(PROBE, "block", timeout=0.3)
        assert strict.evaluate(f"{PROBE}:reasons(1)") == "[killed]"

    def test_the_loss_of_the_node(
        self, fresh_node: NodeFactory, certificates: Certificates, tls: Tls, connect: Callable[..., Node], version: str
    ) -> None:
        erlang = fresh_node(flags=certificates.distribution_flags(wants_client=True, versions=version))
        node = connect(erlang, tls=tls)
        waiting = [node.submit("timer", "sleep", 60_000, timeout=60) for _ in range(4)]
        node.ping()
        start = time.monotonic()
        erlang.kill()
        assert {type(future.exception(30)) for future in waiting} == {NodeDown}
        assert time.monotonic() - start < SLACK

    def test_a_node_that_says_farewell(
        self, fresh_node: NodeFactory, certificates: Certificates, tls: Tls, connect: Callable[..., Node], version: str
    ) -> None:
        erlang = fresh_node(flags=certificates.distribution_flags(versions=version))
        node = connect(erlang, tls=tls)
        waiting = node.submit("timer", "sleep", 60_000, timeout=60)
        node.ping()
        erlang.evaluate(f"erlang:disconnect_node('{node.our_name}')")
        error = waiting.exception(30)
        assert isinstance(error, NodeDown)
        assert str(error) == f"{node.name} closed the connection"

    def test_an_idle_connection_ticks(
        self, fresh_node: NodeFactory, certificates: Certificates, tls: Tls, connect: Callable[..., Node], version: str
    ) -> None:
        erlang = fresh_node(flags=certificates.distribution_flags(versions=version), net_ticktime=4)
        node = connect(erlang, tls=tls, net_ticktime=4)
        name = node.our_name
        erlang.evaluate("net_kernel:monitor_nodes(true, #{node_type => hidden})")
        # Longer than the node would bear to hear nothing, and than we would.
        assert erlang.evaluate("receive {nodedown, _, _} -> lost after 7000 -> kept end") == "kept"
        assert node.call("erlang", "abs", -1) == 1
        assert node.our_name == name


class TestNewKeysOnTheWay:
    """With 1.3 the node tells us to change keys; with 1.2 it renegotiates. We have to answer, while others call."""

    @pytest.fixture
    def restless(
        self, fresh_node: NodeFactory, certificates: Certificates, tls: Tls, connect: Callable[..., Node], version: str
    ) -> Node:
        more = ", {key_update_at, 200000}" if version == TLS_1_3 else ", {renegotiate_at, 100}"
        erlang = fresh_node(flags=certificates.distribution_flags(versions=version, more=more))
        return connect(erlang, tls=tls)

    def test_in_large_replies_and_many_calls(self, restless: Node) -> None:
        with ThreadPoolExecutor(4) as pool:
            large = [pool.submit(restless.call, "binary", "copy", b"x", 2_000_000, timeout=60) for _ in range(4)]
            for number in range(500):
                assert restless.call("erlang", "list_to_tuple", [number, b"y" * 1000], timeout=60)[0] == number
            assert all(future.result(60) == b"x" * 2_000_000 for future in large)


class TestFacades:
    def test_awaiting(self, strict: ErlangNode, tls: Tls) -> None:
        async def work() -> list[Any]:
            options = {"cookie": strict.cookie, "epmd_port": strict.epmd_port, "tls": tls}
            async with await aio.connect(strict.name, **options) as node:
                return await asyncio.gather(*(node.call("erlang", "abs", -number) for number in range(50)))

        assert asyncio.run(work()) == list(range(50))

    def test_a_cluster(self, fresh_node: NodeFactory, certificates: Certificates, tls: Tls) -> None:
        flags = certificates.distribution_flags(wants_client=True)
        # A node looks for names, not addresses, in the certificate of another.
        first = fresh_node("tls_first@localhost", flags=flags)
        second = fresh_node("tls_second@localhost", flags=flags, cookie=first.cookie)
        assert first.evaluate(f"net_adm:ping('{second.name}')") == "pong"
        options = {"cookie": first.cookie, "epmd_port": first.epmd_port, "tls": tls}
        with iris_admin.connect_cluster(first.name, **options) as cluster:
            assert cluster.call("erlang", "node").values_by_node == {first.name: first.name, second.name: second.name}
        found = find_cluster_nodes(first.name, **options)
        rows = {row.node: row for row in found if row.node in (first.name, second.name)}
        assert {(row.answers, row.role) for row in rows.values()} == {(True, "other")}
        assert len(rows) == 2

    def test_the_nodes_of_a_host(self, strict: ErlangNode, tls: Tls) -> None:
        options = {"cookie": strict.cookie, "epmd_port": strict.epmd_port}
        (row,) = (row for row in find_nodes("127.0.0.1", tls=tls, **options) if row.node == strict.name)
        assert (row.answers, row.role, row.problem) == (True, "other", None)
        (row,) = (row for row in find_nodes("127.0.0.1", **options) if row.node == strict.name)
        assert (row.answers, row.role) == (True, None)
        assert row.problem == f"{strict.name} uses TLS distribution"


class TestBadOptions:
    """Nothing is sent: nobody listens where these would connect to."""

    @pytest.fixture
    def secret(self, certificates: Certificates, tmp_path: Path) -> Path:
        file = tmp_path / "key.pem"
        file.write_bytes(certificates.key("client").read_bytes())
        return file

    def refused(self, tls: Any, hint: str | None = None) -> str:
        with pytest.raises(ConfigError) as caught:
            iris_admin.connect("db1@127.0.0.1", cookie="x", epmd_port=1, tls=tls)
        if hint is not None:
            assert caught.value.hint is not None
            assert hint in caught.value.hint
        return str(caught.value)

    def test_no_file(self, certificates: Certificates) -> None:
        assert self.refused(Tls("/nowhere")) == "the TLS CA file /nowhere cannot be read: No such file or directory"
        ours = certificates.certificate("client")
        assert "certificate /nowhere cannot be read" in self.refused(Tls(certificate="/nowhere"))
        assert "key /nowhere cannot be read" in self.refused(Tls(certificate=ours, key="/nowhere"))

    def test_no_pem(self, tmp_path: Path, certificates: Certificates) -> None:
        (tmp_path / "x").write_text("x")
        (tmp_path / "broken").write_text("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
        assert "has no certificate in PEM format in it" in self.refused(Tls(tmp_path / "x"))
        assert "cannot be used: " in self.refused(Tls(tmp_path / "broken"))
        assert "has no private key in PEM" in self.refused(Tls(certificate=certificates.certificate("client")))

    def test_the_key_of_another_certificate(self, certificates: Certificates) -> None:
        wrong = Tls(certificate=certificates.certificate("client"), key=certificates.key("node"))
        assert "is not that of the certificate" in self.refused(wrong)

    def test_a_key_without_a_certificate(self, certificates: Certificates) -> None:
        assert "but no certificate for it" in self.refused(Tls(key=certificates.key("client")))

    def test_a_key_that_everybody_can_read(self, certificates: Certificates, secret: Path) -> None:
        secret.chmod(0o644)
        tls = Tls(certificate=certificates.certificate("client"), key=secret)
        assert self.refused(tls, hint=f"chmod 600 {secret}").endswith("is open to everybody (mode 644)")
        secret.chmod(0o640)  # a group of its own, as /etc/ssl/private has
        tls.context()

    def test_an_encrypted_key(self, certificates: Certificates, secret: Path) -> None:
        """Nobody is asked for a password, who might not be there."""
        text = secret.read_text().replace(
            "-----\n", "-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\n", 1
        )
        secret.write_text(text)
        secret.chmod(0o600)
        message = self.refused(Tls(certificate=certificates.certificate("client"), key=secret), hint="openssl pkey")
        assert message.endswith("is encrypted")

    @pytest.mark.parametrize("name", ["", ".example.com", "a" * 300, "a..b"])
    def test_a_server_name_that_is_none(self, strict: ErlangNode, name: str) -> None:
        with pytest.raises(ConfigError, match="is no name that a TLS certificate could be for"):
            iris_admin.connect(strict.name, cookie=strict.cookie, epmd_port=strict.epmd_port, tls=Tls(server_name=name))

    @pytest.mark.parametrize("tls", [True, "ca.pem", {"ca_file": "ca.pem"}])
    def test_no_options_at_all(self, tls: Any) -> None:
        assert "tls must be like Tls(ca_file=…)" in self.refused(tls)
        with pytest.raises(ConfigError):
            find_nodes("127.0.0.1", cookie="x", epmd_port=1, tls=Tls("/nowhere"))
