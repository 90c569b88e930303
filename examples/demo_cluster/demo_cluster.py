"""Start and stop a small chat cluster of real Erlang nodes on this machine.

The nodes run the demo Iris next to this file: *core* nodes with Mnesia, offline messages and presence,
and *edge* nodes that hold client connections. Everything listens on 127.0.0.1 only, has an EPMD, a
cookie and a directory of its own, and ends with the process that started it.

As a library::

    with DemoCluster(cores=1, edges=2, hidden_edges=1) as cluster:
        cluster.store("bob", [b"hello"])
        print(cluster.cores[0].evaluate("mnesia:table_info(offline_msg, size)."))

As a command, until Ctrl-C::

    python examples/demo_cluster/demo_cluster.py --edges 2

Needs Erlang/OTP 25 or newer with Mnesia and crypto, and nothing from outside Python's library.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import itertools
import os
import queue
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, Self

Schema = Literal["bucketed", "bare"]
Role = Literal["core", "edge"]

SOURCES = Path(__file__).resolve().parent / "iris"
BUILD_ROOT = Path(__file__).resolve().parent / "_build"
LOOPBACK = "127.0.0.1"
START_TIMEOUT = 60.0  # seconds; generous, for a busy machine
STOP_TIMEOUT = 20.0  # seconds
# The host part of every node name. It needs no name service: every machine and container knows localhost.
HOST = "localhost"
# One scheduler, no busy waiting: a demo node should not be felt on the machine that it runs on.
EMULATOR_FLAGS = ("+S", "1:1", "+SDio", "1", "+A", "1", "+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none")


class DemoError(Exception):
    """A demo node could not be started, has died, or could not evaluate an expression."""


class DemoNode:
    """One Erlang node of a :class:`DemoCluster`; made by the cluster.

    :ivar name: full node name, for example ``iris_core1@localhost``.
    :ivar role: ``"core"`` or ``"edge"``.
    :ivar hidden: whether the node joins with ``-hidden``.
    :ivar port: TCP port for chat clients (edges; 0 on a core).
    :ivar ws_port: port for WebSocket clients (edges; 0 on a core).
    :ivar directory: the node's working directory, with its log, configuration and tables.
    """

    def __init__(self, name: str, role: Role, *, hidden: bool, directory: Path, command: Sequence[str]) -> None:
        self.name = name
        self.role = role
        self.hidden = hidden
        self.port = 0
        self.ws_port = 0
        self.directory = directory
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self._answers: dict[str, queue.SimpleQueue[tuple[str, str]]] = {}
        self._reader: threading.Thread | None = None

    def __repr__(self) -> str:
        return f"<DemoNode {self.name} {'running' if self.running else 'stopped'}>"

    @property
    def running(self) -> bool:
        """Whether the node's operating system process lives (also while it is suspended)."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The operating system's process id of the node.

        :raises DemoError: the node is not running.
        """
        if self._process is None or not self.running:
            raise DemoError(f"{self.name} is not running")
        return self._process.pid

    @property
    def log_file(self) -> Path:
        """What the node logs, its crash reports included."""
        return self.directory / "node.log"

    def evaluate(self, text: str, timeout: float = 30.0) -> str:
        """Evaluate Erlang expressions on the node, without using Erlang's distribution.

        They travel through the node's standard input, so the answer can be held against what a tool reports.

        :param text: expressions as for the Erlang shell, with the full stop: ``"erlang:memory(total)."``.
        :param timeout: seconds to wait for the answer.
        :returns: the value of the last expression as one line of text, as ``~0tp`` prints it.
        :raises DemoError: the expression failed, or the node is not running or died meanwhile.
        :raises TimeoutError: no answer in time.
        """
        answer: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        with self._lock:
            if self._process is None or self._process.stdin is None or not self.running:
                raise DemoError(f"{self.name} is not running")
            request_id = str(next(self._ids))
            self._answers[request_id] = answer
            try:
                self._process.stdin.write(f"{request_id} {_base64(text.encode())}\n".encode())
                self._process.stdin.flush()
            except BrokenPipeError:
                raise DemoError(f"{self.name} is not running") from None
        return self._await(request_id, answer, timeout, text)

    def _await(self, request_id: str, answer: queue.SimpleQueue[tuple[str, str]], timeout: float, what: str) -> str:
        try:
            outcome, value = answer.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError(f"{self.name} did not answer within {timeout} s: {what}") from None
        finally:
            self._answers.pop(request_id, None)
        if outcome != "ok":
            raise DemoError(f"{self.name}: {what}: {value}")
        return value

    def _boot(self, environment: Mapping[str, str]) -> None:
        """Start the emulator; :meth:`_wait_until_booted` tells when it answers."""
        ready: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._answers = {"ready": ready}
        with (self.directory / "stderr.log").open("ab") as stderr:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=self.directory,
                env=dict(environment),
                # Ctrl-C is for whoever started the cluster, who then stops the nodes in order.
                start_new_session=True,
            )
        assert self._process.stdout is not None
        self._reader = threading.Thread(
            target=self._read, args=(self._process.stdout, self._answers), name=f"stdout of {self.name}", daemon=True
        )
        self._reader.start()

    def _wait_until_booted(self) -> None:
        self._await("ready", self._answers["ready"], START_TIMEOUT, f"start (see {self.directory})")

    def _read(self, stdout: IO[bytes], answers: dict[str, queue.SimpleQueue[tuple[str, str]]]) -> None:
        with stdout:
            for line in stdout:
                words = line.decode(errors="replace").split()
                match words:
                    case ["demo_console", "ready"]:
                        # It says so again when it is restarted within its process.
                        if "ready" in answers:
                            answers["ready"].put(("ok", ""))
                    case ["demo_console", request_id, outcome, encoded]:
                        waiting = answers.get(request_id)
                        if waiting is not None:
                            waiting.put((outcome, base64.b64decode(encoded).decode()))
        for waiting in list(answers.values()):
            waiting.put(("gone", "the node has stopped"))

    def _start_application(self) -> None:
        started = self.evaluate(f"application:ensure_all_started(iris_{self.role}).", START_TIMEOUT)
        if not started.startswith("{ok,"):
            raise DemoError(f"{self.name}: iris_{self.role} does not start: {started}")
        if self.role == "edge":
            self.port = int(self.evaluate("iris_edge_listener:port(iris_edge_conn)."))
            self.ws_port = int(self.evaluate("iris_edge_listener:port(iris_ws_lite)."))

    def _keep_ports(self) -> None:
        """Make the node open the same ports again when it is restarted."""
        if self.role == "edge":
            self._command += ["-iris_edge", "port", str(self.port), "ws_port", str(self.ws_port)]

    def _signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def _end(self, *, gracefully: bool) -> None:
        process = self._process
        if process is None:
            return
        if gracefully and process.stdin is not None:
            process.stdin.close()
            try:
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
        else:
            process.kill()
        process.wait()
        if process.stdin is not None and not process.stdin.closed:
            # A request may still have been on its way to the node.
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        if self._reader is not None:
            self._reader.join(STOP_TIMEOUT)


class DemoCluster:
    """A running cluster; use it as a context manager, or call :meth:`start` and :meth:`close`.

    :param cores: number of core nodes, named ``iris_core1``, ``iris_core2``, …; Mnesia is replicated over them.
    :param edges: number of edge nodes, named ``iris_edge1``, ``iris_edge2``, …
    :param hidden_edges: how many of the edges, counted from the last, join with ``-hidden``.
    :param redeliver_exported: whether ``iris_offline_storage`` exports ``redeliver/1``.
    :param schema: key of ``offline_msg``: ``"bucketed"`` for ``{User, Bucket}``, ``"bare"`` for ``User``.
    :param ack_timeout_ms: milliseconds after which an edge stores an unacknowledged message again. Edges count in
        whole seconds, so the real time is up to 1 s longer, and by up to half of this time (at most 5 s) later still.
    :param net_ticktime: seconds; ``None`` for Erlang's own 60.
    :param directory: where nodes keep their files; ``None`` for a temporary one that is removed at the end.
    :param cookie: the cluster's cookie; ``None`` for a random one.
    :param epmd_port: port of the cluster's own EPMD; ``None`` for any free one.
    :param core_env: further settings of the application ``iris_core`` as Erlang text, for example
        ``{"durability_mode": "cluster"}``.
    :param edge_env: the same for ``iris_edge``.
    :param emulator_flags: further flags of every node's ``erl``, for example ``("+zdntgc", "0")``.
    """

    def __init__(
        self,
        cores: int = 1,
        edges: int = 2,
        hidden_edges: int = 1,
        *,
        redeliver_exported: bool = False,
        schema: Schema = "bucketed",
        ack_timeout_ms: int = 10_000,
        net_ticktime: int | None = None,
        directory: Path | str | None = None,
        cookie: str | None = None,
        epmd_port: int | None = None,
        core_env: Mapping[str, str] | None = None,
        edge_env: Mapping[str, str] | None = None,
        emulator_flags: Sequence[str] = (),
    ) -> None:
        if cores < 1 or not 0 <= hidden_edges <= edges:
            raise ValueError("a cluster needs at least one core, and cannot have more hidden edges than edges")
        self.redeliver_exported = redeliver_exported
        self.schema: Schema = schema
        self.ack_timeout_ms = ack_timeout_ms
        self._emulator_flags = tuple(emulator_flags)
        self._temporary = directory is None
        self.directory = Path(directory or tempfile.mkdtemp(prefix="iris-demo-")).resolve()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.cookie_file = self.directory / ".erlang.cookie"
        self.cookie = self._prepare_cookie(cookie)
        self.epmd_port = epmd_port or _free_port()
        self._epmd: subprocess.Popen[bytes] | None = None
        core_names = [f"iris_core{number}@{HOST}" for number in range(1, cores + 1)]
        settings = {
            "kernel": {
                "inet_dist_use_interface": "{127,0,0,1}",
                **({} if net_ticktime is None else {"net_ticktime": str(net_ticktime)}),
                "logger": '[{handler, default, logger_std_h, #{config => #{file => "node.log"}}}]',
            },
            "mnesia": {"dir": '"mnesia"'},
            "iris_core": {"offline_schema": schema, "join_seeds": _erlang_atoms(core_names), **(core_env or {})},
            "iris_edge": {
                "ack_timeout_ms": str(ack_timeout_ms),
                "core_nodes": _erlang_atoms(core_names),
                **(edge_env or {}),
            },
        }
        build = compile_sources(redeliver_exported=redeliver_exported)
        self.cores = tuple(self._make_node(name, "core", False, build, settings) for name in core_names)
        self.edges = tuple(
            self._make_node(f"iris_edge{number}@{HOST}", "edge", number > edges - hidden_edges, build, settings)
            for number in range(1, edges + 1)
        )

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<DemoCluster {', '.join(node.name for node in self.nodes)}; EPMD on port {self.epmd_port}>"

    @property
    def nodes(self) -> tuple[DemoNode, ...]:
        """All nodes, cores first."""
        return self.cores + self.edges

    @property
    def seed(self) -> str:
        """The name to connect to first: that of the first core."""
        return self.cores[0].name

    @property
    def environment(self) -> dict[str, str]:
        """What a tool or another Erlang node needs in its environment to find this cluster."""
        return {
            "IRIS_ADMIN_NODE": self.seed,
            "IRIS_ADMIN_COOKIE_FILE": str(self.cookie_file),
            "ERL_EPMD_PORT": str(self.epmd_port),
        }

    def start(self) -> Self:
        """Start EPMD and all nodes, and return when every one of them serves.

        :raises DemoError: something did not start; what had been started is stopped again.
        """
        try:
            self._start_epmd()
            # Booting takes longest and needs no order; joining does: cores one by one, then the edges.
            for node in self.nodes:
                node._boot(self._node_environment())
            for node in self.nodes:
                node._wait_until_booted()
            for node in self.cores:
                node._start_application()
            if self.edges:
                with ThreadPoolExecutor(len(self.edges)) as pool:
                    list(pool.map(lambda edge: edge._start_application(), self.edges))
            for node in self.nodes:
                node._keep_ports()
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Stop all nodes and EPMD, and remove the temporary directory. May be called more than once."""
        for node in self.nodes:
            # Nobody will read the tables of a temporary directory again, so there is nothing to wait for.
            node._end(gracefully=not self._temporary and not _is_stopped(node))
        if self._epmd is not None:
            assert self._epmd.stdin is not None
            self._epmd.stdin.close()
            self._epmd.wait()
            self._epmd = None
        if self._temporary:
            shutil.rmtree(self.directory, ignore_errors=True)

    def node(self, name: str) -> DemoNode:
        """The node of that name, with or without its host part.

        :raises KeyError: there is none.
        """
        for node in self.nodes:
            if name in (node.name, node.name.partition("@")[0]):
                return node
        raise KeyError(name)

    def stop_node(self, node: DemoNode | str) -> None:
        """Shut one node down in an orderly way, as ``init:stop()`` does."""
        self._resolve(node)._end(gracefully=True)

    def kill_node(self, node: DemoNode | str) -> None:
        """End one node at once, as a crash of the machine would (SIGKILL)."""
        self._resolve(node)._end(gracefully=False)

    def suspend_node(self, node: DemoNode | str) -> None:
        """Let one node hang (SIGSTOP): its connections stay open and nothing answers."""
        suspended = self._resolve(node)
        suspended._signal(signal.SIGSTOP)
        # Each of its threads stops when the kernel next looks at it; on a busy machine it may answer until then.
        os.waitid(os.P_PID, suspended.pid, os.WSTOPPED)

    def resume_node(self, node: DemoNode | str) -> None:
        """Let a suspended node go on (SIGCONT)."""
        self._resolve(node)._signal(signal.SIGCONT)

    def restart_node(self, node: DemoNode | str) -> None:
        """Start a node that was stopped or killed; one that runs is stopped first.

        It keeps its name, ports and tables, and every edge that runs is connected to every core that runs.

        :raises DemoError: the node does not start.
        """
        resolved = self._resolve(node)
        resolved._end(gracefully=True)
        resolved._boot(self._node_environment())
        resolved._wait_until_booted()
        resolved._start_application()
        for edge in self.edges:
            for core in self.cores:
                if edge.running and core.running:
                    edge.evaluate(f"net_adm:ping('{core.name}').")

    def store(self, user: str | bytes, payloads: Iterable[bytes]) -> None:
        """Store messages for a user, in this order, and return when they are in the table ``offline_msg``.

        It happens on the core and whether or not the user is online: this is also how messages come to lie in the
        store while their receiver is connected, because the core's presence entry has expired meanwhile.

        :raises DemoError: a message was not stored.
        """
        # Rows are ordered by a timestamp in milliseconds, so each message gets one of its own.
        expression = (
            f"User = {_erlang_binary(user)}, "
            "lists:foreach(fun(Msg) -> ok = iris_core:store_offline_durable(User, Msg), timer:sleep(1) end, "
            f"[{', '.join(_erlang_binary(payload) for payload in payloads)}]), "
            "iris_durable_batcher:force_flush()."
        )
        self.cores[0].evaluate(expression)

    def stored(self, user: str | bytes) -> list[bytes]:
        """Read, without removing anything, what ``offline_msg`` holds for a user, oldest first.

        Rows that wait in a core's write-ahead log are flushed to the table before.
        """
        expression = (
            f"ok = iris_durable_batcher:force_flush(), User = {_erlang_binary(user)}, "
            "[base64:encode(Msg) || Msg <- iris_offline_storage:retrieve_lockfree(User, "
            "iris_core:get_bucket_count(User))]."
        )
        for core in self.cores[1:]:
            if core.running:
                core.evaluate("iris_durable_batcher:force_flush().")
        text = self.cores[0].evaluate(expression)
        return [base64.b64decode(encoded) for encoded in re.findall(r'<<"([A-Za-z0-9+/=]*)">>', text)]

    def wait_until_stored(self, user: str | bytes, count: int, timeout: float = 30.0) -> list[bytes]:
        """Wait until ``offline_msg`` holds at least that many messages for a user, and return them, oldest first.

        :param timeout: seconds.
        :raises TimeoutError: there are fewer.
        """
        expression = (
            f"User = {_erlang_binary(user)}, "
            "Wait = fun Wait() -> "
            "case length(iris_offline_storage:retrieve_lockfree(User, iris_core:get_bucket_count(User))) of "
            f"Enough when Enough >= {count} -> ok; "
            "_ -> receive {mnesia_table_event, _} -> Wait() "
            f"after {int(timeout * 1000)} -> timeout end end end, "
            "{ok, _} = mnesia:subscribe({table, offline_msg, simple}), Wait()."
        )
        if self.cores[0].evaluate(expression, timeout + START_TIMEOUT) != "ok":
            raise TimeoutError(f"{user!r}: fewer than {count} messages are stored")
        return self.stored(user)

    def _resolve(self, node: DemoNode | str) -> DemoNode:
        return self.node(node) if isinstance(node, str) else node

    def _prepare_cookie(self, cookie: str | None) -> str:
        if cookie is None and self.cookie_file.exists():
            return self.cookie_file.read_text()
        chosen = cookie or secrets.token_hex(16)
        self.cookie_file.unlink(missing_ok=True)
        self.cookie_file.touch(mode=0o600)
        self.cookie_file.write_text(chosen)
        self.cookie_file.chmod(0o400)
        return chosen

    def _make_node(
        self, name: str, role: Role, hidden: bool, build: Path, settings: Mapping[str, Mapping[str, str]]
    ) -> DemoNode:
        directory = self.directory / name.partition("@")[0]
        directory.mkdir(exist_ok=True)
        applications = ",\n ".join(
            f"{{{application}, [{', '.join(f'{{{key}, {value}}}' for key, value in values.items())}]}}"
            for application, values in settings.items()
        )
        (directory / "sys.config").write_text(f"[{applications}].\n")
        command = [
            _executable("erl"),
            *EMULATOR_FLAGS,
            *self._emulator_flags,
            "-noshell",
            *("-start_epmd", "false"),
            *("-sname", name),
            *(["-hidden"] if hidden else []),
            *("-config", "sys"),
            *("-pa", str(build)),
            *("-s", "demo_console"),
        ]
        return DemoNode(name, role, hidden=hidden, directory=directory, command=command)

    def _node_environment(self) -> dict[str, str]:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ERL_")}
        # The cookie is read from the home directory, so that it shows neither in ps nor in the caller's home.
        return environment | {"HOME": str(self.directory), "ERL_EPMD_PORT": str(self.epmd_port)}

    def _start_epmd(self) -> None:
        if not _is_free(self.epmd_port):
            raise DemoError(f"port {self.epmd_port}, meant for the cluster's EPMD, is in use")
        # The shell in between ends EPMD when its standard input ends, also if this process is killed.
        script = 'epmd="$1"; shift; "$epmd" "$@" & read -r _; kill $!; wait'
        self._epmd = subprocess.Popen(
            ["sh", "-c", script, "sh", _executable("epmd"), "-port", str(self.epmd_port), "-address", LOOPBACK],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                socket.create_connection((LOOPBACK, self.epmd_port), START_TIMEOUT).close()
                return
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise DemoError(f"EPMD does not listen on port {self.epmd_port}") from None
                time.sleep(0.01)  # EPMD gives no sign when it is ready


def compile_sources(*, redeliver_exported: bool = False) -> Path:
    """Compile the demo Iris, unless this has been done before with the same sources and the same Erlang.

    :param redeliver_exported: whether ``iris_offline_storage`` exports ``redeliver/1``.
    :returns: the directory with the compiled modules and the application files.
    :raises DemoError: there is no Erlang, or it cannot compile them.
    """
    compiler = Path(_executable("erlc")).resolve()
    sources = sorted(SOURCES.glob("*.erl"))
    applications = sorted(SOURCES.glob("*.app"))
    digest = hashlib.sha256(f"{redeliver_exported} {compiler} {compiler.stat().st_mtime_ns}".encode())
    for file in (*sources, *applications):
        digest.update(file.name.encode() + file.read_bytes())
    target = _build_root() / digest.hexdigest()[:16]
    if target.is_dir():
        return target
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        defines = ["-DREDELIVER"] if redeliver_exported else []
        result = subprocess.run(
            [str(compiler), "+debug_info", *defines, "-o", scratch, *map(str, sources)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise DemoError(f"the demo Iris does not compile:\n{result.stdout}")
        for file in applications:
            shutil.copy(file, scratch)
        try:
            # In one step, so that another process sees the directory complete or not at all.
            shutil.copytree(scratch, f"{scratch}.complete")
            os.rename(f"{scratch}.complete", target)
        except OSError:
            shutil.rmtree(f"{scratch}.complete", ignore_errors=True)
            if not target.is_dir():
                raise
    return target


def _build_root() -> Path:
    try:
        BUILD_ROOT.mkdir(exist_ok=True)
        if os.access(BUILD_ROOT, os.W_OK):
            return BUILD_ROOT
    except OSError:
        pass
    # Installed somewhere read-only. A new directory each time, because others may write to the temporary one.
    return Path(tempfile.mkdtemp(prefix="iris-demo-build-"))


def _executable(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        erl = shutil.which("erl")
        beside = Path(erl).resolve().parent / name if erl else None
        if beside is None or not beside.exists():
            raise DemoError(f"{name} is not installed: the demo needs Erlang/OTP 25 or newer (Debian: erlang)")
        found = str(beside)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def _is_stopped(node: DemoNode) -> bool:
    """Whether the node was suspended and would not hear a request to stop."""
    try:
        state = Path(f"/proc/{node.pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, DemoError):
        return False
    return state == "T"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _erlang_binary(value: str | bytes) -> str:
    return f'base64:decode("{_base64(value.encode() if isinstance(value, str) else value)}")'


def _erlang_atoms(names: Iterable[str]) -> str:
    quoted = ", ".join(f"'{name}'" for name in names)
    return f"[{quoted}]"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a cluster until Ctrl-C or SIGTERM; the command line of this file."""
    parser = argparse.ArgumentParser(description="Start a small chat cluster of real Erlang nodes, until Ctrl-C.")
    parser.add_argument("--cores", type=int, default=1, help="number of core nodes (1)")
    parser.add_argument("--edges", type=int, default=2, help="number of edge nodes (2)")
    parser.add_argument("--hidden-edges", type=int, default=1, help="how many of the edges are hidden nodes (1)")
    parser.add_argument("--redeliver", action="store_true", help="export iris_offline_storage:redeliver/1")
    parser.add_argument("--schema", choices=("bucketed", "bare"), default="bucketed", help="key of offline_msg")
    parser.add_argument("--ack-timeout-ms", type=int, default=10_000, help="store again after this time (10000)")
    parser.add_argument("--net-ticktime", type=int, help="seconds (Erlang's own: 60)")
    parser.add_argument("--directory", type=Path, help="keep the nodes' files here (a temporary directory)")
    parser.add_argument("--epmd-port", type=int, help="port of the cluster's own EPMD (any free one)")
    options = parser.parse_args(arguments)
    try:
        cluster = DemoCluster(
            options.cores,
            options.edges,
            options.hidden_edges,
            redeliver_exported=options.redeliver,
            schema=options.schema,
            ack_timeout_ms=options.ack_timeout_ms,
            net_ticktime=options.net_ticktime,
            directory=options.directory,
            epmd_port=options.epmd_port,
        )
        # An order to terminate is taken like Ctrl-C, so that the nodes are stopped in both cases.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with cluster:
            print(usage(cluster), flush=True)
            threading.Event().wait()
    except (DemoError, ValueError) as error:
        print(f"demo_cluster: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", flush=True)
    return 0


def usage(cluster: DemoCluster) -> str:
    """How to use a running cluster, as text for its owner."""
    lines = ["The demo cluster is running:"]
    for node in cluster.nodes:
        doors = f"  clients on port {node.port}, WebSocket on {node.ws_port}" if node.role == "edge" else ""
        lines.append(f"  {node.name:<24} {'hidden ' if node.hidden else ''}{node.role}{doors}")
    lines += ["", "In another terminal:", *(f"  export {key}={value}" for key, value in cluster.environment.items())]
    lines += ["  iris-admin stats", "", "Ctrl-C stops it."]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
