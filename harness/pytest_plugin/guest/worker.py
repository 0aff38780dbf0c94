"""The guest's end of an execnet gateway: runs xdist's own worker, with the plugin, over one file of tests at a time."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import inspect
import io
import json
import os
import platform
import shutil
import sys
import tarfile
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from types import CodeType
from typing import Any

import execnet
import pytest
import xdist.remote

from harness.outcome.profile import VARIABLE, KernelProfile
from harness.pytest_plugin import plugin
from harness.pytest_plugin.guest import limits, rehearsal, settings
from harness.pytest_plugin.guest.half import GuestHalf
from harness.pytest_plugin.guest.shell import Shell
from harness.pytest_plugin.live import is_live
from harness.pytest_plugin.selection import IN_GUEST, MODULES, TREE

__all__ = ("rehearse", "rehearse_bare", "serve")


def serve(channel: execnet.Channel) -> None:
    """Run one file's tests as an xdist worker. The first message has the tests and how pytest is to be started; the rest is xdist's."""
    order: dict[str, Any] = channel.receive()
    if order["tests"]:
        shutil.rmtree(TREE, ignore_errors=True)  # a machine that was there before us may have those of another run
        TREE.mkdir(parents=True)
        with tarfile.open(fileobj=io.BytesIO(order["tests"])) as archive:
            archive.extractall(TREE, filter="data")
    if order["modules"]:
        MODULES.mkdir(parents=True, exist_ok=True)
        for name, content in order["modules"].items():
            (MODULES / f"{name}.ko").write_bytes(content)
    GuestHalf.shell = order["shell"] and Shell(order["shell"])
    GuestHalf.stderr = os.dup(2)  # pytest puts a file in its place while a test runs
    if is_live(order["options"]["capture"]):
        os.dup2(2, 1)  # what execnet left there goes nowhere
    _settle(TREE, order["options"], json.loads(os.environ[VARIABLE]))
    limits.apply()
    sys.path[:] = [entry for entry in sys.path if entry != str(TREE)]
    try:
        exec(_WORKER, {"__name__": "__channelexec__", "channel": channel})  # noqa: S102 - as execnet would, less the compiling
    finally:
        limits.lift()


def _worker() -> CodeType:
    """The module that xdist itself would send."""
    spec = importlib.util.find_spec(xdist.remote.__name__)
    assert spec is not None  # noqa: S101
    assert spec.loader is not None  # noqa: S101
    code: CodeType = spec.loader.get_code(xdist.remote.__name__)  # type: ignore[attr-defined]
    return code


def _plugins() -> str:
    """What pytest would load by itself, and our own, as ``PYTEST_PLUGINS`` has it: looking for them takes a guest a while."""
    return ",".join([plugin.__name__, *(entry.module for entry in importlib.metadata.entry_points(group="pytest11"))])


# Found out here, so that a template holds them; the third is what xdist's worker asks platform for, which starts a program for it.
_WORKER, _PLUGINS, *_ = _worker(), _plugins(), platform.platform(), settings.watched()


def rehearse() -> None:
    """Run a small test, as in a guest, for all that is imported on the way; whether it passes is not asked here.

    The process is of no other use afterwards.
    """
    _rehearse(KernelProfile().to_json())


def rehearse_bare() -> None:
    """:func:`rehearse` on a kernel that has nothing of ours."""
    _rehearse(None)


def _rehearse(profile: dict[str, Any] | None) -> None:
    with tempfile.TemporaryDirectory(prefix="nfharness-") as text, Path(os.devnull).open("w") as null, redirect_stdout(null):
        place = Path(text)
        (place / "test_rehearsal.py").write_text(inspect.getsource(rehearsal))
        (place / "pytest.ini").write_text("[pytest]\n")
        _settle(place, {}, profile)
        pytest.main(["--disable-plugin-autoload", "-o", "cache_dir=cache", "--kernel", "template", "test_rehearsal.py"])
        os.chdir("/")


def _settle(place: Path, options: dict[str, Any], profile: dict[str, Any] | None) -> None:
    """Let pytest find tests in *place*, and this half of the plugin."""
    os.environ |= {IN_GUEST: "1", "PYTEST_PLUGINS": _PLUGINS}
    os.chdir(place)
    GuestHalf.options, GuestHalf.profile = options, KernelProfile.from_json(profile) if profile else None
