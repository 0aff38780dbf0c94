"""``br_netfilter``: ``net/bridge/br_netfilter_hooks.c`` and ``br_netfilter_ipv6.c``.

Its hooks sit at the bridge's points, hand IP packets and ARP to the points of those families, say STOLEN, and go on where the bridge
would have, behind the hooks of the same priority.
"""

from __future__ import annotations

from functools import partial

from harness.model.path.bridge import br_dev_queue_push_xmit, br_forward_finish, br_handle_frame_finish, bridge_parent
from harness.model.path.ip import ip_rcv_finish
from harness.model.path.packet import NfBridge, Packet
from harness.model.path.stack import Okfn, Stack, named
from harness.model.structures import HookState
from harness.netfilter import PRIORITY_MAX, PRIORITY_MIN, Family, Verdict, VerdictKind, hook_number
from harness.scenario.steps.sysctl import BRIDGE_CALLS

__all__ = ("HOOKS", "br_nf_ops")

_BRIDGE = Family.BRIDGE
_ACCEPT, _DROP, _STOLEN = Verdict(VerdictKind.ACCEPT), Verdict(VerdictKind.DROP), Verdict(VerdictKind.STOLEN)
NF_BR_PRI_BRNF = 0


def _ip_family(packet: Packet) -> Family | None:
    """IP of an untagged frame; tagged ones are let by (``bridge-nf-filter-vlan-tagged`` is off)."""
    return packet.pf if packet.vlan is None and packet.protocol in ("IPV4", "IPV6") else None


def _calls(stack: Stack, netns: str, pf: Family) -> bool:
    """``brnet->call_iptables`` and its like."""
    return bool(stack.nets[netns].sysctl[BRIDGE_CALLS[pf]])


def br_nf_pre_routing(stack: Stack, packet: Packet, state: HookState) -> Verdict:
    """``br_nf_pre_routing``, ``br_nf_pre_routing_ipv6``: IP's PREROUTING believes that the packet came in by the bridge."""
    bridge, pf = bridge_parent(stack, state.net, state.indev), _ip_family(packet)
    if bridge is None:
        return _DROP
    if pf is None or not _calls(stack, state.net, pf):
        return _ACCEPT
    packet.nf_bridge = NfBridge(state.indev)
    stack.nf_hook(state.net, packet, (pf, "PREROUTING"), (bridge.device, ""), partial(br_nf_pre_routing_finish, stack, state.net))
    return _STOLEN


def br_nf_pre_routing_finish(stack: Stack, netns: str, packet: Packet) -> int:
    """``br_nf_pre_routing_finish``: back on the port, behind this module's hook."""
    assert packet.nf_bridge is not None  # noqa: S101
    packet.nf_bridge.in_prerouting = False
    port = packet.nf_bridge.physindev
    return br_nf_hook_thresh(stack, netns, packet, "PREROUTING", (port, ""), okfn=partial(br_handle_frame_finish, stack, netns, port))


def br_nf_hook_thresh(stack: Stack, netns: str, packet: Packet, hook: str, devices: tuple[str, str], *, okfn: Okfn) -> int:
    """``br_nf_hook_thresh``: ``nf_hook_slow`` from the first hook behind this module's on, also if there is none."""
    number = hook_number(_BRIDGE, hook)
    entries = stack.nets[netns].hooks[_BRIDGE][number].entries
    start = next((index for index, ops in enumerate(entries or ()) if ops.priority > NF_BR_PRI_BRNF), len(entries or ()))
    ret = stack.run(packet, HookState(_BRIDGE, number, netns, *devices, named(okfn, _BRIDGE)), entries, start, okfn=okfn)
    return okfn(packet) if ret == 1 else ret


def br_nf_forward_ip(stack: Stack, packet: Packet, state: HookState) -> Verdict:
    """``br_nf_forward_ip``: IP's FORWARD believes that the packet comes in by the bridge and leaves by it."""
    bridge, pf = bridge_parent(stack, state.net, state.outdev), _ip_family(packet)
    if packet.nf_bridge is None or pf is None:
        return _ACCEPT
    if bridge is None:
        return _DROP
    packet.nf_bridge.physoutdev = state.outdev
    packet.nf_bridge.otherhost = packet.pkt_type == "otherhost"
    packet.pkt_type = "host"
    okfn = partial(br_nf_forward_finish, stack, state.net, state.indev, state.outdev)
    stack.nf_hook(state.net, packet, (pf, "FORWARD"), (bridge.device, bridge.device), okfn)
    return _STOLEN


