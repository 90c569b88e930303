"""Every failure that a user of iris_admin can meet, as one tree.

::

    IrisAdminError
    ├── ConfigError              an option, the configuration file or the cookie is unusable
    ├── EncodeError              a Python value has no Erlang counterpart; nothing was sent
    ├── TermSyntaxError          the text is not an Erlang term or expression; nothing was sent
    ├── UnknownAtom              the node does not know an atom that was typed; nothing was made
    ├── ConnectError             the link to a node could not be made
    │   ├── HostNotFound           the host name does not resolve
    │   ├── EpmdUnreachable        no EPMD answers on that host
    │   ├── NodeNotFound           EPMD answers, but knows no node of that name
    │   ├── NodeUnreachable        the node's port refuses or does not answer
    │   ├── NotAnErlangNode        what answers on that port is no Erlang node
    │   ├── HandshakeTimeout       the port accepts, but nobody finishes the handshake
    │   ├── HandshakeRefused       the node said no, and why
    │   ├── CookieMismatch         the node closed the link on our cookie's digest
    │   └── TlsError               TLS with the node failed, in another way than those below
    │       ├── TlsRequired              the node speaks TLS, and we did not
    │       ├── TlsNotSpoken             we speak TLS, and the node does not
    │       ├── TlsVersionMismatch       the node speaks only versions of TLS that are too old
    │       ├── CertificateNotTrusted    nobody whom we trust has signed the node's certificate
    │       ├── CertificateExpired       the node's certificate is not valid any more, or not yet
    │       ├── CertificateNameMismatch  the node's certificate is for another host
    │       ├── ClientCertificateRequired  the node wants a certificate of ours, and we have none
    │       └── ClientCertificateRefused   the node does not accept our certificate
    ├── ChatError                an edge does not serve a client as the protocol says
    ├── NodeDown                 the link was lost while it was in use
    ├── CallTimeout              no answer in time; the remote process was killed (also a TimeoutError)
    ├── RemoteError              the called function failed: class, reason, stack trace
    ├── ProtocolError            the peer broke the distribution protocol
    │   └── DecodeError            bytes that are no valid external term
    ├── NotApplicable            the question means nothing on that kind of node
    ├── NoSuchUser               the user is not known anywhere
    ├── NoSuchProcess            the process does not exist on the node, or not any more
    ├── UnsafeOperation          refused, because something could be lost
    ├── BackupError              a backup file cannot be written or read
    ├── AuditError               the audit file cannot be written or read
    └── ForkedProcess            a connection was used on the other side of a fork

Each carries ``node`` (the node concerned, or None), ``hint`` (what to do next, or None) and
``exit_code`` (for the command line, as in sysexits.h). All of them pickle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

if TYPE_CHECKING:
    from iris_admin.terms import Term

EX_USAGE = 64
EX_DATAERR = 65
EX_NOUSER = 67
EX_UNAVAILABLE = 69
EX_SOFTWARE = 70
EX_IOERR = 74
EX_TEMPFAIL = 75
EX_NOPERM = 77
EX_CONFIG = 78


def _restore(cls: type[IrisAdminError], args: tuple[Any, ...], state: dict[str, Any]) -> IrisAdminError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class IrisAdminError(Exception):
    """Base of everything that iris_admin raises on purpose.

    :param message: what happened, in one sentence.
    :param node: the node that it happened on, if there is one.
    :param hint: what the user can do next.
    """

    exit_code: ClassVar[int] = EX_SOFTWARE
    #: Whether the same attempt may succeed a moment later (used by the one retry policy).
    transient: ClassVar[bool] = False

    def __init__(self, message: str, *, node: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.node = node
        self.hint = hint

    def __str__(self) -> str:
        """The message; what a node has put into it does nothing to a terminal that shows a traceback."""
        from iris_admin.text import printable

        return printable(super().__str__(), keep="\n")

    def copy(self) -> Self:
        """The same error, to be raised once more: a traceback grows where an error is raised."""
        return cast("Self", _restore(type(self), self.args, self.__dict__.copy()))

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, self.__dict__.copy())


class ConfigError(IrisAdminError):
    """An option, the configuration file, a node name or the cookie is unusable."""

    exit_code = EX_CONFIG


class EncodeError(IrisAdminError, ValueError):
    """A Python value that has no Erlang counterpart. Nothing was sent."""

    exit_code = EX_DATAERR


class TermSyntaxError(IrisAdminError, ValueError):
    """Text that is not an Erlang term or expression. Nothing was sent.

    :param position: offset of the offending character in the text, in characters.
    """

    exit_code = EX_DATAERR

    def __init__(self, message: str, *, position: int | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.position = position


class UnknownAtom(IrisAdminError):
    """The node does not know an atom that an operator typed.

    Atoms are never garbage-collected, so a typing error must not make one on a live node.
    """

    exit_code = EX_DATAERR


class ConnectError(IrisAdminError):
    """The link to a node could not be made."""

    exit_code = EX_UNAVAILABLE


class HostNotFound(ConnectError):
    """The host name does not resolve."""


class EpmdUnreachable(ConnectError):
    """No EPMD answers on the host, so the node's port cannot be looked up."""

    transient = True


class NodeNotFound(ConnectError):
    """EPMD answers, but no node of that name is registered with it.

    :param registered: the names that are registered there, without host.
    """

    transient = True

    def __init__(
        self, message: str, *, node: str | None = None, hint: str | None = None, registered: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, node=node, hint=hint)
        self.registered = registered


class NodeUnreachable(ConnectError):
    """The node's distribution port refuses connections or does not answer."""

    transient = True


class NotAnErlangNode(ConnectError):
    """What answers on the distribution port does not speak the distribution protocol."""


