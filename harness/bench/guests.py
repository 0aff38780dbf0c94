"""Measuring on the host, side by side: a cold boot, templates restored from it, their memory, whole runs, and what a guest measures."""

from __future__ import annotations

import json
import os
import re
import resource
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from harness.backends.sources import made_ready
from harness.bench.commands import seconds_of
from harness.bench.test_runs import isolation_test_s, many_tests_s
from harness.errors import GuestError
from harness.host.paths import cache_dir, source_dir
from harness.host.progress import Progress
from harness.host.store import disk_full_is_an_error, remove_tree
from harness.images.kernel_tree import from_anywhere
from harness.images.layers import layer
from harness.images.userland import userland
from harness.scenario.builtin import load
from harness.scenario.codec import line
from harness.vm.channel import Request
from harness.vm.guest import VirtualGuest
from harness.vm.qemu import Qemu
from harness.vm.serial import Serial
from harness.vm.template import Template, build

__all__ = ("BRIEF", "UNITS", "Effort", "Metric", "bench_directory", "children_cpu_s", "measured", "memory_mib", "ratio")

#: Metric → unit, in the order in which they are printed.
UNITS = {
    "cold_boot_s": "s",
    "boot_to_agent_s": "s",
    "template_save_s": "s",
    "restore_to_first_output_s": "s",
    "qemu_greeting_s": "s",
    "restore_to_greeting": "x",
    "restore_speedup": "x",
    "vm_private_mib": "MiB",
    "vm_private_after_run_mib": "MiB",
    "vm_shared_mib": "MiB",
    "run_warm_s": "s",
    "run_warm_cpu_s": "s",
    "isolation_test_s": "s",
    "many_tests_s": "s",
    "pair_ns": "ns",
    "trace_ns_1_hook": "ns",
    "trace_bare_ns_1_hook": "ns",
    "trace_to_pair_1_hook": "x",
    "trace_ns_8_hooks": "ns",
    "trace_bare_ns_8_hooks": "ns",
    "trace_to_pair_8_hooks": "x",
    "trace_ns_traversal": "ns",
    "trace_ns_each_hook": "ns",
    "traversals_per_s_without_loss": "1/s",
    "register_unregister_per_s": "1/s",
    "packets_per_s_untraced": "1/s",
    "packets_per_s_traced": "1/s",
}

_GUEST_DEADLINE_S = 1800
_RUN_DEADLINE_S = 600


@dataclass(frozen=True, slots=True)
class Metric:
    """Samples of one quantity, boiled down."""

    median: float
    min: float
    max: float
    unit: str

    @classmethod
    def of(cls, unit: str, samples: Sequence[float]) -> Metric:
        """The metric of samples: their median and their range.

        :param unit: of the samples"""
        return cls(median(samples), min(samples), max(samples), unit)


@dataclass(frozen=True, slots=True)
class Effort:
    """What a sample is taken of.

    :param packets: that go through hooks
    :param isolated: tests that get a kernel each
    :param tests: small ones of a run
    :param rules: patterns of those that are checked; all if there is none
    :param exploring_s: seconds that an exploration takes; ``None`` for *exploring_steps*, however long these take
    """

    packets: int = 2000
    isolated: int = 8
    tests: int = 200
    rules: tuple[str, ...] = ()
    exploring_s: float | None = 15
    exploring_steps: int | None = None


#: To see that everything can be measured; the figures are rough.
BRIEF = Effort(packets=500, isolated=2, tests=10, rules=("order", "drop"), exploring_s=None, exploring_steps=100)


async def measured(spec: str, rounds: int, effort: Effort, progress: Progress) -> dict[str, Metric]:
    """Measure everything once, in this order, while nothing else of ours runs.

    :param rounds: restores; warm runs and rounds in the guest are half as many, and one cold boot is enough
    :raises GuestError: a warm run does not end conformant
    """
    await made_ready(spec, progress)
    samples: dict[str, list[float]] = {}
    async with _cold_boot(spec, progress, samples) as fresh:
        with progress.step(f"restoring it, rounds: {rounds}", expected_s=rounds):
            await _restores(fresh, rounds, samples)
        half = (rounds + 1) // 2
        with progress.step(f"tracing, registering and sending in a guest, rounds: {half}", expected_s=8 * half):
            await _in_guest(fresh, half, effort, samples)
    with progress.step(f"whole warm runs, rounds: {half}", expected_s=3 * half):
        for _ in range(half):
            await _warm_run(spec, samples)
    with progress.step(f"test runs: a kernel for each test, and {effort.tests} tests", expected_s=60):
        _add(samples, isolation_test_s=await isolation_test_s(spec, effort.isolated), many_tests_s=await many_tests_s(spec, effort.tests))
    metrics = {name: Metric.of(UNITS[name], values) for name, values in samples.items()}
    metrics["restore_speedup"] = ratio(metrics["cold_boot_s"], metrics["restore_to_first_output_s"])
    metrics["restore_to_greeting"] = ratio(metrics["restore_to_first_output_s"], metrics["qemu_greeting_s"])
    return {name: metrics[name] for name in UNITS}


