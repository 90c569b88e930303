"""A node behind a cable that can be pulled: three network namespaces; the middle one forwards, or drops.

Neither side is told anything: its own interface stays up, and what it sends just never arrives.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

#: Of the node, in a network that exists in these namespaces only.
NODE_ADDRESS = "10.213.2.2"


class Cable:
    """Made by :func:`cable`.

    :ivar ours: what to put in front of a command to run it on our side; ``theirs`` likewise, on the node's.
    """

    def __init__(self, prefix: str) -> None:
        self.ours = ("ip", "netns", "exec", f"{prefix}a")
        self.theirs = ("ip", "netns", "exec", f"{prefix}b")
        self._middle = f"{prefix}m"

    def pull(self) -> None:
        """From now on, whatever either side sends is lost."""
        self._forward("0")

    def plug(self) -> None:
        """Everything arrives again."""
        self._forward("1")

    def _forward(self, value: str) -> None:
        _ip("netns", "exec", self._middle, "sh", "-c", f"echo {value} > /proc/sys/net/ipv4/ip_forward")


def why_not() -> str | None:
    """Why there can be no cable on this machine, or None."""
    if os.geteuid() != 0:
        return "only root can make network namespaces"
    try:
        with cable():
            return None
    except FileNotFoundError:
        return "there is no command ip (package iproute2)"
    except subprocess.CalledProcessError as error:
        return f"no network namespace can be made: {error.stderr.strip()}"


@contextmanager
def cable() -> Iterator[Cable]:
    """Lay one; it and its namespaces are gone behind it.

    :raises subprocess.CalledProcessError: this machine does not let us.
    """
    prefix = f"iris{os.getpid() % 100_000}"
    middle = f"{prefix}m"
    with ExitStack() as stack:
        for end in "mab":
            _ip("netns", "add", f"{prefix}{end}")
            stack.callback(_forget, f"{prefix}{end}")
            _ip("-n", f"{prefix}{end}", "link", "set", "lo", "up")
        for end, network in (("a", "10.213.1"), ("b", "10.213.2")):
            side, inner = f"{prefix}{end}", f"{prefix}{end}0"
            _ip("-n", middle, "link", "add", inner, "type", "veth", "peer", "name", "eth0", "netns", side)
            for namespace, interface, address in ((middle, inner, 1), (side, "eth0", 2)):
                _ip("-n", namespace, "address", "add", f"{network}.{address}/24", "dev", interface)
                _ip("-n", namespace, "link", "set", interface, "up")
            _ip("-n", side, "route", "add", "default", "via", f"{network}.1")
        made = Cable(prefix)
        made.plug()
        yield made


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def _forget(namespace: str) -> None:
    with contextlib.suppress(subprocess.CalledProcessError):
        _ip("netns", "delete", namespace)
