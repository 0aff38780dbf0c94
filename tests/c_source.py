"""Enums, constants and structures read from C source, for tests that compare Python's mirror of them."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Mapping
from typing import Any

__all__ = ("Packed", "constants", "enumerators", "every_enumerator", "packed", "structure")

#: C type → its ctypes counterpart, which has the same size and alignment on amd64.
_SCALARS: dict[str, Any] = {
    "u8": ctypes.c_uint8, "u16": ctypes.c_uint16, "u32": ctypes.c_uint32, "u64": ctypes.c_uint64,
    "s32": ctypes.c_int32, "char": ctypes.c_char,
}
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)

Packed = Mapping[str, "int | bytes | Packed"]


def enumerators(source: str, name: str, prefix: str) -> dict[str, int]:
    """The members of ``enum name`` without *prefix*; a member without a value is one more than the member before.

    Members that begin with two underscores are left out.
    """
    (body,) = re.findall(rf"enum {name} {{(.*?)}};", _COMMENT.sub("", source), re.DOTALL)
    found: dict[str, int] = {}
    value = -1
    for member in filter(None, (part.strip() for part in body.split(","))):
        label, _, given = member.partition("=")
        value = int(given, 0) if given else value + 1
        if not label.startswith("__"):
            assert label.strip().startswith(prefix), member
            found[label.strip().removeprefix(prefix)] = value
    return found


def every_enumerator(source: str) -> dict[str, int]:
    """The members of all enums of a header, without those whose value is no number, shift, sum or earlier member, nor counted from one."""
    found: dict[str, int] = {}
    text = re.sub(r"^\s*#.*$", "", _COMMENT.sub("", source), flags=re.MULTILINE)
    for body in re.findall(r"\benum\s*\w*\s*{(.*?)}", text, re.DOTALL):
        value: int | None = -1
        for label, given in re.findall(r"(\w+)\s*(?:=\s*([^,]+?)\s*)?(?:,|$)", body.strip()):
            value = _value(given, found) if given else None if value is None else value + 1
            if value is not None:
                found[label] = value
    return found


def _value(expression: str, known: Mapping[str, int]) -> int | None:
    """What an enumerator is set to; ``None`` for what is not understood."""
    if shift := re.fullmatch(r"\(?(\w+)\s*<<\s*(\w+)\)?", expression):
        one, bits = _value(shift[1], known), _value(shift[2], known)
        return None if one is None or bits is None else one << bits
    if " + " in expression:
        terms = [_value(term, known) for term in expression.split(" + ")]
        return None if None in terms else sum(filter(None, terms))
    if number := re.fullmatch(r"(0x[0-9a-fA-F]+|\d+)U?", expression):
        return int(number[1], 0)
    return known.get(expression)


def constants(source: str, prefix: str = "") -> dict[str, int]:
    """``#define NAME NUMBER`` of every name that begins with *prefix*, without *prefix*."""
    found = re.findall(rf"^#define {prefix}(\w+)\s+(\d+|0x[0-9A-Fa-f]+)\s*$", _COMMENT.sub("", source), re.MULTILINE)
    return {name: int(value, 0) for name, value in found}


def structure(source: str, name: str, sizes: Mapping[str, int]) -> type[ctypes.Structure]:
    """``struct name`` as the compiler lays it out.

    :param sizes: constants that array lengths are written with
    """
    (body,) = re.findall(rf"^struct {name} {{(.*?)^}};", _COMMENT.sub("", source), re.DOTALL | re.MULTILINE)
    fields: list[tuple[str, Any]] = []
    for kind, declarators in re.findall(r"((?:struct )?\w+) ([^;]+);", body):
        base = structure(source, kind.removeprefix("struct "), sizes) if kind.startswith("struct ") else _SCALARS[kind]
        for declarator in declarators.split(","):
            label, length = re.fullmatch(r"\s*(\w+)(?:\[(\w+)\])?\s*", declarator).groups()  # type: ignore[union-attr]
            fields.append((label, base * (int(length) if length.isdigit() else sizes[length]) if length else base))
    return type(name, (ctypes.Structure,), {"_fields_": fields})


def packed(layout: type[ctypes.Structure], values: Packed) -> bytes:
    """A structure with these members, every other byte 0xff, so that a reader of padding is noticed."""
    whole = layout.from_buffer_copy(b"\xff" * ctypes.sizeof(layout))
    for name, value in values.items():
        kind: Any = next(field[1] for field in layout._fields_ if field[0] == name)
        if isinstance(value, bytes):
            at = getattr(layout, name).offset
            ctypes.memmove(ctypes.addressof(whole) + at, value.ljust(ctypes.sizeof(kind), b"\0"), ctypes.sizeof(kind))
        elif isinstance(value, Mapping):
            setattr(whole, name, kind.from_buffer_copy(packed(kind, value)))
        else:
            setattr(whole, name, value)
    return bytes(whole)
