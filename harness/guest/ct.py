"""Core's way to connection tracking, driven directly: ``nf_ct_get_tuple_skb``, ``nf_ct_attach``, ``nf_conntrack_destroy``."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path

from harness.guest.genetlink import attribute
from harness.guest.module import HookModule
from harness.guest.uapi import Attribute, Command, pack, unpack
from harness.scenario.steps.conntrack import ConntrackTuple

__all__ = ("CtResult", "Own", "run")

_ORPHANS = Path("/sys/module/nfharness/parameters/orphans")


class Own(IntFlag):
    """``enum nfharness_ct_own``: what stands in the place of nf_conntrack's."""

    NOTHING = 0
    CONNECTION = 1
    HOOKS = 2
    ORPHAN = 4
    UNTRACKED = 8


@dataclass(frozen=True, slots=True)
class CtResult:
    """What came of a run.

    :param connection: the first datagram had one
    :param found: tuple that ``nf_ct_get_tuple_skb`` found for it; ``None`` for false
    :param attached: ``nf_ct_attach`` gave the second datagram the same connection, or the mark of one that is not tracked
    :param info: ``enum ip_conntrack_info`` of the second one; ``None`` if it got neither
    :param uses: references to the first one's connection then, 0 without one
    :param calls: of the module's hooks: of ``get_tuple_skb``, of ``attach``, of ``destroy`` after the second datagram's end, and after both
    :param closings: of ``set_closing``, if it was asked for
    """

    connection: bool
    found: ConntrackTuple | None
    attached: bool
    info: int | None
    uses: int
    calls: tuple[int, int, int, int]
    closings: int | None = None


def run(module: HookModule, flow: ConntrackTuple, *, track: bool = False, own: Own = Own.NOTHING, cookie: int = 0,
        close: bool = False) -> CtResult:
    """Ask core for the tuple of a datagram, attach a second one to it, end the second and then the first.

    :param track: let the namespace's hooks at IPv4 PREROUTING see the first one before
    :param close: ``nf_ct_set_closing`` of the first one's connection, and of none
    :param own: while nf_conntrack is not loaded; with ``ORPHAN`` core must not have a ``BUG()`` where it misses the hook
    :raises HookRefused: EBUSY: nf_conntrack is loaded; ECANCELED: a hook at PREROUTING let the datagram not pass; EOPNOTSUPP: a kernel
        without connection tracking; EINVAL: an orphan that is not the module's, or with a hook; a tracked datagram with *own*
    """
    if Own.ORPHAN in own:
        _ORPHANS.write_text("Y")
    body = _encode(flow) + pack(Attribute.CT_OWN, own) + pack(Attribute.COOKIE, cookie)
    for flag, asked in ((Attribute.CT_TRACK, track), (Attribute.CT_CLOSE, close)):
        body += attribute(flag, b"") if asked else b""
    (reply,) = module.request(Command.CT_RUN, body)
    info = unpack(reply, Attribute.CT_INFO) if Attribute.CT_INFO in reply else None
    found = None
    if Attribute.SADDR in reply:
        found = ConntrackTuple(socket.inet_ntoa(reply[Attribute.SADDR]), unpack(reply, Attribute.SPORT),
                               socket.inet_ntoa(reply[Attribute.DADDR]), unpack(reply, Attribute.DPORT))
    return CtResult(Attribute.CT_CONNECTION in reply, found, Attribute.CT_ATTACHED in reply, info, unpack(reply, Attribute.CT_USES),
                    struct.unpack("=4I", reply[Attribute.CT_CALLS]),
                    unpack(reply, Attribute.CT_CLOSINGS) if Attribute.CT_CLOSINGS in reply else None)


def _encode(flow: ConntrackTuple) -> bytes:
    return (attribute(Attribute.SADDR, socket.inet_aton(flow.source)) + attribute(Attribute.DADDR, socket.inet_aton(flow.destination))
            + pack(Attribute.SPORT, flow.source_port) + pack(Attribute.DPORT, flow.port))
