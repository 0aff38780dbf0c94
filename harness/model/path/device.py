"""Devices: ``net/core/dev.c``, ``drivers/net/veth.c``, ``drivers/net/loopback.c``, ``net/8021q``.

Layers above announce themselves, as they do in the kernel: a protocol with :func:`dev_add_pack`, the bridge as the receive handler of
its ports and with its own transmit function.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from itertools import groupby

from harness.model.conntrack import nf_conntrack_put
from harness.model.path.packet import BROADCAST, Ethertype, Mac, Packet, mac_of
from harness.model.path.stack import Stack, open_softirq
from harness.model.structures import NETDEV_EGRESS, NETDEV_INGRESS
from harness.outcome.fate import Fate
from harness.scenario.topology import LOOPBACK, Bridge, Topology, VethEnd, Vlan

__all__ = ("dev_add_pack", "dev_queue_xmit", "netdev_rx_handler_register", "netif_receive_skb", "owner_of")

Receive = Callable[[Stack, str, str, Packet], None]
"""What takes a packet that a device of a namespace received."""

ReceiveList = Callable[[Stack, str, str, list[Packet]], None]

_GRO_NORMAL_BATCH = 8
"""``net.core.gro_normal_batch``: most packets of a list, unless it is set."""

_ptype_base: dict[Ethertype, tuple[Receive, ReceiveList]] = {}
_rx_handler: list[Receive] = []
_ndo_start_xmit: list[Callable[[Stack, Bridge, Packet], int]] = []


def dev_add_pack(protocol: Ethertype, function: Receive, list_func: ReceiveList | None = None) -> None:
    """``dev_add_pack``.

    :param list_func: for a list of packets; by default each by itself
    """
    def one_by_one(stack: Stack, netns: str, device: str, packets: list[Packet]) -> None:
        for packet in packets:
            function(stack, netns, device, packet)

    _ptype_base[protocol] = function, list_func or one_by_one


def netdev_rx_handler_register(handler: Receive, xmit: Callable[[Stack, Bridge, Packet], int]) -> None:
    """``netdev_rx_handler_register`` of a bridge's ports, and the bridge's own ``ndo_start_xmit``."""
    _rx_handler[:], _ndo_start_xmit[:] = [handler], [xmit]


def owner_of(topology: Topology, netns: str, port: str, mac: Mac) -> bool:
    """Whether a port of a bridge leads to a hardware address."""
    return any(mac_of(topology, one.netns, one.device) == mac for one in topology.segment(netns, port))


def dev_queue_xmit(stack: Stack, netns: str, device: str, packet: Packet) -> int:
    """``__dev_queue_xmit``: the device's egress, then its driver. The receiver goes on when bottom halves are enabled again.

    :returns: 0, or -ENOBUFS, as ``net_xmit_errno`` has it
    """
    stack.local_bh_disable()
    ret = _dev_queue_xmit(stack, netns, device, packet)
    stack.local_bh_enable()
    return ret


def _dev_queue_xmit(stack: Stack, netns: str, device: str, packet: Packet) -> int:
    ret = stack.nf_hook_device(netns, packet, NETDEV_EGRESS, device)
    if ret != 1:
        # nf_hook_egress makes any errno NET_XMIT_DROP
        return -errno.ENOBUFS if ret < 0 else 0
    return min([_dev_hard_start_xmit(stack, netns, device, one) for one in _validate_xmit_skb(stack, packet)])


def _validate_xmit_skb(stack: Stack, packet: Packet) -> list[Packet]:
    """``validate_xmit_skb``: segments go as they are through a device that can take them apart itself, by themselves otherwise."""
    if packet.segment is None or stack.core.profile.veth_udp_gso:
        return [packet]
    packet.end = Fate("segmented")
    starts = range(0, packet.size, packet.segment)
    return [replace(packet.clone(), segment=None, size=min(packet.segment, packet.size - start)) for start in starts]


def _dev_hard_start_xmit(stack: Stack, netns: str, device: str, packet: Packet) -> int:
    """``dev_hard_start_xmit``: the driver's ``ndo_start_xmit``."""
    if device == LOOPBACK:
        return _loopback_xmit(stack, netns, packet)
    match stack.topology.interface(netns, device):
        case VethEnd():
            return _veth_xmit(stack, netns, device, packet)
        case Vlan() as vlan:
            return _vlan_dev_hard_start_xmit(stack, vlan, packet)
        case Bridge() as bridge:
            return _ndo_start_xmit[0](stack, bridge, packet)


