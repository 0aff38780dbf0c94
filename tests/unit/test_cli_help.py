"""``nfharness help``: every page is a topic, and shells complete them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from hatchling.builders.wheel import WheelBuilder

from harness.cli import help as command

ROOT = Path(__file__).parents[2]
PAGES = sorted(path.stem for path in ROOT.glob("harness/docs/*.md"))


def said(*arguments: str) -> str:
    done = CliRunner().invoke(command.command, arguments)
    assert done.exit_code == 0, done.output
    return done.output


def test_every_page_is_listed_with_its_title() -> None:
    listed = said()
    assert sorted(command.topics()) == PAGES
    for topic, title in command.topics().items():
        assert f"  {topic}  " in listed
        assert title in listed


@pytest.mark.parametrize("topic", PAGES)
def test_a_topic_is_its_page(topic: str) -> None:
    assert said(topic).splitlines() == (ROOT / f"harness/docs/{topic}.md").read_text().splitlines()


def test_a_topic_that_is_not_there_is_told_with_the_nearest() -> None:
    done = CliRunner().invoke(command.command, ["glossry"])
    assert (done.exit_code, done.output.splitlines()[-1]) == (2, "Error: No such topic 'glossry'. Did you mean 'glossary'?")


def test_the_shell_completes_topics_and_hears_nothing_else(tmp_path: Path) -> None:
    environment = os.environ | {"_NFHARNESS_COMPLETE": "bash_complete", "COMP_WORDS": "nfharness help own", "COMP_CWORD": "2",
                                "NFHARNESS_STATE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-m", "harness"], env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "plain,own-kernels\n", "")
    assert not list(tmp_path.iterdir())


def test_a_wheel_has_the_pages() -> None:
    packed = {included.distribution_path for included in WheelBuilder(str(ROOT)).recurse_included_files()}
    assert {f"harness/docs/{page}.md" for page in PAGES} <= packed
