"""The house's tools find nothing."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import harness.scenario.steps  # noqa: F401 - the kinds
from harness.scenario.step import KINDS

ROOT = Path(__file__).parents[2]


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_ruff_finds_nothing() -> None:
    done = _run(sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format=concise", ".")
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_mypy_strict_finds_nothing() -> None:
    done = _run(sys.executable, "-m", "mypy")
    assert done.returncode == 0, done.stdout


def test_clang_format_leaves_the_module_as_it_is() -> None:
    done = _run(str(Path(sys.executable).with_name("clang-format")), "--dry-run", "--Werror", *map(str, sorted(ROOT.glob("kmod/*.[ch]"))))
    assert done.returncode == 0, done.stderr


def test_no_file_is_too_long_to_read_in_one_sitting() -> None:
    folders = ("harness", "kmod", "tests")
    sources = (path for folder in folders for path in ROOT.glob(f"{folder}/**/*") if path.suffix in (".py", ".c", ".h"))
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources}
    assert lengths
    assert not {path: length for path, length in lengths.items() if length > 600}


def _docstrings() -> Iterator[tuple[str, str]]:
    """Place and text of each docstring of the package."""
    for path in sorted(ROOT.glob("harness/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (text := ast.get_docstring(node)):
                yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}", text


def test_a_docstring_begins_with_a_sentence_and_has_a_line_for_each_field() -> None:
    """As a documentation builder reads them."""
    field = re.compile(r":(param|ivar|returns|raises)\b[^:`\n]*:")
    texts = dict(_docstrings())
    assert len(texts) > 1000
    assert not [place for place, text in texts.items() if field.match(text)]
    assert not [place for place, text in texts.items() for line in text.splitlines() if field.search(line.strip(), 1)]


def test_a_docstring_begins_with_no_fragment() -> None:
    """The first sentence says what the thing is, returns or does: *The names of the calls*, not *Of the calls*."""
    fragment = re.compile(r"(?:Of|As|Those|For|By|It|Its|Their)\b")
    assert not [f"{place}: {text.splitlines()[0]}" for place, text in _docstrings() if fragment.match(text)]


def _public() -> Iterator[tuple[str, str, ast.FunctionDef | ast.AsyncFunctionDef, list[str]]]:
    """Each function that others may call: its module, its name, itself, and the bases of its class."""
    for path in sorted(ROOT.glob("harness/**/*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        tree = ast.parse(path.read_text())
        holders = [("", [], tree.body), *((f"{node.name}.", [ast.unparse(base) for base in node.bases], node.body)
                                          for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_"))]
        for prefix, bases, inside in holders:
            for one in inside:
                if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and not one.name.startswith("_"):
                    yield module, prefix + one.name, one, bases


def _does_a_step(module: str, name: str) -> bool:
    """Whether it is a kind's function, found by the kind's name: what it does is said by the kind (``harness/scenario/steps``)."""
    room, _, concern = module.rpartition(".")
    kinds = {f"{room}.{kind.concern}.{kind.do.replace('-', '_')}" for kind in KINDS.values()}
    return room in ("harness.model.steps", "harness.guest.steps") and f"{room}.{concern}.{name.removesuffix('_baseline')}" in kinds


def test_what_others_call_says_what_it_does() -> None:
    """But for a property, whose name is a noun; a method that its base describes; and a kind's function, which the kind describes."""
    public = list(_public())
    described = {name for _, name, node, _ in public if ast.get_docstring(node)}
    assert len(described) > 800
    assert not [f"{module}: {name}" for module, name, node, bases in public if name not in described
                and "property" not in map(ast.unparse, node.decorator_list)
                and not any(f"{base}.{node.name}" in described for base in bases) and not _does_a_step(module, name)]


def test_no_word_stands_where_a_plainer_one_serves() -> None:
    """Words that make a reader ask who, or like what."""
    rooms = ("harness", "kmod", "tests")
    sources = [path for kind in ("py", "md", "c", "h") for room in rooms for path in (ROOT / room).glob(f"**/*.{kind}")]
    sources.remove(Path(__file__))
    vague = re.compile(r"\b(?:somebody|whoever|likewise|by then|of (?:its|their|one's) own|cannot be had)\b", re.IGNORECASE)
    assert not [f"{path.relative_to(ROOT)}: {found[0]}" for path in sources if (found := vague.search(path.read_text()))]
