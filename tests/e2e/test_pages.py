"""What the pages for test authors show is typed as it stands there, and does what the page says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import harness
from harness.images import kernels
from tests.e2e.conftest import CommandLine
from tests.e2e.test_own_modules import SOURCE
from tests.e2e.test_pytest_plugin import run

pytestmark = pytest.mark.slow

PAGES = Path(harness.__file__).parent / "docs"


def blocks(page: str, language: str) -> list[str]:
    """The blocks of a language on a page; those of no language for an empty name."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", (PAGES / page).read_text(), re.DOTALL | re.MULTILINE)
    return [text for its_language, text in found if its_language == language]


@pytest.fixture
def author(ready: None, tmp_path: Path) -> Path:
    """A test author's directory with the tests of the pages, and the settings that the recipes name."""
    first = blocks("first-test.md", "python")[0]
    (tmp_path / "test_first.py").write_text(first)
    (tmp_path / "test_changed.py").write_text(first.replace("udp dport 53 drop;", "udp dport 54 drop;"))
    (tmp_path / "test_reset.py").write_text(blocks("bug-to-test.md", "python")[0])
    (tmp_path / "test_recipes.py").write_text("\n\n".join(blocks("recipes.md", "python")))
    (tmp_path / "pytest.ini").write_text("[pytest]\nkernel_modules = module\npackages = jq\n")
    (tmp_path / "module").mkdir()
    (tmp_path / "module" / "Kbuild").write_text("obj-m := mine.o\n")
    (tmp_path / "module" / "mine.c").write_text(SOURCE)
    return tmp_path


def test_the_tests_of_the_pages_pass_and_the_one_that_is_broken_shows_the_walk(author: Path) -> None:
    done = run(author, "--kernel", kernels.DEFAULT, "--report-jsonl", "out.jsonl")
    results = [one for line in (author / "out.jsonl").read_text().splitlines() if "test" in (one := json.loads(line))]
    assert [one["test"] for one in results if one["outcome"] != "passed"] == [
        f"test_changed.py::test_dns_is_dropped_and_nothing_else[{kernels.DEFAULT}]"], done.stdout
    assert len(results) == 2 + 1 + len(re.findall(r"^def test_", (author / "test_recipes.py").read_text(), re.MULTILINE)) + 1
    told = re.findall(r"^E  .*$", blocks("first-test.md", "")[0], re.MULTILINE)
    assert told[0] == 'E       assert Delivered() == Dropped("EPERM")'
    assert "\n".join(told) in done.stdout


def test_the_script_of_the_bug_report_shows_the_end_of_the_connection(nfharness: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "reset.sh").write_text(blocks("bug-to-test.md", "sh")[0])
    done = nfharness("exec", "--kernel", kernels.DEFAULT, "--file", "reset.sh", "--", "sh", "reset.sh", before=("env", "-C", str(tmp_path)))
    assert re.search(rb"^tcp +6 \d+ CLOSE src=127.0.0.1 dst=127.0.0.1 .* dport=80 src=127.0.0.1 ", done.out, re.MULTILINE), done
