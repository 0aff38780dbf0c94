"""What GitHub shows of a job: annotations at its lines, and the summary of a step (docs.github.com, "Workflow commands")."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.errors import HostError
from harness.printable import printable_line

__all__ = ("Annotation", "commands", "place_in_repository", "summarise")

#: GitHub shows ten of a step, and a summary of 1 MiB at most.
_SHOWN, _SUMMARY = 10, 1 << 20
_FENCE = "````"


@dataclass(frozen=True, slots=True)
class Annotation:
    """What a reader should look at.

    :param title: one line: which test or rule, on which kernel
    :param message: one line: what is wrong
    :param detail: all of it
    :param file: path in the repository, if the finding has a place there
    :param line: from 1
    """

    level: Literal["error", "warning"]
    title: str
    message: str
    detail: str = ""
    file: str = ""
    line: int | None = None


def commands(findings: Sequence[Annotation]) -> list[str]:
    """The lines that make GitHub annotate a step, if the step prints them: ten at most, errors first."""
    chosen = sorted(findings, key=lambda one: one.level == "warning")[:_SHOWN]
    return [_annotation(one) for one in chosen]


def _annotation(finding: Annotation) -> str:
    properties = {"file": finding.file, "line": str(finding.line or ""), "title": finding.title}
    if not finding.file:
        del properties["line"]
    told = ",".join(f"{name}={_escaped(value, more=True)}" for name, value in properties.items() if value)
    return f"::{finding.level} {told}::{_escaped(finding.message)}"


def _escaped(text: str, *, more: bool = False) -> str:
    """The text as GitHub's own toolkit escapes a message, and with *more* the value of a property."""
    for character in "%\r\n" + (":," if more else ""):
        text = text.replace(character, f"%{ord(character):02X}")
    return printable_line(text)


def place_in_repository(file: Path) -> str:
    """A file's path in the repository that the job has checked out (``GITHUB_WORKSPACE``); empty if it is not there."""
    top = os.environ.get("GITHUB_WORKSPACE")
    return str(file.relative_to(top)) if top and file.is_relative_to(top) and file.is_file() else ""


def summarise(heading: str, table: Sequence[Sequence[str]], findings: Sequence[Annotation]) -> None:
    """Add to the step's summary (``GITHUB_STEP_SUMMARY``), where there is one: a table, and each finding with its detail.

    :param table: rows, the column's names first
    :raises HostError: the file cannot be written
    """
    place = os.environ.get("GITHUB_STEP_SUMMARY")
    if not place:
        return
    rows = [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in table]
    text = "\n".join((f"### {heading}", "", rows[0], f"|{'---|' * len(table[0])}", *rows[1:], "", ""))
    for number, finding in enumerate(findings):
        more = (f"<details><summary>{_html(finding.level)}: {_html(finding.title)}: {_html(finding.message)}</summary>\n\n"
                f"{_FENCE}\n{_block(finding.detail or finding.message)}\n{_FENCE}\n\n</details>\n\n")  # fmt: skip
        left = f"and {len(findings) - number} more\n"
        if len((text + more + left).encode()) > _SUMMARY:
            text += left
            break
        text += more
    try:
        with Path(place).open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError as error:
        raise HostError(f"{place}: {error.strerror}", hint="GITHUB_STEP_SUMMARY names a file that can be written") from None


def _cell(text: str) -> str:
    return printable_line(text).replace("|", "\\|")


def _html(text: str) -> str:
    return printable_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _block(text: str) -> str:
    return "\n".join(printable_line(line).replace(_FENCE, "'''") for line in text.splitlines())
