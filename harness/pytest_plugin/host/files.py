"""The files that a guest needs of the host's: what lies beside the tests, ``conftest.py``, the configuration, modules of the user's."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from harness.errors import UserError

__all__ = ("archive", "built_modules")

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


def built_modules(directories: Sequence[Path], kernel: str) -> dict[str, bytes]:
    """The modules of Kbuild directories, built for a kernel as far as they are not: by name, without ``.ko``.

    :param kernel: as ``--kernel`` names it
    :raises UserError: one does not compile, or two have the same name
    :raises HostError: this host cannot build them
    """
    if not directories:
        return {}
    from harness.host.progress import Progress  # noqa: PLC0415 - not for runs without modules
    from harness.images.kmodule import own_modules  # noqa: PLC0415
    from harness.images.specs import made_layer  # noqa: PLC0415
    from harness.images.userland import userland  # noqa: PLC0415

    progress = Progress()
    layer, found = made_layer(kernel, progress), dict[str, bytes]()
    for directory in directories:
        for file in own_modules(directory, layer, userland(progress), progress):
            if file.stem in found:
                raise UserError(f"two modules are called {file.stem}", hint="the kernel takes one of a name: rename the other")
            found[file.stem] = file.read_bytes()
    return found


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
