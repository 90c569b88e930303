"""Encoding and decoding undo one another."""

from __future__ import annotations

import pickle

from hypothesis import given

from iris_admin.proto.etf import canonical, decode, decode_term, encode, encode_term
from iris_admin.terms import Map, Term
from tests.support.term_strategies import all_terms


@given(all_terms())
def test_decoding_gives_the_same_term(term: Term) -> None:
    decoded = decode(encode(term))
    assert decoded == term
    # Python's equality takes 1, 1.0 and True for the same.
    assert repr(decoded) == repr(term)
    assert encode(decoded) == encode(term)


@given(all_terms())
def test_terms_one_behind_another(term: Term) -> None:
    one = encode_term(term)
    assert encode(term) == b"\x83" + one
    assert decode_term(one + one, len(one)) == (term, 2 * len(one))


@given(all_terms())
def test_pickling(term: Term) -> None:
    assert repr(pickle.loads(pickle.dumps(term))) == repr(term)


@given(all_terms())
def test_canonical_forms_ignore_the_order_of_maps(term: Term) -> None:
    assert canonical(_reversed(term)) == canonical(term)


@given(all_terms(), all_terms())
def test_canonical_forms_tell_terms_apart(one: Term, other: Term) -> None:
    if one != other:
        assert canonical(one) != canonical(other)


def _reversed(term: Term) -> Term:
    """The same term with the associations of its maps in the opposite order."""
    if isinstance(term, list | tuple):
        return type(term)(_reversed(element) for element in term)
    if isinstance(term, dict):
        return {key: _reversed(value) for key, value in reversed(term.items())}
    if isinstance(term, Map):
        return Map((_reversed(key), _reversed(value)) for key, value in reversed(term.items()))
    return term
