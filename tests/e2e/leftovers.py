"""What a test may have left on the host, told by its own places."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ("mounts",)


def mounts(*places: Path) -> set[str]:
    """Mount points in *places*, and loop devices of files there, with what is mounted or looped."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    loops = {file.parts[3]: _text(file) for file in Path("/sys/block").glob("loop*/loop/backing_file")}
    found = {_unescaped(point) for point in points} | set(loops.values())
    return {path for path in found if any(Path(path).is_relative_to(place) for place in places)}


def _text(file: Path) -> str:
    try:
        return file.read_text().rstrip("\n")
    except OSError:  # it was taken down meanwhile
        return ""


def _unescaped(field: str) -> str:
    """A path as ``/proc/self/mountinfo`` has it, where a space is ``\\040``."""
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), field)
