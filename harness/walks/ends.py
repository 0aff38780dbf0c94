"""To which end a packet came, as the last verdict loop and what followed it tell (the vocabulary: :mod:`harness.outcome.fate`)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from errno import ENOBUFS, ESRCH

from harness.netfilter import Family, Verdict, VerdictKind, errno_name
from harness.outcome.fate import Fate, FateKind
from harness.outcome.types import NF_REINJECT, by_namespace
from harness.walks.events import Came, End, How, Turn
from harness.walks.lives import BELOW_IP, Life, LoopRun, Packet
from harness.walks.summary import (
    concerns,
    flow_of,
    is_answer,
    is_bare,
    is_discarded,
    is_fin,
    is_fragment,
    is_syn,
    kind_of,
    protocol_of,
    transport_of,
    useless_to_icmpv6,
)
from harness.walks.symbol import Symbol

__all__ = ("Ends", "in_order")

_LOOPBACK = "lo"
_NO_REASON = "NOT_SPECIFIED"

_ASSUMES_FAILURE = ("icmpv6_rcv",)
"""Frees what it acted upon as well ("until the v6 path can be better sorted assume failure"); a reason or the packet tells a drop."""

_LISTENER_QUERY = "icmp type 130"
"""What MLD consumes whether it is one to heed or not (``net/ipv6/mcast.c``)."""

_CLOSE = ("udp_destruct_common", "udp_destruct_sock", "udpv6_destruct_sock", "inet_sock_destruct", "sk_stream_kill_queues",
          "tcp_disconnect", "skb_rbtree_purge")
"""Where a socket that closes frees what it had received and nobody had read."""

_RAW_ALONE = ("ip_local_deliver_finish", "ip_protocol_deliver_rcu", "ip6_input_finish", "ip6_protocol_deliver_rcu")
"""Where an skb is consumed that no protocol was there for, and that was offered to raw sockets."""

_PROTOCOLS = (0, 1, 2, 4, 6, 17, 33, 41, 43, 44, 47, 50, 51, 58, 59, 60, 103, 108, 115, 132, 135, 136, 137, 143)
"""Those for which kernels have more than raw sockets (``inet_add_protocol``, ``inet6_add_protocol``), extension headers among them."""

_FRAGMENTS = ("inet_frag_rbtree_purge", "inet_frag_destroy", "inet_frag_destroy_rcu")
"""Where fragments are freed that no datagram was made of; newer kernels call that consumed where it was not their time that ran out."""

_TCP_RECEIVES = ("tcp_rcv_established", "tcp_rcv_state_process", "tcp_data_queue", "tcp_v4_do_rcv", "tcp_v6_do_rcv")
"""Where TCP frees a segment at once: one without data that it has acted upon, or one that it has no use for."""

_TCP_REFUSES = ("tcp_validate_incoming", "tcp_drop")
"""Where TCP frees what it has no use for; kernels without a reason there (before 5.18) do so by no tracepoint."""

_TCP_CLOSES = ("tcp_rcv_state_process",)
"""Where TCP frees an ACK that it has acted upon while the connection closes; where there are reasons, what is of no use has one."""

_TCP_HANDS_OVER = ("tcp_v4_do_rcv", "tcp_v6_do_rcv")
"""Whose tail calls end in ``tcp_drop``: what ``tcp_rcv_established`` has no use for. What it acted upon it frees before its own end."""

_REFUSED = ("nf_queue", "__nf_queue")
"""Where a packet is freed that no queue took (``net/netfilter/nf_queue.c``)."""

_REJECTS = ("nft_reject_bridge_", "nft_reject_netdev_")

_REFUSALS = {ESRCH: "has no listener", ENOBUFS: "is full, or its listener's socket is"}
"""What ``nfqnl_enqueue_packet`` says of a queue that does not take a packet."""

_QUESTIONS = ("echo request", "icmp type 13", "icmp type 42", "icmp type 160")
"""What ICMP consumes whether it answers or not; type 13 asks for the time, 42 and ICMPv6's 160 for a device (RFC 8335)."""

_LOOKED_FOR = (6, 17)
"""Protocols of whose ICMP errors it is told whether there was a socket: TCP, UDP."""

_TUNNELS = ("geneve_xmit", "vxlan_xmit", "bareudp_xmit", "gtp_dev_xmit")
"""Drivers that send the same skb on, in another packet, and consume it (``dev_kfree_skb``) only if they cannot."""

