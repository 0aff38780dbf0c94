"""Imports point one way: each room imports only what stands lower."""

from __future__ import annotations

import ast
import graphlib
import importlib.util
import re
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from harness import conformance
from harness.cli import commands
from harness.scenario.step import KINDS
from tests.modules import ROOT, modules, tree

BASE = {"netfilter", "errors", "wire", "requirements", "printable"}
DATA = {"scenario", "outcome"}

_DATA = BASE | DATA
#: What runs in a guest may import no more than this.
_IN_GUESTS = _DATA | {"walks", "trace", "guest"}
#: What boots and reaches guests.
_HOST = {"host", "images", "vm"}

#: Room → rooms that it may import besides itself, from the ground up. What is not listed here is at the top and may import any.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "netfilter": set(),
    "printable": set(),
    "requirements": set(),
    "wire": set(),
    "host": BASE,
    "scenario": BASE,
    "outcome": BASE,
    "model": _DATA,
    "walks": BASE | {"outcome"},
    "images": BASE | {"host"},
    "trace": BASE | {"outcome", "walks"},
    "vm": BASE | {"host", "images"},
    "guest": _IN_GUESTS,
    "agent": BASE | {"guest"},
    "boxes": BASE | _HOST,
    "backends": _DATA | _HOST | {"walks", "boxes"},
    "doctor": BASE | _HOST | {"boxes", "backends"},
    "conformance": _DATA | _HOST | {"model", "walks", "backends"},
    "explore": _DATA | _HOST | {"model", "backends", "conformance"},
    "mutate": _DATA | _HOST | {"backends", "conformance"},
    "bench": _DATA | _HOST | {"backends", "conformance", "explore"},
    "pytest_plugin": _IN_GUESTS | _HOST | {"backends"},
}

#: A module's name, the beginning of one, or what is imported from the package itself.
NAME = re.compile(r"(?<![\w.])harness\.(?:\w+(?:\.\w+)*)?|(?<=from harness import )\w+")
#: Module → calls in it that import or run what others name: a guest's agent for the host, a user's program, the kinds of step.
GIVEN = {
    "harness.agent.child": ["importlib.import_module(module)"],
    "harness.agent.interpreter": [
        "exec(compile(rest[0], '<string>', 'exec'), names)", "exec(compile(sys.stdin.read(), '<stdin>', 'exec'), names)",
        "runpy.run_module(rest[0], run_name='__main__', alter_sys=True)", "runpy.run_path(what, run_name='__main__')",
    ],
    "harness.agent.prepare": ["importlib.import_module(name)"] * 3,
    "harness.pytest_plugin.guest.worker": ["exec(_WORKER, {'__name__': '__channelexec__', 'channel': channel})"],
    "harness.scenario.step": ["import_module(f'{package}.{kind.concern}')"],
}
#: A function that the host asks a guest to call, and the rooms that may: those that reach guests.
CALLERS = {"vm", "backends", "conformance", "mutate", "bench", "cli"}
CALL = re.compile(r"(harness\.(?:guest|agent|pytest_plugin\.guest)(?:\.\w+)*):(\w+)")


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


