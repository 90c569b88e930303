"""The connection to one node, made anew when it was lost; for any number of threads at once."""

from __future__ import annotations

import threading
import time

from iris_admin.errors import IrisAdminError, NodeUnreachable
from iris_admin.transport.dialing import Dialing
from iris_admin.transport.io_thread import Lock, io_thread
from iris_admin.transport.link import Link
from iris_admin.transport.retry import with_retries

#: How long after its time is over an attempt may still be about to fail, in seconds.
_GRACE = 1.0


class _Attempt:
    """A connection that one thread makes, and others wait for.

    :param deadline: when it gives up.
    :param patient: whether it takes all the time that connecting may take, and so speaks for everybody.
    """

    def __init__(self, deadline: float, patient: bool) -> None:
        self.deadline = deadline
        self.patient = patient
        self.over = threading.Event()
        self.error: IrisAdminError | None = None


class Connector:
    """Gives a live link to a node.

    When several threads need a new one, the first makes it, and all share its success or its failure: each trying
    for itself in turn would make the last wait for as many time-outs as there are threads.

    :param dialing: how the node is reached.
    """

    def __init__(self, dialing: Dialing) -> None:
        self.dialing = dialing
        self._link: Link | None = None
        self._attempt: _Attempt | None = None
        self._closed = False
        # Never held while waiting.
        self._lock = Lock()

    @property
    def link(self) -> Link | None:
        """The link, if it stands as far as is known."""
        link = self._link
        return link if link is not None and link.lost is None else None

    def connect(self, deadline: float = float("inf")) -> Link:
        """The link; it is made first if need be.

        :param deadline: when to give up at the latest, on the clock of :func:`time.monotonic`.
        :raises ConnectError: the node cannot be joined.
        """
        while True:
            link = self.link
            if link is not None:
                return link
            with self._lock:
                if self._closed:
                    raise self._closed_error()
                now = time.monotonic()
                attempt = self._attempt
                # One whose thread was interrupted before it could say so is overtaken.
                is_ours = attempt is None or attempt.over.is_set() or now > attempt.deadline + _GRACE
                if attempt is None or is_ours:
                    patience = now + self.dialing.connect_timeout
                    attempt = self._attempt = _Attempt(min(deadline, patience), deadline >= patience)
            if is_ours:
                return self._make(attempt)
            if not attempt.over.wait(min(deadline, attempt.deadline + _GRACE) - now) and time.monotonic() >= deadline:
                raise NodeUnreachable(
                    f"{self.dialing.target} could not be reached in time", node=str(self.dialing.target)
                )
            if attempt.error is not None and attempt.patient:
                raise attempt.error.copy()

    def close(self) -> None:
        """Close the link, and make no other."""
        with self._lock:
            self._closed = True
            link = self._link
        if link is not None:
            link.close()

    def close_soon(self) -> None:
        """Close the link, for a finalizer: takes no lock."""
        self._closed = True
        link = self.link
        if link is not None:
            link.close_soon()

    def _make(self, attempt: _Attempt) -> Link:
        link: Link | None = None
        try:
            if self.dialing.retries:
                sock, connection = with_retries(lambda: self.dialing.dial(attempt.deadline), attempt.deadline)
            else:
                sock, connection = self.dialing.dial(attempt.deadline)
            link = Link(sock, connection, io_thread())
            link.start()
            with self._lock:
                if self._closed:
                    raise self._closed_error()
                self._link = link
            return link
        except BaseException as error:
            if isinstance(error, IrisAdminError):
                attempt.error = error.copy()
            if link is not None:
                link.close()
            raise
        finally:
            attempt.over.set()

    def _closed_error(self) -> IrisAdminError:
        node = str(self.dialing.target)
        return IrisAdminError(f"the connection to {node} was closed here", node=node)