_PROXY = "vxlan_xmit"
"""Answers what asks for a neighbour itself, if it is to (``arp_reduce``, ``neigh_reduce``), and consumes the question as well."""

_ASKS_FOR_NEIGHBOURS = ("arp request", "neighbour solicitation")

_MADE_WHOLE = (Came.REASSEMBLED, Came.MERGED)

_OF_ITS_SKB = ("consumed", "dropped by the stack", "sent", "absorbed", "segmented", "unknown")
"""Ends of one skb behind the hook points; another skb of the packet may have come further."""


def _header(run: LoopRun) -> tuple[int, bytes]:
    """``skb->protocol`` and the first bytes of the packet that an skb goes on as: of what fragments became, the first fragment's."""
    headers = [(entry.protocol, entry.head) for entry in (run.entry, *(part.runs[-1].entry for part in run.life.parts))]
    return next((header for header in headers if transport_of(*header)[2] == 0), headers[0])


def _tapped(last: Turn | None, reason: str | None) -> Fate | None:
    """What became of a packet that only a packet socket had a use for; ``None`` for others."""
    if last is None or last.what is not Came.TAPPED:
        return None
    return Fate("dropped by the stack", reason=", ".join(filter(None, ("only a packet socket got it", reason))))


def _has_ended(run: LoopRun) -> bool:
    """Whether the skb came to its end before the verdict loop returned."""
    return run.life.ended is not None and run.left is not None and run.life.ended < run.left


def in_order(packet: Packet) -> Sequence[LoopRun]:
    """The packet's runs, those of one in fragments as :func:`harness.outcome.types.by_namespace` has them."""
    if any(is_fragment(run.entry.protocol, run.entry.head) for run in packet.runs):
        return by_namespace(packet.runs, lambda run: run.entry.netns)
    return packet.runs


