"""The kernel that ``nfharness kernel build`` built before these tests; ``.ci/long`` builds it. Another built tree can stand in for it."""

from __future__ import annotations

import os
from pathlib import Path

from harness.images.kernel_tree import built_path

__all__ = ("SPEC", "tree")

SPEC = "6.12+gcov"


def tree() -> Path:
    """Where its tree is, or would be; ``NFHARNESS_BUILT_TREE`` names another one."""
    return Path(os.environ.get("NFHARNESS_BUILT_TREE") or built_path(*SPEC.split("+")))
