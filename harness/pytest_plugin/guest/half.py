"""What the plugin registers in a guest: the host's options for pytest, and the hooks that watch over each test."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

import pytest

from harness.outcome.profile import KernelProfile
from harness.pytest_plugin.carried import Carrier
from harness.pytest_plugin.guest.comparing import Comparing
from harness.pytest_plugin.guest.counting import Counting
from harness.pytest_plugin.guest.escapes import Escapes, Innermost
from harness.pytest_plugin.guest.shell import Shell
from harness.pytest_plugin.guest.watch import Watch
from harness.pytest_plugin.live import BEGINS
from harness.pytest_plugin.selection import PROFILE

__all__ = ("GuestHalf",)

#: Options whose work is the host's: the guest runs what it is told.
_HOSTS_OPTIONS = {
    "file_or_dir", "kernels", "backend", "bare", "keyword", "markexpr", "deselect", "ignore", "ignore_glob",
    "collectonly", "maxfail", "exitfirst", "lf",
    "failedfirst", "newfirst", "stepwise", "stepwise_skip", "stepwise_reset", "usepdb", "usepdb_cls", "trace", "xmlpath", "junitprefix",
    "plugins", "inifilename", "rootdir", "basetemp", "override_ini", "importmode", "cacheshow", "cacheclear", "looponfail", "dist",
    "distload", "tx", "px", "numprocesses", "maxprocesses", "testrunuid", "rsyncdir", "rsyncignore", "setuponly", "setupshow",
    "setupplan", "pastebin", "log_file", "durations", "durations_min", "ktap", "report_jsonl", "report_html", "github", "random_order",
    "random_order_seed", "shell_on_failure", "capture", "pyargs", "confcutdir", "noconftest", "pythonpath", "console_output_style",
    "verbosity",
}  # fmt: skip


class GuestHalf:
    """Hooks of the worker in a guest."""

    #: The host's options, for whichever plugin of the guest knows them; and for pytest itself those of its terminal, as "--tb".
    options: dict[str, Any]
    profile: KernelProfile | None
    #: Where the host hears when a test begins.
    stderr: int | None = None
    #: With ``--shell-on-failure``: what a test that fails offers the host.
    shell: Shell | None = None

    def __init__(self, config: pytest.Config) -> None:
        os.environ.pop("PYTEST_PLUGINS", None)  # of no other pytest that a test may start
        for name, value in self.options.items():
            if name not in _HOSTS_OPTIONS:
                setattr(config.option, name, value)
        config.stash[PROFILE] = self.profile
        watch = Watch(config, self.shell)
        config.pluginmanager.register(watch, "nfharness-watch")
        config.pluginmanager.register(Escapes(watch.spoil))
        config.pluginmanager.register(Innermost(watch.complain))
        config.pluginmanager.register(Carrier(config))
        config.pluginmanager.register(Comparing())
        if config.getoption("coverage"):
            config.pluginmanager.register(Counting())

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self) -> None:
        """Tell the output of this test from that of the one before."""
        if self.stderr is not None:
            with suppress(OSError):  # a test may close what it likes
                os.write(self.stderr, BEGINS)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """A kernel's known bug is expected, and named by the commit that fixes it."""
        for item in items:
            for mark in item.iter_markers("known_bug"):
                if not mark.args:  # the host has refused that test
                    continue
                commit, unless = mark.args[0], mark.kwargs.get("unless")
                if unless is None or not getattr(self.profile, unless, False):
                    item.add_marker(pytest.mark.xfail(reason=f"known bug, fixed by {commit}", strict=self.profile is not None))
