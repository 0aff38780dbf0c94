"""Settings of a namespace: which hook points a packet still crosses when one is changed."""

from __future__ import annotations

from collections.abc import Sequence

from harness.conformance.expect import BY_STACK, Answered, At, Crosses, Expectation
from harness.conformance.rule import Rule, script
from harness.netfilter import Family
from harness.scenario.step import Step
from harness.scenario.steps.hooks import Register
from harness.scenario.steps.link import Arp
from harness.scenario.steps.packets import Send
from harness.scenario.steps.sysctl import Sysctl
from harness.scenario.topology import BRIDGE_NETFILTER, ROUTER, Link, Route, Topology, VethEnd

__all__ = ("RULES",)

_V4, _V6, _ARP = Family.IPV4, Family.IPV6, Family.ARP
_FORWARDED = ("PREROUTING", "FORWARD", "POSTROUTING")

_ANOTHER_WAY_BACK = Topology(
    "another-way-back",
    ("client", "router", "server"),
    (Link(VethEnd("client", "eth0", ("10.0.1.2/24",)), VethEnd("router", "to-client", ("10.0.1.1/24",))),
     Link(VethEnd("router", "to-server", ("10.0.2.1/24",)), VethEnd("server", "eth0", ("10.0.2.2/24",))),
     Link(VethEnd("client", "eth1", ("10.0.3.1/24",)), VethEnd("server", "eth1", ("10.0.3.2/24",)))),
    (Route("client", "10.0.2.0/24", "10.0.1.1"), Route("server", "10.0.1.0/24", "10.0.3.1")),
    ("router",),
)
"""What the client sends to 10.0.2.2 comes by eth0; what the server answers goes by eth1."""
_NO_WAY_BACK = Topology("no-way-back", _ANOTHER_WAY_BACK.namespaces, _ANOTHER_WAY_BACK.links[:2], _ANOTHER_WAY_BACK.routes[:1], ("router",))


def _hooks(netns: str, pf: Family, points: Sequence[str]) -> list[Step | Expectation]:
    return [Register(f"{pf.name}-{hook}", netns, pf, hook) for hook in points]


def _crossed(netns: str, pf: Family, points: Sequence[str]) -> tuple[At, ...]:
    return tuple(At(netns, hook, f"{pf.name}-{hook}", 1, pf) for hook in points)


def _sent(source: str, to: str, cookie: int, pf: Family = _V4) -> Send:
    return Send(source, to, cookie, pf, source_port=40000 + cookie)


def _bridged(pf: Family, cookie: int, *, crosses: bool) -> list[Step | Expectation]:
    """A datagram from port to port, and whether the points of IP are called for it."""
    return [_sent("left", "right", cookie, pf), Crosses(_crossed("bridge", pf, _FORWARDED) if crosses else ())]


def _calls(name: str, value: int) -> Sysctl:
    return Sysctl("bridge", f"net.bridge.bridge-nf-call-{name}", value)


RULES = (
    Rule("sysctl.ip-forward", "Without net.ipv4.ip_forward an IPv4 packet for another host has crossed PREROUTING and crosses no more; "
         "IPv6 goes on.", (
             script(
                 "sysctl.ip-forward",
                 *_hooks("router", _V4, _FORWARDED), *_hooks("router", _V6, _FORWARDED),
                 _sent("client", "server", 1), Crosses(_crossed("router", _V4, _FORWARDED)),
                 Sysctl("router", "net.ipv4.ip_forward", 0),
                 _sent("client", "server", 2), Crosses(_crossed("router", _V4, ("PREROUTING",)), BY_STACK), Answered(0),
                 _sent("client", "server", 3, _V6), Crosses(_crossed("router", _V6, _FORWARDED)),
                 Sysctl("router", "net.ipv4.ip_forward", 1),
                 _sent("client", "server", 4), Crosses(_crossed("router", _V4, _FORWARDED)),
                 topology=ROUTER,
             ),
         )),
    Rule("sysctl.rp-filter", "With rp_filter 1 a packet has crossed PREROUTING and crosses no more if the way back is by another device, "
         "with 2 if there is none.", (
             script(
                 "sysctl.rp-filter, another way back",
                 *_hooks("server", _V4, ("PREROUTING", "INPUT")),
                 _sent("client", "10.0.2.2", 1), Crosses(_crossed("server", _V4, ("PREROUTING", "INPUT"))),
                 Sysctl("server", "net.ipv4.conf.all.rp_filter", 1),
                 _sent("client", "10.0.2.2", 2), Crosses(_crossed("server", _V4, ("PREROUTING",)), BY_STACK),
                 _sent("client", "10.0.3.2", 3), Crosses(_crossed("server", _V4, ("PREROUTING", "INPUT"))),
                 Sysctl("server", "net.ipv4.conf.all.rp_filter", 2),
                 _sent("client", "10.0.2.2", 4), Crosses(_crossed("server", _V4, ("PREROUTING", "INPUT"))),
                 topology=_ANOTHER_WAY_BACK,
             ),
             script(
                 "sysctl.rp-filter, no way back",
                 *_hooks("server", _V4, ("PREROUTING", "INPUT")),
                 _sent("client", "server", 1), Crosses(_crossed("server", _V4, ("PREROUTING", "INPUT"))),
                 Sysctl("server", "net.ipv4.conf.all.rp_filter", 2),
                 _sent("client", "server", 2), Crosses(_crossed("server", _V4, ("PREROUTING",)), BY_STACK),
                 topology=_NO_WAY_BACK,
             ),
         )),
    Rule("sysctl.bridge-nf-call", "Each bridge-nf-call setting says for one family whether br_netfilter hands bridged packets to its "
         "points.", (
             script(
                 "sysctl.bridge-nf-call",
                 *_hooks("bridge", _V4, _FORWARDED), *_hooks("bridge", _V6, _FORWARDED), *_hooks("bridge", _ARP, ("FORWARD",)),
                 *_bridged(_V4, 1, crosses=True),
                 _calls("iptables", 0), *_bridged(_V4, 2, crosses=False), *_bridged(_V6, 3, crosses=True),
                 _calls("ip6tables", 0), *_bridged(_V6, 4, crosses=False),
                 Arp("left", "10.0.0.1", "10.0.0.2"), Crosses(_crossed("bridge", _ARP, ("FORWARD", "FORWARD")), "consumed"),
                 _calls("arptables", 0), Arp("left", "10.0.0.1", "10.0.0.3"), Crosses((), "consumed"),
                 _calls("iptables", 1), *_bridged(_V4, 5, crosses=True),
                 topology=BRIDGE_NETFILTER,
             ),
         ), needs=("arp", "bridge", "br_netfilter")),
)
