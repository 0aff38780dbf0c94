"""What the process that the user started does: how many workers there may be, which order, and the header that tells of both."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest

from harness.pytest_plugin.selection import kernels

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
        """Every worker shuffles alike."""
        node.workerinput[_SEED] = self._seed

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """``--random-order``."""
        if self._seed is not None:
            items[:] = shuffled(items, self._seed)

    def pytest_report_header(self) -> list[str]:
        """Kernels, and the order."""
        names = kernels(self._config)
        lines = [f"kernels: {', '.join(names)}"] if names else []
        if self._seed is not None:
            lines.append(f"random order: --random-order-seed {self._seed}")
        return lines


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
