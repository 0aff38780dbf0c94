"""Reading a guest's console: its end, and why it ended."""

from __future__ import annotations

import re

from harness.printable import printable

__all__ = ("PANIC", "cleaned", "reason", "tail")

#: What a dying kernel or our own first processes say, the most telling first: a panic that follows from an oops only says so.
_DEATHS = (
    re.compile(r"nfharness: (?!acceleration).*"),
    re.compile(r"BUG: .*"),
    re.compile(r"Oops: .*"),
    re.compile(r"Kernel panic - not syncing: .*"),
    re.compile(r"(?:Out of memory|Memory cgroup out of memory): .*"),
)
PANIC = "Kernel panic - not syncing"


def cleaned(said: bytes) -> str:
    """A console's bytes as text that a terminal can be shown, without the clutter of serial terminals."""
    return printable(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1bc|\r", "", said.decode(errors="replace")))


def tail(said: str, lines: int = 25) -> str:
    """What a person wants to see of a console: its last lines; of a kernel that died, from the line on that says why."""
    whole = said.splitlines()
    why = reason(said)
    first = next((number for number, line in enumerate(whole) if why and why in line), len(whole))
    start = min(first, max(0, len(whole) - lines))
    return "\n".join(whole[start:][:lines])


def reason(said: str) -> str | None:
    """The line that says why a kernel died, if one does."""
    for pattern in _DEATHS:
        found = pattern.search(said)
        if found:
            return found[0].strip()
    return None
