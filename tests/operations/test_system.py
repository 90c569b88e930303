"""The machine of a node, by what os_mon and the files of a system say."""

from __future__ import annotations

from typing import Any

import pytest

from iris_admin.errors import CallTimeout, NodeDown, RemoteError
from iris_admin.operations.steps import Call
from iris_admin.operations.system import System, system
from iris_admin.terms import Atom, Term, charlist
from tests.operations.conftest import Run

UNDEFINED = Atom("undefined")
STATUS = "Name:\tbeam.smp\nVmRSS:\t  2048 kB\nVmSwap:\t     4 kB\nCpus_allowed:\t7\nCpus_allowed_list:\t0-1,5\nX:\t1\n"
FILES = {
    "/proc/loadavg": "0.50 1.25 2.00 3/400 1234\n",
    "/proc/meminfo": "MemTotal:  1000 kB\nMemFree: 10 kB\nMemAvailable: 400 kB\nSwapTotal: 20 kB\nSwapFree: 5 kB\n",
    "/proc/self/status": STATUS,
    "/proc/self/limits": "Limit  Soft Limit  Hard Limit  Units\nMax open files   1024   4096   files\n",
    "/proc/self/cgroup": "0::/\n",
}
STATS = ["cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 2 3\n", "cpu  150 0 150 750 150 0 0 0 0 0\n"]


class Machine:
    """Answers as a node on some machine would.

    :param files: its files; None for a system without /proc.
    :param os_mon: what functions of os_mon return, or raise; None where it does not run.
    """

    def __init__(self, files: dict[str, str] | None = None, os_mon: dict[str, Any] | None = None) -> None:
        self.files = FILES if files is None else files
        self.os_mon = os_mon
        self.stats = iter(STATS)
        self.run = Run(self.answer)

    def answer(self, call: Call) -> Any:
        match call.function:
            case "type":
                return Atom("unix"), Atom("linux")
            case "version":
                return 6, 1, 0
            case "which_applications":
                names = ["kernel"] if self.os_mon is None else ["kernel", "os_mon"]
                return [(Atom(name), charlist(""), charlist("1")) for name in names]
            case "whereis":
                (server,) = call.args
                running = any(name.startswith(f"{server}:") for name in self.os_mon or {})
                return Atom("a pid") if running else UNDEFINED
            case "read_files":
                paths = [path.decode() for path in call.args[0]["Paths"]]
                return [self.read(path) for path in paths]
        assert self.os_mon is not None
        return self.os_mon[f"{call.module}:{call.function}"]

    def read(self, path: str) -> Term:
        if path == "/proc/stat":
            return next(self.stats).encode()
        return self.files[path].encode() if path in self.files else Atom("enoent")

    def look(self, interval: float = 0.5) -> System:
        return self.run(system(interval, node="a@b"))


class TestFiles:
    def test_all(self) -> None:
        machine = Machine()
        found = machine.look()
        assert found.os == "unix/linux 6.1.0"
        assert (found.load_1, found.load_5, found.load_15) == (0.5, 1.25, 2.0)
        assert (found.memory_total_bytes, found.memory_available_bytes) == (1024000, 409600)
        assert (found.swap_total_bytes, found.swap_free_bytes) == (20480, 5120)
        assert (found.cpu_count, found.cpu_limit) == (3, None)
        # Of 200 that passed, 100 were idle or waited for a disc.
        assert found.cpu_busy_percent == 50.0
        assert (found.node_resident_bytes, found.node_swapped_bytes, found.open_files_limit) == (2 << 20, 4096, 1024)
        assert (found.memory_limit_bytes, found.memory_limit_used_bytes) == (None, None)
        assert list(found.disks) == []
        assert machine.run.paused == [0.5]
        assert found.sources == {
            "load": "/proc/loadavg",
            "memory": "/proc/meminfo",
            "cpu_busy": "/proc/stat",
            "cpu": "/proc/self/status",
            "node": "/proc/self/status, /proc/self/limits",
        }
        assert found.cannot_tell == {
            "disks": "os_mon does not run on the node, and no file of the system says how full its discs are",
            "limits": "the node's control group shows none, as on a machine without containers",
        }

    def test_nothing_is_timed_without_an_interval(self) -> None:
        machine = Machine()
        assert machine.look(0).cpu_busy_percent is None
        assert machine.run.paused == []

    @pytest.mark.parametrize(
        ("cgroup", "files", "expected"),
        [
            (
                "0::/\n",
                {"memory.max": "5000\n", "memory.current": "3000\n", "cpu.max": "150000 100000\n"},
                (5000, 3000, 1.5),
            ),
            (
                "0::/\n",
                {"memory.max": "max\n", "memory.current": "3000\n", "cpu.max": "max 100000\n"},
                (None, None, None),
            ),
            ("0::/system.slice/iris.service\n", {"system.slice/iris.service/memory.max": "7"}, (7, None, None)),
            (
                "4:cpu,cpuacct:/x\n3:memory:/x\n0::/\n",
                {"memory/x/memory.limit_in_bytes": "5000\n", "memory/x/memory.usage_in_bytes": "10\n"},
                (5000, 10, None),
            ),
            # In a container, its own group is what is mounted.
            ("3:memory:/docker/abc\n", {"memory/memory.limit_in_bytes": "5000\n"}, (5000, None, None)),
            ("3:memory:/\n", {"memory/memory.limit_in_bytes": str((1 << 63) - 4096)}, (None, None, None)),
        ],
    )
    def test_limits(self, cgroup: str, files: dict[str, str], expected: tuple[Any, ...]) -> None:
        groups = {f"/sys/fs/cgroup/{name}": content for name, content in files.items()}
        found = Machine(FILES | {"/proc/self/cgroup": cgroup} | groups).look()
        assert (found.memory_limit_bytes, found.memory_limit_used_bytes, found.cpu_limit) == expected
        assert found.sources["limits"].startswith("/sys/fs/cgroup")

    def test_files_that_cannot_be_read(self) -> None:
        found = Machine({}).look()
        assert (found.load_1, found.memory_total_bytes, found.cpu_count, found.node_resident_bytes) == (None,) * 4
        assert set(found.cannot_tell) == {"load", "memory", "disks", "limits", "node", "cpu"}
        assert found.cannot_tell["load"] == "os_mon does not run on the node"

    @pytest.mark.parametrize("content", ["", "x y z", "MemTotal\nCpus_allowed_list", "cpu a b c"])
    def test_files_that_say_something_else(self, content: str) -> None:
        files = dict.fromkeys([*FILES, "/proc/self/cgroup"], content)
        assert Machine(files).look().memory_total_bytes is None

    def test_another_system(self) -> None:
        def answer(call: Call) -> Any:
            match call.function:
                case "type":
                    return Atom("win32"), Atom("nt")
                case "version":
                    return charlist("10.0")
            return []

        run = Run(answer)
        found = run(system(node="a@b"))
        assert found.os == "win32/nt 10.0"
        assert found.cannot_tell["node"] == "the node runs on win32/nt 10.0, which has no /proc as Linux has"
        assert set(found.cannot_tell) == {"load", "memory", "disks", "cpu", "limits", "node"}
        assert "remote:read_files" not in run.names

    def test_a_lost_node_is_an_error(self) -> None:
        with pytest.raises(NodeDown):
            Run(lambda call: NodeDown("gone"))(system(node="a@b"))


