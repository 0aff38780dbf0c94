"""What the cache holds, what of it is current, and getting rid of the rest."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from harness.vm import kmodule, layers, userland
from harness.vm.code import code_archive
from harness.vm.kernels import from_json
from harness.vm.paths import cache_dir
from harness.vm.store import remove_tree, size_of
from harness.vm.template import template_path

__all__ = ("Item", "delete", "items")

#: Directory of the cache → what one of its entries is called.
_KINDS = {"userland": "userland", "kernels": "kernel layer", "modules": "module", "templates": "template"}


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of the cache.

    :param size: bytes on disk
    :param current: whether a command would use it as the project is now
    """

    kind: str
    name: str
    path: Path
    size: int
    current: bool


def items() -> list[Item]:
    """Every entry, remains of killed builds included."""
    found = []
    for directory, kind in _KINDS.items():
        for path in sorted((cache_dir() / directory).glob("*")) + sorted((cache_dir() / directory).glob(".*.new")):
            if path.is_dir():
                remains = path.name.startswith(".")
                name = f"unfinished {path.name[1:].removesuffix('.new')}" if remains else path.name
                found.append(Item(kind, name, path, size_of(path), not remains and _is_current(kind, path.name)))
    return found


def _is_current(kind: str, name: str) -> bool:
    if kind == "userland":
        return name == userland.key()
    if kind == "kernel layer":
        return name.endswith(f"_{layers.key()}")
    if kind == "module":
        return name.endswith(f"_{layers.key()}_{kmodule.module_key()}")
    return name in _current_templates()


def _current_templates() -> set[str]:
    kept = (cache_dir() / "kernels").glob(f"*_{layers.key()}/kernel.json")
    paths = (template_path(from_json(json.loads(path.read_text()))) for path in kept)
    names = {path.name for path in paths if path}
    return names | {f"{name}_{code_archive().identity}" for name in names}


def delete(item: Item) -> bool:
    """Delete an entry unless another process is building it; whether it is gone.

    A guest that runs from it keeps what it has open.
    """
    base = item.path.name.removeprefix(".").removesuffix(".new") if item.path.name.startswith(".") else item.path.name
    lock = FileLock(item.path.with_name(f".{base}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    try:
        # Out of the way in one step first: what is half deleted must not look whole.
        doomed = item.path.with_name(f".{base}.new")
        if item.path != doomed:
            remove_tree(doomed)
            item.path.rename(doomed)
        remove_tree(doomed)
    finally:
        lock.release()
    return True
