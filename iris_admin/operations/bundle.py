"""A bundle: what can be known of a cluster, as data, for those who look at an incident later.

It is read only, bounded for each node, and without secrets. What a node does not tell is recorded with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from iris_admin.errors import IrisAdminError
from iris_admin.operations.checks.finding import worst
from iris_admin.operations.doctor import Diagnosis, doctor
from iris_admin.operations.identity import identity
from iris_admin.operations.logs import logs
from iris_admin.operations.memory import memory
from iris_admin.operations.mnesia import mnesia_info
from iris_admin.operations.offline_summary import offline_summary
from iris_admin.operations.parallel import side_by_side
from iris_admin.operations.ports import listening
from iris_admin.operations.processes import processes
from iris_admin.operations.redaction import redact, without_payloads
from iris_admin.operations.results import Result, Table, plain
from iris_admin.operations.roles import Role, members
from iris_admin.operations.settings import settings
from iris_admin.operations.stats import stats
from iris_admin.operations.status import status
from iris_admin.operations.steps import Now, Operation, Progress
from iris_admin.records import record
from iris_admin.text import file_name

#: Format of the bundle; its manifest has it.
FORMAT = 1
LOG_EVENTS = 300
#: How far each log file is read back, in bytes.
LOG_DEPTH = 1 << 20
RANKED = 20
#: A document of more characters is left out: one node must not fill the operator's disc.
MOST_CHARACTERS = 8 << 20


@dataclass(frozen=True, slots=True)
class Section:
    """Something that is asked of a node.

    :param name: of its file.
    :param ask: the operation, given the node.
    :param calls: how many calls it takes, about; ``most_bytes`` that the answers have at most, about.
    :param where: whether it means anything on a node of that role.
    """

    name: str
    ask: Callable[[str], Operation[Any]]
    calls: int
    most_bytes: int
    where: Callable[[Role], bool] = lambda _: True


SECTIONS = (
    Section("identity", identity, 1, 2 << 10),
    Section("stats", stats, 1, 4 << 10),
    Section("memory", memory, 1, 1 << 10),
    Section("processes_by_memory", lambda node: processes("memory", count=RANKED, node=node), 2, 16 << 10),
    Section(
        "processes_by_message_queue_len",
        lambda node: processes("message_queue_len", count=RANKED, node=node),
        2,
        16 << 10,
    ),
    Section("ports", listening, 1, 64 << 10),
    Section("settings", settings, 1, 256 << 10),
    Section("status", status, 8, 64 << 10, lambda role: role.is_core or role.is_edge),
    Section("mnesia", mnesia_info, 3, 1 << 20, lambda role: role.mnesia is not None),
    Section("logs", lambda node: logs(node, count=LOG_EVENTS, depth=LOG_DEPTH), 12, 4 << 20),
)


@record
class Document(Result):
    """One file of a bundle.

    :param file: its name in the bundle.
    :param node: the node; None for the cluster.
    :param command: what was asked.
    :param ok: whether there was an answer.
    :param error: why not.
    :param content: JSON values, redacted.
    """

    file: str
    node: str | None
    command: str
    ok: bool
    error: str | None
    content: Any


@record
class BundleContents(Result):
    """What a bundle holds.

    :param time: when it was begun, in seconds since the epoch.
    :param nodes: all nodes, with those that did not answer.
    :param payload: whether logs may hold messages of people.
    :param seconds: how long it took.
    :param diagnosis: what the doctor found; None where it could not look.
    :param documents: all files.
    """

    time: float
    nodes: tuple[str, ...]
    payload: bool
    seconds: float
    diagnosis: Diagnosis | None
    documents: Table[Document]


@record
class BundleCost(Result):
    """What making a bundle costs a cluster.

    :param nodes: how many nodes are asked.
    :param calls: how many calls are made, about.
    :param most_bytes: that travel at most, about; usually it is a hundredth of it.
    """

    nodes: int
    calls: int
    most_bytes: int

    def __str__(self) -> str:
        return f"about {self.calls} calls to {self.nodes} nodes, at most {self.most_bytes / (1 << 20):.0f} MiB in all"


def bundle_cost(nodes: Sequence[str]) -> BundleCost:
    """What a bundle of these nodes costs, before it is made; the checks of ``doctor`` are among it."""
    count = len(nodes)
    return BundleCost(
        nodes=count,
        calls=count * (sum(section.calls for section in SECTIONS) + 20),
        most_bytes=count * (sum(section.most_bytes for section in SECTIONS) + (1 << 20)),
    )


def bundle(
    nodes: Sequence[str],
    *,
    payload: bool = False,
    secrets: Iterable[str] = (),
    expected: Iterable[str] = (),
    epmd_port: int | None = None,
) -> Operation[BundleContents]:
    """Collect what is known of some nodes.

    :param nodes: full names; those that do not answer are recorded.
    :param payload: whether to leave binaries in the logs: they can be messages of people.
    :param secrets: texts to be taken out wherever they are, such as the cookie.
    :param expected: nodes that should be there, for the doctor.
    :param epmd_port: of the hosts' EPMD, likewise.
    """
    hidden = tuple(secrets)
    start = yield Now()
    yield Progress(f"the bundle takes {bundle_cost(nodes)}")
    found = yield from members(nodes)
    folders: dict[str, str] = {}
    documents = []
    for node, error in found.unanswered.items():
        file = f"nodes/{_folder(node, folders)}/error.json"
        documents.append(Document(file, node, "connect", False, str(error), redact(plain(error), hidden)))
    for number, section in enumerate(SECTIONS, start=1):
        asked = [node for node, role in found.roles.items() if section.where(role)]
        yield Progress(f"{section.name}: {len(asked)} nodes ({number} of {len(SECTIONS)})")
        answers = yield from side_by_side({node: _guarded(section.ask(node)) for node in asked})
        for node, answer in answers.items():
            file = f"nodes/{_folder(node, folders)}/{section.name}.json"
            documents.append(_document(file, node, section.name, answer, payload, hidden))
    whole: dict[str, Operation[Any]] = {
        "doctor": doctor(nodes, expected=expected, epmd_port=epmd_port),
        "offline_summary": offline_summary(nodes, within=15.0),
    }
    diagnosis = None
    for name, operation in whole.items():
        yield Progress(name)
        try:
            answer = yield from _guarded(operation)
        except IrisAdminError as error:
            answer = error
        if isinstance(answer, Diagnosis):
            diagnosis = answer
        documents.append(_document(f"cluster/{name}.json", None, name, answer, payload, hidden))
    return BundleContents(
        time=start,
        nodes=tuple(sorted({*nodes, *found.roles, *found.unanswered})),
        payload=payload,
        seconds=(yield Now()) - start,
        diagnosis=diagnosis,
        documents=Table(Document, documents),
    )


def summary_lines(contents: BundleContents) -> Mapping[str, Any]:
    """What the manifest says of the whole."""
    failed = [document.file for document in contents.documents if not document.ok]
    verdicts = [] if contents.diagnosis is None else [finding.verdict for finding in contents.diagnosis.findings]
    return {"verdict": worst(verdicts) if verdicts else None, "documents": len(contents.documents), "failed": failed}


def _folder(node: str, folders: dict[str, str]) -> str:
    """The folder of a node, whatever it is called: each has its own, within the bundle."""
    if node not in folders:
        name = file_name(node)
        while name in folders.values():
            name += "_"
        folders[node] = name
    return folders[node]


def _guarded(operation: Operation[Any]) -> Operation[Any]:
    """An answer that is not understood must not cost the rest of the bundle."""
    try:
        return (yield from operation)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        return _NotUnderstood(f"{type(error).__name__}: {error}")


class _NotUnderstood(IrisAdminError):
    """What came back was not what was expected."""


def _document(
    file: str, node: str | None, command: str, answer: Any, payload: bool, secrets: tuple[str, ...]
) -> Document:
    failed = isinstance(answer, IrisAdminError)
    content = plain(answer)
    if command == "logs" and not failed and not payload:
        for entry in content["entries"]:
            entry["text"] = without_payloads(entry["text"])
    content = redact(content, secrets)
    if command == "offline_summary" or not _is_too_large(content):
        return Document(file, node, command, not failed, str(answer) if failed else None, content)
    return Document(file, node, command, False, f"more than {MOST_CHARACTERS} characters", None)


def _is_too_large(content: Any) -> bool:
    left = MOST_CHARACTERS
    rest = [content]
    while rest and left > 0:
        item = rest.pop()
        if isinstance(item, dict):
            rest.extend((*item.keys(), *item.values()))
        elif isinstance(item, list):
            rest.extend(item)
        left -= len(item) if isinstance(item, str) else 8
    return left <= 0
