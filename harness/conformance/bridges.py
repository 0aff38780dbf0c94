"""Bridges: the points of BRIDGE, ARP's FORWARD, and what ``br_netfilter`` makes of them (``net/bridge``)."""

from __future__ import annotations

import errno
from dataclasses import replace

from harness.conformance.expect import BY_STACK, At, Crosses, Expectation, Returns
from harness.conformance.rule import Rule, Script, script
from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome.types import NF_REINJECT
from harness.scenario.step import Step
from harness.scenario.steps.hooks import Register
from harness.scenario.steps.link import Arp, Frame
from harness.scenario.steps.namespaces import AddLink, DeleteDevice
from harness.scenario.steps.packets import Send
from harness.scenario.steps.queue import Answer, Listen
from harness.scenario.topology import BRIDGE, BRIDGE_NETFILTER, Bridge, Link, Route, VethEnd

__all__ = ("RULES",)

_V4, _V6, _ARP, _BR, _NETDEV = Family.IPV4, Family.IPV6, Family.ARP, Family.BRIDGE, Family.NETDEV
_ALL = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
_OWN_LOOP = "nf_hook_bridge_pre"
_OKFN = {"PREROUTING": "br_handle_frame_finish", "INPUT": "br_netif_receive_skb", "FORWARD": "br_forward_finish",
         "OUTPUT": "br_forward_finish", "POSTROUTING": "br_dev_queue_push_xmit"}
_IN, _OUT, _OTHER = "to-left", "to-right", "to-third"
_ASK = Arp("left", "10.0.0.1", "10.0.0.2")


def _everywhere(*families: Family) -> list[Step | Expectation]:
    """A hook at each of the five points of each family in the namespace of the bridge, called ``BRIDGE-INPUT``."""
    return [Register(f"{pf.name}-{hook}", "bridge", pf, hook) for pf in families for hook in _ALL]


def _br(hook: str, indev: str, outdev: str) -> At:
    """A point of the bridge."""
    loop = _OWN_LOOP if hook == "PREROUTING" else "nf_hook_slow"
    return At("bridge", hook, f"BRIDGE-{hook}", 1, _BR, indev, outdev, _OKFN[hook], 0, loop)


def _ip(pf: Family, hook: str, indev: str, outdev: str) -> At:
    """A point of IP that a packet comes to by the bridge as by any device."""
    return At("bridge", hook, f"{pf.name}-{hook}", 1, pf, indev, outdev, loop="nf_hook_slow")


def _forwarded(out: str) -> tuple[At, At]:
    return _br("FORWARD", _IN, out), _br("POSTROUTING", "", out)


def _sent(out: str) -> tuple[At, At]:
    """The points that a packet of the host's own crosses."""
    return _br("OUTPUT", "", out), _br("POSTROUTING", "", out)


def _unicast(pf: Family) -> tuple[Script, ...]:
    return (
        script(f"path.bridge, {pf.name} forwarded", *_everywhere(_BR, pf),
               Send("left", "right", 1, pf), Crosses((_br("PREROUTING", _IN, ""), *_forwarded(_OUT))), topology=BRIDGE),
        script(f"path.bridge, {pf.name} to the host", *_everywhere(_BR, pf),
               Send("left", "bridge", 1, pf),
               Crosses((_br("PREROUTING", _IN, ""), _br("INPUT", _IN, ""), _ip(pf, "PREROUTING", "br0", ""), _ip(pf, "INPUT", "br0", ""))),
               topology=BRIDGE),
        script(f"path.bridge, {pf.name} from the host", *_everywhere(_BR, pf),
               Send("bridge", "left", 1, pf),
               Crosses((_ip(pf, "OUTPUT", "", "br0"), _ip(pf, "POSTROUTING", "", "br0"), *_sent(_IN))),
               topology=BRIDGE),
    )


