"""A cable is pulled without a word: both sides notice within their net_ticktime, and come together again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cable import NODE_ADDRESS, Cable, cable, why_not
from tests.support.erlang import Epmd, ErlangNode, NodeFactory, Otp

ROOT = Path(__file__).parents[2]
#: In seconds, of both sides. Silence counts as death after a quarter more.
NET_TICKTIME = 4
UNTIL_NOTICED = NET_TICKTIME * 1.25
TIMEOUT = 1.0
SLACK = 4.0
#: TCP doubles the time until it sends something again that nobody acknowledges.
LONGEST_RETRANSMISSION = 40.0
#: How many processes sleep on the node, as our calls do, and how many connections it has.
_ON_NODE = (
    "{length([P || P <- processes(), {current_function, {timer, sleep, 1}} <- [process_info(P, current_function)]]),"
    " length(nodes(connected))}"
)

#: Runs on our side. One connection for each thing that can be under way when the cable is pulled.
_CLIENT = f"""
import json, sys, threading, time
import iris_admin
name, cookie_file, epmd_port = sys.argv[1:]

def connect():
    return iris_admin.connect(
        name, cookie_file=cookie_file, epmd_port=int(epmd_port), connect_timeout={TIMEOUT}, net_ticktime={NET_TICKTIME}
    )

def tell(what):
    print(json.dumps(what), flush=True)

def fetch(node):
    row = (iris_admin.Atom("offline_msg"), (b"somebody", 0), 1, b"x" * 200)
    while True:
        assert len(node.call("lists", "duplicate", 100000, row, timeout=60)) == 100000

def wait_until_lost(node):
    while node.is_connected:
        time.sleep(0.01)

pulled = threading.Event()
under_way = {{
    "call": lambda node: node.call("timer", "sleep", 60000, timeout=60),
    "large reply": fetch,
    "idle": wait_until_lost,
    "call with a time-out": lambda node: pulled.wait() and node.call("erlang", "node", timeout={TIMEOUT}),
    "connect": lambda node: pulled.wait() and connect(),
}}
nodes = {{what: connect() for what in under_way}}
ended = {{}}

def work(what):
    error = None
    try:
        under_way[what](nodes[what])
    except Exception as raised:
        error = type(raised).__name__, bool(raised.hint)
    ended[what] = error, time.monotonic()

threads = [threading.Thread(target=work, args=(what,)) for what in under_way]
for thread in threads:
    thread.start()
nodes["large reply"].ping()
tell("under way")
sys.stdin.readline()
start = time.monotonic()
pulled.set()
for thread in threads:
    thread.join()
tell({{what: (error, end - start) for what, (error, end) in ended.items()}})
sys.stdin.readline()
again = {{}}
for what, node in nodes.items():
    try:
        # The one whose call had its time-out may not have noticed yet that the link is lost.
        again[what] = node.call("erlang", "abs", -1, timeout=60, idempotent=True)
    except Exception as error:
        again[what] = repr(error)
    node.close()
tell(again)
"""


@pytest.fixture(scope="module")
def pulled_by_hand() -> Iterator[Cable]:
    why = why_not()
    if why is not None and os.geteuid() == 0 and os.environ.get("CI"):
        pytest.fail(why)
    if why is not None:
        pytest.skip(why)
    with cable() as laid:
        yield laid


@pytest.fixture
def node(pulled_by_hand: Cable, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ErlangNode]:
    """One behind the cable, under a long name with its address."""
    otp = Otp(erl=(*pulled_by_hand.theirs, "erl"), epmd=(*pulled_by_hand.theirs, "epmd"))
    epmd = Epmd(otp=otp)
    nodes = NodeFactory(epmd, lambda: tmp_path_factory.mktemp("erlang"))
    yield nodes(f"far@{NODE_ADDRESS}", net_ticktime=NET_TICKTIME, otp=otp)
    nodes.stop_all()
    epmd.stop()


def test_at_every_step(pulled_by_hand: Cable, node: ErlangNode) -> None:
    footprint = "{erlang:system_info(process_count), erlang:system_info(port_count), nodes(connected)}"
    before = node.evaluate(footprint)
    with subprocess.Popen(
        [*pulled_by_hand.ours, sys.executable, "-c", _CLIENT, node.name, str(node.cookie_file), str(node.epmd_port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
    ) as client:
        assert client.stdin is not None
        assert client.stdout is not None

        def hear() -> Any:
            assert client.stdout is not None
            return json.loads(client.stdout.readline())

        def say(word: str) -> None:
            assert client.stdin is not None
            client.stdin.write(f"{word}\n")
            client.stdin.flush()

        assert hear() == "under way"
        pulled_by_hand.pull()
        start = time.monotonic()
        say("pulled")
        ended = hear()
        # The node, too, ends what ran for us, by itself. Only of the connection with a large answer that is still to
        # be sent it keeps the rest, as it does between two nodes: until TCP gives up, or somebody answers again.
        while (sleepers := node.evaluate(_ON_NODE)) != "{0,1}":
            assert time.monotonic() - start < UNTIL_NOTICED + SLACK, sleepers
            time.sleep(0.02)
        on_node = time.monotonic() - start
        pulled_by_hand.plug()
        say("plugged")
        again = hear()
    deadline = time.monotonic() + LONGEST_RETRANSMISSION
    while node.evaluate(footprint) != before:
        assert time.monotonic() < deadline, node.evaluate(footprint)
        time.sleep(0.02)
    assert {what: error and error[0] for what, (error, _) in ended.items()} == {
        "call": "NodeDown",
        "large reply": "NodeDown",
        "idle": None,
        "call with a time-out": "CallTimeout",
        "connect": "EpmdUnreachable",
    }
    for what, (error, seconds) in ended.items():
        assert error is None or error[1], f"{what}: no hint"
        limit = TIMEOUT if what in ("connect", "call with a time-out") else UNTIL_NOTICED
        assert seconds < limit + SLACK, what
        print(f"cable pulled, {what}: {error[0] if error else 'noticed'} after {seconds:.2f} s")
    print(f"cable pulled, on the node: the calls have ended after {on_node:.2f} s")
    assert again == dict.fromkeys(ended, 1)
