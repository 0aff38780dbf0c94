"""Which of the loops that a tracer cannot see have run, as far as what it does see tells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from harness.netfilter import Family, VerdictKind
from harness.outcome.types import NF_HOOK_SLOW_LIST, NF_NAT_INET_FN, NF_REINJECT, PacketOutcome, Traversal

__all__ = ("unseen",)

#: NAT's own hooks, each of which calls ``nf_nat_inet_fn`` (``nf_nat_proto.c``).
_OF_NAT = ("nf_nat_ipv4_", "nf_nat_ipv6_", "nf_nat_inet_")


def unseen(packets: Iterable[PacketOutcome], blind: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Why calls may be missing; empty if no loop that is not seen has run.

    :param blind: loops that the tracer cannot see, each with the reason
    """
    traversals = [traversal for packet in packets for traversal in packet.traversals]
    return tuple(f"{loop} ran, and its calls are not seen: {why}" for loop, why in blind if any(_tell(loop, traversals)))


def _tell(loop: str, traversals: Iterable[Traversal]) -> Iterator[bool]:
    """Whether it shows that a loop ran, for each traversal."""
    for traversal in traversals:
        if loop == NF_NAT_INET_FN:
            yield any(call.function.startswith(_OF_NAT) for call in traversal.calls)
        elif loop == NF_REINJECT:
            yield any(call.verdict.kind is VerdictKind.QUEUE for call in traversal.calls)
        elif loop == NF_HOOK_SLOW_LIST:  # what a device received may have come in a list
            yield bool(traversal.indev) and traversal.indev != "lo"
        else:  # the bridge's, before all of its other points
            yield traversal.pf is Family.BRIDGE
