"""Drawing steps that send packets."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from harness.explore.steps.maker import Maker
from harness.netfilter import Family
from harness.scenario.forms.form import Scope
from harness.scenario.steps import COOKIE_BYTES, WHOLE_MAX, PacketKind, Send
from harness.scenario.topology import Topology

__all__ = ("MAKERS",)

_kinds: st.SearchStrategy[PacketKind] = st.sampled_from(["udp", "echo"])
_sizes = st.one_of(st.just(32), st.sampled_from([COOKIE_BYTES, 17, 500, 549, WHOLE_MAX]), st.integers(COOKIE_BYTES, WHOLE_MAX))
_ttls = st.sampled_from([64, 64, 64, 1, 2, 3, 255])


def _send(draw: st.DrawFn, scope: Scope) -> Send | None:
    pf = draw(st.sampled_from([Family.IPV4, Family.IPV4, Family.IPV6]))
    source = draw(st.sampled_from(scope.topology.namespaces))
    targets = [netns for netns in scope.topology.namespaces if netns == source or _has_address(scope.topology, netns, pf)]
    return Send(source, draw(st.sampled_from(targets)), len(scope.cookies) + 1, pf, draw(_kinds), draw(_sizes), draw(_ttls))


def _has_address(topology: Topology, netns: str, pf: Family) -> bool:
    return any((":" in address) is (pf is Family.IPV6) for end in topology.ends(netns) for address in end.addresses)


MAKERS: Sequence[Maker] = (_send,)