class HandshakeTimeout(ConnectError):
    """The distribution port accepts connections, but nobody finishes the handshake.

    :param in_tls: whether it was the handshake of TLS, which comes first.
    """

    def __init__(self, message: str, *, node: str | None = None, hint: str | None = None, in_tls: bool = False) -> None:
        super().__init__(message, node=node, hint=hint)
        self.in_tls = in_tls


class HandshakeRefused(ConnectError):
    """The node answered the handshake with a refusal.

    :param status: the status that it sent, e.g. ``nok`` or ``not_allowed``.
    :param actual_name: the name that it has, where that is not the one that was dialled.
    """

    def __init__(
        self,
        message: str,
        *,
        node: str | None = None,
        hint: str | None = None,
        status: str | None = None,
        actual_name: str | None = None,
    ) -> None:
        super().__init__(message, node=node, hint=hint)
        self.status = status
        self.actual_name = actual_name


class CookieMismatch(ConnectError):
    """The node does not share our cookie."""

    exit_code = EX_NOPERM


class TlsError(ConnectError):
    """TLS with the node failed; its kinds say why, where that is known."""


class TlsRequired(TlsError):
    """The node speaks TLS, and we did not."""


class TlsNotSpoken(TlsError):
    """We speak TLS, and what answers on the distribution port does not."""


class TlsVersionMismatch(TlsError):
    """The node speaks no version of TLS that is new enough."""


class CertificateNotTrusted(TlsError):
    """The node's certificate is signed by nobody whom we trust, so it may be anybody."""

    exit_code = EX_NOPERM


class CertificateExpired(TlsError):
    """The node's certificate is not valid any more, or not yet."""

    exit_code = EX_NOPERM


class CertificateNameMismatch(TlsError):
    """The node's certificate is for another host."""

    exit_code = EX_NOPERM


class ClientCertificateRequired(TlsError):
    """The node wants a certificate of ours, and we have none."""

    exit_code = EX_NOPERM


class ClientCertificateRefused(TlsError):
    """The node does not accept our certificate."""

    exit_code = EX_NOPERM


class ChatError(IrisAdminError):
    """An edge is not reached by a client, refuses it, or does not keep to the clients' protocol.

    :param reached: whether the edge may know of the client.
    """

    exit_code = EX_UNAVAILABLE

    def __init__(self, message: str, *, node: str | None = None, hint: str | None = None, reached: bool = True) -> None:
        super().__init__(message, node=node, hint=hint)
        self.reached = reached


class NodeDown(IrisAdminError):
    """The link to the node was lost while a call was waiting for its answer.

    Whether the called function has run, runs still, or never started is unknown.
    """

    exit_code = EX_UNAVAILABLE
    transient = True


class CallTimeout(IrisAdminError, TimeoutError):
    """No answer within the call's time-out. The remote process was told to die.

    :param timeout: the time-out that was exceeded, in seconds.
    """

    exit_code = EX_TEMPFAIL

    def __init__(
        self, message: str, *, node: str | None = None, hint: str | None = None, timeout: float | None = None
    ) -> None:
        super().__init__(message, node=node, hint=hint)
        self.timeout = timeout


class RemoteError(IrisAdminError):
    """The called function failed on the node.

    :param kind: ``throw``, ``exit`` or ``error`` as in Erlang's ``catch Class:Reason``, ``killed`` when
        something ended the process from outside, or ``erpc`` when the call itself was refused.
    :param reason: the reason, as a term.
    :param stacktrace: Erlang's stack trace (``error`` only), as a term.
    :param mfa: module, function and arity that were called.
    """

    def __init__(
        self,
        message: str,
        *,
        node: str | None = None,
        hint: str | None = None,
        kind: str = "error",
        reason: Term = None,
        stacktrace: Term = None,
        mfa: tuple[str, str, int] | None = None,
    ) -> None:
        super().__init__(message, node=node, hint=hint)
        self.kind = kind
        self.reason = reason
        self.stacktrace = stacktrace
        self.mfa = mfa

    @property
    def is_undef(self) -> bool:
        """Whether the called function itself does not exist on the node."""
        if self.kind != "error" or self.reason != "undef" or self.mfa is None:
            return False
        trace = self.stacktrace
        if not (isinstance(trace, list) and trace and isinstance(trace[0], tuple) and len(trace[0]) >= 3):
            return True
        module, function, arity = trace[0][:3]
        return (module, function, len(arity) if isinstance(arity, list) else arity) == self.mfa


class ProtocolError(IrisAdminError):
    """The peer broke the distribution protocol; the link was closed."""


class DecodeError(ProtocolError, ValueError):
    """Bytes that are not a valid term of the external term format.

    :param offset: where in the data decoding stopped, in bytes.
    """

    exit_code = EX_DATAERR

    def __init__(self, message: str, *, offset: int | None = None, node: str | None = None) -> None:
        super().__init__(message, node=node)
        self.offset = offset


class NotApplicable(IrisAdminError):
    """The question means nothing on that kind of node, so an answer would mislead."""

    exit_code = EX_UNAVAILABLE


class NoSuchUser(IrisAdminError):
    """The user is not known anywhere in the cluster."""

    exit_code = EX_NOUSER


class NoSuchProcess(IrisAdminError):
    """There is no such process on the node, or not any more."""

    exit_code = EX_UNAVAILABLE


class UnsafeOperation(IrisAdminError):
    """Refused, because something could be lost. Nothing was changed."""

    exit_code = EX_NOPERM


class BackupError(IrisAdminError):
    """A backup file cannot be written or read, or is not complete."""

    exit_code = EX_IOERR


class AuditError(IrisAdminError):
    """The file that records what was changed cannot be written or read."""

    exit_code = EX_IOERR


class ForkedProcess(IrisAdminError):
    """A connection made before a fork was used in the child, where its I/O thread does not exist."""
