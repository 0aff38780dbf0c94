"""``nfharness bench``."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from harness.cli.options import json_option, kernel_option

if TYPE_CHECKING:
    from harness.vm.bench import Metric

__all__ = ("command",)

_WHAT = {
    "cold_boot_s": "cold boot, until all that a template holds is ready",
    "boot_to_agent_s": "of that: until the agent answers",
    "template_save_s": "template saved",
    "restore_to_first_output_s": "restore to first output of guest Python",
    "restore_speedup": "cold boot : restore",
    "vm_private_mib": "private memory of a VM after its first output",
    "vm_private_after_run_mib": "private memory of a VM after a whole scenario",
    "vm_shared_mib": "memory that a VM shares with its neighbour",
    "run_warm_s": "nfharness run, start of Python included",
    "run_warm_cpu_s": "of that: processor time, QEMU's included",
    "isolation_test_s": "a fresh kernel for a test of pytest's",
    "many_tests_s": "200 small kernel tests with -n 2, start of pytest included",
    "trace_ns_per_hook_call": "tracing, for each hook call",
    "register_unregister_per_s": "hooks registered and unregistered",
    "packets_per_s_untraced": "packets through two hooks",
    "packets_per_s_traced": "packets through two hooks, traced",
    "explore_direct_steps_per_s": "exploring: steps without packets",
    "explore_packet_steps_per_s": "exploring: steps that send a packet",
}

#: What is to be reached without KVM: the largest median that is good, or the smallest.
_AT_MOST = {"restore_to_first_output_s": 0.3, "vm_private_mib": 120, "run_warm_s": 3, "isolation_test_s": 1.5, "many_tests_s": 30}
_AT_LEAST = {"restore_speedup": 50, "explore_direct_steps_per_s": 300, "explore_packet_steps_per_s": 60}


@click.command("bench")
@kernel_option
@json_option
@click.option("--rounds", type=click.IntRange(min=1), default=10, show_default=True, metavar="N",
              help="Restore N times; run and measure in the guest half as often.")
def command(spec: str, as_json: bool, rounds: int) -> None:
    """Measure what this machine can do, all in one run: the figures belong side by side.

    A guest is booted cold and saved as a template, and then restored, looked at, worked with and thrown away. Figures move with
    what else the machine does, ratios hold. --json prints {"metrics": {NAME: {"median", "min", "max", "unit"}}}.
    """
    metrics = asyncio.run(_measured(spec, rounds))
    if as_json:
        click.echo(json.dumps({"metrics": {name: asdict(metric) for name, metric in metrics.items()}}, indent=1))
    else:
        _print(metrics)


async def _measured(spec: str, rounds: int) -> dict[str, Metric]:
    from harness.explore import bench as exploring  # noqa: PLC0415 - not before the options are known to be right
    from harness.vm import bench  # noqa: PLC0415
    from harness.vm.progress import Progress  # noqa: PLC0415

    progress = Progress()
    return {**await bench.measured(spec, rounds, progress), **await exploring.measured(spec, max(1, rounds // 5), progress)}


def _print(metrics: Mapping[str, Metric]) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, header_style="dim", pad_edge=False)
    for title, justify in (("", "left"), ("median", "right"), ("min", "right"), ("max", "right"), ("unit", "left"), ("goal", "left")):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]
    for name, metric in metrics.items():
        table.add_row(_WHAT[name], *(_figure(value) for value in (metric.median, metric.min, metric.max)), metric.unit,
                      _goal(name, metric.median))
    console = Console() if sys.stdout.isatty() else Console(width=120)
    console.print(table)
    console.print(f"\nA restored guest answers {metrics['restore_speedup'].median:,.0f} times sooner than one that boots.",
                  highlight=False)


def _figure(value: float) -> str:
    """Three digits that count."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def _goal(name: str, value: float) -> str:
    if name in _AT_MOST:
        return f"≤ {_AT_MOST[name]} {_mark(value <= _AT_MOST[name])}"
    if name in _AT_LEAST:
        return f"≥ {_AT_LEAST[name]} {_mark(value >= _AT_LEAST[name])}"
    return ""


def _mark(good: bool) -> str:
    return "[green]✓[/]" if good else "[red]✗[/]"
