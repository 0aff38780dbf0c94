"""The pytest plugin: its options, its markers, and which tests are for a kernel.

A test is for a kernel if it is marked ``kernel`` or uses, itself or through other fixtures, ``lab`` or ``kernel``. It is collected once
for each ``--kernel``; :mod:`harness.pytest_plugin.host.runner` runs it in a guest, where this plugin is loaded as well.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
import threading
from collections.abc import Generator
from datetime import date
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.pytest_plugin.fixtures import kernel, kernel_spec, lab, vm
from harness.pytest_plugin.selection import IN_GUEST, backend_of, kernels

__all__ = ("kernel", "kernel_spec", "lab", "vm")

_MARKERS = (
    "kernel: runs in a guest, once for each --kernel",
    "isolation(level): 'worker', 'module' or 'test': how long the test's kernel may have been in use (--isolation)",
    "deadline(seconds): when the test's guest counts as hung, on a host with KVM; more where guests are slower (--deadline)",
    "may_warn(pattern): complaints of the kernel that match are not the test's failure, and leave the kernel fit for other tests",
    "known_bug(commit, unless=PROBE): expected to fail on kernels that lack the fix; where the profile's field PROBE is true, it is there",
)



def pytest_addoption(parser: pytest.Parser) -> None:
    """Options and the settings that stand in for them."""
    group = parser.getgroup("nfharness", "tests inside real kernels (nfharness)")
    group.addoption("--kernel", action="append", default=[], metavar="SPEC", dest="kernels",
                    help="run tests marked for a kernel in a guest of kernel SPEC (6.12, 6.12-rt, a Debian version, a release); repeatable")
    group.addoption("--backend", type=_backend, default="qemu", metavar="qemu|vagrant|local|ssh=HOST",
                    help="qemu: fresh guests; vagrant: the machine that 'vagrant up' has started for each kernel; local: the kernel of "
                         "this very machine, which may not survive it; ssh=HOST: that of a machine which ssh reaches, nor may that "
                         "(ssh=HOST:/PATH: its Python is there) [qemu]")
    group.addoption("--bare", action="store_true",
                    help="guests whose kernel has nothing of nfharness (no module, no probes, no taint), if it lists its hooks itself "
                         "(nfnetlink_hook: 5.10 and 6.1 do not); tests cannot use lab and kernel")
    group.addoption("--isolation", choices=("worker", "module", "test"), default="worker",
                    help="give each worker, each module or each test a freshly restored kernel [worker]")
    group.addoption("--deadline", type=_seconds, default=30, metavar="SECONDS",
                    help="when a test's guest counts as hung: seconds on a host with KVM, more where guests are slower [30]")
    group.addoption("--strict-skip", action="store_true", help="a skipped kernel test is a failure")
    group.addoption("--waivers", type=Path, metavar="FILE",
                    help="failures that FILE forgives, in TOML, are expected ones [the setting waivers]")
    group.addoption("--baseline", type=Path, metavar="FILE",
                    help="failures that an earlier run had, whose --report-jsonl FILE is, are expected ones: what is new fails")
    group.addoption("--allow-all-skipped", action="store_true", help="a run of which every test skipped ends with 0 rather than 5")
    group.addoption("--flaky", type=int, default=0, metavar="N",
                    help="run a kernel test that fails up to N times more, each in a fresh guest: one that passes then is flaky [0]")
    group.addoption("--random-order", action="store_true", help="shuffle modules, and the tests in each; the header says with which seed")
    group.addoption("--random-order-seed", type=int, metavar="SEED", help="the order of an earlier --random-order")
    group.addoption("--ktap", metavar="FILE", help="write KTAP to FILE, - for standard output")
    group.addoption("--report-jsonl", metavar="FILE", help="write a JSON object for each test, and one for the whole run")
    group.addoption("--report-html", metavar="FILE", help="write a page with the walks and consoles of what failed")
    group.addoption("--trace-all", metavar="DIR", help="keep the packets of every test that has a lab: a pcapng file in DIR for each")
    group.addoption("--coverage", metavar="DIR",
                    help="keep what gcov counts in each kernel test, for 'nfharness coverage --read DIR'; on a kernel that gcov counts")
    group.addoption("--shell-on-failure", action="store_true",
                    help="open a shell in the guest of a kernel test that has failed, before anything of the test is cleaned up")
    group.addoption("--github", action="store_true",
                    help="annotate what failed for GitHub, and add to the step's summary ($GITHUB_STEP_SUMMARY)")
    parser.addini("kernels", "kernels to use where there is no --kernel", type="args", default=[])
    parser.addini("waivers", "a file of failures that are forgiven, where there is no --waivers", type="paths", default=[])
    parser.addini("packages", "Debian packages that guests have beside the userland's", type="args", default=[])
    parser.addini("kernel_modules", "directories with a Kbuild whose modules are built for each kernel, for lab.module()", type="paths",
                  default=[])
    parser.addini("kernel_files", "files and directories beside the tests' own that their guests get", type="paths", default=[])


def _seconds(text: str) -> float:
    """An option's time."""
    seconds = float(text)
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no time: seconds, more than 0")
    return seconds


