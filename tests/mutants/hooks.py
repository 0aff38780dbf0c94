"""Wrong arrays: order, limit, shrink, heads, the halves of INET."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from harness.model import entries, register, structures
from harness.model.entries import DUMMY_OPS
from harness.model.structures import Entries, Head, HookOps
from harness.netfilter import Family
from tests.mutants.mutant import Mutant, collected, keep_dummies, named, oldest_first

__all__ = ("MUTANTS", "core")


def unsorted(old: Entries | None, reg: HookOps, _alloc: object = None) -> Entries:
    return [reg, *(old or ())]


def descending(old: Entries | None, reg: HookOps, _alloc: object = None) -> Entries:
    return sorted([reg, *(old or ())], key=lambda hook: -hook.priority)


def oldest_first_elsewhere(old: Entries | None, reg: HookOps, alloc: entries.Allocator = entries.plenty) -> Entries | int:
    right = entries.nf_hook_entries_grow(old, reg, alloc)
    return right if isinstance(right, int) or (reg.pf, reg.hooknum) == (Family.IPV4, 1) else oldest_first(old, reg)


def takes_equal_for_disorder(hooks: Entries, warnings: structures.Warnings) -> None:
    if any(one.priority >= next_one.priority for one, next_one in pairwise(hooks)):
        warnings.append("hooks_validate")


def remove_the_next_too(old: Entries, unreg: HookOps) -> bool:
    if unreg not in old:
        return False
    at = old.index(unreg)
    old[at:at + 2] = [DUMMY_OPS] * len(old[at:at + 2])
    return True


def first_only(self: register.Core, net: structures.Net, reg: HookOps) -> int:
    return self._register(net, Family.IPV4 if reg.pf is Family.INET and reg.device is None else reg.pf, reg)


def removes_nothing(_old: Entries, _unreg: HookOps) -> bool:
    return True


def keeps_the_ipv4_half(self: register.Core, net: structures.Net, reg: HookOps) -> int:
    if reg.pf is not Family.INET or reg.device is not None:
        return self._register(net, reg.pf, reg)
    return self._register(net, Family.IPV4, reg) or self._register(net, Family.IPV6, reg)


def tries_both_halves(self: register.Core, net: structures.Net, reg: HookOps) -> int:
    if reg.pf is not Family.INET or reg.device is not None:
        return self._register(net, reg.pf, reg)
    return min(self._register(net, Family.IPV4, reg), self._register(net, Family.IPV6, reg))


def leaves_the_ipv6_half(self: register.Core, net: structures.Net, reg: HookOps) -> None:
    self._unregister(net, Family.IPV4 if reg.pf is Family.INET and reg.device is None else reg.pf, reg)


HEADS: dict[Any, Head] = {}


def one_head_for(*key: Callable[[structures.Net, Family, int, Any], object]) -> Callable[..., Head | None]:
    """Points that should have their own arrays share one."""
    right = register.Core.nf_hook_entry_head

    def mutant(self: register.Core, net: structures.Net, pf: Family, hooknum: int, dev: Any) -> Head | None:
        head = right(self, net, pf, hooknum, dev)
        if head is None:
            return None
        shared = HEADS.setdefault((id(self), *(one(net, pf, hooknum, dev) for one in key)), head)
        if pf in net.hooks:
            net.hooks[pf][hooknum] = shared
        elif dev is not None:
            dev.hooks[hooknum if pf is Family.NETDEV else 0] = shared
        return shared
    return mutant


def of_net(net: structures.Net, _pf: Family, _hooknum: int, _dev: Any) -> object:
    return net.name


def of_family(_net: structures.Net, pf: Family, _hooknum: int, _dev: Any) -> object:
    return pf


def of_hook(_net: structures.Net, _pf: Family, hooknum: int, _dev: Any) -> object:
    return hooknum


def of_device(_net: structures.Net, _pf: Family, _hooknum: int, dev: Any) -> object:
    return dev.name if dev else None


def core(name: str, attribute: str, replacement: Any, *rules: str) -> tuple[str, Mutant]:
    return named(name, register if hasattr(register, attribute) else register.Core, attribute, replacement, *rules)


MUTANTS = collected([
    core("equal priorities oldest first", "nf_hook_entries_grow", oldest_first, "order.equal-newest-first", "order.foreign",
         "order.many", "drop.first-decides"),
    core("equal priorities oldest first, but at INPUT", "nf_hook_entries_grow", oldest_first_elsewhere, "order.every-point",
         "order.layer-2", "order.devices", "order.egress", "order.inet-ingress"),
    ("equal priorities are out of order", Mutant(("validate.order",), (
        (entries, "hooks_validate", takes_equal_for_disorder), (register, "hooks_validate", takes_equal_for_disorder)))),
    core("order of registration", "nf_hook_entries_grow", unsorted, "order.ascending", "order.stable", "accept.all"),
    core("descending priorities", "nf_hook_entries_grow", descending, "order.ascending", "inet.ingress", "netdev.ingress"),
    ("the limit is 1023", Mutant(("limit.1024", "inet.rollback"), ((entries, "MAX_HOOK_COUNT", 1023),))),
    ("there is no limit", Mutant(("limit.1024", "limit.per-point", "limit.per-device", "limit.layer-2", "limit.batch",
                                  "limit.egress", "limit.inet-ingress",
                                  "inet.first-half", "raw.limit"),
                                 ((entries, "MAX_HOOK_COUNT", 1 << 16),))),
    core("no shrink", "nf_hook_entries_try_shrink", keep_dummies, "unregister.shrinks"),
    core("removes a neighbour", "nf_remove_net_hook", remove_the_next_too, "unregister.shrinks", "order.stable"),
    core("removes nothing", "nf_remove_net_hook", removes_nothing, "unregister.last", "key.off", "inet.unregister-last",
         "unregister.elsewhere", "unregister.one-of-two-chains"),
    core("namespaces share heads", "nf_hook_entry_head", one_head_for(of_family, of_hook, of_device), "netns.isolated",
         "unregister.elsewhere", "limit.per-point"),
    core("hooks share heads", "nf_hook_entry_head", one_head_for(of_net, of_family, of_device), "head.by-hook", "head.arp", "head.bridge"),
    core("devices share heads", "nf_hook_entry_head", one_head_for(of_net, of_family, of_hook), "netdev.per-device", "limit.per-device"),
    core("INET is IPV4 only", "nf_register_net_hook", first_only, "inet.fanout"),
    core("INET leaves IPV6", "nf_unregister_net_hook", leaves_the_ipv6_half, "inet.unregister", "inet.unregister-last"),
    core("INET is not rolled back", "nf_register_net_hook", keeps_the_ipv4_half, "inet.rollback", "inet.enomem"),
    core("INET tries IPV6 all the same", "nf_register_net_hook", tries_both_halves, "inet.first-half"),
])
