"""IPv4 and IPv6: ``net/ipv4/ip_input.c``, ``ip_forward.c``, ``ip_output.c``, ``icmp.c``, and their like in ``net/ipv6``."""

from __future__ import annotations

import errno
from functools import partial

from harness.model.conntrack import nf_ct_attach
from harness.model.path import fragment
from harness.model.path.device import dev_add_pack, dev_queue_xmit
from harness.model.path.packet import BROADCAST, DEFAULT_TTL, Kind, Packet, Record
from harness.model.path.stack import Stack
from harness.model.sysctl import FORWARDING
from harness.netfilter import Family
from harness.scenario.addresses import Address, ip_interface
from harness.scenario.routing import Hop, lookup, owns, source_address
from harness.scenario.steps.sysctl import RP_FILTER
from harness.scenario.topology import LOOPBACK

__all__ = ("ip_local_out", "ip_rcv", "ip_rcv_finish", "ip_send")

_QUOTED = {Family.IPV4: 576 - 20 - 8, Family.IPV6: 1280 - 40 - 8}
"""Bytes of a packet, its IP header included, that an ICMP error quotes at most."""


def ip_send(stack: Stack, netns: str, packet: Packet) -> int:
    """A packet of the host's own, to wherever the route leads.

    :returns: 0 or a negative errno
    """
    assert packet.destination is not None  # noqa: S101 - an IP packet has one
    hop = lookup(stack.topology, netns, packet.destination)
    if hop is None:
        return -errno.ENETUNREACH
    return ip_local_out(stack, netns, packet, hop)


def ip_local_out(stack: Stack, netns: str, packet: Packet, hop: Hop) -> int:
    """``ip_local_out``, ``raw_send_hdrinc``: OUTPUT has no input device."""
    return stack.nf_hook(netns, packet, (packet.pf, "OUTPUT"), ("", hop.device), partial(dst_output, stack, netns, "", hop))


def dst_output(stack: Stack, netns: str, indev: str, hop: Hop, packet: Packet) -> int:
    """``dst_output`` to ``ip_output``: POSTROUTING knows the device that a forwarded packet came in by (since 5.7)."""
    return stack.nf_hook(netns, packet, (packet.pf, "POSTROUTING"), (indev, hop.device), partial(ip_finish_output, stack, netns, hop))


def ip_finish_output(stack: Stack, netns: str, hop: Hop, packet: Packet) -> int:
    """``ip_finish_output``: a packet that is too large for the device is fragmented, unless the device or the receiver segments it."""
    if hop.device == LOOPBACK or packet.segment or not fragment.too_large(packet):
        return _ip_finish_output2(stack, netns, hop, packet)
    first, *others = fragment.ip_fragment(packet)
    packet.piece = first.piece  # the datagram's own skb
    for piece in (packet, *others):
        ret = _ip_finish_output2(stack, netns, hop, piece)
        if ret < 0:
            return ret
    return 0


def _ip_finish_output2(stack: Stack, netns: str, hop: Hop, packet: Packet) -> int:
    """``ip_finish_output2``: the neighbour's hardware address, then the device. Neighbours are permanent."""
    if hop.via is not None:
        mac = stack.neighbours.lookup(netns, hop.device, hop.via)
        if mac is None:
            stack.doubts.append(f"{netns}/{hop.device} knows nobody who has {hop.via}: the packet's fate cannot be told")
            packet.walk.unknown = "no neighbour"
            return 0
        packet.mac, packet.group = BROADCAST if packet.group else mac, False
    return dev_queue_xmit(stack, netns, hop.device, packet)


def ip_rcv(stack: Stack, netns: str, device: str, packet: Packet) -> None:
    """``ip_rcv``, ``ipv6_rcv``: PREROUTING, but for what was meant for another host."""
    if _ip_rcv_core(netns, packet):
        stack.nf_hook(netns, packet, (packet.pf, "PREROUTING"), (device, ""), partial(ip_rcv_finish, stack, netns, device))


