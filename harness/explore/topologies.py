"""Topologies at random: rows and stars of namespaces, with some addresses, routes and routers."""

from __future__ import annotations

import itertools

from hypothesis import strategies as st

from harness.netfilter import Family
from harness.outcome.profile import KernelProfile
from harness.scenario.topology import BRIDGE, BRIDGE_NETFILTER, PAIR, ROUTER, ROUTER_GRO, SINGLE, VLAN, Link, Route, Topology, VethEnd

__all__ = ("small", "topologies")

_VERSIONS = st.sampled_from([("4", "6"), ("4",), ("6",)])
#: Which in turn are built anew for a scenario: that takes a guest longer than most scenarios.
_RARELY = 8


def layered(profile: KernelProfile) -> list[Topology]:
    """Topologies whose devices stand on others or receive in lists, as far as the kernel makes such. Where devices go and move, these are
    not drawn.
    """
    bridge = profile.bridge and Family.BRIDGE in profile.families
    made = ((BRIDGE, bridge), (BRIDGE_NETFILTER, bridge and profile.br_netfilter), (VLAN, profile.vlan), (ROUTER_GRO, profile.veth_gro))
    return [topology for topology, there in made if there]


@st.composite
def topologies(draw: st.DrawFn, others: list[Topology], *, gro: bool) -> Topology:
    """Mostly one of those that have a name.

    :param others: to be drawn as well, those with a bridge, which are built anew too, rarely
    :param gro: whether links of rows and stars may receive in lists
    """
    if draw(st.integers(0, _RARELY)) < _RARELY:
        return draw(st.sampled_from([*[PAIR, ROUTER, SINGLE] * 3, *(one for one in others if not one.bridges)]))
    anew: list[st.SearchStrategy[Topology]] = [*_AT_RANDOM[gro], *(st.just(one) for one in others if one.bridges)]
    return draw(st.one_of(anew))


small = st.sampled_from([SINGLE, PAIR])
"""For what no packet is needed for."""


@st.composite
def _link(draw: st.DrawFn, number: int, near: str, far: str, *, gro: bool) -> Link:
    """*far*'s device is called after its neighbour, and the other way round.

    :param gro: whether it may receive in lists
    """
    versions = draw(_VERSIONS)

    def addresses(host: int) -> tuple[str, ...]:
        written = {"4": f"10.{number}.0.{host}/24", "6": f"fd00:{number}::{host}/64"}
        return tuple(written[version] for version in versions)

    return Link(VethEnd(near, f"to-{far}", addresses(1)), VethEnd(far, f"to-{near}", addresses(2)), gro=gro and draw(st.booleans()))


def _default_routes(netns: str, end: VethEnd) -> list[Route]:
    """Through the neighbour with these addresses."""
    return [Route(netns, "::/0" if ":" in address else "0.0.0.0/0", address.partition("/")[0]) for address in end.addresses]


@st.composite
def _row(draw: st.DrawFn, *, gro: bool) -> Topology:
    """``n1`` to ``nN``, a link between each and the next; all of them know the way to one side."""
    names = [f"n{number}" for number in range(1, draw(st.integers(2, 4)) + 1)]
    links = [draw(_link(number, near, far, gro=gro)) for number, (near, far) in enumerate(itertools.pairwise(names), 1)]
    routes: list[Route] = []
    if draw(st.booleans()):
        routes += [route for link in links for route in _default_routes(link.a.netns, link.b)]
    else:
        routes += [route for link in links for route in _default_routes(link.b.netns, link.a)]
    forwarding = tuple(name for name in names[1:-1] if draw(st.booleans()))
    return Topology("row", tuple(names), tuple(links), tuple(routes), forwarding)


@st.composite
def _star(draw: st.DrawFn, *, gro: bool) -> Topology:
    """``hub`` in the middle, which may forward; each leaf may know the way through it."""
    leaves = [f"leaf{number}" for number in range(1, draw(st.integers(1, 3)) + 1)]
    links = [draw(_link(number, "hub", leaf, gro=gro)) for number, leaf in enumerate(leaves, 1)]
    routes = [route for link in links if draw(st.booleans()) for route in _default_routes(link.b.netns, link.a)]
    return Topology("star", ("hub", *leaves), tuple(links), tuple(routes), ("hub",) if draw(st.booleans()) else ())


_AT_RANDOM = {gro: (_row(gro=gro), _star(gro=gro)) for gro in (False, True)}
