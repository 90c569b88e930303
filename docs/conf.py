"""Configuration of Sphinx: ``sphinx-build -W -b html docs docs/_build/html``."""

from importlib.metadata import version as version_of

project = "iris_admin"
author = "The iris_admin authors"
copyright = "2026, The iris_admin authors"
version = release = version_of("iris-admin")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_click"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"iris_admin {release}"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
