"""The main job, on a real cluster: bob's stored messages are redelivered, and you watch them arrive.

Usage: ``python3 examples/demo.py [--keep]``. Installs what this machine lacks (Erlang by apt, Python things into a
virtual environment inside the clone), starts a small Iris (one core, a visible and a hidden edge), stores messages
for bob, who is online on the hidden edge, runs ``iris-admin redeliver bob``, and stops what it started.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
from pathlib import Path

import setup_machine
from demo_cluster import ChatClient, ConnectionEnded, DemoCluster
from demo_cluster.demo_cluster import usage

# Not .venv, which may be a developer's own.
VENV = setup_machine.ROOT / ".venv-demo"


def main() -> int:
    """Set the machine up, tell the story, and give the exit code of ``iris-admin redeliver``."""
    parser = argparse.ArgumentParser(description="Watch messages being redelivered on a real Erlang cluster.")
    parser.add_argument("--keep", action="store_true", help="leave the cluster up until Ctrl-C, to try things")
    parser.add_argument("--messages", type=int, default=5, metavar="N", help="messages to store (default: 5)")
    options = parser.parse_args()
    try:
        setup_machine.ensure_python()
        setup_machine.ensure_erlang()
        python = setup_machine.ensure_venv(VENV, setup_machine.this_project())
    except setup_machine.SetupError as error:
        setup_machine.give_up(error)
    iris_admin = python.parent / "iris-admin"
    setup_machine.say("Starting a cluster: one core, a visible and a hidden edge")
    with DemoCluster() as cluster:
        code = tell(cluster, iris_admin, options.messages)
        if options.keep:
            print(f"\n{usage(cluster)}\n  (iris-admin is {iris_admin})", flush=True)
            try:
                threading.Event().wait()
            except KeyboardInterrupt:
                print()
    return code


def tell(cluster: DemoCluster, iris_admin: Path, count: int) -> int:
    """Log bob in, store messages for him, and redeliver them."""
    edge = cluster.edges[-1]
    assert edge.port is not None
    with ChatClient("localhost", edge.port, "bob") as bob:
        setup_machine.say(f"bob is online on {edge.name}, which is hidden")
        # This is how messages get stuck for a user who is online: a core's presence entry expires after 30 s.
        cluster.store("bob", [f"message {number} for bob".encode() for number in range(1, count + 1)])
        setup_machine.say(f"{count} messages for bob lie in the offline store")
        threading.Thread(target=show_arrivals, args=(bob,), daemon=True).start()
        run(cluster, iris_admin, "offline", "show", "bob")
        code = run(cluster, iris_admin, "redeliver", "bob")
        run(cluster, iris_admin, "offline", "show", "bob")
        arrived = bob.wait_for(count) if code == 0 else bob.received
        print(f"\nbob has received {len(arrived)} of {count} messages; the store holds {len(cluster.stored('bob'))}")
    return code


def show_arrivals(bob: ChatClient) -> None:
    """Print each message as it arrives at bob's client."""
    try:
        while True:
            print(f"    bob receives: {bob.receive(timeout=600).payload.decode()}", flush=True)
    except (ConnectionEnded, TimeoutError):
        pass


def run(cluster: DemoCluster, iris_admin: Path, *arguments: str) -> int:
    """Run the command line as an operator would, and show what was typed."""
    print(f"\n$ iris-admin {' '.join(arguments)}", flush=True)
    environment = {
        **os.environ,
        **cluster.environment,
        # What belongs to the demo goes with it.
        "IRIS_ADMIN_BACKUP_DIR": str(cluster.directory / "backups"),
        "IRIS_ADMIN_AUDIT_FILE": str(cluster.directory / "audit.jsonl"),
    }
    return subprocess.run([iris_admin, *arguments], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
