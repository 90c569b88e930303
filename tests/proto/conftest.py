"""The tests of the codec run twice: on the codec in Python and on its compiled twin."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from iris_admin.proto import _etf_decode, _etf_encode, etf
from tests.proto.compiled import compiled_codec

#: These compare the two, and so need both at once.
_COMPARISONS = {"tests.proto.test_etf_twin", "tests.proto.test_etf_fuzzed"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    name = metafunc.module.__name__
    if name.startswith("tests.proto.test_etf_") and name not in _COMPARISONS:
        metafunc.parametrize("codec", ["pure", "compiled"], indirect=True, scope="module")


@pytest.fixture(scope="module", autouse=True)
def codec(request: pytest.FixtureRequest) -> Iterator[None]:
    """Put one of the codecs behind the functions of ``etf``, and in place of those that the tests have imported."""
    match getattr(request, "param", None):
        case None:
            yield
            return
        case "pure":
            decode, decode_term = _etf_decode.decode, _etf_decode.decode_term
            encode, encode_term = _etf_encode.encode, _etf_encode.encode_term
        case "compiled":
            twin = compiled_codec()
            decode, decode_term, encode, encode_term = twin.decode, twin.decode_term, twin.encode, twin.encode_term
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(etf, "_decode", decode)
        patch.setattr(etf, "_decode_term", decode_term)
        for module in (etf, request.module):
            patch.setattr(module, "encode", encode, raising=False)
            patch.setattr(module, "encode_term", encode_term, raising=False)
        yield
