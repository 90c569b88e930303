"""A moment of looking for inputs on which the codecs differ; ``tests.fuzz`` looks for as long as one likes."""

from __future__ import annotations

from tests.proto.compiled import compiled_codec
from tests.proto.fuzz_codecs import Fuzzer


def test_no_difference_is_found() -> None:
    fuzzer = Fuzzer(20_250_101, compiled_codec())
    for _ in range(3000):
        fuzzer.try_value()
        fuzzer.try_bytes()
    assert fuzzer.differences == []
    assert fuzzer.tried > 20_000
