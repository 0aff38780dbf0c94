"""What became of the packets that a scenario sent: what only their two ends know.

Each comes to one end. A packet that arrived twice, that arrived although it was dropped, or that nobody has freed came to a bad one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from harness.guest.run import Run, Sent
from harness.outcome.fate import Fate
from harness.outcome.types import PacketOutcome

__all__ = ("judged",)


def judged(run: Run, packets: tuple[PacketOutcome, ...]) -> tuple[PacketOutcome, ...]:
    """Packets as the tracer saw them, and what became of them, now that the scenario is over; what ``sendto()`` returned."""
    arrivals = Counter((arrival.netns, arrival.cookie) for arrival in run.sinks.wait((), 0))
    found: list[PacketOutcome] = []
    met: dict[int, int] = {}
    for packet in packets:
        sent = run.sent.get(packet.cookie) if packet.cookie is not None else None
        if packet.cookie is None or sent is None:
            found.append(packet)
            continue
        first = packet.kind == sent.kind and packet.cookie not in met
        place = (sent.to if first else sent.source), packet.cookie
        parts = sent.parts if first else 1
        arrived = arrivals[place] >= parts
        arrivals[place] -= parts * arrived
        if first:
            met[packet.cookie] = len(found)
        fate = _fate(packet, arrived=arrived, awaited=first)
        if fate.kind == "queued" and packet.cookie in run.watch.waiting:
            fate = Fate("leaked", reason="its listener is gone, and nobody has freed it")
        found.append(replace(packet, fate=fate, sent_errno=sent.errno if first else packet.sent_errno))
    for cookie, sent in run.sent.items():
        more = arrivals[sent.to, cookie] // sent.parts
        if more > 0 and cookie in met:
            found[met[cookie]] = replace(found[met[cookie]], fate=Fate("doubled", reason=f"delivered {more + 1} times"))
        elif cookie not in met:
            found.append(_unhooked(cookie, sent, more))
    return tuple(found)


def _fate(packet: PacketOutcome, *, arrived: bool, awaited: bool) -> Fate:
    """The one end that a packet came to, or the bad one.

    :param arrived: a sink got it
    :param awaited: one would have, had it been delivered
    """
    fate = packet.fate
    if arrived and fate.kind in ("dropped", "rejected", "stolen", "queued"):
        return Fate("doubled", fate.errno, f"{fate.kind}, and delivered")
    if arrived:
        fate = Fate("delivered", reason=fate.reason)
    elif awaited and fate.kind == "delivered":
        fate = Fate("consumed", reason="taken for the host, and no socket got it")
    if packet.alive and fate.kind != "queued" and all(traversal.returned is not None for traversal in packet.traversals):
        end = "no end was seen" if fate.kind == "unknown" else fate.kind
        return Fate("leaked", fate.errno, f"{end}, and {packet.alive} skb{'s' * (packet.alive > 1)} of it not freed")
    return fate


def _unhooked(cookie: int, sent: Sent, arrivals: int) -> PacketOutcome:
    """A packet that crossed no hook point that has a hook: the tracer has nothing to say of it. What no sink got, the stack ended.

    The answer to oneself arrives in the same place.
    """
    if sent.kind == "echo request" and sent.to == sent.source and arrivals > 1:
        arrivals -= 1
    fate = Fate("delivered" if arrivals else "consumed") if arrivals < 2 else Fate("doubled", reason=f"delivered {arrivals} times")
    return PacketOutcome(f"packet {cookie}", cookie, fate, (), sent.errno, kind=sent.kind)