_FRAMES = script(
    "path.bridge, frames", *_everywhere(_BR),
    Frame("left", "eth0", "right/eth0", 1), Crosses((_br("PREROUTING", _IN, ""), *_forwarded(_OUT)), BY_STACK),
    Frame("left", "eth0", "unknown", 2), Crosses((_br("PREROUTING", _IN, ""), *_forwarded(_OTHER), *_forwarded(_OUT)), BY_STACK),
    Frame("left", "eth0", "broadcast", 3),
    Crosses((_br("PREROUTING", _IN, ""), *_forwarded(_OTHER), *_forwarded(_OUT), _br("INPUT", _IN, "")), BY_STACK),
    Frame("left", "eth0", "bridge/br0", 4), Crosses((_br("PREROUTING", _IN, ""), _br("INPUT", _IN, "")), BY_STACK),
    Frame("left", "eth0", "left/eth0", 5), Crosses((_br("PREROUTING", _IN, ""),), BY_STACK),
    Frame("left", "eth0", "multicast", 8),
    Crosses((_br("PREROUTING", _IN, ""), *_forwarded(_OTHER), *_forwarded(_OUT), _br("INPUT", _IN, "")), BY_STACK),
    *(line for cookie, to in ((6, "unknown"), (7, "broadcast"), (9, "multicast")) for line in (
        Frame("bridge", "br0", to, cookie), Crosses(tuple(at for port in (_OTHER, _OUT, _IN) for at in _sent(port)), BY_STACK))),
    topology=BRIDGE,
)

_DROP, _STOLEN = Verdict(VerdictKind.DROP, errno.EHOSTUNREACH), Verdict(VerdictKind.STOLEN)
_QUEUE, _BYPASS = Verdict(VerdictKind.QUEUE, queue=3), Verdict(VerdictKind.QUEUE, queue=3, bypass=True)

_VERDICTS = script(
    "path.bridge-verdicts",
    Register("drop", "bridge", _BR, "PREROUTING", 0, _DROP, cookie=1),
    Register("steal", "bridge", _BR, "PREROUTING", 1, _STOLEN, cookie=2),
    Register("queue", "bridge", _BR, "PREROUTING", 2, _QUEUE, cookie=3),
    Register("bypass", "bridge", _BR, "PREROUTING", 3, _BYPASS, cookie=4),
    Register("last", "bridge", _BR, "PREROUTING", 4),
    Register("forward", "bridge", _BR, "FORWARD", 0, _DROP, cookie=5),
    *(line for cookie, at, fate in (
        (1, At("bridge", "PREROUTING", "drop", 0, _BR, loop=_OWN_LOOP), "dropped"),
        (2, At("bridge", "PREROUTING", "drop steal", 0, _BR, loop=_OWN_LOOP), "stolen"),
        (3, At("bridge", "PREROUTING", "drop steal queue", 0, _BR, loop=_OWN_LOOP), "dropped"),
    ) for line in (Frame("left", "eth0", "right/eth0", cookie), Crosses((at,), fate))),  # type: ignore[arg-type]
    Frame("left", "eth0", "right/eth0", 4),
    Crosses((At("bridge", "PREROUTING", "drop steal queue bypass last", 1, _BR, loop=_OWN_LOOP),
             At("bridge", "FORWARD", "forward", 1, _BR)),
         BY_STACK),
    Frame("left", "eth0", "right/eth0", 5),
    Crosses((At("bridge", "PREROUTING", "drop steal queue bypass last", 1, _BR, loop=_OWN_LOOP),
             At("bridge", "FORWARD", "forward", -errno.EHOSTUNREACH, _BR)), "dropped", errno.EHOSTUNREACH),
    topology=BRIDGE,
)


_CLONED = script(
    "drop.reason-cloned",
    Register("guard", "third", _NETDEV, "INGRESS", verdict=Verdict(VerdictKind.DROP), device="eth0"),
    *(line for cookie, to in enumerate(("unknown", "broadcast", "multicast"), 1) for line in (
        Frame("left", "eth0", to, cookie),
        Crosses((At("third", "INGRESS", "guard", -errno.EPERM, _NETDEV),), "dropped", errno.EPERM, reason="NETFILTER_DROP"))),
    topology=BRIDGE,
)


