"""What a packet had become between two places where it was seen, in a network engineer's words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from harness.outcome.types import Change, Connection
from harness.walks.summary import fields_of, summary

__all__ = ("CONNECTIONS", "STATUS", "Shape", "differences", "tracked")

#: ``enum ip_conntrack_info`` of the kernel's own, above it the bit of records.bpf.c that says that there is a connection.
CONNECTIONS = {0: "none", 7: "untracked", 8: "established", 9: "related", 10: "new", 11: "established, reply", 12: "related, reply",
               15: "untracked"}
#: ``enum ip_conntrack_status`` (uapi/linux/netfilter/nf_conntrack_common.h), by bit.
STATUS = ("EXPECTED", "SEEN_REPLY", "ASSURED", "CONFIRMED", "SRC_NAT", "DST_NAT", "SEQ_ADJUST", "SRC_NAT_DONE", "DST_NAT_DONE", "DYING",
          "FIXED_TIMEOUT", "TEMPLATE", "NAT_CLASH", "HELPER", "OFFLOAD", "HW_OFFLOAD")
_CONNECTED, _INFO, _IS_REPLY = 8, 7, 3  # IP_CT_IS_REPLY


class Shape(NamedTuple):
    """A packet at one moment.

    :param protocol: ``skb->protocol``, host order
    :param head: from the network header on
    :param ct: as :data:`CONNECTIONS` has it
    :param socket: whether it has one
    :param zone: of its connection; this and what follows as of :class:`harness.walks.events.Entry`
    """

    protocol: int
    head: bytes
    length: int
    mark: int
    ct: int
    socket: bool = False
    zone: int = 0
    status: int = 0
    ct_id: int = 0


def tracked(shape: Shape) -> Connection | None:
    """The connection that a packet belongs to."""
    if not shape.ct & _CONNECTED:
        return None
    return Connection(shape.ct_id or None, shape.zone, tuple(_bits(shape.status)), "reply" if shape.ct & _INFO >= _IS_REPLY else "original")


def _bits(status: int) -> Iterator[str]:
    """Names of the bits of a status; those that have none as ``BIT20``."""
    for bit in range(status.bit_length()):
        if status >> bit & 1:
            yield STATUS[bit] if bit < len(STATUS) else f"BIT{bit}"


def differences(before: Shape, after: Shape) -> tuple[Change, ...]:
    """What *after* has that *before* had not; headers only where both have some."""
    return tuple(_differences(before, after))


def _differences(before: Shape, after: Shape) -> Iterator[Change]:
    if before.head and after.head and before.head != after.head:
        old, new = fields_of(before.protocol, before.head), fields_of(after.protocol, after.head)
        if old.get("protocol") != new.get("protocol"):
            yield Change("packet", *(summary(one.protocol, one.head, one.length) for one in (before, after)))
        else:
            yield from _fields(old, new)
    if before.mark != after.mark:
        yield Change("mark", f"{before.mark:#x}", f"{after.mark:#x}")
    if before.ct != after.ct:
        yield Change("connection", *(CONNECTIONS.get(one.ct, f"state {one.ct}") for one in (before, after)))
    if before.ct_id != after.ct_id:
        yield Change("connection id", *(str(one.ct_id) if one.ct_id else "none" for one in (before, after)))
    if before.zone != after.zone:
        yield Change("zone", str(before.zone), str(after.zone))
    if before.status != after.status:
        yield Change("status", *(" ".join(_bits(one.status)) or "none" for one in (before, after)))
    if before.socket != after.socket:
        yield Change("socket", *("found" if one.socket else "none" for one in (before, after)))


def _fields(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Change]:
    """Addresses with their ports, unless one of the two is a fragment, which has none."""
    for name in ("source", "destination"):
        parts = (name, f"{name} port") if f"{name} port" in old and f"{name} port" in new else (name,)
        if any(old.get(part) != new.get(part) for part in parts):
            yield Change(name, *("".join(one[part] for part in parts) for one in (old, new)))
    for name in new:
        if name in old and old[name] != new[name] and not name.startswith(("source", "destination")):
            yield Change(name, old[name], new[name])