def strings(tree: ast.AST) -> Iterator[str]:
    """String constants, those in f-strings and sums of them included; no docstrings, nor what a prefix is looked for with."""
    documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    prefixes = {id(node.args[0]) for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args
                and isinstance(node.func, ast.Attribute) and node.func.attr == "startswith"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents | prefixes:
            yield node.value
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            yield "".join(str(one.value) for one in (node.left, node.right) if isinstance(one, ast.Constant))


def named(tree: ast.AST, module: str) -> Iterator[str]:
    """Modules that a file names anywhere in a string, but for what a caller asks a guest to call.

    A name that is put together begins with ``harness.``, which is found, too.
    """
    for text in strings(tree):
        if not (room(module) in CALLERS and CALL.fullmatch(text)):
            yield from (found if found.startswith("harness.") else f"harness.{found}" for found in NAME.findall(text))


#: Functions that import or run what they are given.
LOADERS = {"__import__", "import_module", "exec", "eval", "resolve_name", "run_module", "run_path", "load_module", "exec_module"}


def hidden(tree: ast.AST) -> Iterator[str]:
    """What imports a module of which no test knows the name.

    ``import_module`` may have one argument, a whole name or ``f"{__name__}.…"``, or one that begins in a room. No other loader is known.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (name := ast.unparse(node.func).rpartition(".")[2]) in LOADERS:
            first = node.args[0] if len(node.args) == 1 and not node.keywords else None
            if isinstance(first, ast.JoinedStr):
                first = first.values[0]
            own = isinstance(first, ast.FormattedValue) and ast.unparse(first.value) == "__name__"
            written = isinstance(first, ast.Constant) and not re.match(r"\.|harness\.?$", str(first.value))
            if name != "import_module" or not (own or written):
                yield ast.unparse(node)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{alias.name} as {alias.asname}" for alias in node.names if alias.name in LOADERS and alias.asname)


def test_no_import_is_hidden() -> None:
    found = {module: sorted(calls) for module, path in modules() if (calls := list(hidden(tree(path))))}
    assert found == {module: sorted(calls) for module, calls in GIVEN.items()}, "a module must write its imports out"


@pytest.mark.parametrize(("source", "found"), [
    ('import_module(".vm.qemu", "harness")', 1), ('importlib.import_module(name, package="harness")', 1), ('__import__("harness.vm")', 1),
    ('import_module(f"{package}.{name}")', 1), ('import_module("harness.vm")', 0), ('import_module(f"{__name__}.{name}")', 0),
    ('import_module(f"harness.cli.{name}")', 0), ('import_module(f"harness.{name}")', 1), ('import_module("harness." + "vm.qemu")', 1),
    ('import_module(".".join(("harness", "vm")))', 1), ('exec("from harness.vm import qemu")', 1), ('eval(text)', 1),
    ('pkgutil.resolve_name("harness.vm:qemu")', 1), ("from importlib import import_module as load", 1),
    ('runpy.run_module("harness.vm")', 1), ("builtins.exec(text)", 1), ("re.compile(text)", 0),
])
def test_every_hidden_import_is_seen(source: str, found: int) -> None:
    assert len(list(hidden(ast.parse(source)))) == found


def test_imports_point_one_way() -> None:
    wrong = [f"{module} must not import {name}" for module, path in modules() if (allowed := ALLOWED.get(room(module))) is not None
             for name in imports(tree(path), module, is_package=path.name == "__init__.py")
             if room(name) not in allowed | {room(module), "harness"}]
    assert not wrong


def test_a_string_names_no_module_that_must_not_be_imported() -> None:
    wrong = [f"{module} must not name {name}" for module, path in modules() if (allowed := ALLOWED.get(room(module))) is not None
             for name in named(tree(path), module) if room(name) not in allowed | {room(module)}]
    assert not wrong


def test_what_a_guest_is_asked_to_call_is_there() -> None:
    calls = {(caller, *found.groups()) for caller, path in modules() for text in strings(tree(path))
             if (found := CALL.fullmatch(text))}
    assert {room(caller) for caller, *_ in calls} == CALLERS
    known = dict(modules())
    for _, module, function in calls:
        body = tree(known[module]).body
        assert function in {node.name for node in body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("half", ["guest", "host", "report"])
def test_the_halves_of_the_plugin_do_not_know_each_other(half: str) -> None:
    package = f"harness.pytest_plugin.{half}"
    others = tuple(f"harness.pytest_plugin.{name}" for name in {"guest", "host", "report"} - {half})
    rooms = (_IN_GUESTS if half == "guest" else _DATA | _HOST | {"walks", "backends"}) | {"pytest_plugin", "harness"}
    for module, path in modules():
        if module.startswith(package):
            found = set(imports(tree(path), module, is_package=path.name == "__init__.py"))
            assert not {name for name in found if name.startswith(others) or room(name) not in rooms}, module


def uses(tree: ast.AST, module: str, known: Collection[str], *, is_package: bool) -> set[str]:
    """Modules of *known* that a file imports, a package for what is imported from its ``__init__``."""
    package, found = module.split(".") if is_package else module.split(".")[:-1], set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package[:len(package) - node.level + 1] if node.level else []
            source = ".".join([*parents, *([node.module] if node.module else [])])
            found |= {whole if (whole := f"{source}.{alias.name}") in known else source for alias in node.names}
    return (found & set(known)) - {module}


def graph() -> dict[str, set[str]]:
    known = dict(modules())
    return {module: uses(tree(path), module, known, is_package=path.name == "__init__.py")
            for module, path in known.items()}


def test_no_two_modules_know_each_other() -> None:
    """Not by way of others, nor only while types are checked or in a function."""
    graphlib.TopologicalSorter(graph()).prepare()


@pytest.mark.parametrize(("source", "found"), [
    ("from harness.vm import qemu", {"harness.vm.qemu"}),
    ("from harness.vm import Guest", {"harness.vm"}),
    ("def f():\n    import harness.vm.qemu", {"harness.vm.qemu"}),
    ("if TYPE_CHECKING:\n    from harness.vm.qemu import Qemu", {"harness.vm.qemu"}),
    ("from ..vm.qemu import Qemu", {"harness.vm.qemu"}),
])
def test_every_use_is_seen(source: str, found: set[str]) -> None:
    assert uses(ast.parse(source), "harness.agent.agent", {"harness.vm", "harness.vm.qemu"}, is_package=False) == found


def test_every_room_of_the_rules_is_looked_at() -> None:
    assert set(ALLOWED) <= {room(module) for module, _ in modules()}


ROOMS = [one for one in modules() if one[1].name == "__init__.py"]


@pytest.mark.parametrize(("module", "path"), ROOMS, ids=[module for module, _ in ROOMS])
def test_every_room_says_what_it_is(module: str, path: Path) -> None:
    """In its docstring, which tells the life that passes through and what to read first, and in a row of the architecture page."""
    text = ast.get_docstring(tree(path)) or ""
    assert len(text.splitlines()) >= 7
    assert "The life of a" in text
    (sentence,) = re.findall(r"^Read (.*?)\.(?=\s|$)", text, re.MULTILINE | re.DOTALL)
    read = re.findall(r"``([\w.]+)``", sentence)
    assert read, "the docstring says not what to read first"
    assert not [name for name in read if importlib.util.find_spec(f"{module}.{name}") is None]
    if module.count(".") == 1:
        rows = [line for line in (ROOT / "docs/architecture.md").read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
        assert any(f"`{module.replace('.', '/')}`" in row.split("|")[1] for row in rows)


def unnamed(text: str, inside: Collection[str]) -> set[str]:
    """Modules and rooms of a room that its text names nowhere."""
    return set(inside) - {name.partition(".")[0] for name in re.findall(r"``([\w.]+)``", text)}


def listed(module: str) -> set[str]:
    """What a room's text need not name, since another list has it: rooms, kinds of step, rules, commands."""
    lists: dict[str, Collection[str]] = {
        "harness": {name for name, _ in ROOMS},
        "harness.conformance": {concern.__name__ for concern in conformance._CONCERNS},
        "harness.cli": {f"harness.cli.{name}" for name in commands._COMMANDS},
    }
    return set(lists.get(module, {f"{module}.{kind.concern}" for kind in KINDS.values()} if module.endswith(".steps") else ()))


@pytest.mark.parametrize(("module", "path"), ROOMS, ids=[module for module, _ in ROOMS])
def test_every_module_is_named_in_its_rooms_text(module: str, path: Path) -> None:
    text = ast.get_docstring(tree(path)) or ""
    inside = {name for name, _ in modules() if name.rpartition(".")[0] == module} - listed(module)
    assert not unnamed(text, [name.rpartition(".")[2] for name in inside])


def test_a_module_that_a_text_does_not_name_is_seen() -> None:
    assert unnamed("Read ``store``, then ``process.Child`` (see paths).", ["store", "process", "paths"]) == {"paths"}


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
    assert list(imports(ast.parse(source), "harness.agent.agent", is_package=False)) == found


@pytest.mark.parametrize(("module", "found"), [("harness.vm.guest", []), ("harness.model.run", ["harness.guest.files"])])
def test_a_room_that_reaches_no_guest_names_no_function_of_one(module: str, found: list[str]) -> None:
    assert list(named(ast.parse('call("harness.guest.files:receive")'), module)) == found


@pytest.mark.parametrize(("source", "found"), [
    ('import_module("harness.cli.run")', ["harness.cli.run"]),
    ('import_module(f"harness.cli.{name}")', ["harness.cli"]),
    ('NAMES = ("harness.cli.run:command",)', ["harness.cli.run"]),
    ('"""harness.cli.run"""', []),
    ('guest.call("harness.guest.files:receive")', []),
    ('name.startswith("harness.")', []),
    ('import_module("harness." + "vm.qemu")', ["harness.vm.qemu", "harness."]),
    ('import_module("harness" + ".vm")', ["harness.vm"]),
    ('import_module(f"harness.{name}")', ["harness."]),
    ('exec("from harness.vm import qemu")', ["harness.vm"]),
    ('exec("from harness import vm")', ["harness.vm"]),
    ('run(sys.executable, "-c", "import harness.vm; print(1)")', ["harness.vm"]),
    ('pkgutil.resolve_name("harness.vm:qemu")', ["harness.vm"]),
    ('f"{name}.of.harness.x"', []),
])
def test_every_form_of_name_is_seen(source: str, found: list[str]) -> None:
    assert list(named(ast.parse(source), "harness.vm.guest")) == found


def test_walks_need_no_kernel_and_no_bcc() -> None:
    """What tells and shows packets' stories is the standard library's, and rich where it draws for a terminal."""
    found = {name.partition(".")[0] for path in (ROOT / "walks").glob("*.py") for name in loaded(path)}
    assert found <= sys.stdlib_module_names | {"harness", "rich"}


def loaded(path: Path) -> set[str]:
    """Modules that a file imports when it is loaded, each with the packages that it is in."""
    found: set[str] = set()
    for node in tree(path).body:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update([node.module, *(f"{node.module}.{alias.name}" for alias in node.names)])
    return {".".join(parts[:length]) for parts in (name.split(".") for name in found) for length in range(1, len(parts) + 1)}


def test_what_runs_in_guests_needs_nothing_that_only_the_host_has() -> None:
    known, waiting, seen = dict(modules()), [*(ROOT.parent / "tests/kernel").glob("*.py"), ROOT / "agent/agent.py"], set[str]()
    while waiting:
        more = loaded(waiting.pop()) - seen
        more |= {name for name in known if name.rpartition(".")[0] in more and ".steps." in name}  # found by its name
        seen |= more
        waiting += [known[name] for name in more if name in known]
    assert "harness.conformance.tracking" in seen
    assert not {"click", "debian"} & seen
