"""A failure shows the walks of the packets that its test sent."""

from __future__ import annotations

import io
import json

import pytest

from harness.pytest_plugin.selection import WALKS

__all__ = ("show_walks",)


def show_walks(report: pytest.TestReport) -> None:
    """Let the report of a failure have a section with the walks that its test's process sent along."""
    properties = dict(report.user_properties)
    if WALKS not in properties:
        return
    report.user_properties = [(name, value) for name, value in report.user_properties if name != WALKS]
    from harness.host.terminal import Terminal  # noqa: PLC0415 - not for what passes
    from harness.outcome import codec  # noqa: PLC0415
    from harness.walks.render import render_walks  # noqa: PLC0415

    text, told = io.StringIO(), json.loads(str(properties[WALKS]))
    if told["left out"]:
        text.write(f"{told['left out']} earlier ones are left out\n\n")
    render_walks(Terminal(file=text, width=140), codec.from_json(told["outcome"]))
    report.sections.append(("Walks", text.getvalue()))
