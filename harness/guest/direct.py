"""The private arrays of a scenario on a real kernel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from harness.guest import raw
from harness.guest.arrays import Arrays, slot_of
from harness.guest.module import HookModule, HookRefused
from harness.outcome.types import RawRun, StepOutcome, raw_key
from harness.scenario import steps

__all__ = ("DirectDrive",)


@dataclass(slots=True)
class DirectDrive:
    """What a scenario does with private arrays.

    :param ids: the module's number for each hook of the scenario, shared with whoever else hands out numbers
    :param taken: cookies of packets that the scenario sends
    :ivar cookies: of the datagrams made here: what a tracer sees of them is no packet's walk
    """

    modules: Mapping[str, HookModule]
    ids: dict[str, int]
    taken: frozenset[int]
    cookies: set[int] = field(default_factory=set)
    hooks: dict[str, steps.RawInsert] = field(default_factory=dict)
    numbers: dict[tuple[str, str], int] = field(default_factory=dict)

    def step(self, index: int, step: steps.RawInsert | steps.RawDelete | steps.RawRun) -> StepOutcome:
        """:raises GuestError: a listener took a packet of a private array"""
        match step:
            case steps.RawInsert():
                return StepOutcome(index, self._insert(step), self._array(step.netns, step.array))
            case steps.RawDelete():
                hook = self.hooks[step.id]
                return StepOutcome(index, self._delete(step, hook.netns), self._array(hook.netns, step.array or hook.array))
            case steps.RawRun():
                try:
                    run = self._run(step)
                except HookRefused as refusal:
                    return StepOutcome(index, refusal.errno or 0, self._array(step.netns, step.array))
                return StepOutcome(index, 0, self._array(step.netns, step.array), run)

    def _number(self, netns: str, array: str) -> int:
        return self.numbers.setdefault((netns, array), len(self.numbers))

    def _insert(self, step: steps.RawInsert) -> int:
        hooks = []
        for label in step.ids:
            self.hooks[label] = step
            self.ids[label] = len(self.ids) + 1
            hooks.append(raw.RawHook(self.ids[label], self._number(step.netns, step.array), step.priority, step.verdict))
        return _first_errno(raw.insert_many(self.modules[step.netns], hooks))

    def _delete(self, step: steps.RawDelete, netns: str) -> int:
        try:
            raw.delete(self.modules[netns], self.ids[step.id], self._number(netns, step.array) if step.array is not None else None)
        except HookRefused as refusal:
            return refusal.errno or 0
        return 0

    def _run(self, step: steps.RawRun) -> RawRun:
        cookie = next(number for number in range(2**64 - 1, 0, -1) if number not in self.taken and number not in self.cookies)
        self.cookies.add(cookie)
        result = raw.run(self.modules[step.netns], self._number(step.netns, step.array), step.start, cookie)
        labels = self._labels()
        return RawRun(result.returned, tuple(labels[number] for number in result.called), result.users)

    def _array(self, netns: str, array: str) -> Arrays:
        labels = self._labels()
        live = raw.slots(self.modules[netns], self._number(netns, array))
        return ((raw_key(netns, array), tuple(slot_of(slot, labels) for slot in live)),)

    def _labels(self) -> dict[int, str]:
        return {number: label for label, number in self.ids.items()}


def _first_errno(refusals: Iterable[HookRefused | None]) -> int:
    return next((refusal.errno or 0 for refusal in refusals if refusal), 0)
