"""What the process that the user started does: how many workers there may be, which order, and the header that tells of both."""

from __future__ import annotations

import random
import re
import shlex
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.errors import NfharnessError, UserError
from harness.pytest_plugin.selection import backend_of, exact_keywords, kernel_of, kernels, packages

__all__ = ("Controller", "capped", "shuffled", "workers_of")

_SEED = "nfharness_seed"


class Controller:
    """Hooks of that process, and of xdist's workers as far as they must agree with it."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        given = getattr(config, "workerinput", {}).get(_SEED, config.getoption("random_order_seed"))
        wanted = config.getoption("random_order") or given is not None
        self._seed: int | None = (random.randrange(10**6) if given is None else int(given)) if wanted else None  # noqa: S311

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Give every worker the same seed, so that all shuffle alike, and the name of the machine's kernel."""
        node.workerinput[_SEED] = self._seed
        if backend_of(self._config) != "qemu":
            from harness.pytest_plugin.host.machines import tell_worker  # noqa: PLC0415 - not for runs with guests

            tell_worker(self._config, node.workerinput)

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self, session: pytest.Session) -> Generator[None, object, object]:
        """Refuse kernels and packages that there are not, once and before any test. With several workers nothing is collected here."""
        option = self._config.option
        checks = not (option.collectonly or hasattr(self._config, "workerinput") or backend_of(self._config) != "qemu")
        distributed = getattr(option, "dist", "no") != "no"
        if checks and distributed:
            self._examine(kernels(self._config))
        result = yield
        if checks and not distributed:
            self._examine(sorted({kernel for item in session.items if (kernel := kernel_of(item))}))
        return result

    def _examine(self, specs: Sequence[str]) -> None:
        _check(specs)
        if self._config.option.coverage:
            _check_counted(specs)
        if specs and (wanted := packages(self._config)):
            with self._config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
                _fetch(wanted)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """``-k`` with a kernel, ``--random-order``."""
        exact_keywords(self._config, items)
        if self._seed is not None:
            items[:] = shuffled(items, self._seed)

    def pytest_report_header(self) -> list[str]:
        """Kernels, and the order."""
        names = kernels(self._config)
        backend = backend_of(self._config)
        which = "" if backend in ("qemu", "vagrant") else f" (--backend {backend})"
        lines = [f"kernels: {', '.join(names)}{which}"] if names else []
        if self._seed is not None:
            lines.append(f"random order: --random-order-seed {self._seed}")
        return lines

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The commands that report on what ``--coverage`` has kept."""
        directory = self._config.option.coverage
        if not directory or hasattr(self._config, "workerinput") or backend_of(self._config) != "qemu":
            return
        from harness.pytest_plugin.host.coverage import place_of  # noqa: PLC0415 - not for runs without --coverage

        for spec in kernels(self._config):
            if place_of(directory, spec).is_dir():
                again = shlex.join(["nfharness", "coverage", "--kernel", spec, "--read", directory])
                terminalreporter.write_line(f"counters of {spec}: {again}")


def _check(specs: Sequence[str]) -> None:
    """Look whether there are kernels of these names.

    :raises pytest.UsageError: there is no such kernel
    """
    from harness.host.progress import Progress  # noqa: PLC0415 - not for runs without a kernel
    from harness.images.specs import resolved  # noqa: PLC0415

    for spec in specs:
        with _refusing(f"--kernel {spec}"):
            resolved(spec, Progress())


def _check_counted(specs: Sequence[str]) -> None:
    """Look whether gcov counts these kernels.

    :raises pytest.UsageError: it does not count one
    """
    from harness.images.counted import counted  # noqa: PLC0415 - not for runs without --coverage

    for spec in specs:
        try:
            counted(spec)
        except NfharnessError as error:
            raise pytest.UsageError(f"--coverage: {error.message}\n  hint: {error.hint}") from None


def _fetch(wanted: Sequence[str]) -> None:
    """Have the packages that guests get in the cache.

    :raises pytest.UsageError: there is no such package, or it cannot be installed over the userland
    """
    from harness.host.progress import Progress  # noqa: PLC0415 - not for runs without a kernel
    from harness.images import packages as images  # noqa: PLC0415
    from harness.images.userland import userland  # noqa: PLC0415

    with _refusing("packages"):
        images.packages(wanted, userland(Progress()), Progress())


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    """What was asked for and is not there ends the run; that this host cannot find out now is told by the tests.

    :raises pytest.UsageError: a user's mistake
    """
    try:
        yield
    except UserError as error:
        raise pytest.UsageError(f"{what}: {error.message}" + (f"\n  hint: {error.hint}" if error.hint else "")) from None
    except NfharnessError:
        return


def shuffled(items: list[pytest.Item], seed: int) -> list[pytest.Item]:
    """Modules in random order, and the tests of each; the same for the same seed. A module's tests stay together: they share fixtures."""
    chance = random.Random(seed)  # noqa: S311
    modules: dict[object, list[pytest.Item]] = {}
    for item in items:
        spec = getattr(item, "callspec", None)
        modules.setdefault((spec.params.get("kernel_spec") if spec else None, item.path), []).append(item)
    groups = sorted(modules.values(), key=lambda group: group[0].nodeid)
    chance.shuffle(groups)
    for group in groups:
        group.sort(key=lambda item: item.nodeid)
        chance.shuffle(group)
    return [item for group in groups for item in group]


def workers_of(config: pytest.Config, wanted: int | str) -> int:
    """``-n``, whether a number or ``auto``."""
    return wanted if isinstance(wanted, int) else int(config.hook.pytest_xdist_auto_num_workers(config=config))


def capped(wanted: int, available_mib: int | None = None) -> int:
    """How many guests this host's memory holds, at most *wanted*; one at least."""
    from harness.vm.qemu import MEMORY  # noqa: PLC0415 - not for runs without a kernel

    if available_mib is None:
        found = re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text())
        available_mib = int(found[1]) // 1024 if found else 0
    return max(1, min(wanted, available_mib // MEMORY))
