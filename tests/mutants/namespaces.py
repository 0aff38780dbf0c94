"""Wrong lives of namespaces and devices, and wrong static keys."""

from __future__ import annotations

from collections.abc import Collection

from harness.model import register, structures
from harness.model.entries import plenty
from harness.model.run import Run
from harness.model.steps import namespaces
from harness.model.structures import HookOps
from harness.netfilter import Family
from tests.mutants.hooks import core
from tests.mutants.mutant import Mutant, collected, named, rules_only

__all__ = ("MUTANTS",)

right_init, right_unregister, right_take_away = register.Core.netfilter_net_init, register.Core._unregister, namespaces._unregister


def keeps_proc(_self: register.Core, _net: structures.Net) -> None:
    return None


def with_the_heads_of_another(self: register.Core, name: str, *, first: bool = False) -> structures.Net | int:
    others = sorted(self.proc, key=lambda other: -sum(bool(head.entries) for heads in other.hooks.values() for head in heads))
    net = right_init(self, name, first=first)
    if others and isinstance(net, structures.Net):
        net.hooks = others[0].hooks
    return net


def needs_no_directory(self: register.Core, name: str, *, first: bool = False) -> structures.Net | int:
    self.alloc = plenty
    return right_init(self, name, first=first)


def says_nothing(self: register.Core, name: str, *, first: bool = False) -> structures.Net | int:
    net = right_init(self, name, first=first)
    self.log.clear()
    return net


def forgets_the_hooks(run: Run, labels: Collection[str]) -> None:
    for label in labels:
        del run.live[label]


def forgets_the_second_time(run: Run, labels: Collection[str]) -> None:
    run.again.clear()
    right_take_away(run, labels)


def leaves_those_of_others(_run: Run, _net: structures.Net, _points: object, _device: object) -> None:
    return None


def counts_on(self: register.Core, net: structures.Net, pf: Family, reg: HookOps) -> None:
    needed = self.nf_hooks_needed.copy()
    right_unregister(self, net, pf, reg)
    self.nf_hooks_needed.update(needed - self.nf_hooks_needed)


def counts_no_egress(self: register.Core, pf: Family, hooknum: int, more: int) -> None:
    right_needed(self, pf, hooknum, more)
    self.queues_needed.pop("egress_needed_key", None)


def counts_ingress_up_only(self: register.Core, pf: Family, hooknum: int, more: int) -> None:
    before = self.queues_needed.copy()
    right_needed(self, pf, hooknum, more)
    if more < 0:
        self.queues_needed = before


def counts_down_what_it_misses(self: register.Core, net: structures.Net, pf: Family, reg: HookOps) -> None:
    head = self.nf_hook_entry_head(net, pf, reg.hooknum, reg.device)
    missed = head is not None and head.entries is not None and reg not in head.entries
    right_unregister(self, net, pf, reg)
    if missed:
        self._needed(pf, reg.hooknum, -1)


def counts_what_it_refuses(self: register.Core, net: structures.Net, pf: Family, reg: HookOps) -> int:
    err = right_register(self, net, pf, reg)
    if err:
        self._needed(pf, reg.hooknum, 1)
    return err


def counts_where_up(self: register.Core, net: structures.Net, pf: Family, reg: HookOps) -> int:
    err = right_register(self, net, pf, reg)
    if not err and reg.device is not None and not reg.device.up:
        self._needed(pf, reg.hooknum, -1)
    return err


def needs_another_beside(self: register.Core, net: structures.Net, pf: Family, reg: HookOps) -> int:
    """Nothing turns the device on for an INET hook, or for egress."""
    err = right_register(self, net, pf, reg)
    point = register._static_key(pf, reg.hooknum)
    if not err and point[0] is Family.NETDEV and (pf is Family.INET or point[1] == structures.NETDEV_EGRESS):
        assert reg.device is not None
        head = reg.device.hooks[point[1]]
        head.entries = [ops for ops in head.entries or () if ops is not reg] or None
    return err


right_needed, right_register = register.Core._needed, register.Core._register


def key_of_its_own(pf: Family, hooknum: int) -> tuple[Family, int]:
    return pf, hooknum


MUTANTS: dict[str, Mutant] = collected([
    core("the proc entry stays", "netfilter_net_exit", keeps_proc, "pernet.proc", "pernet.exit", "pernet.exit-dummies"),
    core("a new namespace has another one's heads", "netfilter_net_init", with_the_heads_of_another, "pernet.empty", "pernet.isolated"),
    rules_only(core("a namespace needs no directory of procfs's", "netfilter_net_init", needs_no_directory, "pernet.enomem")),
    rules_only(core("a namespace without its directory is not told of", "netfilter_net_init", says_nothing, "pernet.enomem")),
    named("hooks stay when their device goes", namespaces, "_unregister", forgets_the_hooks, "device.dies", "device.dies-egress",
          "device.dies-inet", "device.moves", "pernet.exit", "pernet.exit-layer-2", "pernet.exit-devices"),
    rules_only(named("ops that are there twice go once", namespaces, "_unregister", forgets_the_second_time, "pernet.exit-twice")),
    rules_only(
        named("a ruleset's hooks outlive their device", namespaces, "_unregister_foreign", leaves_those_of_others, "device.dies-ruleset")),
    rules_only(
        named("a ruleset's hooks outlive their namespace", namespaces, "_unregister_foreign",
              leaves_those_of_others, "pernet.exit-ruleset")),
    core("static keys stay up", "_unregister", counts_on, "key.counts", "key.failed-shrink", "key.ingress", "key.layer-2",
         "key.every-point", "key.bpf"),
    rules_only(core("nobody counts egress", "_needed", counts_no_egress, "key.egress", "key.failed-shrink-egress")),
    core("a device's direction stays on", "_needed", counts_ingress_up_only, "key.counts", "key.ingress"),
    rules_only(core("what is missed counts down", "_unregister", counts_down_what_it_misses, "key.missing", "key.missing-inet")),
    rules_only(core("what is refused counts", "_register", counts_what_it_refuses, "key.refused", "key.refused-egress",
                    "key.failed-shrink")),
    core("a hook alone at a device is none", "_register", needs_another_beside, "inet.ingress-alone", "netdev.egress-alone"),
    rules_only(core("a device that is down does not count", "_register", counts_where_up, "key.device-down")),
    core("INET ingress has its own key", "_static_key", key_of_its_own, "key.ingress"),
])
