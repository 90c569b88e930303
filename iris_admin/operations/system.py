"""The machine that a node runs on: load, CPUs, memory, discs. Asked of the node, without a program started there.

os_mon is asked where it runs; otherwise the node reads the files of ``/proc``, as far as its system has them. Each
value says where it comes from, and what cannot be told says why.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from iris_admin.errors import CallTimeout, RemoteError
from iris_admin.operations.evaluate import run_remote
from iris_admin.operations.fields import number, text
from iris_admin.operations.names import node_name
from iris_admin.operations.results import Result, Table
from iris_admin.operations.steps import AllOf, Call, Operation, Pause
from iris_admin.records import record
from iris_admin.terms import Atom, Term

#: Bytes that are read of a file at most; those of /proc that are wanted are shorter, or wanted from the beginning.
MAX_BYTES = 8192
#: os_mon's servers start programs of their own, which may hang; so long they are waited for, in seconds.
OS_MON_TIMEOUT = 5.0
_MAX_DISKS = 100
#: A limit beyond this, in bytes, is the kernel's way to say that there is none.
_NO_LIMIT = 1 << 60


@record
class Disk(Result):
    """A file system of the machine.

    :param name: where it is mounted.
    :param total_bytes: its size.
    :param used_percent: how much of it is used, by df's count.
    """

    name: str
    total_bytes: int
    used_percent: int


@dataclass(frozen=True, slots=True, repr=False)
class System(Result):
    """The machine of a node. None stands for what cannot be told; ``cannot_tell`` says why.

    :param node: the node.
    :param os: its operating system, e.g. ``unix/linux 6.1.0``.
    :param cpu_count: CPUs that the node may run on.
    :param cpu_limit: how many of them the node's control group may use; None without a limit.
    :param load_1: processes that ran or waited for a CPU or a disc, on average over the last minute; likewise the
        last 5 and 15 minutes.
    :param cpu_busy_percent: of all CPUs together, within the interval that was asked for.
    :param memory_total_bytes: of the machine.
    :param memory_available_bytes: what programs can still have without swapping.
    :param swap_total_bytes: of the machine, and how much of it is free.
    :param memory_limit_bytes: of the node's control group, such as a container; None without a limit.
    :param memory_limit_used_bytes: what all programs of that group use.
    :param node_resident_bytes: what the node's own process has in memory, by the system's count.
    :param node_swapped_bytes: what of it was swapped out. It should be 0: a collection of garbage touches everything.
    :param open_files_limit: how many files and sockets the node may have open.
    :param disks: the file systems, :data:`_MAX_DISKS` at most.
    :param sources: where the values come from: by ``load``, ``cpu``, ``memory``, ``limits``, ``node`` and ``disks``.
    :param cannot_tell: likewise why some are missing.
    """

    node: str
    os: str
    cpu_count: int | None = None
    cpu_limit: float | None = None
    load_1: float | None = None
    load_5: float | None = None
    load_15: float | None = None
    cpu_busy_percent: float | None = None
    memory_total_bytes: int | None = None
    memory_available_bytes: int | None = None
    swap_total_bytes: int | None = None
    swap_free_bytes: int | None = None
    memory_limit_bytes: int | None = None
    memory_limit_used_bytes: int | None = None
    node_resident_bytes: int | None = None
    node_swapped_bytes: int | None = None
    open_files_limit: int | None = None
    disks: Table[Disk] = field(default_factory=lambda: Table(Disk))
    sources: dict[str, str] = field(default_factory=dict)
    cannot_tell: dict[str, str] = field(default_factory=dict)


class _Findings:
    """What was found so far."""

    def __init__(self) -> None:
        self.values: dict[str, object] = {}
        self.sources: dict[str, str] = {}
        self.cannot_tell: dict[str, str] = {}

    def found(self, subject: str, source: str, **values: object) -> None:
        self.values |= values
        self.sources[subject] = source
        self.cannot_tell.pop(subject, None)

    def missing(self, subject: str, reason: str) -> None:
        """Note why nothing was found, unless something was, or another reason is known."""
        if subject not in self.sources:
            self.cannot_tell.setdefault(subject, reason)


_LOADAVG, _MEMINFO, _STAT = "/proc/loadavg", "/proc/meminfo", "/proc/stat"
_STATUS, _LIMITS, _CGROUP = "/proc/self/status", "/proc/self/limits", "/proc/self/cgroup"


def system(interval: float = 0.5, *, node: str | None = None) -> Operation[System]:
    """The machine of a node.

    :param interval: how long to look how busy the CPUs are, in seconds; 0 leaves that out.
    :param node: which; None is the operation's own node.
    """
    name = yield from node_name(node)
    os, applications = yield from _surroundings(node)
    findings = _Findings()
    if "os_mon" in applications:
        yield from _ask_os_mon(findings, node)
    else:
        for subject in ("load", "memory", "disks"):
            findings.missing(subject, "os_mon does not run on the node")
    if os.startswith("unix/linux"):
        yield from _read_proc(findings, node, interval)
        if "disks" in findings.cannot_tell:
            findings.cannot_tell["disks"] += ", and no file of the system says how full its discs are"
    else:
        for subject in ("cpu", "limits", "node"):
            findings.missing(subject, f"the node runs on {os}, which has no /proc as Linux has")
    return System(
        node=name,
        os=os,
        sources=findings.sources,
        cannot_tell=findings.cannot_tell,
        **findings.values,  # type: ignore[arg-type]
    )


def _surroundings(node: str | None) -> Operation[tuple[str, set[str]]]:
    """The operating system, and what applications run."""
    family, version, applications = yield AllOf(
        tuple(
            Call(module, function, node=node, idempotent=True)
            for module, function in (("os", "type"), ("os", "version"), ("application", "which_applications"))
        )
    )
    for answer in (family, version):
        if isinstance(answer, Exception):
            raise answer
    if isinstance(applications, Exception) and not isinstance(applications, RemoteError | CallTimeout):
        raise applications
    release = ".".join(map(str, version)) if isinstance(version, tuple) else text(version)
    running = set() if isinstance(applications, Exception) else {str(entry[0]) for entry in applications}
    return f"{'/'.join(map(str, family))} {release}", running


def _ask_os_mon(findings: _Findings, node: str | None) -> Operation[None]:
    # Each of its servers can be switched off. To call one that is would write a warning into the node's log.
    servers = {"load": "cpu_sup", "memory": "memsup", "disks": "disksup"}
    whereabouts = yield AllOf(
        tuple(Call("erlang", "whereis", (Atom(server),), node=node, idempotent=True) for server in servers.values())
    )
    running = set()
    for (subject, server), where in zip(servers.items(), whereabouts, strict=True):
        if isinstance(where, Exception) or where == "undefined":
            findings.missing(subject, f"{server} of os_mon does not run on the node")
        else:
            running.add(subject)
    questions = {
        "load": [("cpu_sup", "avg1"), ("cpu_sup", "avg5"), ("cpu_sup", "avg15")],
        "memory": [("memsup", "get_system_memory_data")],
        "disks": [("disksup", "get_disk_data"), ("disksup", "get_check_interval")],
    }
    asked = [(subject, call) for subject in servers if subject in running for call in questions[subject]]
    answers = yield AllOf(
        tuple(
            Call(module, function, node=node, timeout=OS_MON_TIMEOUT, idempotent=True)
            for _, (module, function) in asked
        )
    )
    by_subject: dict[str, list[Term]] = {}
    for (subject, _), answer in zip(asked, answers, strict=True):
        if isinstance(answer, Exception):
            if not isinstance(answer, RemoteError | CallTimeout):
                raise answer
            findings.missing(subject, f"{servers[subject]} of os_mon: {answer}")
        else:
            by_subject.setdefault(subject, []).append(answer)
    _take_load(findings, by_subject.get("load", []))
    _take_memory(findings, by_subject.get("memory", []))
    _take_disks(findings, by_subject.get("disks", []))


def _take_load(findings: _Findings, answers: list[Term]) -> None:
    match answers:
        case [int() as one, int() as five, int() as fifteen]:
            # In 256ths; all are 0 where they could not be found.
            if one or five or fifteen:
                loads = [round(value / 256, 2) for value in (one, five, fifteen)]
                findings.found("load", "cpu_sup of os_mon", load_1=loads[0], load_5=loads[1], load_15=loads[2])


def _take_memory(findings: _Findings, answers: list[Term]) -> None:
    match answers:
        case [[_, *_] as pairs]:
            data = {str(key): number(value) for key, value in pairs}
            total = data.get("system_total_memory") or data.get("total_memory")
            available = data.get("available_memory")
            if available is None and data.get("free_memory") is not None:
                available = sum(data.get(key) or 0 for key in ("free_memory", "buffered_memory", "cached_memory"))
            if total:
                findings.found(
                    "memory",
                    "memsup of os_mon",
                    memory_total_bytes=total,
                    memory_available_bytes=available,
                    swap_total_bytes=data.get("total_swap"),
                    swap_free_bytes=data.get("free_swap"),
                )


def _take_disks(findings: _Findings, answers: list[Term]) -> None:
    match answers:
        case [[_, *_] as disks, int() as interval]:
            rows = [
                Disk(text(name) or "", total * 1024, used)
                for name, total, used in disks[:_MAX_DISKS]
                if isinstance(total, int) and total > 0
            ]
            if rows:
                findings.found(
                    "disks",
                    f"disksup of os_mon, as of its last check; it checks every {interval / 60000:g} minutes",
                    disks=Table(Disk, rows),
                )
            else:
                findings.missing("disks", "disksup of os_mon has not found any")


def _read_proc(findings: _Findings, node: str | None, interval: float) -> Operation[None]:
    try:
        files = yield from _read([_LOADAVG, _MEMINFO, _STAT, _STATUS, _LIMITS, _CGROUP], node)
        groups = _group_files(files[_CGROUP])
        files |= yield from _read(groups, node)
        if interval > 0:
            yield Pause(interval)
            later = (yield from _read([_STAT], node))[_STAT]
            _take_busy(findings, files[_STAT], later)
    except (RemoteError, CallTimeout) as error:
        for subject in ("load", "memory", "limits", "node"):
            findings.missing(subject, f"the files of /proc cannot be read: {error}")
        return
    if "load" not in findings.sources:
        _take_loadavg(findings, files[_LOADAVG])
    if "memory" not in findings.sources:
        _take_meminfo(findings, files[_MEMINFO])
    _take_status(findings, files[_STATUS], files[_LIMITS])
    _take_group(findings, files)


def _read(paths: list[str], node: str | None) -> Operation[dict[str, str | None]]:
    """The beginnings of files; None for one that cannot be read."""
    if not paths:
        return {}
    bindings = {"Paths": [path.encode() for path in paths], "Max": MAX_BYTES}
    contents = yield from run_remote("read_files", bindings, node=node)
    return {
        path: content.decode("utf-8", "replace") if isinstance(content, bytes) else None
        for path, content in zip(paths, contents, strict=True)
    }


def _take_loadavg(findings: _Findings, content: str | None) -> None:
    words = (content or "").split()
    try:
        one, five, fifteen = map(float, words[:3])
    except ValueError:
        findings.missing("load", f"{_LOADAVG} cannot be read")
        return
    findings.found("load", _LOADAVG, load_1=one, load_5=five, load_15=fifteen)


def _take_meminfo(findings: _Findings, content: str | None) -> None:
    found = _kibibytes(content)
    if "MemTotal" not in found:
        findings.missing("memory", f"{_MEMINFO} cannot be read")
        return
    findings.found(
        "memory",
        _MEMINFO,
        memory_total_bytes=found["MemTotal"],
        memory_available_bytes=found.get("MemAvailable"),
        swap_total_bytes=found.get("SwapTotal"),
        swap_free_bytes=found.get("SwapFree"),
    )


def _take_busy(findings: _Findings, before: str | None, after: str | None) -> None:
    was, is_now = _cpu_times(before), _cpu_times(after)
    if was is None or is_now is None or is_now[1] <= was[1]:
        findings.cannot_tell["cpu_busy"] = f"{_STAT} cannot be read, or has not changed"
        return
    busy = (is_now[0] - was[0]) / (is_now[1] - was[1])
    findings.found("cpu_busy", _STAT, cpu_busy_percent=round(100 * min(max(busy, 0), 1), 1))


def _cpu_times(content: str | None) -> tuple[int, int] | None:
    """Busy and whole time of all CPUs, since the machine was started."""
    words = (content or "").partition("\n")[0].split()
    # user nice system idle iowait irq softirq steal; what follows is counted in user already
    times = [int(word) for word in words[1:9] if word.isdecimal()]
    if not words or words[0] != "cpu" or len(times) < 5:
        return None
    return sum(times) - times[3] - times[4], sum(times)


def _take_status(findings: _Findings, status: str | None, limits: str | None) -> None:
    found = _kibibytes(status)
    if "VmRSS" not in found:
        findings.missing("node", f"{_STATUS} cannot be read")
        findings.missing("cpu", f"{_STATUS} cannot be read")
        return
    _, _, rest = (status or "").partition("\nCpus_allowed_list:")
    cpus = _count_ranges(rest.partition("\n")[0])
    if cpus:
        findings.found("cpu", _STATUS, cpu_count=cpus)
    else:
        findings.missing("cpu", f"{_STATUS} does not tell on which CPUs the node may run")
    open_files = None
    for line in (limits or "").splitlines():
        if line.startswith("Max open files"):
            soft = line.split()[3]
            open_files = int(soft) if soft.isdecimal() else None
    findings.found(
        "node",
        f"{_STATUS}, {_LIMITS}",
        node_resident_bytes=found["VmRSS"],
        node_swapped_bytes=found.get("VmSwap"),
        open_files_limit=open_files,
    )


def _group_files(cgroup: str | None) -> list[str]:
    """The files with the limits of the node's control group, in either version of the kernel's interface."""
    roots = []
    for line in (cgroup or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        path = path.rstrip("/")
        if not controllers:
            # In a container, its own group looks like the root.
            roots += [f"/sys/fs/cgroup{path}/{name}" for name in ("memory.max", "memory.current", "cpu.max")]
        elif "memory" in controllers.split(","):
            for base in dict.fromkeys((f"/sys/fs/cgroup/memory{path}", "/sys/fs/cgroup/memory")):
                roots += [f"{base}/memory.limit_in_bytes", f"{base}/memory.usage_in_bytes"]
    return list(dict.fromkeys(roots))


def _take_group(findings: _Findings, files: dict[str, str | None]) -> None:
    limit = used = cpus = None
    source = ""
    for path, content in files.items():
        if content is None:
            continue
        file = path.rpartition("/")[2]
        value = content.strip()
        if file in ("memory.max", "memory.limit_in_bytes") and limit is None:
            if value.isdecimal() and int(value) < _NO_LIMIT:
                limit = int(value)
            source = source or path.rpartition("/")[0]
        elif file in ("memory.current", "memory.usage_in_bytes") and used is None and value.isdecimal():
            used = int(value)
        elif file == "cpu.max":
            quota, _, period = value.partition(" ")
            if quota.isdecimal() and period.isdecimal() and int(period):
                cpus = round(int(quota) / int(period), 2)
            source = source or path.rpartition("/")[0]
    if source:
        findings.found(
            "limits",
            source,
            memory_limit_bytes=limit,
            memory_limit_used_bytes=None if limit is None else used,
            cpu_limit=cpus,
        )
    else:
        findings.missing("limits", "the node's control group shows none, as on a machine without containers")


def _count_ranges(ranges: str) -> int | None:
    """How many numbers ``0-3,8`` stands for."""
    count = 0
    for part in ranges.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdecimal() or not (last or first).isdecimal():
            return None
        count += int(last or first) - int(first) + 1
    return count


def _kibibytes(content: str | None) -> dict[str, int]:
    """Lines like ``MemTotal:  16384 kB``, in bytes."""
    found = {}
    for line in (content or "").splitlines():
        name, _, value = line.partition(":")
        words = value.split()
        if len(words) == 2 and words[1] == "kB" and words[0].isdecimal():
            found[name] = int(words[0]) * 1024
    return found
