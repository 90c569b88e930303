"""The Erlang I/O protocol, from the side of a group leader.

A called function that prints sends requests to its group leader and waits for each answer, so every request
must get one, or the caller hangs for good. (Source: the chapter "The Erlang I/O Protocol" of OTP's stdlib user's
guide.)
"""

from __future__ import annotations

from collections import deque

from iris_admin.records import record
from iris_admin.terms import Atom, Pid, Term

OK = Atom("ok")
_ENOTSUP = (Atom("error"), Atom("enotsup"))
_REQUEST_ERROR = (Atom("error"), Atom("request"))
_EOF = Atom("eof")
#: What a reader of a terminal that nobody sits at gets.
_INPUT_REQUESTS = frozenset({"get_line", "get_chars", "get_until", "get_password"})

#: Characters of captured text that are kept; the rest is dropped, and the end of the text says so.
MAX_CAPTURED = 16 << 20
#: Requests that may wait while the node makes a text; those beyond are refused, for it may never make it.
MAX_WAITING = 10_000
#: So many pieces of text are put together.
_MANY_PIECES = 1000


@record
class Format:
    """Text that only the node can make: the result of ``module:function(*args)``, as chardata."""

    module: Atom
    function: Atom
    args: list[Term]


@record
class Answer:
    """``{io_reply, reply_as, reply}``, to be sent to ``to``."""

    to: Pid
    reply_as: Term
    reply: Term

    def message(self) -> Term:
        """The reply as it is sent."""
        return Atom("io_reply"), self.reply_as, self.reply


class _Pending:
    __slots__ = ("reply_as", "requests", "to")

    def __init__(self, to: Pid, reply_as: Term, requests: deque[Term]) -> None:
        self.to = to
        self.reply_as = reply_as
        self.requests = requests


class GroupLeader:
    """The group leader of one call. Collects what is printed, in order.

    :param keep: whether the text is kept; without, it is dropped, but every request is answered all the same.
    """

    def __init__(self, *, keep: bool) -> None:
        self._keep = keep
        self._blocks: list[str] = []
        self._text: list[str] = []
        self._length = 0
        self._dropped = 0
        self._queue: deque[_Pending] = deque()
        self._refused: deque[Answer] = deque()
        #: The encoding of the text that is being made.
        self._formatting: str | None = None

    def text(self) -> str:
        """What was printed so far."""
        text = "".join(self._blocks) + "".join(self._text)
        return f"{text}\n… {self._dropped} more characters were not kept\n" if self._dropped else text

    def receive(self, message: Term) -> bool:
        """Take a message to the group leader; False if it is no I/O request.

        Follow up with :meth:`proceed`.
        """
        match message:
            case ("io_request", Pid() as to, reply_as, request):
                if len(self._queue) < MAX_WAITING:
                    self._queue.append(_Pending(to, reply_as, deque([request])))
                else:
                    self._refused.append(Answer(to, reply_as, _REQUEST_ERROR))
                return True
        return False

    def proceed(self) -> Answer | Format | None:
        """What to do next: send an answer, or have a text made and given to :meth:`formatted`."""
        if self._refused:
            return self._refused.popleft()
        while self._queue and self._formatting is None:
            head = self._queue[0]
            while head.requests:
                reply = self._handle(head, head.requests.popleft())
                if isinstance(reply, Format):
                    return reply
                if reply is not OK:
                    return self._answer(reply)
            return self._answer(OK)
        return None

    def formatted(self, chardata: Term | None) -> Answer | None:
        """Take the text that :class:`Format` asked for; None when it could not be made."""
        encoding, self._formatting = self._formatting or "utf-8", None
        if chardata is None or not self._put(chardata, encoding):
            return self._answer(_REQUEST_ERROR)
        return None

    def _answer(self, reply: Term) -> Answer:
        done = self._queue.popleft()
        return Answer(done.to, done.reply_as, reply)

    def _handle(self, pending: _Pending, request: Term) -> Term | Format:
        match request:
            case ("put_chars", "unicode" | "latin1" as encoding, Atom() as module, Atom() as function, list() as args):
                return self._format(module, function, args, "utf-8" if encoding == "unicode" else "latin-1")
            case ("put_chars", "unicode", chardata):
                return OK if self._put(chardata, "utf-8") else _REQUEST_ERROR
            case ("put_chars", "latin1", chardata):
                return OK if self._put(chardata, "latin-1") else _REQUEST_ERROR
            case ("put_chars", chardata):
                return OK if self._put(chardata, "latin-1") else _REQUEST_ERROR
            case ("put_chars", Atom() as module, Atom() as function, list() as args):
                return self._format(module, function, args, "latin-1")
            case ("requests", list() as requests):
                pending.requests.extendleft(reversed(requests))
                return OK
            case ("get_geometry", _) | ("setopts", _):
                return _ENOTSUP
            case "getopts":
                return [(Atom("binary"), False), (Atom("encoding"), Atom("unicode"))]
            case (Atom() as name, *_) if name in _INPUT_REQUESTS:
                return _EOF
        return _REQUEST_ERROR

    def _format(self, module: Atom, function: Atom, args: list[Term], encoding: str) -> Term | Format:
        # Having a text made costs the node a process, so it is not asked for in vain.
        if not self._keep:
            return OK
        self._formatting = encoding
        return Format(module, function, args)

    def _put(self, chardata: Term, encoding: str) -> bool:
        text = chardata_to_str(chardata, encoding)
        if text is None:
            return False
        if self._keep:
            kept = text[: MAX_CAPTURED - self._length]
            if kept:
                self._text.append(kept)
            if len(self._text) > _MANY_PIECES:
                # A text of one character is forty times as large as the character.
                self._blocks.append("".join(self._text))
                self._text.clear()
            self._length += len(kept)
            self._dropped += len(text) - len(kept)
        return True


def chardata_to_str(chardata: Term, encoding: str) -> str | None:
    """Text of an ``unicode:chardata()``: code points, binaries, and lists of both; None if it is none.

    :param encoding: of the binaries in it: ``utf-8`` or ``latin-1``.
    """
    parts: list[str] = []
    stack = [chardata]
    while stack:
        item = stack.pop()
        if type(item) is list:
            stack.extend(reversed(item))
        elif type(item) is int:
            # Surrogates are no characters, in Erlang as little as in UTF-8.
            if not 0 <= item <= 0x10FFFF or 0xD800 <= item <= 0xDFFF:
                return None
            parts.append(chr(item))
        elif type(item) is bytes:
            parts.append(item.decode(encoding, "replace"))
        elif hasattr(item, "elements") and hasattr(item, "tail"):  # an improper list that ends in a binary
            stack.append(item.tail)
            stack.extend(reversed(item.elements))
        else:
            return None
    return "".join(parts)
