"""The bridge: ``net/bridge/br_input.c``, ``br_forward.c``, ``br_device.c``.

Its tables say where every neighbour is, without STP, multicast snooping and VLAN filtering.
"""

from __future__ import annotations

from functools import partial

from harness.model.path.device import dev_queue_xmit, netdev_rx_handler_register, netif_receive_skb, owner_of
from harness.model.path.packet import BROADCAST, Packet
from harness.model.path.stack import Stack
from harness.model.structures import HookState
from harness.netfilter import Family, hook_number
from harness.scenario.topology import Bridge

__all__ = ("br_dev_queue_push_xmit", "br_forward_finish", "br_handle_frame", "br_handle_frame_finish", "bridge_parent")

_BRIDGE = Family.BRIDGE


def bridge_parent(stack: Stack, netns: str, port: str) -> Bridge | None:
    """``bridge_parent``: the bridge of a port; ``None`` for what is no port."""
    return stack.topology.bridge_of(netns, port)


def _bridge_of(stack: Stack, netns: str, port: str) -> Bridge:
    """The bridge of a device that is a port for certain."""
    bridge = stack.topology.bridge_of(netns, port)
    assert bridge is not None  # noqa: S101
    return bridge


def br_handle_frame(stack: Stack, netns: str, port: str, packet: Packet) -> None:
    """``br_handle_frame``: a frame for the bridge's own address is for this host."""
    bridge = _bridge_of(stack, netns, port)
    if packet.mac == (netns, bridge.device):
        packet.pkt_type = "host"
    if nf_hook_bridge_pre(stack, netns, port, packet) == 1:
        br_handle_frame_finish(stack, netns, port, packet)


def nf_hook_bridge_pre(stack: Stack, netns: str, port: str, packet: Packet) -> int:
    """``nf_hook_bridge_pre``: its own loop, as ``nf_hook_slow`` but that nobody learns a drop's errno."""
    number = hook_number(_BRIDGE, "PREROUTING")
    state = HookState(_BRIDGE, number, netns, port, "", "br_handle_frame_finish")
    okfn = partial(br_handle_frame_finish, stack, netns, port)
    return stack.run(packet, state, stack.nets[netns].hooks[_BRIDGE][number].entries, okfn=okfn, loop="nf_hook_bridge_pre", errnos=False)


def br_handle_frame_finish(stack: Stack, netns: str, port: str, packet: Packet) -> int:
    """``br_handle_frame_finish``: up to this host, to one port, or to all."""
    bridge = _bridge_of(stack, netns, port)
    local = {(netns, bridge.device), *((netns, one) for one in bridge.ports)}
    if packet.mac == BROADCAST:
        _br_flood(stack, netns, bridge, packet, port=port, local_rcv=True)
        _br_pass_frame_up(stack, netns, port, packet)
    elif packet.mac in local:
        _br_pass_frame_up(stack, netns, port, packet)
    else:
        to = _br_fdb_find(stack, bridge, packet)
        if to is None:
            _br_flood(stack, netns, bridge, packet, port=port, local_rcv=False)
        elif to != port:
            _br_forward(stack, netns, port, to, packet)
        else:
            packet.dropped("it came by the port that it is for")
    return 0


def _br_fdb_find(stack: Stack, bridge: Bridge, packet: Packet) -> str | None:
    """``br_fdb_find``: the port that leads to a hardware address."""
    return next((port for port in bridge.ports if owner_of(stack.topology, bridge.netns, port, packet.mac)), None)


def _br_flood(stack: Stack, netns: str, bridge: Bridge, packet: Packet, *, port: str | None, local_rcv: bool) -> None:
    """``br_flood``: a clone for each port but the one it came by, the newest port first; the packet itself for the last, if it may.

    :param port: ``None`` for what the host sends
    """
    to = [one for one in reversed(bridge.ports) if one != port]
    if not to and not local_rcv:
        packet.dropped("there is no other port")
    for number, one in enumerate(to, 1):
        copy = packet if number == len(to) and not local_rcv else packet.clone()
        _br_forward(stack, netns, port, one, copy)


def _br_forward(stack: Stack, netns: str, port: str | None, to: str, packet: Packet) -> None:
    """``__br_forward``: FORWARD of what came by a port, OUTPUT of what the host sends."""
    point = "FORWARD" if port is not None else "OUTPUT"
    stack.nf_hook(netns, packet, (_BRIDGE, point), (port or "", to), partial(br_forward_finish, stack, netns, to))


def br_forward_finish(stack: Stack, netns: str, to: str, packet: Packet) -> int:
    """``br_forward_finish``: POSTROUTING does not know the input device."""
    return stack.nf_hook(netns, packet, (_BRIDGE, "POSTROUTING"), ("", to), partial(br_dev_queue_push_xmit, stack, netns, to))


def br_dev_queue_push_xmit(stack: Stack, netns: str, to: str, packet: Packet) -> int:
    """``br_dev_queue_push_xmit``."""
    return dev_queue_xmit(stack, netns, to, packet)


def _br_pass_frame_up(stack: Stack, netns: str, port: str, packet: Packet) -> None:
    """``br_pass_frame_up``: INPUT; then the packet comes in by the bridge."""
    bridge = _bridge_of(stack, netns, port)
    stack.nf_hook(netns, packet, (_BRIDGE, "INPUT"), (port, ""), partial(br_netif_receive_skb, stack, netns, bridge))


def br_netif_receive_skb(stack: Stack, netns: str, bridge: Bridge, packet: Packet) -> int:
    """``br_netif_receive_skb``."""
    netif_receive_skb(stack, netns, bridge.device, packet)
    return 0


def br_dev_xmit(stack: Stack, bridge: Bridge, packet: Packet) -> int:
    """``br_dev_xmit``: what the host sends out of the bridge."""
    to = None if packet.mac == BROADCAST else _br_fdb_find(stack, bridge, packet)
    if to is None:
        _br_flood(stack, bridge.netns, bridge, packet, port=None, local_rcv=False)
    else:
        _br_forward(stack, bridge.netns, None, to, packet)
    return 0


netdev_rx_handler_register(br_handle_frame, br_dev_xmit)
