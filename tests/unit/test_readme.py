"""The pages say what is so: what they name exists, and what exists is named."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from harness.cli.commands import nfharness
from harness.conformance import RULES
from harness.conformance.coverage import FUNCTIONS
from harness.pytest_plugin import plugin
from harness.pytest_plugin.lab import Lab
from harness.scenario import BUILTIN, loads
from harness.scenario.step import KINDS
from harness.scenario.steps.sysctl import SETTINGS
from harness.scenario.topology import TOPOLOGIES

ROOT = Path(__file__).parents[2]
PAGES = {str(path.relative_to(ROOT)): path.read_text() for path in
         (ROOT / "README.md", ROOT / ".github/CONTRIBUTING.md", *sorted(ROOT.glob("harness/docs/*.md")))}
README, SCENARIOS = PAGES["README.md"], PAGES["harness/docs/scenarios.md"]
WRITING, RUNNING = PAGES["harness/docs/writing-tests.md"], PAGES["harness/docs/running-tests.md"]
EVERYTHING = "\n".join(PAGES.values())


def leaves(command: click.Command, *words: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """A command and those below it, each with its words."""
    yield words, command
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            found = command.get_command(click.Context(command), name)
            assert found
            yield from leaves(found, *words, name)


COMMANDS = dict(leaves(nfharness))


def options(command: click.Command) -> set[str]:
    return {option for parameter in command.params if isinstance(parameter, click.Option) for option in parameter.opts} | {"--help", "-h"}


@cache
def pytests_options() -> frozenset[str]:
    """What pytest takes with the plugin and xdist."""
    text = subprocess.run([sys.executable, "-m", "pytest", "--help"], capture_output=True, text=True, check=True).stdout
    return frozenset({*re.findall(r"(?<=[\s,])--?[a-z][a-z-]*", text), "--junitxml"})  # which the help calls --junit-xml


def shown() -> Iterator[tuple[str, str]]:
    """Page and text of every code span and every line of a code block."""
    for page, text in PAGES.items():
        for language, block in re.findall(r"^ *```(\w*)\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL):
            yield from ((page, line.removeprefix("$ ")) for line in block.splitlines() if not language)
        rest = re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
        yield from ((page, line.removeprefix("$ ")) for line in re.findall(r"^ {4,8}(\S.*)$", rest, re.MULTILINE))
        yield from ((page, span) for span in re.findall(r"`([^`\n]+)`", rest))


def command_lines() -> Iterator[tuple[str, list[str]]]:
    """Page and words of every call of nfharness that is shown."""
    for page, text in shown():
        shell = re.split(r"(?:^| )# ", text)[0]
        for call in re.findall(r"(?:(?<!module )(?:(?<![\w/.-])|(?<=\.venv/bin/))nfharness|python3 -m harness) ([^;|&')]+)", shell):
            yield page, call.replace(",", " ").split()


def called(words: list[str]) -> tuple[tuple[str, ...], list[str]]:
    """The command that is called, and the words behind it."""
    known: tuple[str, ...] = ()
    while len(words) > len(known) and (*known, words[len(known)]) in COMMANDS:
        known = (*known, words[len(known)])
    return known, words[len(known):]


def test_every_command_that_a_page_shows_exists() -> None:
    assert len(list(command_lines())) > 20
    unknown = [(page, words) for page, words in command_lines() if not called(words)[0] and words[0] not in ("COMMAND", "--completion")]
    assert not unknown


def test_every_option_in_a_command_that_a_page_shows_exists() -> None:
    wrong = []
    for page, words in command_lines():
        command, rest = called(words)
        given = {word for word in (rest[:rest.index("--")] if "--" in rest else rest) if word.startswith("--")}
        known = options(COMMANDS[command]) | (pytests_options() if command in {("test",), ("kselftest",), ("suite",)} else set())
        wrong += [(page, *command, option) for option in given - known]
    assert not wrong


def test_every_option_that_a_page_names_exists() -> None:
    known = {option for command in COMMANDS.values() for option in options(command)} | pytests_options()
    named = {(page, span) for page, span in shown() if re.fullmatch(r"--[a-z][a-z-]*(?:[ =].*)?", span)}
    assert named
    assert not {(page, span) for page, span in named if re.split("[ =]", span)[0] not in known}


def rows() -> list[str]:
    """First cells of the README's table of commands."""
    (table,) = re.findall(r"^\| command \| \|\n\|---\|---\|\n((?:\|.*\n)+)", README, re.MULTILINE)
    return [cell.replace("\\|", "|") for cell in re.findall(r"^\| `(.*?)` \|", table, re.MULTILINE)]


