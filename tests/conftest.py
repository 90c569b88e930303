"""Fixtures that every test can ask for."""

from __future__ import annotations

import importlib.util

pytest_plugins = ["tests.support.erlang"]

# The demo cluster's fixtures join in as soon as they exist.
if importlib.util.find_spec("tests.support.demo") is not None:
    pytest_plugins.append("tests.support.demo")
