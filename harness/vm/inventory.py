"""What the cache holds, what of it is current, and getting rid of the rest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from harness.vm import kmodule, layers, userland
from harness.vm.box import PROVIDERS, box_path
from harness.vm.boxlayer import box_layer_path
from harness.vm.code import code_archive
from harness.vm.kernels import Kernel
from harness.vm.paths import cache_dir
from harness.vm.store import remove_tree, size_of
from harness.vm.template import template_path
from harness.vm.tree import is_current

__all__ = ("Item", "delete", "forget_older_builds", "items")

#: Directory of the cache → what one of its entries is called.
_KINDS = {"userland": "userland", "kernels": "kernel layer", "modules": "module", "templates": "template",
          "box-layers": "box layer", "boxes": "box", "selftests": "selftests", "collections": "compiled selftests"}


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
    if kind in ("userland", "compiled selftests"):
        return name.rpartition("_")[2] == userland.key()
    if kind == "module":
        return name.removesuffix(f"_{kmodule.module_key()}") in _current_layers()
    if kind == "selftests":
        return name.partition("_")[0] in {f"linux-source-{one.kernel.series}" for one in layers.layers_here()}
    if kind == "box layer":
        return name == box_layer_path().name
    if kind == "box":
        return name in {box_path(one.kernel, provider).name for one in layers.layers_here() for provider in PROVIDERS}
    return name in (_current_layers() if kind == "kernel layer" else _current_templates())


def _current_layers() -> set[str]:
    return {one.path.name for one in layers.layers_here() if not one.kernel.tree or is_current(one.kernel)}


def _current_templates() -> set[str]:
    current = _current_layers()
    names = {path.name for one in layers.layers_here() if one.path.name in current for path in _templates(one.kernel)}
    return names | {f"{name}_{code_archive().identity}" for name in names}


def _templates(kernel: Kernel) -> list[Path]:
    return [path for bare in (False, True) if (path := template_path(kernel, bare=bare))]


def forget_older_builds(kernel: Kernel) -> None:
    """Delete what earlier builds of a tree left, but for the last: another process may just be about to use it."""
    for older in [one for one in layers.layers_here() if one.kernel.tree == kernel.tree and one.kernel != kernel][:-1]:
        templates = [path for saved in _templates(older.kernel) for path in (saved, *saved.parent.glob(f"{saved.name}_*"))]
        modules = (cache_dir() / "modules").glob(f"{older.path.name}_*")
        for kind, places in (("template", templates), ("module", modules), ("kernel layer", [older.path])):
            for place in filter(Path.is_dir, places):
                delete(Item(kind, place.name, place, 0, current=False))


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
