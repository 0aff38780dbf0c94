"""Drawing steps below IP."""

from __future__ import annotations

from hypothesis import strategies as st

from harness.explore.steps.maker import Drawn, always, as_it_is
from harness.scenario.scope import Scope
from harness.scenario.steps.link import BROADCAST, UNKNOWN, Arp, Frame, arp_cookie
from harness.scenario.topology import Interface

__all__ = ("DRAWN",)


def _addresses(one: Interface) -> list[str]:
    return [address.partition("/")[0] for address in one.addresses if ":" not in address]


def _arp(draw: st.DrawFn, scope: Scope) -> Arp | None:
    """An ARP request, one for each two addresses: its cookie is made of them."""
    asked = [(one.netns, own, other) for one in scope.topology.interfaces() for own in _addresses(one)
             for neighbour in scope.topology.segment(one.netns, one.device) for other in _addresses(neighbour)
             if arp_cookie(own, other) not in scope.cookies]
    return Arp(*draw(st.sampled_from(asked))) if asked else None


def _frame(draw: st.DrawFn, scope: Scope) -> Frame | None:
    every = list(scope.topology.interfaces())
    devices = [(one.netns, one.device) for one in every if scope.topology.segment(one.netns, one.device)]
    if not devices:
        return None
    to = draw(st.sampled_from([BROADCAST, UNKNOWN, *(f"{one.netns}/{one.device}" for one in every)]))
    return Frame(*draw(st.sampled_from(devices)), to, len(scope.cookies) + 1, draw(st.sampled_from([None, None, 10])))


DRAWN = Drawn(makers=(_frame, _arp), times={"anything": 1, "packets": 1}, there=always, plainer=as_it_is)
