"""NAT's inner loop: ``nf_nat_register_fn`` and ``nf_nat_inet_fn`` of ``nf_nat_core.c``, whose array core's raw functions make.

NAT has one hook at a hook point, whatever number of nat chains there are: theirs are in another array, which that hook walks for
the first packet of a connection until one has bound it to an address and port.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from harness.model.entries import nf_hook_entries_insert_raw, plenty
from harness.model.structures import Context, Entries, Head, HookOps, HookState, Skb, Warnings
from harness.netfilter import Family, Verdict, VerdictKind
from harness.scenario.addresses import Address
from harness.scenario.routing import first_address
from harness.scenario.steps.conntrack import ConntrackTuple
from harness.scenario.steps.nat import Redirect
from harness.scenario.topology import Topology

__all__ = ("Redirections", "nf_nat_inet_fn")


def nf_nat_inet_fn(e: Entries | None, context: Context, initialized: Callable[[], bool]) -> Verdict:
    """The loop of ``nf_nat_inet_fn``: each hook in the order of the array, until the connection is bound or a hook does not accept."""
    for ops in e or ():
        verdict = ops.hook(ops, context)
        if verdict.kind is not VerdictKind.ACCEPT or initialized():
            return verdict
    return Verdict(VerdictKind.ACCEPT)


@dataclass(slots=True)
class Redirections:
    """Redirections at IPv4 PREROUTING.

    :param heads: of the inner array, by namespace
    :param bindings: namespace and original tuple of a connection → the port that it is bound to; ``None``: the one that it had
    """

    heads: dict[str, Head] = field(default_factory=dict)
    bindings: dict[tuple[str, ConntrackTuple], int | None] = field(default_factory=dict)

    def register(self, step: Redirect, warnings: Warnings) -> None:
        """``nf_nat_register_fn``: the chain's hook goes into the inner array by its priority."""
        def redirect(_ops: HookOps, context: Context) -> Verdict:
            flow = context.skb.ct.flow
            if flow is not None and flow.port == step.port:
                self.bindings[context.state.net, flow] = step.to
            return Verdict(VerdictKind.ACCEPT)

        ops = HookOps(redirect, "nft_nat_do_chain", "nft_chain_nat", Family.IPV4, 0, step.priority)
        nf_hook_entries_insert_raw(self.heads.setdefault(step.netns, Head()), ops, plenty, warnings)

    def redirected(self, topology: Topology, netns: str, device: str, skb: Skb, destination: Address) -> Address:
        """Where a packet goes that has crossed PREROUTING.

        :returns: its destination, or the device's own address
        """
        flow, head = skb.ct.flow, self.heads.get(netns)
        if flow is None or head is None:
            return destination
        key = netns, flow
        if key not in self.bindings:
            context = Context(skb, HookState(Family.IPV4, 0, netns, device))
            nf_nat_inet_fn(head.entries, context, lambda: key in self.bindings)
        port = self.bindings.setdefault(key, None)
        if port is None:
            return destination
        own = first_address(topology, netns, Family.IPV4, device)
        if own is None:
            return destination
        skb.ct.flow = replace(flow, destination=str(own), port=port)
        if skb.ct.nfct is not None and not skb.ct.nfct.confirmed:
            skb.ct.nfct.reply = skb.ct.flow.inverted()
        return own
