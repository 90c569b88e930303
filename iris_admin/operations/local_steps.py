"""Steps that concern no node, but the operator's machine: its files, its programs, and what it reaches itself.

They stand apart from :mod:`iris_admin.operations.steps` because few commands need them, and all load those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

from iris_admin.records import record
from iris_admin.terms import Term

if TYPE_CHECKING:
    from pathlib import Path


@record
class SaveBackup:
    """Write terms to a new backup file, fsync it, read it back and compare; the result is its path.

    :param label: a word for the file name, e.g. ``redeliver``.
    :param terms: what to keep, one term after another, without loss.
    """

    label: str
    terms: tuple[Term, ...]


@record
class PrepareAudit:
    """See that the audit file can be written, and note there that a change begins; the result is for
    :class:`RecordChange`, or None without a command.
    """

    command: str | None = None
    node: str | None = None
    plan: object = None


@record
class RecordChange:
    """Append a line to the audit file; the result is None. :func:`iris_admin.audit.record` explains the fields.

    :param begun: what :class:`PrepareAudit` gave.
    """

    command: str
    node: str | None
    plan: object
    outcome: str
    backup: Path | None = None
    begun: object = None


@record
class RunCommand:
    """Run a program on the operator's machine, without a shell; the result is :class:`CommandEnded`.

    :param arguments: the program and its arguments.
    :param timeout: in seconds; it is killed after it.
    """

    arguments: tuple[str, ...]
    timeout: float


@record
class CommandEnded:
    """What came of it.

    :param problem: why it failed; None where its exit code was 0.
    :param output: what it printed to standard output and error.
    """

    problem: str | None
    output: str


@record
class Door:
    """Something that listens, to be tried from the operator's machine.

    :param host: a name or an address.
    :param port: its TCP port.
    :param kind: ``tcp``; ``epmd``, which is asked for its nodes; ``epmd memory``, which is asked for those that were
        there once and are not any more; ``websocket``, which is greeted as a client would: an
        edge drops all WebSocket clients when one hangs up without a word.
    """

    host: str
    port: int
    kind: str = "tcp"


@record
class Knock:
    """Connect to each door once, all at the same time; the result is a list with a :class:`Knocked` for each.

    :param timeout: for each, in seconds.
    """

    doors: tuple[Door, ...]
    timeout: float


@record
class Knocked:
    """What came of it.

    :param seconds: how long the connection took; None where there was none.
    :param problem: why there was none, or why it is of no use.
    :param names: what EPMD said: its nodes' names and distribution ports.
    """

    seconds: float | None
    problem: str | None = None
    names: dict[str, int] | None = None


@record
class ChatLogIn:
    """Log a user in on an edge, as a client would; the result is a :class:`ChatSession`.

    :param host: of the edge, and ``port`` its TCP port for clients.
    :param user: whom; a user of our own making, for a log-in delivers what is stored for him.
    :param token: where the edge wants one.
    :param tls: whether the edge speaks TLS.
    :param timeout: in seconds.
    """

    host: str
    port: int
    user: bytes
    token: bytes | None
    tls: bool
    timeout: float


class ChatSession(Protocol):
    """A user who is logged in.

    :ivar user: who.
    :ivar login_seconds: how long the log-in took.
    """

    user: bytes
    login_seconds: float


@record
class ChatExchange:
    """Send messages from one user to another, each one when the last was acknowledged; gives :class:`Exchanged`.

    :param timeout: for each message, and for each acknowledgement, in seconds.
    """

    sender: ChatSession
    receiver: ChatSession
    payloads: tuple[bytes, ...]
    timeout: float


@record
class Exchanged:
    """What came of it.

    :param delivered: how long each message took that arrived, in seconds.
    :param acknowledged: how many the edge has read the acknowledgement of.
    :param problem: why it ended early, if it did.
    """

    delivered: tuple[float, ...]
    acknowledged: int
    problem: str | None


@record
class ChatLogOut:
    """Hang up; the result is None."""

    session: ChatSession


LocalStep: TypeAlias = (
    SaveBackup | PrepareAudit | RecordChange | RunCommand | Knock | ChatLogIn | ChatExchange | ChatLogOut
)
