"""A site's own commands: written in a line, run without a shell."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from iris_admin.errors import ConfigError
from iris_admin.site_command import run_command, site_command


class TestWords:
    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("ssh {host} sudo systemctl start iris@{name}", ("ssh", "db1", "sudo", "systemctl", "start", "iris@edge")),
            ("start '{node} now'", ("start", "edge@db1 now")),
            ("{other} {", ("{other}", "{")),
        ],
    )
    def test_placeholders(self, line: str, words: tuple[str, ...]) -> None:
        assert site_command(line, "edge@db1") == words

    def test_no_shell_sees_it(self) -> None:
        assert site_command("echo $(id) ; rm {name}", "a-b@h") == ("echo", "$(id)", ";", "rm", "a-b")

    @pytest.mark.parametrize("line", ["echo 'open", "  "])
    def test_what_is_no_command(self, line: str) -> None:
        with pytest.raises(ConfigError):
            site_command(line, "edge@db1")


class TestRunning:
    def test_output(self) -> None:
        ended = run_command([sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr)"], 30)
        assert ended.problem is None
        assert sorted(ended.output.split()) == ["err", "out"]

    @pytest.mark.parametrize(
        ("program", "problem"),
        [
            ("raise SystemExit(3)", "exit code 3"),
            ("import os; os.kill(os.getpid(), 9)", "signal 9 ended it"),
        ],
    )
    def test_failure(self, program: str, problem: str) -> None:
        assert run_command([sys.executable, "-c", program], 30).problem == problem

    def test_no_such_program(self, tmp_path: Path) -> None:
        ended = run_command([str(tmp_path / "nothing")], 30)
        assert str(ended.problem).endswith("nothing: no such file or directory")

    def test_too_long(self) -> None:
        program = "import time; print('begun', flush=True); time.sleep(60)"
        ended = run_command([sys.executable, "-c", program], 2)
        assert (ended.problem, ended.output) == ("it had not ended after 2 s", "begun\n")

    def test_what_it_leaves_running_is_not_waited_for(self, tmp_path: Path) -> None:
        pid_file = tmp_path / "pid"
        program = (
            "import subprocess, sys; "
            "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
            f"open({str(pid_file)!r}, 'w').write(str(child.pid))"
        )
        start = time.monotonic()
        assert run_command([sys.executable, "-c", program], 30).problem is None
        assert time.monotonic() - start < 20
        os.kill(int(pid_file.read_text()), signal.SIGKILL)

    def test_end_of_a_long_output(self) -> None:
        ended = run_command([sys.executable, "-c", "print('x' * 100000 + 'end')"], 30)
        assert len(ended.output) == 20_000
        assert ended.output.endswith("end\n")
