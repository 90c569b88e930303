"""The external term format: both codecs, and what is shown of what was decoded."""

from __future__ import annotations

import json

from iris_admin.errors import DecodeError, IrisAdminError
from iris_admin.json_values import to_json_text, to_json_value
from iris_admin.proto import _etf_decode, _etf_encode
from iris_admin.syntax import format_term
from tests.fuzz.choices import Choices
from tests.proto.compiled import compiled_codec
from tests.proto.fuzz_codecs import random_value
from tests.proto.test_etf_hostile import SAMPLES
from tests.proto.test_etf_twin import compare, compare_coming
from tests.support.hostile import DANGEROUS


def seeds() -> list[bytes]:
    """Terms as nodes encode them."""
    return [b"\0" + sample for sample in SAMPLES] + [b"\1" + bytes(range(256))]


def run(data: bytes) -> None:
    """Decode the bytes, or encode a value that is made of them."""
    twin = compiled_codec()
    if data[:1] == b"\1":
        compare(_etf_encode.encode, twin.encode, random_value(Choices(data[1:]), 4))
        return
    encoded = data[1:]
    compare(_etf_decode.decode_term, twin.decode_term, encoded, 1)
    compare(_etf_decode.decode, twin.decode, encoded)
    compare_coming(twin, encoded, len(encoded) % 5)
    try:
        value = _etf_decode.decode(encoded)
    except DecodeError as error:
        assert error.offset is None or error.offset >= 0  # noqa: PT017
        return
    compare(_etf_encode.encode, twin.encode, value)
    assert not DANGEROUS.search(format_term(value))
    try:
        text = to_json_text(to_json_value(value))
    except IrisAdminError:
        return
    assert text.isprintable(), text
    json.loads(text)
