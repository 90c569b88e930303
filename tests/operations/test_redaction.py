"""What must not leave the operator's hands does not stay in data that others will see."""

from __future__ import annotations

from typing import Any

import pytest

from iris_admin.operations.redaction import REDACTED, is_secret, redact, without_payloads


@pytest.mark.parametrize("name", ["jwt_secret", "password", "cookie", "api_key", "token", b"private_key", "passwd"])
def test_names_of_secrets(name: str | bytes) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["port", "join_seeds", "keys", "monkey", 1, None, ("secret",)])
def test_names_of_other_things(name: object) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize(
    ("value", "cleaned"),
    [
        ({"jwt_secret": "a", "port": 1}, {"jwt_secret": REDACTED, "port": 1}),
        ({"deep": [{"password": ["a"]}]}, {"deep": [{"password": REDACTED}]}),
        ([["token", "a"], ["port", "b"]], [["token", REDACTED], ["port", "b"]]),
        ({"token_ttl_ms": 5, "cookie": None, "tokens": True}, {"token_ttl_ms": 5, "cookie": None, "tokens": True}),
        ("it is c00kie, really", f"it is {REDACTED}, really"),
        ({"c00kie": 1}, {REDACTED: 1}),
        ("eyJhbGciOi.eyJzdWIi.c2ln", REDACTED),
        ("Authorization: Bearer abc.def", f"Authorization: Bearer {REDACTED}"),
        ("a -----BEGIN EC KEY-----\nx\n-----END EC KEY----- b", f"a {REDACTED} b"),
        (1.5, 1.5),
    ],
)
def test_redact(value: Any, cleaned: Any) -> None:
    assert redact(value, ("c00kie", "")) == cleaned


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ('{deliver_msg,<<"hello">>}', "{deliver_msg,<<…>>}"),
        (r'<<"quo\"te">> x', "<<…>> x"),
        ("<<1,2,\n   3>>", "<<…>>"),
        ("<<1,2,3,...>>", "<<…>>"),
        ('<<"cut"...>>', "<<…>>"),
        ('<<"grüße"/utf8>>', "<<…>>"),
        ("no binary << here", "no binary << here"),
    ],
)
def test_without_payloads(text: str, cleaned: str) -> None:
    assert without_payloads(text) == cleaned
