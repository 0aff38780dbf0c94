"""A test author's mistakes: what was wrong, what there is, and the nearest."""

from __future__ import annotations

import errno as errno_names
import os
import reprlib
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

import harness
from harness.errors import Mistake, NfharnessError, UserError
from harness.scenario.reader import quote, suggest

__all__ = ("Mistake", "check_command", "chosen", "errno_number", "number", "of_kind", "retold", "shortened", "text")

T = TypeVar("T")
_CODE = Path(harness.__file__).parent
_ERRNO_MAX = 4095


def chosen(what: str, value: object, choices: Mapping[str, T]) -> T:
    """The choice of that name, in capitals or not.

    :raises Mistake: there is none
    """
    folded = {name.lower(): choice for name, choice in choices.items()}
    if not isinstance(value, str) or value.lower() not in folded:
        raise Mistake(f"there is no {what} {_shown(value)}", hint=suggest(value, choices, what="there are"))
    return folded[value.lower()]


def number(what: str, value: object, low: int, high: int) -> int:
    """The number.

    :raises Mistake: it is none, or out of range
    """
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise Mistake(f"{what} is {_shown(value)}", hint=f"a number from {low} to {high}")
    return int(value)


def errno_number(value: object) -> int:
    """The number of an errno, or of its name.

    :raises Mistake: there is none
    """
    if isinstance(value, str):
        return chosen("errno", value, {name: known for name, known in vars(errno_names).items() if isinstance(known, int)})
    return number("errno", value, 0, _ERRNO_MAX)


def of_kind(what: str, value: object, kind: type[T], hint: str) -> T:
    """The value.

    :param hint: what would do
    :raises Mistake: it is of another kind
    """
    if not isinstance(value, kind):
        raise Mistake(f"{what} is {_shown(value)}, which is no {kind.__name__}", hint=hint)
    return value


def text(what: str, value: object, hint: str) -> str:
    """The text.

    :param hint: what would do
    :raises Mistake: it is none, or has a NUL, at which a program that reads it ends
    """
    found = of_kind(what, value, str, hint)
    if "\0" in found:
        raise Mistake(f"{what} has a NUL at character {found.index(chr(0))}: {quote(found)}", hint=hint)
    return found


def check_command(command: Sequence[object]) -> None:
    """Refuse words that no kernel runs.

    :raises Mistake: there are none, the first is empty, or one is no text or has a NUL
    """
    texts = [os.fsdecode(word) if isinstance(word, (str, os.PathLike)) else None for word in command]
    if not texts or not texts[0] or any(word is None or "\0" in word for word in texts):
        raise Mistake(f"the command is {', '.join(map(repr, command)) or 'empty'}", hint='a string for each word: run("ip", "link")')


def _shown(value: object) -> str:
    """A value as a test has it, on one line and not long."""
    return quote(value) if isinstance(value, str) else reprlib.repr(value)


@contextmanager
def retold(what: str) -> Iterator[None]:
    """Turn an error of nfharness in the block into a mistake.

    :param what: the thing that has it
    """
    try:
        yield
    except Mistake:
        raise
    except UserError as error:
        raise Mistake(f"{what}: {error.message}", hint=error.hint) from None


def shortened(call: pytest.CallInfo[None], root: Path) -> None:
    """End the traceback of what is not our fault at the last line of a test's: our own code says nothing of it.

    :param root: the directory that the tests are below
    """
    if call.excinfo is None or not isinstance(call.excinfo.value, (NfharnessError, subprocess.CalledProcessError)):
        return
    last, entry = None, call.excinfo.value.__traceback__
    while entry is not None:
        path = Path(entry.tb_frame.f_code.co_filename)
        last = entry if path.is_relative_to(root) and not path.is_relative_to(_CODE) else last
        entry = entry.tb_next
    if last is not None:
        last.tb_next = None
