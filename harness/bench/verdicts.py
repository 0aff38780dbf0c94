"""How soon the developer of a kernel has a verdict: samples for ``nfharness bench``."""

from __future__ import annotations

from pathlib import Path

from harness.bench.commands import seconds_of
from harness.bench.guests import Effort, Metric, bench_directory, children_cpu_s, ratio
from harness.conformance.matrix import default_jobs
from harness.host.paths import cache_dir, source_dir
from harness.host.progress import Progress
from harness.images.kernel_tree import from_anywhere, means_tree

__all__ = ("UNITS", "measured")

#: Metric → unit, in the order in which they are printed.
UNITS = {
    "edit_to_verdict_s": "s",
    "edit_to_verdict_cpu_s": "s",
    "check_one_guest_s": "s",
    "check_guests_s": "s",
    "check_one_to_guests": "x",
}
_RULE = "order.ascending"
_DEADLINE_S = 1200
#: Of the cache, what does not depend on the kernel; and what of a kernel of Debian's no compiler has made.
_LASTING, _DEBIANS = ("apt", "userland", "acceleration.json"), ("kernels",)


async def measured(spec: str, rounds: int, effort: Effort, progress: Progress) -> dict[str, Metric]:
    """Check the kernel as one that was just built, and then as one that is known: with one guest, and with all that this host may have.

    :raises GuestError: a check ends with another result than conformant or different
    """
    samples: dict[str, list[float]] = {name: [] for name in UNITS}
    jobs = default_jobs()
    with progress.step(f"from a new kernel to the first verdict, rounds: {rounds}", expected_s=20 * rounds):
        for _ in range(rounds):
            with bench_directory("new-kernel") as cache:
                for name in (*_LASTING, *(() if means_tree(spec) else _DEBIANS)):
                    (cache / name).symlink_to(cache_dir() / name)
                used = children_cpu_s()
                samples["edit_to_verdict_s"].append(await _check(spec, _RULE, cache=cache))
                samples["edit_to_verdict_cpu_s"].append(children_cpu_s() - used)
    with progress.step(f"checking with one guest and with {jobs}", expected_s=90):
        samples["check_one_guest_s"].append(await _check(spec, "--jobs", "1", *effort.rules))
        samples["check_guests_s"].append(await _check(spec, "--jobs", str(jobs), *effort.rules))
    metrics = {name: Metric.of(UNITS[name], values) for name, values in samples.items() if values}
    return {**metrics, "check_one_to_guests": ratio(metrics["check_one_guest_s"], metrics["check_guests_s"])}


async def _check(spec: str, *arguments: str, cache: Path | None = None) -> float:
    """Seconds that a whole ``nfharness check`` takes.

    :param cache: another one than this process has
    """
    environment = {"NFHARNESS_CACHE": str(cache)} if cache else {}
    return await seconds_of("harness", "check", "--kernel", from_anywhere(spec), *arguments, cwd=source_dir().parent,
                            environment=environment, deadline_s=_DEADLINE_S, by_hand="nfharness check", ends=(0, 1))
