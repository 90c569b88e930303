"""What it means when TLS with a node fails, for whoever has to mend it."""

from __future__ import annotations

import ssl

from iris_admin.errors import (
    CertificateExpired,
    CertificateNameMismatch,
    CertificateNotTrusted,
    ClientCertificateRefused,
    ClientCertificateRequired,
    TlsError,
    TlsNotSpoken,
    TlsVersionMismatch,
)
from iris_admin.tls import words

# As in OpenSSL's x509_vfy.h.
_NOT_YET_VALID, _EXPIRED = 9, 10
_NAME_MISMATCHES = (62, 64)

#: Alerts about our certificate. The first also says that other things do not fit, but then before a cipher is agreed.
_ABOUT_OUR_CERTIFICATE = {
    "HANDSHAKE_FAILURE",
    "CERTIFICATE_REQUIRED",
    "BAD_CERTIFICATE",
    "UNSUPPORTED_CERTIFICATE",
    "CERTIFICATE_REVOKED",
    "CERTIFICATE_EXPIRED",
    "CERTIFICATE_UNKNOWN",
    "UNKNOWN_CA",
    "ACCESS_DENIED",
    "DECRYPT_ERROR",
}
_NOT_TLS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "UNKNOWN_PROTOCOL", "BAD_RECORD_TYPE"}


def tls_failure(
    error: ssl.SSLError, node: str, server_name: str, *, shows_certificate: bool, cipher_is_agreed: bool
) -> TlsError:
    """The error that says what to do.

    :param error: how OpenSSL puts it.
    :param server_name: whom the node's certificate was to be for.
    :param shows_certificate: whether we have a certificate to show.
    :param cipher_is_agreed: whether the handshake had come so far.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return _of_its_certificate(error, node, server_name)
    # Python's own errors have none.
    reason = getattr(error, "reason", None) or ""
    alert = reason.rpartition("ALERT_")[2] if "ALERT_" in reason else ""
    if alert == "PROTOCOL_VERSION" or reason in ("UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION"):
        return TlsVersionMismatch(
            f"{node} speaks neither TLS 1.3 nor 1.2",
            node=node,
            hint="Older ones are not supported: add one of these to 'versions' in the node's ssl_dist_optfile.",
        )
    if alert == "INSUFFICIENT_SECURITY":  # what OTP 27 says where OTP 25 speaks of the version
        return TlsVersionMismatch(
            f"{node} has no cipher in common with us; does it speak TLS 1.3 or 1.2?",
            node=node,
            hint="See 'versions' and 'ciphers' in the node's ssl_dist_optfile.",
        )
    if alert in _ABOUT_OUR_CERTIFICATE and cipher_is_agreed:
        if not shows_certificate:
            return ClientCertificateRequired(
                f"{node} wants a certificate of ours, and none was given",
                node=node,
                hint="Give one that its 'cacertfile' has signed: --tls-certificate FILE and --tls-key FILE, "
                "or Tls(certificate=…, key=…).",
            )
        return ClientCertificateRefused(
            f"{node} does not accept our certificate: {alert.replace('_', ' ').lower()}",
            node=node,
            hint="Is it signed by an authority of the node's 'cacertfile', and still valid? "
            "openssl x509 -in FILE -noout -issuer -dates shows both.",
        )
    if reason in _NOT_TLS and not cipher_is_agreed:
        return not_spoken(node)
    return TlsError(
        f"TLS with {node} failed: {words(error)}", node=node, hint="The node's log says more, at level notice."
    )


def not_spoken(node: str) -> TlsNotSpoken:
    """The error for what does not speak TLS."""
    return TlsNotSpoken(
        f"{node} does not speak TLS",
        node=node,
        hint="Does it use plain distribution? Then leave TLS out: --no-tls, or tls=None. "
        "Otherwise: is that port its distribution port?",
    )


def closed_in_handshake(node: str) -> TlsError:
    """The error for one that closes the connection in the handshake of TLS without saying why."""
    return TlsError(
        f"{node} closed the connection during the TLS handshake",
        node=node,
        hint="Is that port the node's distribution port? The node's log may say more, at level notice.",
    )


def _of_its_certificate(error: ssl.SSLCertVerificationError, node: str, server_name: str) -> TlsError:
    if error.verify_code in (_EXPIRED, _NOT_YET_VALID):
        what = "has expired" if error.verify_code == _EXPIRED else "is not valid yet"
        return CertificateExpired(
            f"the certificate of {node}, or of who signed it, {what}",
            node=node,
            hint="It must be renewed on the node; or is the clock of this machine wrong?",
        )
    if error.verify_code in _NAME_MISMATCHES:
        return CertificateNameMismatch(
            f"the certificate of {node} is not for {server_name!r}",
            node=node,
            hint="Name the node as its certificate does, or say whom that is for: --tls-server-name NAME, "
            "or Tls(server_name=…).",
        )
    return CertificateNotTrusted(
        f"the certificate of {node} is not trusted: {error.verify_message}",
        node=node,
        hint="Give the certificate of the authority that signed it: --tls-ca-file FILE, or Tls(ca_file=…).",
    )
