"""Where packets enter a stack: what a program sends, and what the kernel asks of itself."""

from __future__ import annotations

import errno
from collections.abc import Callable

from harness.model.path import brnf, fragment
from harness.model.path.arp import arp_packet, arp_send
from harness.model.path.device import dev_queue_xmit
from harness.model.path.ip import ip_send
from harness.model.path.packet import BROADCAST, Packet
from harness.model.path.stack import Stack
from harness.model.structures import Context, HookFunction, HookOps, HookState
from harness.netfilter import Family, Verdict, hook_number
from harness.scenario.addresses import Address

__all__ = ("arp_solicit", "known_hooks", "register_br_netfilter", "send_frame", "sendto", "settle")


def sendto(stack: Stack, netns: str, packet: Packet) -> None:
    """``sendto()`` on a socket bound to no address: ``udp_sendmsg``, ``raw_sendmsg``. What it answers is settled before a device has it."""
    pieces = [packet] if packet.piece is None else fragment.pieces(packet, packet.piece.size)
    for piece in pieces:  # each is sent, also after one that was refused
        refused = _sent_errno(packet, ip_send(stack, netns, piece))
        packet.walk.sent_errno = packet.walk.sent_errno or refused


def _sent_errno(packet: Packet, ret: int) -> int:
    """What ``sendto()`` makes of an answer: UDP and IPv4 raw sockets hide ENOBUFS unless IP_RECVERR is set."""
    hidden = ret == -errno.ENOBUFS and not (packet.pf is Family.IPV6 and packet.kind == "echo request")
    return 0 if hidden else max(-ret, 0)


def send_frame(stack: Stack, netns: str, device: str, packet: Packet) -> None:
    """``packet_snd``: a frame out of a device, past every IP hook point."""
    packet.walk.sent_errno = max(-dev_queue_xmit(stack, netns, device, packet), 0)


def arp_solicit(stack: Stack, netns: str, device: str, addresses: tuple[Address, Address], *, cookie: int) -> Packet:
    """``arp_solicit``: the kernel asks for a neighbour.

    :param addresses: who asks, and for whom
    :returns: the request
    """
    packet = arp_packet("arp request", *addresses, BROADCAST, cookie)
    arp_send(stack, netns, device, packet)
    return packet


def settle(stack: Stack) -> list[Packet]:
    """Send what the stacks answer, and what is answered to that.

    :returns: the answers, in order
    """
    sent = []
    while stack.answers:
        send, packet = stack.answers.pop(0)
        send(packet)
        sent.append(packet)
    return sent


def register_br_netfilter(stack: Stack) -> None:
    """``brnf_device_event``: the first bridge of a namespace brings the hooks of ``br_netfilter``, where that is loaded."""
    known = known_hooks(stack)
    if not any(bridge.netfilter for bridge in stack.topology.bridges):
        return
    for netns in dict.fromkeys(bridge.netns for bridge in stack.topology.bridges):
        for pf, hook, priority, function in brnf.br_nf_ops:
            name = function.__name__
            ops = HookOps(known[name], name, "br_netfilter", pf, hook_number(pf, hook), priority)
            stack.core.nf_register_net_hook(stack.nets[netns], ops)


def known_hooks(stack: Stack) -> dict[str, HookFunction]:
    """Foreign hooks that decide where a packet goes, by symbol: what they do is predicted, not adopted."""
    def bound(hook: Callable[[Stack, Packet, HookState], Verdict]) -> HookFunction:
        def call(_ops: HookOps, context: Context) -> Verdict:
            assert isinstance(context.skb, Packet)  # noqa: S101 - private arrays hold hooks of ours only
            return hook(stack, context.skb, context.state)
        return call
    return {hook.__name__: bound(hook) for hook in (*brnf.HOOKS, *fragment.HOOKS)}
