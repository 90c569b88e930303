"""The script and the notebook of ``examples/`` run, as they are, against the demo cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from demo_cluster import DemoCluster
from nbclient import NotebookClient

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_the_script_reports_each_node(demo_cluster: DemoCluster) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "cluster_report.py"],
        env={**os.environ, **demo_cluster.environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert [line.split(": ")[0] for line in done.stdout.splitlines()] == sorted(
        node.name for node in demo_cluster.nodes
    )


def test_the_script_fails_as_the_command_line_does(demo_cluster: DemoCluster) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "cluster_report.py", "nobody@localhost"],
        env={**os.environ, **demo_cluster.environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 69
    assert "iris_core1" in done.stderr


# Of the notebook machinery, not of ours.
@pytest.mark.filterwarnings("ignore")
def test_the_notebook_runs(demo_cluster: DemoCluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {**demo_cluster.environment, "IPYTHONDIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(EXAMPLES / "first_look.ipynb", as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    shown = [str(output) for cell in notebook.cells for output in cell.get("outputs", ())]
    assert any("iris_edge2@localhost" in output for output in shown)