OS_MON: dict[str, Any] = {
    "cpu_sup:avg1": 256,
    "cpu_sup:avg5": 128,
    "cpu_sup:avg15": 64,
    "memsup:get_system_memory_data": [
        (Atom("system_total_memory"), 9000),
        (Atom("free_memory"), 10),
        (Atom("buffered_memory"), 20),
        (Atom("cached_memory"), 30),
        (Atom("total_swap"), 40),
        (Atom("free_swap"), 35),
    ],
    "disksup:get_disk_data": [(charlist("/"), 100, 7), (charlist("/proc"), 0, 0)],
    "disksup:get_check_interval": 1800000,
}


class TestOsMon:
    def test_all(self) -> None:
        found = Machine(os_mon=OS_MON).look()
        assert (found.load_1, found.load_5, found.load_15) == (1.0, 0.5, 0.25)
        assert (found.memory_total_bytes, found.memory_available_bytes, found.swap_free_bytes) == (9000, 60, 35)
        assert found.disks.to_dicts() == [{"name": "/", "total_bytes": 102400, "used_percent": 7}]
        assert found.sources["disks"] == "disksup of os_mon, as of its last check; it checks every 30 minutes"
        assert (found.sources["load"], found.sources["memory"]) == ("cpu_sup of os_mon", "memsup of os_mon")
        assert "disks" not in found.cannot_tell

    def test_it_knows_what_is_available(self) -> None:
        data = [*OS_MON["memsup:get_system_memory_data"], (Atom("available_memory"), 77)]
        found = Machine(os_mon=OS_MON | {"memsup:get_system_memory_data": data}).look()
        assert found.memory_available_bytes == 77

    def test_what_does_not_answer_is_read_from_files(self) -> None:
        late = CallTimeout("no answer within 5 s")
        broken = RemoteError("noproc", reason=Atom("noproc"))
        found = Machine(
            os_mon=OS_MON
            | {"cpu_sup:avg1": late, "memsup:get_system_memory_data": broken, "disksup:get_disk_data": late}
        ).look()
        assert (found.load_1, found.sources["load"]) == (0.5, "/proc/loadavg")
        assert (found.memory_total_bytes, found.sources["memory"]) == (1024000, "/proc/meminfo")
        assert found.cannot_tell["disks"].startswith("disksup of os_mon: no answer within 5 s")

    def test_parts_that_are_switched_off_are_not_asked(self) -> None:
        part = {name: value for name, value in OS_MON.items() if name.startswith("cpu_sup")}
        machine = Machine(os_mon=part)
        found = machine.look()
        assert found.sources["memory"] == "/proc/meminfo"
        assert found.cannot_tell["disks"].startswith("disksup of os_mon does not run on the node")
        assert not [name for name in machine.run.names if name.startswith(("memsup", "disksup"))]

    def test_zeroes_are_no_answer(self) -> None:
        silent = {"cpu_sup:avg1": 0, "cpu_sup:avg5": 0, "cpu_sup:avg15": 0, "memsup:get_system_memory_data": []}
        none = {"disksup:get_disk_data": [(charlist("none"), 0, 0)]}
        found = Machine(os_mon=OS_MON | silent | none).look()
        assert (found.sources["load"], found.sources["memory"]) == ("/proc/loadavg", "/proc/meminfo")
        assert found.cannot_tell["disks"].startswith("disksup of os_mon has not found any")
