"""Fuzzers: inputs that a hostile peer, a damaged file or a typing error could be made of.

Each module with a function ``run`` is a target. ``run`` takes bytes and must end, within bounded time and memory,
either well or in an error of :mod:`iris_admin.errors`; anything else that it raises is a finding.
``python -m tests.fuzz`` looks for findings by atheris; what is kept in ``corpus`` is tried again by
``test_corpus.py``, which needs no atheris.
"""

from __future__ import annotations

from pathlib import Path

#: Every target, by the name of its module.
TARGETS = ("codec", "epmd", "handshake", "framing", "connection", "io_protocol", "syntax", "files")

#: A folder for each target: small inputs worth keeping, findings among them.
CORPUS = Path(__file__).parent / "corpus"
