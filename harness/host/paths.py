"""Where things live: what can be made again, what a run leaves for a reader, and the project's own files."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import platformdirs

import harness
from harness.errors import UserError

__all__ = ("cache_dir", "copies_dir", "package_file", "run_dir", "source_dir")


def cache_dir() -> Path:
    """Kernels, images, templates. ``NFHARNESS_CACHE`` moves it; all of it can be deleted and made again."""
    return _usable("NFHARNESS_CACHE", platformdirs.user_cache_path("nfharness"))


def run_dir() -> Path:
    """The directory of past runs: ``consoles``, ``bundles``, logs, and in ``explore`` what was found.

    ``NFHARNESS_STATE`` moves it.
    """
    return _usable("NFHARNESS_STATE", platformdirs.user_state_path("nfharness"))


def copies_dir() -> Path:
    """Copies of templates' RAM, for a cache that cannot be written."""
    return run_dir() / "templates"


def _usable(variable: str, default: Path) -> Path:
    """The absolute path that a variable names.

    :raises UserError: no program that works there can be told of it, or it can be no directory
    """
    path = Path(os.environ.get(variable) or default).absolute()
    if any(unicodedata.category(character) == "Cc" for character in str(path)):
        raise UserError(f"{variable} or its default has a control character: {str(path)!r}", hint=f"point {variable} at another directory")
    there = next(one for one in (path, *path.parents) if os.path.exists(one))  # noqa: PTH110 - Path's own raises EACCES
    if not there.is_dir():
        raise UserError(f"{variable} or its default is no directory: {there}", hint=f"point {variable} at a directory")
    return path


def package_file(name: str) -> Path:
    """A file of the project outside the Python package, from a checkout or from an installed wheel."""
    package = Path(harness.__file__).parent
    for candidate in (package.parent / name, package / name):
        if candidate.exists():
            return candidate
    raise FileNotFoundError(name)


def source_dir() -> Path:
    """The Python package itself: what is pushed into a guest."""
    return Path(harness.__file__).parent
