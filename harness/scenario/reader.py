"""Strict reading of JSON: a value that knows its path, and errors that say where, with a hint."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from harness.errors import UserError

__all__ = ("Value", "fail", "parse", "quote", "suggest", "text_of")

_MOST_BYTES = 64 << 20

_JSON_TYPES = {dict: "an object", list: "a list", str: "a string", bool: "true or false", int: "a whole number",
               float: "a fraction", type(None): "null"}


def quote(value: object) -> str:
    """A value as JSON, on one line and not long."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "…"


def text_of(path: Path) -> str:
    """What stands in a file of a scenario or a bundle.

    :raises UserError: it is larger than any of those
    :raises OSError: it cannot be read
    :raises UnicodeDecodeError: it is not UTF-8
    """
    with path.open("rb") as file:  # which may be a device without an end
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise UserError(f"{quote(str(path))}: more than {_MOST_BYTES >> 20} MiB", hint="give a scenario's file, or a bundle")
    return content.decode()


def fail(path: str, problem: str, hint: str | None = None) -> NoReturn:
    """Say what makes no sense, and where it stands.

    :raises UserError: always
    """
    raise UserError(f"{path}: {problem}" if path else problem, hint=hint)


def suggest(name: object, allowed: Iterable[str], *, what: str = "known") -> str:
    """The hint for an unknown name: the nearest allowed ones, else all of them."""
    names = sorted(set(allowed))
    folded = {candidate.lower(): candidate for candidate in names}
    word = str(name).lower()
    near = difflib.get_close_matches(word, folded, n=len(folded) or 1, cutoff=0.6)
    near.sort(key=lambda one: (-difflib.SequenceMatcher(None, one, word).ratio(), one))
    listed = ", ".join(names[:40]) + (", …" if len(names) > 40 else "") if names else "none"
    return f"did you mean {quote(folded[near[0]])}? {what}: {listed}" if near else f"{what}: {listed}"


def parse(text: str) -> Value:
    """The document of a JSON text.

    :raises UserError: it is not JSON, or a key appears twice
    """
    try:
        return Value(json.loads(text, object_pairs_hook=_object, parse_constant=_constant))
    except json.JSONDecodeError as error:
        raise UserError(f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}",
                        hint="correct the file there; JSON has no comments and no comma after the last element") from error
    except RecursionError:
        raise UserError("not a scenario: nested too deeply") from None
    except ValueError as error:
        raise UserError(f"not JSON: {str(error).partition(';')[0]}") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise UserError(f"the key {quote(key)} appears twice in one object", hint="remove one of the two")
        result[key] = value
    return result


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


class Value:
    """A JSON value and the path to it. Every method raises :class:`UserError` for a value of another type."""

    def __init__(self, value: object, path: str = "") -> None:
        self.value = value
        self.path = path

    def fail(self, problem: str, hint: str | None = None) -> NoReturn:
        """Refuse the value.

        :raises UserError: always, with the path
        """
        fail(self.path, problem, hint)

    def _wrong_type(self, wanted: str) -> NoReturn:
        found = _JSON_TYPES.get(type(self.value), "something else")
        shown = "" if isinstance(self.value, dict | list) or self.value is None else f" ({quote(self.value)})"
        self.fail(f"expected {wanted}, found {found}{shown}")

    def keys(self, required: Collection[str], optional: Collection[str] = ()) -> None:
        """Refuse an object that lacks a required key, or has one that is neither."""
        value = self.object()
        for key in value:
            if key not in required and key not in optional:
                self.fail(f"unknown key {quote(key)}", suggest(key, [*required, *optional], what="keys"))
        for key in required:
            if key not in value:
                known = [*required, *(f"{name} (optional)" for name in optional)]
                self.fail(f"the key {quote(key)} is missing", f"keys: {', '.join(known)}")

    def object(self) -> dict[str, Any]:
        """The value, an object."""
        if not isinstance(self.value, dict):
            self._wrong_type("an object")
        return self.value

    def __contains__(self, key: str) -> bool:
        return key in self.object()

    def __getitem__(self, key: str) -> Value:
        return Value(self.object()[key], f"{self.path}.{key}" if self.path else key)

    def __iter__(self) -> Iterator[Value]:
        if not isinstance(self.value, list):
            self._wrong_type("a list")
        return (Value(element, f"{self.path}[{index}]") for index, element in enumerate(self.value))

    def string(self) -> str:
        """The value, a string of whole characters."""
        if not isinstance(self.value, str):
            self._wrong_type("a string")
        if not self.value.isascii() and any("\ud800" <= character <= "\udfff" for character in self.value):
            self.fail("has half of a surrogate pair, which is no character", "write the character itself")
        return self.value

    def line(self) -> str:
        """A string of one printable line."""
        text = self.string()
        if not text.isprintable():
            self.fail(f"{quote(text)} is not one printable line", "remove line breaks and control characters")
        return text

    def choice(self, allowed: Collection[str]) -> str:
        """The value, one of some strings."""
        text = self.string()
        if text not in allowed:
            self.fail(f"unknown value {quote(text)}", suggest(text, allowed, what="values"))
        return text

    def integer(self, lowest: int, highest: int) -> int:
        """The value, a whole number within limits, both included."""
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            self._wrong_type("a whole number")
        if not lowest <= self.value <= highest:
            self.fail(f"{self.value} is out of range ({lowest} … {highest})", f"write a number from {lowest} to {highest}")
        return self.value

    def boolean(self) -> bool:
        """The value, ``true`` or ``false``."""
        if not isinstance(self.value, bool):
            self._wrong_type("true or false")
        return self.value
