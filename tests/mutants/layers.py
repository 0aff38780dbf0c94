"""Wrong bridges, VLANs and ARP."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import Any

from harness.model import structures
from harness.model.path import arp, bridge, brnf, device, entrance, ip, stack
from harness.model.path.packet import Packet
from harness.model.path.stack import Okfn, Stack
from harness.model.steps import link as link_steps
from harness.netfilter import Family, Verdict, VerdictKind, hook_number
from harness.scenario.topology import Bridge, Vlan
from tests.mutants.mutant import collected, named, rules_only

__all__ = ("MUTANTS",)

_PREROUTING = hook_number(Family.BRIDGE, "PREROUTING")


def pre_routing(**loop: Any) -> Any:
    """A pre-routing of the bridge in another loop."""
    def mutant(on: Stack, netns: str, port: str, packet: Packet) -> int:
        state = structures.HookState(Family.BRIDGE, _PREROUTING, netns, port, "", "br_handle_frame_finish")
        return on.run(packet, state, on.nets[netns].hooks[Family.BRIDGE][_PREROUTING].entries, **loop)
    return mutant


def floods(*, reverse: bool, ports: int) -> Any:
    def mutant(on: Stack, netns: str, of: Bridge, packet: Packet, *, port: str | None, local_rcv: bool) -> None:
        to = [one for one in (reversed(of.ports) if reverse else of.ports) if one != port][:ports]
        for one in to:
            bridge._br_forward(on, netns, port, one, packet.clone())
    return mutant


def thresh_from(start: int) -> Any:
    def mutant(on: Stack, netns: str, packet: Packet, hook: str, devices: tuple[str, str], *, okfn: Okfn) -> int:
        number = hook_number(Family.BRIDGE, hook)
        state = structures.HookState(Family.BRIDGE, number, netns, *devices, stack.named(okfn, Family.BRIDGE))
        entries = [ops for ops in on.nets[netns].hooks[Family.BRIDGE][number].entries or () if ops.module != "br_netfilter"]
        ret = on.run(packet, state, entries or None, start)
        return okfn(packet) if ret == 1 else ret
    return mutant


def port_for_bridge(on: Stack, netns: str, port: str) -> Bridge | None:
    of = bridge.bridge_parent(on, netns, port)
    return replace(of, device=port) if of else None


def family_of_tagged(packet: Packet) -> Family | None:
    return packet.pf if packet.protocol in ("IPV4", "IPV6") else None


def accepts(_on: Stack, _packet: Packet, _state: structures.HookState) -> Verdict:
    return Verdict(VerdictKind.ACCEPT)


def goes_on_whatever_they_say(on: Stack, netns: str, packet: Packet, hook: str, devices: tuple[str, str], *, okfn: Okfn) -> int:
    RIGHT_THRESH(on, netns, packet, hook, devices, okfn=lambda _packet: 0)
    return okfn(packet)


def br_nf_post_routing(on: Stack, packet: Packet, state: structures.HookState) -> Verdict:
    if packet.nf_bridge is not None:
        packet.nf_bridge.physoutdev = state.outdev
    return brnf.br_nf_post_routing(on, packet, state)


def ip_sabotage_in(_on: Stack, _packet: Packet, _state: structures.HookState) -> Verdict:
    return Verdict(VerdictKind.ACCEPT)


def instead(function: Any) -> Any:
    """br_netfilter's hooks, with another of the same name."""
    return tuple(function if hook.__name__ == function.__name__ else hook for hook in brnf.HOOKS)


def sends_nothing_to_all(on: Stack, of: Bridge, packet: Packet) -> int:
    to = bridge._br_fdb_find(on, of, packet)
    if to is not None:
        bridge._br_forward(on, of.netns, None, to, packet)
    return 0


def takes_what_is_for_others(on: Stack, netns: str, name: str, packet: Packet) -> int:
    ret = RIGHT_VETH(on, netns, name, packet)
    packet.pkt_type = "host" if packet.pkt_type == "otherhost" else packet.pkt_type
    return ret


def comes_back_from_a_dummy(on: Stack, netns: str, name: str, packet: Packet) -> int:
    if on.topology.interface(netns, name) in on.topology.dummies:
        on.backlog.append((netns, name, packet))
    return RIGHT_VETH(on, netns, name, packet)


