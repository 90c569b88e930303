"""What one command line asks to connect to, and how its result is to be written."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from iris_admin.text import printable

if TYPE_CHECKING:
    from iris_admin.client import Node
    from iris_admin.cluster import Cluster
    from iris_admin.config import ClusterConfig
    from iris_admin.transport.dialing import Dialing

FORMATS = ("table", "json", "jsonl", "csv")
NODE_VARIABLE = "IRIS_ADMIN_NODE"
TIMEOUT_VARIABLE = "IRIS_ADMIN_TIMEOUT"
TLS_VARIABLE = "IRIS_ADMIN_TLS"
#: Options for TLS by what :class:`iris_admin.Tls` calls them; each also has a variable, except for the last.
_TLS_OPTIONS = ("ca_file", "certificate", "key", "server_name", "verify")

#: A value may take several lines.
_KEPT = "\n\t"

_NO_NODE = "No node was named. Use -n NODE, or set IRIS_ADMIN_NODE, or name a cluster of the configuration file by -c."


class Session:
    """The shared options of a command line.

    What is nearer to the command counts: an option before the cluster that ``-c`` names, that before a variable of
    the environment, and that before the file's default cluster, which only counts where nothing names a node.

    :ivar given: the options of the command line, by their names, as they are read.
    """

    def __init__(self) -> None:
        self.given: dict[str, Any] = {}
        self._warned: set[str] = set()

    @classmethod
    def of(cls, ctx: click.Context) -> Session:
        """The one session of a command line."""
        session: Session = ctx.meta.setdefault("iris_admin.session", cls())
        return session

    @property
    def format(self) -> str:
        """One of :data:`FORMATS`."""
        return str(self.given.get("output", "table"))

    @property
    def verbose(self) -> bool:
        """Whether to tell more on stderr."""
        return bool(self.given.get("verbose", False))

    # To connect

    def node_and_options(self) -> tuple[str, dict[str, Any]]:
        """The node to connect to, and the other arguments of :func:`iris_admin.connect`.

        :raises click.UsageError: no node was named.
        :raises ConfigError: a variable or the configuration file is wrong.
        """
        named, default = self._clusters()
        node = (
            self.given.get("node")
            or (named and named.node)
            or os.environ.get(NODE_VARIABLE)
            or (default and default.node)
        )
        if not node:
            raise click.UsageError(_NO_NODE)
        return node, self.options(named, default)

    def options(self, named: ClusterConfig | None = None, default: ClusterConfig | None = None) -> dict[str, Any]:
        """The arguments of :func:`iris_admin.connect` that are not the node."""
        options = default.connect_options() if default is not None else {}
        if os.environ.get("IRIS_ADMIN_COOKIE") or os.environ.get("IRIS_ADMIN_COOKIE_FILE"):
            options.pop("cookie_file", None)
        if os.environ.get("ERL_EPMD_PORT"):
            options.pop("epmd_port", None)
        if text := os.environ.get(TIMEOUT_VARIABLE):
            options["timeout"] = options["connect_timeout"] = _seconds(text)
        if named is not None:
            options |= named.connect_options()
        given = self.given
        if "cookie" in given and "cookie_file" in given:
            raise click.UsageError("--cookie and --cookie-file exclude each other.")
        if "cookie" in given:
            self._warn_once("a cookie on the command line shows in the list of processes; use --cookie-file FILE")
            options["cookie"] = given["cookie"]
        if "cookie_file" in given:
            options["cookie_file"] = given["cookie_file"]
        if "epmd_port" in given:
            options["epmd_port"] = given["epmd_port"]
        if "timeout" in given:
            options["timeout"] = options["connect_timeout"] = given["timeout"]
        options |= self._tls(named, default)
        return options

    def _tls(self, named: ClusterConfig | None, default: ClusterConfig | None) -> dict[str, Any]:
        """How TLS is spoken; empty for plain distribution. An option for it asks for it."""
        by_variable: dict[str, Any] = {
            name: value for name in _TLS_OPTIONS[:-1] if (value := os.environ.get(_variable(name)))
        }
        by_option = {name: self.given[f"tls_{name}"] for name in _TLS_OPTIONS if f"tls_{name}" in self.given}
        if os.environ.get(TLS_VARIABLE) or by_variable:
            by_variable["on"] = _switch(os.environ.get(TLS_VARIABLE) or "1")
        if "tls" in self.given or by_option:
            by_option["on"] = self.given.get("tls", True)
        if not (default or named or by_variable or by_option):
            return {}
        from iris_admin.config import tls_of

        tls = tls_of(
            None if default is None else default.tls, by_variable, None if named is None else named.tls, by_option
        )
        if tls is None:
            return {"tls": None}
        if not tls.verify:
            self._warn_once("the nodes' certificates are not checked: whoever is on the way can pose as a node")
        return {"tls": tls}

    def _clusters(self) -> tuple[ClusterConfig | None, ClusterConfig | None]:
        """The cluster that the command line names, and the one that is meant where nothing is named."""
        name = self.given.get("cluster")
        if name is None and (self.given.get("node") or os.environ.get(NODE_VARIABLE)):
            return None, None
        from iris_admin.config import load_config

        config = load_config(self.given.get("config"))
        if name is not None:
            return config.cluster(name), None
        return None, None if config.default_cluster is None else config.cluster(config.default_cluster)

    def connect(self) -> Node:
        """Join the node."""
        from iris_admin.client import connect

        node, options = self.node_and_options()
        return connect(node, **options)

    def connect_to(self, typed: str | None) -> Node:
        """Join the node that a command's own argument names; without one, the node of the options."""
        from iris_admin.client import connect

        if typed is None:
            node = self.connect()
        else:
            node = connect(self.full_name(typed), **self._other_options())
        node.on_progress = self.tell if self.verbose or sys.stderr.isatty() else None
        return node

    def node_at(self, typed: str) -> Node:
        """The node that a command's own argument names, not joined yet: it may be down."""
        from iris_admin.client import node_at

        node = node_at(self.full_name(typed), **self._other_options())
        node.on_progress = self.tell if self.verbose or sys.stderr.isatty() else None
        return node

    def commands(self) -> dict[str, str]:
        """The site's own commands for nodes of the cluster that the options name."""
        named, default = self._clusters()
        cluster = named or default
        return {} if cluster is None else cluster.commands

    def full_name(self, typed: str) -> str:
        """The full name of a node, where it may have been typed without its host: that of the options' node then."""
        from iris_admin.node_name import NodeName

        if "@" not in typed:
            with contextlib.suppress(click.UsageError):
                typed = f"{typed}@{NodeName.parse(self.node_and_options()[0]).host}"
        return typed

    def _other_options(self) -> dict[str, Any]:
        try:
            return self.node_and_options()[1]
        except click.UsageError:
            return self.options()

    def connect_cluster(self) -> Cluster:
        """Join all nodes of the cluster. What an operation says while it runs goes to stderr, if somebody reads it."""
        from iris_admin.cluster import connect_cluster

        node, options = self.node_and_options()
        on_progress = self.tell if self.verbose or sys.stderr.isatty() else None
        return connect_cluster(node, on_progress=on_progress, **options)

    def connect_somewhere(self) -> Cluster:
        """Join the cluster by whichever of its nodes answers, the one that was named first."""
        from iris_admin.discovery import connect_somewhere

        node, options = self.node_and_options()
        on_progress = self.tell if self.verbose or sys.stderr.isatty() else None
        return connect_somewhere(node, expected=self.expected(), on_progress=on_progress, **options)

    def expected(self) -> tuple[str, ...]:
        """The nodes that should be there, as the configuration file says of the cluster that is meant."""
        named, default = self._clusters()
        cluster = named or default
        return () if cluster is None else cluster.expected

    def names_a_node(self) -> bool:
        """Whether an option, a variable or the configuration file says which node to connect to."""
        named, default = self._clusters()
        return bool(self.given.get("node") or named or os.environ.get(NODE_VARIABLE) or default)

    def dialing(self, node: str | None = None) -> Dialing:
        """How a node is dialled.

        :param node: full name of another node of the cluster.
        """
        from iris_admin.client import dialing_for
        from iris_admin.node_name import NodeName

        seed, options = self.node_and_options()
        options.pop("timeout", None)
        # The seed may have a port with its name, which an error does not repeat.
        if node is None or node == str(NodeName.parse(seed)):
            node = seed
        return dialing_for(node, **options)

    def _warn_once(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self.warn(text)

    # To write

    def tell(self, text: str) -> None:
        """Write a line for the person who waits, to stderr."""
        click.echo(printable(text), err=True)

    def warn(self, text: str) -> None:
        """Write a warning to stderr."""
        self.tell(f"warning: {text}")

    def show(
        self,
        document: Any,
        *,
        text: Callable[[], Iterable[str]],
        rows: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        """Write a result to stdout, in the format that was asked for. All that a command shows goes through here.

        :param document: the result as JSON values.
        :param text: gives the lines for people.
        :param rows: what CSV and JSON lines write; by default the document, or its elements.
        """
        if self.format == "table":
            # Whatever a node has put into a line, and whether a terminal or a pipe gets it.
            output = "".join(f"{printable(line, keep=_KEPT)}\n" for line in text())
        else:
            from iris_admin.cli import formats

            output = formats.write(self.format, document, rows)
        if sys.stdout is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        # What the terminal's character set lacks is escaped; JSON and its own escapes come without it.
        encoding = sys.stdout.encoding or "utf-8"
        sys.stdout.write(output.encode(encoding, "backslashreplace").decode(encoding))


def _variable(name: str) -> str:
    return f"{TLS_VARIABLE}_{name.upper()}"


def _switch(text: str) -> bool:
    from iris_admin.errors import ConfigError

    if text not in ("0", "1"):
        raise ConfigError(f"the variable {TLS_VARIABLE} must be 1 or 0, not {text!r}")
    return text == "1"


def _seconds(text: str) -> float:
    from iris_admin.errors import ConfigError

    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ConfigError(f"the variable {TIMEOUT_VARIABLE} is no number of seconds above 0: {text!r}")
    return seconds