def ratio(slow: Metric, fast: Metric) -> Metric:
    """How many times one quantity is the other."""
    return Metric(slow.median / fast.median, slow.min / fast.max, slow.max / fast.min, "x")


@asynccontextmanager
async def _cold_boot(spec: str, progress: Progress, samples: dict[str, list[float]]) -> AsyncIterator[Template]:
    """Boot and save a guest as a template is made; it is there while the block lasts."""
    kernel, saved = await made_ready(spec, progress)
    root = userland(progress)
    booted = layer(kernel, root, progress)
    with bench_directory(kernel.release) as path:
        what = f"cold boot of {kernel.release} with {saved.machine.accelerator.name}"
        with disk_full_is_an_error(path), progress.step(what, expected_s=25):
            fresh = await build(path, replace(saved.machine, ram=None), booted, root)
        facts = {name: float(str(fresh.facts[name])) for name in ("cold_boot_s", "prepare_s", "template_save_s")}
        _add(samples, boot_to_agent_s=facts["cold_boot_s"], cold_boot_s=facts["cold_boot_s"] + facts["prepare_s"],
             template_save_s=facts["template_save_s"])
        yield fresh


@contextmanager
def bench_directory(name: str) -> Iterator[Path]:
    """A directory beside the templates, which goes when the block ends; what others left that were killed goes, too."""
    directory = cache_dir() / "bench"
    for old in directory.glob("*.*"):
        if not Path("/proc", old.name.rpartition(".")[2]).exists():
            remove_tree(old)
    path = directory / f"{name}.{os.getpid()}"
    try:
        with disk_full_is_an_error(path):
            path.mkdir(parents=True)
        yield path
    finally:
        remove_tree(path)


def _add(samples: dict[str, list[float]], **values: float) -> None:
    for name, value in values.items():
        samples.setdefault(name, []).append(value)


@asynccontextmanager
async def _restored(template: Template) -> AsyncIterator[VirtualGuest]:
    async with template.guest() as guest:
        yield guest


async def _restores(template: Template, rounds: int, samples: dict[str, list[float]]) -> None:
    """Beside a guest that stays and has done the same: the RAM file's pages that only one guest has mapped would count as its own."""
    async with _restored(template) as neighbour:
        await _first_output(neighbour)
        await _scenario(neighbour)
        for _ in range(rounds):
            _add(samples, qemu_greeting_s=await _greeting_s(template))
            start = time.monotonic()
            async with _restored(template) as guest:
                await _first_output(guest)
                spent = time.monotonic() - start
                private, shared = memory_mib(_smaps(guest))
                _add(samples, restore_to_first_output_s=spent, vm_private_mib=private, vm_shared_mib=shared)
        async with _restored(template) as guest:
            await _scenario(guest)
            _add(samples, vm_private_after_run_mib=memory_mib(_smaps(guest))[0])


async def _greeting_s(template: Template) -> float:
    """Seconds from QEMU's start to its monitor's greeting, of a guest that waits for its saved state: none can answer sooner."""
    qemu, start = Qemu(template.machine, Serial(), incoming=True), time.monotonic()
    await qemu.start()
    spent = time.monotonic() - start
    await qemu.kill()
    return spent


async def _first_output(guest: VirtualGuest) -> None:
    remote = await guest.open(Request(python="harness.guest.files:hello"))
    while (piece := await remote.read()) and piece[0] != 1:
        continue
    if piece is None:
        raise GuestError("a restored guest said nothing", hint=guest.qemu.console.see)


async def _scenario(guest: VirtualGuest) -> None:
    await guest.call("harness.guest.executor:main", stdin=line(load()).encode())


def _smaps(guest: VirtualGuest) -> str:
    return Path(f"/proc/{guest.qemu.pid}/smaps_rollup").read_text()


def memory_mib(smaps_rollup: str) -> tuple[float, float]:
    """Private and shared resident memory, as ``/proc/PID/smaps_rollup`` has it."""
    sizes = {name: int(size) / 1024 for name, size in re.findall(r"^(\w+): +(\d+) kB", smaps_rollup, re.MULTILINE)}
    return sizes["Private_Clean"] + sizes["Private_Dirty"], sizes["Shared_Clean"] + sizes["Shared_Dirty"]


async def _in_guest(template: Template, rounds: int, effort: Effort, samples: dict[str, list[float]]) -> None:
    async with _restored(template) as guest:
        answer = await guest.call("harness.guest.bench:main", rounds, effort.packets, deadline_s=_GUEST_DEADLINE_S)
    found: Mapping[str, list[float]] = json.loads(answer)
    samples |= found


async def _warm_run(spec: str, samples: dict[str, list[float]]) -> None:
    cpu = children_cpu_s()
    spent = await seconds_of("harness", "run", "--kernel", from_anywhere(spec), cwd=source_dir().parent, deadline_s=_RUN_DEADLINE_S,
                             by_hand="nfharness run")
    _add(samples, run_warm_s=spent, run_warm_cpu_s=children_cpu_s() - cpu)


def children_cpu_s() -> float:
    """Processor time of the children that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
