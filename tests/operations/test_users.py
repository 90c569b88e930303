"""User ids, as they are typed and as they are stored."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_admin.errors import EncodeError
from iris_admin.operations.users import user_id


@given(st.binary(min_size=1))
def test_any_bytes_survive_the_command_line(name: bytes) -> None:
    assert user_id(name) == name
    assert user_id(os.fsdecode(name)) == name


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_text_is_utf8(name: str) -> None:
    assert user_id(name) == name.encode()


@pytest.mark.parametrize("name", ["", b""])
def test_nobody_has_an_empty_id(name: str | bytes) -> None:
    with pytest.raises(EncodeError, match="empty"):
        user_id(name)


def test_what_no_command_line_gives_is_refused() -> None:
    with pytest.raises(EncodeError, match="UTF-8"):
        user_id("\ud800")
