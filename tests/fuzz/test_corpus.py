"""What the fuzzers start from and what they have found, tried once more, within bounded time and memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest

from tests.fuzz import CORPUS, TARGETS
from tests.fuzz.check import MOST_SECONDS, Findings, TooSlow, target, within

#: What one input may need while it is tried, in bytes; each is 4 KiB long at most.
MOST_MEMORY = 64 << 20


@pytest.mark.parametrize("name", TARGETS)
def test_corpus(name: str) -> None:
    module = target(name)
    kept = sorted((CORPUS / name).glob("*"))
    assert kept, "every target keeps something"
    for data in [*module.seeds(), *(path.read_bytes() for path in kept)]:
        module.run(data)  # the first time, modules are loaded
        tracemalloc.start()
        try:
            with within(MOST_SECONDS):
                module.run(data)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < MOST_MEMORY, data


def test_every_folder_belongs_to_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)


def test_no_file_is_large() -> None:
    assert all(path.stat().st_size <= 4096 for path in CORPUS.rglob("*") if path.is_file())


class TestTheseChecks:
    """They can fail."""

    def test_what_takes_too_long_is_stopped(self) -> None:
        def endless() -> None:
            while True:
                pass

        with pytest.raises(TooSlow), within(1):
            endless()

    def test_an_undocumented_error_is_kept(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        directory = tmp_path_factory.mktemp("findings")

        def run(data: bytes) -> None:
            raise KeyError(data)

        findings = Findings(directory)
        trial: Callable[[bytes], None] = run
        findings.try_input(trial, b"one")
        findings.try_input(trial, b"two")
        kept = [path for path in directory.iterdir() if path.suffix != ".txt"]
        assert [path.read_bytes() for path in kept] == [b"one"]
