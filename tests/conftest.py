"""Fixtures that every test can ask for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest_plugins = ["tests.support.erlang", "tests.support.certificates", "tests.support.demo"]


@pytest.fixture(autouse=True, scope="session")
def _no_traces_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the tests change is recorded where it is removed, not among what the operator of this machine did."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IRIS_ADMIN_AUDIT_FILE", str(tmp_path_factory.mktemp("audit") / "audit.jsonl"))
        patch.setenv("IRIS_ADMIN_BACKUP_DIR", str(tmp_path_factory.mktemp("backups")))
        yield
