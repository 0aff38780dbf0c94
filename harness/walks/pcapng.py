"""Packets' walks as a pcapng file: a block for every hook point that a packet crossed, on an interface that stands for the point.

What a record holds of a packet are the first bytes from its network header on: a block says how long the whole was. Comments tell what the
hooks of the point did.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator

from harness.outcome import describe
from harness.outcome import registration as registrations
from harness.outcome.types import HookCall, Outcome, PacketOutcome, Registration, Traversal
from harness.walks.short import registered as in_a_line

__all__ = ("written",)


def written(outcome: Outcome) -> bytes:
    """The file, in the order of time, of day if that is known. Packets that are not of IP are left out.

    A registration of a hook is a comment of the block behind it, of the last one if there is none.
    """
    from scapy.layers.inet import IP  # noqa: PLC0415 - a second, which a session without such a file does not spend
    from scapy.layers.inet6 import IPv6  # noqa: PLC0415
    from scapy.utils import EDecimal, PcapNgWriter  # noqa: PLC0415

    crossed = [(packet, traversal) for packet in outcome.packets for traversal in packet.traversals if traversal.time is not None]
    blocks, registered = [], list(outcome.registrations)
    for packet, traversal in sorted(crossed, key=lambda one: one[1].time or 0):
        kind = {4: IP, 6: IPv6}.get(traversal.head[0] >> 4 if len(traversal.head) >= 20 else 0)
        if kind is None:
            continue
        block = kind(traversal.head)
        block.time = EDecimal((outcome.began or 0) + (traversal.time or 0)) / 10**9
        block.wirelen = max(traversal.length, len(traversal.head))
        block.sniffed_on = _bytes(f"{traversal.netns} {describe.point(traversal)}").decode()
        before = [registered.pop(0) for _ in range(sum(one.time <= (traversal.time or 0) for one in registered))]
        block.comments = [_bytes(text) for text in (*map(_registered, before), "\n".join(_told(packet, traversal)))]
        blocks.append(block)
    if blocks:
        blocks[-1].comments = [*(blocks[-1].comments or ()), *(_bytes(_registered(one)) for one in registered)]
    with tempfile.NamedTemporaryFile(suffix=".pcapng") as file:
        # IPv4 and IPv6 have their own link types, each interface its one: scapy warns of both.
        logging.getLogger("scapy.runtime").setLevel(logging.ERROR)
        with PcapNgWriter(file.name) as writer:
            if not blocks:
                writer.write_header(None)
            for block in blocks:
                writer.write(block)
        return file.read()


def _bytes(text: str) -> bytes:
    """UTF-8; what a name may have that is no text, as escapes."""
    return text.encode("utf-8", "backslashreplace")


def _told(packet: PacketOutcome, traversal: Traversal) -> Iterator[str]:
    beside = "".join(f" ({said})" for said in describe.beside(packet))
    yield f"packet {packet.number}{beside}, {describe.devices(traversal)}".rstrip(", ")
    if traversal.generation is not None:
        yield f"generation {traversal.generation} of the array"
    if traversal.missed:
        yield f"old array: {registrations.missed(traversal.missed)}"
    if traversal.changed:
        yield f"on its way here: {describe.changed(traversal.changed)}"
    for call in traversal.calls:
        yield from _called(call, str(call.index))
    yield f"returned {describe.returned(traversal.returned)}"
    if traversal is packet.traversals[-1]:
        yield " ".join(filter(None, (describe.fate(packet.fate), packet.fate.reason)))


def _registered(registration: Registration) -> str:
    return f"registration {registration.number}: {in_a_line(registration).plain.partition('  ')[2]}"


def _called(call: HookCall, slot: str) -> Iterator[str]:
    for inner in call.calls:
        yield from _called(inner, f"{slot}.{inner.index}")
    notes = filter(None, (describe.decided_by(call), describe.changed_by(call)))
    yield "; ".join((f"{slot} {describe.priority(call.priority)} {call.chain or describe.name(call)} {call.verdict}", *notes))
