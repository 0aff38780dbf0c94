"""Packets' walks as trees for a terminal, the model's prediction beside what was seen. Runs on the host, needs no BCC."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.text import Text

from harness.outcome import describe
from harness.outcome.diff import Comparison, Difference
from harness.outcome.pairing import ArrayPair, PartPair, StepPair, alone
from harness.outcome.types import Outcome, Registration, Slot
from harness.walks.lines import packet_tree, registration_tree
from harness.walks.timeline import timeline

__all__ = ("render_conclusion", "render_run", "render_walks")

_CONCLUSION_STYLE = {"conformant": "bold green", "different": "bold red", "inconclusive": "bold yellow"}


def render_run(console: Console, title: str, comparison: Comparison) -> None:
    """Everything that ``run`` prints: every packet's tree, what differs explained under it, and the conclusion.

    :param title: scenario and kernel, for the first line
    """
    _print(console, Text(title, "bold"))
    for pair in comparison.packets:
        _print(console)
        _print(console, *packet_tree(pair, console.width))
        for difference in comparison.differences:
            if difference.where == pair.name or difference.where.startswith(f"{pair.name}/"):
                _print(console, *_explained(difference, difference.where.removeprefix(pair.name).lstrip("/")))
    for line in _found_out(comparison.steps):
        _print(console, line)
    for line in _steps(comparison.steps, comparison.differences):
        _print(console, line)
    _print(console, Text(), render_conclusion(comparison))


def render_walks(console: Console, observed: Outcome) -> None:
    """What ``trace`` prints: the walks of any packets, without a prediction, and registrations between them, by the clock if it is known
    when the outcome began; then what makes them doubtful."""
    for place, packet in enumerate(timeline(observed)):
        _print(console, *([Text()] if place else []))
        if isinstance(packet, Registration):
            _print(console, *registration_tree(packet, observed.began))
            continue
        named = replace(packet, packet="  ".join((packet.packet, *(f"({said})" for said in describe.beside(packet)))))
        _print(console, *packet_tree(alone(f"packet {packet.number}", named), console.width, observed.began))
    if observed.lost_events:
        lost = "1 event was" if observed.lost_events == 1 else f"{observed.lost_events} events were"
        _print(console, Text(f"{lost} lost: calls may be missing above", "yellow"))
    for doubt in observed.doubts:
        _print(console, Text(f"doubtful: {doubt}", "yellow"))


def render_conclusion(comparison: Comparison) -> Text:
    """The last line: ``conformant``, ``different: 2 differences``, ``inconclusive: …``."""
    count = len(comparison.differences)
    detail = {
        "conformant": "",
        "different": f": {count} difference{'s' if count != 1 else ''}",
        "inconclusive": f": {'; '.join(comparison.reasons)}",
    }[comparison.verdict]
    return Text(f"{comparison.verdict}{detail}", _CONCLUSION_STYLE[comparison.verdict])


def _print(console: Console, *lines: Text) -> None:
    """Lines as they are: a terminal wraps what is too long, a file keeps it whole."""
    for line in lines or (Text(),):
        line.rstrip()
        console.print(line, soft_wrap=True, highlight=False)


def _explained(difference: Difference, where: str) -> Iterator[Text]:
    place = f"{where}: " if where else ""
    yield Text.assemble("   ", ("✗ ", "bold red"), place, difference.explanation)
    yield Text.assemble("     predicted ", (difference.predicted, "bold"), ", observed ", (difference.observed, "bold"))


def _found_out(steps: Sequence[StepPair]) -> Iterator[Text]:
    """A line for each run of the verdict loop over a private array, for what a step found out, and for what the kernel warned of."""
    for pair in steps:
        step = pair.observed
        if step is None:
            continue
        if step.raw is not None:
            yield Text.assemble(f"step {step.step}  nf_hook_slow over {step.slots[0][0]}: {describe.raw(step.raw)}  ", _mark(pair.raw))
        if step.facts:
            yield Text.assemble(f"step {step.step}  found {describe.facts(step.facts)}  ", _mark(*pair.facts))
        for splat in pair.splats:
            if splat.observed is not None:
                yield Text.assemble(f"step {step.step}  the kernel warned: {splat.observed}  ", _mark(splat))


def _mark(*pairs: PartPair[Any]) -> tuple[str, str]:
    """✓ if nothing about the pairs differs."""
    return ("✗", "bold red") if any(pair.differences for pair in pairs) else ("✓", "green")


def _steps(steps: Sequence[StepPair], differences: Sequence[Difference]) -> Iterator[Text]:
    """The differences of the steps, an array in question slot by slot."""
    arrays = {f"steps[{step.step}]/{array.name}": array for step in steps for array in step.arrays}
    of_steps = [difference for difference in differences if difference.where.startswith("steps[")]
    if of_steps:
        yield Text()
    for difference in of_steps:
        explanation = list(_explained(difference, difference.where))
        if difference.where in arrays:
            yield explanation[0]
            yield from _side_by_side(arrays[difference.where])
        else:
            yield from explanation


def _side_by_side(array: ArrayPair) -> Iterator[Text]:
    left, right = [_slot(pair.predicted) for pair in array.slots], [_slot(pair.observed) for pair in array.slots]
    width = max(map(len, ("predicted", *left)))
    yield Text(f"     slot  {'predicted':<{width}}  observed", "dim")
    for index, (pair, before, after) in enumerate(zip(array.slots, left, right, strict=True)):
        yield Text(f"     {index:>4}  {before:<{width}}  {after}", "red" if pair.differences else "")


def _slot(slot: Slot | None) -> str:
    if slot is None:
        return "-"
    return "dummy" if slot.dummy else f"{describe.priority(slot.priority)} {describe.name(slot)}"