def _layers() -> list[Step | Expectation]:
    """Hooks of devices, the bridge and IP on a packet's way from left to right, before and behind br_netfilter's."""
    hooks: list[Step | Expectation] = [Register("ingress", "bridge", _NETDEV, "INGRESS", device=_IN)]
    for hook in ("PREROUTING", "FORWARD", "POSTROUTING"):
        hooks += [Register(f"{hook}-early", "bridge", _BR, hook, -10), Register(f"{hook}-late", "bridge", _BR, hook, 10)]
        hooks += [Register(f"{pf.name}-{hook}", "bridge", pf, hook) for pf in (_V4, _V6)]
    return hooks


def _together(pf: Family) -> tuple[Script, ...]:
    ingress = At("bridge", "INGRESS", "ingress", 1, _NETDEV, _IN, "", "")
    both = {hook: f"{hook}-early {hook}-late" for hook in ("PREROUTING", "FORWARD", "POSTROUTING")}
    finish = "br_nf_pre_routing_finish" if pf is _V4 else "br_nf_pre_routing_finish_ipv6"
    return (
        script(f"path.families-together, {pf.name}, br_netfilter off", *_layers(),
               Send("left", "right", 1, pf),
               Crosses((ingress, At("bridge", "PREROUTING", both["PREROUTING"], 1, _BR, _IN, "", loop=_OWN_LOOP),
                        At("bridge", "FORWARD", both["FORWARD"], 1, _BR, _IN, _OUT),
                        At("bridge", "POSTROUTING", both["POSTROUTING"], 1, _BR, "", _OUT))),
               topology=BRIDGE),
        script(f"path.families-together, {pf.name}, br_netfilter on", *_layers(),
               Send("left", "right", 1, pf),
               Crosses((
                   ingress,
                   At("bridge", "PREROUTING", "PREROUTING-early", 0, _BR, _IN, "", loop=_OWN_LOOP),
                   At("bridge", "PREROUTING", f"{pf.name}-PREROUTING", 1, pf, "br0", "", finish),
                   At("bridge", "PREROUTING", "PREROUTING-late", 1, _BR, _IN, "", "br_handle_frame_finish", 2, "nf_hook_slow"),
                   At("bridge", "FORWARD", "FORWARD-early", 0, _BR, _IN, _OUT),
                   At("bridge", "FORWARD", f"{pf.name}-FORWARD", 1, pf, "br0", "br0", "br_nf_forward_finish"),
                   At("bridge", "FORWARD", "FORWARD-late", 1, _BR, _IN, _OUT, "br_forward_finish", None, "nf_hook_slow"),
                   At("bridge", "POSTROUTING", both["POSTROUTING"], 0, _BR, "", _OUT),
                   At("bridge", "POSTROUTING", f"{pf.name}-POSTROUTING", 1, pf, "", "br0", "br_nf_dev_queue_xmit"),
               )), topology=BRIDGE_NETFILTER),
        script(f"path.families-together, {pf.name}, br_netfilter on, to the host", *_layers(), Register("input", "bridge", pf, "INPUT"),
               Send("left", "bridge", 1, pf),
               Crosses((
                   ingress,
                   At("bridge", "PREROUTING", "PREROUTING-early", 0, _BR, _IN, "", loop=_OWN_LOOP),
                   At("bridge", "PREROUTING", f"{pf.name}-PREROUTING", 1, pf, "br0", "", finish),
                   At("bridge", "PREROUTING", "PREROUTING-late", 1, _BR, _IN, "", "br_handle_frame_finish", 2, "nf_hook_slow"),
                   At("bridge", "INPUT", "input", 1, pf, "br0", ""),
               )), topology=BRIDGE_NETFILTER),
    )


