"""The options for TLS: wherever their values come from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.support import invoke
from tests.cli.test_imports import HEAVY, imported
from tests.support.certificates import Certificates
from tests.support.erlang import ErlangNode, NodeFactory

WARNING = "warning: the nodes' certificates are not checked: whoever is on the way can pose as a node\n"


@pytest.fixture(scope="module")
def tls_node(certificates: Certificates, _session_nodes: NodeFactory) -> ErlangNode:
    """A node that wants a client certificate."""
    return _session_nodes(flags=certificates.distribution_flags(wants_client=True))


@pytest.fixture
def files(certificates: Certificates) -> dict[str, str]:
    return {
        "ca": str(certificates.certificate("ca")),
        "certificate": str(certificates.certificate("client")),
        "key": str(certificates.key("client")),
    }


@pytest.fixture
def options(files: dict[str, str]) -> list[str]:
    return ["--tls-ca-file", files["ca"], "--tls-certificate", files["certificate"], "--tls-key", files["key"]]


@pytest.fixture
def variables(files: dict[str, str]) -> dict[str, str]:
    return {
        "IRIS_ADMIN_TLS": "1",
        "IRIS_ADMIN_TLS_CA_FILE": files["ca"],
        "IRIS_ADMIN_TLS_CERTIFICATE": files["certificate"],
        "IRIS_ADMIN_TLS_KEY": files["key"],
    }


@pytest.fixture
def config(tls_node: ErlangNode, files: dict[str, str], tmp_path: Path) -> Path:
    file = tmp_path / "config.toml"
    file.write_text(
        f'[clusters.here]\nnode = "{tls_node.name}"\ncookie_file = "{tls_node.cookie_file}"\n'
        f"epmd_port = {tls_node.epmd_port}\n[clusters.here.tls]\n"
        f'ca_file = "{files["ca"]}"\ncertificate = "{files["certificate"]}"\nkey = "{files["key"]}"\n'
    )
    return file


def answers(*args: str, environment: dict[str, str]) -> str:
    """Run ``ping``; what it says on stderr."""
    result = invoke("ping", *args, environment=environment)
    assert result.exit_code == 0, result.stderr
    return result.stderr


def refused(*args: str, environment: dict[str, str], exit_code: int = 77) -> str:
    result = invoke("ping", *args, environment=environment)
    assert result.exit_code == exit_code, result.stderr
    return result.stderr


class TestSources:
    def test_options(self, tls_node: ErlangNode, options: list[str]) -> None:
        assert answers("--tls", *options, environment=tls_node.environment) == ""
        # Each of them asks for TLS.
        assert answers(*options, environment=tls_node.environment) == ""

    def test_variables(self, tls_node: ErlangNode, variables: dict[str, str]) -> None:
        assert answers(environment=tls_node.environment | variables) == ""
        del variables["IRIS_ADMIN_TLS"]
        assert answers(environment=tls_node.environment | variables) == ""

    def test_configuration(self, config: Path) -> None:
        assert answers("--config", str(config), "-c", "here", environment={}) == ""

    def test_default_cluster(self, config: Path) -> None:
        config.write_text('default_cluster = "here"\n' + config.read_text())
        assert answers(environment={"IRIS_ADMIN_CONFIG": str(config)}) == ""

    def test_the_nearer_one_counts(
        self, tls_node: ErlangNode, config: Path, variables: dict[str, str], certificates: Certificates
    ) -> None:
        other = str(certificates.certificate("other_ca"))
        named = ["--config", str(config), "-c", "here"]
        wrong = {"IRIS_ADMIN_TLS_CA_FILE": other}
        assert answers(*named, environment=wrong) == ""
        assert "is not trusted" in refused(*named, "--tls-ca-file", other, environment={})
        assert "is not trusted" in refused(environment=tls_node.environment | variables | wrong)
        # The rest still comes from the variables.
        ours = ["--tls-ca-file", variables["IRIS_ADMIN_TLS_CA_FILE"]]
        assert answers(*ours, environment=tls_node.environment | variables | wrong) == ""

    def test_plain_after_all(self, erlang_node: ErlangNode, tls_node: ErlangNode, variables: dict[str, str]) -> None:
        assert answers("--no-tls", environment=erlang_node.environment | variables) == ""
        assert answers(environment=erlang_node.environment | variables | {"IRIS_ADMIN_TLS": "0"}) == ""
        assert "uses TLS distribution" in refused("--no-tls", environment=tls_node.environment, exit_code=69)

    def test_wrong_variable(self, tls_node: ErlangNode) -> None:
        environment = tls_node.environment | {"IRIS_ADMIN_TLS": "yes"}
        assert "IRIS_ADMIN_TLS must be 1 or 0, not 'yes'" in refused(environment=environment, exit_code=78)

    def test_server_name(self, tls_node: ErlangNode, variables: dict[str, str]) -> None:
        environment = tls_node.environment | variables
        assert answers("--tls-server-name", "localhost", environment=environment) == ""
        assert "is not for 'db1'" in refused("--tls-server-name", "db1", environment=environment)
        assert answers(environment=environment | {"IRIS_ADMIN_TLS_SERVER_NAME": "localhost"}) == ""

    def test_bad_file(self, tls_node: ErlangNode) -> None:
        message = refused("--tls-ca-file", "/nowhere", environment=tls_node.environment, exit_code=78)
        assert message == "error: the TLS CA file /nowhere cannot be read: No such file or directory\n"


class TestUnchecked:
    def test_it_is_said(self, tls_node: ErlangNode, files: dict[str, str], certificates: Certificates) -> None:
        ours = ["--tls-certificate", files["certificate"], "--tls-key", files["key"]]
        assert answers(*ours, "--tls-no-verify", environment=tls_node.environment) == WARNING
        assert "is not trusted" in refused(*ours, environment=tls_node.environment)

    def test_in_the_configuration(self, config: Path) -> None:
        config.write_text(config.read_text() + "verify = false\n")
        assert answers("--config", str(config), "-c", "here", environment={}) == WARNING


class TestDiagnosis:
    def test_a_wrong_authority(self, tls_node: ErlangNode, certificates: Certificates) -> None:
        other = str(certificates.certificate("other_ca"))
        message = refused("--tls-ca-file", other, environment=tls_node.environment)
        assert f"\n  TCP              ok           127.0.0.1:{tls_node.port} accepts connections" in message
        assert "\n  TLS              failed       the certificate of" in message
        assert "\n  handshake        not reached" in message
        assert f"openssl s_client -connect 127.0.0.1:{tls_node.port} -verify_hostname 127.0.0.1" in message

    def test_no_tls_at_all(self, tls_node: ErlangNode) -> None:
        message = refused(environment=tls_node.environment, exit_code=69)
        assert f"error: {tls_node.name} uses TLS distribution\nhint: Use TLS as well: --tls" in message
        assert "\n  TLS              failed       " in message

    def test_a_wrong_cookie(self, tls_node: ErlangNode, options: list[str], tmp_path: Path) -> None:
        environment = tls_node.environment
        del environment["IRIS_ADMIN_COOKIE_FILE"]
        message = refused(*options, environment=environment | {"IRIS_ADMIN_COOKIE": "WRONG"})
        assert "\n  TLS              ok           its certificate is for 127.0.0.1\n" in message
        assert "\n  cookie           failed       " in message

    def test_plain_distribution_is_not_told_of_it(self, erlang_node: ErlangNode) -> None:
        environment = erlang_node.environment
        del environment["IRIS_ADMIN_COOKIE_FILE"]
        assert "TLS" not in refused(environment=environment | {"IRIS_ADMIN_COOKIE": "WRONG"})


def test_other_commands(tls_node: ErlangNode, variables: dict[str, str]) -> None:
    environment = tls_node.environment | variables
    result = invoke("nodes", "127.0.0.1", "-o", "json", environment=environment)
    rows = {row["node"]: row for row in json.loads(result.stdout)}
    assert (rows[tls_node.name]["answers"], rows[tls_node.name]["role"]) == (True, "other")
    result = invoke("ports", "-o", "json", environment=environment)
    assert result.exit_code == 0, result.stderr
    rows = {row["port"]: row for row in json.loads(result.stdout)}
    assert rows[tls_node.port]["purpose"] == "distribution"
    assert rows[tls_node.port]["reachable"] is True


def test_only_tls_needs_ssl(tls_node: ErlangNode, erlang_node: ErlangNode, variables: dict[str, str]) -> None:
    assert "ssl" not in imported("ping", environment=erlang_node.environment)
    assert imported("ping", environment=tls_node.environment | variables) & HEAVY == {"ssl"}