def _loopback_xmit(stack: Stack, netns: str, packet: Packet) -> int:
    """``loopback_xmit``: what goes out comes in."""
    packet.pkt_type = "host"
    stack.backlog.append((netns, LOOPBACK, packet))
    return 0


def _veth_xmit(stack: Stack, netns: str, device: str, packet: Packet) -> int:
    """``veth_xmit``: to the peer's backlog; ``eth_type_trans`` says what the frame is to it."""
    if (end := stack.topology.interface(netns, device)) in stack.topology.dummies:
        packet.end = Fate("sent", reason=f"by {end.device}")
        return 0
    peer = stack.topology.peer(netns, device)
    nf_conntrack_put(stack.tracking, packet.ct)  # skb_scrub_packet: another namespace knows nothing of it
    if packet.mac == BROADCAST:
        packet.pkt_type = "broadcast"
    else:
        packet.pkt_type = "host" if packet.mac == (peer.netns, peer.device) else "otherhost"
    stack.backlog.append((peer.netns, peer.device, packet))
    return 0


def _vlan_dev_hard_start_xmit(stack: Stack, vlan: Vlan, packet: Packet) -> int:
    """``vlan_dev_hard_start_xmit``: the tag goes beside the packet, the packet to the device below."""
    packet.vlan = vlan.id
    return dev_queue_xmit(stack, vlan.netns, vlan.link, packet)


def net_rx_action(stack: Stack) -> None:
    """``net_rx_action``: packets in the order in which the devices got them. A device with GRO hands on all that it has in lists."""
    while stack.backlog:
        netns, device, packet = stack.backlog.popleft()
        if not stack.topology.has_gro(netns, device):
            netif_receive_skb(stack, netns, device, packet)
            continue
        ring = [packet, *(one for on, by, one in stack.backlog if (on, by) == (netns, device))]
        stack.backlog = deque(entry for entry in stack.backlog if entry[:2] != (netns, device))
        for start in range(0, len(ring), _GRO_NORMAL_BATCH):
            _netif_receive_skb_list(stack, netns, device, ring[start:start + _GRO_NORMAL_BATCH])


def netif_receive_skb(stack: Stack, netns: str, device: str, packet: Packet) -> None:
    """``netif_receive_skb``: one packet, to its protocol."""
    device = _netif_receive_skb_core(stack, netns, device, packet)
    if device:
        _ptype_base[packet.protocol][0](stack, netns, device, packet)


def _netif_receive_skb_list(stack: Stack, netns: str, device: str, packets: list[Packet]) -> None:
    """``__netif_receive_skb_list_core``: each packet as far as its protocol, then what has come so far in a row as one list."""
    reached = [(_netif_receive_skb_core(stack, netns, device, packet), packet) for packet in packets]
    for (name, protocol), group in groupby(((to, one) for to, one in reached if to), key=lambda found: (found[0], found[1].protocol)):
        _ptype_base[protocol][1](stack, netns, name, [packet for _, packet in group])


def _netif_receive_skb_core(stack: Stack, netns: str, device: str, packet: Packet) -> str:
    """``__netif_receive_skb_core``: ingress, then VLANs, then the bridge; a VLAN device makes another round.

    :returns: the device that the packet's protocol gets it from; empty if it does not
    """
    while True:
        if stack.nf_hook_device(netns, packet, NETDEV_INGRESS, device) != 1:
            return ""
        vlan = stack.topology.vlan_on(netns, device, packet.vlan) if packet.vlan is not None else None
        if vlan is None:
            break
        _vlan_do_receive(packet)
        device = vlan.device
    if stack.topology.bridge_of(netns, device):
        _rx_handler[0](stack, netns, device, packet)
        return ""
    if packet.vlan is not None:
        packet.pkt_type = "otherhost"  # nobody here takes the tag off
    if packet.protocol not in _ptype_base:
        packet.dropped("no protocol takes it")
        return ""
    return device


def _vlan_do_receive(packet: Packet) -> None:
    """``vlan_do_receive``: the tag is gone. The VLAN has the hardware address of the device below: whom the packet is for stays so."""
    packet.vlan = None


open_softirq(net_rx_action)