class Ends:
    """Tells ends.

    :param function: address → symbol that covers it
    :param reasons: ``enum skb_drop_reason``
    :param loops: names of the loops by their number
    :param tells: what would have been told of packets between hook points if it had happened
    """

    def __init__(self, function: Callable[[int], Symbol | None], reasons: Mapping[int, str], loops: Sequence[str], *,
                 tells: Collection[Came] = frozenset(Came)) -> None:
        self._function, self._reasons, self._loops, self._tells = function, reasons, loops, tells
        #: Whether TCP passes a tracepoint with what it has no use for, and a reason.
        self._tells_tcp = any(name.startswith("TCP_") for name in reasons.values())
        #: Whether ``tcp_rcv_state_process`` has a reason for each segment that is of no use to it.
        self._gives_reasons = "TCP_CLOSE" in reasons.values()

    def of(self, packet: Packet) -> Fate:
        """The end that the last run tells; delivery of another skb of the packet, if that one's was an end behind the hook points."""
        last = in_order(packet)[-1]
        fate = self._of_run(last)
        if fate.kind not in _OF_ITS_SKB or last.exit is None:
            return fate
        others = (self._of_run(life.runs[-1]) for life in packet.lives if life is not last.life)
        return next((other for other in others if other.kind == "delivered"), fate)

    def _of_run(self, run: LoopRun) -> Fate:
        if run.exit is None:
            return Fate("unknown", reason="the verdict loop was not seen to return")
        life, since = run.life, run.calls[-1][0] if run.calls else run.place
        if run.exit.returned == 1 or self._is_brouted(run):
            return self._behind(run, since)
        before = run.calls[-2][0] if len(run.calls) > 1 else run.place
        errno = max(0, -run.exit.returned)
        ended = _has_ended(run)
        verdict = self._last(run)
        reason = self._reason(life.end)
        answered = life.came(Came.ANSWERED, before, since) or self._rejects(run, before, since)
        dropped = Fate("rejected" if answered else "dropped", errno, reason)
        if verdict is VerdictKind.STOLEN:
            return self._stolen(run, before, dropped)
        if verdict is VerdictKind.QUEUE:
            return self._queued(run, before, errno, ended=ended)
        if verdict is VerdictKind.DROP or (ended and self._loops[run.entry.loop] == NF_REINJECT):
            return dropped
        return Fate("unknown", errno, reason)

    def _is_brouted(self, run: LoopRun) -> bool:
        """Whether ``br_handle_frame`` left an accepted packet to the host (``meta broute set 1``)."""
        return run.entry.pf == Family.BRIDGE and self._last(run) is VerdictKind.ACCEPT and not _has_ended(run)

    def _rejects(self, run: LoopRun, before: int, since: int) -> bool:
        """Whether a reject of nftables' on a bridge or of a device answered (``nft_reject_bridge_eval``).

        Where it is not told what such a reject makes, an answer that was seen at a hook point says so.
        """
        if run.entry.pf in BELOW_IP and run.life.came(Came.REJECTED, before, since):
            return True
        decision = run.calls[-1][1].decision if run.calls else None
        expression = self._function(decision.function) if decision and decision.function else None
        return run.life.answered and expression is not None and expression.name.startswith(_REJECTS)

    def _last(self, run: LoopRun) -> VerdictKind | None:
        """The last hook's verdict; a listener's answer where no hook was called behind it."""
        if run.calls:
            number = run.calls[-1][1].verdict
        elif self._loops[run.entry.loop] == NF_REINJECT:
            number = run.entry.answer
        else:
            return None
        return Verdict.decode(number).kind

    def _stolen(self, run: LoopRun, before: int, dropped: Fate) -> Fate:
        """What a hook that returned STOLEN did: it freed the skb, sent it on, handed it to the stack, or keeps it."""
        life, (since, call) = run.life, run.calls[-1]
        if life.into or life.came(Came.XMIT, before) or life.came(Came.LOCAL, before) or self._is_at(life.end, _FRAGMENTS):
            return self._behind(run, before)
        freed = life.end is not None and life.end.how is How.FREED and life.ended is not None
        if not freed:
            return Fate("stolen", dropped.errno, dropped.reason)
        inside = before < (life.ended or 0) < since
        if inside and (Verdict.decode(call.verdict).errno or self._is_thiefs(call.function, life.end)):
            return dropped
        return Fate("stolen", dropped.errno, dropped.reason) if self._is_thiefs(call.function, life.end) else self._behind(run, before)

    def _is_thiefs(self, hook: int, end: End | None) -> bool:
        """Whether the place that freed an skb is the hook's own function, or in its module."""
        own, place = self._function(hook), self._function(end.location) if end and end.location else None
        if own is None or place is None:
            return False
        return own.name == place.name if own.module is None else own.module == place.module

    def _queued(self, run: LoopRun, before: int, errno: int, *, ended: bool) -> Fate:
        life, reason = run.life, self._reason(run.life.end)
        if not ended:
            return Fate("queued", errno, reason)
        if self._is_at(life.end, _REFUSED):
            return Fate("dropped", errno, f"its queue {self._refusal(run, before)}, in {reason}")
        return Fate("segmented", reason=reason) if life.came(Came.SEGMENTED, before, run.left) else Fate("dropped", errno, reason)

    def _refusal(self, run: LoopRun, before: int) -> str:
        """Why a queue did not take a packet, as ``has no listener``."""
        said = [turn.other for place, turn in run.life.turns if turn.what is Came.REFUSED and before < place]
        if said:
            return _REFUSALS.get(said[-1], f"refused it ({errno_name(said[-1])})")
        return "was not asked" if Came.REFUSED in self._tells else "has no listener, or is full"

    def _behind(self, run: LoopRun, since: int) -> Fate:
        """What became of an skb behind a hook point.

        :param since: the place of the verdict that let it go on
        """
        life, end = run.life, run.life.end
        reason = self._reason(end)
        turns = [turn for place, turn in life.turns if place > since and turn.what in (Came.LOCAL, Came.XMIT, Came.TAPPED)]
        last = turns[-1] if turns else None
        if life.into:
            return Fate("absorbed", reason=f"in packet {life.into.packet.number}")
        if fate := self._at_home(run, since, last) or _tapped(last, reason):
            return fate
        if end and (end.how is How.FREED or self._is_at(end, _FRAGMENTS)):
            return Fate("dropped by the stack", reason=reason)
        if end and (life.came(Came.SEGMENTED, since) or life.came(Came.FRAGMENTED, since)):
            return Fate("segmented", reason=reason)
        if last and last.what is Came.XMIT and last.device != _LOOPBACK and (end is None or end.dev == last.other):
            return self._by_device(run, last, end)
        return Fate("consumed", reason=reason) if end else Fate("unknown")

    def _by_device(self, run: LoopRun, last: Turn, end: End | None) -> Fate:
        """What a device did with an skb that nothing else has seen behind it."""
        driver = self._function(last.driver) if last.driver else None
        name = driver.name.partition(".")[0] if driver else ""
        if end and name == _PROXY and kind_of(run.entry.protocol, run.entry.head) in _ASKS_FOR_NEIGHBOURS:
            return Fate("consumed", reason=f"{last.device} has answered it, or found no way for it, in {name}")
        if end and name in _TUNNELS:
            return Fate("dropped by the stack", reason=f"{last.device} found no way for it, in {name}")
        return Fate("sent", reason=f"by {last.device}")

    def _at_home(self, run: LoopRun, since: int, last: Turn | None) -> Fate | None:
        """What became of a packet that a host took, for its own or for a socket's; ``None`` if no host took it, or had a use for it.

        :param last: whether it came last to a host, to a device or to a packet socket
        """
        if self._is_alerted(run.life, since):
            return Fate("delivered", reason=self._reason(run.life.end))
        whole = not is_fragment(run.entry.protocol, run.entry.head) or any(run.life.came(what, run.place) for what in _MADE_WHOLE)
        return self._here(run, since) if last and last.what is Came.LOCAL and whole else None

    def _is_alerted(self, life: Life, since: int) -> bool:
        """Whether a raw socket that asked for router alerts took it on its way (``ip_call_ra_chain``): it was not for this host."""
        ways = [turn.what for place, turn in life.turns if place > since and turn.what in (Came.LOCAL, Came.XMIT, Came.TAKEN)]
        return bool(ways) and ways[-1] is Came.TAKEN and ways[-2:-1] in ([], [Came.XMIT])

    def _here(self, run: LoopRun, since: int) -> Fate | None:
        """What became of a packet that the host took for its own; ``None`` if it had no use for it."""
        life, end, reason = run.life, run.life.end, self._reason(run.life.end)
        apart = life.came(Came.SEGMENTED, since)
        taken = sum(turn.what is Came.TAKEN and turn.other != turn.skb for place, turn in life.turns if place > since)
        if end is not None and self._is_at(end, _CLOSE):
            return Fate("delivered", reason=f"unread when its socket closed, in {reason}")
        if taken or end is None:
            where = self._where(end)  # the skb itself may have been of no use, beside the clone that a raw socket took
            return Fate("delivered", reason=f"{taken} of its segments, {where}" if apart else where)
        if fate := self._by_tcp(run, end, since):
            return fate
        if Came.TAKEN in self._tells and (why := self._untaken(run, end, since)):
            return Fate("dropped by the stack", reason=", ".join(filter(None, (why, reason))))
        if self._is_unheard(run, since) and not self._is_drop(end):
            return Fate("consumed", reason=reason)
        return self._by_protocol(run, end, reason, apart=apart)

    def _untaken(self, run: LoopRun, end: End, since: int) -> str | None:
        """Why a packet that a protocol frees or consumes whatever becomes of it was of no use to any socket; ``None`` if that is not so."""
        life, header = run.life, _header(run)
        if life.came(Came.TAKEN, since):
            return None
        if end.how is How.CONSUMED and is_syn(*header) and not life.came(Came.SYNACKED, since):
            return "its listener answered it with no SYN-ACK"
        silent = self._assumes_failure(end) or (kind_of(*header) == _LISTENER_QUERY and not self._is_drop(end))
        if silent and all(change.head == run.entry.head for change in run.changes.values()) and (
                why := useless_to_icmpv6(run.entry.protocol, run.entry.head, run.entry.tail, run.entry.length)):
            return why
        if why := self._ignored(run, end, since):
            return why
        if kind_of(*header) == "echo reply" and self._is_at(end, _ASSUMES_FAILURE):
            return "no socket took it"
        alone = not end.location and protocol_of(*header) not in _PROTOCOLS
        return "no socket took it" if alone and end.how is How.CONSUMED else None

    def _ignored(self, run: LoopRun, end: End, since: int) -> str | None:
        """Why ICMP did nothing with a packet that it consumed; ``None`` if it did something, or had told otherwise that it would not."""
        header = _header(run)
        if self._is_drop(end):
            return None
        if is_discarded(*header):
            return "ICMP discards what is of its type"
        if kind_of(*header) in _QUESTIONS and Came.REPLIED in self._tells and not run.life.came(Came.REPLIED, since):
            return "the host did not answer it"
        if concerns(*header) in _LOOKED_FOR and Came.HEEDED in self._tells and not run.life.came(Came.HEEDED, since):
            return "no socket waits for it"
        return None

    def _is_unheard(self, run: LoopRun, since: int) -> bool:
        """Whether it is an ICMP error of which it is not told whether a socket waits for it, and that no socket's queue took."""
        of = concerns(run.entry.protocol, run.entry.head)
        told = of in _LOOKED_FOR and Came.HEEDED in self._tells
        return of is not None and not told and not any(run.life.came(what, since) for what in (Came.HEEDED, Came.TAKEN))

    def _payload(self, run: LoopRun) -> int:
        """Bytes that a segment or a datagram carries; 0 of other packets."""
        entry = run.entry
        return entry.length - flow[2] if (flow := flow_of(entry.protocol, entry.head)) else 0

    def _by_tcp(self, run: LoopRun, end: End, since: int) -> Fate | None:
        """What TCP did with a segment, where it was told; ``None`` where its freeing has to tell."""
        life, header, reason = run.life, (run.entry.protocol, run.entry.head), self._reason(end)
        if life.came(Came.LINGERED, since):
            return Fate("delivered" if is_fin(*header) else "consumed", reason=reason)
        if is_syn(*header) and life.came(Came.SYNACKED, since):
            return Fate("delivered", reason=reason)
        if life.came(Came.USELESS, since) and not self._payload(run):
            why = "its connection has no use for what it acknowledges"
            return Fate("dropped by the stack", reason=", ".join(filter(None, (why, reason))))
        if self._gives_reasons and self._is_silent(end) and self._is_at(end, _TCP_CLOSES) and not self._payload(run):
            return Fate("delivered", reason=reason)
        kind = self._without_word(run, end) if end.how is How.RELEASED and not self._tells_tcp else None
        return Fate(kind, reason=reason) if kind else None

    def _without_word(self, run: LoopRun, end: End) -> FateKind | None:
        """What TCP did that freed a segment by no tracepoint; ``None`` if it acted upon it. Whether it heeded a reset is not told."""
        entry = run.entry
        if self._is_at(end, _TCP_REFUSES):
            return "consumed" if is_answer(entry.protocol, entry.head) else "dropped by the stack"
        useless = self._payload(run) > 0 or is_bare(entry.protocol, entry.head) or self._is_at(end, _TCP_HANDS_OVER)
        return "dropped by the stack" if useless and self._is_at(end, _TCP_RECEIVES) else None

    def _by_protocol(self, run: LoopRun, end: End, reason: str | None, *, apart: bool) -> Fate | None:
        """The fate of a packet that a protocol freed or consumed; ``None`` if the protocol had no use for it.

        No socket's queue has taken another skb with its data: :meth:`_here` has ruled that out.
        """
        alone = end.how is not How.FREED and self._is_at(end, _RAW_ALONE) and not run.life.came(Came.TAKEN, run.place)
        if Came.TAKEN in self._tells and (apart or alone):
            return Fate("dropped by the stack", reason=f"no socket took {'a segment of it' if apart else 'it'}, {reason}")
        unknown = not end.location and protocol_of(run.entry.protocol, run.entry.head) not in _PROTOCOLS
        if unknown and end.how is How.CONSUMED and Came.TAKEN not in self._tells:
            return Fate("consumed", reason=reason)
        return None if self._is_drop(end) else Fate("delivered", reason=reason)

    def _is_drop(self, end: End) -> bool:
        """Whether a protocol's freeing of an skb says that it had no use for it."""
        return end.how is How.FREED and not self._assumes_failure(end)

    def _assumes_failure(self, end: End) -> bool:
        """Whether a protocol has freed an skb for no reason, as it frees what it acted upon, too."""
        return self._is_silent(end) and self._is_at(end, _ASSUMES_FAILURE)

    def _is_silent(self, end: End) -> bool:
        """Whether an skb was freed, and no reason given."""
        return end.how is How.FREED and self._reasons.get(end.reason, _NO_REASON) == _NO_REASON

    def _is_at(self, end: End | None, functions: Sequence[str]) -> bool:
        """Whether one of these functions freed an skb."""
        place = self._function(end.location) if end and end.location else None
        return place is not None and place.name.partition(".")[0] in functions

    def _reason(self, end: End | None) -> str | None:
        """``NO_SOCKET in udp_rcv``, or the function alone."""
        if end is None:
            return None
        where = self._where(end)
        if end.how is How.FREED and end.reason:
            name = self._reasons.get(end.reason, f"reason {end.reason:#x}")
            return " in ".join([*([name] if name != _NO_REASON or not where else []), *([where] if where else [])])
        return where

    def _where(self, end: End | None) -> str | None:
        """The function that freed it."""
        symbol = self._function(end.location) if end and end.location else None
        return symbol.name if symbol else None
