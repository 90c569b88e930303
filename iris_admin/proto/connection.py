"""One connection to a node, as a state machine without a socket.

A driver feeds it what arrives (:meth:`Connection.receive_data`), sends what it has to say
(:meth:`Connection.data_to_send`), wakes it when its timer is due (:meth:`Connection.next_timer`,
:meth:`Connection.handle_timer`) and takes what happened (:meth:`Connection.next_event`). Time is an argument, in
seconds of any steady clock.

Every call has a pid of its own on our side: it is what the called process is linked to, its group leader, and so
the address by which everything about the call is found again.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from iris_admin.errors import DecodeError, EncodeError, IrisAdminError, NodeDown, ProtocolError
from iris_admin.proto import control, etf, framing, rpc
from iris_admin.proto.control import Operation
from iris_admin.proto.etf import decode_term, encode_term
from iris_admin.proto.events import AnswerBegun, CallEnded, Connected, Event, Lost
from iris_admin.proto.handshake import Handshake, Joined
from iris_admin.proto.rpc import Failed, Outcome, Returned
from iris_admin.proto.usual import EXIT_HEAD, PID_WORDS, REFERENCE_WORDS, REQUEST_HEAD, REQUEST_TAIL, Usual
from iris_admin.terms import Atom, Pid, Reference, Term

if TYPE_CHECKING:
    from iris_admin.proto.io_protocol import GroupLeader
    from iris_admin.proto.long_message import Body, LongMessage, PieceInPlace

#: OTP's default of the kernel parameter ``net_ticktime``, in seconds.
DEFAULT_NET_TICKTIME = 60.0
#: A node may take a quarter longer than ``net_ticktime`` to notice that the other is silent.
_SILENCE_FACTOR = 1.25
#: While data comes in, we show that we live at least this often (in seconds), whatever ``net_ticktime`` the node has.
_ANSWER_INTERVAL = 0.5

_KILL = Atom("kill")
_NO_COOKIE = Atom("")
_NOPROC = Atom("noproc")
_TERMINATED = (Atom("error"), Atom("terminated"))
#: What a peer may have us hold for it: bytes of answers that it does not take, and monitors of its processes.
MAX_OWED = 64 << 20
MAX_MONITORS = 100_000
#: A node ticks every fifteen seconds; so many at once are sent to keep us busy.
MAX_TICKS = 1000
#: Registered names of ours that answer, so that a caller's monitor on them must not fire.
_OUR_NAMES = ("net_kernel", "rex")


class _CallState:
    __slots__ = ("cancelled", "capture", "formats_for", "group_leader", "is_plain", "monitors", "pid", "remote", "res")

    def __init__(self, res: bytes, pid: bytes, capture: bool, formats_for: int | None) -> None:
        #: Our reference and our pid, encoded.
        self.res = res
        self.pid = pid
        self.capture = capture
        #: Set for a call of our own, which makes a text that another call's function prints.
        self.formats_for = formats_for
        #: The pid of the called process, encoded, once the node has told it.
        self.remote = b""
        self.cancelled = False
        self.group_leader: GroupLeader | None = None
        self.monitors: dict[tuple[Pid, Reference], None] = {}
        #: Whether there is nothing to do at its end but to tell it.
        self.is_plain = not capture and formats_for is None

    def usual_exit(self) -> bytes:
        """How the body of a frame begins by which the node tells what the function returned."""
        return b"".join((EXIT_HEAD, self.remote, self.pid, rpc.TRIPLE, self.res, rpc.RETURN))


_DAMAGED_HINT = (
    "Something on the way may have damaged it; the next call makes a new connection. Whether the calls that were under "
    "way ran is unknown."
)


class Connection:
    """A connection to ``peer``, from the handshake to the end.

    :param peer: full name of the node.
    :param cookie: the shared secret.
    :param host: our host name, as the node may see it.
    :param name: a fixed name for us (before the ``@``), or None to be given one by the node.
    :param challenge: 32 random bits.
    :param creation: 32 random bits; used with a fixed name only.
    :param now: the time.
    :param net_ticktime: after this much silence (and a quarter more) the node counts as gone, in seconds. We tick
        four times as often.
    :param length_bytes: size of the handshake frames' length field: 2, and 4 over TLS.
    """

    def __init__(
        self,
        *,
        peer: str,
        cookie: str,
        host: str,
        challenge: int,
        creation: int,
        now: float,
        name: str | None = None,
        net_ticktime: float = DEFAULT_NET_TICKTIME,
        length_bytes: int = 2,
    ) -> None:
        self.peer = peer
        self.joined: Joined | None = None
        self._handshake = Handshake(
            peer=peer,
            cookie=cookie,
            host=host,
            name=name,
            challenge=challenge,
            creation=creation,
            length_bytes=length_bytes,
        )
        self._net_ticktime = net_ticktime
        self._last_sent = self._last_received = now
        self._now = now
        self._closed = False
        self._events: deque[Event] = deque()
        self._prompt: list[bytes] = [self._handshake.data_to_send()]
        # Pieces of long messages, which let every prompt message pass between them.
        self._bulk: deque[bytes] = deque()
        # Bytes of answers in both, roughly.
        self._owed = 0
        self._monitors = 0
        self._frames = framing.FrameReader()
        self._fragments = framing.FragmentAssembler()
        self._in_place: PieceInPlace | None = None
        self._counter = 0
        self._calls: dict[int, _CallState] = {}
        # Set when the node has told us our name.
        self._name = Atom("")
        self._creation = 0
        self._pid_head = self._reference_head = b""
        self._usual: Usual | None = None

    # What a driver does

    def receive_data(self, data: bytes, now: float) -> None:
        """Take what arrived from the node. What it meant is told by :meth:`next_event`."""
        if self._closed:
            return
        self._now = now
        try:
            if self.joined is None:
                self._last_received = now
                self._handshake.receive_data(data)
                self._send(self._handshake.data_to_send())
                if self._handshake.joined is None:
                    return
                self._join(self._handshake.joined)
                data = self._handshake.rest()
            elif self._in_place is not None:
                data = self._receive_in_place(self._in_place, data)
            elif self._usual is not None:
                data = self._receive_usual(self._frames.take_short_rest() + data, self._usual)
            ticks = 0
            for body in self._frames.receive_data(data) if data else ():
                # Only a whole frame is a sign of life, as for the BEAM: behind a length that was damaged on its way
                # the node's ticks would be taken for a piece of a frame that never ends.
                self._last_received = now
                if not body:
                    ticks += 1
                    if ticks > MAX_TICKS:
                        raise ProtocolError(f"more than {MAX_TICKS} ticks at once")
                else:
                    message = self._fragments.receive_frame(body)
                    if isinstance(message, tuple):
                        self._receive_message(*message)
                    elif message is not None:
                        self._receive_beginning(message)
            if self._owed > MAX_OWED:
                raise ProtocolError(f"the node asks, but does not take {self._owed} bytes of answers")
        except EncodeError as error:
            # What it sent comes back in an answer, and nests too deeply there.
            self._lose(ProtocolError(f"a message of the node cannot be answered: {error}", node=self.peer))
            return
        except IrisAdminError as error:
            if error.node is None:
                error.node = self.peer
            if error.hint is None:
                error.hint = _DAMAGED_HINT
            self._lose(error)
            return
        if now - self._last_sent >= _ANSWER_INTERVAL:
            self._send(framing.TICK)

    def place(self) -> memoryview | None:
        """Where the driver may put what arrives next, and tell :meth:`placed` in the place of :meth:`receive_data`.

        :returns: None where that has no place yet.
        """
        if self._in_place is None and not self._closed:
            self._in_place = self._fragments.begin_in_place(self._frames)
        return None if self._in_place is None else self._in_place.place()

    def placed(self, size: int, now: float) -> None:
        """Take so many bytes that arrived, and were put where :meth:`place` said."""
        piece = self._in_place
        assert piece is not None
        behind = piece.placed(size)
        if not piece.missing and not self._closed and self._fragments.go_on_in_place(piece, behind):
            self._last_received = now
            behind = b""
        self.receive_data(behind, now)

    def receive_eof(self) -> None:
        """The node closed the connection."""
        if self.joined is None:
            self._lose(self._handshake.receive_eof())
        else:
            self._lose(self._down("closed the connection"))

    def lose(self, reason: str) -> None:
        """The driver found the connection broken.

        :param reason: completes a sentence that begins with the node's name.
        """
        self._lose(self._down(reason))

    def data_to_send(self) -> bytes:
        """What must go to the node next; empty when there is nothing more for now."""
        prompt = self._prompt
        if self._bulk:
            prompt.append(self._bulk.popleft())
        elif not prompt:
            return b""
        data = prompt[0] if len(prompt) == 1 else b"".join(prompt)
        prompt.clear()
        if not self._bulk:
            self._owed = 0
        return data

    def next_event(self) -> Event | None:
        """What happened next, or None when everything was told."""
        return self._events.popleft() if self._events else None

    def take_end(self, call_id: int) -> CallEnded | None:
        """The end of a call, if that is what happened next."""
        if self._events:
            event = self._events[0]
            if type(event) is CallEnded and event.call_id == call_id:
                self._events.popleft()
                return event
        return None

    @property
    def has_events(self) -> bool:
        """Whether :meth:`next_event` has something to tell."""
        return bool(self._events)

    def next_timer(self) -> float:
        """When :meth:`handle_timer` is due."""
        if self.joined is None:
            return float("inf")
        return min(self._last_sent + self._net_ticktime / 4, self._last_received + self._net_ticktime * _SILENCE_FACTOR)

    def handle_timer(self, now: float) -> None:
        """Tick where we have been silent, give up where the node has been."""
        if self._closed or self.joined is None:
            return
        self._now = now
        if now - self._last_received >= self._net_ticktime * _SILENCE_FACTOR:
            self._lose(self._down(f"has sent nothing, not even a tick, for {now - self._last_received:.0f} s"))
        elif now - self._last_sent >= self._net_ticktime / 4:
            self._send(framing.TICK)

    @property
    def is_open(self) -> bool:
        """Whether calls can be made."""
        return self.joined is not None and not self._closed

    # Calls

    def call(
        self,
        module: str,
        function: str,
        args: bytes,
        now: float,
        *,
        capture: bool = False,
        formats_for: int | None = None,
    ) -> int:
        """Call ``module:function``; the answer comes as a :class:`CallEnded`.

        :param args: the argument list, encoded by :func:`iris_admin.proto.etf.encode_term`.
        :param capture: whether to keep what the function prints.
        :param formats_for: for calls of the connection's own, the call whose function prints.
        :returns: a number that names the call.
        """
        self._now = now
        call_id = self._new_id()
        call = self._register(call_id, capture, formats_for)
        arguments = rpc.execute_call_arguments(call.res, module, function, args)
        self._send_message(b"".join((REQUEST_HEAD, call.res, call.pid, call.pid, REQUEST_TAIL)), arguments)
        return call_id

    def begin_exchange(self) -> tuple[tuple[bytes, ...], int, int] | None:
        """Let the driver make a usual call itself, by ``iris_admin.transport._exchange``.

        It is ended by :meth:`end_exchange`, or comes back to the connection by :meth:`take_back`.

        :returns: the pieces of a usual call, our creation, and the number of this one; None where calls must go through
            the connection, as something else is to be sent, or a frame is not complete.
        """
        if self._usual is None or self._prompt or self._bulk or self._in_place or self._frames.have or self._closed:
            return None
        self._counter += 1
        return self._usual.pieces, self._creation, self._counter

    def end_exchange(self, now: float) -> None:
        """The driver has received the usual answer."""
        self._now = self._last_sent = self._last_received = now

    def take_back(self, call_id: int, now: float) -> None:
        """The driver has sent the request, or a part of it; what comes of it is for the connection."""
        self._now = self._last_sent = now
        self._register(call_id, False, None)

    def _register(self, call_id: int, capture: bool, formats_for: int | None) -> _CallState:
        low, high = call_id & 0x3FFFF, call_id >> 18 & 0xFFFFFFFF
        call = self._calls[call_id] = _CallState(
            self._reference_head + REFERENCE_WORDS.pack(self._creation, low, high, 0),
            self._pid_head + PID_WORDS.pack(call_id & 0xFFFFFFF, call_id >> 28, self._creation),
            capture,
            formats_for,
        )
        return call

    def cancel(self, call_id: int, now: float) -> None:
        """Forget a call and kill its process, if it still runs."""
        self._now = now
        call = self._calls.get(call_id)
        if call is None:
            return
        if not call.remote:
            # Its pid is not known yet: kill it when the node tells.
            call.cancelled = True
        else:
            self._end_call(call_id)
            self._kill(call_id, call.remote)

    def _kill(self, call_id: int, remote: bytes) -> None:
        self._signal((Operation.PAYLOAD_EXIT2, self._pid(call_id), decode_term(remote)[0]), _KILL)

    def _end_call(self, call_id: int) -> _CallState:
        call = self._calls.pop(call_id)
        self._monitors -= len(call.monitors)
        for watcher, reference in call.monitors:
            self._signal((Operation.PAYLOAD_MONITOR_P_EXIT, self._pid(call_id), watcher, reference), _NOPROC)
        return call

    def _finish(self, call_id: int, message: Body, offset: int, outcome: Outcome | None) -> None:
        call = self._end_call(call_id)
        if call.cancelled:
            return
        output = None
        if call.capture:
            output = call.group_leader.text() if call.group_leader is not None else ""
        ended = CallEnded(call_id, output, message, offset, call.res, outcome)
        if call.formats_for is None:
            self._events.append(ended)
        else:
            self._take_formatted(call.formats_for, ended)

    # Identifiers

    def _join(self, joined: Joined) -> None:
        self._name, self._creation = Atom(joined.name), joined.creation
        atom = encode_term(self._name)
        self._pid_head = b"X" + atom
        self._reference_head = b"Z\0\3" + atom
        self.joined = joined
        self._events.append(Connected(joined))

    def _new_id(self) -> int:
        self._counter += 1
        return self._counter

    def _pid(self, process_id: int) -> Pid:
        return Pid(self._name, process_id & 0xFFFFFFF, process_id >> 28, self._creation)

    def _own_call(self, receiver: Term) -> int | None:
        """The call whose process on our side ``receiver`` is, if it still waits."""
        if type(receiver) is not Pid:
            return None
        call_id = receiver.serial << 28 | receiver.id
        return call_id if call_id in self._calls else None

    # Sending

    def _send(self, frame: bytes) -> None:
        if frame:
            self._prompt.append(frame)
            self._last_sent = self._now

    def _send_message(self, control_bytes: bytes, message: bytes = b"") -> None:
        if len(message) <= framing.FRAGMENT_SIZE:
            self._prompt.append(framing.whole_frame(control_bytes, message))
        else:
            self._bulk.extend(framing.fragment_frames(self._new_id(), control_bytes, message))
        self._last_sent = self._now

    def _signal(self, control_tuple: Term, *payload: Term) -> None:
        parts = [encode_term(control_tuple), *(encode_term(term) for term in payload)]
        self._owed += sum(map(len, parts))
        self._send_message(*parts)

    # Receiving

    def _receive_message(self, message: Body, offset: int) -> None:
        if etf.IMPLEMENTATION == "pure":
            message = bytes(message)  # that codec would copy it each time
        signal, payload = control.read(message, offset)
        match signal:
            case (Operation.PAYLOAD_EXIT, remote, to):
                self._receive_exit(remote, to, message, payload, None)
            case (Operation.EXIT, remote, to, reason):
                self._receive_exit(remote, to, b"", 0, reason)
            case (Operation.SPAWN_REPLY, _, to, _, result):
                call_id = self._own_call(to)
                if call_id is not None:
                    self._receive_spawn_reply(call_id, result)
            case (Operation.SEND, _, to) | (Operation.SEND_SENDER, _, to) | (Operation.ALIAS_SEND, _, to):
                self._receive_send(to, decode_term(message, payload)[0])
            case (Operation.REG_SEND, _, _, name):
                # Imported when a node asks: few do, in the time that a command takes.
                from iris_admin.proto import services

                answer = services.answer_registered(name, decode_term(message, payload)[0])
                if answer is not None:
                    self._send_answer(*answer)
            case (Operation.SPAWN_REQUEST, req_id, client, _, mfa, options):
                self._serve_spawn(req_id, client, mfa, options, decode_term(message, payload)[0])
            case (Operation.MONITOR_P, watcher, watched, reference):
                self._receive_monitor(watcher, watched, reference)
            case (Operation.DEMONITOR_P, watcher, watched, reference):
                call_id = self._own_call(watched)
                if call_id is not None and (watcher, reference) in self._calls[call_id].monitors:
                    del self._calls[call_id].monitors[watcher, reference]
                    self._monitors -= 1
            case (Operation.LINK, linker, to):
                if self._own_call(to) is None:
                    self._signal((Operation.PAYLOAD_EXIT, to, linker), _NOPROC)
            case (Operation.UNLINK_ID, unlink_id, unlinker, to):
                self._signal((Operation.UNLINK_ID_ACK, unlink_id, to, unlinker))
            case _:
                # Exits to processes that we do not have, group leaders, acknowledgements: nothing to do.
                pass

    def _receive_usual(self, data: bytes, usual: Usual) -> bytes:
        """Take the usual answers that data begins with, without decoding what is around them.

        A call is answered twice: by the pid of its process, and by what that returned. A node sends our references and
        pids back byte for byte, and its own pids all begin alike, so both frames are known but for a few bytes.

        :param data: begins with a frame.
        :returns: what is behind them; anything else is left to :meth:`_receive_message`.
        """
        position, size = 0, len(data)
        calls = self._calls
        while size - position >= usual.least:
            if data.startswith(usual.reply_head, position):
                end = position + usual.reply_size
                if end > size:
                    break
                process_id, serial, _ = PID_WORDS.unpack_from(data, position + usual.reply_caller)
                call = calls.get(serial << 28 | process_id)
                if (
                    call is None
                    or call.cancelled
                    or not data.startswith(b"".join((usual.reply_head, call.res, call.pid, usual.linked)), position)
                ):
                    break
                call.remote = usual.pid_head + data[end - PID_WORDS.size : end]
                position = end
                continue
            body = position + framing.LENGTH_BYTES
            process_id, serial, _ = PID_WORDS.unpack_from(data, body + usual.exit_caller)
            call_id = serial << 28 | process_id
            call = calls.get(call_id)
            if call is None or not call.is_plain:
                break
            exited = call.usual_exit()
            end = body + int.from_bytes(data[position:body], "big")
            value = body + len(exited)
            if not (value < end <= size and data.startswith(exited, body)):
                break
            del calls[call_id]
            self._events.append(CallEnded(call_id, None, data[value:end], 0, None))
            position = end
        if position:
            self._last_received = self._now
        return data[position:]

    def _receive_in_place(self, piece: PieceInPlace, data: bytes) -> bytes:
        """Take what belongs to a piece of a long message; give what is behind that."""
        data = piece.put(data)
        if not piece.missing:
            self._in_place = None
            self._last_received = self._now
            message = self._fragments.end_in_place(piece)
            if message is not None:
                self._receive_message(*message)
        return data

    def _receive_spawn_reply(self, call_id: int, result: Term) -> None:
        if isinstance(result, Pid):
            remote = encode_term(result)
            self._usual = Usual(self._reference_head, self._pid_head, remote[: -PID_WORDS.size])
            self._take_remote(call_id, self._calls[call_id], remote)
        else:
            self._finish(call_id, b"", 0, Failed("erpc", result))

    def _take_remote(self, call_id: int, call: _CallState, remote: bytes) -> None:
        if call.cancelled:
            self._end_call(call_id)
            self._kill(call_id, remote)
        else:
            call.remote = remote

    def _receive_beginning(self, message: LongMessage) -> None:
        """Tell of an answer that has begun to come, if it is the usual one: what a function returned."""
        if self._usual is None:
            return
        beginning = message.room()
        process_id, serial, _ = PID_WORDS.unpack_from(beginning, self._usual.exit_caller - len(framing.WHOLE))
        call_id = serial << 28 | process_id
        call = self._calls.get(call_id)
        if call is None or not call.is_plain:
            return
        exited = call.usual_exit()[len(framing.WHOLE) :]
        if beginning[: len(exited)] == exited:
            self._events.append(AnswerBegun(call_id, message, len(exited)))

    def _receive_exit(self, remote: Term, to: Term, message: Body, offset: int, reason: Term) -> None:
        call_id = self._own_call(to)
        if call_id is None or type(remote) is not Pid or self._calls[call_id].remote != encode_term(remote):
            return
        outcome = None if message else rpc.outcome_of_exit(reason, decode_term(self._calls[call_id].res)[0])
        self._finish(call_id, message, offset, outcome)

    def _receive_send(self, to: Term, message: Term) -> None:
        # Imported when something is printed.
        from iris_admin.proto.io_protocol import Answer, GroupLeader

        call_id = self._own_call(to)
        if call_id is not None:
            call = self._calls[call_id]
            if call.group_leader is None:
                call.group_leader = GroupLeader(keep=call.capture)
            if call.group_leader.receive(message):
                self._serve_io(call_id, call.group_leader)
        else:
            # A process that outlives the call which it inherited its group leader from.
            match message:
                case ("io_request", Pid() as client, reply_as, _):
                    self._send_answer(client, Answer(client, reply_as, _TERMINATED).message())

    def _receive_monitor(self, watcher: Pid, watched: Term, reference: Reference) -> None:
        call_id = self._own_call(watched)
        if call_id is not None:
            self._calls[call_id].is_plain = False
            monitors = self._calls[call_id].monitors
            self._monitors += (watcher, reference) not in monitors
            if self._monitors > MAX_MONITORS:
                raise ProtocolError(f"the node monitors us more than {MAX_MONITORS} times")
            monitors[watcher, reference] = None
        elif watched not in _OUR_NAMES:
            self._signal((Operation.PAYLOAD_MONITOR_P_EXIT, watched, watcher, reference), _NOPROC)

    # Serving

    def _send_answer(self, to: Pid | Reference, message: Term) -> None:
        if isinstance(to, Pid):
            self._signal((Operation.SEND, _NO_COOKIE, to), message)
        else:
            self._signal((Operation.ALIAS_SEND, self._pid(self._new_id()), to), message)

    def _serve_spawn(self, req_id: Reference, client: Pid, mfa: Term, options: Term, args: Term) -> None:
        options = options if isinstance(options, list) else []
        linked = "link" in options
        monitored = any(
            option == "monitor" or (type(option) is tuple and option[:1] == ("monitor",)) for option in options
        )
        process = self._pid(self._new_id())
        from iris_admin.proto import services

        reason = services.answer_spawn(mfa, args)
        self._signal((Operation.SPAWN_REPLY, req_id, client, linked | monitored << 1, process))
        if monitored:
            self._signal((Operation.PAYLOAD_MONITOR_P_EXIT, process, client, req_id), reason)
        if linked:
            self._signal((Operation.PAYLOAD_EXIT, process, client), reason)

    def _serve_io(self, call_id: int, group_leader: GroupLeader) -> None:
        from iris_admin.proto.io_protocol import Answer

        while (step := group_leader.proceed()) is not None:
            if isinstance(step, Answer):
                self._send_answer(step.to, step.message())
            else:
                self.call(step.module, step.function, encode_term(step.args), self._now, formats_for=call_id)

    def _take_formatted(self, call_id: int, ended: CallEnded) -> None:
        call = self._calls.get(call_id)
        if call is None or call.group_leader is None:
            return
        try:
            outcome = ended.outcome()
        except DecodeError:
            chardata = None
        else:
            chardata = outcome.value if isinstance(outcome, Returned) else None
        answer = call.group_leader.formatted(chardata)
        if answer is not None:
            self._send_answer(answer.to, answer.message())
        self._serve_io(call_id, call.group_leader)

    # The end

    def _down(self, what: str) -> NodeDown:
        return NodeDown(
            f"{self.peer} {what}",
            node=self.peer,
            hint="Whether the call ran is unknown. Does the node still run? `iris-admin nodes` shows it.",
        )

    def _lose(self, error: IrisAdminError) -> None:
        if not self._closed:
            self._closed = True
            self._calls.clear()
            self._prompt.clear()
            self._bulk.clear()
            self._events.append(Lost(error))
