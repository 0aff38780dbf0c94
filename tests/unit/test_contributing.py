"""CONTRIBUTING says what is so: its paths, modules, names and options exist."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from harness.cli import help as pages
from harness.scenario.step import KINDS
from tests.unit.test_readme import COMMANDS, README, called, options, pytests_options

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / ".github/CONTRIBUTING.md").read_text()
#: Words of code spans that no source has: tools, a subsystem of commits, a function of the kernel's that the model does within another.
OTHERS = {"git", "ruff", "docs", "fib_validate_source"}


def blocks(text: str) -> list[str]:
    return re.findall(r"^ *```\w*\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)


def spans(text: str) -> list[str]:
    """Code spans, those over two lines included."""
    rest = re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", rest)]


def code_lines(text: str) -> list[str]:
    """Lines of commands, without their comments."""
    rest = re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [re.split(r"\s# ", line)[0] for line in re.findall(r"^ {4,8}(\S.*)$", rest, re.MULTILINE)]


@cache
def identifiers() -> frozenset[str]:
    """Names that the sources define or use, kinds of step, commands, and the words of the C sources."""
    found = {*KINDS, *(word for words in COMMANDS for word in words)}
    for path in [*ROOT.glob("harness/**/*.py"), *ROOT.glob("tests/**/*.py")]:
        found |= {path.stem, path.parent.name}
        for node in ast.walk(ast.parse(path.read_text())):
            found |= {value for _, value in ast.iter_fields(node) if isinstance(value, str)} - (
                {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set())
    for path in [*ROOT.glob("kmod/*.[ch]"), *ROOT.glob("harness/trace/*.c")]:
        found |= {path.parent.name, *re.findall(r"\w+", path.read_text())}
    return frozenset(found)


def names(text: str) -> Iterator[str]:
    """Names that code spans and blocks have: alone, before a parenthesis, or before ``=``."""
    for span in spans(text):
        if re.fullmatch(r"[A-Za-z_][\w-]*=?", span):
            yield span.rstrip("=")
    for code in (*spans(text), *blocks(text)):
        if not code.startswith((".", "python3")):
            yield from (name.rstrip("(=") for name in re.findall(r"\b[A-Za-z_]\w*(?:\(|=(?=[(\d\"]))", code))


def unknown_names(text: str) -> set[str]:
    return set(names(text)) - identifiers() - OTHERS


def missing_paths(text: str) -> set[str]:
    """Paths in code spans and lines, and names of files, that are not there."""
    words = {word for code in (*spans(text), *code_lines(text)) for word in code.split()}
    named = {word for word in words if re.fullmatch(r"(?:harness|kmod|tests|vagrant|\.ci|\.github)/[\w./*{},-]*", word)}
    single = {word for word in words if re.fullmatch(r"\w+\.(?:py|c|h)", word)} - {"core.c", "script.py"}
    spread = {word: [re.sub(r"{.*}", one, word) for one in (re.findall(r"{(.*)}", word) or [""])[0].split(",")] for word in named}
    return {word for word, paths in spread.items() for path in paths if not list(ROOT.glob(path.replace("CONCERN", "*").rstrip("/")))} | {
        word for word in single if not any(list(ROOT.glob(f"{room}/**/{word}")) for room in ("harness", "tests", "kmod"))}


def missing_modules(text: str) -> set[str]:
    found = re.findall(r"python3? -m ([\w.]+)", "\n".join([*spans(text), *code_lines(text)]))
    return {name for name in found if importlib.util.find_spec(name) is None}


def unknown_options(text: str) -> set[str]:
    """Options that a command of a span or a line does not take, with the command."""
    wrong = set()
    for code in (*spans(text), *code_lines(text)):
        words = re.sub(r"^(?:\.venv/bin/)?nfharness |^python3 -m harness ", "", code).split()
        given = {word for word in (words[:words.index("--")] if "--" in words else words) if word.startswith("--")}
        if command := called(words)[0]:
            known = options(COMMANDS[command]) | (pytests_options() if command in {("test",), ("kselftest",), ("suite",)} else set())
        elif words and words[0].endswith("/pytest"):
            known = set(pytests_options())
        else:
            continue
        wrong |= {f"{words[0]} {option}" for option in given - known}
    return wrong


def misplaced(text: str) -> set[str]:
    """Names that a file has not, of which the text says that it has: ``NAME`` in ``FILE``, ``NAME`` (``FILE``)."""
    wrong = set()
    for name, path in re.findall(r"`(\w+)`\s+(?:in|of|\()\s*`((?:harness|tests)/[\w/]+\.py)`", text):
        if "CONCERN" not in path and (ROOT / path).exists() and not re.search(rf"\b{name}\b", (ROOT / path).read_text()):
            wrong.add(f"{name} in {path}")
    return wrong


def test_every_name_exists() -> None:
    assert {"DRAWN", "LOCATORS", "_CONCERNS", "needs", "core", "raw_insert"} <= set(names(TEXT))
    assert not unknown_names(TEXT)


def test_every_path_exists() -> None:
    assert not missing_paths(TEXT)


def test_every_module_that_is_run_exists() -> None:
    assert "tests.recorded" in TEXT
    assert not missing_modules(TEXT)


def test_every_option_exists() -> None:
    assert not unknown_options(TEXT)


def test_a_name_stands_in_the_file_that_is_named_with_it() -> None:
    assert not misplaced(TEXT)


@pytest.mark.parametrize(("look", "text", "found"), [
    (unknown_names, "`frobnicate`, `DRAWM`, `_CONCERN_`, `DRAWN`", {"frobnicate", "DRAWM", "_CONCERN_"}),
    (unknown_names, "`Rule(…, neds=(1,))`, `neds=`, `needs=`", {"neds"}),
    (unknown_names, "   ```python\n   Ruel(order)\n   ```", {"Ruel"}),
    (missing_paths, "`harness/model/{entries,sluw}.py`, `registration.py`, `registrations_.py`",
     {"harness/model/{entries,sluw}.py", "registrations_.py"}),
    (missing_paths, "    .venv/bin/pytest tests/unit/test_topolgy.py  # one", {"tests/unit/test_topolgy.py"}),
    (missing_modules, "       .venv/bin/python -m tests.recoded order.x", {"tests.recoded"}),
    (unknown_options, "`check --frobnicate`, `check --explain\n   order.x`", {"check --frobnicate"}),
    (unknown_options, "       .venv/bin/nfharness check --kernle 6.12", {"check --kernle"}),
    (unknown_options, "    .venv/bin/pytest --kernle 6.12", {".venv/bin/pytest --kernle"}),
    (misplaced, "`PROBES` in `harness/conformance/rule.py`, `PROBES` (`harness/model/run.py`)", {"PROBES in harness/model/run.py"}),
])
def test_what_is_wrong_is_seen(look: object, text: str, found: set[str]) -> None:
    assert callable(look)
    assert look(text) == found


def test_the_readmes_topics_are_those_of_help() -> None:
    rows = re.findall(r"^\| (\[[^|]*) \| ([^|]*?) ?\|", README[README.index("| page | `nfharness help` |"):], re.MULTILINE)
    of_pages = {topic: [Path(target).stem for target in re.findall(r"\]\((harness/docs/[^)]+)\)", cell)] for cell, topic in rows}
    assert all(topic == f"`{stems[0]}`{' …' * (len(stems) > 1)}" for topic, stems in of_pages.items() if stems)
    assert sorted(stem for stems in of_pages.values() for stem in stems) == sorted(pages.topics())
