"""Wrong at some points only: what a rule that is made from the list of points must notice."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from harness.model import entries, register, structures
from harness.model.entries import DUMMY_OPS
from harness.model.register import Core
from harness.model.structures import Entries, HookOps
from harness.netfilter import Family
from tests.mutants.hooks import core
from tests.mutants.mutant import collected, rules_only

__all__ = ("MUTANTS",)

_ELSEWHERE = (Family.ARP, Family.BRIDGE, Family.NETDEV, Family.INET)
_NAT = (100, -100)


def oldest_first_of_nat(old: Entries | None, reg: HookOps, alloc: entries.Allocator = entries.plenty) -> Entries | int:
    new = right_grow(old, reg, alloc)
    if isinstance(new, int) or reg.priority not in _NAT:
        return new
    return sorted([*(ops for ops in new if ops is not reg), reg], key=lambda ops: ops.priority)


def another_errno_elsewhere(old: Entries | None, reg: HookOps, alloc: entries.Allocator = entries.plenty) -> Entries | int:
    new = right_grow(old, reg, alloc)
    return -errno.ENOBUFS if new == -errno.ENOMEM and reg.pf in _ELSEWHERE else new


def counts_only_what_makes_it_longer(self: Core, net: structures.Net, pf: Family, reg: HookOps) -> int:
    head = self.nf_hook_entry_head(net, pf, reg.hooknum, reg.device)
    dummies = (head.entries or []).count(DUMMY_OPS) if head else 0
    err = right_register(self, net, pf, reg)
    if dummies and not err and reg.pf in _ELSEWHERE:
        self._needed(pf, reg.hooknum, -1)
    return err


def drops_what_waits_if_refused_elsewhere(self: Core, net: structures.Net, pf: Family, reg: HookOps) -> int:
    err = right_register(self, net, pf, reg)
    if err and pf in _ELSEWHERE:
        self.nf_queue_nf_hook_drop(net)
    return err


def drops_what_waits_if_missed_elsewhere(self: Core, net: structures.Net, pf: Family, reg: HookOps) -> None:
    said = len(self.warnings)
    right_unregister(self, net, pf, reg)
    if len(self.warnings) > said and pf in _ELSEWHERE:
        self.nf_queue_nf_hook_drop(net)


def stays_behind_a_device(self: Core, net: structures.Net, reg: Sequence[HookOps]) -> None:
    for before, ops in zip((None, *reg), reg, strict=False):
        if before is not None and before.device is not None:
            return
        self.nf_unregister_net_hook(net, ops)


right_grow, right_register, right_unregister = entries.nf_hook_entries_grow, register.Core._register, register.Core._unregister

MUTANTS = collected([
    rules_only(core("equal priorities oldest first, where NAT is", "nf_hook_entries_grow", oldest_first_of_nat,
                    "order.named-priorities-every-point", "order.named-priorities-every-egress")),
    core("no memory is ENOBUFS but for IP", "nf_hook_entries_grow", another_errno_elsewhere, "grow.enomem-every-point",
         "grow.enomem-every-egress"),
    core("a hook over a dummy does not count but for IP", "_register", counts_only_what_makes_it_longer,
         "grow.drops-dummies-every-point", "grow.drops-dummies-every-egress"),
    rules_only(core("a refusal drops what waits but for IP", "_register", drops_what_waits_if_refused_elsewhere, "grow.enomem-every-point",
                    "grow.enomem-every-egress")),
    rules_only(core("what is missing drops what waits but for IP", "_unregister", drops_what_waits_if_missed_elsewhere,
                    "unregister.missing-every-point", "unregister.missing-every-egress")),
    rules_only(core("of a batch stays what is behind a device's", "nf_unregister_net_hooks", stays_behind_a_device,
                    "batch.unregister-every-point", "batch.unregister-every-egress")),
])