def test_the_readmes_commands_are_those_that_there_are() -> None:
    assert sorted(row.split()[0] for row in rows()) == sorted(words[0] for words in COMMANDS if len(words) == 1)


def test_the_readme_names_what_is_below_a_command() -> None:
    groups = {words[0] for words, command in COMMANDS.items() if words and isinstance(command, click.Group)}
    listed = {(row.split()[0], below) for row in rows() if row.split()[0] in groups for below in row.split()[1].split("|")}
    assert listed == {words for words in COMMANDS if len(words) == 2}


@pytest.mark.parametrize("name", sorted(" ".join(words) for words in COMMANDS if words))
def test_every_option_is_named_by_a_page(name: str) -> None:
    named = {"--help", *re.findall(r"--[a-z][a-z-]*", EVERYTHING)}
    assert {option for option in options(COMMANDS[tuple(name.split())]) if option.startswith("--")} - named == set()


def test_every_option_of_the_plugin_is_named() -> None:
    source = (ROOT / "harness/pytest_plugin/plugin.py").read_text()
    added = set(re.findall(r'addoption\("(--[a-z-]+)"', source)) | set(re.findall(r'addini\("(\w+)"', source))
    assert len(added) > 5
    assert {name for name in added if name not in RUNNING + WRITING} == set()


def test_the_steps_of_the_table_are_those_that_there_are() -> None:
    table = SCENARIOS[SCENARIOS.index("| step |"):SCENARIOS.index("## Topologies")]
    named = [step for cell in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for step in re.findall(r"`([a-z-]+)`", cell)]
    assert sorted(named) == sorted(KINDS)


def test_a_scenario_of_a_page_is_one() -> None:
    assert [loads(text).name for text in re.findall(r"```json\n(.*?)```", EVERYTHING, re.DOTALL)] == ["first-come"]


def test_every_scenario_that_is_run_exists() -> None:
    run = [words[1] for _, words in command_lines() if words[0] == "run" and len(words) > 1 and re.fullmatch(r"[a-z][a-z-]*", words[1])]
    assert run
    assert set(run) <= set(BUILTIN)


def test_every_rule_that_is_named_exists() -> None:
    concerns = {rule.partition(".")[0] for rule in RULES}
    named = {word for _, text in shown() for word in text.split() if re.fullmatch(r"[a-z]+\.[a-z0-9.-]*[a-z0-9]", word)}
    named = {word for word in named if word.partition(".")[0] in concerns and not word.endswith((".py", ".md", ".json"))}
    assert "order.equal-newest-first" in named
    assert named <= set(RULES)


def test_the_fixtures_are_named() -> None:
    found = set(re.findall(r"^@pytest\.fixture.*\ndef (\w+)", (ROOT / "harness/pytest_plugin/fixtures.py").read_text(), re.MULTILINE))
    named = {name for found in re.findall(r"fixtures? `(\w+)`(?: or `(\w+)`)?", WRITING) for name in found if name}
    assert named == found - {"kernel_spec"}  # that one is the parameter of the others


def test_the_methods_of_lab_are_those_that_there_are() -> None:
    table = WRITING[WRITING.index("## `lab`"):WRITING.index("All of it is removed")]
    cells = [cell for cell in re.findall(r"^\| (`.*?) \| ", table, re.MULTILINE) if "host." not in cell]
    named = {name for cell in cells for name in re.findall(r"`(\w+)\(", cell)}
    assert named == {name for name, value in vars(Lab).items() if callable(value) and not name.startswith("_")}


def test_the_markers_are_those_that_there_are() -> None:
    table = WRITING[WRITING.index("## Markers"):]
    named = {name for cell in re.findall(r"^\| (`.*?) \| ", table, re.MULTILINE) for name in re.findall(r"`(\w+)", cell)}
    assert named == {re.split(r"\W", line)[0] for line in plugin._MARKERS}


LINK = re.compile(r"\[[^]]+\]\(([^)\s]+)\)")


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_leads_somewhere(page: str) -> None:
    for target in LINK.findall(PAGES[page]):
        if "://" in target:
            continue
        place, _, anchor = target.partition("#")
        path = (ROOT / page).parent / place if place else ROOT / page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path.read_text()), target


def test_every_page_is_linked_from_the_readme() -> None:
    assert {page for page in PAGES if page != "README.md"} == {target for target in LINK.findall(README) if target.endswith(".md")}


def test_every_path_that_a_page_names_exists() -> None:
    named = {(page, span) for page, span in shown()
             if re.fullmatch(r"(?:harness|kmod|tests|vagrant|\.ci|\.github)/[\w./*-]*", span)}
    assert len(named) > 20
    assert not {(page, span) for page, span in named if not list(ROOT.glob(span.replace("CONCERN", "*").rstrip("/")))}


