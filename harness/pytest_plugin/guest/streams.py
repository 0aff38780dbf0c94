"""Standard streams that a test has closed: pytest's own hooks fail over them, in this test and in each that follows."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest
from _pytest.capture import MultiCapture

__all__ = ("reopened",)


def reopened(config: pytest.Config) -> list[str]:
    """The standard streams that are closed, which are opened again: the phases that follow write there, too."""
    found = []
    for name, number in (("stdout", 1), ("stderr", 2)):
        closed = [one for one in (name, f"__{name}__") if getattr(getattr(sys, one), "closed", False)]
        found += [f"sys.{one}" for one in closed]
        if not _is_there(number):
            if not closed and config.getoption("capture") != "fd":  # that puts a descriptor back by itself
                found.append(f"descriptor {number}")
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
        for one in closed:
            setattr(sys, one, open(number, "w", closefd=False))  # noqa: SIM115 - for the rest of the process
    manager = config.pluginmanager.getplugin("capturemanager")
    fixture = manager._capture_fixture
    if fixture and _has_closed(fixture._capture):
        fixture._capture.stop_capturing()  # not close(), which reads what is closed
        fixture._capture = None
        fixture._start()
    if _has_closed(manager._global_capturing):
        manager._global_capturing.stop_capturing()
        manager._global_capturing = None
        manager.start_global_capturing()
    return found


def _has_closed(captures: MultiCapture[str] | None) -> bool:
    """Whether one of pytest's files for what tests write is closed."""
    both: list[Any] = [captures.out, captures.err] if captures else []
    return any(one.tmpfile.closed for one in both if one)


def _is_there(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
