"""Measuring on the host, side by side: a cold boot, templates restored from it, their memory, whole runs, and what a guest measures."""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from harness.errors import GuestError
from harness.scenario.builtin import load
from harness.scenario.codec import line
from harness.vm import process
from harness.vm.bench_tests import isolation_test_s, many_tests_s
from harness.vm.channel import Request
from harness.vm.guest import VirtualGuest
from harness.vm.kmodule import MODULE, module
from harness.vm.layers import layer
from harness.vm.paths import cache_dir, source_dir
from harness.vm.progress import Progress
from harness.vm.session import made_ready
from harness.vm.store import disk_full_is_an_error, remove_tree
from harness.vm.template import Template, build
from harness.vm.tree import from_anywhere
from harness.vm.userland import userland

__all__ = ("UNITS", "Metric", "measured", "memory_mib")

#: Metric → unit, in the order in which they are printed.
UNITS = {
    "cold_boot_s": "s",
    "boot_to_agent_s": "s",
    "template_save_s": "s",
    "restore_to_first_output_s": "s",
    "restore_speedup": "x",
    "vm_private_mib": "MiB",
    "vm_private_after_run_mib": "MiB",
    "vm_shared_mib": "MiB",
    "run_warm_s": "s",
    "run_warm_cpu_s": "s",
    "isolation_test_s": "s",
    "many_tests_s": "s",
    "trace_ns_per_hook_call": "ns",
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
        """Of samples in that unit."""
        return cls(median(samples), min(samples), max(samples), unit)


async def measured(spec: str, rounds: int, progress: Progress) -> dict[str, Metric]:
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
            await _in_guest(fresh, half, samples)
    with progress.step(f"whole warm runs, rounds: {half}", expected_s=3 * half):
        for _ in range(half):
            await _warm_run(spec, samples)
    with progress.step("test runs: a kernel for each test, and 200 tests", expected_s=60):
        _add(samples, isolation_test_s=await isolation_test_s(spec), many_tests_s=await many_tests_s(spec))
    metrics = {name: Metric.of(UNITS[name], values) for name, values in samples.items()}
    metrics["restore_speedup"] = _ratio(metrics["cold_boot_s"], metrics["restore_to_first_output_s"])
    return {name: metrics[name] for name in UNITS}


def _ratio(slow: Metric, fast: Metric) -> Metric:
    return Metric(slow.median / fast.median, slow.min / fast.max, slow.max / fast.min, UNITS["restore_speedup"])


@asynccontextmanager
async def _cold_boot(spec: str, progress: Progress, samples: dict[str, list[float]]) -> AsyncIterator[Template]:
    """Boot and save a guest as a template is made; it is there while the block lasts."""
    kernel, saved = await made_ready(spec, progress)
    root = userland(progress)
    built = module(layer(kernel, root, progress), root, progress) / MODULE
    path = _place(kernel.release)
    try:
        with disk_full_is_an_error(path):
            path.mkdir(parents=True)
            with progress.step(f"cold boot of {kernel.release} with {saved.machine.accelerator.name}", expected_s=25):
                fresh = await build(path, replace(saved.machine, ram=None), built)
        facts = {name: float(str(fresh.facts[name])) for name in ("cold_boot_s", "prepare_s", "template_save_s")}
        _add(samples, boot_to_agent_s=facts["cold_boot_s"], cold_boot_s=facts["cold_boot_s"] + facts["prepare_s"],
             template_save_s=facts["template_save_s"])
        yield fresh
    finally:
        remove_tree(path)


def _place(release: str) -> Path:
    """A directory for this process; what others left that were killed goes."""
    directory = cache_dir() / "bench"
    for old in directory.glob("*.*"):
        if not Path("/proc", old.name.rpartition(".")[2]).exists():
            remove_tree(old)
    return directory / f"{release}.{os.getpid()}"


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
            start = time.monotonic()
            async with _restored(template) as guest:
                await _first_output(guest)
                spent = time.monotonic() - start
                private, shared = memory_mib(_smaps(guest))
                _add(samples, restore_to_first_output_s=spent, vm_private_mib=private, vm_shared_mib=shared)
        async with _restored(template) as guest:
            await _scenario(guest)
            _add(samples, vm_private_after_run_mib=memory_mib(_smaps(guest))[0])


async def _first_output(guest: VirtualGuest) -> None:
    remote = await guest.open(Request(python="harness.guest.files:hello"))
    while (piece := await remote.read()) and piece[0] != 1:
        continue
    if piece is None:
        raise GuestError("a restored guest said nothing", mend=f"console: {guest.qemu.console_file}")


async def _scenario(guest: VirtualGuest) -> None:
    await guest.call("harness.guest.executor:main", stdin=line(load()).encode())


def _smaps(guest: VirtualGuest) -> str:
    return Path(f"/proc/{guest.qemu.pid}/smaps_rollup").read_text()


def memory_mib(smaps_rollup: str) -> tuple[float, float]:
    """Private and shared resident memory, as ``/proc/PID/smaps_rollup`` has it."""
    sizes = {name: int(size) / 1024 for name, size in re.findall(r"^(\w+): +(\d+) kB", smaps_rollup, re.MULTILINE)}
    return sizes["Private_Clean"] + sizes["Private_Dirty"], sizes["Shared_Clean"] + sizes["Shared_Dirty"]


async def _in_guest(template: Template, rounds: int, samples: dict[str, list[float]]) -> None:
    async with _restored(template) as guest:
        answer = await guest.call("harness.guest.bench:main", rounds, deadline_s=_GUEST_DEADLINE_S)
    found: Mapping[str, list[float]] = json.loads(answer)
    samples |= found


async def _warm_run(spec: str, samples: dict[str, list[float]]) -> None:
    """``nfharness run`` as a person or a script starts it: a new Python, its output in a pipe."""
    argv = process.bound([sys.executable, "-m", "harness", "run", "--kernel", from_anywhere(spec)])
    start = time.monotonic()
    cpu = _children_cpu_s()
    running = await asyncio.create_subprocess_exec(
        *argv, cwd=source_dir().parent, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        async with asyncio.timeout(_RUN_DEADLINE_S):
            out, err = await running.communicate()
    except BaseException:
        running.kill()
        raise
    _add(samples, run_warm_s=time.monotonic() - start, run_warm_cpu_s=_children_cpu_s() - cpu)
    if running.returncode:
        last = (err or out).decode(errors="replace").strip().splitlines()[-1:]
        raise GuestError(f"nfharness run ended with {running.returncode}: {' '.join(last)}", mend="run it by hand: nfharness run")


def _children_cpu_s() -> float:
    """Processor time of the children that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
