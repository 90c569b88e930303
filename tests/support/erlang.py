"""Real Erlang nodes for the tests.

Each run has an EPMD of its own on a free port, each node a random cookie and a home directory of its own, so that
neither the Erlang of the machine nor another test run is touched. A node can be asked over its standard input
(:meth:`ErlangNode.evaluate`), without the distribution protocol: what it says there is what iris_admin is compared
with.

A node and an EPMD end when their standard input does, so even a test run that was killed leaves no process behind.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import os
import queue
import secrets
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict, Unpack

import pytest

#: How long a process may take to come up or go down, in seconds; on a busy machine a node takes two.
PATIENCE = 60.0

#: Reads requests, one a line (in Elixir a binary), from standard input and prints one line for each. The tag, which is
#: random, tells these lines from everything else that the node prints.
_CONSOLE = """
Tag = "%(tag)s",
Answer = fun(Status, Data) -> io:put_chars(user, [Tag, " ", Status, " ", base64:encode(Data), "\\n"]) end,
Text = fun(Term) -> unicode:characters_to_binary(io_lib:format("~0tp", [Term])) end,
Evaluate = fun(Format, Source) ->
    try
        {ok, Tokens, _} = erl_scan:string(unicode:characters_to_list(base64:decode(Source))),
        {ok, Expressions} = erl_parse:parse_exprs(Tokens),
        {value, Value, _} = erl_eval:exprs(Expressions, []),
        {"value", case Format of "text" -> Text(Value); "bytes" -> iolist_to_binary(Value) end}
    catch
        Class:Reason:Stack -> {"exception", Text({Class, Reason, Stack})}
    end
end,
Console = fun Next() ->
    case io:get_line(user, "") of
        Line when is_list(Line); is_binary(Line) ->
            [Format, Source] = string:lexemes(unicode:characters_to_list(Line), " \\n"),
            {Status, Data} = Evaluate(Format, Source),
            Answer(Status, Data),
            Next();
        _ ->
            erlang:halt(0)
    end
end,
spawn(fun() -> Answer("ready", Text(ready)), Console() end).
"""

#: Runs a command until standard input ends.
_UNTIL_INPUT_ENDS = """
exec 3<&0
"$@" 3<&- </dev/null &
exec >/dev/null 2>&1
read -r _ <&3
kill "$!"
wait "$!"
"""

_names = itertools.count(1)


class ErlangNodeError(AssertionError):
    """A node or an EPMD did not do what the test needs of it."""


class ErlangException(ErlangNodeError):
    """The evaluated expression failed; the message is ``{Class, Reason, Stack}`` as Erlang prints it."""


@dataclass(frozen=True)
class Otp:
    """An Erlang installation: the commands that start its programs."""

    erl: tuple[str, ...] = ("erl",)
    epmd: tuple[str, ...] = ("epmd",)


class _Process:
    """A child whose output is read all the time, so that it never blocks on a full pipe."""

    def __init__(self, command: Sequence[str], *, environment: dict[str, str], directory: Path | None = None) -> None:
        # A session of its own keeps the terminal's Ctrl-C for pytest, whose fixtures then stop the child properly.
        self.child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=directory,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._listener: tuple[str, queue.SimpleQueue[str | None]] | None = None
        self._reader = threading.Thread(target=self._read, name=f"output of {command[0]}", daemon=True)

    def listen(self, mark: str) -> queue.SimpleQueue[str | None]:
        """Start reading: lines that contain the mark go to the returned queue, and None when the output ends."""
        answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._listener = (mark, answers)
        self._reader.start()
        return answers

    def _read(self) -> None:
        assert self._listener is not None
        assert self.child.stdout is not None
        mark, answers = self._listener
        with self.child.stdout as output:
            for raw in output:
                line = raw.decode("utf-8", "replace").rstrip("\r\n")
                if mark in line:
                    answers.put(line)
                else:
                    self.lines.append(line)
        answers.put(None)

    def end(self, *, kill: bool) -> None:
        """Close its input or, if it does not end upon that or on request, kill it; then wait for it."""
        assert self.child.stdin is not None
        if kill:
            self.child.kill()
        with contextlib.suppress(BrokenPipeError):
            self.child.stdin.close()
        try:
            self.child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait(PATIENCE)
            raise ErlangNodeError(f"process {self.child.pid} had to be killed; it printed: {self.lines}") from None
        finally:
            self._reader.join(PATIENCE)


def _environment(epmd_port: int | None) -> dict[str, str]:
    """Our environment without what would change how Erlang starts."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("ERL_", "IRIS_")) and key != "XDG_CONFIG_HOME"
    }
    kept |= {"LC_ALL": "C.UTF-8", "ERL_CRASH_DUMP_SECONDS": "0"}
    if epmd_port is not None:
        kept["ERL_EPMD_PORT"] = str(epmd_port)
    return kept


