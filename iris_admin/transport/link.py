"""One connection with its socket: calls go out from the callers' threads, and answers find their way back.

Whoever waits for an answer reads the socket itself when nobody else does (leader and followers): handing each
answer over from a reader thread would double the time of a short call. The I/O thread reads when nobody waits.
"""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from iris_admin.errors import ForkedProcess, IrisAdminError, NodeDown
from iris_admin.proto.connection import Connection
from iris_admin.proto.etf import decode_coming
from iris_admin.proto.events import AnswerBegun, CallEnded, Lost
from iris_admin.proto.framing import LENGTH_BYTES
from iris_admin.transport.exchanges import Exchanges
from iris_admin.transport.io_thread import IOThread, Lock
from iris_admin.transport.stream import Stream
from iris_admin.transport.waiters import FOREVER, BlockedCaller, BlockedMapper, LoopReader, Waiter

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

_Where = TypeVar("_Where")
_Received = TypeVar("_Received")

_READ = selectors.EVENT_READ

#: Room for what is received at once, in bytes: much where much comes, else little, as room costs time too.
_RECEIVE_SIZE = 16 << 10
_LARGE_RECEIVE_SIZE = 256 << 10
#: How long leaving may take, in seconds, for answers to what has come; and how often it is seen whether another thread
#: still reads.
_LAST_ANSWERS_WITHIN = 0.02
_READER_LOOKED_FOR = 0.0005
#: For so long after a caller has read, the I/O thread leaves the reading alone unless somebody waits: calls often
#: follow one another, and each change of what it watches costs a tenth of a call. In seconds.
_HAND_BACK_AFTER = 0.05
#: How often it is looked for an answer before its caller sleeps: for some 50 µs, in which a node on the same machine
#: answers. A processor that has nothing to do takes longer than that to be woken. The BEAM's schedulers do the same.
#: With one processor only, the node could not answer meanwhile.
_LOOKS = 100 if (os.cpu_count() or 1) > 1 else 0
#: What waiting for more of an answer is short, in seconds. Before it takes longer, what is different for the whole
#: process while a large term is decoded is as usual again.
_SHORT_WAIT = 0.001
#: In seconds; poll(2) takes milliseconds in an int.
_LONGEST_POLL = 86400.0


