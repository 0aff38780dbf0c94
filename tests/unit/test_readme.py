"""What the README says is so."""

from __future__ import annotations

import re
from pathlib import Path

from click import Context

from harness.cli.commands import nfharness
from harness.scenario import loads

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_its_scenario_is_one() -> None:
    (text,) = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    assert loads(text).name == "first-come"


def test_it_names_every_command() -> None:
    named = {row.split()[0] for row in re.findall(r"^\| `([a-z][^`]*)` \|", README, re.MULTILINE)}
    assert set(nfharness.list_commands(Context(nfharness))) <= named
