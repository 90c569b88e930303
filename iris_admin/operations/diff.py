"""In what two nodes differ: release, limits, applications, settings, the copies of tables, and the code they run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from iris_admin.operations.evaluate import run_remote
from iris_admin.operations.fields import items, text
from iris_admin.operations.parallel import side_by_side
from iris_admin.operations.redaction import REDACTED
from iris_admin.operations.results import Result, Table
from iris_admin.operations.settings import Settings, settings
from iris_admin.operations.steps import Operation
from iris_admin.records import record

MAX_MODULES = 5000
_KINDS = ("release", "limit", "application", "setting", "table", "module")


@record
class Difference(Result):
    """Something that is not the same on both nodes.

    :param kind: ``release``, ``limit``, ``application`` (its version), ``setting`` (of an application's environment),
        ``table`` (the kind of copy) or ``module`` (the MD5 of its code).
    :param name: what differs.
    :param a: on the first node; None where that has no such thing.
    :param b: on the second.
    """

    kind: str
    name: str
    a: str | None
    b: str | None


@record
class Diff(Result):
    """In what two nodes differ.

    :param a: the first node.
    :param b: the second.
    :param differences: by kind, then by name.
    :param compared: how many things of each kind were compared.
    :param notes: what could not be compared, and why.
    """

    a: str
    b: str
    differences: Table[Difference]
    compared: Mapping[str, int]
    notes: tuple[str, ...]


def diff(a: str, b: str) -> Operation[Diff]:
    """Compare two nodes. Secrets among the settings are not shown, and not compared.

    :param a: a node's full name; likewise ``b``.
    :raises IrisAdminError: one of them does not answer.
    """
    both = tuple(dict.fromkeys((a, b)))
    made = yield from side_by_side({node: settings(node) for node in both})
    codes = yield from side_by_side({node: _code(node, _raised(made[node])) for node in both})
    code_a, code_b = _raised(codes[a]), _raised(codes[b])
    left, right = _facts(_raised(made[a]), code_a), _facts(_raised(made[b]), code_b)
    notes = [f"{node}: only the first {MAX_MODULES} modules" for node, code in ((a, code_a), (b, code_b)) if code[0]]
    notes += [f"{node}: Mnesia does not run there" for node, code in ((a, code_a), (b, code_b)) if code[2] is None]
    if code_a[2] is None or code_b[2] is None:
        left["table"], right["table"] = {}, {}
    alone = set(left["module"]) ^ set(right["module"])
    if alone:
        # Code is loaded when it is first called, so that says nothing.
        notes.append(f"{len(alone)} modules are loaded on one of them only, and were not compared")
        for modules in (left["module"], right["module"]):
            for name in alone.intersection(modules):
                del modules[name]
    differences = []
    compared = {}
    for kind in _KINDS:
        names = sorted({*left[kind], *right[kind]})
        compared[kind] = len(names)
        for name in names:
            one, other = left[kind].get(name), right[kind].get(name)
            if one != other:
                differences.append(Difference(kind, name, one, other))
    hidden = sum(REDACTED in value for value in left["setting"].values())
    if hidden:
        notes.append(f"{hidden} settings have secrets in them, which were not compared")
    return Diff(a, b, Table(Difference, differences), compared, tuple(notes))


def _code(node: str, made: Settings) -> Operation[tuple[bool, dict[str, str], dict[str, str] | None]]:
    cut, modules = yield from run_remote("code_digests", {"Max": MAX_MODULES}, node=node)
    digests = {str(module): digest.hex() if isinstance(digest, bytes) else "unknown" for module, digest in modules}
    if not any(application.name == "mnesia" and application.running for application in made.applications):
        return cut, digests, None
    tables = yield from run_remote("table_storage", node=node)
    return cut, digests, {str(name): text(storage) or "" for name, storage in items(tables)}


def _facts(made: Settings, code: tuple[bool, dict[str, str], dict[str, str] | None]) -> dict[str, dict[str, str]]:
    _, modules, tables = code
    found: dict[str, dict[str, str]] = {
        "release": {"OTP": made.otp_release, "ERTS": made.erts_version},
        "limit": {name: str(value) for name, value in made.limits.items()},
        "application": {},
        "setting": {},
        "table": tables or {},
        "module": modules,
    }
    for application in made.applications:
        found["application"][application.name] = application.version + ("" if application.running else ", not running")
        if application.environment is None:
            found["setting"][application.name] = "too large to compare"
        else:
            for name, value in application.environment.items():
                found["setting"][f"{application.name}.{name}"] = value
    return found


def _raised(outcome: Any) -> Any:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
