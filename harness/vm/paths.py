"""Where things live: what can be made again, what a run leaves for a reader, and the project's own files."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

import harness

__all__ = ("cache_dir", "package_file", "run_dir", "source_dir")


def cache_dir() -> Path:
    """Kernels, images, templates. ``NFHARNESS_CACHE`` moves it; all of it can be deleted and made again."""
    return Path(os.environ.get("NFHARNESS_CACHE") or platformdirs.user_cache_path("nfharness"))


def run_dir() -> Path:
    """Of past runs: ``consoles``, ``bundles``, logs, and in ``explore`` Hypothesis' database of what was found.

    ``NFHARNESS_STATE`` moves it.
    """
    return Path(os.environ.get("NFHARNESS_STATE") or platformdirs.user_state_path("nfharness"))


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
