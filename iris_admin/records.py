"""Values with named fields that cannot be changed.

What :func:`record` makes behaves like a frozen dataclass with slots. Defining one takes a fiftieth of the time, because
no code is generated: a dataclass compiles its methods anew each time a program starts, and a command that asks a
node one question would spend more time on that than on the question. Whoever takes one for a dataclass finds it to be
one: :func:`dataclasses.fields`, ``asdict`` and ``replace`` do what they say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import get_annotations
from operator import attrgetter
from typing import Any, NoReturn, TypeVar, dataclass_transform

T = TypeVar("T")

#: What comes with every class, and is made anew for one with slots.
_NOT_COPIED = frozenset({"__dict__", "__weakref__"})


@dataclass_transform(frozen_default=True)
def record(cls: type[T]) -> type[T]:
    """Make a class of annotated fields one of values that cannot be changed.

    They are compared and hashed by their fields, can be pickled, matched by position, and are checked by
    ``__post_init__``, if the class has one. Its methods may not use ``super()`` without arguments, as the class is
    made again, with slots.
    """
    names = tuple(get_annotations(cls))
    namespace = {name: value for name, value in cls.__dict__.items() if name not in _NOT_COPIED}
    defaults = {name: namespace.pop(name) for name in names if name in namespace}
    for name, method in _METHODS.items():
        # What the class or a base of it has stays.
        if getattr(cls, name, None) is getattr(object, name, None):
            namespace[name] = method
    namespace |= {"__slots__": names, "__match_args__": names, "__defaults__": defaults}
    namespace["_values"] = staticmethod(attrgetter(*names) if names else _no_values)
    made: Any = type(cls.__name__, cls.__bases__, namespace)
    setters = [made.__dict__[name].__set__ for name in names]
    made.__init__ = _initializer(names, defaults, setters, namespace.get("__post_init__"))
    result: type[T] = made
    return result


def replace(value: T, /, **changes: Any) -> T:
    """A copy of a record, or of a dataclass, with other values in some of its fields."""
    names: Sequence[str] = value.__match_args__  # type: ignore[attr-defined]
    return type(value)(**{name: getattr(value, name) for name in names} | changes)


def _initializer(
    names: tuple[str, ...],
    defaults: dict[str, Any],
    setters: Sequence[Callable[[Any, Any], None]],
    check: Callable[[Any], None] | None,
) -> Callable[..., None]:
    count = len(names)

    def initialize(self: Any, *args: Any, **named: Any) -> None:
        if named or len(args) != count:
            args = _bind(type(self).__name__, names, defaults, args, named)
        for set_field, value in zip(setters, args, strict=True):
            set_field(self, value)
        if check is not None:
            check(self)

    return initialize


def _bind(
    of: str, names: tuple[str, ...], defaults: dict[str, Any], args: tuple[Any, ...], named: dict[str, Any]
) -> tuple[Any, ...]:
    """The values of all fields, in order.

    :raises TypeError: one is missing, unknown, or given twice.
    """
    if len(args) > len(names):
        raise TypeError(f"{of} has {len(names)} fields, and {len(args)} values were given")
    given = dict(zip(names, args, strict=False))
    for name in named:
        if name not in names:
            raise TypeError(f"{of} has no field {name!r}")
        if name in given:
            raise TypeError(f"{of} was given two values for {name!r}")
    values = {**defaults, **given, **named}
    if len(values) < len(names):
        raise TypeError(f"{of} lacks a value for {', '.join(name for name in names if name not in values)}")
    return tuple([values[name] for name in names])


def _no_values(_self: Any) -> tuple[()]:
    return ()


def _repr(self: Any) -> str:
    inside = ", ".join([f"{name}={getattr(self, name)!r}" for name in self.__match_args__])
    return f"{type(self).__qualname__}({inside})"


def _eq(self: Any, other: Any) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    return self._values(self) == self._values(other)


def _hash(self: Any) -> int:
    return hash(self._values(self))


def _reduce(self: Any) -> tuple[Any, ...]:
    return type(self), tuple([getattr(self, name) for name in self.__match_args__])


def _refuse_assignment(self: Any, name: str, _value: object) -> NoReturn:
    raise AttributeError(f"cannot assign to field {name!r} of {type(self).__name__}, which cannot be changed")


def _refuse_deletion(self: Any, name: str) -> NoReturn:
    raise AttributeError(f"cannot delete field {name!r} of {type(self).__name__}, which cannot be changed")


class _Signature:
    """What :func:`inspect.signature` and a notebook's help say of the class: made when somebody asks."""

    def __get__(self, _value: object, of: type) -> Any:
        from inspect import Parameter, Signature

        annotations, defaults = of.__annotations__, of.__dict__["__defaults__"]
        return Signature(
            [
                Parameter(
                    name,
                    Parameter.POSITIONAL_OR_KEYWORD,
                    default=defaults.get(name, Parameter.empty),
                    annotation=annotations[name],
                )
                for name in of.__match_args__  # type: ignore[attr-defined]
            ]
        )


class _DataclassFields:
    """What the module dataclasses looks for: made when somebody asks."""

    def __get__(self, _value: object, of: type) -> Any:
        from dataclasses import field, make_dataclass

        annotations, defaults = of.__annotations__, of.__dict__["__defaults__"]
        made: Any = make_dataclass(
            of.__name__,
            [
                (name, annotations[name], *([field(default=defaults[name])] if name in defaults else []))
                for name in of.__match_args__  # type: ignore[attr-defined]
            ],
        )
        of.__dataclass_fields__ = made.__dataclass_fields__  # type: ignore[attr-defined]
        return made.__dataclass_fields__


_METHODS: dict[str, Any] = {
    "__repr__": _repr,
    "__eq__": _eq,
    "__hash__": _hash,
    "__reduce__": _reduce,
    "__replace__": replace,
    "__setattr__": _refuse_assignment,
    "__delattr__": _refuse_deletion,
    "__signature__": _Signature(),
    "__dataclass_fields__": _DataclassFields(),
}