def test_every_commit_that_a_page_names_is_written_as_git_shortens_it() -> None:
    commits = re.findall(r"`([0-9a-f]{7,40})`", PAGES["harness/docs/decisions.md"])
    assert len(set(commits)) >= 12
    assert {len(commit) for commit in commits} == {7}


def words_after(words: str, name: str = r"\w+") -> set[str]:
    """Code spans that a page names as something: *the step `sysctl`*."""
    return set(re.findall(rf"\b(?:{words}) `({name})`", EVERYTHING))


def test_every_step_that_is_named_exists() -> None:
    named = words_after("[Ss]teps?|[Kk]ind", "[a-z-]+") | set(re.findall(r"`([a-z-]+)` steps?\b", EVERYTHING))
    assert "sysctl" in named
    assert named <= set(KINDS)


def test_every_name_with_hyphens_exists() -> None:
    """Steps, topologies and scenarios: in code spans of the page about them, no other names have hyphens."""
    spans = set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", SCENARIOS))
    known = {*KINDS, *BUILTIN, *TOPOLOGIES, *(setting.rpartition(".")[2] for setting in SETTINGS)}
    assert "raw-insert" in spans
    assert not spans - known


def test_every_fixture_that_is_named_exists() -> None:
    named = words_after("fixtures?")
    assert named
    unknown = named - set(plugin.__all__)
    assert not {page: found for page, text in PAGES.items() if (found := [name for name in unknown if f"`{name}`" in text])}
    assert not unknown


def test_every_marker_that_is_named_exists() -> None:
    markers = {re.split(r"\W", line)[0] for line in plugin._MARKERS}
    named = words_after("marked|markers?") | set(re.findall(r"pytest\.mark\.(\w+)", EVERYTHING))
    assert markers & named
    assert named <= markers | {"parametrize", "skip", "skipif", "slow", "usefixtures", "xfail"}


def test_every_setting_of_pytest_that_is_named_exists() -> None:
    source = (ROOT / "harness/pytest_plugin/plugin.py").read_text()
    named = words_after("settings?")
    assert "packages" in named
    assert named <= set(re.findall(r'addini\("(\w+)"', source))


def test_every_method_of_lab_that_is_called_exists() -> None:
    called_methods = set(re.findall(r"\blab\.(\w+)\(", EVERYTHING))
    assert "send" in called_methods
    assert not {page: missing for page, text in PAGES.items()
                if (missing := [name for name in re.findall(r"\blab\.(\w+)\(", text) if not hasattr(Lab, name)])}


def test_every_environment_variable_that_is_named_is_read() -> None:
    named = set(re.findall(r"\bNFHARNESS_[A-Z_]+\b", EVERYTHING))
    files = [*ROOT.glob("harness/**/*.py"), ROOT / "vagrant/Vagrantfile", *ROOT.glob(".ci/*")]
    read = {name for path in files for name in re.findall(r"\bNFHARNESS_[A-Z_]+\b", path.read_text())}
    assert "NFHARNESS_CACHE" in named
    assert named <= read


def test_every_file_and_function_that_contributing_names_exists() -> None:
    text = PAGES[".github/CONTRIBUTING.md"]
    sources = [*ROOT.glob("harness/**/*.py"), *ROOT.glob("tests/**/*.py")]
    named = set(re.findall(r"`(\w+\.py)`", text))
    assert named <= {path.name for path in sources}
    functions = set(re.findall(r"`(test_\w+)`", text))
    assert functions
    assert functions <= {name for path in sources for name in re.findall(r"^def (\w+)", path.read_text(), re.MULTILINE)}


def test_the_lines_that_contributing_gives_are_those_of_the_table() -> None:
    (first, last, function), = re.findall(r"lines (\d+)-(\d+) of\s+`(\w+)`", PAGES[".github/CONTRIBUTING.md"])
    branches = [branch for one in FUNCTIONS if one.name == function for branch in one.branches]
    assert (int(first), int(last)) in {branch.lines for branch in branches if "order.equal-newest-first" in branch.rules}


def test_every_commit_that_a_page_names_is_in_the_history() -> None:
    def git(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)

    if shutil.which("git") is None or git("rev-parse", "--is-shallow-repository").stdout.strip() != "false":
        pytest.skip("no history: an archive, or a shallow clone")
    commits = set(re.findall(r"`([0-9a-f]{7,40})`", PAGES["harness/docs/decisions.md"]))
    assert not {commit for commit in commits if git("merge-base", "--is-ancestor", commit, "HEAD").returncode}