class Link:
    """A joined connection and its socket.

    :param sock: connected and non-blocking.
    :param connection: joined.
    :param io: the thread that looks after it from now on.
    """

    def __init__(self, sock: Stream, connection: Connection, io: IOThread) -> None:
        self.socket = sock
        self.peer = connection.peer
        self.lost: IrisAdminError | None = None
        self._connection = connection
        self._io = io
        # Guards the connection, the waiters and what is to be sent.
        self._lock = Lock()
        self._waiters: dict[int, Waiter] = {}
        self._unsent = b""
        # The thread that reads from the socket: a leader, or the I/O thread. A dict, and not a lock, because it tells
        # even after an interruption whose turn it is; setdefault() lets one of several threads win.
        self._reader: dict[str, int] = {}
        # Of a lost link, those that have not been told yet.
        self._bereaved: list[Waiter] = []
        # Set where nothing but our bytes goes through the socket.
        self._plain = sock if type(sock) is socket.socket else None
        self._exchanges = None if self._plain is None else Exchanges(sock.fileno(), connection, looks=2 * _LOOKS)
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._next_deadline = FOREVER
        self._led_at = 0.0
        self._receive_size = _RECEIVE_SIZE
        # The waiter of the next call that no other is in the way of: nearly always its answer is there before it waits.
        self._spare = BlockedCaller(FOREVER)
        #: By event loop, who reads for the calls that are awaited there.
        self.loop_readers: dict[AbstractEventLoop, LoopReader] = {}

    def start(self) -> None:
        """Begin to read and to keep the time."""
        self._io.add(self, self._connection.next_timer())
        # The node may have asked something already, in one segment with the end of the handshake.
        with self._lock:
            self._flush()
        self._deliver()

    @property
    def our_name(self) -> str:
        """Our own full name on this connection."""
        assert self._connection.joined is not None
        return self._connection.joined.name

    def call(self, module: str, function: str, args: bytes, deadline: float, capture: bool = False) -> CallEnded | None:
        """Call a function and wait for its end.

        :param args: the argument list, encoded.
        :param deadline: on the clock of :func:`time.monotonic`.
        :returns: how it ended, or None where the deadline passed; its remote process is killed then, as it is when
            the wait is interrupted.
        :raises NodeDown: the link is or was lost.
        :raises ForkedProcess: this process is a fork of the one that made the link.
        """
        thread = threading.get_ident()
        try:
            caller = None
            if not (capture or self._waiters or self._reader or self._io.forked or thread == self._io.ident):
                outcome = self._exchange(module, function, args, deadline)
                if isinstance(outcome, CallEnded):
                    return outcome
                caller = outcome
            return self._call_and_wait(caller or BlockedCaller(deadline), module, function, args, capture)
        except BaseException:
            if self._reader.get("thread") == thread:
                # Ctrl-C, but not while we waited: what was done is unknown. (Or the link was lost before.)
                self._lose("was disconnected: a call was interrupted at a bad moment")
                self._spare = BlockedCaller(FOREVER)
                self._stop_reading()
            raise

    def _call_and_wait(
        self, caller: BlockedCaller, module: str, function: str, args: bytes, capture: bool
    ) -> CallEnded | None:
        """Make a call, unless that was done, and wait for its end; see :meth:`call`."""
        # Not there: each call would pay for what the function below needs, and most are over before.
        self._wait_for(caller, lambda: self.start_call(module, function, args, caller, capture=capture))
        if isinstance(caller.event, IrisAdminError):
            raise caller.event
        return caller.event

    def call_all(
        self, module: str, function: str, arguments: Sequence[bytes], seconds: float, in_flight: int
    ) -> list[CallEnded | None]:
        """Call a function once with each argument list, many at a time, and wait for all ends.

        :param arguments: the argument lists, encoded.
        :param seconds: the time-out of each call.
        :param in_flight: how many calls are under way at once, at most.
        :returns: how each ended, in the order of the arguments; None for those that were given up, and whose remote
            processes are killed, because the time of one of them was over.
        :raises NodeDown: the link is or was lost.
        :raises ForkedProcess: this process is a fork of the one that made the link.
        """
        caller = BlockedMapper(len(arguments), seconds, in_flight)
        self._wait_for(caller, lambda: self._start_calls(module, function, arguments, caller))
        if caller.error is not None:
            raise caller.error
        return caller.events

    def _exchange(self, module: str, function: str, args: bytes, deadline: float) -> CallEnded | BlockedCaller | None:
        """Make the usual call, which no other is in the way of, and which is answered in no time.

        :returns: how it ended. If that is not known yet, who waits for it: the call has been sent, and this thread
            reads. None where another one does; nothing was done.
        :raises NodeDown: the link is lost already; nothing was sent.
        """
        if not self._try_to_lead():
            return None
        with self._lock:
            if self.lost is not None:
                raise self.lost.copy()
            outcome = None if self._unsent or self._exchanges is None else self._exchanges.make(module, function, args)
            if not isinstance(outcome, CallEnded):
                if outcome is None:
                    call_id, data, number = self._connection.call(module, function, args, time.monotonic()), b"", 0
                else:
                    call_id, self._unsent, data, number = outcome
                caller = self._waiters[call_id] = self._spare
                caller.call_id, caller.deadline = call_id, deadline
                self._flush()
        if isinstance(outcome, CallEnded):
            del self._reader["thread"]
            if self._waiters or self.lost is not None:
                self._stop_reading()
            return outcome
        if outcome is None:
            data = self._receive_soon()
        with self._lock:
            if data:
                self._connection.receive_data(data, time.monotonic())
                self._flush()
            ended = self._connection.take_end(call_id)
            if ended is not None:
                self._waiters.pop(call_id, None)
        if self._connection.has_events:
            self._deliver()
        if number:
            self._lose_by(OSError(number, os.strerror(number)))
        if ended is not None:
            self._stop_reading()
            return ended
        self._spare = BlockedCaller(FOREVER)
        caller.leading = True
        return caller

    def _receive_soon(self) -> bytes:
        """What comes in no time: two frames for the usual call, and often one after the other."""
        data = b""
        poll = self._poll.poll
        for _ in range(_LOOKS):
            if poll(0):
                more = self._receive()
                if not more:
                    break
                data += more
                if len(data) > min(LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "big"), _RECEIVE_SIZE):
                    break
        return data

    def _wait_for(self, caller: BlockedCaller | BlockedMapper, start: Callable[[], object]) -> None:
        """Start what a thread waits for, and wait for it; what has not ended then is cancelled."""
        self._refuse_in_fork()
        if self._io.is_current_thread():
            raise RuntimeError(
                "a call was made from a callback of a future, where waiting for it would wait forever; "
                "use submit() there, or make the call in another thread"
            )
        try:
            try:
                # Reading is taken over before anything is sent, or the I/O thread might snatch a quick answer.
                caller.leading = caller.leading or self._try_to_lead()
                while not caller.is_over:
                    if caller.wants_to_start:
                        start()
                    remaining = caller.deadline - time.monotonic()
                    if remaining <= 0:
                        break
                    if caller.leading or self._try_to_lead():
                        caller.leading = True
                        if self._wait_for_data(caller, remaining):
                            self._read()
                        if caller.begun is not None:
                            self._decode_coming(caller, caller.begun)
                    else:
                        caller.in_order = True
                        caller.wait(remaining)
                        caller.in_order = False
                caller.in_order = True
            finally:
                was_in_order, caller.in_order = caller.in_order, False
                if caller.leading:
                    self._stop_reading()
                for call_id in caller.unended():
                    self.cancel(call_id)
                caller.in_order = was_in_order
        except IrisAdminError:
            raise
        except BaseException:
            if not caller.in_order:
                self._lose("was disconnected: a call was interrupted at a bad moment")
                self._stop_reading()
            raise

    def _wait_for_data(self, caller: BlockedCaller | BlockedMapper, seconds: float) -> object:
        """Wait until something can be read; whether it can."""
        caller.in_order = True
        readable = self._poll.poll(min(seconds, _LONGEST_POLL) * 1000 + 1)
        caller.in_order = False
        return readable

    def _decode_coming(self, caller: BlockedCaller, begun: AnswerBegun) -> None:
        """Decode an answer while the rest of it comes, which this thread reads, too."""
        # Few commands get as much.
        from iris_admin.large_term import wait_within

        caller.begun = None
        message = begun.message

        def more(end: int) -> int:
            caller.in_order = False
            while caller.leading:
                # All that there is, before the decoding goes on: a node whose socket is full has to wait.
                has_read = self._read()
                remaining = caller.deadline - time.monotonic()
                if caller.event is not None:
                    # All has come, and others may want to read.
                    caller.leading = False
                    self._stop_reading()
                elif remaining <= 0 or (message.filled >= end and not has_read):
                    break
                elif not has_read and not self._wait_for_data(caller, min(remaining, _SHORT_WAIT)):
                    wait_within(self._wait_for_data, caller, remaining)
            caller.in_order = True
            return message.filled

        caller.in_order = True
        decoded = decode_coming(message.room(), begun.offset, message.filled, more)
        caller.in_order = False
        if decoded is not None and isinstance(caller.event, CallEnded):
            caller.event.returned(*decoded)

    def start_call(self, module: str, function: str, args: bytes, waiter: Waiter, *, capture: bool = False) -> int:
        """Send a call; ``waiter`` is told of its end.

        :param args: the argument list, encoded.
        :returns: a number that names the call on this link.
        :raises NodeDown: the link is lost already; nothing was sent.
        :raises ForkedProcess: this process is a fork of the one that made the link.
        """
        self._refuse_in_fork()
        try:
            with self._lock:
                call_id = self._prepare_call(module, function, args, waiter, capture)
                if isinstance(waiter, BlockedCaller):
                    waiter.call_id = call_id
                self._flush()
            if not self._reader:
                self._have_read()
            return call_id
        except IrisAdminError:
            raise
        except BaseException:
            # Interrupted while sending: how much went out is unknown.
            self._lose("could not be written to any longer: the sending was interrupted")
            raise

    def _start_calls(self, module: str, function: str, arguments: Sequence[bytes], caller: BlockedMapper) -> None:
        """Start as many calls as may be under way, and send them at once."""
        try:
            with self._lock:
                if self.lost is not None:
                    raise self.lost.copy()
                now = time.monotonic()
                for index in caller.next_ones():
                    call_id = self._connection.call(module, function, arguments[index], now)
                    self._waiters[call_id] = caller.waiter(index, call_id, now)
                self._flush()
        except IrisAdminError:
            raise
        except BaseException:
            self._lose("could not be written to any longer: the sending was interrupted")
            raise
        if not self._reader:
            self._have_read()

    def queue_call(self, module: str, function: str, args: bytes, waiter: Waiter, *, capture: bool = False) -> int:
        """Prepare a call, for a caller that reads by :meth:`on_readable`, and calls :meth:`send_queued` soon.

        The parameters, the result and the errors are those of :meth:`start_call`.
        """
        self._refuse_in_fork()
        if self._io.watches(self, _READ):
            self._take_over()
        with self._lock:
            return self._prepare_call(module, function, args, waiter, capture)

    def _prepare_call(self, module: str, function: str, args: bytes, waiter: Waiter, capture: bool) -> int:
        """Make a call that is still to be sent; ``_lock`` is held."""
        if self.lost is not None:
            raise self.lost.copy()
        call_id = self._connection.call(module, function, args, time.monotonic(), capture=capture)
        self._waiters[call_id] = waiter
        return call_id

    def send_queued(self) -> None:
        """Send the calls that were prepared."""
        try:
            with self._lock:
                self._flush()
        except BaseException:
            self._lose("could not be written to any longer: the sending was interrupted")
            raise

    def watch_deadline(self, deadline: float) -> None:
        """Have the I/O thread call ``timed_out`` of waiters whose deadline has passed."""
        if deadline < self._next_deadline:
            self._next_deadline = deadline
            self._io.schedule(self, deadline)

    def cancel(self, call_id: int) -> bool:
        """Stop waiting for a call, and kill its remote process.

        :returns: whether it was waited for; else its waiter has been told of its end, or is being told.
        """
        try:
            with self._lock:
                if call_id not in self._waiters:
                    return False
                del self._waiters[call_id]
                if self.lost is None:
                    self._connection.cancel(call_id, time.monotonic())
                    self._flush()
                return True
        except BaseException:
            self._lose("could not be written to any longer: the sending was interrupted")
            raise

    def close(self) -> None:
        """End the connection. Calls that still wait raise :class:`NodeDown`."""
        if self._io.forked:
            # The connection is the parent's, and whoever held a lock at the fork does not exist here.
            self.lost = self._forked_error()
            self.socket.close()
            return
        try:
            self._answer_what_has_come()
        finally:
            self._lose("was disconnected from here")

    def close_soon(self) -> None:
        """The same for a finalizer, which runs at any moment, so also where its thread holds one of the locks."""
        if self._io.forked:
            self.close()
        else:
            self._io.run_soon(self.close)

    def run_soon(self, function: Callable[[], None]) -> None:
        """Have the I/O thread call a function; at once, if this is that thread."""
        if self._io.is_current_thread():
            function()
        else:
            self._io.run_soon(function)

    # Called by the I/O thread

    def on_readable(self) -> None:
        """Read, unless a waiting caller does. Event loops call it too."""
        if self._reader.setdefault("thread", threading.get_ident()) == threading.get_ident():
            try:
                self._read()
            finally:
                self._stop_reading()

    def on_writable(self) -> None:
        """Send what the socket could not take before."""
        with self._lock:
            self._io.watch(self, selectors.EVENT_WRITE, False)
            self._flush()

    def on_time(self, now: float) -> float:
        """Tick, notice silence, and end calls whose deadline has passed."""
        expired: list[tuple[int, Waiter]] = []
        with self._lock:
            if now >= self._next_deadline:
                expired = [(call_id, waiter) for call_id, waiter in self._waiters.items() if waiter.deadline <= now]
            had_events = self._connection.has_events
            self._connection.handle_timer(now)
            is_silent = self._connection.has_events and not had_events
            self._flush()
        if is_silent:
            # Else all that happened is told by whoever reads: told from here, it might come between a caller's look for
            # its answer and its sleep.
            self._deliver()
        for call_id, waiter in expired:
            # Its answer may have come in the meantime.
            if self.cancel(call_id):
                waiter.timed_out()
        hand_back_at = self._hand_back(now)
        with self._lock:
            self._next_deadline = min((waiter.deadline for waiter in self._waiters.values()), default=FOREVER)
            return min(self._connection.next_timer(), self._next_deadline, hand_back_at)

    # Reading

    def _try_to_lead(self) -> bool:
        """Take over the reading from the I/O thread, unless somebody has."""
        thread = threading.get_ident()
        if self._reader.setdefault("thread", thread) != thread:
            return False
        if self._io.watches(self, _READ):
            self._take_over()
        return True

    def _take_over(self) -> None:
        """Have the I/O thread not read, and look after a while whether we still do."""
        self._led_at = time.monotonic()
        self._io.watch(self, _READ, False)
        self._io.schedule(self, self._led_at + _HAND_BACK_AFTER)

    def _stop_reading(self) -> None:
        self._led_at = time.monotonic()
        if self._reader.get("thread") == threading.get_ident():
            del self._reader["thread"]
        if self.lost is not None:
            self._close_socket()
        elif self._waiters and not all(waiter.is_read_for for waiter in tuple(self._waiters.values())):
            # In this order: whoever begins to wait in the meantime finds that nobody reads, and sees to it.
            self._have_read()

    def _have_read(self) -> None:
        """Have the I/O thread read; a caller that leads may take that over again."""
        if not self._io.watches(self, _READ):
            self._io.watch(self, _READ, True)

    def _hand_back(self, now: float) -> float:
        """Have the I/O thread read again, if no caller has done so lately; give the time to look again."""
        if self._io.watches(self, _READ):
            return FOREVER
        led_at = max(self._led_at, 0.0 if self._exchanges is None else self._exchanges.last_made)
        if not self._reader and now - led_at >= _HAND_BACK_AFTER:
            self._have_read()
            return FOREVER
        return now + _HAND_BACK_AFTER

    def _receive(self) -> bytes | None:
        """What has arrived: nothing at the end; None where nothing has, or the link was lost."""
        data = self._received(self.socket.recv, self._receive_size)
        if data is not None:
            # TLS gives at most 16 KiB at once, however much there is.
            self._receive_size = _LARGE_RECEIVE_SIZE if len(data) >= _RECEIVE_SIZE else _RECEIVE_SIZE
        return data

    def _received(self, receive: Callable[[_Where], _Received], where: _Where) -> _Received | None:
        """What the socket gives; None where nothing has arrived, or the link was lost."""
        try:
            return receive(where)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            self._lose_by(error)
            return None

    def _read(self) -> bool:
        """Read what has arrived, or a part of it, if anything has; whether it had."""
        try:
            received: bytes | int | None
            place = None
            if self._plain is not None and self._receive_size == _LARGE_RECEIVE_SIZE:
                with self._lock:
                    place = self._connection.place()
            if self._plain is None or place is None:
                received = self._receive()
            else:
                received = self._received(self._plain.recv_into, place)
            if received is None:
                return False
            with self._lock:
                if not received:
                    self._connection.receive_eof()
                elif isinstance(received, int):
                    self._connection.placed(received, time.monotonic())
                else:
                    self._connection.receive_data(received, time.monotonic())
                self._flush()
        except BaseException:
            # Interrupted between the socket and the connection: the stream may have lost a piece.
            self._lose("could not be read from any longer: the reading was interrupted")
            raise
        self._deliver()
        return True

    def _deliver(self) -> None:
        """Tell the waiters what happened; without the lock, for they decode answers and run callbacks."""
        interruption: BaseException | None = None
        while self._connection.has_events:
            event = waiter = None
            try:
                with self._lock:
                    event = self._connection.next_event()
                    if event is None:
                        break
                    # Not by pop(): what that has taken out would be lost to an interruption behind it.
                    if isinstance(event, CallEnded) and (waiter := self._waiters.get(event.call_id)) is not None:
                        del self._waiters[event.call_id]
                if isinstance(event, Lost):
                    self._shut(event.error)
                elif isinstance(event, AnswerBegun):
                    waiter = self._waiters.get(event.call_id)
                    if isinstance(waiter, BlockedCaller):
                        waiter.begun = event
                elif isinstance(event, CallEnded) and waiter is not None:
                    waiter.ended(event)
            except BaseException as error:
                # Ctrl-C. Others wait for their answers.
                interruption = error
                if isinstance(event, Lost):
                    self._shut(event.error)
                elif isinstance(event, CallEnded) and waiter is not None:
                    waiter.ended(event)
                else:
                    # One may have been taken from the queue, and dropped.
                    self._lose("was disconnected: a call was interrupted at a bad moment")
        if interruption is not None:
            raise interruption

    # Sending

    def _flush(self) -> None:
        """Send what there is; ``_lock`` is held."""
        while data := self._unsent or self._connection.data_to_send():
            self._unsent = data
            try:
                sent = self.socket.send(data)
            except (BlockingIOError, InterruptedError):
                self._io.watch(self, selectors.EVENT_WRITE, True)
                return
            except OSError:
                # The reader will meet the same error, and what the node said last before it.
                self._unsent = b""
                self._io.watch(self, selectors.EVENT_WRITE, False)
                return
            self._unsent = data[sent:]

    # The end

    def _answer_what_has_come(self) -> None:
        """Answer what the node has asked already. Iris's batcher takes it for a yes when we leave with its question."""
        deadline = time.monotonic() + _LAST_ANSWERS_WITHIN
        while self.lost is None and time.monotonic() < deadline:
            if not self._try_to_lead():
                time.sleep(_READER_LOOKED_FOR)  # whoever reads now is about to answer
                continue
            try:
                if not self._poll.poll(0):
                    return
                self._read()
            finally:
                self._stop_reading()

    def _lose_by(self, error: OSError) -> None:
        self._lose(f"broke the connection: {(error.strerror or str(error)).lower()}")

    def _lose(self, reason: str) -> None:
        with self._lock:
            self._connection.lose(reason)
        self._deliver()
        if self.lost is None:  # an interrupted thread has dropped the event
            self._shut(NodeDown(f"{self.peer} {reason}", node=self.peer))

    def _shut(self, error: IrisAdminError) -> None:
        with self._lock:
            self._bereaved += self._waiters.values()
            self._waiters.clear()
            self.lost = error
        if not self._io.forked:
            self._io.remove(self)
            # Wakes a leader that polls the socket. In a fork it would end the parent's connection.
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
        for reader in tuple(self.loop_readers.values()):
            reader.link_lost()
        self._close_socket()
        for waiter in tuple(self._bereaved):
            # Each raises its own, for a traceback grows where an error is raised.
            waiter.ended(error.copy())
        self._bereaved.clear()

    def _close_socket(self) -> None:
        # A leader that is about to poll must not find the descriptor taken by another connection. So it is closed
        # when nobody reads, by whoever has read last.
        if not self._reader:
            self.socket.close()

    # Forks

    def _forked_error(self) -> ForkedProcess:
        return ForkedProcess(
            f"the connection to {self.peer} belongs to the process that this one was forked from",
            node=self.peer,
            hint="Connect anew in the child.",
        )

    def _refuse_in_fork(self) -> None:
        if self._io.forked:
            raise self._forked_error()
