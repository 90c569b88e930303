"""A Python process that calls a node and times it: ``python -m bench.client``, asked over its standard input.

Whoever measures starts one with each codec. It has imported nothing but what a caller has, and nothing else is on its
heap. A request is a line, a number of calls behind its name; the answer is a line of numbers, in seconds.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import iris_admin
from iris_admin import aio
from iris_admin.calls import encode_call
from iris_admin.client import Node, dialing_for
from iris_admin.proto.events import CallEnded
from tests.support.erlang import ErlangNode

ROOT = Path(__file__).resolve().parents[1]
IN_FLIGHT = 64
#: Calls before those that are timed: another process has had the processor and its caches in between.
WARMING_UP = 100
MODULE = "iris_admin_bench_calls"


class Client:
    """Such a process, as whoever measures sees it.

    :param codec: ``compiled`` or ``pure``.
    """

    def __init__(self, target: ErlangNode, codec: str) -> None:
        path = os.pathsep.join((str(Path(iris_admin.__file__).parents[1]), str(ROOT)))
        # -P: the current folder may be this clone, whose iris_admin need not be the one that is installed.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "bench.client"],
            env=os.environ | target.environment | {"PYTHONPATH": path, "IRIS_ADMIN_CODEC": codec},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, request: str) -> list[float]:
        """Have something measured."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(request, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the client ended at {request!r}, with status {self._process.wait()}")
        return [float(word) for word in answer.split()]

    def stop(self) -> None:
        """End it."""
        self._process.communicate(timeout=60)


def timed(function: Callable[[], object]) -> float:
    """How long a function takes, in seconds."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def percentiles(times: list[float]) -> list[float]:
    """The median and the 99th percentile."""
    times = sorted(times)
    return [times[len(times) // 2], times[len(times) * 99 // 100]]


def sequential(node: Node, count: int) -> list[float]:
    """Calls one after another."""
    for _ in range(WARMING_UP):
        node.call("erlang", "node")
    return percentiles([timed(lambda: node.call("erlang", "node")) for _ in range(count)])


def submitted(node: Node, count: int) -> list[float]:
    """Calls of one thread, so many of them under way at any time."""

    def run() -> None:
        waiting = deque(node.submit("erlang", "node") for _ in range(IN_FLIGHT))
        for _ in range(count - IN_FLIGHT):
            waiting.popleft().result()
            waiting.append(node.submit("erlang", "node"))
        for future in waiting:
            future.result()

    return [timed(run)]


def mapped(node: Node, count: int) -> list[float]:
    """The same by ``Node.map``."""
    return [timed(lambda: node.map("erlang", "node", [()] * count, in_flight=IN_FLIGHT))]


def threads(node: Node, count: int) -> list[float]:
    """Calls of so many threads."""

    def call() -> None:
        for _ in range(count // IN_FLIGHT):
            node.call("erlang", "node")

    callers = [threading.Thread(target=call) for _ in range(IN_FLIGHT)]
    return [timed(lambda: _run_all(callers))]


def plain_threads(_node: Node, count: int) -> list[float]:
    """The same by a connection whose answers a thread of its own reads, and hands over: what is usual elsewhere."""
    sock, connection = dialing_for(os.environ["IRIS_ADMIN_NODE"]).dial(time.monotonic() + 10)
    sock.settimeout(None)
    arguments = encode_call("erlang", "node", ())
    lock = threading.Lock()
    waiting: dict[int, tuple[threading.Lock, list[CallEnded]]] = {}

    def read() -> None:
        while data := sock.recv(65536):
            with lock:
                connection.receive_data(data, time.monotonic())
                while event := connection.next_event():
                    if isinstance(event, CallEnded):
                        is_over, result = waiting.pop(event.call_id)
                        result.append(event)
                        is_over.release()

    def call() -> None:
        for _ in range(count // IN_FLIGHT):
            is_over, result = threading.Lock(), list[CallEnded]()
            is_over.acquire()
            with lock:
                waiting[connection.call("erlang", "node", arguments, time.monotonic())] = is_over, result
                sock.sendall(connection.data_to_send())
            is_over.acquire()
            result[0].outcome()

    reader = threading.Thread(target=read)
    reader.start()
    callers = [threading.Thread(target=call) for _ in range(IN_FLIGHT)]
    try:
        return [timed(lambda: _run_all(callers))]
    finally:
        sock.shutdown(socket.SHUT_RDWR)
        reader.join()
        sock.close()


def _run_all(callers: list[threading.Thread]) -> None:
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()


def tasks(_node: Node, count: int) -> list[float]:
    """Calls of so many tasks of asyncio."""

    async def call(node: aio.Node) -> None:
        for _ in range(count // IN_FLIGHT):
            await node.call("erlang", "node")

    async def run() -> float:
        async with await aio.connect(os.environ["IRIS_ADMIN_NODE"]) as node:
            await node.call("erlang", "node")
            start = time.perf_counter()
            await asyncio.gather(*(call(node) for _ in range(IN_FLIGHT)))
            return time.perf_counter() - start

    return [asyncio.run(run())]


def bare(_node: Node, count: int) -> list[float]:
    """The same bytes as those calls, by a blocking socket, with nobody who looks into them."""
    sock, connection = dialing_for(os.environ["IRIS_ADMIN_NODE"]).dial(time.monotonic() + 10)
    assert isinstance(sock, socket.socket)
    arguments = encode_call("erlang", "node", ())
    requests = []
    for _ in range(count + 1):
        connection.call("erlang", "node", arguments, time.monotonic())
        requests.append(connection.data_to_send())
    sock.settimeout(None)
    received = b""
    sock.sendall(requests[0])
    while connection.next_event() is None or not received:
        received += sock.recv(65536)
        connection.receive_data(received, time.monotonic())
    frames = _frames(received)

    def exchange(request: bytes) -> None:
        sock.sendall(request)
        answer = sock.recv(65536)
        while _frames(answer) < frames:
            answer += sock.recv(65536)

    with sock:
        return percentiles([timed(lambda request=request: exchange(request)) for request in requests[1:]])  # type: ignore[misc]


def _frames(data: bytes) -> int:
    """How many complete frames there are; ticks do not count."""
    number = start = 0
    while len(data) - start >= 4:
        length = int.from_bytes(data[start : start + 4], "big")
        start += 4 + length
        number += length > 0 and start <= len(data)
    return number


def large(node: Node, _count: int) -> list[float]:
    """One reply of many rows, received and decoded. To free it is not counted: the BEAM does that afterwards, too."""
    replies = []
    return [timed(lambda: replies.append(node.call(MODULE, "rows", timeout=60)))]


def beside_large(node: Node, count: int) -> list[float]:
    """Small calls while another thread receives large replies, on the same node object."""
    is_over = False

    def stream() -> None:
        while not is_over:
            node.call(MODULE, "rows", timeout=60)

    streaming = threading.Thread(target=stream)
    streaming.start()
    try:
        return sequential(node, count)
    finally:
        is_over = True
        streaming.join()


def main() -> None:
    """Serve requests until standard input ends."""
    served = (sequential, submitted, mapped, threads, plain_threads, tasks, bare, large, beside_large)
    functions = {function.__name__: function for function in served}
    with iris_admin.connect(os.environ["IRIS_ADMIN_NODE"]) as node:
        node.call("erlang", "node")
        for line in sys.stdin:
            name, count = line.split()
            print(*functions[name](node, int(count)), flush=True)


if __name__ == "__main__":
    main()
