"""A packet under way: one ``struct sk_buff``, and what all copies of it share."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from harness.model.structures import Skb, SkbState
from harness.netfilter import NETFILTER_DROP, Family
from harness.outcome.fate import Fate, FateKind
from harness.outcome.types import PacketOutcome, Traversal, by_namespace
from harness.scenario.addresses import Address
from harness.scenario.topology import Topology, Vlan

__all__ = ("BROADCAST", "NOBODY", "Ethertype", "Kind", "Mac", "NfBridge", "Packet", "PacketType", "Piece", "Record", "mac_of")

Kind = Literal["udp", "echo request", "echo reply", "time exceeded", "destination unreachable", "arp request", "arp reply", "frame"]

Ethertype = Literal["IPV4", "IPV6", "ARP", "other"]
"""``skb->protocol``, by the family whose functions take it."""

Mac = tuple[str, str]
"""A hardware address, by the namespace and the device that it belongs to (:func:`mac_of`)."""

BROADCAST: Mac = ("*", "broadcast")
NOBODY: Mac = ("*", "nobody")


def mac_of(topology: Topology, netns: str, device: str) -> Mac:
    """``dev->dev_addr``: a VLAN has that of the device below it."""
    one = topology.interface(netns, device)
    return mac_of(topology, netns, one.link) if isinstance(one, Vlan) else (netns, device)


PacketType = Literal["host", "broadcast", "otherhost", "outgoing"]
"""``skb->pkt_type``: ``PACKET_HOST`` …"""

DEFAULT_TTL = 64

_FATES: dict[SkbState, FateKind] = {"freed": "dropped", "stolen": "stolen", "queued": "queued"}


@dataclass(slots=True)
class Record:
    """What the copies of a packet have in common: where they came, and what becomes of them.

    :param sent_errno: positive, what ``sendto()`` answers
    :param skbs: which one made each traversal
    :param ends: what state it was in afterwards
    :param unknown: why the model cannot tell what becomes of it
    :param in_pieces: a hook point was crossed by a fragment
    :param has_socket: the UDP socket that sends it is there
    """

    kind: Kind
    summary: str
    traversals: list[Traversal | None] = field(default_factory=list)
    skbs: list[Packet] = field(default_factory=list)
    ends: list[SkbState] = field(default_factory=list)
    delivered: bool = False
    sent_errno: int = 0
    unknown: str | None = None
    in_pieces: bool = False
    has_socket: bool = False

    def enter(self, skb: Packet) -> int:
        """A verdict loop is entered.

        :returns: its place
        """
        self.traversals.append(None)
        self.skbs.append(skb)
        self.ends.append("in flight")
        return len(self.ends) - 1

    def leave(self, place: int, traversal: Traversal, end: SkbState) -> None:
        """Note that the loop at *place* has returned, which may be long after what it called."""
        self.traversals[place], self.ends[place] = traversal, end

    def outcome(self, cookie: int | None) -> PacketOutcome:
        """What became of the packet.

        :param cookie: that the packet carries
        """
        told = tuple((one, skb, end) for one, skb, end in zip(self.traversals, self.skbs, self.ends, strict=True) if one is not None)
        told = by_namespace(told, lambda entry: entry[0].netns) if self.in_pieces else told
        return PacketOutcome(self.summary, cookie, self._fate(*told[-1]) if told else self._unseen(), tuple(one for one, _, _ in told),
                             self.sent_errno, kind=self.kind)

    def _unseen(self) -> Fate:
        """What crossed no hook point: the stack's end of it is not seen."""
        if self.unknown:
            return Fate("unknown", reason=self.unknown)
        return Fate("delivered") if self.delivered else Fate("consumed")

    def _fate(self, last: Traversal, skb: Packet, end: SkbState) -> Fate:
        """Delivery of any copy; else what the last loop that was entered says, and of one that let the skb go on the stack."""
        if self.delivered:
            return Fate("delivered")
        if self.unknown:
            return Fate("unknown", reason=self.unknown)
        if last.returned == 1 or (end == "stolen" and _sends_on(last.calls[-1].function)):
            return skb.end or Fate("consumed")
        number = max(-(last.returned or 0), 0)
        if end in _FATES:
            return Fate(_FATES[end], number, _drop_reason(last))
        return Fate("unknown", number, "an unconventional verdict: nobody freed the skb")


def _drop_reason(last: Traversal) -> str | None:
    """Since 5.18 ``kfree_skb_reason``, where ``nf_hook_slow`` frees."""
    return NETFILTER_DROP if last.slow_drops else None


def _sends_on(function: str) -> bool:
    """Whether a hook that says STOLEN has sent the skb on: ``br_netfilter``'s do."""
    return function.startswith("br_nf_") or function == "ip_sabotage_in"


@dataclass(slots=True)
class NfBridge:
    """``struct nf_bridge_info``.

    :param physindev: port that the frame came in by
    :param physoutdev: port that it leaves by, once it was forwarded
    :param otherhost: the packet type was ``PACKET_OTHERHOST``
    """

    physindev: str
    physoutdev: str | None = None
    in_prerouting: bool = True
    sabotage_in_done: bool = False
    otherhost: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """A fragment.

    :param index: from 0
    :param last: the one without "more fragments"
    :param size: of its payload, bytes
    """

    index: int
    last: bool
    size: int


@dataclass(slots=True, kw_only=True)
class Packet(Skb):
    """One ``struct sk_buff``.

    :param source: of the IP or ARP header, as is *destination*
    :param size: bytes of payload behind the transport header
    :param mac: destination of the frame, once it has one
    :param group: its first frame is for a group, whatever the neighbour's hardware address
    :param vlan: the tag that it carries
    :param piece: the fragment that it is; ``None`` for a whole datagram
    :param segment: it stands for several packets of so much payload each, which a device or the receiver takes apart
    :param about: of an ICMP error the packet that it answers
    :param end: that it came to behind the hook points
    """

    walk: Record
    kind: Kind
    protocol: Ethertype
    source: Address | None = None
    destination: Address | None = None
    size: int = 0
    ttl: int = DEFAULT_TTL
    mac: Mac = BROADCAST
    group: bool = False
    vlan: int | None = None
    pkt_type: PacketType = "outgoing"
    nf_bridge: NfBridge | None = None
    piece: Piece | None = None
    segment: int | None = None
    about: Packet | None = None
    end: Fate | None = None

    @property
    def pf(self) -> Family:
        """The family of the IP hook points that the packet crosses."""
        return Family[self.protocol]

    def clone(self) -> Packet:
        """``skb_clone``: another skb of the same packet."""
        return replace(self, nf_bridge=replace(self.nf_bridge) if self.nf_bridge else None, end=None)

    def dropped(self, why: str) -> None:
        """``kfree_skb``."""
        self.end = Fate("dropped by the stack", reason=why)

    def consumed(self, why: str) -> None:
        """``consume_skb``."""
        self.end = Fate("consumed", reason=why)
