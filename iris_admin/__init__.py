"""iris_admin: look after Iris, or any Erlang or Elixir cluster, from Python.

>>> import iris_admin
>>> with iris_admin.connect("iris_core1@localhost") as node:   # doctest: +SKIP
...     node.call("erlang", "system_info", iris_admin.Atom("process_count"))
87
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iris_admin.client import Node, connect
    from iris_admin.cluster import Cluster, connect_cluster
    from iris_admin.syntax import format_term, parse_term
    from iris_admin.terms import Atom, charlist
    from iris_admin.tls import Tls
    from iris_admin.version import __version__

__all__ = [
    "Atom",
    "Cluster",
    "Node",
    "Tls",
    "__version__",
    "charlist",
    "connect",
    "connect_cluster",
    "format_term",
    "parse_term",
]

_HOMES = {
    "Atom": "iris_admin.terms",
    "Cluster": "iris_admin.cluster",
    "Node": "iris_admin.client",
    "Tls": "iris_admin.tls",
    "__version__": "iris_admin.version",
    "charlist": "iris_admin.terms",
    "connect": "iris_admin.client",
    "connect_cluster": "iris_admin.cluster",
    "format_term": "iris_admin.syntax",
    "parse_term": "iris_admin.syntax",
}


def __getattr__(name: str) -> Any:
    # Imported when first used: a command line that only asks for --help need not load the network, and none loads
    # anything before its first function.
    if name in _HOMES:
        from importlib import import_module

        value = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
