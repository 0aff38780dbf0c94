"""The guest's half: an end of an execnet gateway that runs xdist's own worker over one file of tests at a time."""

from __future__ import annotations

import importlib.util
import io
import os
import sys
import tarfile
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

import execnet
import pytest
import xdist.remote

from harness.outcome.profile import KernelProfile
from harness.pytest_plugin import limits
from harness.pytest_plugin import plugin as _plugin  # noqa: F401 - so that a template holds it
from harness.pytest_plugin.selection import IN_GUEST, PROFILE
from harness.pytest_plugin.watch import Watch

__all__ = ("TREE", "GuestHalf", "serve")

#: Where a guest has the tests, under their paths from the host's root directory.
TREE = Path("/run/nfharness/tests")
#: Options whose work is the host's: the guest runs what it is told.
_HOSTS_OPTIONS = {
    "file_or_dir", "kernels", "keyword", "markexpr", "deselect", "ignore", "ignore_glob", "collectonly", "maxfail", "exitfirst", "lf",
    "failedfirst", "newfirst", "stepwise", "stepwise_skip", "stepwise_reset", "usepdb", "usepdb_cls", "trace", "xmlpath", "junitprefix",
    "plugins", "inifilename", "rootdir", "basetemp", "override_ini", "importmode", "cacheshow", "cacheclear", "looponfail", "dist",
    "distload", "tx", "px", "numprocesses", "maxprocesses", "testrunuid", "rsyncdir", "rsyncignore", "setuponly", "setupshow",
    "setupplan", "pastebin", "log_file", "durations", "durations_min", "ktap", "report_jsonl", "report_html", "random_order",
    "random_order_seed", "capture", "pyargs", "confcutdir", "noconftest", "pythonpath", "console_output_style", "verbosity",
}  # fmt: skip


def serve(channel: execnet.Channel) -> None:
    """Run one file's tests as an xdist worker. The first message has the tests and how pytest is to be started; the rest is xdist's."""
    order: dict[str, Any] = channel.receive()
    if order["tests"]:
        TREE.mkdir(parents=True, exist_ok=True)
        with tarfile.open(fileobj=io.BytesIO(order["tests"])) as archive:
            archive.extractall(TREE, filter="data")
    os.environ[IN_GUEST] = "1"
    os.chdir(TREE)
    limits.apply()
    sys.path[:] = [entry for entry in sys.path if entry != str(TREE)]
    GuestHalf.options, GuestHalf.profile = order["options"], KernelProfile.from_json(order["profile"])
    exec(_worker(), {"__name__": "__channelexec__", "channel": channel})  # noqa: S102 - as execnet would, less the compiling


@cache
def _worker() -> CodeType:
    """The module that xdist itself would send."""
    spec = importlib.util.find_spec(xdist.remote.__name__)
    assert spec is not None  # noqa: S101
    assert spec.loader is not None  # noqa: S101
    code: CodeType = spec.loader.get_code(xdist.remote.__name__)  # type: ignore[attr-defined]
    return code


class GuestHalf:
    """Hooks of the worker in a guest."""

    #: The host's options, for whichever plugin of the guest knows them.
    options: dict[str, Any]
    profile: KernelProfile

    def __init__(self, config: pytest.Config) -> None:
        for name, value in self.options.items():
            if name not in _HOSTS_OPTIONS and hasattr(config.option, name):
                setattr(config.option, name, value)
        config.stash[PROFILE] = self.profile
        config.pluginmanager.register(Watch(config), "nfharness-watch")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """A kernel's known bug is expected, and named by the commit that fixes it."""
        for item in items:
            for mark in item.iter_markers("known_bug"):
                commit, unless = mark.args[0], mark.kwargs.get("unless")
                if unless is None or not getattr(self.profile, unless):
                    item.add_marker(pytest.mark.xfail(reason=f"known bug, fixed by {commit}", strict=True))
