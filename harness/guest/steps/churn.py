"""Hooks that come and go while packets are under way."""

from __future__ import annotations

from harness.guest.arrays import points_of
from harness.guest.churn import ChurnSender, ChurnSink, calls_of, on_processor
from harness.guest.module import Hook, HookModule
from harness.guest.run import Run
from harness.netfilter import Family, hook_number
from harness.outcome.types import StepOutcome
from harness.scenario.routing import first_address
from harness.scenario.steps.churn import CHURN_COOKIE, Churn, passed_by, torn

__all__ = ("churn",)

_SLICES = 10
_TURNS = 63


def churn(run: Run, index: int, step: Churn) -> StepOutcome:
    module, hook, spaces = run.modules[step.netns], run.hook(step.register), run.network.namespaces
    cookies = range(CHURN_COOKIE, CHURN_COOKIE + step.packets)
    run.synthetic.update(cookies)
    to = str(first_address(run.topologies[index], step.to, Family.IPV4))
    with ChurnSink(spaces[step.to]) as sink:
        sender = ChurnSender.start(spaces[step.source], to, cookies)
        try:
            with on_processor(0):
                turns = 0
                for packets in _slices(step.packets):
                    sender.go(packets)
                    while not sender.done():
                        turns = _turn(run, module, hook, turns)
                    run.capture.drain()
                while turns < 2 * step.rounds or turns % 2:
                    turns = _turn(run, module, hook, turns)
        finally:
            sender.end()
        arrived = sink.arrived(sender.sent)
    run.capture.drain()
    facts = {"sent": sender.sent, "arrived": len(arrived), "rounds": step.rounds, "torn": _torn(run, step, cookies, len(arrived))}
    return StepOutcome(index, 0, run.arrays(step.netns, step.pf, step.hook, step.device), facts=tuple(sorted(facts.items())))


def _turn(run: Run, module: HookModule, hook: Hook, turns: int) -> int:
    """Some turns more; how many there were then. Their number is odd: between two calls the hook is there as often as not."""
    run.doubts += [f"a registration was refused: {refusal}" for refusal in module.churn(hook, _TURNS, registered=bool(turns % 2))]
    return turns + _TURNS


def _torn(run: Run, step: Churn, cookies: range, arrived: int) -> int:
    """How many traversals were torn, or missing; a doubt if the hook was always there or never."""
    labels, count, met = run.labels, 0, 0
    arrays = dict(run.arrays(step.netns, step.pf, step.hook, step.device))
    seen, stands = 0, False
    for (pf, number, _), slots in zip(points_of(step.pf, hook_number(step.pf, step.hook), step.device), arrays.values(), strict=True):
        before = [slot.label for slot in slots if slot.label is not None]
        stands |= bool(before)
        for ids in calls_of(run.capture, run.network.namespaces[step.netns].inum, pf, number, cookies):
            called = [labels[number] for number in ids]
            seen += 1
            met += step.id in called
            count += torn(called, before, step.id)
    if before and not 0 < met < seen:
        run.doubts.append(f"of {seen} packets {met} met {step.id}: none was under way while it came or went")
    return count + passed_by(arrived, seen, stands=stands)


def _slices(total: int) -> list[int]:
    """A number in parts of about the same size."""
    return [total * (part + 1) // _SLICES - total * part // _SLICES for part in range(_SLICES)]
