"""``nfharness bench``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from harness.cli.options import json_option, kernel_option

if TYPE_CHECKING:
    from harness.bench.guests import Effort, Metric

__all__ = ("command",)

_WHAT = {
    "cold_boot_s": "cold boot, until all that a template holds is ready",
    "boot_to_agent_s": "of that: until the agent answers",
    "template_save_s": "template saved",
    "restore_to_first_output_s": "restore to first output of guest Python",
    "qemu_greeting_s": "QEMU's own start, until its monitor greets",
    "restore_to_greeting": "restore to first output : that",
    "restore_speedup": "cold boot : restore",
    "vm_private_mib": "private memory of a VM after its first output",
    "vm_private_after_run_mib": "private memory of a VM after a whole scenario",
    "vm_shared_mib": "memory that a VM shares with its neighbour",
    "run_warm_s": "nfharness run, start of Python included",
    "run_warm_cpu_s": "of that: processor time, QEMU's included",
    "isolation_test_s": "a fresh kernel for a test of pytest's",
    "many_tests_s": "{tests} small kernel tests with -n 2, start of pytest included",
    "pair_ns": "a kprobe and a kretprobe by BCC, for each packet",
    "trace_ns_1_hook": "tracing, for each packet through one hook",
    "trace_bare_ns_1_hook": "of that: probes in its places that do nothing",
    "trace_to_pair_1_hook": "tracing : a kprobe and a kretprobe by BCC",
    "trace_ns_8_hooks": "tracing, for each packet through eight hooks",
    "trace_bare_ns_8_hooks": "of that: probes in its places that do nothing",
    "trace_to_pair_8_hooks": "tracing : a kprobe and a kretprobe by BCC",
    "trace_ns_traversal": "tracing, for each traversal",
    "trace_ns_each_hook": "tracing, for each call of a hook beside that",
    "traversals_per_s_without_loss": "traversals traced without a loss",
    "register_unregister_per_s": "hooks registered and unregistered",
    "packets_per_s_untraced": "packets through two hooks",
    "packets_per_s_traced": "packets through two hooks, traced",
    "edit_to_verdict_s": "a kernel that was just built: template and first rule, the whole command",
    "edit_to_verdict_cpu_s": "of that: processor time, QEMU's and the compilers' included",
    "check_one_guest_s": "nfharness check with one guest",
    "check_guests_s": "nfharness check with {jobs} guests",
    "check_one_to_guests": "with one : with {jobs}",
    "explore_direct_steps_per_s": "exploring: steps without packets",
    "explore_packet_steps_per_s": "exploring: steps that send a packet",
}

#: What is to be reached without KVM: the largest median that is good, or the smallest.
_AT_MOST = {"restore_to_first_output_s": 0.3, "vm_private_mib": 120, "run_warm_s": 3, "isolation_test_s": 1.5, "many_tests_s": 30,
            "trace_to_pair_1_hook": 2, "trace_to_pair_8_hooks": 1.5,
            "restore_to_greeting": 2, "edit_to_verdict_s": 12, "check_guests_s": 45}
_AT_LEAST = {"restore_speedup": 50, "traversals_per_s_without_loss": 5000,
             "explore_direct_steps_per_s": 300, "explore_packet_steps_per_s": 60}


@click.command("bench")
@kernel_option
@json_option
@click.option("--rounds", type=click.IntRange(min=1), default=10, show_default=True, metavar="N",
              help="Restore N times; run and measure in the guest half as often.")
@click.option("--brief", is_flag=True, help="Do a tenth for each sample, to see that all can be measured: the figures are rough.")
def command(spec: str, as_json: bool, rounds: int, brief: bool) -> None:
    """Measure what this machine can do, all in one run: the figures belong side by side.

    A guest is booted cold and saved as a template, and then restored, looked at, worked with and thrown away. Figures move with
    what else the machine does, ratios hold. --json prints {"metrics": {NAME: {"median", "min", "max", "unit"}}}.
    """
    from harness.bench.guests import BRIEF, Effort  # noqa: PLC0415 - not before the options are known to be right

    effort = BRIEF if brief else Effort()
    metrics = asyncio.run(_measured(spec, rounds, effort))
    if as_json:
        print(json.dumps({"metrics": {name: asdict(metric) for name, metric in metrics.items()}}, indent=1))
    else:
        _print(metrics, effort, goals=not brief)


async def _measured(spec: str, rounds: int, effort: Effort) -> dict[str, Metric]:
    from harness.bench import exploration as exploring  # noqa: PLC0415 - not before the options are known to be right
    from harness.bench import guests, verdicts  # noqa: PLC0415
    from harness.host.progress import Progress  # noqa: PLC0415

    progress = Progress()
    measured = await guests.measured(spec, rounds, effort, progress)
    checked = await verdicts.measured(spec, max(1, rounds // 5), effort, progress)
    return {**measured, **checked, **await exploring.measured(spec, max(1, rounds // 5), effort, progress)}


def _print(metrics: Mapping[str, Metric], effort: Effort, *, goals: bool) -> None:
    from rich.table import Table  # noqa: PLC0415

    from harness.conformance.matrix import default_jobs  # noqa: PLC0415
    from harness.host.terminal import Terminal  # noqa: PLC0415

    table = Table(box=None, header_style="dim", pad_edge=False)
    for title, justify in (("", "left"), ("median", "right"), ("min", "right"), ("max", "right"), ("unit", "left"), ("goal", "left")):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]
    for name, metric in metrics.items():
        figures = (_figure(value) for value in (metric.median, metric.min, metric.max))
        goal = _goal(name, metric.median) if goals else ""
        table.add_row(_WHAT[name].format(tests=effort.tests, jobs=default_jobs()), *figures, metric.unit, goal)
    console = Terminal.wide(120)
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
