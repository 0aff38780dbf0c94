"""What is between devices and IP: ARP and VLANs."""

from __future__ import annotations

import errno

from harness.conformance.expect import BY_STACK, At, Crosses, Expectation
from harness.conformance.rule import Rule, Script, script
from harness.netfilter import Family, Verdict, VerdictKind
from harness.scenario.step import Step
from harness.scenario.steps.hooks import Register
from harness.scenario.steps.link import Arp, Frame
from harness.scenario.steps.namespaces import AddLink, DeleteDevice
from harness.scenario.steps.packets import Send
from harness.scenario.topology import BRIDGE_NETFILTER, VLAN, VethEnd, Vlan, with_vlans

__all__ = ("RULES",)

_V4, _V6, _ARP, _NETDEV, _BR = Family.IPV4, Family.IPV6, Family.ARP, Family.NETDEV, Family.BRIDGE
_VLAN = "eth0.10"


def _arp(netns: str, hook: str, indev: str, outdev: str) -> At:
    return At(netns, hook, f"{netns}-{hook}", 1, _ARP, indev, outdev, "arp_process" if hook == "INPUT" else "arp_xmit_finish")


_ASKED = script(
    "path.arp",
    *(Register(f"{netns}-{hook}", netns, _ARP, hook) for netns in ("peer", "host") for hook in ("INPUT", "OUTPUT", "FORWARD")),
    Arp("peer", "10.0.0.2", "10.0.0.1"),
    Crosses((_arp("peer", "OUTPUT", "", "eth0"), _arp("host", "INPUT", "eth0", "")), "consumed"),
    Crosses((_arp("host", "OUTPUT", "", "eth0"), _arp("peer", "INPUT", "eth0", "")), "consumed", nth=1),
)


def _refused(name: str, verdict: Verdict, number: int, reason: str = "") -> Script:
    """A request is dropped where it comes in.

    :param number: errno that the loop returns, negated
    """
    return script(
        name,
        Register("guard", "host", _ARP, "INPUT", 0, verdict),
        Arp("peer", "10.0.0.2", "10.0.0.1"),
        Crosses((At("host", "INPUT", "guard", -number, _ARP),), "dropped", number, reason=reason),
    )


def _tagged(pf: Family, *, egress: bool) -> Script:
    """A datagram on a VLAN: the points of both devices, one after the other."""
    devices = [Register(f"in-{device}", "host", _NETDEV, "INGRESS", device=device) for device in ("eth0", _VLAN)]
    out = [Register(f"out-{device}", "peer", _NETDEV, "EGRESS", device=device) for device in ("eth0", _VLAN)] if egress else []
    lines: list[Step | Expectation] = [*devices, *out]
    lines += [Register(f"{netns}-{hook}", netns, pf, hook) for netns in ("peer", "host")
              for hook in ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING")]
    left = tuple(At("peer", "EGRESS", f"out-{device}", 1, _NETDEV, "", device, "") for device in (_VLAN, "eth0")) if egress else ()
    return script(
        f"path.vlan{'-egress' if egress else ''}, {pf.name}", *lines,
        Send("peer", "host", 1, pf),
        Crosses((At("peer", "OUTPUT", "peer-OUTPUT", 1, pf, "", _VLAN), At("peer", "POSTROUTING", "peer-POSTROUTING", 1, pf, "", _VLAN),
                 *left, At("host", "INGRESS", "in-eth0", 1, _NETDEV, "eth0", "", ""),
                 At("host", "INGRESS", f"in-{_VLAN}", 1, _NETDEV, _VLAN, "", ""),
                 At("host", "PREROUTING", "host-PREROUTING", 1, pf, _VLAN, ""), At("host", "INPUT", "host-INPUT", 1, pf, _VLAN, ""))),
        topology=VLAN,
    )


_OTHER_TAG = script(
    "path.vlan, a tag that nobody takes off",
    *(Register(f"in-{device}", "host", _NETDEV, "INGRESS", device=device) for device in ("eth0", _VLAN)),
    Frame("peer", "eth0", "host/eth0", 1, vlan=10),
    Crosses((At("host", "INGRESS", "in-eth0", 1, _NETDEV), At("host", "INGRESS", f"in-{_VLAN}", 1, _NETDEV)), BY_STACK),
    Frame("peer", "eth0", "host/eth0", 2, vlan=11),
    Crosses((At("host", "INGRESS", "in-eth0", 1, _NETDEV),), BY_STACK),
    topology=VLAN,
)

_TAG_LEFT = tuple(
    script(
        f"path.vlan, {pf.name} with a tag that nobody takes off",
        Register("in", "host", _NETDEV, "INGRESS", device="eth0"), Register("pre", "host", pf, "PREROUTING"),
        DeleteDevice("host", _VLAN), AddLink(VethEnd("host", "elsewhere", ("10.0.10.1/24", "fd00:10::1/64")), VethEnd("peer", "nowhere")),
        Send("peer", "host", 1, pf),
        Crosses((At("host", "INGRESS", "in", 1, _NETDEV),), BY_STACK),
        topology=VLAN,
    ) for pf in (_V4, _V6))

_TAGGED_BRIDGE = with_vlans(BRIDGE_NETFILTER, Vlan("left", _VLAN, "eth0", 10, ("10.0.10.1/24",)),
                              Vlan("right", _VLAN, "eth0", 10, ("10.0.10.2/24",)))

_BRIDGED = script(
    "path.vlan-bridge",
    *(Register(f"{pf.name}-{hook}", "bridge", pf, hook) for pf in (_BR, _V4) for hook in ("PREROUTING", "FORWARD", "POSTROUTING")),
    Send("left", "10.0.10.2", 1),
    Crosses((At("bridge", "PREROUTING", "BRIDGE-PREROUTING", 1, _BR, "to-left", ""), At("bridge", "FORWARD", "BRIDGE-FORWARD", 1, _BR),
             At("bridge", "POSTROUTING", "BRIDGE-POSTROUTING", 1, _BR, "", "to-right"))),
    topology=_TAGGED_BRIDGE,
)

RULES = (
    Rule("path.arp", "ARP crosses OUTPUT where it is sent and INPUT where it is received, request and reply alike.", (_ASKED,),
         needs=("arp",)),
    Rule("drop.reason-arp", "The rest of the kernel is told of a drop of ARP's as of any: freed, with the reason NETFILTER_DROP.",
         (_refused("drop.reason-arp", Verdict(VerdictKind.DROP), errno.EPERM, "NETFILTER_DROP"),), needs=("arp", "drop_reasons")),
    Rule("drop.errno-arp", "NF_DROP_ERR(-e) of ARP's: the loop returns -e.",
         (_refused("drop.errno-arp", Verdict(VerdictKind.DROP, errno=errno.EACCES), errno.EACCES),), needs=("arp",)),
    Rule("path.vlan", "A tagged packet crosses the ingress of the device below, then that of the VLAN, and IP's points on the VLAN.",
         (_tagged(_V4, egress=False), _tagged(_V6, egress=False), _OTHER_TAG, *_TAG_LEFT), needs=("netdev", "vlan")),
    Rule("path.vlan-egress", "A packet that gets a tag crosses the egress of the VLAN, then that of the device below.",
         (_tagged(_V4, egress=True), _tagged(_V6, egress=True)), needs=("netdev", "vlan", "netdev_egress")),
    Rule("path.vlan-bridge", "A bridge forwards a tagged packet as any frame; br_netfilter lets it by.", (_BRIDGED,),
         needs=("bridge", "br_netfilter", "vlan")),
)
