"""Drawing steps that send packets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hypothesis import strategies as st

from harness.explore.steps.maker import Drawn, always
from harness.netfilter import Family
from harness.scenario.scope import Scope
from harness.scenario.step import Step
from harness.scenario.steps.packets import COOKIE_BYTES, SIZE_MAX, WHOLE_MAX, PacketKind, Send, last_piece
from harness.scenario.topology import Topology

__all__ = ("DRAWN",)

_kinds: st.SearchStrategy[PacketKind] = st.sampled_from(["udp", "echo"])
#: Any other one seldom: scapy makes a packet of another size in ten milliseconds in an emulated guest.
_sizes = st.one_of(*[st.sampled_from([*[32] * 5, COOKIE_BYTES, 17, 500, 549, WHOLE_MAX])] * 15, st.integers(COOKIE_BYTES, WHOLE_MAX))
_ttls = st.sampled_from([64, 64, 64, 1, 2, 3, 255])
#: Of what is cut: every piece ends with the cookie.
_cuts = st.integers(8, WHOLE_MAX // 8).map(lambda eights: 8 * eights)
_large = st.integers(WHOLE_MAX // 8 + 1, SIZE_MAX // 8).map(lambda eights: 8 * eights)
#: One packet in so many is large, or sent in pieces: that takes several times as long.
_RARELY = 12


def _send(draw: st.DrawFn, scope: Scope) -> Send:
    pf = draw(st.sampled_from([Family.IPV4, Family.IPV4, Family.IPV6]))
    source = draw(st.sampled_from(scope.topology.namespaces))
    targets = [netns for netns in scope.topology.namespaces if netns == source or _has_address(scope.topology, netns, pf)]
    step = Send(source, draw(st.sampled_from(targets)), len(scope.cookies) + 1, pf, draw(_kinds), draw(_sizes), draw(_ttls))
    if step.kind == "udp" and not scope.listening and draw(st.integers(0, _RARELY)) == _RARELY:
        return _in_pieces(draw, step)
    return step


def _in_pieces(draw: st.DrawFn, step: Send) -> Send:
    """A datagram that the kernel cuts up, one that comes in fragments, or segments that the kernel keeps together.

    Where there is a listener none is drawn: pieces wait there one by one, and the rest of a datagram a minute for one that lacks.
    """
    how = draw(st.sampled_from(["large", "fragments", "segments"]))
    cut = draw(_cuts)
    if how == "segments":
        return replace(step, size=cut * draw(st.integers(2, 4)), segment=cut)
    step = replace(step, size=draw(_large)) if how == "large" else replace(step, size=max(draw(_cuts), cut), fragment=cut)
    return step if last_piece(step) >= COOKIE_BYTES else replace(step, size=step.size + 8)


def _has_address(topology: Topology, netns: str, pf: Family) -> bool:
    return any((":" in address) is (pf is Family.IPV6) for one in topology.interfaces(netns) for address in one.addresses)


def _plainer(step: Step) -> Iterator[Step]:
    """A ttl that is nearer to the default."""
    if isinstance(step, Send) and step.ttl < 64:
        yield replace(step, ttl=step.ttl + 1)


DRAWN = Drawn(makers=(_send,), times={"anything": 16, "packets": 48, "queues": 8, "upset": 8}, there=always, plainer=_plainer)
