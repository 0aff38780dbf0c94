"""The built-in scenarios of bridges, VLANs, ARP, fragments and lists."""

from __future__ import annotations

import errno

from harness.netfilter import Family, Verdict, VerdictKind
from harness.scenario.rulesets import CONNTRACK
from harness.scenario.step import Scenario
from harness.scenario.steps.hooks import Nft, Register
from harness.scenario.steps.link import Arp, Frame
from harness.scenario.steps.packets import Send
from harness.scenario.topology import BRIDGE, BRIDGE_NETFILTER, PAIR, ROUTER, ROUTER_GRO, VLAN, Vlan, with_vlans

__all__ = ("LAYERS",)

_V4, _BR, _ARP, _NETDEV = Family.IPV4, Family.BRIDGE, Family.ARP, Family.NETDEV

_ON_THE_WAY = (("client", "OUTPUT"), ("client", "POSTROUTING"), ("router", "FORWARD"), ("server", "PREROUTING"), ("server", "INPUT"))

LAYERS = (
    Scenario("bridge", "a bridged datagram with br_netfilter: IP's points within the bridge's, then on behind it", BRIDGE_NETFILTER, (
        Register("ingress", "bridge", _NETDEV, "INGRESS", device="to-left"),
        Register("before", "bridge", _BR, "PREROUTING", -1),
        Register("after", "bridge", _BR, "PREROUTING", 1),
        Register("ip-pre", "bridge", _V4, "PREROUTING"),
        Register("forward", "bridge", _BR, "FORWARD", 1),
        Register("ip-forward", "bridge", _V4, "FORWARD"),
        Register("guard", "bridge", _V4, "FORWARD", 1, Verdict(VerdictKind.DROP, errno.EHOSTUNREACH), cookie=2),
        Register("post", "bridge", _BR, "POSTROUTING"),
        Register("ip-post", "bridge", _V4, "POSTROUTING"),
        Send("left", "right", cookie=1),
        Send("left", "right", cookie=2, source_port=40001),
        Send("left", "bridge", cookie=3, source_port=40002),
    )),
    Scenario("frames", "Ethernet frames to one, to all and to nobody known; a drop in the bridge's own pre-routing loop", BRIDGE, (
        Register("pre", "bridge", _BR, "PREROUTING"),
        Register("pre-drop", "bridge", _BR, "PREROUTING", 1, Verdict(VerdictKind.DROP, errno.EACCES), cookie=4),
        Register("in", "bridge", _BR, "INPUT"),
        Register("forward", "bridge", _BR, "FORWARD"),
        Register("out", "bridge", _BR, "OUTPUT"),
        Register("post", "bridge", _BR, "POSTROUTING"),
        Frame("left", "eth0", "right/eth0", 1),
        Frame("left", "eth0", "broadcast", 2),
        Frame("left", "eth0", "unknown", 3),
        Frame("left", "eth0", "right/eth0", 4),
        Send("bridge", "right", cookie=5),
    )),
    Scenario("arp", "an ARP request and its reply through a bridge: OUTPUT, FORWARD by br_netfilter, INPUT", BRIDGE_NETFILTER, (
        *(Register(f"{netns}-{hook.lower()}", netns, _ARP, hook) for netns in ("left", "bridge", "right")
          for hook in ("INPUT", "OUTPUT", "FORWARD")),
        Arp("left", "10.0.0.1", "10.0.0.2"),
    )),
    Scenario("vlan", "a datagram on a VLAN crosses the points of two devices", VLAN, (
        *(Register(f"ingress-{device}", "host", _NETDEV, "INGRESS", device=device) for device in ("eth0", "eth0.10")),
        Register("out", "peer", _V4, "OUTPUT"),
        Register("pre", "host", _V4, "PREROUTING"),
        Register("in", "host", _V4, "INPUT"),
        Send("peer", "host", cookie=1),
        Frame("peer", "eth0", "host/eth0", 2, vlan=11),
    )),
    Scenario("vlan-egress", "a datagram that gets a tag leaves by two devices; a bridge forwards it as any frame", with_vlans(
        BRIDGE_NETFILTER, Vlan("left", "eth0.10", "eth0", 10, ("10.0.10.1/24",)), Vlan("right", "eth0.10", "eth0", 10, ("10.0.10.2/24",)),
    ), (
        *(Register(f"egress-{device}", "left", _NETDEV, "EGRESS", device=device) for device in ("eth0", "eth0.10")),
        Register("pre", "bridge", _BR, "PREROUTING", 1),
        Register("ip-pre", "bridge", _V4, "PREROUTING"),
        Send("left", "10.0.10.2", cookie=1),
    )),
    Scenario("fragments", "datagrams in fragments, by the kernel and the sender, also refused ones; segments that stay together", ROUTER, (
        *(Register(f"{pf.name}-{netns}-{hook.lower()}", netns, pf, hook) for pf in (_V4, Family.IPV6) for netns, hook in _ON_THE_WAY),
        Send("client", "server", cookie=1, size=4000),
        Send("client", "server", cookie=2, pf=Family.IPV6, size=4000),
        Send("client", "server", cookie=3, size=1200, fragment=608, source_port=40001),
        Send("client", "server", cookie=4, size=4000, segment=1000, source_port=40002),
        Register("guard", "client", _V4, "OUTPUT", 1, Verdict(VerdictKind.DROP, errno.EACCES), cookie=5),
        Send("client", "server", cookie=5, size=1200, fragment=608, source_port=40003),
    )),
    Scenario("fragments-egress", "egress sees fragments; none follows one that it refuses", PAIR, (
        Register("post", "peer", _V4, "POSTROUTING"),
        Register("egress", "peer", _NETDEV, "EGRESS", device="eth0"),
        Register("guard", "peer", _NETDEV, "EGRESS", 1, Verdict(VerdictKind.DROP, errno.EACCES), device="eth0", cookie=2),
        Send("peer", "host", cookie=1, size=4000),
        Send("peer", "host", cookie=2, size=4000, source_port=40001),
    )),
    Scenario("list", "a router with conntrack puts a datagram together, cuts it up again, and sends the pieces as a list", ROUTER_GRO, (
        Nft("router", CONNTRACK),
        *(Register(f"{pf.name}-{netns}-{hook.lower()}", netns, pf, hook) for pf in (_V4, Family.IPV6) for netns, hook in _ON_THE_WAY),
        Send("client", "server", cookie=1, size=4000),
        Send("client", "server", cookie=2, pf=Family.IPV6, size=4000),
        Send("client", "server", cookie=3, source_port=40001),
    )),
)
