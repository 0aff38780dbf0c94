"""Imports point one way: cli → conformance → {model, guest, vm, trace} → {scenario, outcome} → {netfilter, errors}."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import harness

ROOT = Path(harness.__file__).parent

BASE = {"netfilter", "errors", "wire", "requirements"}
DATA = {"scenario", "outcome"}

#: Room → rooms that it may import besides itself. A room that is not listed here is at the top and may import any.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "netfilter": set(),
    "requirements": set(),
    "wire": set(),
    "outcome": BASE,
    "scenario": BASE,
    "model": BASE | DATA,
    "trace": BASE | {"outcome"},
    "guest": BASE | DATA | {"trace"},
    "vm": BASE | DATA,
    "conformance": BASE | DATA | {"model", "vm", "trace"},
    "explore": BASE | DATA | {"model", "vm", "conformance"},
}


def room(module: str) -> str:
    """``harness.vm.qemu`` → ``vm``; the package itself is ``harness``."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def imports(tree: ast.AST, module: str, *, is_package: bool) -> Iterator[str]:
    """Modules of harness that a file imports, wherever in it, type checking included."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "harness")
        elif isinstance(node, ast.ImportFrom):
            parents = package[:len(package) - node.level + 1] if node.level else []
            source = ".".join([*parents, *([node.module] if node.module else [])])
            if source == "harness":
                yield from (f"harness.{alias.name}" for alias in node.names if not alias.name.startswith("__"))
            elif source.split(".")[0] == "harness":
                yield source


def modules() -> list[tuple[str, Path]]:
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        found.append((".".join(parts[:-1] if parts[-1] == "__init__" else parts), path))
    return found


@pytest.mark.parametrize(("module", "path"), modules(), ids=[module for module, _ in modules()])
def test_imports_point_one_way(module: str, path: Path) -> None:
    allowed = ALLOWED.get(room(module))
    if allowed is None:
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    wrong = {name for name in imports(tree, module, is_package=path.name == "__init__.py")
             if room(name) not in allowed | {room(module), "harness"}}
    assert not wrong, f"{module} must not import {', '.join(sorted(wrong))}"


def test_every_room_of_the_rules_is_looked_at() -> None:
    assert set(ALLOWED) <= {room(module) for module, _ in modules()}


@pytest.mark.parametrize(("source", "found"), [
    ("import harness.vm.qemu", ["harness.vm.qemu"]),
    ("from harness.vm import qemu", ["harness.vm"]),
    ("from harness import vm", ["harness.vm"]),
    ("from ..vm import qemu", ["harness.vm"]),
    ("from .. import vm", ["harness.vm"]),
    ("def f():\n    import harness.vm", ["harness.vm"]),
    ("import os.path", []),
])
def test_every_form_of_import_is_seen(source: str, found: list[str]) -> None:
    assert list(imports(ast.parse(source), "harness.guest.agent", is_package=False)) == found


@pytest.mark.parametrize("name", ["render", "tree"])
def test_rendering_needs_no_bcc(name: str) -> None:
    tree = ast.parse((ROOT / "trace" / f"{name}.py").read_text(encoding="utf-8"))
    allowed = {f"harness.trace.{other}" for other in ("tree",)}
    found = set(imports(tree, f"harness.trace.{name}", is_package=False))
    assert {module for module in found if room(module) == "trace"} <= allowed
    assert "bcc" not in {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