def ip_list_rcv(stack: Stack, netns: str, device: str, packets: list[Packet]) -> None:
    """``ip_list_rcv``, ``ipv6_list_rcv``: PREROUTING of the whole list (``nf_hook_slow_list``), then on with what is left of it."""
    okfn = partial(ip_rcv_finish, stack, netns, device)
    for packet in [packet for packet in packets if _ip_rcv_core(netns, packet)
                   and stack.nf_hook_list(netns, packet, (packet.pf, "PREROUTING"), (device, ""), okfn)]:
        okfn(packet)


def _ip_rcv_core(netns: str, packet: Packet) -> bool:
    """``ip_rcv_core``: whether the packet is for this host."""
    if packet.pkt_type == "otherhost":
        packet.dropped(f"for another host than {netns}")
    return packet.pkt_type != "otherhost"


def ip_rcv_finish(stack: Stack, netns: str, device: str, packet: Packet) -> int:
    """``ip_rcv_finish``: where the route leads. IPv6 answers where none does (``ip6_pkt_discard``), IPv4 of a host that forwards."""
    assert packet.destination is not None  # noqa: S101 - an IP packet has one
    if device != LOOPBACK:  # what comes by lo was bound at OUTPUT
        packet.destination = stack.nat.redirected(stack.topology, netns, device, packet, packet.destination)
    hop = lookup(stack.topology, netns, packet.destination)
    if hop is not None and (wrong := _fib_validate_source(stack, netns, device, packet)):
        packet.dropped(wrong)
    elif hop is not None and hop.local:
        ip_local_deliver(stack, netns, device, packet)
    elif hop is None and (packet.pf is Family.IPV6 or _forwards(stack, netns, packet.pf)):
        packet.dropped(f"no route in {netns}")
        _icmp_send(stack, netns, packet, "destination unreachable")
    elif hop is None or not _forwards(stack, netns, packet.pf):
        packet.dropped(f"{netns} does not forward")
    else:
        ip_forward(stack, netns, device, hop, packet)
    return 0


def _forwards(stack: Stack, netns: str, pf: Family) -> bool:
    """``IN_DEV_FORWARD`` of every device."""
    return bool(stack.nets[netns].sysctl[FORWARDING[pf]])


def _fib_validate_source(stack: Stack, netns: str, device: str, packet: Packet) -> str:
    """``fib_validate_source``: IPv4 takes no packet from its own address but by lo.

    :returns: why the packet is dropped; empty if it is not
    """
    if packet.pf is not Family.IPV4 or device == LOOPBACK or packet.source is None:
        return ""
    if _is_martian(stack, netns, packet.source):
        return f"its source is {netns}'s own"
    return "" if _rp_filter(stack, netns, device, packet.source) else f"{device} does not lead to its source"


def _is_martian(stack: Stack, netns: str, source: Address) -> bool:
    return owns(stack.topology, netns, source)


def _rp_filter(stack: Stack, netns: str, device: str, source: Address) -> bool:
    """``__fib_validate_source``: with ``rp_filter`` 1 the way back is by the same device, with 2 there is one.

    A device without IPv4 addresses is no way back either.
    """
    strictness = stack.nets[netns].sysctl[RP_FILTER]
    back = lookup(stack.topology, netns, source)
    if not strictness or (back is not None and back.device == device):
        return True
    addressed = any(ip_interface(own).version == 4 for own in stack.topology.interface(netns, device).addresses)
    return back is not None and strictness != 1 and addressed


def ip_forward(stack: Stack, netns: str, device: str, hop: Hop, packet: Packet) -> None:
    """``ip_forward``: the ttl is looked at before FORWARD."""
    if packet.ttl <= 1:
        packet.dropped(f"ttl ran out in {netns}")
        _icmp_send(stack, netns, packet, "time exceeded")
        return
    packet.ttl -= 1
    stack.nf_hook(netns, packet, (packet.pf, "FORWARD"), (device, hop.device), partial(ip_forward_finish, stack, netns, device, hop))


