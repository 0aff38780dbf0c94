"""The files that a guest needs of the host's: what lies beside the tests, the ``conftest.py`` above them, the configuration."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from harness.errors import UserError

__all__ = ("archive",)

_LIMIT = 64 << 20
_LEFT_OUT = ("__pycache__", "node_modules")


def archive(config: pytest.Config, tests: Iterable[Path]) -> bytes:
    """A tar of them, under their paths from pytest's root directory.

    :param tests: files with tests
    :raises UserError: they are too large for a guest's memory, or lie outside of the root directory
    """
    root = config.rootpath
    wanted: set[Path] = set()
    for directory in {test.parent for test in tests}:
        wanted.update(_below(directory))
        for parent in (directory, *directory.parents):
            wanted.update(path for name in ("conftest.py", "__init__.py") if (path := parent / name).is_file())
            if parent == root:
                break
    for path in config.getini("kernel_files"):
        wanted.update([path] if path.is_file() else _below(path))
    if config.inipath:
        wanted.add(config.inipath)
    return _packed(root, sorted(wanted))


def _packed(root: Path, files: list[Path]) -> bytes:
    outside = [path for path in files if not path.is_relative_to(root)]
    if outside:
        raise UserError(f"{outside[0]} is needed in guests and lies outside of {root}", hint="give pytest a --rootdir above both")
    sizes = {path: path.stat().st_size for path in files}
    if sum(sizes.values()) > _LIMIT:
        largest = max(sizes, key=lambda path: sizes[path])
        raise UserError(f"what lies beside the kernel tests has more than {_LIMIT >> 20} MiB, {largest.relative_to(root)} the most of it",
                        hint="give kernel tests their own directory")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in files:
            tar.add(path, path.relative_to(root), recursive=False)
    return buffer.getvalue()


def _below(directory: Path) -> Iterator[Path]:
    for where, directories, names in os.walk(directory):
        directories[:] = [name for name in directories if not name.startswith(".") and name not in _LEFT_OUT
                          and not (Path(where) / name / "pyvenv.cfg").exists()]
        yield from (Path(where) / name for name in names if not name.startswith(".") and not name.endswith(".pyc"))
