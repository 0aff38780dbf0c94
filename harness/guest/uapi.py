"""``kmod/nfharness.h``: the commands and attributes of ``nfharness.ko``."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from enum import IntEnum

from harness.guest.genetlink import attribute

__all__ = ("Attribute", "Command", "Tamper", "pack", "unpack")


class Command(IntEnum):
    """``enum nfharness_cmd``."""

    UNSPEC = 0
    HOOK_ADD = 1
    HOOK_DEL = 2
    HOOK_GET = 3
    HOOK_FLUSH = 4
    SLOT_GET = 5
    RAW_INSERT = 6
    RAW_DELETE = 7
    RAW_RUN = 8
    BATCH_ADD = 9
    BATCH_DEL = 10
    HOOK_AGAIN = 11
    HOOK_DEL_ABSENT = 12
    FAIL_NEXT = 13
    CT_RUN = 14
    NETNS_GET = 15
    KEYS_GET = 16
    TAMPER = 17
    FAIL_NETNS = 18
    RAW_ALTER = 19
    RAW_LIST = 20
    MEMORY_GET = 21
    TOGETHER = 22


class Attribute(IntEnum):
    """``enum nfharness_attr``."""

    UNSPEC = 0
    PAD = 1
    ID = 2
    PF = 3
    HOOKNUM = 4
    IFINDEX = 5
    PRIORITY = 6
    VERDICT = 7
    ERRNO = 8
    QUEUE_NUM = 9
    QUEUE_BYPASS = 10
    COOKIE = 11
    CALLS = 12
    MATCHES = 13
    SLOT_INDEX = 14
    SLOT_FUNCTION = 15
    SLOT_MODULE = 16
    SLOT_ADDRESS = 17
    SLOT_DUMMY = 18
    ARRAY = 19
    RAW_VERDICT = 20
    START = 21
    RETURN = 22
    CALLED = 23
    USERS = 24
    HOOKS = 25
    UNCHECKED = 26
    FAIL = 27
    SADDR = 28
    DADDR = 29
    SPORT = 30
    DPORT = 31
    CT_TRACK = 32
    CT_OWN = 33
    CT_CONNECTION = 34
    CT_ATTACHED = 35
    CT_INFO = 36
    CT_USES = 37
    CT_CALLS = 38
    DEVICE_NETNS = 39
    NETNS_LIVE = 40
    NETNS_DYING = 41
    KEYS = 42
    TAMPER = 43
    REINJECT_VERDICT = 44
    TIMES = 45
    COOKIES = 46
    PASSED = 47
    LIST_USERS = 48
    SETTLE = 49
    MEMORY = 50
    LEAKED = 51
    OTHER = 52
    CT_CLOSE = 53
    CT_CLOSINGS = 54
    LIST_LINKED = 55
    ALTERED = 56


class Tamper(IntEnum):
    """``enum nfharness_tamper``: out of its array and still listed, one call too many, a copy of each packet, packets kept for good."""

    HIDE = 0
    MISCOUNT = 1
    DUPLICATE = 2
    HOLD = 3


_FORMATS = {
    **dict.fromkeys((Attribute.ID, Attribute.OTHER, Attribute.COOKIE, Attribute.CALLS, Attribute.MATCHES, Attribute.SLOT_ADDRESS), "=Q"),
    **dict.fromkeys((Attribute.HOOKNUM, Attribute.IFINDEX, Attribute.VERDICT, Attribute.ERRNO, Attribute.SLOT_INDEX,
                    Attribute.ARRAY, Attribute.RAW_VERDICT, Attribute.START, Attribute.USERS, Attribute.FAIL, Attribute.CT_OWN,
                    Attribute.CT_INFO, Attribute.CT_USES, Attribute.REINJECT_VERDICT, Attribute.TIMES, Attribute.TAMPER,
                    Attribute.CT_CLOSINGS, Attribute.ALTERED), "=I"),
    **dict.fromkeys((Attribute.PRIORITY, Attribute.RETURN, Attribute.DEVICE_NETNS), "=i"),
    **dict.fromkeys((Attribute.SPORT, Attribute.DPORT), "!H"),
    Attribute.QUEUE_NUM: "=H", Attribute.PF: "=B",
}


def pack(kind: Attribute, value: int) -> bytes:
    """A number as an attribute."""
    return attribute(kind, struct.pack(_FORMATS[kind], value))


def unpack(reply: Mapping[int, bytes], kind: Attribute) -> int:
    """A number of an answer.

    :raises KeyError: the answer has no such attribute
    """
    return int(struct.unpack(_FORMATS[kind], reply[kind])[0])
