"""One word for one thing: a class that has another one's name is the same thing, in another room."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

import harness

ROOT = Path(harness.__file__).parent

_CONNTRACK = "nf_conntrack's own structure, in the model and as the kernel under test has it"
#: Names of classes in more than one module: which modules, and why it is one thing.
SHARED: Mapping[str, tuple[set[str], str]] = {
    "Bridge": ({"scenario.topology", "pytest_plugin.networks"}, "a topology's bridge, and a test's network around one"),
    "Call": ({"walks.events", "pytest_plugin.walks"}, "a call of a hook function: the tracer's record, and what a test reads off it"),
    "Change": ({"walks.events", "outcome.types"}, "what a hook made of a packet: the tracer's record, and each value in it"),
    "Connection": ({"model.structures", "outcome.types"}, _CONNTRACK),
    "Executor": ({"guest.executor", "backends.executor"}, "the two ends of what runs scenarios in a guest"),
    "Network": ({"guest.topology", "pytest_plugin.networks"}, "a topology's namespaces, and a test's hosts in them"),
    "Packet": ({"model.path.packet", "walks.lives"}, "a packet on its way: the model's, and what the tracer saw of one"),
    "Run": ({"model.run", "guest.run"}, "a scenario under way, on the model and on a kernel"),
    "Zone": ({"model.conntrack", "guest.conntrack"}, _CONNTRACK),
}


def classes(sources: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """Modules by the name of a class that they define at their top; names that begin with an underscore are a module's own."""
    found: dict[str, set[str]] = defaultdict(set)
    for module, source in sources:
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].add(module)
    return found


def test_no_two_things_have_one_name() -> None:
    sources = ((".".join(path.relative_to(ROOT).with_suffix("").parts), path.read_text()) for path in ROOT.rglob("*.py"))
    shared = {name: modules for name, modules in classes(sources).items() if len(modules) > 1}
    assert shared == {name: modules for name, (modules, _) in SHARED.items()}


@pytest.mark.parametrize(("second", "found"), [
    ("class Rule: ...", {"one", "two"}), ("@dataclass\nclass Rule:\n    x: int", {"one", "two"}), ("class _Rule: ...", {"one"}),
    ("def f():\n    class Rule: ...", {"one"}),
])
def test_every_class_of_a_module_is_seen(second: str, found: set[str]) -> None:
    assert classes([("one", "class Rule: ..."), ("two", second)])["Rule"] == found


#: Word of the glossary → the rooms in which names are made with it, there in that meaning.
WORDS: Mapping[str, set[str]] = {
    "adopt": {"model"},
    "seed": {"bench", "cli", "conformance", "explore", "guest", "pytest_plugin"},
}


def names(tree: ast.AST) -> set[str]:
    """Names that a file makes: of classes, functions, parameters, variables."""
    return {name for node in ast.walk(tree) for name in (
        getattr(node, "name", None) if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) else
        node.arg if isinstance(node, ast.arg) else node.id if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else None,
    ) if name}


@pytest.mark.parametrize(("word", "rooms"), WORDS.items())
def test_a_word_of_the_glossary_has_one_meaning(word: str, rooms: set[str]) -> None:
    found = {path.relative_to(ROOT).parts[0] for path in ROOT.rglob("*.py")
             if any(re.match(rf"_?{word}(?![a-z])", name, re.IGNORECASE) for name in names(ast.parse(path.read_text())))}
    assert found == rooms
    assert f"| {word} |" in (ROOT / "docs/glossary.md").read_text()
