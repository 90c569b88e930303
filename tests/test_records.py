"""Records behave like the frozen dataclasses that they stand in for."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import subprocess
import sys
from typing import Any

import pytest

from iris_admin.records import record, replace


@record
class Point:
    """A point."""

    x: int
    y: int = 0
    label: str = "here"

    @property
    def far(self) -> bool:
        return self.x > 10


@record
class Even:
    number: int

    def __post_init__(self) -> None:
        if self.number % 2:
            raise ValueError(f"{self.number} is odd")


@record
class Empty:
    pass


def test_values_by_position_by_name_and_by_default() -> None:
    point = Point(1, label="there")
    assert (point.x, point.y, point.label, point.far) == (1, 0, "there", False)


@pytest.mark.parametrize(
    ("args", "named", "problem"),
    [
        ((), {}, "lacks a value for x"),
        ((1, 2, "a", 4), {}, "has 3 fields, and 4 values"),
        ((1,), {"z": 1}, "has no field 'z'"),
        ((1,), {"x": 1}, "two values for 'x'"),
    ],
)
def test_wrong_values(args: tuple[Any, ...], named: dict[str, Any], problem: str) -> None:
    with pytest.raises(TypeError, match=problem):
        Point(*args, **named)


def test_it_cannot_be_changed() -> None:
    point = Point(1)
    with pytest.raises(AttributeError, match="'x' of Point"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError, match="'x' of Point"):
        del point.x
    with pytest.raises(AttributeError):
        point.z = 2  # type: ignore[attr-defined]
    assert not hasattr(point, "__dict__")


def test_equality_and_hash_are_those_of_the_fields() -> None:
    assert Point(1) == Point(1, 0)
    assert Point(1) != Point(2)
    assert Point(2) != Even(2)
    assert Point(1) != (1, 0, "here")
    assert len({Point(1), Point(1, 0), Point(2)}) == 2
    assert Empty() == Empty()
    assert hash(Even(2)) == hash(Even(2))


def test_repr() -> None:
    assert repr(Point(1)) == "Point(x=1, y=0, label='here')"
    assert repr(Empty()) == "Empty()"


def test_it_is_matched_by_position() -> None:
    match Point(1, 2):
        case Point(1, y):
            assert y == 2
        case _:
            raise AssertionError


def test_a_check_is_made_however_it_is_made() -> None:
    with pytest.raises(ValueError, match="3 is odd"):
        Even(3)
    with pytest.raises(ValueError, match="5 is odd"):
        replace(Even(2), number=5)


def test_copies() -> None:
    point = Point(1, 2)
    for again in (pickle.loads(pickle.dumps(point)), copy.copy(point), copy.deepcopy(point), replace(point)):
        assert again == point
    assert replace(point, y=3) == Point(1, 3)


def test_what_help_shows() -> None:
    assert list(inspect.signature(Point).parameters) == ["x", "y", "label"]
    assert str(inspect.signature(Point)) == "(x: 'int', y: 'int' = 0, label: 'str' = 'here')"
    assert Point.__doc__ == "A point."


def test_whoever_takes_it_for_a_dataclass_finds_one() -> None:
    assert dataclasses.is_dataclass(Point)
    assert [(field.name, field.type) for field in dataclasses.fields(Point(1))] == [
        ("x", "int"),
        ("y", "int"),
        ("label", "str"),
    ]
    assert dataclasses.fields(Point)[0].default is dataclasses.MISSING
    assert dataclasses.fields(Point)[1].default == 0
    assert dataclasses.asdict(Point(1)) == {"x": 1, "y": 0, "label": "here"}
    assert dataclasses.replace(Point(1), y=3) == Point(1, 3)
    assert dataclasses.fields(Empty) == ()


def test_methods_of_a_base_stay() -> None:
    class Base:
        __slots__ = ()

        def __repr__(self) -> str:
            return "base"

    @record
    class Derived(Base):
        x: int

    assert repr(Derived(1)) == "base"
    assert Derived(1) == Derived(1)


def test_no_reference_to_the_class_that_was_replaced() -> None:
    # With slots the class is made twice; the first one must not live on.
    program = (
        "import gc; from tests.test_records import Point; gc.collect();"
        "print(len([c for c in gc.get_objects() if isinstance(c, type) and c.__name__ == 'Point']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
