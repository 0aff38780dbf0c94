"""The package's modules and their syntax trees, for tests that read them."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import harness

__all__ = ("ROOT", "modules", "tree")

ROOT = Path(harness.__file__).parent


@functools.cache
def modules() -> tuple[tuple[str, Path], ...]:
    """Each module's whole name, and its file."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        found.append((".".join(parts[:-1] if parts[-1] == "__init__" else parts), path))
    return tuple(found)


@functools.cache
def tree(path: Path) -> ast.Module:
    """A file's syntax tree, which many tests ask for and none changes."""
    return ast.parse(path.read_text(encoding="utf-8"))