def free_port(address: str = "127.0.0.1") -> int:
    """A TCP port on which nothing listens at the moment."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
    return port


class Epmd:
    """A running EPMD on a port of its own."""

    def __init__(self, port: int | None = None, otp: Otp | None = None) -> None:
        """Start it.

        :param port: None takes a free one.
        """
        self._otp = otp or Otp()
        self.port = port or free_port()
        # Each -d adds detail to what it prints; the second one includes the moment at which it begins to serve.
        command = ["sh", "-c", _UNTIL_INPUT_ENDS, "sh", *self._otp.epmd, "-port", str(self.port), "-d", "-d"]
        self._process = _Process(command, environment=_environment(None))
        serving = self._process.listen("entering the main select() loop")
        if serving.get(timeout=PATIENCE) is None:
            self.stop()
            raise ErlangNodeError(f"EPMD did not start on port {self.port}: {self._process.lines}")

    def names(self) -> dict[str, int]:
        """The registered names, without host, and their ports."""
        printed = subprocess.run(
            [*self._otp.epmd, "-port", str(self.port), "-names"], capture_output=True, text=True, check=True
        ).stdout
        # name NAME at port PORT
        words = [line.split() for line in printed.splitlines() if line.startswith("name ")]
        return {line[1]: int(line[4]) for line in words}

    def stop(self) -> None:
        """End it; the nodes that it knows live on."""
        self._process.end(kill=False)


def _by_elixir(command: Sequence[str], console: str) -> list[str]:
    """The command that starts the same node by ``elixir``, which splits the flags for ``erl`` at blanks."""
    _erl, kind, name, *flags = command
    run = (
        f'{{:ok, tokens, _}} = :erl_scan.string(String.to_charlist(Base.decode64!("{_base64(console)}")));'
        "{:ok, expressions} = :erl_parse.parse_exprs(tokens);"
        ":erl_eval.exprs(expressions, [])"
    )
    return ["elixir", f"-{kind}", name, "--erl", " ".join(flags), "--no-halt", "-e", run]


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")


class NodeOptions(TypedDict, total=False):
    """What :class:`ErlangNode` and :class:`NodeFactory` take by keyword.

    - ``flags``: further arguments of ``erl``
    - ``hidden``: start it with ``-hidden``
    - ``net_ticktime``: in seconds
    - ``mnesia``: start Mnesia, with a schema on disc
    - ``cookie``: instead of a random one
    - ``otp``: the installation to take it from
    - ``elixir``: start it by ``elixir``, which brings Elixir's applications
    """

    flags: Sequence[str]
    hidden: bool
    net_ticktime: int | None
    mnesia: bool
    cookie: str | None
    otp: Otp
    elixir: bool


class ErlangNode:
    """A running Erlang node.

    :ivar name: full name, e.g. ``test1@127.0.0.1``.
    :ivar cookie: the cookie; ``cookie_file`` has it too.
    :ivar epmd_port: the port of its EPMD, or None if it runs without.
    :ivar port: the distribution port.
    """

    def __init__(self, name: str, home: Path, epmd: Epmd | None, **options: Unpack[NodeOptions]) -> None:
        """Start it and wait until it can be asked.

        :param name: a host without a dot or colon makes it a short name; an IPv6 address makes it use IPv6.
        :param home: an existing directory, which becomes its home.
        :param epmd: None starts it without EPMD, on a free port.
        """
        self.name = name
        self.home = home
        self.cookie = options.get("cookie") or secrets.token_hex(12).upper()
        self.cookie_file = home / ".erlang.cookie"
        self.cookie_file.touch(mode=0o600)
        self.cookie_file.write_text(self.cookie, encoding="ascii")
        self.cookie_file.chmod(0o400)  # the node refuses a file that others may read
        self._epmd = epmd
        self.epmd_port = epmd.port if epmd else None
        host = name.partition("@")[2]
        self.port = 0 if epmd else free_port(host)
        self._options = options
        self._asking = threading.Lock()
        self._start()

    def _command(self, tag: str) -> list[str]:
        host = self.name.partition("@")[2]
        option = self._options
        command = [
            *option.get("otp", Otp()).erl,
            "-name" if "." in host or ":" in host else "-sname",
            self.name,
            # Nobody is to start the EPMD of the machine: ours runs already, or the node is to do without.
            *("-start_epmd", "false"),
        ]
        if self._epmd is None:
            command += ["-erl_epmd_port", str(self.port)]
        if ":" in host:
            command += ["-proto_dist", "inet6_tcp", "-kernel", "inet_dist_use_interface", "{0,0,0,0,0,0,0,1}"]
        elif host in ("127.0.0.1", "localhost"):
            command += ["-kernel", "inet_dist_use_interface", "{127,0,0,1}"]
        if option.get("hidden"):
            command.append("-hidden")
        if (net_ticktime := option.get("net_ticktime")) is not None:
            command += ["-kernel", "net_ticktime", str(net_ticktime)]
        if option.get("mnesia"):
            command += ["-mnesia", "dir", f'"{self.home / "mnesia"}"']
        command += option.get("flags", ())
        console = _CONSOLE % {"tag": tag}
        if option.get("elixir"):
            return _by_elixir(command, console)
        return [*command, "-noshell", "-eval", console]

    def _start(self) -> None:
        tag = f"answer-{secrets.token_hex(8)}"
        environment = _environment(self.epmd_port) | {"HOME": str(self.home)}
        self._process = _Process(self._command(tag), environment=environment, directory=self.home)
        self._answers = self._process.listen(tag)
        try:
            self._answer(PATIENCE)
            if self._epmd is not None:
                self.port = self._epmd.names()[self.name.partition("@")[0]]
            if self._options.get("mnesia"):
                self.evaluate(
                    "case mnesia:create_schema([node()]) of ok -> ok; {error, {_, {already_exists, _}}} -> ok end,"
                    "ok = mnesia:start()"
                )
        except BaseException:
            self.kill()
            raise

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead a client to this node."""
        lead = {"IRIS_ADMIN_COOKIE_FILE": str(self.cookie_file)}
        if self.epmd_port is None:
            name, _, host = self.name.partition("@")
            return lead | {"IRIS_ADMIN_NODE": f"{name}@{f'[{host}]' if ':' in host else host}:{self.port}"}
        return lead | {"IRIS_ADMIN_NODE": self.name, "ERL_EPMD_PORT": str(self.epmd_port)}

    @property
    def process_id(self) -> int:
        """The operating system's id of the node."""
        return self._process.child.pid

    @property
    def alive(self) -> bool:
        """Whether the node's process exists."""
        return self._process.child.poll() is None

    @property
    def output(self) -> list[str]:
        """The lines that the node has printed since it was last started, its log among them."""
        return list(self._process.lines)

    def evaluate(self, expression: str, timeout: float = PATIENCE) -> str:
        """Evaluate Erlang on the node, one expression after another, without the distribution protocol.

        They run in the same process each time, so what it owns, e.g. ETS tables, stays; variables do not.

        :param expression: one or several, separated by commas; the final dot may be left out.
        :param timeout: in seconds. A node that did not answer in time can only be stopped.
        :return: the value as ``~0tp`` prints it.
        :raises ErlangException: if the expression fails.
        :raises ErlangNodeError: if the node does not answer.
        """
        return self._ask("text", expression, timeout).decode()

    def evaluate_bytes(self, expression: str, timeout: float = PATIENCE) -> bytes:
        """Like :meth:`evaluate`, for a value that is a binary or iolist: its bytes."""
        return self._ask("bytes", expression, timeout)

    def _ask(self, form: str, expression: str, timeout: float) -> bytes:
        source = expression.rstrip()
        source += "" if source.endswith(".") else "."
        stdin = self._process.child.stdin
        assert stdin is not None
        with self._asking:
            try:
                stdin.write(f"{form} {_base64(source)}\n".encode())
                stdin.flush()
            except (BrokenPipeError, ValueError):  # it has ended, or we have closed its input
                raise ErlangNodeError(f"{self.name} is not running; it printed: {self.output}") from None
            return self._answer(timeout)

    def _answer(self, timeout: float) -> bytes:
        try:
            line = self._answers.get(timeout=timeout)
        except queue.Empty:
            raise ErlangNodeError(f"{self.name} did not answer in {timeout} s; it printed: {self.output}") from None
        if line is None:
            self._answers.put(None)  # for whoever asks next
            raise ErlangNodeError(f"{self.name} has ended; it printed: {self.output}")
        _, status, data = line.split(" ")
        value = base64.b64decode(data)
        if status == "exception":
            raise ErlangException(value.decode())
        return value

    def stop(self) -> None:
        """End the node in its own time; one that is suspended is resumed first."""
        if self.alive:
            self.resume()
        self._process.end(kill=False)

    def kill(self) -> None:
        """End the node at once, as a power cut would."""
        self._process.end(kill=True)

    def suspend(self) -> None:
        """Freeze the node (SIGSTOP): its port still accepts connections, but nobody answers."""
        self._process.child.send_signal(signal.SIGSTOP)
        # The signal takes effect when each of its threads has seen it.
        os.waitid(os.P_PID, self.process_id, os.WSTOPPED | os.WNOWAIT)

    def resume(self) -> None:
        """Let a suspended node go on."""
        self._process.child.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """Start the node again under the same name, with the same cookie and options; stop it first if it runs."""
        self.stop()
        self._start()


