"""Completion: the scripts, and what they offer."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.support import SCRIPT, clean_environment, run


def offered(*words: str, environment: dict[str, str] | None = None) -> list[str]:
    """What bash would be offered for the last word."""
    asked = {"_IRIS_ADMIN_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(["iris-admin", *words])}
    asked["COMP_CWORD"] = str(len(words))
    exit_code, output, errors = run(environment=asked | (environment or {}))
    assert (exit_code, errors) == (0, "")
    return [line.partition(",")[2] for line in output.splitlines() if line]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script(shell: str) -> None:
    exit_code, output, _ = run("completion", shell)
    assert exit_code == 0
    assert f"_IRIS_ADMIN_COMPLETE={shell}_complete" in output
    if (program := shutil.which(shell)) is not None:
        subprocess.run([program, "-n"], input=output, text=True, check=True)


def test_bash_completes() -> None:
    bash = shutil.which("bash")
    assert bash is not None
    script = (
        'eval "$(iris-admin completion bash)"; COMP_WORDS=(iris-admin red); COMP_CWORD=1; '
        "_iris_admin_completion iris-admin; echo ${COMPREPLY[@]}"
    )
    environment = clean_environment()
    environment["PATH"] = f"{SCRIPT.parent}:{environment['PATH']}"
    done = subprocess.run([bash, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "redeliver\n"


def test_commands() -> None:
    assert {"ping", "nodes", "redeliver"} <= set(offered(""))
    assert {"show", "clear", "restore"} <= set(offered("offline", ""))


def test_options() -> None:
    assert "--dry-run" in offered("redeliver", "--")
    assert {"--node", "--output"} <= set(offered("redeliver", "--"))
    assert offered("redeliver", "-o", "j") == ["json", "jsonl"]


def test_clusters(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('[clusters.prod]\nnode = "a"\n[clusters.pre]\nnode = "b"\n[clusters.test]\nnode = "c"\n')
    environment = {"IRIS_ADMIN_CONFIG": str(file)}
    assert offered("ping", "-c", "pr", environment=environment) == ["pre", "prod"]
    assert offered("ping", "-c", "", environment={"IRIS_ADMIN_CONFIG": str(tmp_path / "none")}) == []
