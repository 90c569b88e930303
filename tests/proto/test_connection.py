"""A connection against a node that the test plays, with a clock that the test sets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_admin.errors import CookieMismatch, DecodeError, NodeDown, ProtocolError
from iris_admin.proto import io_protocol
from iris_admin.proto.connection import Connection
from iris_admin.proto.etf import encode_term
from iris_admin.proto.events import AnswerBegun, CallEnded, Connected, Event, Lost
from iris_admin.proto.handshake import Joined
from iris_admin.proto.rpc import Failed, Returned
from iris_admin.terms import Atom, ImproperList, Map, Pid, Reference, Term, charlist
from tests.proto.node_side import (
    COOKIE,
    OUR_CHALLENGE,
    OUR_CREATION,
    OUR_NAME,
    PEER,
    TICK,
    NodeSide,
    Signal,
    pid,
    receive_in_place,
    reference,
)
from tests.support.term_strategies import terms

OK = Atom("ok")
NOPROC = Atom("noproc")
LINK = [Atom("link")]
RETURN = Atom("return")
EXECUTE_CALL = (Atom("erpc"), Atom("execute_call"), 4)
#: A process of ours that never was.
NOBODY = Pid(OUR_NAME, 12345, 0, OUR_CREATION)


def shown(event: Event) -> tuple[object, ...]:
    """An event, and what comes of asking it."""
    if isinstance(event, CallEnded):
        try:
            return event.call_id, event.output, event.outcome()
        except DecodeError as error:
            return event.call_id, event.output, type(error)
    if isinstance(event, AnswerBegun):
        return event.call_id, event.offset, bytes(event.message.room()[: event.message.filled])
    assert isinstance(event, Lost)
    return type(event.error), str(event.error)


@pytest.fixture
def node() -> NodeSide:
    return NodeSide()


class TestJoining:
    def test_events_and_state(self) -> None:
        connection = Connection(
            peer=PEER, cookie=COOKIE, host="127.0.0.1", challenge=OUR_CHALLENGE, creation=0, now=0.0
        )
        assert not connection.is_open
        assert connection.next_timer() == float("inf")
        connection.handle_timer(1000.0)
        assert connection.next_event() is None
        for message in NodeSide.handshake_messages():
            connection.receive_data(len(message).to_bytes(2, "big") + message, 0.0)
        joined = Joined(PEER, OUR_NAME, OUR_CREATION)
        assert connection.next_event() == Connected(joined)
        assert connection.next_event() is None
        assert connection.is_open
        assert connection.joined == joined

    def test_what_follows_the_handshake_at_once_is_read(self) -> None:
        connection = Connection(
            peer=PEER, cookie=COOKIE, host="127.0.0.1", challenge=OUR_CHALLENGE, creation=0, now=0.0
        )
        stream = b"".join(len(message).to_bytes(2, "big") + message for message in NodeSide.handshake_messages())
        connection.receive_data(stream + NodeSide.frame((1, pid(1), NOBODY)), 0.0)
        assert NodeSide().read(connection.data_to_send().partition(b"\0\0\0")[1]) == []
        assert connection.is_open

    def test_the_node_closes(self) -> None:
        for messages in range(3):
            connection = Connection(
                peer=PEER, cookie=COOKIE, host="127.0.0.1", challenge=OUR_CHALLENGE, creation=0, now=0.0
            )
            for message in NodeSide.handshake_messages()[:messages]:
                connection.receive_data(len(message).to_bytes(2, "big") + message, 0.0)
            connection.receive_eof()
            event = connection.next_event()
            assert isinstance(event, Lost)
            assert isinstance(event.error, CookieMismatch) == (messages == 2)
            assert not connection.is_open
            assert connection.data_to_send() == b""


class TestCall:
    def test_request(self, node: NodeSide) -> None:
        _, request = node.call("lists", "seq", 1, 3)
        operation, request_id, client, group_leader, mfa, options = request.control
        assert operation == 29
        assert client == group_leader
        assert (client.node, client.creation) == (OUR_NAME, OUR_CREATION)
        assert (request_id.node, request_id.creation) == (OUR_NAME, OUR_CREATION)
        assert (mfa, options) == (EXECUTE_CALL, LINK)
        res, *called = request.payload
        assert isinstance(res, Reference)
        assert called == [Atom("lists"), Atom("seq"), [1, 3]]

    @pytest.mark.parametrize(
        ("reason", "outcome"),
        [
            ((RETURN, [1, 2, 3]), Returned([1, 2, 3])),
            ((Atom("throw"), 1), Failed("throw", 1)),
            ((Atom("exit"), 1), Failed("exit", 1)),
            ((Atom("error"), 1, []), Failed("error", 1, [])),
            ((Atom("error"), (Atom("erpc"), Atom("badarg"))), Failed("erpc", Atom("badarg"))),
            ((Atom("killed"),), Failed("killed", Atom("killed"))),
        ],
    )
    @pytest.mark.parametrize("operation", [24, 25, 3, 13])
    def test_answer(self, node: NodeSide, reason: tuple[Term, ...], outcome: Returned | Failed, operation: int) -> None:
        call_id, request = node.running_call(50)
        assert node.ended() == []
        client = request.control[2]
        whole = (request.payload[0], *reason) if len(reason) > 1 else reason[0]
        if operation in (24, 25):
            token = () if operation == 24 else (Atom("token"),)
            assert node.send((operation, pid(50), client, *token), whole) == []
        else:
            token = () if operation == 3 else (Atom("token"),)
            assert node.send((operation, pid(50), client, *token, whole), *()) == []
        assert node.ended() == [(call_id, outcome, None)]

    @pytest.mark.parametrize("reason", ["badopt", "notsup", "system_limit"])
    def test_the_node_refuses_to_spawn(self, node: NodeSide, reason: str) -> None:
        call_id, request = node.call()
        node.send((31, request.control[1], request.control[2], 0, Atom(reason)))
        assert node.ended() == [(call_id, Failed("erpc", Atom(reason)), None)]

    def test_answers_in_another_order(self, node: NodeSide) -> None:
        calls = [node.call() for _ in range(20)]
        assert len({call_id for call_id, _ in calls}) == 20
        assert len({request.control[2] for _, request in calls}) == 20
        for index, (_, request) in enumerate(calls):
            node.spawned(request, 100 + index)
        for index, (_, request) in reversed(list(enumerate(calls))):
            node.exited(request, 100 + index, RETURN, index)
        assert node.ended() == [(calls[index][0], Returned(index), None) for index in reversed(range(20))]

    def test_answers_that_are_almost_usual(self, node: NodeSide) -> None:
        """From the second call on, the usual answers are recognised by their bytes; these must not be."""
        _, first = node.running_call(49)
        node.exited(first, 49, RETURN, 1)
        node.ended()
        call_id, request = node.running_call(50)
        client = request.control[2]
        answer = (request.payload[0], RETURN, 2)
        others = [
            ((24, pid(51), client), answer),
            ((24, Pid(pid(50).node, 50, 0, pid(50).creation + 1), client), answer),
            ((24, Pid(Atom("db2@127.0.0.1"), 50, 0, pid(50).creation), client), answer),
            ((24, pid(50), Pid(client.node, client.id + 1, client.serial, client.creation)), answer),
        ]
        for control, payload in others:
            assert node.send(control, payload) == []
            assert node.ended() == []
        node.exited(request, 50, RETURN, 2)
        assert node.ended() == [(call_id, Returned(2), None)]

    def test_exits_that_are_none_of_its_own(self, node: NodeSide) -> None:
        call_id, request = node.running_call(50)
        assert node.exited(request, 51, RETURN, b"somebody else's") == []
        assert node.send((24, pid(50), NOBODY), Atom("killed")) == []
        assert node.send((24, pid(50), Atom("name")), Atom("killed")) == []
        assert node.ended() == []
        node.exited(request, 50, RETURN, b"its own")
        assert node.ended() == [(call_id, Returned(b"its own"), None)]
        assert node.exited(request, 50, RETURN, b"once more") == []
        assert node.ended() == []

    def test_an_answer_that_is_no_term(self, node: NodeSide) -> None:
        # Other calls do not suffer for it; whoever waits for this one is told.
        _, request = node.running_call(50)
        other, other_request = node.running_call(51)
        message = b"\x83D\0" + encode_term((24, pid(50), request.control[2])) + b"\xff"
        node.send_bytes(len(message).to_bytes(4, "big") + message)
        node.exited(other_request, 51, RETURN, 1)
        broken, good = node.events()
        with pytest.raises(ProtocolError):
            broken.outcome()  # type: ignore[union-attr]
        assert good.outcome() == Returned(1)  # type: ignore[union-attr]
        assert good.call_id == other  # type: ignore[union-attr]

    @given(st.data())
    def test_usual_answers_are_what_any_answer_is(self, data: st.DataObject) -> None:
        """Recognised by their bytes or decoded: whatever the order, cut or damaged, it makes no difference."""
        sides = (NodeSide(), NodeSide())
        for node in sides:
            _, request = node.running_call(49)
            node.exited(request, 49, RETURN, 1)
            node.ended()
        count = data.draw(st.integers(1, 4), label="calls")
        monitored = data.draw(st.booleans(), label="monitored")
        requests, others = ([node.call()[1] for _ in range(count)] for node in sides)
        assert requests == others
        frames = []
        for number, request in enumerate(requests, 100):
            _, request_id, client, *_ = request.control
            value = data.draw(terms(), label="value")
            frames.append([NodeSide.frame((31, request_id, client, 1, pid(number)))])
            if monitored:
                frames[-1].append(NodeSide.frame((19, pid(number), client, reference(number))))
            frames[-1].append(NodeSide.frame((24, pid(number), client), (request.payload[0], RETURN, value)))
        sent = b""
        while any(frames):
            sent += data.draw(st.sampled_from([queue for queue in frames if queue]), label="next").pop(0)
        if data.draw(st.booleans(), label="damaged"):
            at = data.draw(st.integers(0, len(sent) - 1), label="where")
            sent = sent[:at] + bytes([data.draw(st.integers(0, 255), label="byte")]) + sent[at + 1 :]
        cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=4), label="cuts"))
        pieces = [sent[start:end] for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True) if start < end]
        by_bytes, decoded = sides
        for piece in pieces:
            decoded.connection._usual = None
            assert by_bytes.send_bytes(piece) == decoded.send_bytes(piece)
            ours, theirs = by_bytes.events(), decoded.events()
            assert [shown(event) for event in ours] == [shown(event) for event in theirs]
            assert by_bytes.connection.next_timer() == decoded.connection.next_timer()
        assert by_bytes.connection.is_open == decoded.connection.is_open

    def test_identifiers_beyond_28_bits(self, node: NodeSide) -> None:
        node.connection._counter = (1 << 28) - 2
        seen = set()
        for number in range(50, 54):
            call_id, request = node.running_call(number)
            seen.add((request.control[1], request.control[2]))
            node.exited(request, number, RETURN, number)
            assert node.ended() == [(call_id, Returned(number), None)]
        assert len(seen) == 4


class TestLongMessages:
    def test_a_long_argument_goes_in_pieces_and_a_short_call_between_them(self, node: NodeSide) -> None:
        long = node.connection.call("m", "long", encode_term([bytes(300_000)]), 0.0)
        first = node.connection.data_to_send()
        short = node.connection.call("m", "short", encode_term([]), 0.0)
        received = node.read(first)
        while not received:
            received = node.read(node.connection.data_to_send())
        assert isinstance(received[0], Signal)
        assert received[0].payload[2] == Atom("short")
        rest = [signal for signal in node.received() if isinstance(signal, Signal)]
        assert [signal.payload[1:] for signal in rest] == [[Atom("m"), Atom("long"), [bytes(300_000)]]]
        for number, (call_id, request) in enumerate([(short, received[0]), (long, rest[0])]):
            node.spawned(request, number)
            node.exited(request, number, RETURN, number)
            assert node.ended() == [(call_id, Returned(number), None)]

    def test_a_piece_at_a_time(self, node: NodeSide) -> None:
        node.connection.call("m", "long", encode_term([bytes(1_000_000)]), 0.0)
        pieces = 0
        while data := node.connection.data_to_send():
            pieces += 1
            assert len(data) < 70_000
        assert pieces == 16

    def test_a_long_answer_and_a_short_one_between_its_pieces(self, node: NodeSide) -> None:
        long, long_request = node.running_call(50)
        short, short_request = node.running_call(51)
        answer = (long_request.payload[0], RETURN, bytes(200_000))
        first, *others = node.fragments(9, (24, pid(50), long_request.control[2]), answer)
        node.send_bytes(first)
        node.exited(short_request, 51, RETURN, OK)
        assert node.ended() == [(short, Returned(OK), None)]
        for frame in others:
            assert node.ended() == []
            node.send_bytes(frame)
        assert node.ended() == [(long, Returned(bytes(200_000)), None)]


class TestAnswersThatHaveBegun:
    VALUE = bytes(2 << 20)

    def frames(self, node: NodeSide, request: Signal, number: int, *reason: Term) -> list[bytes]:
        return node.fragments(9, (24, pid(number), request.control[2]), (request.payload[0], *reason))

    def test_they_are_told_when_the_beginning_can_be_read(self, node: NodeSide) -> None:
        call_id, request = node.running_call(50)
        (begun,) = [
            event
            for frame in self.frames(node, request, 50, RETURN, self.VALUE)[:-1]
            if (node.send_bytes(frame) or True)
            for event in node.events()
        ]
        assert isinstance(begun, AnswerBegun)
        assert begun.call_id == call_id
        size = len(encode_term(self.VALUE))
        assert begun.message.room()[begun.offset :][:5] == encode_term(self.VALUE)[:5]
        assert 1 << 20 < begun.message.filled < begun.offset + size <= len(begun.message.room())
        node.send_bytes(self.frames(node, request, 50, RETURN, self.VALUE)[-1])
        (ended,) = node.events()
        assert isinstance(ended, CallEnded)
        assert begun.message.filled == begun.offset + size
        assert ended.outcome() == Returned(self.VALUE)

    def test_a_value_that_was_decoded_meanwhile_is_taken(self, node: NodeSide) -> None:
        for end, expected in ((0, 42), (1, self.VALUE), (-1, self.VALUE)):
            _, request = node.running_call(50)
            for frame in self.frames(node, request, 50, RETURN, self.VALUE):
                node.send_bytes(frame)
            begun, ended = node.events()
            assert isinstance(begun, AnswerBegun)
            assert isinstance(ended, CallEnded)
            ended.returned(42, begun.message.filled + end)
            assert ended.outcome() == Returned(expected)

    def test_only_what_a_function_returned(self, node: NodeSide) -> None:
        _, captured = node.running_call(50, capture=True)
        _, threw = node.running_call(51)
        cancelled, request = node.running_call(52)
        node.connection.cancel(cancelled, 0.0)
        node.received()
        for frame in (
            *self.frames(node, captured, 50, RETURN, self.VALUE),
            *self.frames(node, threw, 51, Atom("throw"), self.VALUE),
            *self.frames(node, request, 52, RETURN, self.VALUE),
            *node.fragments(9, (2, Atom(""), threw.control[2]), self.VALUE),
        ):
            node.send_bytes(frame)
        assert [type(event) for event in node.events()] == [CallEnded, CallEnded]

    def test_in_place(self, node: NodeSide) -> None:
        """A driver that puts what it receives in its place gets the same, and lives by the same clock."""
        other = NodeSide()
        stream = b""
        for side in (node, other):
            long, short = side.running_call(50)[1], side.running_call(51)[1]
            first, *rest = self.frames(side, long, 50, RETURN, self.VALUE)
            answer = side.frame((24, pid(51), short.control[2]), (short.payload[0], RETURN, OK))
            stream = b"".join([first, *rest[:20], answer, bytes(4), *rest[20:], bytes(4)])
        placed = 0
        for start in range(0, len(stream), 100_001):
            piece = stream[start : start + 100_001]
            node.now = other.now = start / 1e5
            other.send_bytes(piece)
            placed += receive_in_place(node.connection, piece, node.now, size=30_000)
            assert node.connection.next_timer() == other.connection.next_timer()
        assert placed > len(self.VALUE) // 3
        assert [shown(event) for event in node.events()] == [shown(event) for event in other.events()]

    def test_a_place_is_for_connections_that_stand(self, node: NodeSide) -> None:
        _, request = node.running_call(50)
        frames = self.frames(node, request, 50, RETURN, self.VALUE)
        node.send_bytes(b"".join(frames[:20]) + frames[20][:30])
        place = node.connection.place()
        assert place is not None
        node.connection.lose("fell over")
        place[:10] = bytes(10)
        node.connection.placed(10, 0.0)
        assert [type(event) for event in node.events()] == [AnswerBegun, Lost]


class TestCancel:
    def test_a_running_call_is_killed(self, node: NodeSide) -> None:
        call_id, request = node.running_call(50)
        node.connection.cancel(call_id, 0.0)
        assert node.received() == [Signal((26, request.control[2], pid(50)), Atom("kill"))]
        assert node.exited(request, 50, Atom("killed")) == []
        assert node.ended() == []

    def test_before_the_node_has_told_its_pid(self, node: NodeSide) -> None:
        call_id, request = node.call()
        node.connection.cancel(call_id, 0.0)
        assert node.received() == []
        assert node.spawned(request, 50) == [Signal((26, request.control[2], pid(50)), Atom("kill"))]
        assert node.exited(request, 50, Atom("killed")) == []
        assert node.ended() == []

    def test_an_answer_that_was_on_its_way_is_dropped(self, node: NodeSide) -> None:
        call_id, request = node.running_call(50)
        node.connection.cancel(call_id, 0.0)
        node.received()
        assert node.exited(request, 50, RETURN, OK) == []
        assert node.ended() == []

    def test_a_call_that_the_node_refused_in_the_meantime(self, node: NodeSide) -> None:
        call_id, request = node.call()
        node.connection.cancel(call_id, 0.0)
        assert node.send((31, request.control[1], request.control[2], 0, Atom("badopt"))) == []
        assert node.ended() == []

    def test_twice_and_too_late(self, node: NodeSide) -> None:
        call_id, request = node.running_call(50)
        node.connection.cancel(call_id, 0.0)
        assert len(node.received()) == 1
        node.connection.cancel(call_id, 0.0)
        ended, request = node.running_call(51)
        node.exited(request, 51, RETURN, OK)
        node.connection.cancel(ended, 0.0)
        node.connection.cancel(999, 0.0)
        assert node.received() == []
        assert [call for call, *_ in node.ended()] == [ended]

    def test_while_a_text_is_made(self, node: NodeSide) -> None:
        call_id, request = node.running_call(50, capture=True)
        (made,) = print_format(node, request)
        node.connection.cancel(call_id, 0.0)
        assert len(node.received()) == 1
        assert isinstance(made, Signal)
        node.spawned(made, 51)
        assert node.exited(made, 51, RETURN, b"text") == []
        assert node.ended() == []


class TestTicks:
    def test_we_tick_when_we_have_been_silent_for_a_quarter(self) -> None:
        node = NodeSide(net_ticktime=60.0, now=100.0)
        assert node.connection.next_timer() == 115.0
        node.connection.handle_timer(114.9)
        assert node.received() == []
        node.connection.handle_timer(115.0)
        assert node.received() == [TICK]
        assert node.connection.next_timer() == 130.0

    def test_a_call_is_a_sign_of_life_too(self) -> None:
        node = NodeSide()
        node.now = 14.0
        node.call()
        node.connection.handle_timer(15.0)
        assert node.received() == []
        assert node.connection.next_timer() == 29.0

    def test_long_arguments_are_a_sign_of_life_too(self) -> None:
        node = NodeSide()
        node.connection.call("m", "f", encode_term([bytes(100_000)]), 14.0)
        node.received()
        assert node.connection.next_timer() == 29.0

    def test_the_nodes_tick_is_answered(self) -> None:
        # Whatever its net_ticktime is, it hears from us as often as we hear from it.
        node = NodeSide()
        for second in range(1, 8):
            node.now = float(second)
            assert node.send_bytes(bytes(4)) == [TICK]

    def test_but_not_more_than_twice_a_second(self) -> None:
        node = NodeSide()
        node.now = 0.4
        assert node.send_bytes(bytes(4)) == []
        node.now = 0.5
        assert node.send_bytes(bytes(4) * 3) == [TICK]
        node.now = 0.9
        assert node.send_bytes(bytes(4)) == []

    def test_a_long_answer_is_no_reason_to_stay_silent(self) -> None:
        node = NodeSide()
        _, request = node.running_call(50)
        answer = (request.payload[0], RETURN, bytes(200_000))
        ticks = 0
        for frame in node.fragments(9, (24, pid(50), request.control[2]), answer):
            node.now += 20.0
            ticks += node.send_bytes(frame).count(TICK)
        assert ticks == 4

    def test_pieces_of_a_frame_that_never_ends_are_silence(self) -> None:
        node = NodeSide(net_ticktime=60.0)
        node.send_bytes((1 << 20).to_bytes(4, "big"))  # such as a damaged length
        for second in range(15, 75, 15):
            node.now = float(second)
            node.send_bytes(bytes(4))
            node.connection.handle_timer(node.now)
        assert node.connection.is_open
        node.connection.handle_timer(75.0)
        (lost,) = node.events()
        assert isinstance(lost, Lost)
        assert isinstance(lost.error, NodeDown)

    @pytest.mark.parametrize("net_ticktime", [4.0, 60.0])
    def test_the_nodes_silence_means_that_it_is_down(self, net_ticktime: float) -> None:
        node = NodeSide(net_ticktime=net_ticktime)
        node.running_call(50)
        end = net_ticktime * 1.25
        time = 0.0
        while (timer := node.connection.next_timer()) < end:
            assert timer > time
            time = timer
            node.connection.handle_timer(time)
            assert node.received() == [TICK]
        assert node.events() == []
        assert timer == end
        node.connection.handle_timer(end)
        (lost,) = node.events()
        assert isinstance(lost, Lost)
        assert isinstance(lost.error, NodeDown)
        assert lost.error.node == PEER
        assert f"for {end:.0f} s" in str(lost.error)
        assert lost.error.hint is not None
        assert not node.connection.is_open
        node.connection.handle_timer(10 * end)
        assert node.events() == []
        assert node.received() == []

    def test_a_whole_frame_is_a_sign_of_the_nodes_life(self) -> None:
        node = NodeSide()
        node.now = 60.0
        node.send_bytes(bytes(3))
        node.now = 70.0
        node.send_bytes(bytes(1))
        node.connection.handle_timer(75.0 + 69.9)
        assert node.connection.is_open
        node.connection.handle_timer(75.0 + 70.0)
        assert not node.connection.is_open


class TestLoss:
    def test_the_node_closes(self, node: NodeSide) -> None:
        node.running_call(50)
        node.call()
        node.connection.receive_eof()
        (lost,) = node.events()
        assert isinstance(lost, Lost)
        assert type(lost.error) is NodeDown
        assert str(lost.error) == f"{PEER} closed the connection"
        assert (lost.error.node, lost.error.exit_code) == (PEER, 69)

    def test_the_driver_finds_it_broken(self, node: NodeSide) -> None:
        node.connection.lose("broke the connection: connection reset by peer")
        (lost,) = node.events()
        assert isinstance(lost, Lost)
        assert str(lost.error) == f"{PEER} broke the connection: connection reset by peer"

    @pytest.mark.parametrize(
        "data",
        [
            b"\xff\xff\xff\xff",
            b"\0\0\0\5hello",
            b"\0\0\0\4\x83D\0\xff",
            NodeSide.frame((99, 1)),
            NodeSide.frame((22, pid(1), NOBODY)),
            NodeSide.frame((6, pid(1), Atom(""), Atom("rex"))),
            NodeSide.frame((29, reference(1), pid(1), pid(1), EXECUTE_CALL, [])),
        ],
        ids=["oversize", "no-message", "no-term", "unknown-operation", "send-what", "reg-send-what", "spawn-what"],
    )
    def test_the_node_breaks_the_protocol(self, node: NodeSide, data: bytes) -> None:
        call_id, _ = node.running_call(50)
        assert node.send_bytes(data) == []
        (lost,) = node.events()
        assert isinstance(lost, Lost)
        assert isinstance(lost.error, ProtocolError)
        assert lost.error.node == PEER
        # It is over: whatever comes or is asked for changes nothing.
        assert node.send((1, pid(1), NOBODY)) == []
        node.connection.receive_eof()
        node.connection.lose("again")
        node.connection.cancel(call_id, 1.0)
        assert node.events() == []
        assert node.received() == []

    def test_what_came_before_the_nonsense_counts(self, node: NodeSide) -> None:
        call_id, request = node.running_call(50)
        answer = NodeSide.frame((24, pid(50), request.control[2]), (request.payload[0], RETURN, OK))
        node.send_bytes(answer + b"\xff\xff\xff\xff")
        ended, lost = node.events()
        assert ended.call_id == call_id  # type: ignore[union-attr]
        assert isinstance(lost, Lost)


class TestLinksAndMonitors:
    def test_link_to_a_call_that_runs(self, node: NodeSide) -> None:
        _, request = node.running_call(50)
        assert node.send((1, pid(60), request.control[2])) == []

    def test_link_to_nobody(self, node: NodeSide) -> None:
        assert node.send((1, pid(60), NOBODY)) == [Signal((24, NOBODY, pid(60)), NOPROC)]

    def test_link_to_a_call_that_has_ended(self, node: NodeSide) -> None:
        _, request = node.running_call(50)
        node.exited(request, 50, RETURN, OK)
        assert node.send((1, pid(60), request.control[2])) == [Signal((24, request.control[2], pid(60)), NOPROC)]

    def test_unlink_is_acknowledged_at_once(self, node: NodeSide) -> None:
        _, request = node.running_call(50)
        for ours in (request.control[2], NOBODY):
            assert node.send((35, 77, pid(60), ours)) == [Signal((36, 77, ours, pid(60)))]
        assert node.send((36, 77, pid(60), NOBODY)) == []

    def test_monitor_of_nobody(self, node: NodeSide) -> None:
        assert node.send((19, pid(60), NOBODY, reference(1))) == [Signal((28, NOBODY, pid(60), reference(1)), NOPROC)]

    def test_monitor_of_a_name_that_is_not_registered(self, node: NodeSide) -> None:
        assert node.send((19, pid(60), Atom("iris_router"), reference(1))) == [
            Signal((28, Atom("iris_router"), pid(60), reference(1)), NOPROC)
        ]

    def test_monitor_of_what_is_no_process(self, node: NodeSide) -> None:
        assert node.send((19, pid(60), [1], reference(1))) == [Signal((28, [1], pid(60), reference(1)), NOPROC)]

    @pytest.mark.parametrize("name", ["net_kernel", "rex"])
    def test_monitor_of_a_name_that_answers(self, node: NodeSide, name: str) -> None:
        assert node.send((19, pid(60), Atom(name), reference(1))) == []
        assert node.send((20, pid(60), Atom(name), reference(1))) == []

    def test_monitor_of_a_call_fires_at_its_end(self, node: NodeSide) -> None:
        _, request = node.running_call(50)
        client = request.control[2]
        assert node.send((19, pid(60), client, reference(1))) == []
        assert node.send((19, pid(61), client, reference(2))) == []
        assert node.send((19, pid(60), client, reference(3))) == []
        assert node.send((20, pid(61), client, reference(2))) == []
        assert node.send((20, pid(61), client, reference(9))) == []
        assert node.send((20, pid(61), NOBODY, reference(9))) == []
        assert node.exited(request, 50, RETURN, OK) == [
            Signal((28, client, pid(60), reference(1)), NOPROC),
            Signal((28, client, pid(60), reference(3)), NOPROC),
        ]

    def test_monitor_of_a_call_fires_when_it_is_cancelled(self, node: NodeSide) -> None:
        call_id, request = node.running_call(50)
        node.send((19, pid(60), request.control[2], reference(1)))
        node.connection.cancel(call_id, 0.0)
        assert Signal((28, request.control[2], pid(60), reference(1)), NOPROC) in node.received()

    def test_signals_that_need_no_answer(self, node: NodeSide) -> None:
        call_id, request = node.running_call(50)
        client = request.control[2]
        for control in ((3, pid(60), client, Atom("kill")), (8, pid(60), client, Atom("kill")), (7, pid(60), client)):
            assert node.send(control) == []
        assert node.send((21, pid(60), client, reference(1), Atom("noproc"))) == []
        assert node.send((26, pid(60), client), Atom("kill")) == []
        assert node.send((28, pid(60), client, reference(1)), Atom("noproc")) == []
        assert node.send((22, pid(60), client), Atom("hello")) == []
        assert node.send((2, Atom(""), NOBODY), Atom("hello")) == []
        assert node.send((33, pid(60), reference(1)), Atom("hello")) == []
        assert node.send((6, pid(60), Atom(""), Atom("global_name_server")), Atom("hello")) == []
        assert node.ended() == []
        node.exited(request, 50, RETURN, OK)
        assert node.ended() == [(call_id, Returned(OK), None)]


class TestSpawnOnUs:
    REQUEST = reference(5)
    WHEREIS = (Atom("erlang"), Atom("whereis"), [Atom("x")])

    def spawn(self, node: NodeSide, options: Term, mfa: Term = EXECUTE_CALL, args: Term = None) -> list[Signal | str]:
        args = [reference(6), *self.WHEREIS] if args is None else args
        return node.send((29, self.REQUEST, pid(60), pid(1), mfa, options), args)

    @pytest.mark.parametrize(
        ("options", "flags"),
        [
            ([], 0),
            ([Atom("link")], 1),
            ([Atom("monitor")], 2),
            ([(Atom("monitor"), [(Atom("alias"), Atom("reply_demonitor"))])], 2),
            ([Atom("monitor"), Atom("link"), (Atom("priority"), Atom("high"))], 3),
            (Atom("no_list"), 0),
        ],
    )
    def test_reply_then_the_end(self, node: NodeSide, options: Term, flags: int) -> None:
        reply, *ends = self.spawn(node, options)
        assert isinstance(reply, Signal)
        process = reply.control[4]
        assert reply == Signal((31, self.REQUEST, pid(60), flags, process))
        assert type(reply.control[3]) is int
        assert (process.node, process.creation) == (OUR_NAME, OUR_CREATION)
        reason = (reference(6), RETURN, Atom("undefined"))
        expected = []
        if flags & 2:
            expected.append(Signal((28, process, pid(60), self.REQUEST), reason))
        if flags & 1:
            expected.append(Signal((24, process, pid(60)), reason))
        assert ends == expected

    def test_each_has_a_pid_of_its_own(self, node: NodeSide) -> None:
        replies = [self.spawn(node, [])[0] for _ in range(3)]
        assert len({reply.control[4] for reply in replies if isinstance(reply, Signal)}) == 3

    def test_another_function(self, node: NodeSide) -> None:
        _, end = self.spawn(node, [Atom("monitor")], (Atom("os"), Atom("cmd"), 1), [b"id"])
        assert isinstance(end, Signal)
        assert end.payload == (Atom("undef"), [(Atom("os"), Atom("cmd"), [b"id"], [])])

    def test_with_trace_token(self, node: NodeSide) -> None:
        reply, *_ = node.send(
            (30, self.REQUEST, pid(60), pid(1), EXECUTE_CALL, [], Atom("token")), [reference(6), *self.WHEREIS]
        )
        assert isinstance(reply, Signal)
        assert reply.control[:4] == (31, self.REQUEST, pid(60), 0)


class TestNamesOfOurs:
    def ask(self, node: NodeSide, name: str, request: Term, tag: Term) -> list[Signal | str]:
        message = (Atom("$gen_call"), (pid(60), tag), request)
        return node.send((6, pid(60), Atom(""), Atom(name)), message)

    def test_ping(self, node: NodeSide) -> None:
        ping = (Atom("is_auth"), PEER)
        assert self.ask(node, "net_kernel", ping, reference(1)) == [
            Signal((2, Atom(""), pid(60)), (reference(1), Atom("yes")))
        ]

    def test_the_answer_goes_to_an_alias(self, node: NodeSide) -> None:
        tag = ImproperList((Atom("alias"),), reference(1))
        (answer,) = self.ask(node, "net_kernel", (Atom("is_auth"), PEER), tag)
        assert isinstance(answer, Signal)
        operation, sender, alias = answer.control
        assert (operation, alias) == (33, reference(1))
        assert sender.node == OUR_NAME
        assert answer.payload == (tag, Atom("yes"))

    def test_rex(self, node: NodeSide) -> None:
        request = (Atom("call"), *TestSpawnOnUs.WHEREIS, pid(60))
        assert self.ask(node, "rex", request, reference(1)) == [
            Signal((2, Atom(""), pid(60)), (reference(1), Atom("undefined")))
        ]

    def test_a_name_that_is_none(self, node: NodeSide) -> None:
        assert self.ask(node, "iris_router", Atom("status"), reference(1)) == []
        # By whatever term.
        assert node.send((6, pid(60), Atom(""), [1]), Atom("x")) == []


def io_request(node: NodeSide, to: Pid, request: Term, *, operation: int = 22) -> list[Signal | str]:
    """A request from process 50 to a group leader, as `io` makes it."""
    message = (Atom("io_request"), pid(50), reference(8), request)
    return node.send((operation, pid(50) if operation != 2 else Atom(""), to), message)


def io_reply(reply: Term) -> Signal:
    return Signal((2, Atom(""), pid(50)), (Atom("io_reply"), reference(8), reply))


def put(text: str) -> Term:
    return Atom("put_chars"), Atom("unicode"), text.encode()


def print_format(node: NodeSide, request: Signal) -> list[Signal | str]:
    printed = (Atom("put_chars"), Atom("unicode"), Atom("io_lib"), Atom("format"), [charlist("~p"), [1]])
    return io_request(node, request.control[2], printed)


class TestGroupLeader:
    @pytest.mark.parametrize("operation", [22, 2])
    def test_output_is_captured(self, node: NodeSide, operation: int) -> None:
        call_id, request = node.running_call(50, capture=True)
        for text in ("Grüße ", "€\n"):
            assert io_request(node, request.control[2], put(text), operation=operation) == [io_reply(OK)]
        node.exited(request, 50, RETURN, OK)
        assert node.ended() == [(call_id, Returned(OK), "Grüße €\n")]

    def test_nothing_printed(self, node: NodeSide) -> None:
        call_id, request = node.running_call(50, capture=True)
        node.exited(request, 50, RETURN, OK)
        assert node.ended() == [(call_id, Returned(OK), "")]

    def test_without_capture_requests_are_answered_all_the_same(self, node: NodeSide) -> None:
        call_id, request = node.running_call(50)
        assert io_request(node, request.control[2], put("text")) == [io_reply(OK)]
        assert print_format(node, request) == [io_reply(OK)]
        assert io_request(node, request.control[2], (Atom("get_line"), [])) == [io_reply(Atom("eof"))]
        node.exited(request, 50, RETURN, OK)
        assert node.ended() == [(call_id, Returned(OK), None)]

    def test_output_before_the_pid_is_known(self, node: NodeSide) -> None:
        # It cannot happen between two processes of a node, but may with a process that another node has spawned.
        call_id, request = node.call(capture=True)
        assert io_request(node, request.control[2], put("early")) == [io_reply(OK)]
        node.spawned(request, 50)
        node.exited(request, 50, RETURN, OK)
        assert node.ended() == [(call_id, Returned(OK), "early")]

    def test_what_a_failed_call_has_printed(self, node: NodeSide) -> None:
        call_id, request = node.running_call(50, capture=True)
        io_request(node, request.control[2], put("so far"))
        node.exited(request, 50, Atom("exit"), Atom("a"))
        assert node.ended() == [(call_id, Failed("exit", Atom("a")), "so far")]

    def test_a_text_is_made_by_the_node(self, node: NodeSide) -> None:
        call_id, request = node.running_call(50, capture=True)
        (made,) = print_format(node, request)
        assert isinstance(made, Signal)
        assert made.payload[1:] == [Atom("io_lib"), Atom("format"), [charlist("~p"), [1]]]
        assert io_request(node, request.control[2], put(" after")) == []
        node.spawned(made, 51)
        assert node.exited(made, 51, RETURN, [b"1"]) == [io_reply(OK), io_reply(OK)]
        node.exited(request, 50, RETURN, OK)
        assert node.ended() == [(call_id, Returned(OK), "1 after")]

    @pytest.mark.parametrize(
        "reason", [(Atom("error"), Atom("badarg"), []), (Atom("killed"),), (RETURN, Atom("no_text"))]
    )
    def test_a_text_that_cannot_be_made(self, node: NodeSide, reason: tuple[Term, ...]) -> None:
        call_id, request = node.running_call(50, capture=True)
        (made,) = print_format(node, request)
        assert isinstance(made, Signal)
        node.spawned(made, 51)
        assert node.exited(made, 51, *reason) == [io_reply((Atom("error"), Atom("request")))]
        node.exited(request, 50, RETURN, OK)
        assert node.ended() == [(call_id, Returned(OK), "")]

    def test_a_text_whose_bytes_are_no_term(self, node: NodeSide) -> None:
        # What is wrong with one text must not end the connection, and all other calls with it.
        call_id, request = node.running_call(50, capture=True)
        (made,) = print_format(node, request)
        assert isinstance(made, Signal)
        node.spawned(made, 51)
        message = b"\x83D\0" + encode_term((24, pid(51), made.control[2])) + b"\xff"
        assert node.send_bytes(len(message).to_bytes(4, "big") + message) == [
            io_reply((Atom("error"), Atom("request")))
        ]
        node.exited(request, 50, RETURN, OK)
        assert node.ended() == [(call_id, Returned(OK), "")]

    def test_the_caller_is_killed_while_its_text_is_made(self, node: NodeSide) -> None:
        call_id, request = node.running_call(50, capture=True)
        (made,) = print_format(node, request)
        node.exited(request, 50, Atom("killed"))
        assert isinstance(made, Signal)
        node.spawned(made, 51)
        assert node.exited(made, 51, RETURN, b"1") == []
        assert node.ended() == [(call_id, Failed("killed", Atom("killed")), "")]

    def test_a_request_to_a_call_that_has_ended_is_answered(self, node: NodeSide) -> None:
        _, request = node.running_call(50, capture=True)
        node.exited(request, 50, RETURN, OK)
        refusal = io_reply((Atom("error"), Atom("terminated")))
        assert io_request(node, request.control[2], put("late")) == [refusal]
        assert io_request(node, NOBODY, put("late")) == [refusal]

    def test_a_request_to_a_call_that_was_cancelled_is_answered(self, node: NodeSide) -> None:
        call_id, request = node.running_call(50, capture=True)
        node.connection.cancel(call_id, 0.0)
        node.received()
        assert io_request(node, request.control[2], put("late")) == [io_reply((Atom("error"), Atom("terminated")))]

    def test_a_message_that_is_no_request(self, node: NodeSide) -> None:
        _, request = node.running_call(50, capture=True)
        for message in (Atom("hello"), (Atom("io_request"), 1, 2, 3), Map([([1], 2)])):
            assert node.send((22, pid(50), request.control[2]), message) == []
            assert node.send((22, pid(50), NOBODY), message) == []

    def test_output_has_a_bound(self, node: NodeSide, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(io_protocol, "MAX_CAPTURED", 10)
        call_id, request = node.running_call(50, capture=True)
        for _ in range(5):
            assert io_request(node, request.control[2], put("12345678")) == [io_reply(OK)]
        node.exited(request, 50, RETURN, OK)
        assert node.ended() == [(call_id, Returned(OK), "1234567812\n… 30 more characters were not kept\n")]


_OPERATIONS = [1, 2, 3, 6, 7, 8, 12, 13, 16, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36]
_ARITIES = {1: 2, 2: 2, 3: 3, 6: 3, 7: 2, 8: 3, 12: 3, 13: 4, 16: 4, 18: 4, 19: 3, 20: 3, 21: 4, 22: 2, 23: 3}
_ARITIES |= {24: 2, 25: 3, 26: 2, 27: 3, 28: 3, 29: 5, 30: 6, 31: 4, 32: 5, 33: 2, 34: 3, 35: 3, 36: 3}


class TestAnyPeer:
    @given(st.data(), st.sampled_from(_OPERATIONS))
    def test_any_terms_in_any_signal(self, data: st.DataObject, operation: int) -> None:
        node = NodeSide()
        _, request = node.running_call(50, capture=True)
        element = st.one_of(
            st.sampled_from([request.control[2], pid(50), NOBODY, Atom("rex"), request.control[1], LINK, EXECUTE_CALL]),
            terms(),
        )
        arity = _ARITIES[operation]
        elements = data.draw(st.lists(element, min_size=arity, max_size=arity))
        node.send((operation, *elements), data.draw(st.one_of(terms(), _messages(element))))
        # It was understood or refused; the state machine goes on or says that it does not.
        assert node.connection.is_open or isinstance(node.events()[-1], Lost)

    @given(st.binary(max_size=80))
    def test_any_bytes(self, data: bytes) -> None:
        node = NodeSide()
        node.running_call(50)
        node.send_bytes(b"\0\0\0" + bytes((3 + len(data),)) + b"\x83D\0" + data)
        node.send_bytes(data)
        assert node.connection.is_open or isinstance(node.events()[-1], Lost)


def _messages(element: st.SearchStrategy[Term]) -> st.SearchStrategy[Term]:
    """Messages that look like those which we read."""
    return st.one_of(
        st.tuples(st.just(Atom("io_request")), st.just(pid(50)), element, st.one_of(element, _io_requests(element))),
        st.tuples(st.just(Atom("$gen_call")), st.tuples(st.just(pid(50)), element), element),
        st.lists(element, min_size=4, max_size=4),
    )


def _io_requests(element: st.SearchStrategy[Term]) -> st.SearchStrategy[Term]:
    put_chars = st.just(Atom("put_chars"))
    unicode = st.just(Atom("unicode"))
    return st.one_of(
        st.tuples(put_chars, element),
        st.tuples(put_chars, unicode, element),
        st.tuples(put_chars, unicode, st.just(Atom("m")), st.just(Atom("f")), st.lists(element, max_size=2)),
        st.tuples(st.just(Atom("requests")), st.lists(element, max_size=3)),
        st.tuples(element, element),
    )
