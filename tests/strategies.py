"""Hypothesis strategies for scenarios that make sense."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from harness.explore.steps.maker import priorities, returns, verdicts
from harness.netfilter import HOOK_POINTS, Family, VerdictKind
from harness.scenario import TOPOLOGIES, Link, Scenario, Step, Topology, VethEnd
from harness.scenario.steps.hooks import Dump, Nft, Register, RegisterMany, Unregister
from harness.scenario.steps.packets import PacketKind, Send

__all__ = ("many", "priorities", "registers", "returns", "scenarios", "sends", "verdicts")

# How long an example takes says nothing on a machine that also emulates kernels.
settings.register_profile("nfharness", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("nfharness")

OWN = Topology("own", ("a", "b"), (Link(VethEnd("a", "veth0", ("10.9.0.1/24",)), VethEnd("b", "veth0", ("10.9.0.2/24", "fd09::2/64"))),))

_lines = st.text(st.characters(exclude_categories=("C", "Z")), max_size=12)


@st.composite
def registers(draw: st.DrawFn, topology: Topology, name: str, cookies: list[int]) -> Register:
    netns = draw(st.sampled_from(topology.namespaces))
    pf = draw(st.sampled_from(Family))
    hook = draw(st.sampled_from(sorted(HOOK_POINTS[pf])))
    by_device = pf is Family.NETDEV or (pf is Family.INET and hook == "INGRESS")
    device = draw(st.sampled_from(topology.devices(netns))) if by_device else None
    can_queue = device is None and pf is not Family.ARP
    verdict = draw(verdicts.filter(lambda verdict: can_queue or verdict.kind is not VerdictKind.QUEUE))
    return Register(name, netns, pf, hook, draw(priorities), verdict, device, draw(st.sampled_from([None, *cookies])))


@st.composite
def many(draw: st.DrawFn, topology: Topology, name: str) -> RegisterMany:
    netns = draw(st.sampled_from(topology.namespaces))
    return RegisterMany(name, netns, Family.IPV4, draw(st.sampled_from(sorted(HOOK_POINTS[Family.IPV4]))), draw(st.integers(1, 5)),
                        draw(priorities))


@st.composite
def sends(draw: st.DrawFn, topology: Topology, cookie: int) -> Send:
    source = draw(st.sampled_from(topology.namespaces))
    to = draw(st.sampled_from(topology.namespaces)) if list(topology.ends(source)) else source
    kind: PacketKind = draw(st.sampled_from(["udp", "echo"]))
    return Send(source, to, cookie, Family.IPV4, kind, draw(st.integers(16, 1400)), draw(st.integers(1, 64)))


@st.composite
def scenarios(draw: st.DrawFn, max_steps: int = 12, nft: bool = True) -> Scenario:
    """A scenario that :func:`harness.scenario.check.check` accepts."""
    topology = draw(st.sampled_from([*TOPOLOGIES.values(), OWN]))
    kinds = draw(st.lists(st.sampled_from(["register", "register", "many", "send", "unregister", "dump"] + (["nft"] if nft else [])),
                          max_size=max_steps))
    cookies = [index + 1 for index, kind in enumerate(kinds) if kind == "send"]
    live: list[str] = []
    steps: list[Step] = []
    for index, kind in enumerate(kinds):
        match kind:
            case "register":
                steps.append(draw(registers(topology, f"hook {index}", cookies)))
                live.append(f"hook {index}")
            case "many":
                steps.append(more := draw(many(topology, f"many {index}")))
                live += [each.id for each in more.each()]
            case "unregister" if live:
                steps.append(Unregister(live.pop(draw(st.integers(0, len(live) - 1)))))
            case "send":
                steps.append(draw(sends(topology, index + 1)))
            case "dump":
                pf = draw(st.sampled_from([Family.IPV4, Family.IPV6]))
                steps.append(Dump(draw(st.sampled_from(topology.namespaces)), pf, draw(st.sampled_from(sorted(HOOK_POINTS[pf])))))
            case "nft":
                steps.append(Nft(draw(st.sampled_from([one for one in topology.namespaces if one != topology.first])), draw(_lines)))
    return Scenario(draw(_lines.filter(bool)), draw(_lines), topology, tuple(steps))
