"""Wrong bridges, VLANs and ARP."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.model import slow
from harness.model.path import arp, bridge, brnf, device, stack
from harness.model.path.packet import Packet
from harness.model.path.stack import Okfn, Stack
from harness.netfilter import Family, Verdict, VerdictKind, hook_number
from harness.scenario.topology import Bridge, Vlan
from tests.mutants.mutant import named

__all__ = ("MUTANTS",)

_PREROUTING = hook_number(Family.BRIDGE, "PREROUTING")


def pre_routing(**loop: Any) -> Any:
    """A pre-routing of the bridge in another loop."""
    def mutant(on: Stack, netns: str, port: str, packet: Packet) -> int:
        state = slow.HookState(Family.BRIDGE, _PREROUTING, netns, port, "", "br_handle_frame_finish")
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
        state = slow.HookState(Family.BRIDGE, number, netns, *devices, stack.named(okfn, Family.BRIDGE))
        entries = [ops for ops in on.nets[netns].hooks[Family.BRIDGE][number].entries or () if ops.module != "br_netfilter"]
        ret = on.run(packet, state, entries or None, start)
        return okfn(packet) if ret == 1 else ret
    return mutant


def port_for_bridge(on: Stack, netns: str, port: str) -> Bridge | None:
    of = bridge.bridge_parent(on, netns, port)
    return replace(of, device=port) if of else None


def family_of_tagged(packet: Packet) -> Family | None:
    return packet.pf if packet.protocol in ("IPV4", "IPV6") else None


def accepts(_on: Stack, _packet: Packet, _state: slow.HookState) -> Verdict:
    return Verdict(VerdictKind.ACCEPT)


def keeps_the_tag(_on: Stack, _vlan: Vlan, _packet: Packet) -> None:
    return None


def past_the_device_below(on: Stack, vlan: Vlan, packet: Packet) -> int:
    packet.vlan = vlan.id
    return device._veth_xmit(on, vlan.netns, vlan.link, packet)


def silent_arp(on: Stack, netns: str, name: str, packet: Packet) -> int:
    return arp.arp_xmit_finish(on, netns, name, packet)


MUTANTS = dict([
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
    named("an ARP reply does not cross OUTPUT", arp, "arp_send", silent_arp, "path.arp", "path.arp-forward"),
    named("a VLAN keeps the tag", device, "_vlan_do_receive", keeps_the_tag, "path.vlan"),
    named("a VLAN passes by the device below", device, "_vlan_dev_hard_start_xmit", past_the_device_below, "path.vlan-egress"),
])
