"""The records of ``records.bpf.c``, decoded."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from enum import IntEnum
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple

from harness.netfilter import NFT_FAMILIES
from harness.walks.summary import number_of

__all__ = ("NAME_BYTES", "TABLE_NAME_BYTES", "ArraySlot", "Call", "Came", "Change", "Decision", "Did", "End", "Entry", "Event", "Exit",
           "Gone", "How", "Loss", "Registered", "TableRule", "Turn", "chain_name", "decode", "in_order", "lost_record")


#: Of a name in a record, with its NUL; nft's have up to 256.
NAME_BYTES = 64
#: Of a chain (``XT_FUNCTION_MAXNAMELEN``) or a target of xtables' (``XT_EXTENSION_MAXNAMELEN``), in whole words.
TABLE_NAME_BYTES = 32


class How(IntEnum):
    """What ended an skb: ``trace_kfree_skb``, ``trace_consume_skb``, or neither before ``skb_release_head_state``."""

    FREED = 1
    CONSUMED = 2
    RELEASED = 3


class Came(IntEnum):
    """What an skb came to between two hook points.

    LOCAL: the host took it for its own, a socket or a protocol gets it next (``raw_local_deliver``, ``raw6_local_deliver``).
    XMIT: a device's driver gets it (``trace_net_dev_start_xmit``). ANSWERED: an ICMP error or a reset about it was made (``nf_ct_attach``).
    SEGMENTED: it is being taken apart (``__skb_gso_segment``). FRAGMENTED: it is too long for a device's MTU (``ip_do_fragment``,
    ``ip6_fragment``). REASSEMBLED: it is the fragment that completes a datagram, and goes on as that (``inet_frag_reasm_prepare``).
    TAKEN: a socket's queue took it, a clone or a segment of it (``__sock_queue_rcv_skb``, ``__udp_enqueue_schedule_skb``), or its queue
    of errors did, if it is an ICMP error (``sock_queue_err_skb``).
    MERGED: another skb, which no verdict loop has seen, goes on as the datagram that it began (``skb_morph``). DUPLICATED: a copy was
    made of it (``__pskb_copy_fclone``), or a clone that a bridge floods or a host sends to itself, too (``skb_clone``).
    LINGERED: a connection in TIME-WAIT has seen it, and sends no reset (``tcp_timewait_state_process``). SYNACKED: a listener
    answers it with a SYN-ACK, also again (``tcp_make_synack``). REJECTED: the answer of a reject on a bridge or of a device was made
    (``nf_reject_iphdr_put``); elsewhere that may still find no way, and ANSWERED tells.
    REPLIED: ICMP sends something about it, an echo reply or an error (``ip_append_data``, ``ip6_append_data``). REFUSED: its queue did
    not take it (``nfqnl_enqueue_packet``). USELESS: its connection finds what it acknowledges too old, or not sent yet
    (``tcp_ack``). HEEDED: it is an ICMP error, and the socket was found that it is about (``udp_err``, ``tcp_v4_err``).
    CLONED: a packet socket holds it, too, and the stack goes on with a clone (``skb_share_check``).
    TAPPED: a packet socket gets it, and nothing else holds it any more (``packet_rcv``, ``tpacket_rcv``).
    """

    LOCAL = 1
    XMIT = 2
    ANSWERED = 3
    SEGMENTED = 4
    REASSEMBLED = 5
    TAKEN = 6
    MERGED = 7
    DUPLICATED = 8
    LINGERED = 9
    SYNACKED = 10
    FRAGMENTED = 11
    REJECTED = 12
    REPLIED = 13
    REFUSED = 14
    USELESS = 15
    HEEDED = 16
    CLONED = 17
    TAPPED = 18


class Entry(NamedTuple):
    """A verdict loop was entered.

    :param skb: address
    :param netns: inode number of the namespace
    :param time: ``CLOCK_MONOTONIC``, ns
    :param start: index of the first slot to run (``s``)
    :param slots: of the array
    :param protocol: ``skb->protocol``, host order
    :param length: ``skb->len``, bytes
    :param head: up to 64 bytes from the network header on
    :param tail: the last 16 bytes, empty where they could not be found
    :param okfn: address of ``state->okfn``, 0 for NULL
    :param loop: number of the loop (:attr:`harness.trace.tracer.Tracer.loops`)
    :param caller: where it was called, 0 if inlined
    :param answer: what a listener said to ``nf_reinject``, which is the loop
    :param mark: ``skb->mark``
    :param ct: of its connection, as :data:`harness.walks.changes.CONNECTIONS` has it
    :param socket: whether it has one, that sent it or is to get it (``skb->sk``)
    :param array: address of what it runs over
    :param zone: of its connection; this and what follows is 0 without one
    :param status: ``enum ip_conntrack_status`` of it
    :param ct_id: as ``conntrack -o id`` shows it; 0 also where the kernel has not made the ids' key yet
    """

    traversal: int
    skb: int
    time: int
    pf: int
    hook: int
    netns: int
    indev: str
    outdev: str
    start: int
    slots: int
    protocol: int
    length: int
    head: bytes
    tail: bytes
    okfn: int = 0
    loop: int = 0
    caller: int = 0
    answer: int = 0
    mark: int = 0
    ct: int = 0
    socket: bool = False
    array: int = 0
    zone: int = 0
    status: int = 0
    ct_id: int = 0

    @property
    def cookie(self) -> int | None:
        """What tells packets apart (:func:`harness.walks.summary.number_of`)."""
        return number_of(self.protocol, self.head, self.tail)


class Decision(NamedTuple):
    """What ``nft_do_chain`` evaluated last that could give a verdict.

    :param function: address of what was called indirectly; 0 where the verdict is known
    :param handle: of the rule, 0 for unknown
    :param code: the verdict as ``enum nft_verdicts`` and the hooks' have it, signed
    :param via: handles of the first rules that jumped
    :param jumps: how many did
    :param table: handle of the table
    """

    function: int
    handle: int
    code: int
    via: tuple[int, ...] = ()
    jumps: int = 0
    table: int = 0


class Call(NamedTuple):
    """A hook function returned.

    :param slot: its index in the array
    :param priv: the hook's first argument
    :param hook_id: what it points to, if the function is nfharness.ko's
    :param ns: since the entry or the previous call: the function's time and that of taking the probe
    :param time: when it returned, ``CLOCK_MONOTONIC``, ns
    :param chain: ``inet admin forward``: family, table and name of the base chain that it is of nftables'; ``None`` of other hooks
    :param decision: of such a chain
    """

    traversal: int
    slot: int
    function: int
    priv: int
    hook_id: int | None
    priority: int | None
    verdict: int
    ns: int
    time: int
    chain: str | None = None
    decision: Decision | None = None


class Change(NamedTuple):
    """The hook whose call was told last has made something else of the packet, which is as this says. Parameters as of :class:`Entry`."""

    traversal: int
    time: int
    protocol: int
    length: int
    head: bytes
    mark: int
    ct: int
    socket: bool = False
    zone: int = 0
    status: int = 0
    ct_id: int = 0


class TableRule(NamedTuple):
    """The hook whose call was told last is an xtables table, and this rule gave its verdict.

    :param number: of the rule in its chain, from 1; 0 where it was not found
    :param chain: that a user made, empty for the hook point's
    :param target: its name; empty for a standard target, which is a verdict
    :param hot: one of its matches had the packet dropped, and its target never saw it
    :param policy: it is the policy of the hook point's chain
    """

    traversal: int
    time: int
    number: int
    chain: str
    target: str
    hot: bool = False
    policy: bool = False


class Exit(NamedTuple):
    """``nf_hook_slow`` is about to return.

    :param time: ``CLOCK_MONOTONIC``, ns
    """

    traversal: int
    returned: int
    time: int


class End(NamedTuple):
    """An skb that was seen at a hook point is no more.

    :param reason: ``enum skb_drop_reason``, 0 where the kernel has none
    :param location: address it was freed from, 0 for unknown
    :param dev: address of ``skb->dev``
    """

    skb: int
    how: How
    reason: int
    location: int
    time: int
    dev: int = 0


class Turn(NamedTuple):
    """What an skb that was seen at a hook point came to behind it.

    :param other: address of the device that got it (:attr:`Came.XMIT`), of the skb that answers it (:attr:`Came.ANSWERED`,
        :attr:`Came.REJECTED`), goes on as it (:attr:`Came.MERGED`, :attr:`Came.CLONED`) or is its copy
        (:attr:`Came.DUPLICATED`); the errno of :attr:`Came.REFUSED`; else 0
    :param device: the device's name
    :param driver: address of the device's ``ndo_start_xmit``, else 0
    """

    skb: int
    what: Came
    time: int
    other: int = 0
    device: str = ""
    driver: int = 0


class Gone(NamedTuple):
    """A network namespace is being taken down, and no hook of it runs any more (``netfilter_net_exit``).

    :param netns: its inode number, which another one may get from now on
    """

    netns: int
    time: int


class Loss(NamedTuple):
    """Records found no room in a ring: no record of the kernel's programs, but of what read the rings.

    :param time: when it had read them before (``CLOCK_MONOTONIC``, ns)
    :param until: when it had read how many were lost
    :param records: how many, of all processors
    """

    time: int
    until: int
    records: int


class Did(IntEnum):
    """What was done to an array of hooks.

    REGISTERED: ``__nf_register_net_hook``, UNREGISTERED: ``__nf_unregister_net_hook``, at a hook point. INSERTED:
    ``nf_hook_entries_insert_raw``, DELETED: ``nf_hook_entries_delete_raw``, in an array that is no hook point's.
    """

    REGISTERED = 1
    UNREGISTERED = 2
    INSERTED = 3
    DELETED = 4


class ArraySlot(NamedTuple):
    """A slot of an array that a registration found, or made.

    :param registration: its number; registrations are told of behind the slots of both arrays
    :param after: whether it is in the new one
    :param slot: its index
    :param name: of a chain of nftables' or a BPF program, ``None`` of other hooks
    """

    registration: int
    after: bool
    slot: int
    function: int
    priority: int
    time: int
    name: str | None = None


class Registered(NamedTuple):
    """A hook was registered or unregistered, or was not.

    :param pf: ``NFPROTO_INET`` is told of for each of its families, with theirs
    :param netns: inode number of the namespace; 0 for an array that is no hook point's
    :param result: what the kernel's function returned, 0 where it returns nothing
    :param key: how often hooks of the point are registered, in all namespaces (``nf_hooks_needed``); ``None`` where that is not known
    :param before: address of the array that it found, 0 for none; what was unregistered is a dummy there
    :param after: of the one that it left
    :param slots_before: how many that one has; of up to 64 there are records
    :param device: that the point is of, empty for none
    :param process: name of what did it
    :param link: id of the BPF link that holds the hook, 0 for none or where it has none yet
    :param stack: addresses of what called it, the nearest first
    :param time: when the new array was about to be published; of what was unregistered, when it had become a dummy
    """

    registration: int
    did: Did
    pf: int
    hook: int
    netns: int
    result: int
    function: int
    priority: int
    key: int | None
    before: int
    after: int
    slots_before: int
    slots_after: int
    device: str
    process: str
    pid: int
    link: int
    stack: tuple[int, ...]
    time: int
    name: str | None = None


Event = Entry | Call | TableRule | Change | Exit | End | Turn | Gone | ArraySlot | Registered | Loss

_ENTRY = struct.Struct("<BBBBIQQQQQQIIHHHHHHIBxHII16s16s64s16s")
_CHANGE = struct.Struct("<BBHHHIIQQIIH6x64s")
_CALL = struct.Struct("<BBHIQQQQiIQ")
_NAME = f"QHH4x{NAME_BYTES}s{NAME_BYTES}s"
_CHAIN = struct.Struct(f"<QQiI4Q{_NAME}")
_SLOT = struct.Struct(f"<BBHiQQQQ{_NAME}")
_HOOK = struct.Struct(f"<BBBBB3xiiiIIIQQQQQQHH4x16s16s16Q{_NAME}")
_RULE = struct.Struct(f"<BBHIQQ{TABLE_NAME_BYTES}s{TABLE_NAME_BYTES}s")
_EXIT = struct.Struct("<BBHiQQ")
_END = struct.Struct("<BBHIQQQQ")
_TURN = struct.Struct("<BB16s6xQQQQ")
_GONE = struct.Struct("<B3xIQ")
_LOST = struct.Struct("<B7xQQQ")
#: The type of a record that no program makes.
_LOST_TYPE = 255
#: Of a record's ``ct``: skb.bpf.c.
_CT_MASK, _HAS_SOCKET = 0xF, 0x10
_FAMILY_MASK = 0x3F  # struct nft_table: u16 family:6, flags:8, genmask:2
_HAS_ID, _HAS_PRIORITY, _HAS_TAIL, _HAS_KEY = 1, 2, 4, 8
_HOT_DROPPED, _BY_POLICY = 1, 2
#: What a record's name is of.
_CHAIN_NAMED, _PROGRAM_NAMED = 1, 2
#: An enum takes ten times as long to find a member.
_HOW, _CAME = {how.value: how for how in How}, {came.value: came for came in Came}
_DID = {did.value: did for did in Did}


@lru_cache
def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode(errors="replace")


@lru_cache
def chain_name(family: int, table: bytes, chain: bytes) -> str:
    """``inet admin forward``: family, table and chain as nft has them, ``…`` behind a name that was cut.

    :param family: ``table->family`` and the bits beside it
    :param table: name, with its NUL
    :param chain: name, with its NUL
    """
    number = family & _FAMILY_MASK
    names = (_text(name) + "…" * (name.find(b"\0") == NAME_BYTES - 1) for name in (table, chain))
    return " ".join((NFT_FAMILIES.get(number, f"family {number}"), *names))


def _entry(record: bytes) -> Entry:
    (_type, flags, pf, hook, netns, traversal, skb, time, okfn, caller, array, length, answer, start, slots, protocol, network, copied,
     loop, mark, ct, zone, status, ct_id, indev, outdev, head, tail) = _ENTRY.unpack_from(record)
    protocol = _host_order(protocol)
    return Entry(traversal, skb, time, pf, hook, netns, _text(indev), _text(outdev), start, slots, protocol, length,
                 head[:max(0, copied - network)], tail if flags & _HAS_TAIL else b"", okfn, loop, caller, answer, mark,
                 ct & _CT_MASK, bool(ct & _HAS_SOCKET), array, zone, status, ct_id)


def _host_order(protocol: int) -> int:
    return protocol >> 8 | (protocol & 0xFF) << 8


def _call(record: bytes, chain: str | None = None, decision: Decision | None = None) -> Call:
    _type, flags, index, verdict, traversal, function, priv, hook_id, priority, ns, time = _CALL.unpack_from(record)
    return Call(traversal, index, function, priv, hook_id if flags & _HAS_ID else None, priority if flags & _HAS_PRIORITY else None,
                verdict, ns, time, chain, decision)


def _chain_call(record: bytes) -> Call:
    function, handle, code, jumps, *via, of_table, family, _kind, table, chain = _CHAIN.unpack_from(record, _CALL.size)
    decision = Decision(function, handle, code, tuple(via[:jumps]), jumps, of_table)
    return _call(record, chain_name(family, table, chain), decision)


def _change(record: bytes) -> Change:
    _type, ct, protocol, network, copied, length, mark, traversal, time, status, ct_id, zone, head = _CHANGE.unpack_from(record)
    return Change(traversal, time, _host_order(protocol), length, head[:max(0, copied - network)], mark, ct & _CT_MASK,
                  bool(ct & _HAS_SOCKET), zone, status, ct_id)


def _rule(record: bytes) -> TableRule:
    _type, flags, _reserved, number, traversal, time, chain, target = _RULE.unpack_from(record)
    return TableRule(traversal, time, number, _text(chain), _text(target), bool(flags & _HOT_DROPPED), bool(flags & _BY_POLICY))


def _exit(record: bytes) -> Exit:
    _type, _flags, _reserved, returned, traversal, time = _EXIT.unpack_from(record)
    return Exit(traversal, returned, time)


def _end(record: bytes) -> End:
    _type, how, _reserved, reason, skb, location, dev, time = _END.unpack_from(record)
    return End(skb, _HOW[how], reason, location, time, dev)


def _turn(record: bytes) -> Turn:
    _type, what, name, skb, other, driver, time = _TURN.unpack_from(record)
    return Turn(skb, _CAME[what], time, other, _text(name), driver)


def _gone(record: bytes) -> Gone:
    _type, netns, time = _GONE.unpack_from(record)
    return Gone(netns, time)


def _lost(record: bytes) -> Loss:
    _type, time, until, count = _LOST.unpack_from(record)
    return Loss(time, until, count)


def lost_record(time: int, until: int, count: int) -> bytes:
    """The record that is decoded as :class:`Loss`."""
    return _LOST.pack(_LOST_TYPE, time, until, count)


def _hook_name(handle: int, family: int, kind: int, table: bytes, chain: bytes) -> str | None:
    if kind == _CHAIN_NAMED:
        return chain_name(family, table, chain)
    return f"BPF program {handle} {_text(chain)}".rstrip() if kind == _PROGRAM_NAMED else None


def _slot(record: bytes) -> ArraySlot:
    _type, after, index, priority, registration, function, _priv, time, *name = _SLOT.unpack_from(record)
    return ArraySlot(registration, bool(after), index, function, priority, time, _hook_name(*name))


def _registered(record: bytes) -> Registered:
    (_type, how, pf, hook, flags, result, priority, key, netns, pid, link, registration, function, _priv, before, after, time,
     slots_before, slots_after, process, device, *rest) = _HOOK.unpack_from(record)
    stack, name = rest[:-5], rest[-5:]
    return Registered(registration, _DID[how], pf, hook, netns, result, function, priority, key if flags & _HAS_KEY else None, before,
                      after, slots_before, slots_after, _text(device), _text(process), pid, link, tuple(filter(None, stack)), time,
                      _hook_name(*name))


_DECODERS: dict[int, Callable[[bytes], Event]] = {1: _entry, 2: _call, 3: _exit, 4: _end, 5: _chain_call, 6: _turn,
                                                   7: _change, 8: _gone, 9: _registered, 10: _slot, 11: _rule,
                                                   _LOST_TYPE: _lost}


def decode(records: Iterable[bytes]) -> list[Event]:
    """Events in the order of their times, whichever processor's ring their records come from."""
    return in_order(_DECODERS[record[0]](record) for record in records)


def in_order(events: Iterable[Event]) -> list[Event]:
    """Events by their times; only a call, its table's rule and the change that it made share one, and keep their order."""
    return sorted(events, key=attrgetter("time"))
