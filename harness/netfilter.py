"""The kernel's own netfilter vocabulary: families, hook points, verdicts (``include/uapi/linux/netfilter.h``)."""

from __future__ import annotations

import errno as errno_names
import re
from dataclasses import dataclass
from enum import IntEnum

__all__ = ("HOOK_POINTS", "NETFILTER_DROP", "NFT_FAMILIES", "PRIORITY_MAX", "PRIORITY_MIN", "Family", "Verdict", "VerdictKind",
           "errno_name", "hook_name", "hook_number")

PRIORITY_MIN, PRIORITY_MAX = -(2**31), 2**31 - 1
NETFILTER_DROP = "NETFILTER_DROP"
"""``enum skb_drop_reason``: what ``nf_hook_slow`` frees with (5.18)."""

#: ``NFPROTO_*`` → the family of a table, as nft calls it.
NFT_FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}

_U8_MAX = 255


class Family(IntEnum):
    """``enum nf_inet_proto``: ``NFPROTO_*``."""

    INET = 1
    IPV4 = 2
    ARP = 3
    NETDEV = 5
    BRIDGE = 7
    IPV6 = 10

    @classmethod
    def _missing_(cls, value: object) -> Family | None:
        """A number that no family with hook points has becomes ``PF<n>``: core has a default case for it."""
        if not isinstance(value, int) or not 0 <= value <= _U8_MAX:
            return None
        member = int.__new__(cls, value)
        member._name_, member._value_ = f"PF{value}", value
        return cls._value2member_map_.setdefault(value, member)  # type: ignore[return-value]

    @classmethod
    def named(cls, name: str) -> Family:
        """The family of a name: ``IPV4``, or ``PF17`` for a number that no family with hook points has.

        :raises KeyError: no family is called so
        """
        if found := re.fullmatch(r"PF(\d{1,3})", name):
            number = int(found[1])
            if number <= _U8_MAX and cls(number).name == name:
                return cls(number)
        return cls[name]


_INET = {"PREROUTING": 0, "INPUT": 1, "FORWARD": 2, "OUTPUT": 3, "POSTROUTING": 4}

#: Family → hook point's name → ``hooknum``.
HOOK_POINTS: dict[Family, dict[str, int]] = {
    Family.INET: {**_INET, "INGRESS": 5},
    Family.IPV4: _INET,
    Family.ARP: {"INPUT": 0, "OUTPUT": 1, "FORWARD": 2},
    Family.NETDEV: {"INGRESS": 0, "EGRESS": 1},
    Family.BRIDGE: {**_INET, "BROUTING": 5},
    Family.IPV6: _INET,
}


def hook_number(family: Family, name: str) -> int:
    """``hooknum`` of a hook point; that of ``HOOK<n>``.

    :raises KeyError: the family has no point of that name
    """
    points = HOOK_POINTS.get(family, {})
    if name not in points and (found := re.fullmatch(r"HOOK(\d{1,9})", name)):
        return int(found[1])
    return points[name]


def hook_name(family: Family, number: int) -> str:
    """Name of a hook point; ``HOOK<n>`` for a number the family does not define."""
    return next((name for name, value in HOOK_POINTS.get(family, {}).items() if value == number), f"HOOK{number}")


def errno_name(number: int) -> str:
    """``1`` → ``EPERM``; a number without a name stays a number."""
    if abs(number) == errno_names.EOPNOTSUPP:
        return "EOPNOTSUPP"  # Python says ENOTSUP, which the kernel does not know
    return errno_names.errorcode.get(abs(number), str(abs(number)))


_MASK, _QBITS, _BYPASS = 0xFF, 16, 0x8000


class VerdictKind(IntEnum):
    """The low byte of a hook's return value (``NF_VERDICT_MASK``)."""

    DROP = 0
    ACCEPT = 1
    STOLEN = 2
    QUEUE = 3
    REPEAT = 4
    STOP = 5

    @classmethod
    def _missing_(cls, value: object) -> VerdictKind | None:
        """A low byte that has no name becomes ``VERDICT<n>``: core has a default case for it."""
        if not isinstance(value, int) or not cls.STOP < value <= _MASK:
            return None
        member = int.__new__(cls, value)
        member._name_, member._value_ = f"VERDICT{value}", value
        return cls._value2member_map_.setdefault(value, member)  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A hook's verdict, taken apart.

    :param kind: low byte of the return value
    :param errno: positive errno carried in the upper 16 bits of DROP (``NF_DROP_ERR(-errno)``) or STOLEN; 0 for none
    :param queue: queue number in the upper 16 bits of QUEUE
    :param bypass: ``NF_VERDICT_FLAG_QUEUE_BYPASS``
    :param rest: bits that mean nothing with the kind; ``nf_hook_slow`` does not look at them, ``nf_reinject`` does
    """

    kind: VerdictKind
    errno: int = 0
    queue: int = 0
    bypass: bool = False
    rest: int = 0

    @property
    def is_drop(self) -> bool:
        """Whether it is DROP, or STOLEN of a hook that freed the packet and says with which errno, as nft does since 6.7."""
        return self.kind is VerdictKind.DROP or (self.kind is VerdictKind.STOLEN and self.errno != 0)

    def encode(self) -> int:
        """The ``unsigned int`` that a hook function returns."""
        if self.kind in (VerdictKind.DROP, VerdictKind.STOLEN):
            return (self.errno & 0xFFFF) << _QBITS | self.rest | self.kind
        if self.kind is VerdictKind.QUEUE:
            return self.queue << _QBITS | (_BYPASS if self.bypass else 0) | self.rest | self.kind
        return self.rest | self.kind

    @classmethod
    def decode(cls, value: int) -> Verdict:
        """Take a hook's return value apart.

        :param value: a u32
        """
        kind = VerdictKind(value & _MASK)
        upper, between = value >> _QBITS & 0xFFFF, value & 0xFF00
        if kind in (VerdictKind.DROP, VerdictKind.STOLEN):
            return cls(kind, errno=upper, rest=between)
        if kind is VerdictKind.QUEUE:
            return cls(kind, queue=upper, bypass=bool(value & _BYPASS), rest=between & ~_BYPASS)
        return cls(kind, rest=value & 0xFFFFFF00)

    def __str__(self) -> str:
        rest = f"+{self.rest:#x}" if self.rest else ""
        if self.errno:
            return f"{self.kind.name}({errno_name(self.errno)}){rest}"
        if self.kind is VerdictKind.QUEUE:
            return f"QUEUE({self.queue}{', bypass' if self.bypass else ''}){rest}"
        return f"{self.kind.name}{rest}"
