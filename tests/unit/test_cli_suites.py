"""Which words of a command line are tests of a suite, and which are pytest's."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli.suites import chosen
from harness.errors import UserError

KNOWN = ["a.sh", "deep/b"]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    place = tmp_path / "suite"
    place.mkdir()
    (place / "lib.sh").touch()
    (tmp_path / "known.toml").touch()
    return place


def pick(directory: Path, *arguments: str) -> tuple[list[str], list[str]]:
    return chosen(arguments, KNOWN, directory, "suite", "nfharness suite suite --list")


def test_tests_are_told_from_pytests_arguments(directory: Path) -> None:
    assert pick(directory, "a.sh", "deep/b", "-n", "2", "-x") == (["a.sh", "deep/b"], ["-n", "2", "-x"])
    assert pick(directory, "lib.sh") == (["lib.sh"], [])
    assert pick(directory) == ([], [])


@pytest.mark.parametrize("value", ["{}/known.toml", "../known.toml"])
def test_a_file_that_an_option_names_is_no_test(directory: Path, value: str) -> None:
    option = ["--waivers", value.format(directory.parent)]
    assert pick(directory, "a.sh", *option) == (["a.sh"], option)


def test_what_is_no_test_is_the_users_mistake(directory: Path) -> None:
    with pytest.raises(UserError, match="suite has no test bdeep/b") as raised:
        pick(directory, "bdeep/b")
    assert raised.value.hint == "did you mean deep/b? nfharness suite suite --list"
    with pytest.raises(UserError, match=r"suite has no test c\.sh"):
        pick(directory, "-x", "c.sh")
