"""The group leader: every request gets one answer, and what is printed keeps its order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_admin.proto import io_protocol
from iris_admin.proto.io_protocol import Answer, Format, GroupLeader, chardata_to_str
from iris_admin.terms import Atom, ImproperList, Map, Pid, Reference, Term, charlist

NODE = Atom("db1@127.0.0.1")
CALLER = Pid(NODE, 90, 0, 7)
OTHER = Pid(NODE, 91, 0, 7)
REF = Reference(NODE, 7, (1, 2, 3))
OK = Atom("ok")
UNICODE = Atom("unicode")
LATIN1 = Atom("latin1")
PUT_CHARS = Atom("put_chars")
REQUEST_ERROR = (Atom("error"), Atom("request"))
FORMAT_ARGS = [charlist("~p~n"), [42]]


def put(text: str) -> Term:
    return PUT_CHARS, UNICODE, text.encode()


def put_format(args: Term = FORMAT_ARGS, encoding: Atom = UNICODE) -> Term:
    return PUT_CHARS, encoding, Atom("io_lib"), Atom("format"), args


def requests(*several: Term) -> Term:
    return Atom("requests"), list(several)


def io_request(request: Term, caller: Pid = CALLER, reply_as: Term = REF) -> Term:
    return Atom("io_request"), caller, reply_as, request


def replies(leader: GroupLeader, *sent: Term, texts: tuple[Term, ...] = ()) -> list[Term]:
    """The replies to requests that come one after the other; texts are made at once."""
    found = []
    made = iter(texts)
    for request in sent:
        assert leader.receive(io_request(request))
        while (step := leader.proceed()) is not None:
            if isinstance(step, Format):
                answer = leader.formatted(next(made))
                found += [answer.reply] if answer is not None else []
            else:
                found.append(step.reply)
    return found


class TestOutput:
    @pytest.mark.parametrize(
        ("request_", "text"),
        [
            ((PUT_CHARS, UNICODE, "Grüße €\n".encode()), "Grüße €\n"),
            ((PUT_CHARS, UNICODE, charlist("Grüße €\n")), "Grüße €\n"),
            ((PUT_CHARS, UNICODE, [b"a", [98, [b"c"]], 0x1F600]), "abc😀"),
            ((PUT_CHARS, UNICODE, []), ""),
            ((PUT_CHARS, UNICODE, b""), ""),
            ((PUT_CHARS, LATIN1, b"Gr\xfc\xdfe"), "Grüße"),
            ((PUT_CHARS, LATIN1, charlist("Grüße")), "Grüße"),
            ((PUT_CHARS, b"Gr\xfc\xdfe"), "Grüße"),
            ((PUT_CHARS, UNICODE, ImproperList((97, [98]), b"c\xc3\xa9")), "abcé"),
            ((PUT_CHARS, UNICODE, [ImproperList((b"a",), b"b"), b"c"]), "abc"),
        ],
    )
    def test_text_is_kept(self, request_: Term, text: str) -> None:
        leader = GroupLeader(keep=True)
        assert replies(leader, request_) == [OK]
        assert leader.text() == text

    @pytest.mark.parametrize(
        "chars",
        [Atom("a"), [-1], [0x110000], [0xD800], [1.5], [b"a", (1,)], {}, ImproperList((97,), Atom("x")), REF],
    )
    def test_what_is_no_text_is_refused(self, chars: Term) -> None:
        leader = GroupLeader(keep=True)
        assert replies(leader, (PUT_CHARS, UNICODE, chars), put("after")) == [REQUEST_ERROR, OK]
        assert leader.text() == "after"

    def test_a_binary_that_is_no_utf_8_is_shown_as_far_as_it_can_be(self) -> None:
        leader = GroupLeader(keep=True)
        assert replies(leader, (PUT_CHARS, UNICODE, b"a\xffb")) == [OK]
        assert leader.text() == "a\N{REPLACEMENT CHARACTER}b"

    def test_nothing_is_kept_on_request(self) -> None:
        leader = GroupLeader(keep=False)
        # A text that nobody wants is not even made.
        assert replies(leader, put("x"), put_format(), (PUT_CHARS, UNICODE, Atom("a"))) == [OK, OK, REQUEST_ERROR]
        assert leader.text() == ""

    def test_what_is_kept_is_bounded_and_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(io_protocol, "MAX_CAPTURED", 10)
        leader = GroupLeader(keep=True)
        assert replies(leader, put("123456"), put("789012"), put("345")) == [OK, OK, OK]
        assert leader.text() == "1234567890\n… 5 more characters were not kept\n"

    def test_exactly_as_much_as_is_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(io_protocol, "MAX_CAPTURED", 10)
        leader = GroupLeader(keep=True)
        replies(leader, put("1234567890"))
        assert leader.text() == "1234567890"


class TestFormat:
    @pytest.mark.parametrize(
        "request_",
        [put_format(), put_format(encoding=LATIN1), (PUT_CHARS, Atom("io_lib"), Atom("format"), FORMAT_ARGS)],
    )
    def test_the_node_is_asked_for_the_text(self, request_: Term) -> None:
        leader = GroupLeader(keep=True)
        leader.receive(io_request(request_))
        assert leader.proceed() == Format(Atom("io_lib"), Atom("format"), FORMAT_ARGS)
        # Until it is made, nothing else happens.
        assert leader.proceed() is None
        assert leader.formatted([charlist("42"), 10]) is None
        assert leader.proceed() == Answer(CALLER, REF, OK)
        assert leader.proceed() is None
        assert leader.text() == "42\n"

    @pytest.mark.parametrize(("encoding", "text"), [(LATIN1, b"\xe9"), (UNICODE, b"\xc3\xa9")])
    def test_a_binary_is_read_in_the_encoding_of_its_request(self, encoding: Atom, text: bytes) -> None:
        leader = GroupLeader(keep=True)
        assert replies(leader, put_format(encoding=encoding), texts=(text,)) == [OK]
        assert leader.text() == "é"

    def test_other_requests_wait_for_it(self) -> None:
        leader = GroupLeader(keep=True)
        leader.receive(io_request(put_format(), reply_as=1))
        leader.receive(io_request(put("second"), OTHER, reply_as=2))
        assert isinstance(leader.proceed(), Format)
        leader.receive(io_request(put("third"), reply_as=3))
        assert leader.proceed() is None
        assert leader.formatted(b"first ") is None
        assert [leader.proceed() for _ in range(4)] == [
            Answer(CALLER, 1, OK),
            Answer(OTHER, 2, OK),
            Answer(CALLER, 3, OK),
            None,
        ]
        assert leader.text() == "first secondthird"

    @pytest.mark.parametrize("made", [None, Atom("a"), [Atom("a")]])
    def test_a_text_that_cannot_be_made(self, made: Term) -> None:
        leader = GroupLeader(keep=True)
        leader.receive(io_request(requests(put("a"), put_format(), put("b"))))
        assert isinstance(leader.proceed(), Format)
        assert leader.formatted(made) == Answer(CALLER, REF, REQUEST_ERROR)
        assert leader.proceed() is None
        assert replies(leader, put("c")) == [OK]
        assert leader.text() == "ac"


class TestSeveralRequests:
    def test_in_order_with_one_answer(self) -> None:
        leader = GroupLeader(keep=True)
        several = requests(put("1"), requests(put("2"), requests(), put("3")), put_format(), put("5"))
        assert replies(leader, several, texts=(b"4",)) == [OK]
        assert leader.text() == "12345"

    def test_none(self) -> None:
        assert replies(GroupLeader(keep=True), requests()) == [OK]

    def test_the_last_reply_is_the_answer(self) -> None:
        assert replies(GroupLeader(keep=True), requests(put("1"), Atom("getopts"))) == [
            [(Atom("binary"), False), (Atom("encoding"), UNICODE)]
        ]

    def test_an_error_ends_them(self) -> None:
        leader = GroupLeader(keep=True)
        assert replies(leader, requests(put("1"), Atom("unknown"), put("2")), put("3")) == [REQUEST_ERROR, OK]
        assert leader.text() == "13"

    def test_deeply_nested(self) -> None:
        leader = GroupLeader(keep=True)
        nested = put("x")
        for _ in range(50_000):
            nested = requests(nested)
        assert replies(leader, nested) == [OK]
        assert leader.text() == "x"


class TestOtherRequests:
    @pytest.mark.parametrize(
        ("request_", "reply"),
        [
            ((Atom("get_line"), UNICODE, charlist("> ")), Atom("eof")),
            ((Atom("get_line"), charlist("> ")), Atom("eof")),
            ((Atom("get_chars"), UNICODE, charlist("> "), 3), Atom("eof")),
            ((Atom("get_until"), UNICODE, [], Atom("io_lib"), Atom("fread"), [[]]), Atom("eof")),
            ((Atom("get_password"), UNICODE), Atom("eof")),
            ((Atom("get_geometry"), Atom("columns")), (Atom("error"), Atom("enotsup"))),
            ((Atom("get_geometry"), Atom("rows")), (Atom("error"), Atom("enotsup"))),
            ((Atom("setopts"), [(Atom("echo"), False)]), (Atom("error"), Atom("enotsup"))),
            (Atom("getopts"), [(Atom("binary"), False), (Atom("encoding"), UNICODE)]),
            (Atom("something_new"), REQUEST_ERROR),
            ((Atom("put_chars"),), REQUEST_ERROR),
            ((Atom("put_chars"), Atom("utf16"), b"x"), REQUEST_ERROR),
            ((Atom("put_chars"), UNICODE, Atom("m"), Atom("f"), Atom("no_list")), REQUEST_ERROR),
            ((Atom("requests"), Atom("no_list")), REQUEST_ERROR),
            ((), REQUEST_ERROR),
            (42, REQUEST_ERROR),
            (Map([([], 1)]), REQUEST_ERROR),
            (([1], 2), REQUEST_ERROR),
        ],
    )
    def test_each_gets_its_answer(self, request_: Term, reply: Term) -> None:
        leader = GroupLeader(keep=True)
        assert replies(leader, request_) == [reply]
        assert leader.text() == ""

    @pytest.mark.parametrize(
        "message",
        [
            Atom("hello"),
            (Atom("io_request"), CALLER, REF),
            (Atom("io_request"), Atom("no_pid"), REF, put("x")),
            (Atom("io_reply"), REF, OK),
        ],
    )
    def test_a_message_that_is_no_request(self, message: Term) -> None:
        leader = GroupLeader(keep=True)
        assert not leader.receive(message)
        assert leader.proceed() is None

    def test_the_answer_repeats_the_callers_mark(self) -> None:
        leader = GroupLeader(keep=True)
        leader.receive(io_request(put("x"), reply_as=(1, [2])))
        answer = leader.proceed()
        assert isinstance(answer, Answer)
        assert answer.message() == (Atom("io_reply"), (1, [2]), OK)
        assert answer.to == CALLER


_chardata: Any = st.recursive(
    st.one_of(st.integers(0, 0x10FFFF).filter(lambda c: not 0xD800 <= c < 0xE000), st.text(max_size=5).map(str.encode)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.builds(
            lambda items, tail: ImproperList(tuple(items), tail.encode()),
            st.lists(inner, min_size=1, max_size=3),
            st.text(max_size=3),
        ),
    ),
)


def _text_of(chardata: Term) -> str:
    if isinstance(chardata, int):
        return chr(chardata)
    if isinstance(chardata, bytes):
        return chardata.decode()
    if isinstance(chardata, list):
        return "".join(map(_text_of, chardata))
    return "".join(map(_text_of, chardata.elements)) + _text_of(chardata.tail)


class TestChardata:
    @given(st.lists(_chardata, max_size=4))
    def test_any(self, chardata: Term) -> None:
        assert chardata_to_str(chardata, "utf-8") == _text_of(chardata)

    def test_nesting_has_no_limit(self) -> None:
        nested: Term = b"x"
        for _ in range(100_000):
            nested = [nested]
        assert chardata_to_str(nested, "utf-8") == "x"

    def test_what_is_text_can_be_written_as_utf_8(self) -> None:
        assert chardata_to_str([0xDFFF], "utf-8") is None
        assert chardata_to_str(["\ue000".encode(), 0xD7FF], "utf-8") == "\ue000\ud7ff"

    def test_true_is_an_atom_and_no_character(self) -> None:
        assert chardata_to_str([True], "utf-8") is None


def test_requests_beyond_a_limit_are_refused_while_a_text_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(io_protocol, "MAX_WAITING", 3)
    leader = GroupLeader(keep=True)
    assert leader.receive(io_request(put_format()))
    assert isinstance(leader.proceed(), Format)
    for number in range(5):
        assert leader.receive(io_request(put(str(number)), reply_as=number))
    refused = [leader.proceed() for _ in range(4)]
    assert refused == [
        Answer(CALLER, 2, REQUEST_ERROR),
        Answer(CALLER, 3, REQUEST_ERROR),
        Answer(CALLER, 4, REQUEST_ERROR),
        None,
    ]
    assert leader.formatted(b"text") is None
    assert [leader.proceed() for _ in range(4)] == [
        Answer(CALLER, REF, OK),
        Answer(CALLER, 0, OK),
        Answer(CALLER, 1, OK),
        None,
    ]
    assert leader.text() == "text01"


def test_many_small_pieces_of_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(io_protocol, "_MANY_PIECES", 3)
    leader = GroupLeader(keep=True)
    assert replies(leader, *(put(str(number)) for number in range(10))) == [OK] * 10
    assert leader.text() == "0123456789"
