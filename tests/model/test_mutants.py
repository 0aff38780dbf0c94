"""Every wrong hook core that is listed here is told from the right one by a built-in scenario: the scenarios can fail."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest

from harness.model import Foreign, path, predict, register, slow
from harness.model.entries import DUMMY_OPS, Entries, HookOps
from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome import Slot, conclude, point_key
from harness.outcome.profile import KernelProfile
from harness.scenario import BUILTIN

Patch = tuple[Any, str, Any]

FOREIGN = Foreign({0: ((point_key("router", Family.IPV4, 2), (Slot(0, "nft_do_chain_inet", "nf_tables", 0),)),)})


def oldest_first(old: Entries | None, reg: HookOps, _alloc: object = None) -> Entries:
    return sorted([*(old or ()), reg], key=lambda hook: hook.priority)


def unsorted(old: Entries | None, reg: HookOps, _alloc: object = None) -> Entries:
    return [reg, *(old or ())]


def descending(old: Entries | None, reg: HookOps, _alloc: object = None) -> Entries:
    return sorted([reg, *(old or ())], key=lambda hook: -hook.priority)


def keep_dummies(_old: Entries, _pp: object, _alloc: object, _warnings: object) -> None:
    return None


def remove_the_next_too(old: Entries, unreg: HookOps) -> bool:
    at = old.index(unreg)
    old[at:at + 2] = [DUMMY_OPS] * len(old[at:at + 2])
    return True


def without(kind: VerdictKind, become: Callable[[Verdict], Verdict]) -> Callable[..., int]:
    """A loop that takes one verdict for another."""
    def mutant(context: slow.Context, e: Entries, s: int = 0, **keywords: Any) -> int:
        replaced = [HookOps(lambda ops, ctx, hook=ops.hook: become(found) if (found := hook(ops, ctx)).kind is kind else found,  # type: ignore[misc]
                            ops.function, ops.module, ops.pf, ops.hooknum, ops.priority, ops.device, ops.label) for ops in e]
        return slow.nf_hook_slow(context, replaced, s, **keywords)
    return mutant


def first_only(self: register.Core, net: register.Net, reg: HookOps) -> int:
    return self._register(net, Family.IPV4 if reg.pf is Family.INET and reg.device is None else reg.pf, reg)


def start_at_one(context: slow.Context, e: Entries, _s: int = 0, *, profile: KernelProfile) -> int:
    return slow.nf_hook_slow(context, e, 1, profile=profile)


accept = Verdict(VerdictKind.ACCEPT)

MUTANTS: dict[str, list[Patch]] = {
    "equal priorities oldest first": [(register, "nf_hook_entries_grow", oldest_first)],
    "order of registration": [(register, "nf_hook_entries_grow", unsorted)],
    "descending priorities": [(register, "nf_hook_entries_grow", descending)],
    "no shrink": [(register, "nf_hook_entries_try_shrink", keep_dummies)],
    "removes a neighbour": [(register, "nf_remove_net_hook", remove_the_next_too)],
    "DROP accepts": [(path, "nf_hook_slow", without(VerdictKind.DROP, lambda _verdict: accept))],
    "DROP loses its errno": [(path, "nf_hook_slow", without(VerdictKind.DROP, lambda _verdict: Verdict(VerdictKind.DROP)))],
    "DROP without an errno is no EPERM": [
        (path, "nf_hook_slow", without(VerdictKind.DROP, lambda verdict: Verdict(VerdictKind.DROP, verdict.errno or errno.EIO)))],
    "STOLEN accepts": [(path, "nf_hook_slow", without(VerdictKind.STOLEN, lambda _verdict: accept))],
    "QUEUE ignores bypass": [
        (path, "nf_hook_slow", without(VerdictKind.QUEUE, lambda verdict: Verdict(VerdictKind.QUEUE, queue=verdict.queue)))],
    "QUEUE accepts": [(path, "nf_hook_slow", without(VerdictKind.QUEUE, lambda _verdict: accept))],
    "the first hook is skipped": [(path, "nf_hook_slow", start_at_one)],
    "INET is IPV4 only": [(register.Core, "nf_register_net_hook", first_only)],
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_scenario_tells_the_mutant_from_the_model(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = {scenario.name: predict(scenario, foreign=FOREIGN) for scenario in BUILTIN.values()}
    for target, attribute, replacement in MUTANTS[name]:
        monkeypatch.setattr(target, attribute, replacement)
    wrong = {scenario.name: predict(scenario, foreign=FOREIGN) for scenario in BUILTIN.values()}
    assert any(conclude(right[scenario], wrong[scenario]) == "different" for scenario in right)
