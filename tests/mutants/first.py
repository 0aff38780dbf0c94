"""Wrong in the first network namespace alone, or wrong to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.model.register import Core
from harness.model.structures import HookOps, Net
from harness.netfilter import Family
from tests.mutants.hooks import core, leaves_the_ipv6_half
from tests.mutants.mutant import collected, rules_only

__all__ = ("MUTANTS",)

right_unregister, right_drop = Core._unregister, Core.nf_queue_nf_hook_drop


def in_the_first(method: str, wrong: Callable[..., Any]) -> Callable[..., Any]:
    """Wrong there, and right in every other namespace."""
    right = getattr(Core, method)

    def mutant(self: Core, net: Net, *arguments: Any) -> Any:
        return (wrong if net.first else right)(self, net, *arguments)
    return mutant


def counts_on(self: Core, net: Net, pf: Family, reg: HookOps) -> None:
    needed = self.nf_hooks_needed.copy()
    right_unregister(self, net, pf, reg)
    self.nf_hooks_needed.update(needed - self.nf_hooks_needed)


def drops_in_the_first_too(self: Core, net: Net) -> None:
    right_drop(self, net)
    for first in (one for one in self.proc if one.first):
        right_drop(self, first)


MUTANTS = collected([
    rules_only(core("static keys of the first namespace stay up", "_unregister", in_the_first("_unregister", counts_on),
                    "first.order", "first.devices")),
    rules_only(core("INET leaves IPV6 of the first namespace", "nf_unregister_net_hook",
                    in_the_first("nf_unregister_net_hook", leaves_the_ipv6_half), "first.inet")),
    rules_only(core("the first namespace looks for no device", "_refused", in_the_first("_refused", lambda *_: 0), "first.refused")),
    rules_only(core("a removal in the first namespace leaves what waits", "nf_queue_nf_hook_drop",
                    in_the_first("nf_queue_nf_hook_drop", lambda _self, _net: None), "first.queue")),
    rules_only(core("a removal drops what waits in the first namespace", "nf_queue_nf_hook_drop", drops_in_the_first_too,
                    "first.neighbours", "first.queue")),
])
