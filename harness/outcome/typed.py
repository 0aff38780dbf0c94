"""Whether what was read of a file is of the kinds that its annotations name."""

from __future__ import annotations

from dataclasses import is_dataclass
from functools import cache
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

__all__ = ("checked",)

_T = TypeVar("_T")
#: No number of a kernel's is outside: 64 bits, with or without a sign.
_NUMBERS = range(-(1 << 63), 1 << 64)


def checked(value: _T) -> _T:
    """The value.

    :param value: a dataclass's or a named tuple's
    :raises ValueError: a field, or a field of what it holds, is not of the kind that its annotation names
    """
    kind: type = type(value)
    for name, wanted in _fields(kind).items():
        if not _fits(found := getattr(value, name), wanted):
            raise ValueError(f"{name}: {found!r}")
    return value


@cache
def _fields(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _fits(value: Any, wanted: Any) -> bool:
    """Whether a value is of the wanted type, at the top.

    :raises ValueError: a field or an element of the value is of another type than its annotation says
    """
    origin, arguments = get_origin(wanted), get_args(wanted)
    if origin in (Union, UnionType):
        return any(_fits(value, each) for each in arguments)
    if origin is Literal:
        return value in arguments
    if not isinstance(value, origin or wanted):
        return False
    if origin is tuple:
        kinds = arguments[:1] * len(value) if arguments[-1] is ... else arguments
        return len(value) == len(kinds) and all(map(_fits, value, kinds))
    if wanted is int:
        return not isinstance(value, bool) and value in _NUMBERS
    if is_dataclass(wanted) or hasattr(wanted, "_fields"):
        checked(value)
    return True
