"""What the cache holds, what of it is current, and getting rid of the rest."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.backends import programs
from harness.boxes.box import PROVIDERS, box_path
from harness.boxes.layer import box_layer_path
from harness.errors import NfharnessError
from harness.host.paths import cache_dir, copies_dir
from harness.host.store import is_held, lock_of, read_record, size_of
from harness.images import kernel_tree, kmodule, layers, packages, suites, upstream, userland
from harness.images.kernel_tree import built_specs, is_current
from harness.vm.code import code_archive
from harness.vm.template import templates_of

__all__ = ("Item", "items")

#: Directory of the cache → what one of its entries is called.
_KINDS = {"userland": "userland", "kernels": "kernel layer", "modules": "module", "templates": "template",
          "box-layers": "box layer", "boxes": "box", "selftests": "selftests", "collections": "compiled selftests",
          "packages": "packages", "programs": "tracer's programs", "own-modules": "your module", "built": "built kernel",
          "mutants": "kernel with mutants", "sources": "sources", "imports": "import"}

#: Kind of entry → what of :class:`_Current` has the names of those that are.
_NAMES = {"kernel layer": "layers", "template": "templates", "packages": "packages", "built kernel": "built", "box": "boxes",
          "box layer": "box_layers", "sources": "sources"}

#: Kind of entry → the key that a current one's name ends in.
_KEYS = {"userland": userland.key, "compiled selftests": userland.key, "tracer's programs": programs.code_key}


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of the cache.

    :param size: bytes on disk
    :param current: whether a command would use it as the project is now
    :param building: whether a process is making it at this moment
    """

    kind: str
    name: str
    path: Path
    size: int
    current: bool
    building: bool = False


def items() -> list[Item]:
    """Every entry, remains of killed builds included."""
    found, current = [], _Current()
    for directory, kind in _KINDS.items():
        for path in sorted((cache_dir() / directory).glob("[!.]*")) + sorted((cache_dir() / directory).glob(".*.new")):
            if path.is_dir():
                found.append(_item(kind, path, current))
    return found + [_copy(path, current) for path in sorted(copies_dir().glob("[!.]*")) if path.is_dir()]


def _copy(path: Path, current: _Current) -> Item:
    return Item("template's copy", path.name, path, size_of(path), path.name.rpartition("_")[0] in current.templates)


def _item(kind: str, path: Path, current: _Current) -> Item:
    if not path.name.startswith("."):
        return Item(kind, path.name, path, size_of(path), _is_current(kind, path.name, current))
    building = is_held(lock_of(path))
    name = path.name[1:].removesuffix(".new")
    return Item(kind, name if building else f"unfinished {name}", path, size_of(path), current=building, building=building)


def _is_current(kind: str, name: str, current: _Current) -> bool:
    if key := _KEYS.get(kind):
        return name.rpartition("_")[2] == key()
    if kind in ("module", "your module"):
        return name.removesuffix(f"_{kmodule.module_key()}").partition("@")[0] in current.layers
    if kind == "selftests":
        return name.partition("_")[0] in {f"linux-source-{one.kernel.series}" for one in layers.layers_here()}
    if kind == "kernel with mutants":
        return _is_of_a_tree(cache_dir() / "mutants" / name / "record.json")
    if kind == "import":  # what it held has a place among the others
        return False
    return name in getattr(current, _NAMES[kind])


def _is_of_a_tree(record: Path) -> bool:
    """Whether a tree that something was made of is still there, as it was built then."""
    try:
        made = read_record(record)
        return bool(kernel_tree.read(made["origin"]).identity == made["identity"])
    except (NfharnessError, KeyError):
        return False


class _Current:
    """Names of what a command would use as the project is now: read once for a listing, because trees and sources are hashed for it."""

    @cached_property
    def layers(self) -> set[str]:
        return {one.path.name for one in layers.layers_here() if not one.kernel.tree or is_current(one.kernel)}

    @cached_property
    def packages(self) -> set[str]:
        return {path.name for path in (cache_dir() / "packages").glob("[!.]*") if packages.is_current(path)}

    @cached_property
    def built(self) -> set[str]:
        return set(built_specs())

    @cached_property
    def boxes(self) -> set[str]:
        return {box_path(one.kernel, provider).name for one in layers.layers_here() for provider in PROVIDERS}

    @cached_property
    def box_layers(self) -> set[str]:
        return {box_layer_path().name}

    @cached_property
    def sources(self) -> set[str]:
        place = userland.userland_path()
        return {upstream.sources_path(suite.package, place).name for suite in suites.KNOWN.values()} if place.is_dir() else set()

    @cached_property
    def templates(self) -> set[str]:
        code = code_archive().identity
        names = {path.name for one in layers.layers_here() if one.path.name in self.layers for path in templates_of(one.kernel)}
        return names | {f"{name}_{code}" for name in names}