class NodeFactory:
    """Starts nodes, and stops all of them when its test ends."""

    def __init__(self, epmd: Epmd, make_directory: Callable[[], Path]) -> None:
        self.epmd = epmd
        self._make_directory = make_directory
        self._nodes: list[ErlangNode] = []

    def __call__(
        self,
        name: str | None = None,
        *,
        epmd: Epmd | Literal["shared", "none"] = "shared",
        **options: Unpack[NodeOptions],
    ) -> ErlangNode:
        """Start a node.

        :param name: None for a new one; without a host, the host is 127.0.0.1.
        :param epmd: instead of the one that the tests share; ``"none"`` starts a node that does without.
        """
        name = name or f"test{next(_names)}"
        known = {"shared": self.epmd, "none": None}
        node = ErlangNode(
            name if "@" in name else f"{name}@127.0.0.1",
            self._make_directory(),
            known[epmd] if isinstance(epmd, str) else epmd,
            **options,
        )
        self._nodes.append(node)
        return node

    def stop_all(self) -> None:
        """Stop whatever still runs."""
        with contextlib.ExitStack() as ending:
            for node in self._nodes:
                ending.callback(node.stop)
        self._nodes.clear()


@pytest.fixture(scope="session")
def erlang_epmd() -> Iterator[Epmd]:
    """The EPMD of this test run."""
    epmd = Epmd()
    yield epmd
    epmd.stop()


@pytest.fixture(scope="session")
def _session_nodes(erlang_epmd: Epmd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeFactory]:
    factory = NodeFactory(erlang_epmd, lambda: tmp_path_factory.mktemp("erlang"))
    yield factory
    factory.stop_all()


@pytest.fixture(scope="session")
def erlang_node(_session_nodes: NodeFactory) -> ErlangNode:
    """A plain node that all tests share: leave it as it was. For anything else there is ``fresh_node``."""
    return _session_nodes()


@pytest.fixture(scope="session")
def otp_release(erlang_node: ErlangNode) -> int:
    """The release of OTP that the nodes run, where an expectation depends on it."""
    return int(erlang_node.evaluate_bytes("erlang:system_info(otp_release)"))


@pytest.fixture
def fresh_node(erlang_epmd: Epmd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeFactory]:
    """Call it, as often as needed, to start a node for this test alone."""
    factory = NodeFactory(erlang_epmd, lambda: tmp_path_factory.mktemp("erlang"))
    yield factory
    factory.stop_all()
