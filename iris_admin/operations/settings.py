"""What a node is made of: its release, limits, applications, and their environments without secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from iris_admin.operations.evaluate import run_remote
from iris_admin.operations.fields import syntax, text
from iris_admin.operations.redaction import redact
from iris_admin.operations.results import Result, Table
from iris_admin.operations.steps import Operation
from iris_admin.records import record
from iris_admin.terms import Atom, ImproperList, Term

#: An environment of more bytes is left out.
MAX_ENVIRONMENT = 64 << 10
_LIMITS = (
    "process_limit",
    "port_limit",
    "atom_limit",
    "ets_limit",
    "schedulers",
    "schedulers_online",
    "dirty_cpu_schedulers_online",
    "dirty_io_schedulers",
    "thread_pool_size",
    "dist_buf_busy_limit",
    "wordsize",
    "emu_flavor",
    "system_architecture",
)
_ITEMS = ("otp_release", "version", *_LIMITS)


@record
class Application(Result):
    """An application that a node has loaded.

    :param name: the application.
    :param version: its version.
    :param running: whether it runs; libraries do not.
    :param environment: its settings, each in Erlang syntax and without secrets; None where they were too large.
    """

    name: str
    version: str
    running: bool
    environment: Mapping[str, str] | None


@record
class Settings(Result):
    """What a node is made of.

    :param node: the node.
    :param otp_release: of Erlang/OTP, e.g. ``25``; ``erts_version`` that of the runtime system.
    :param limits: what ``erlang:system_info/1`` says of limits and schedulers; None for what it does not know.
    :param applications: those that are loaded, by name.
    """

    node: str
    otp_release: str
    erts_version: str
    limits: Mapping[str, int | str | None]
    applications: Table[Application]


def settings(node: str | None = None) -> Operation[Settings]:
    """What a node is made of.

    :param node: which; None is the operation's own node.
    """
    bindings = {"Items": [Atom(item) for item in _ITEMS], "MaxEnvironment": MAX_ENVIRONMENT}
    name, values, applications = yield from run_remote("settings", bindings, node=node)
    known = dict(zip(_ITEMS, values, strict=True))
    return Settings(
        node=str(name),
        otp_release=text(known["otp_release"]) or "",
        erts_version=text(known["version"]) or "",
        limits={item: known[item] if isinstance(known[item], int) else text(known[item]) for item in _LIMITS},
        applications=Table(
            Application,
            (
                Application(str(application), text(version) or "", running, _environment(environment))
                for application, version, running, environment in sorted(applications, key=lambda entry: str(entry[0]))
            ),
        ),
    )


def _environment(environment: Term) -> dict[str, str] | None:
    if not isinstance(environment, list):
        return None
    named = {str(key): syntax(_without_secrets(value)) for key, value in environment}
    cleaned: dict[str, Any] = redact(named)
    return dict(sorted(cleaned.items()))


def _without_secrets(value: Term) -> Term:
    """Secrets within a setting are in pairs or in maps."""
    from iris_admin.operations.redaction import REDACTED, is_secret

    match value:
        case (str() | bytes() as name, inner) if is_secret(name) and not isinstance(inner, bool | int):
            return (name, Atom(REDACTED))
        case tuple():
            return tuple(map(_without_secrets, value))
        case ImproperList():
            return value
        case list():
            return list(map(_without_secrets, value))
        case dict():
            return {
                name: Atom(REDACTED)
                if is_secret(name) and not isinstance(inner, bool | int)
                else _without_secrets(inner)
                for name, inner in value.items()
            }
    return value
