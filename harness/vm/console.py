"""Reading a guest's console: its end, and why it ended."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ("reason", "tail")

_DEATHS = (
    re.compile(r"Kernel panic - not syncing: .*"),
    re.compile(r"BUG: .*"),
    re.compile(r"Oops: .*"),
    re.compile(r"nfharness: (?!acceleration).*"),
    re.compile(r".*(?:end Kernel panic|Attempted to kill init).*"),
    re.compile(r"Out of memory: .*"),
)


def tail(path: Path, lines: int = 25) -> str:
    """The last lines of a console file, without the clutter of serial terminals."""
    try:
        text = path.read_bytes()[-65536:].decode(errors="replace")
    except FileNotFoundError:
        return ""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1bc|\r", "", text)
    return "\n".join(text.splitlines()[-lines:])


def reason(text: str) -> str | None:
    """The line that says why a kernel died, if one does."""
    for pattern in _DEATHS:
        found = pattern.search(text)
        if found:
            return found[0].strip()
    return None