def _backend(text: str) -> str:
    """An option's backend."""
    if text == "qemu":  # the default, in guests too
        return text
    from harness.backends.names import backend_name  # noqa: PLC0415 - a guest has no backends

    try:
        return backend_name(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Remove an earlier run's reports before pytest can end over a ``conftest.py`` or an option that there is not."""
    _know_how_children_end()
    wanted = early_config.known_args_namespace
    reports, without_a_run = ("ktap", "report_jsonl", "report_html", "xmlpath"), ("help", "version", "markers")
    # Before pytest has read the command line, only xdist's workers have options: those of the process that writes the reports.
    worker = any(getattr(early_config.option, name, None) for name in reports)
    asked_for = any(getattr(wanted, name, None) for name in reports) and not any(getattr(wanted, name, None) for name in without_a_run)
    if os.environ.get(IN_GUEST) or worker or not asked_for:
        return
    from harness.pytest_plugin.report.reports import remove_old  # noqa: PLC0415 - not for runs without a report

    remove_old(wanted)


def _know_how_children_end() -> None:
    """Take SIGCHLD as it is by default where a parent ignored it (``trap '' CHLD``): the kernel keeps no exit status of children then."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def pytest_configure(config: pytest.Config) -> None:
    """Register the half of the plugin that is for this side."""
    for line in _MARKERS:
        config.addinivalue_line("markers", line)
    if os.environ.get(IN_GUEST):
        from harness.pytest_plugin.guest.half import GuestHalf  # noqa: PLC0415 - each side has libraries that the other has not

        config.pluginmanager.register(GuestHalf(config), "nfharness-guest")
    else:
        from harness.pytest_plugin.host.controller import Controller  # noqa: PLC0415
        from harness.pytest_plugin.host.runner import HostHalf  # noqa: PLC0415
        from harness.pytest_plugin.report.points import Points  # noqa: PLC0415
        from harness.pytest_plugin.report.reports import Reports  # noqa: PLC0415

        if backend_of(config) != "qemu":
            from harness.pytest_plugin.host.machines import check_options, name_kernel  # noqa: PLC0415

            check_options(config)
            name_kernel(config)
        config.pluginmanager.register(HostHalf(config), "nfharness-host")
        config.pluginmanager.register(Controller(config), "nfharness-controller")
        if hasattr(config, "workerinput"):
            from harness.pytest_plugin.carried import Carrier  # noqa: PLC0415

            config.pluginmanager.register(Carrier(config))
        else:
            config.pluginmanager.register(Reports(config), "nfharness-reports")
            config.pluginmanager.register(Points(config), "nfharness-points")
            _check_directories(config)
            if config.getoption("shell_on_failure"):
                from harness.pytest_plugin.host.shell import check_terminal  # noqa: PLC0415

                check_terminal(config)
            _forgive(config)


def _check_directories(config: pytest.Config) -> None:
    """Look whether there are directories for the files of ``--trace-all`` and ``--coverage``.

    :raises pytest.UsageError: one cannot be made, or written to
    """
    if config.option.trace_all and config.option.bare:
        raise pytest.UsageError("--trace-all and --bare: a bare kernel has no tracer\n  hint: leave one of them away")
    for option in ("trace_all", "coverage"):
        if wanted := getattr(config.option, option):
            setattr(config.option, option, str(_made_directory(f"--{option.replace('_', '-')} {wanted}", Path(wanted))))


def _made_directory(what: str, path: Path) -> Path:
    """A directory, made if it is not there; its absolute path.

    :param what: the option and its value, for an error
    :raises pytest.UsageError: it cannot be made, or written to
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise pytest.UsageError(f"{what}: {error.strerror}\n  hint: name a directory that can be written") from None
    if not os.access(path, os.W_OK):
        raise pytest.UsageError(f"{what} cannot be written\n  hint: name another directory")
    return path.absolute()


def _forgive(config: pytest.Config) -> None:
    """Read what failures are known.

    :raises pytest.UsageError: a file cannot be read, or a waiver is wrong or has ended
    """
    files, baseline = [config.option.waivers] if config.option.waivers else config.getini("waivers"), config.option.baseline
    if not files and not baseline:
        return
    from harness.pytest_plugin.report.known import KnownFailures, waivers  # noqa: PLC0415 - not for runs without
    from harness.pytest_plugin.report.runs import ResultsFile  # noqa: PLC0415

    try:
        found = [one for path in files for one in waivers(path, date.today())]
        config.pluginmanager.register(KnownFailures(found, ResultsFile.read(baseline) if baseline else None), "nfharness-known")
    except UserError as error:
        raise pytest.UsageError(f"{error.message}\n  hint: {error.hint}") from None


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, object, object]:
    """No more workers than there may be; before xdist counts them, in whichever order the plugins were loaded."""
    _cap_workers(config)
    return (yield)


def _cap_workers(config: pytest.Config) -> None:
    """No more workers than this host has memory for, should each have a guest; and one for a machine that they would share."""
    wanted = getattr(config.option, "numprocesses", None)
    if os.environ.get(IN_GUEST) or not kernels(config) or not wanted:
        return
    from harness.pytest_plugin.host.controller import capped, workers_of  # noqa: PLC0415

    number = workers_of(config, wanted)
    shared = "one machine" if backend_of(config) != "qemu" else ""
    allowed, why = (1, shared) if shared else (capped(number), "this host's memory")
    if allowed < number:
        config.option.numprocesses = allowed
        print(f"nfharness: -n {number} is more guests than {why} holds; using -n {allowed}", file=sys.stderr)


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each kernel test once for each kernel."""
    if "kernel_spec" not in metafunc.fixturenames and not metafunc.definition.get_closest_marker("kernel"):
        return
    if specs := kernels(metafunc.config):
        if "kernel_spec" not in metafunc.fixturenames:
            metafunc.fixturenames.append("kernel_spec")
        metafunc.parametrize("kernel_spec", specs, indirect=True, scope="session")
