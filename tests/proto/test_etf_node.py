"""The codec against a real node."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iris_admin.proto.etf import decode, encode
from iris_admin.terms import Term
from tests.support.erlang import ErlangNode
from tests.support.term_strategies import terms

SOURCE = Path(__file__).parents[1] / "support" / "erl" / "iris_admin_test_terms.erl"
MODULE = SOURCE.stem


@pytest.fixture(scope="module")
def node_with_terms(erlang_node: ErlangNode) -> Iterator[ErlangNode]:
    compiled = f'{{ok, {MODULE}, Code}} = compile:file("{SOURCE}", [binary]), code:load_binary({MODULE}, "", Code)'
    erlang_node.evaluate(compiled)
    yield erlang_node
    erlang_node.evaluate(f"code:delete({MODULE}), code:purge({MODULE})")


@pytest.mark.parametrize("seed", [1])
def test_ten_thousand_terms_of_a_node(node_with_terms: ErlangNode, tmp_path: Path, seed: int) -> None:
    count = 10_000
    made, returned = tmp_path / "made", tmp_path / "returned"
    assert node_with_terms.evaluate(f'{MODULE}:write("{made}", {seed}, {count})') == "ok"
    with returned.open("wb") as file:
        for data in _frames(made.read_bytes()):
            again = encode(decode(data))
            file.write(struct.pack(">I", len(again)) + again)
    assert node_with_terms.evaluate(f'{MODULE}:differences("{returned}", {seed}, {count})') == "[]"


def _frames(data: bytes) -> Iterator[bytes]:
    offset = 0
    while offset < len(data):
        (size,) = struct.unpack_from(">I", data, offset)
        yield data[offset + 4 : offset + 4 + size]
        offset += 4 + size


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(terms(), max_size=10))
def test_a_node_reads_what_is_encoded_here(erlang_node: ErlangNode, values: list[Term]) -> None:
    data = encode(values)
    text = base64.b64encode(data).decode()
    returned = erlang_node.evaluate_bytes(f'term_to_binary(binary_to_term(base64:decode("{text}")))')
    assert decode(returned) == values
