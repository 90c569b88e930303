"""What is needed to join a cluster whose nodes use TLS distribution (``-proto_dist inet_tls``)."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from iris_admin.errors import ConfigError
from iris_admin.records import record

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

FileName: TypeAlias = str | os.PathLike[str]


@record
class Tls:
    """Options for nodes that use TLS distribution.

    All files are in PEM format, and are read anew for each connection, so that renewed ones are taken up.

    :param ca_file: the certificates of the authorities that may have signed those of the nodes; by default those that
        this machine trusts.
    :param certificate: our own certificate, for nodes that want one (``fail_if_no_peer_cert``), with those between it
        and the authority's behind it.
    :param key: its private key, not encrypted, which others may not read; by default it is in the same file.
    :param server_name: the name that the certificates of the nodes must be for; by default the host of each node's
        name, or its address.
    :param verify: whether the nodes' certificates are checked. Without that, whoever is on the way to a node can pose
        as the node.
    """

    ca_file: FileName | None = None
    certificate: FileName | None = None
    key: FileName | None = None
    server_name: str | None = None
    verify: bool = True

    def context(self) -> ssl.SSLContext:
        """Read the files.

        :raises ConfigError: one of them is unusable.
        """
        # Imported when it is needed: it takes longer than a call.
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif self.ca_file is None:
            context.load_default_certs()
        if self.ca_file is not None:
            ca_file = _pem_file(self.ca_file, "CA file", "CERTIFICATE-----")
            try:
                context.load_verify_locations(ca_file)
            except ssl.SSLError as error:
                raise ConfigError(f"the TLS CA file {ca_file} cannot be used: {words(error)}") from None
        self._load_certificate(context)
        return context

    def _load_certificate(self, context: ssl.SSLContext) -> None:
        import ssl

        if self.certificate is None:
            if self.key is not None:
                raise ConfigError("a TLS key was given, but no certificate for it")
            return
        certificate = _pem_file(self.certificate, "certificate", "CERTIFICATE-----")
        key = _pem_file(self.certificate if self.key is None else self.key, "key", "PRIVATE KEY-----")
        mode = key.stat().st_mode
        if stat.S_ISREG(mode) and mode & 0o007:
            raise ConfigError(
                f"the TLS key {key} is open to everybody (mode {mode & 0o777:o})", hint=f"chmod 600 {key}"
            )

        def refuse() -> NoReturn:
            raise ConfigError(
                f"the TLS key {key} is encrypted", hint=f"openssl pkey -in {key} -out FILE   (writes it unencrypted)"
            )

        try:
            context.load_cert_chain(certificate, key, password=refuse)
        except ssl.SSLError as error:
            if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
                raise ConfigError(f"the TLS key {key} is not that of the certificate {certificate}") from None
            raise ConfigError(
                f"the TLS certificate {certificate} with the key {key} cannot be used: {words(error)}"
            ) from None


def words(error: ssl.SSLError) -> str:
    """What OpenSSL says of an error, without where in its sources and Python's that was."""
    text = error.strerror or str(error)
    return text.partition("] ")[2].rpartition(" (_ssl.c")[0] or text


def _pem_file(name: FileName, kind: str, mark: str) -> Path:
    """A file that exists and has something of its kind in it."""
    from pathlib import Path

    path = Path(name).expanduser()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"the TLS {kind} {path} cannot be read: {error.strerror}") from None
    if mark.encode() not in content:
        what = "private key" if "KEY" in mark else "certificate"
        raise ConfigError(f"the TLS {kind} {path} has no {what} in PEM format in it")
    return path