def _only(pf: Family) -> Script:
    """``bridge-nf-call-iptables`` or ``-ip6tables`` alone: the other family and ARP are let by."""
    other = _V6 if pf is _V4 else _V4
    by = tuple(At("bridge", hook, f"{hook}-early {hook}-late", 1, _BR) for hook in ("PREROUTING", "FORWARD", "POSTROUTING"))
    return script(
        f"path.families-together, br_netfilter for {pf.name} alone", *_layers(), Register("arp", "bridge", _ARP, "FORWARD"),
        Send("left", "right", 1, other),
        Crosses((At("bridge", "INGRESS", "ingress", 1, _NETDEV), *by)),
        _ASK,
        Crosses((At("bridge", "INGRESS", "ingress", 1, _NETDEV), *by, *by[1:]), "consumed"), Crosses(by, "consumed", nth=1),
        topology=replace(BRIDGE_NETFILTER, name=f"bridge-{pf.name}", bridges=(replace(BRIDGE_NETFILTER.bridges[0], netfilter=(pf,)),)),
    )


_ROUTED = replace(
    BRIDGE_NETFILTER, name="bridge-routed",
    links=(Link(VethEnd("left", "eth0", ("10.0.0.1/24", "fd00::1/64")), VethEnd("bridge", "to-left")),
           Link(VethEnd("right", "eth0", ("10.0.5.2/24", "fd00:5::2/64")), VethEnd("bridge", "to-right"))),
    bridges=(Bridge("bridge", "br0", ("to-left", "to-right"), ("10.0.0.254/24", "fd00::fe/64", "10.0.5.254/24", "fd00:5::fe/64"),
                    (_V4, _V6, _ARP)),),
    routes=(Route("left", "0.0.0.0/0", "10.0.0.254"), Route("left", "::/0", "fd00::fe")),
    namespaces=("left", "bridge", "right"), forwarding=("bridge",))


def _routed(pf: Family) -> Script:
    """Up through the bridge, from it back to it, out through the bridge: br_netfilter lets by what IP has seen."""
    finish = "br_nf_pre_routing_finish" if pf is _V4 else "br_nf_pre_routing_finish_ipv6"
    return script(
        f"path.bridge-routed, {pf.name}", *_everywhere(_BR, pf),
        Send("left", "right", 1, pf),
        Crosses((At("bridge", "PREROUTING", "BRIDGE-PREROUTING", 0, _BR, _IN, ""),
                 At("bridge", "PREROUTING", f"{pf.name}-PREROUTING", 1, pf, "br0", "", finish),
                 _br("INPUT", _IN, ""),
                 _ip(pf, "FORWARD", "br0", "br0"), _ip(pf, "POSTROUTING", "br0", "br0"), *_sent(_OUT))),
        topology=_ROUTED,
    )


def _flooded(pf: Family) -> Script:
    """The third host has its address elsewhere by now; the first one knows the hardware address that it had."""
    return script(
        f"path.other-host, {pf.name}",
        DeleteDevice("third", "eth0"), AddLink(VethEnd("third", "eth1", ("10.0.0.3/24", "fd00::3/64")), VethEnd("bridge", "elsewhere")),
        Register("forward", "bridge", _BR, "FORWARD"),
        Register("ingress", "right", _NETDEV, "INGRESS", device="eth0"), Register("pre", "right", pf, "PREROUTING"),
        Send("left", "third", 1, pf),
        Crosses((At("bridge", "FORWARD", "forward", 1, _BR, _IN, _OUT), At("right", "INGRESS", "ingress", 1, _NETDEV)), BY_STACK),
        topology=BRIDGE,
    )


def _arp(netns: str, hook: str, indev: str, outdev: str) -> At:
    okfn = {"INPUT": "arp_process", "OUTPUT": "arp_xmit_finish", "FORWARD": "br_nf_forward_finish"}[hook]
    return At(netns, hook, f"{netns}-ARP-{hook}", 1, _ARP, indev, outdev, okfn)


_ARP_HOOKS = tuple(Register(f"{netns}-ARP-{hook}", netns, _ARP, hook) for netns in ("left", "bridge", "right")
                   for hook in ("INPUT", "OUTPUT", "FORWARD"))

