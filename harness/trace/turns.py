"""Where the kernel tells what becomes of packets between hook points (``turns.bpf.c``), found in the running kernel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from harness.errors import GuestError
from harness.trace.probes import Placement, after_prologue, calls_of, code_of, leaves, place_all, returns
from harness.trace.symbols import Symbols
from harness.walks.events import Came

__all__ = ("EVENTS", "Turns", "getfrag", "turns_of")

Places = tuple[tuple[str, int], ...]

#: Event → the functions whose entries tell. A kernel built without IPv6, or without connection tracking, has not all of them.
_ENTRIES = {
    "local": ("raw_local_deliver", "raw6_local_deliver"),
    "attach": ("nf_ct_attach",),
    "segment": ("__skb_gso_segment",),
    "fragment": ("ip_do_fragment", "ip6_fragment"),
    "reassemble": ("inet_frag_reasm_prepare",),
    "morph": ("skb_morph",),
    "tap": ("packet_rcv", "tpacket_rcv"),
    "gone": ("netfilter_net_exit",),
}
#: What is asked whether it takes an skb: event of the answer → functions.
_TAKERS = {"take": ("__sock_queue_rcv_skb", "__udp_enqueue_schedule_skb"), "linger": ("tcp_timewait_state_process",)}
#: Puts what went wrong with a packet into the error queue of the socket that sent it; what is asked as the takers are.
_COMPLAINS = "sock_queue_err_skb"
#: Makes the SYN-ACK that a listener answers a SYN with.
_ANSWERS_SYN = "tcp_make_synack"
#: Looks at a segment for a connection that is not established yet.
_ASKS_AGAIN = "tcp_check_req"
#: Looks at what a segment acknowledges.
_ACKNOWLEDGES = "tcp_ack"
#: Look for the socket that an ICMP error is about, of each transport protocol; the first name that the kernel has: where both are there,
#: the second function returns what the first one does.
_HEEDS = (("__udp4_lib_err", "udp_err"), ("tcp_v4_err",), ("__udp6_lib_err", "udpv6_err"), ("tcp_v6_err",))
#: Copies an skb; another one goes on as the copy.
_COPY = "__pskb_copy_fclone"
#: Clones an skb, which is called by each connection of TCP's for what it sends: its calls are probed, in these functions.
_CLONE = "skb_clone"
#: Take a packet in, and go on with a clone of an skb that others hold, too (``skb_share_check``).
_SHARE = ("ip_rcv_core", "ip6_rcv_core", "arp_rcv", "br_handle_frame", "vlan_do_receive", "skb_vlan_untag")
#: Send a clone to each port of a bridge but the last; back to the host itself, if what is sent is for many.
_SPREAD = ("deliver_clone", "maybe_deliver", "br_flood", "br_multicast_flood", "ip_mc_output", "ip6_finish_output2")
#: Event → the function that puts together what ICMP sends, and the one that it gets the payload from.
_REPLIES = {"reply": ("ip_append_data", "icmp_glue_bits"), "reply6": ("ip6_append_data", "icmpv6_getfrag")}
#: Gives a packet to a queue's handler, its one indirect call; the first name that the kernel has: some compilers put that function into the
#: second one.
_QUEUES = ("__nf_queue", "nf_queue")
#: Writes the header of a reject's answer; a compiler may have changed its arguments.
_REJECTS = ("nf_reject_iphdr_put", "nf_reject_ip6hdr_put")
#: Make that answer whole (fa538f7cf05a "netfilter: nf_reject: add reject skbuff creation helpers", 5.11).
_REJECTS_WHOLE = ("nf_reject_skb_v4_unreach", "nf_reject_skb_v4_tcp_reset", "nf_reject_skb_v6_unreach", "nf_reject_skb_v6_tcp_reset")

#: Names of all events.
EVENTS = (*_ENTRIES, *_TAKERS, *_REPLIES, "offer", "complaint", "synack", "check_begin", "check_end", "useless", "error", "heed",
          "copy_begin", "copy_end", "clone_begin", "clone_end", "spread_begin", "spread_end",
          "queue_begin", "queue_asked", "reject", "reject_begin", "reject_end")


class Turns(NamedTuple):
    """What can be probed.

    :param events: kprobe event → its places, in the order of arming: what ends something before what begins it
    :param tells: what the tracer would tell of if it happened
    :param queue_depth: bytes of stack that the function has in use where it asks a queue's handler
    """

    events: dict[str, Places]
    tells: tuple[Came, ...]
    queue_depth: int


def turns_of(symbols: Symbols) -> Turns:
    """Where the running kernel can be probed; an event that cannot be is left out, and what it would tell."""
    events: dict[str, Places] = {}
    tells: list[Came] = []
    for group, told in ((_copies, ()), (_shares, (Came.CLONED,)), (_spreads, ()), (_takers, (Came.TAKEN, Came.LINGERED, Came.SYNACKED)),
                        (_again, ()), (_useless, (Came.USELESS,)), (_heeded, (Came.HEEDED,)), (_replies, (Came.REPLIED,)),
                        (_rejects, (Came.REJECTED,))):
        try:
            events |= group(symbols)
        except GuestError:  # the compiler has put a function into its caller, or its ends cannot be probed
            continue
        tells += told
    # Both kinds of offers and what they are answered with share a table: the answers are armed first.
    events |= _offers(events, symbols)
    for event, names in _ENTRIES.items():
        if places := tuple(_entry(symbols, name) for name in names if symbols.named(name)):
            events[event] = places
    try:
        queue = _queue(symbols)
    except GuestError:
        return Turns(events, tuple(tells), 0)
    asked = tuple((queue.symbol, after) for _, after in queue.placement.calls)
    events |= {"queue_asked": asked, "queue_begin": ((queue.symbol, queue.placement.entry),)}
    return Turns(events, (*tells, Came.REFUSED), queue.placement.depth)


def getfrag(symbols: Symbols, event: str) -> int:
    """Address of the function that gets the payload of what ICMP sends; 0 if the kernel has no separate one."""
    found = symbols.named(_REPLIES[event][1])
    return found[0].address if found else 0


def _code(symbols: Symbols, name: str) -> tuple[str, int, bytes]:
    """A function as tracefs takes it, its address and its bytes.

    :raises GuestError: it is not there
    """
    owner = next((symbol.module for symbol in symbols.named(name)), None)
    return f"{owner}:{name}" if owner else name, *code_of(symbols, name, owner)


def _entry(symbols: Symbols, name: str) -> tuple[str, int]:
    symbol, _, code = _code(symbols, name)
    return symbol, after_prologue(code)


def _entries(symbols: Symbols, names: Iterable[str]) -> Places:
    return tuple(_entry(symbols, name) for name in names)


def _ends(symbols: Symbols, names: Iterable[str]) -> Places:
    """Every place where these functions return."""
    return tuple(place for name in names for place in leaves(symbols, name))


def _clones(symbols: Symbols, names: Iterable[str]) -> tuple[Places, Places]:
    """Where functions clone an skb: the calls, and what is behind them.

    :raises GuestError: none does
    """
    clone = symbols.one(_CLONE).address
    found = [(symbol, places) for name in names if symbols.named(name)
             for symbol, address, code in (_code(symbols, name),) for places in calls_of(code, address, clone)]
    if not found:
        raise GuestError(f"none of them calls {_CLONE}")
    return tuple((symbol, call) for symbol, (call, _) in found), tuple((symbol, after) for symbol, (_, after) in found)


def _shares(symbols: Symbols) -> dict[str, Places]:
    """Where a layer goes on with a clone of an skb."""
    begin, end = _clones(symbols, _SHARE)
    return {"clone_end": end, "clone_begin": begin}


def _spreads(symbols: Symbols) -> dict[str, Places]:
    """Where clones of an skb are sent beside it."""
    begin, end = _clones(symbols, _SPREAD)
    return {"spread_end": end, "spread_begin": begin}


def _takers(symbols: Symbols) -> dict[str, Places]:
    """Where sockets take skbs or not, errors about what they sent among them, and answer SYNs."""
    ends = {event: _ends(symbols, names) for event, names in _TAKERS.items()}
    return {**ends, "take": (*ends["take"], *_ends(symbols, (_COMPLAINS,))), "complaint": _entries(symbols, (_COMPLAINS,)),
            "synack": _entries(symbols, (_ANSWERS_SYN,))}


def _again(symbols: Symbols) -> dict[str, Places]:
    """Where a SYN that came again is looked at."""
    return {"check_end": _ends(symbols, (_ASKS_AGAIN,)), "check_begin": _entries(symbols, (_ASKS_AGAIN,))}


def _useless(symbols: Symbols) -> dict[str, Places]:
    return {"useless": _ends(symbols, (_ACKNOWLEDGES,))}


def _heeded(symbols: Symbols) -> dict[str, Places]:
    """Where the socket is looked for that an ICMP error is about."""
    there = [name for names in _HEEDS if (name := next((each for each in names if symbols.named(each)), None))]
    return {"heed": _ends(symbols, there), "error": _entries(symbols, there)}


def _offers(events: dict[str, Places], symbols: Symbols) -> dict[str, Places]:
    """Where the functions begin that have an skb as their second argument, and say at their end what they do with it."""
    names = [name for event, names in (*_TAKERS.items(), ("useless", (_ACKNOWLEDGES,))) if event in events for name in names]
    return {"offer": _entries(symbols, names)} if names else {}


def _replies(symbols: Symbols) -> dict[str, Places]:
    """Where ICMP puts together what it sends.

    :raises GuestError: it cannot be told from what others send there
    """
    there = {event: sender for event, (sender, _) in _REPLIES.items() if symbols.named(sender)}
    if not all(getfrag(symbols, event) for event in there):
        raise GuestError("this kernel's ICMP has no separate function that gets a payload")
    return {event: _entries(symbols, (sender,)) for event, sender in there.items()}


def _rejects(symbols: Symbols) -> dict[str, Places]:
    """Where answers are made by rejects of nftables' on a bridge or of a device.

    :raises GuestError: nf_reject_ipv4 is not there
    """
    if all(symbols.named(name) for name in _REJECTS):
        return {"reject": _entries(symbols, _REJECTS)}
    return {"reject_end": _ends(symbols, _REJECTS_WHOLE), "reject_begin": _entries(symbols, _REJECTS_WHOLE)}


class _Queue(NamedTuple):
    symbol: str
    placement: Placement


def _queue(symbols: Symbols) -> _Queue:
    """Where a queue's handler is asked.

    :raises GuestError: it cannot be probed
    """
    name = next((name for name in _QUEUES if symbols.named(name)), _QUEUES[0])
    symbol, address, code = _code(symbols, name)
    return _Queue(symbol, place_all(code, address, symbols.aliases, name))


def _copies(symbols: Symbols) -> dict[str, Places]:
    """Where skbs are copied; without it no packet is said to be a copy."""
    _, address, code = _code(symbols, _COPY)
    ends = returns(code, address, symbols.aliases, _COPY)
    return {"copy_end": tuple((_COPY, offset) for offset in ends), "copy_begin": _entries(symbols, (_COPY,))}