def hides_every_enobufs(_packet: Packet, ret: int) -> int:
    return 0 if ret == -errno.ENOBUFS else max(-ret, 0)


def keeps_the_tag(_packet: Packet) -> None:
    return None


def past_the_device_below(on: Stack, vlan: Vlan, packet: Packet) -> int:
    packet.vlan = vlan.id
    return device._veth_xmit(on, vlan.netns, vlan.link, packet)


def silent_arp(on: Stack, netns: str, name: str, packet: Packet) -> int:
    return arp.arp_xmit_finish(on, netns, name, packet)


RIGHT_THRESH, RIGHT_VETH = brnf.br_nf_hook_thresh, device._veth_xmit

def not_for_a_group(netns: str, packet: Packet) -> bool:
    return right_rcv(netns, packet) and packet.pkt_type != "broadcast"


right_rcv = ip._ip_rcv_core

MUTANTS = collected([
    named("the bridge's pre-routing is nf_hook_slow", bridge, "nf_hook_bridge_pre", pre_routing(errnos=False), "path.bridge",
          "path.bridge-verdicts", "path.families-together", "start-index.bridge"),
    named("a drop at the bridge's pre-routing keeps its errno", bridge, "nf_hook_bridge_pre", pre_routing(loop="nf_hook_bridge_pre"),
          "path.bridge-verdicts"),
    named("a bridge floods the oldest port first", bridge, "_br_flood", floods(reverse=False, ports=9), "path.bridge", "path.arp-forward"),
    named("a bridge floods one port", bridge, "_br_flood", floods(reverse=True, ports=1), "path.bridge", "path.arp-forward"),
    named("br_netfilter begins at the first hook again", brnf, "br_nf_hook_thresh", thresh_from(0), "start-index.bridge",
          "path.families-together"),
    named("br_netfilter lets IP by", brnf, "_ip_family", lambda _packet: None, "path.families-together", "start-index.bridge"),
    named("br_netfilter sees the port as the device", brnf, "bridge_parent", port_for_bridge, "path.families-together"),
    named("br_netfilter takes tagged packets", brnf, "_ip_family", family_of_tagged, "path.vlan-bridge"),
    named("br_netfilter lets ARP by", brnf, "br_nf_forward_arp", accepts, "path.arp-forward"),
    rules_only(named("br_netfilter is on for all families", brnf, "_calls", lambda *_: True, "path.families-together")),
    named("br_netfilter goes on whatever the hooks behind it say", brnf, "br_nf_hook_thresh", goes_on_whatever_they_say,
          "start-index.bridge"),
    rules_only(named("br_netfilter takes what is routed for forwarded", brnf, "HOOKS", instead(br_nf_post_routing), "path.bridge-routed")),
    named("IP's PREROUTING sees twice what a bridge's host routes", brnf, "HOOKS", instead(ip_sabotage_in), "path.bridge-routed"),
    rules_only(named("what is for a group is for another host", ip, "_ip_rcv_core", not_for_a_group, "path.group")),
    rules_only(named("a group is nobody's address", link_steps, "MULTICAST", "nobody", "path.bridge")),
    rules_only(named("a bridge's host sends nothing to all", device, "_ndo_start_xmit", [sends_nothing_to_all], "path.bridge")),
    rules_only(named("a device takes what is for others", device, "_veth_xmit", takes_what_is_for_others, "path.other-host")),
    rules_only(named("a dummy hands back what it gets", device, "_veth_xmit", comes_back_from_a_dummy, "netdev.egress-dummy")),
    rules_only(named("nobody learns of ENOBUFS", entrance, "_sent_errno", hides_every_enobufs, "netdev.egress-drop")),
    named("an ARP reply does not cross OUTPUT", arp, "arp_send", silent_arp, "path.arp", "path.arp-forward"),
    named("a VLAN keeps the tag", device, "_vlan_do_receive", keeps_the_tag, "path.vlan"),
    named("a VLAN passes by the device below", device, "_vlan_dev_hard_start_xmit", past_the_device_below, "path.vlan-egress"),
])
