"""Files for reports: what cannot be written is told first, and what was there is lost only to a report that is whole."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import click
import pytest

from harness.cli.reports import ReportFile, opened, write_all
from harness.errors import HostError, UserError


def test_what_is_written_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "report"
    path.write_text("a longer report of yesterday")
    file = ReportFile(path, "junit")
    assert path.read_text() == "a longer report of yesterday"
    file.write(b"today")
    file.close()
    assert path.read_text() == "today"


def test_without_a_report_nothing_changes(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("yesterday")
    for path in (old, new):
        ReportFile(path, "junit").close()
    assert (old.read_text(), new.exists()) == ("yesterday", False)


@pytest.mark.parametrize(("path", "why"), [
    ("/proc/report", "No such file or directory"), ("nowhere/report", "No such file or directory"), (".", "Is a directory"),
])
def test_what_cannot_be_opened_is_told_with_its_option(tmp_path: Path, path: str, why: str) -> None:
    with pytest.raises(UserError, match=f"{tmp_path / path}: {why}") as told:
        ReportFile(tmp_path / path, "html")
    assert told.value.hint == "give --html a file that can be written"


def test_a_full_disk_is_told() -> None:
    file = ReportFile(Path("/dev/full"), "junit")
    with pytest.raises(HostError, match="/dev/full: No space left on device"):
        file.write(b"report")
    file.close()


def test_a_pipe_gets_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    file = ReportFile(tmp_path / "pipe", "junit")
    file.write(b"report")
    file.close()
    assert os.read(reader, 100) == b"report"
    os.close(reader)


def test_a_file_by_another_name_is_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "report")
    files = [ReportFile(tmp_path / "report", "junit"), ReportFile(tmp_path / "link", "html")]
    assert files[0].is_same(files[1])
    for file in files:
        file.close()


def test_of_the_files_that_were_asked_for_no_two_are_the_same(tmp_path: Path) -> None:
    with ExitStack() as stack:
        assert set(opened(stack, {"junit": tmp_path / "a", "html": None, "json": tmp_path / "b"})) == {"junit", "json"}
    with ExitStack() as stack, pytest.raises(click.UsageError, match="--junit and --json name the same file"):
        opened(stack, {"junit": tmp_path / "a", "html": None, "json": tmp_path / "a"})
    assert list(tmp_path.iterdir()) == []


def test_files_behind_one_that_cannot_be_written_are_written(tmp_path: Path) -> None:
    with ExitStack() as stack:
        files = opened(stack, {"junit": Path("/dev/full"), "html": tmp_path / "page"})
        with pytest.raises(HostError, match="/dev/full"):
            write_all(files, {"junit": lambda: b"report", "html": lambda: b"page"})
    assert (tmp_path / "page").read_bytes() == b"page"