_BRIDGED_ARP = script(
    "path.arp-forward", *_ARP_HOOKS, _ASK,
    Crosses((_arp("left", "OUTPUT", "", "eth0"), _arp("bridge", "FORWARD", _IN, _OTHER), _arp("bridge", "FORWARD", _IN, _OUT),
             _arp("bridge", "INPUT", "br0", ""), _arp("right", "INPUT", "eth0", "")), "consumed"),
    Crosses((_arp("right", "OUTPUT", "", "eth0"), _arp("bridge", "FORWARD", _OUT, _IN), _arp("left", "INPUT", "eth0", "")), "consumed",
            nth=1),
    topology=BRIDGE_NETFILTER,
)

RULES = (
    Rule("path.bridge", "A frame crosses the bridge's PREROUTING, in its own loop, then FORWARD or INPUT; what the host sends, "
         "OUTPUT; what leaves, POSTROUTING.", (*_unicast(_V4), *_unicast(_V6), _FRAMES), needs=("bridge",)),
    Rule("path.bridge-verdicts", "The bridge's pre-routing loop takes verdicts as nf_hook_slow does, but nobody learns a drop's errno.",
         (_VERDICTS,), needs=("bridge",)),
    Rule("drop.reason-cloned", "The reason of a drop is that of any packet, also where another port of a bridge gets a clone of it.",
         (_CLONED,), needs=("netdev", "bridge", "drop_reasons")),
    Rule("path.families-together", "One packet crosses the points of its devices, of the bridge and, with br_netfilter, of IP, which "
         "believes that it comes and goes by the bridge.", (*_together(_V4), *_together(_V6), _only(_V4), _only(_V6)),
         needs=("netdev", "arp", "bridge", "br_netfilter")),
    Rule("path.bridge-routed", "A packet that a bridge's host routes back to the bridge crosses IP's points once, with br_netfilter too.",
         (_routed(_V4), _routed(_V6)), needs=("bridge", "br_netfilter")),
    Rule("path.other-host", "A packet for a hardware address that no port leads to is forwarded to all; at a host with another address it "
         "crosses ingress, and PREROUTING not.", (_flooded(_V4), _flooded(_V6)), needs=("netdev", "bridge")),
    Rule("start-index.bridge", "br_netfilter goes on behind its own hook: nf_hook_slow from a slot that is not the first.", (
        script("start-index.bridge",
               *(Register(name, "bridge", _BR, "PREROUTING", priority) for name, priority in (("a", -2), ("b", -1), ("c", 1), ("d", 2))),
               Send("left", "right", 1),
               Crosses((At("bridge", "PREROUTING", "a b", 0, _BR, loop=_OWN_LOOP),
                        At("bridge", "PREROUTING", "c d", 1, _BR, start=3, loop="nf_hook_slow"))),
               topology=BRIDGE_NETFILTER),
        script("start-index.bridge, verdicts",
               Listen("bridge", 3),
               Register("drop", "bridge", _BR, "PREROUTING", 1, _DROP, cookie=1), Register("queue", "bridge", _BR, "PREROUTING", 2, _QUEUE),
               Register("forward", "bridge", _BR, "FORWARD", -10),
               Send("left", "right", 1),
               Crosses((At("bridge", "PREROUTING", "drop", -errno.EHOSTUNREACH, _BR, start=1),), "dropped", errno.EHOSTUNREACH),
               Send("left", "right", 2, source_port=40001),
               Crosses((At("bridge", "PREROUTING", "drop queue", 0, _BR, start=1),
                        At("bridge", "PREROUTING", "", 1, _BR, start=2, loop=NF_REINJECT), At("bridge", "FORWARD", "forward", 0, _BR))),
               Answer("bridge", 3), Returns(0),
               topology=BRIDGE_NETFILTER),
    ), needs=("bridge", "br_netfilter")),
    Rule("path.arp-forward", "ARP through a bridge crosses FORWARD, where br_netfilter sees to it, with the ports as in and out.",
         (_BRIDGED_ARP,), needs=("arp", "bridge", "br_netfilter")),
)
