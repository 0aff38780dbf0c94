"""The records of ``records.bpf.c``, decoded."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from enum import IntEnum
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple

from harness.trace.summary import number_of

__all__ = ("Call", "End", "Entry", "Event", "Exit", "How", "decode", "in_order")


class How(IntEnum):
    """What ended an skb: ``trace_kfree_skb``, ``trace_consume_skb``, or neither before ``skb_release_head_state``."""

    FREED = 1
    CONSUMED = 2
    RELEASED = 3


class Entry(NamedTuple):
    """A verdict loop was entered.

    :param skb: address; :param netns: inode number of the namespace; :param time: ``CLOCK_MONOTONIC``, ns
    :param start: index of the first slot to run (``s``); :param slots: of the array
    :param protocol: ``skb->protocol``, host order; :param length: ``skb->len``, bytes
    :param head: up to 64 bytes from the network header on; :param tail: the last 16 bytes, empty where they could not be found
    :param okfn: address of ``state->okfn``, 0 for NULL
    :param loop: number of the loop (:attr:`harness.trace.tracer.Tracer.loops`); :param caller: where it was called, 0 if inlined
    :param answer: what a listener said to ``nf_reinject``, which is the loop
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

    @property
    def cookie(self) -> int | None:
        """What tells packets apart (:func:`harness.trace.summary.number_of`)."""
        return number_of(self.protocol, self.head, self.tail)


class Call(NamedTuple):
    """A hook function returned.

    :param slot: its index in the array
    :param priv: the hook's first argument; :param hook_id: what it points to, if the function is nfharness.ko's
    :param ns: since the entry or the previous call: the function's time and that of taking the probe
    :param time: when it returned, ``CLOCK_MONOTONIC``, ns
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


class Exit(NamedTuple):
    """``nf_hook_slow`` is about to return. :param time: ``CLOCK_MONOTONIC``, ns"""

    traversal: int
    returned: int
    time: int


class End(NamedTuple):
    """An skb that was seen at a hook point is no more.

    :param reason: ``enum skb_drop_reason``, 0 where the kernel has none; :param location: address it was freed from, 0 for unknown
    """

    skb: int
    how: How
    reason: int
    location: int
    time: int


Event = Entry | Call | Exit | End

_ENTRY = struct.Struct("<BBBBIQQQQQIIHHHHHH16s16s64s16s")
_CALL = struct.Struct("<BBHIQQQQiIQ")
_EXIT = struct.Struct("<BBHiQQ")
_END = struct.Struct("<BBHIQQQ")
_HAS_ID, _HAS_PRIORITY, _HAS_TAIL = 1, 2, 4


@lru_cache
def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode(errors="replace")


def _entry(record: bytes) -> Entry:
    (_type, flags, pf, hook, netns, traversal, skb, time, okfn, caller, length, answer, start, slots, protocol, network, copied, loop,
     indev, outdev, head, tail) = _ENTRY.unpack_from(record)
    protocol = protocol >> 8 | (protocol & 0xFF) << 8
    return Entry(traversal, skb, time, pf, hook, netns, _text(indev), _text(outdev), start, slots, protocol, length,
                 head[:max(0, copied - network)], tail if flags & _HAS_TAIL else b"", okfn, loop, caller, answer)


def _call(record: bytes) -> Call:
    _type, flags, index, verdict, traversal, function, priv, hook_id, priority, ns, time = _CALL.unpack_from(record)
    return Call(traversal, index, function, priv, hook_id if flags & _HAS_ID else None, priority if flags & _HAS_PRIORITY else None,
                verdict, ns, time)


def _exit(record: bytes) -> Exit:
    _type, _flags, _reserved, returned, traversal, time = _EXIT.unpack_from(record)
    return Exit(traversal, returned, time)


def _end(record: bytes) -> End:
    _type, how, _reserved, reason, skb, location, time = _END.unpack_from(record)
    return End(skb, How(how), reason, location, time)


_DECODERS: dict[int, Callable[[bytes], Event]] = {1: _entry, 2: _call, 3: _exit, 4: _end}


def decode(records: Iterable[bytes]) -> list[Event]:
    """Events in the order of their times, whichever processor's ring their records come from."""
    return in_order(_DECODERS[record[0]](record) for record in records)


def in_order(events: Iterable[Event]) -> list[Event]:
    """Events by their times; those of one processor never share one."""
    return sorted(events, key=attrgetter("time"))
