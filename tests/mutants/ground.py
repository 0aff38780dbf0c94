"""Wrong lives of namespaces and devices, and wrong static keys."""

from __future__ import annotations

from collections.abc import Collection

from harness.model import register
from harness.model.entries import HookOps, plenty
from harness.model.run import Run
from harness.model.steps import ground
from harness.netfilter import Family
from tests.mutants.hooks import core
from tests.mutants.mutant import Mutant, named

__all__ = ("MUTANTS",)

right_init, right_unregister, right_take_away = register.Core.netfilter_net_init, register.Core._unregister, ground._unregister


def keeps_proc(_self: register.Core, _net: register.Net) -> None:
    return None


def with_the_heads_of_another(self: register.Core, name: str) -> register.Net | int:
    others = sorted(self.proc, key=lambda other: -sum(bool(head.entries) for heads in other.hooks.values() for head in heads))
    net = right_init(self, name)
    if others and isinstance(net, register.Net):
        net.hooks = others[0].hooks
    return net


def needs_no_directory(self: register.Core, name: str) -> register.Net | int:
    self.alloc = plenty
    return right_init(self, name)


def forgets_the_hooks(run: Run, labels: Collection[str]) -> None:
    for label in labels:
        del run.live[label]


def forgets_the_second_time(run: Run, labels: Collection[str]) -> None:
    run.again.clear()
    right_take_away(run, labels)


def leaves_those_of_others(_run: Run, _net: register.Net, _points: object, _device: object) -> None:
    return None


def counts_on(self: register.Core, net: register.Net, pf: Family, reg: HookOps) -> None:
    needed = self.nf_hooks_needed.copy()
    right_unregister(self, net, pf, reg)
    self.nf_hooks_needed.update(needed - self.nf_hooks_needed)


def key_of_its_own(pf: Family, hooknum: int) -> tuple[Family, int]:
    return pf, hooknum


MUTANTS: dict[str, Mutant] = dict([
    core("the proc entry stays", "netfilter_net_exit", keeps_proc, "pernet.proc", "pernet.exit", "pernet.exit-dummies"),
    core("a new namespace has another one's heads", "netfilter_net_init", with_the_heads_of_another, "pernet.empty", "pernet.isolated"),
    core("a namespace needs no directory of procfs's", "netfilter_net_init", needs_no_directory, "pernet.enomem"),
    named("hooks stay when their device goes", ground, "_unregister", forgets_the_hooks, "device.dies", "device.moves", "pernet.exit"),
    named("ops that are there twice go once", ground, "_unregister", forgets_the_second_time, "pernet.exit-twice"),
    named("a ruleset's hooks outlive their device", ground, "_unregister_foreign", leaves_those_of_others, "device.dies-ruleset"),
    named("a ruleset's hooks outlive their namespace", ground, "_unregister_foreign", leaves_those_of_others, "pernet.exit-ruleset"),
    core("static keys stay up", "_unregister", counts_on, "key.counts", "key.failed-shrink", "key.ingress"),
    core("INET ingress has a key of its own", "_static_key", key_of_its_own, "key.ingress"),
])
