"""Fragments: ``net/ipv4/ip_output.c`` and ``ip_fragment.c``, ``net/ipv6/ip6_output.c`` and ``reassembly.c``."""

from __future__ import annotations

from dataclasses import replace

from harness.model.path.packet import Packet, Piece
from harness.model.path.stack import Stack
from harness.model.structures import HookState
from harness.netfilter import Family, Verdict, VerdictKind

__all__ = ("HOOKS", "MTU", "ip_defrag", "ip_fragment", "length", "pieces", "too_large")

MTU = 1500
"""Of every device but lo."""

_TRANSPORT = 8
"""Bytes of UDP's header, and of an echo request's."""
_IP = {Family.IPV4: 20, Family.IPV6: 40}
_FRAGMENT = {Family.IPV4: 0, Family.IPV6: 8}
"""Bytes of header that only fragments have."""


def too_large(packet: Packet) -> bool:
    """Whether a packet does not go through a device in one piece."""
    return packet.piece is None and length(packet) > MTU


def length(packet: Packet) -> int:
    """``skb->len``: bytes, the IP header among them, and that which only fragments have."""
    if packet.piece is None:
        return _IP[packet.pf] + _TRANSPORT + packet.size
    return _IP[packet.pf] + _FRAGMENT[packet.pf] + packet.piece.size


def ip_fragment(packet: Packet) -> list[Packet]:
    """``ip_do_fragment``, ``ip6_fragment``: pieces as large as they may be, in multiples of eight bytes."""
    room = MTU - _IP[packet.pf] - _FRAGMENT[packet.pf] & ~7
    return pieces(packet, room)


def pieces(packet: Packet, room: int) -> list[Packet]:
    """A datagram in pieces.

    :param room: bytes of payload in each, the transport header among them
    """
    total = _TRANSPORT + packet.size
    starts = range(0, total, room)
    return [replace(packet.clone(), piece=Piece(index, start + room >= total, min(room, total - start)))
            for index, start in enumerate(starts)]


def ip_defrag(stack: Stack, netns: str, user: str, packet: Packet) -> bool:
    """``ip_defrag``: whether the packet is whole, or was the last piece that its datagram waited for, and is the datagram now.

    :param user: ``enum ip_defrag_users``: who waits, so that two do not take each other's pieces
    """
    if packet.piece is None:
        return True
    queue = stack.pieces.setdefault((netns, user, packet.cookie), {})
    queue[packet.piece.index] = packet.piece
    last = next((piece.index for piece in queue.values() if piece.last), None)
    if last is None or len(queue) <= last:
        return False
    del stack.pieces[netns, user, packet.cookie]
    packet.piece = None
    return True


def ipv4_conntrack_defrag(stack: Stack, packet: Packet, state: HookState) -> Verdict:
    """``ipv4_conntrack_defrag``, ``ipv6_defrag``: hooks that keep fragments until the datagram is whole."""
    whole = ip_defrag(stack, state.net, f"conntrack {state.hook}", packet)
    return Verdict(VerdictKind.ACCEPT if whole else VerdictKind.STOLEN)


def ipv6_defrag(stack: Stack, packet: Packet, state: HookState) -> Verdict:
    """``ipv6_defrag``."""
    return ipv4_conntrack_defrag(stack, packet, state)


HOOKS = (ipv4_conntrack_defrag, ipv6_defrag)
