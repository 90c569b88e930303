"""Certificates for the tests, made anew in each run by Erlang's own ``public_key``; none is kept in the sources."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.erlang import PATIENCE, Otp

#: Two authorities. Each line: who signs, for which days counted from today, for which names.
_MAKE = """
Common = [{key, {namedCurve, secp256r1}}, {digest, sha256}],
Root = fun(Name) -> public_key:pkix_test_root_cert(Name, Common) end,
Ca = Root("iris_admin test CA"),
OtherCa = Root("another CA"),
Day = fun(N) -> calendar:gregorian_days_to_date(calendar:date_to_gregorian_days(date()) + N) end,
Here = [{dNSName, "localhost"}, {iPAddress, <<127, 0, 0, 1>>}],
Peer = fun({Signer, {From, To}, Names}) ->
    Extensions = [{'Extension', {2, 5, 29, 17}, false, Names}],
    Validity = {Day(From), Day(To)},
    Made = public_key:pkix_test_data(
        #{root => Signer, intermediates => [], peer => [{extensions, Extensions}, {validity, Validity} | Common]}),
    {proplists:get_value(cert, Made), proplists:get_value(key, Made)}
end,
Now = {-30, 30},
Write = fun(Name, Entries) ->
    Pem = public_key:pem_encode([
        case Entry of
            {cert, Der} -> {'Certificate', Der, not_encrypted};
            {key, {Type, Der}} -> {Type, Der, not_encrypted}
        end || Entry <- Entries]),
    ok = file:write_file(Name ++ ".pem", Pem)
end,
[Write(Name, [{cert, Cert}]) || {Name, #{cert := Cert}} <- [{"ca", Ca}, {"other_ca", OtherCa}]],
lists:foreach(fun({Name, Of}) ->
    {Cert, Key} = Peer(Of),
    Write(Name, [{cert, Cert}]),
    Write(Name ++ ".key", [{key, Key}]),
    Write(Name ++ ".both", [{cert, Cert}, {key, Key}])
end, [
    {"node", {Ca, Now, Here}},
    {"expired", {Ca, {-30, -1}, Here}},
    {"too_early", {Ca, {1, 30}, Here}},
    {"elsewhere", {Ca, Now, [{dNSName, "db1.example.com"}]}},
    {"client", {Ca, Now, [{dNSName, "operator"}]}},
    {"expired_client", {Ca, {-30, -1}, [{dNSName, "operator"}]}},
    {"other_client", {OtherCa, Now, [{dNSName, "operator"}]}}
]),
halt(0).
"""


@dataclass(frozen=True)
class Certificates:
    """A directory of PEM files.

    The authorities are ``ca`` and ``other_ca``. Signed by ``ca`` are the certificates of nodes on this machine,
    ``node``, ``expired`` and ``too_early``; that of a node on ``db1.example.com``, ``elsewhere``; and those of clients,
    ``client`` and ``expired_client``. ``other_client`` is signed by ``other_ca``.
    """

    directory: Path

    @classmethod
    def make(cls, directory: Path, otp: Otp | None = None) -> Certificates:
        """Make all of them in a directory that exists."""
        command = [*(otp or Otp()).erl, "-noshell", "-eval", _MAKE]
        subprocess.run(command, cwd=directory, check=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
        for key in (*directory.glob("*.key.pem"), *directory.glob("*.both.pem")):
            key.chmod(0o600)
        return cls(directory)

    def certificate(self, name: str) -> Path:
        """The certificate of that name."""
        return self.directory / f"{name}.pem"

    def key(self, name: str) -> Path:
        """Its private key, which nobody else may read."""
        return self.directory / f"{name}.key.pem"

    def both(self, name: str) -> Path:
        """A file with the certificate and its key."""
        return self.directory / f"{name}.both.pem"

    def distribution_flags(
        self,
        name: str = "node",
        *,
        wants_client: bool = False,
        versions: str = "'tlsv1.3', 'tlsv1.2'",
        more: str = "",
    ) -> list[str]:
        """Flags of ``erl`` for a node that uses TLS distribution.

        :param name: of the node's certificate.
        :param wants_client: whether it takes only clients with a certificate of ``ca``.
        :param versions: of TLS, as Erlang has them.
        :param more: further options of ``ssl``, each behind a comma, for the side that is dialled.
        """
        common = (
            f'{{certfile, "{self.certificate(name)}"}}, {{keyfile, "{self.key(name)}"}}, '
            f'{{cacertfile, "{self.certificate("ca")}"}}, {{versions, [{versions}]}}'
        )
        server = "{verify, verify_peer}, {fail_if_no_peer_cert, true}" if wants_client else "{verify, verify_none}"
        optfile = self.directory / f"dist.{abs(hash((name, wants_client, versions, more)))}.conf"
        optfile.write_text(
            f"[{{server, [{common}, {server}{more}]}},\n {{client, [{common}, {{verify, verify_peer}}]}}].\n"
        )
        return ["-proto_dist", "inet_tls", "-ssl_dist_optfile", str(optfile)]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates of this test run."""
    return Certificates.make(tmp_path_factory.mktemp("certificates"))
