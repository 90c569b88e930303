"""Fixtures for the command line's tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import Result
from demo_cluster import DemoCluster

from tests.cli.support import invoke


@pytest.fixture
def demo_environment(demo_cluster: DemoCluster) -> dict[str, str]:
    """The variables that lead to the shared demo cluster."""
    return dict(demo_cluster.environment)


@pytest.fixture
def on_demo(demo_environment: dict[str, str]) -> Callable[..., Result]:
    """Run a command on the shared demo cluster; by default it must succeed."""

    def run(*words: str, exit_code: int = 0) -> Result:
        result = invoke(*words, environment=demo_environment)
        assert result.exit_code == exit_code, result.stderr
        return result

    return run
