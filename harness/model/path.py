"""Which hook points a packet crosses: IPv4, IPv6 and devices, as far as they decide where ``nf_hook_slow`` is called.

The functions have the names of the IPv4 ones; IPv6 has the same points, in the same places, with the same devices. Each ends in the
packet's fate.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from ipaddress import ip_interface
from typing import Literal

from harness.model.entries import Entries
from harness.model.register import NETDEV_EGRESS, NETDEV_INGRESS, Core, Net
from harness.model.slow import Context, HookState, Skb, nf_hook_slow
from harness.netfilter import Family, hook_number
from harness.outcome.types import Fate, PacketOutcome, Traversal
from harness.scenario.routing import Address, Hop, family_of, lookup, source_address
from harness.scenario.topology import LOOPBACK, Topology

__all__ = ("Packet", "Stack")

Kind = Literal["udp", "echo request", "echo reply", "time exceeded", "net unreachable"]

_DEFAULT_TTL = 64
_QUOTED = {Family.IPV4: 576 - 20 - 8, Family.IPV6: 1280 - 40 - 8}
"""Bytes of a packet, its IP header included, that an ICMP error quotes at most."""
_IP6_OKFN = {"dst_output": "dst_output", "ip_finish_output": "ip6_finish_output", "ip_rcv_finish": "ip6_rcv_finish",
             "ip_forward_finish": "ip6_forward_finish", "ip_local_deliver_finish": "ip6_input_finish"}
_HEADERS = {Family.IPV4: 20 + 8, Family.IPV6: 40 + 8}
"""Bytes of IP header, and of UDP's or ICMP's."""


@dataclass(slots=True)
class Packet:
    """A packet under way. :param size: bytes of payload; :param sent_errno: positive, what ``sendto()`` answers"""

    skb: Skb
    kind: Kind
    source: Address | None
    destination: Address
    size: int
    summary: str
    ttl: int = _DEFAULT_TTL
    sent_errno: int = 0
    traversals: list[Traversal] = field(default_factory=list)

    @property
    def pf(self) -> Family:
        return family_of(self.destination)

    def outcome(self, fate: Fate) -> PacketOutcome:
        return PacketOutcome(self.summary, self.skb.cookie, fate, tuple(self.traversals), self.sent_errno)


@dataclass(slots=True)
class Stack:
    """The network stacks of a topology's namespaces.

    :param answers: packets that a stack sends because of one that it got, with the namespace that sends them; in order
    :param doubts: what the model cannot tell
    """

    topology: Topology
    core: Core
    nets: dict[str, Net]
    answers: list[tuple[str, Packet]] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    def sendto(self, netns: str, packet: Packet) -> Fate:
        """``sendto()`` on a socket bound to no address: ``udp_sendmsg``, ``raw_sendmsg``."""
        hop = lookup(self.topology, netns, packet.destination)
        if hop is None:
            packet.sent_errno = errno.ENETUNREACH
            return Fate("consumed", reason=f"no route in {netns}")
        return self._ip_local_out(netns, packet, hop)

    def _nf_hook(self, netns: str, packet: Packet, hook: str, indev: str, outdev: str, *, okfn: str) -> int:
        """``nf_hook``: a point whose head is NULL is passed without a call of nf_hook_slow."""
        pf = packet.pf
        number = hook_number(pf, hook)
        if pf is Family.IPV6:
            okfn = _IP6_OKFN[okfn]
        return self._run(packet, HookState(pf, number, netns, indev, outdev, okfn), self.nets[netns].hooks[pf][number].entries)

    def _nf_hook_device(self, netns: str, packet: Packet, hooknum: int, device: str) -> int:
        """``nf_hook_ingress``, ``nf_hook_egress`` ▲: the points of a device, whatever the packet's family."""
        egress = hooknum == NETDEV_EGRESS
        state = HookState(Family.NETDEV, hooknum, netns, "" if egress else device, device if egress else "")
        return self._run(packet, state, self.nets[netns].devices[device].hooks[hooknum].entries)

    def _run(self, packet: Packet, state: HookState, entries: Entries | None) -> int:
        if entries is None:
            return 1
        context = Context(packet.skb, state)
        ret = nf_hook_slow(context, entries, profile=self.core.profile)
        packet.traversals.append(Traversal(state.pf, state.hook, state.net, state.indev, state.outdev, tuple(context.calls), ret,
                                            state.okfn))
        return ret

    def _ip_local_out(self, netns: str, packet: Packet, hop: Hop) -> Fate:
        """``__ip_local_out``: OUTPUT has no input device. What sendto() answers is settled before the packet reaches a device."""
        ret = self._nf_hook(netns, packet, "OUTPUT", "", hop.device, okfn="dst_output")
        if ret == 1:
            ret = self._nf_hook(netns, packet, "POSTROUTING", "", hop.device, okfn="ip_finish_output")
        if ret != 1:
            packet.sent_errno = _sent_errno(packet, ret)
            return _fate(packet, ret)
        ret = self._nf_hook_device(netns, packet, NETDEV_EGRESS, hop.device)
        if ret != 1:
            # nf_hook_egress makes any errno NET_XMIT_DROP, net_xmit_errno makes that ENOBUFS
            packet.sent_errno = _sent_errno(packet, -errno.ENOBUFS) if ret < 0 else 0
            return _fate(packet, ret)
        return self._netif_receive(netns, packet, hop)

    def _ip_output(self, netns: str, packet: Packet, indev: str, hop: Hop) -> Fate:
        """``ip_output`` of a forwarded packet: POSTROUTING knows the input device (since 5.7), then the device's egress."""
        ret = self._nf_hook(netns, packet, "POSTROUTING", indev, hop.device, okfn="ip_finish_output")
        if ret == 1:
            ret = self._nf_hook_device(netns, packet, NETDEV_EGRESS, hop.device)
        return self._netif_receive(netns, packet, hop) if ret == 1 else _fate(packet, ret)

    def _netif_receive(self, netns: str, packet: Packet, hop: Hop) -> Fate:
        """``dev_queue_xmit`` to ``__netif_receive_skb_core``: lo hands a packet to itself, a veth to its peer."""
        if hop.device == LOOPBACK:
            return self._ip_rcv(netns, packet, LOOPBACK)
        peer = self.topology.peer(netns, hop.device)
        if all(hop.via != ip_interface(address).ip for address in peer.addresses):
            self.doubts.append(f"{hop.via} is not at the other end of {netns}/{hop.device}: the packet's fate cannot be told")
            return Fate("unknown", reason="no neighbour")
        return self._ip_rcv(peer.netns, packet, peer.device)

    def _ip_rcv(self, netns: str, packet: Packet, device: str) -> Fate:
        """The device's ingress, then ``ip_rcv``: PREROUTING, and where the route leads."""
        ret = self._nf_hook_device(netns, packet, NETDEV_INGRESS, device)
        if ret == 1:
            ret = self._nf_hook(netns, packet, "PREROUTING", device, "", okfn="ip_rcv_finish")
        if ret != 1:
            return _fate(packet, ret)
        hop = lookup(self.topology, netns, packet.destination)
        if hop is not None and hop.local:
            return self._ip_local_deliver(netns, packet, device)
        if netns not in self.topology.forwarding:
            return Fate("consumed", reason=f"{netns} does not forward")
        if hop is None:
            self._icmp_send(netns, packet, "net unreachable")
            return Fate("consumed", reason=f"no route in {netns}")
        return self._ip_forward(netns, packet, device, hop)

    def _ip_forward(self, netns: str, packet: Packet, device: str, hop: Hop) -> Fate:
        """``ip_forward``: the ttl is looked at before FORWARD."""
        if packet.ttl <= 1:
            self._icmp_send(netns, packet, "time exceeded")
            return Fate("consumed", reason=f"ttl ran out in {netns}")
        packet.ttl -= 1
        if hop.device == device:
            self.doubts.append(f"{netns} sends a packet out of {device} again, where it came in: it may answer with a redirect")
        ret = self._nf_hook(netns, packet, "FORWARD", device, hop.device, okfn="ip_forward_finish")
        return self._ip_output(netns, packet, device, hop) if ret == 1 else _fate(packet, ret)

    def _ip_local_deliver(self, netns: str, packet: Packet, device: str) -> Fate:
        """``ip_local_deliver``: INPUT; then a socket takes it, and ``icmp_echo`` answers."""
        ret = self._nf_hook(netns, packet, "INPUT", device, "", okfn="ip_local_deliver_finish")
        if ret != 1:
            return _fate(packet, ret)
        if packet.kind == "echo request":
            self._answer(netns, packet, "echo reply", packet.destination)
        return Fate("delivered")

    def _icmp_send(self, netns: str, packet: Packet, kind: Kind) -> None:
        """``icmp_send``: never about an error, and only an error that quotes all of the packet carries its cookie too."""
        if packet.kind in ("time exceeded", "net unreachable") or packet.source is None:
            return
        if _HEADERS[packet.pf] + packet.size <= _QUOTED[packet.pf]:
            self._answer(netns, packet, kind, source_address(self.topology, netns, packet.source))

    def _answer(self, netns: str, packet: Packet, kind: Kind, source: Address | None) -> None:
        if packet.source is None or lookup(self.topology, netns, packet.source) is None:
            return
        name = "icmpv6" if packet.pf is Family.IPV6 else "icmp"
        summary = f"{name} {kind} {source} > {packet.source}, ttl {_DEFAULT_TTL}"
        skb = Skb(packet.skb.cookie, packet.skb.nth + 1)
        self.answers.append((netns, Packet(skb, kind, source, packet.source, packet.size, summary)))


def _fate(packet: Packet, ret: int) -> Fate:
    """What became of a packet that a verdict loop did not let pass."""
    number = max(-ret, 0)
    match packet.skb.state:
        case "freed":
            return Fate("dropped", number)
        case "stolen":
            return Fate("stolen", number)
        case "queued":
            return Fate("queued", number)
        case _:
            return Fate("unknown", number, "an unconventional verdict: nobody freed the skb")


def _sent_errno(packet: Packet, ret: int) -> int:
    """What ``sendto()`` makes of the loop's answer: UDP and IPv4 raw sockets hide ENOBUFS unless IP_RECVERR is set."""
    hidden = ret == -errno.ENOBUFS and not (packet.pf is Family.IPV6 and packet.kind == "echo request")
    return 0 if hidden else max(-ret, 0)
