"""ARP: ``net/ipv4/arp.c``."""

from __future__ import annotations

from functools import partial

from harness.model.path.device import dev_add_pack, dev_queue_xmit
from harness.model.path.packet import BROADCAST, Kind, Mac, Packet, Record, mac_of
from harness.model.path.stack import Stack
from harness.netfilter import Family
from harness.scenario.addresses import Address
from harness.scenario.routing import owns

__all__ = ("arp_packet", "arp_send")


def arp_send(stack: Stack, netns: str, device: str, packet: Packet) -> int:
    """``arp_send_dst`` to ``arp_xmit``: OUTPUT has no input device."""
    return stack.nf_hook(netns, packet, (Family.ARP, "OUTPUT"), ("", device), partial(arp_xmit_finish, stack, netns, device))


def arp_xmit_finish(stack: Stack, netns: str, device: str, packet: Packet) -> int:
    """``arp_xmit_finish``."""
    return dev_queue_xmit(stack, netns, device, packet)


def arp_rcv(stack: Stack, netns: str, device: str, packet: Packet) -> None:
    """``arp_rcv``: INPUT, but for what was meant for another host."""
    if packet.pkt_type == "otherhost":
        packet.consumed(f"for another host than {netns}")
        return
    stack.nf_hook(netns, packet, (Family.ARP, "INPUT"), (device, ""), partial(arp_process, stack, netns, device))


def arp_process(stack: Stack, netns: str, device: str, packet: Packet) -> int:
    """``arp_process``: a request for one of our addresses is answered, everything is consumed."""
    assert packet.source is not None and packet.destination is not None  # noqa: S101 - an ARP packet has both
    packet.consumed("arp_process")
    if packet.kind == "arp request" and owns(stack.topology, netns, packet.destination):
        asker = _asker(stack, netns, device, packet.source)
        if asker is not None:
            answer = arp_packet("arp reply", packet.destination, packet.source, asker, packet.cookie)
            stack.answers.append((partial(arp_send, stack, netns, device), answer))
    return 0


def _asker(stack: Stack, netns: str, device: str, address: Address) -> Mac | None:
    for one in stack.topology.segment(netns, device):
        if any(own.partition("/")[0] == str(address) for own in one.addresses):
            return mac_of(stack.topology, one.netns, one.device)
    return None


def arp_packet(kind: Kind, source: Address, target: Address, mac: Mac, cookie: int | None) -> Packet:
    """``arp_create``.

    :param mac: :data:`BROADCAST` of a request
    """
    says = f"who has {target}? tell {source}" if mac == BROADCAST else f"{source} answers {target}"
    return Packet(walk=Record(kind, f"ARP {says}"), cookie=cookie, nth=int(kind == "arp reply"), kind=kind, protocol="ARP", source=source,
                  destination=target, mac=mac)


dev_add_pack("ARP", arp_rcv)
