"""Files that a command writes its report to, apart from what it prints."""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from itertools import combinations
from pathlib import Path

import click

from harness.errors import HostError, UserError

__all__ = ("ReportFile", "opened", "write_all")


class ReportFile:
    """A file to be written at the end of long work, opened before it begins: that it cannot be written is told then.

    What is in it stays until there is something to put in its place; one that was not there is gone again if nothing was.
    """

    def __init__(self, path: Path, option: str) -> None:
        self.path = path
        self._is_new = not path.exists()
        try:
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}", hint=f"give --{option} a file that can be written") from None
        self._is_regular = stat.S_ISREG(path.stat().st_mode)

    def is_same(self, other: ReportFile) -> bool:
        """Whether two options name one regular file."""
        return self._is_regular and self.path.samefile(other.path)

    def write(self, content: bytes) -> None:
        """Replace what is in it.

        :raises HostError: the disk is full; it is empty then
        """
        self._empty()
        left = memoryview(content)
        try:
            while left:
                left = left[self._file.write(left):]
        except OSError as error:
            self._empty()
            raise HostError(f"{self.path}: {error.strerror}", hint="make room there, or name a file on a larger disk") from None
        self._is_new = False

    def _empty(self) -> None:
        if self._is_regular:
            self._file.truncate(0)

    def close(self) -> None:
        """Close the file, and remove it if it is new and nothing was written."""
        self._file.close()
        if self._is_new and self._is_regular:
            self.path.unlink(missing_ok=True)


def opened(stack: ExitStack, paths: Mapping[str, Path | None], read: Sequence[Path] = ()) -> dict[str, ReportFile]:
    """The files that were asked for, by their options, until the stack closes them.

    :param paths: by option, ``None`` where it was not given
    :param read: what the command reads, which no report may replace
    :raises click.UsageError: two are one
    """
    for option, path in paths.items():
        if path and path.exists() and any(path.samefile(one) for one in read if one.exists()):
            raise click.UsageError(f"--{option} would replace {path}, which is read.")
    files = {option: stack.enter_context(closing(ReportFile(path, option))) for option, path in paths.items() if path}
    for (one, first), (other, second) in combinations(files.items(), 2):
        if first.is_same(second):
            raise click.UsageError(f"--{one} and --{other} name the same file.")
    return files


def write_all(files: Mapping[str, ReportFile], contents: Mapping[str, Callable[[], bytes]]) -> None:
    """Write every file, those behind one that cannot be written as well.

    :param contents: what makes that of each, by its option
    :raises HostError: a file could not be written
    """
    failures = []
    for option, file in files.items():
        try:
            file.write(contents[option]())
        except HostError as error:
            failures.append(error)
    if failures:
        raise failures[0]
