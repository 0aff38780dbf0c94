"""Wrong batches, and warnings that do not come."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from harness.model import entries, register, structures
from harness.model.structures import Entries, HookOps
from harness.netfilter import Family
from tests.mutants.hooks import core
from tests.mutants.mutant import Mutant, collected, deletes_the_first, named, rules_only

__all__ = ("MUTANTS",)

_PREDICT = import_module("harness.model.predict")  # the package has a function of that name


def keeps_what_came_before(self: register.Core, net: structures.Net, reg: Sequence[HookOps]) -> int:
    return next((err for err in (self.nf_register_net_hook(net, ops) for ops in reg) if err), 0)


def only_the_first(self: register.Core, net: structures.Net, reg: Sequence[HookOps]) -> int:
    return self.nf_register_net_hook(net, reg[0]) if reg else -errno.EINVAL


def unregisters_the_first(self: register.Core, net: structures.Net, reg: Sequence[HookOps]) -> None:
    for ops in reg[:1]:
        self.nf_unregister_net_hook(net, ops)


def refuses_the_same_twice(old: Entries | None, reg: HookOps, alloc: entries.Allocator = entries.plenty) -> Entries | int:
    return -errno.EEXIST if reg in (old or ()) else entries.nf_hook_entries_grow(old, reg, alloc)


def without_a_warning(method: str) -> Callable[..., Any]:
    right = getattr(register.Core, method)

    def mutant(self: register.Core, *arguments: Any) -> Any:
        said = len(self.warnings)
        answer = right(self, *arguments)
        del self.warnings[said:]
        return answer
    return mutant


def takes_any_device(self: register.Core, net: structures.Net, pf: Family, hooknum: int, dev: structures.NetDevice | None) -> Any:
    return _HEAD(self, dev.net if dev else net, pf, hooknum, dev)


def takes_devices_that_are_up(self: register.Core, net: structures.Net, pf: Family, hooknum: int, dev: structures.NetDevice | None) -> Any:
    return _HEAD(self, net, pf, hooknum, dev) if dev is None or dev.up else None


_HEAD = register.Core.nf_hook_entry_head
ONE_MORE = {pf: size + 1 for pf, size in structures.ARRAY_SIZE.items()}

MUTANTS = collected([
    core("a kernel without ingress does not know it", "_refused", lambda _core, _net, pf, _reg: -errno.EINVAL * (pf is Family.NETDEV),
         "netdev.absent"),
    rules_only(("families have one point more", Mutant(("head.bad-hook", "head.bad-hook-arp", "head.bad-hook-bridge"), (
        (structures, "ARRAY_SIZE", ONE_MORE), (register, "ARRAY_SIZE", ONE_MORE))))),
    core("a batch is not rolled back", "nf_register_net_hooks", keeps_what_came_before, "batch.rollback", "batch.enomem",
         "limit.batch"),
    core("a batch is its first hook", "nf_register_net_hooks", only_the_first, "batch.all", "batch.empty"),
    core("of a batch the first goes", "nf_unregister_net_hooks", unregisters_the_first, "batch.unregister", "batch.all"),
    core("the same ops are refused", "nf_hook_entries_grow", refuses_the_same_twice, "duplicate.same-ops"),
    core("what is missing takes another", "nf_remove_net_hook", deletes_the_first, "unregister.missing", "bpf.same-program"),
    core("unregistering does not warn", "_unregister", without_a_warning("_unregister"), "unregister.empty-head", "unregister.missing",
         "unregister.missing-layer-2", "unregister.empty-head-layer-2"),
    core("a bad hook number does not warn", "nf_hook_entry_head", without_a_warning("nf_hook_entry_head"), "head.bad-hook",
         "head.bad-family", "unregister.no-point", "unregister.no-device", "unregister.no-device-egress"),
    rules_only(named("what warns once warns each time", _PREDICT, "_EACH_TIME",
                     {"nf_hook_entry_head", "__nf_unregister_net_hook", "hook not found"}, "head.bad-hook", "head.bad-hook-arp",
                     "head.bad-hook-bridge", "head.bad-family", "unregister.empty-head", "unregister.missing")),
    core("a device of another namespace has hook points", "nf_hook_entry_head", takes_any_device, "unregister.no-device",
         "unregister.no-device-egress"),
    rules_only(core("a device that is down has no hook points", "nf_hook_entry_head", takes_devices_that_are_up, "netdev.down",
                    "netdev.down-egress", "inet.ingress")),
])