def ip_forward_finish(stack: Stack, netns: str, device: str, hop: Hop, packet: Packet) -> int:
    """``ip_forward_finish``."""
    return dst_output(stack, netns, device, hop, packet)


def ip_local_deliver(stack: Stack, netns: str, device: str, packet: Packet) -> None:
    """``ip_local_deliver``: IPv4 puts fragments together before INPUT, IPv6 behind it (``ipv6_frag_rcv``)."""
    if packet.pf is Family.IPV4 and not fragment.ip_defrag(stack, netns, "local", packet):
        return
    stack.nf_hook(netns, packet, (packet.pf, "INPUT"), (device, ""), partial(ip_local_deliver_finish, stack, netns))


def ip_local_deliver_finish(stack: Stack, netns: str, packet: Packet) -> int:
    """``ip_local_deliver_finish``: a socket takes it, ``icmp_echo`` answers."""
    if packet.pf is Family.IPV6 and not fragment.ip_defrag(stack, netns, "local", packet):
        return 0
    if packet.about is not None:
        _icmp_unreach(packet, packet.about)
        return 0
    packet.walk.delivered = True
    if packet.kind == "echo request":
        _answer(stack, netns, packet, "echo reply", own=True)
    return 0


def _icmp_unreach(packet: Packet, about: Packet) -> None:
    """``icmp_unreach``, ``icmpv6_notify``: UDP looks for the socket that an error is about. Raw sockets send most datagrams.

    What the handlers of other protocols do is not told; the protocol of an IPv6 fragment is not among the bytes that are recorded.
    """
    if about.walk.has_socket and (about.piece is None or about.piece.index == 0):
        packet.walk.delivered = True
    elif about.kind == "udp" and (about.pf is Family.IPV4 or about.piece is None):
        packet.dropped("no socket waits for it")
    else:
        packet.consumed("an ICMP error")


def _icmp_send(stack: Stack, netns: str, packet: Packet, kind: Kind) -> None:
    """``icmp_send``, ``icmp6_send``: never about an error; IPv4 only about the first fragment of a datagram, IPv6 about each.

    Only an error that quotes all of the packet carries its cookie too.
    """
    if packet.kind not in ("udp", "echo request", "echo reply") or packet.source is None:
        return
    if packet.pf is Family.IPV4 and packet.piece is not None and packet.piece.index > 0:
        return
    # A payload repeats its cookie: a quotation that is cut at a multiple of eight bytes from its end carries it as well.
    lacking = fragment.length(packet) - _QUOTED[packet.pf]
    if lacking <= 0 or lacking % 8 == 0:
        answer = _answer(stack, netns, packet, kind, own=False)
        if answer is not None:
            answer.about = packet
            nf_ct_attach(stack.tracking, answer.ct, packet.ct)


def _answer(stack: Stack, netns: str, packet: Packet, kind: Kind, *, own: bool) -> Packet | None:
    """The packet that the stack answers with: an ICMP error, an echo reply.

    :param own: from the address that was asked, not from that of the device it leaves by
    """
    if packet.source is None or lookup(stack.topology, netns, packet.source) is None:
        return None
    source = packet.destination if own else source_address(stack.topology, netns, packet.source)
    name = "icmpv6" if packet.pf is Family.IPV6 else "icmp"
    walk = Record(kind, f"{name} {kind} {source} > {packet.source}, ttl {DEFAULT_TTL}")
    answer = Packet(walk=walk, cookie=packet.cookie, nth=packet.nth + 1, kind=kind, protocol=packet.protocol, source=source,
                    destination=packet.source, size=packet.size if own else min(fragment.length(packet), _QUOTED[packet.pf]))
    stack.answers.append((partial(ip_send, stack, netns), answer))
    return answer


dev_add_pack("IPV4", ip_rcv, ip_list_rcv)
dev_add_pack("IPV6", ip_rcv, ip_list_rcv)