def br_nf_forward_arp(stack: Stack, packet: Packet, state: HookState) -> Verdict:
    """``br_nf_forward_arp``: ARP's FORWARD sees the ports."""
    bridge = bridge_parent(stack, state.net, state.outdev)
    if bridge is None or not _calls(stack, state.net, Family.ARP) or packet.protocol != "ARP" or packet.vlan is not None:
        return _ACCEPT
    okfn = partial(br_nf_forward_finish, stack, state.net, state.indev, state.outdev)
    stack.nf_hook(state.net, packet, (Family.ARP, "FORWARD"), (state.indev, state.outdev), okfn)
    return _STOLEN


def br_nf_forward(stack: Stack, packet: Packet, state: HookState) -> Verdict:
    """``br_nf_forward``: newer kernels have one hook for both."""
    return (br_nf_forward_arp if packet.protocol == "ARP" else br_nf_forward_ip)(stack, packet, state)


def br_nf_forward_finish(stack: Stack, netns: str, indev: str, outdev: str, packet: Packet) -> int:
    """``br_nf_forward_finish``."""
    if packet.nf_bridge is not None and packet.nf_bridge.otherhost:
        packet.pkt_type, packet.nf_bridge.otherhost = "otherhost", False
    return br_nf_hook_thresh(stack, netns, packet, "FORWARD", (indev, outdev), okfn=partial(br_forward_finish, stack, netns, outdev))


def br_nf_post_routing(stack: Stack, packet: Packet, state: HookState) -> Verdict:
    """``br_nf_post_routing``: of what was forwarded; IP's POSTROUTING believes that it leaves by the bridge."""
    pf = _ip_family(packet)
    if packet.nf_bridge is None or packet.nf_bridge.physoutdev is None or pf is None:
        return _ACCEPT
    bridge = bridge_parent(stack, state.net, state.outdev)
    if bridge is None:
        return _DROP
    okfn = partial(br_nf_dev_queue_xmit, stack, state.net, state.outdev)
    stack.nf_hook(state.net, packet, (pf, "POSTROUTING"), ("", bridge.device), okfn)
    return _STOLEN


def br_nf_dev_queue_xmit(stack: Stack, netns: str, to: str, packet: Packet) -> int:
    """``br_nf_dev_queue_xmit``: the bridge forgets what it knew of the packet."""
    packet.nf_bridge = None
    return br_dev_queue_push_xmit(stack, netns, to, packet)


def br_nf_local_in(_stack: Stack, _packet: Packet, _state: HookState) -> Verdict:
    """``br_nf_local_in``, on newer kernels: about connections of clones; accepts."""
    return _ACCEPT


def ip_sabotage_in(stack: Stack, packet: Packet, state: HookState) -> Verdict:
    """``ip_sabotage_in``: what crossed PREROUTING on the bridge already does not do so again when it comes up to this host."""
    if packet.nf_bridge is None or packet.nf_bridge.in_prerouting or packet.nf_bridge.sabotage_in_done:
        return _ACCEPT
    packet.nf_bridge.sabotage_in_done = True
    ip_rcv_finish(stack, state.net, state.indev, packet)  # state->okfn
    return _STOLEN


br_nf_ops = (
    (_BRIDGE, "PREROUTING", NF_BR_PRI_BRNF, br_nf_pre_routing), (_BRIDGE, "INPUT", PRIORITY_MAX, br_nf_local_in),
    (_BRIDGE, "FORWARD", NF_BR_PRI_BRNF, br_nf_forward), (_BRIDGE, "POSTROUTING", PRIORITY_MAX, br_nf_post_routing),
    (Family.IPV4, "PREROUTING", PRIORITY_MIN, ip_sabotage_in), (Family.IPV6, "PREROUTING", PRIORITY_MIN, ip_sabotage_in),
)
"""``br_nf_ops`` of a current kernel, registered in a namespace with its first bridge. Which a kernel really has is adopted."""

HOOKS = (br_nf_pre_routing, br_nf_forward_ip, br_nf_forward_arp, br_nf_forward, br_nf_post_routing, br_nf_local_in, ip_sabotage_in)
