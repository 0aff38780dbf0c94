"""What became of the packets that a scenario sent: what only their two ends know."""

from __future__ import annotations

from dataclasses import replace

from harness.guest.run import Run
from harness.outcome.types import Fate, PacketOutcome
from harness.scenario.steps import Send, destination

__all__ = ("judged",)

_ICMP_ENDS = ("icmp_rcv", "icmpv6_rcv")
"""Where the stack ends an ICMP error that it has acted upon: no socket gets it."""


def judged(run: Run, packets: tuple[PacketOutcome, ...]) -> tuple[PacketOutcome, ...]:
    """Packets as the tracer saw them; with their delivery, and what ``sendto()`` returned."""
    found: list[PacketOutcome] = []
    met: set[int] = set()
    sends = {step.cookie: step for step in run.scenario.steps if isinstance(step, Send)}
    delivered = {(arrival.netns, arrival.cookie) for arrival in run.sinks.wait((), 0)}

    def arrived(netns: str, cookie: int) -> bool:
        return (run.network.namespaces[netns].name, cookie) in delivered

    wanted = {cookie: destination(run.scenario.topology, step)[0] for cookie, step in sends.items()}
    for packet in packets:
        cookie = packet.cookie
        if cookie is None or cookie not in sends:
            found.append(packet)
        elif cookie not in met:
            met.add(cookie)
            fate = Fate("delivered", reason=packet.fate.reason) if arrived(wanted[cookie], cookie) else packet.fate
            found.append(replace(packet, fate=fate, sent_errno=run.sent.get(cookie, 0)))
        elif _taken(packet) or arrived(sends[cookie].source, cookie):
            found.append(replace(packet, fate=Fate("delivered", reason=packet.fate.reason)))
        else:
            found.append(packet)
    return (*found, *(_unhooked(run, cookie, arrived=arrived(netns, cookie)) for cookie, netns in wanted.items() if cookie not in met))


def _unhooked(run: Run, cookie: int, *, arrived: bool) -> PacketOutcome:
    """A packet that crossed no hook point that has a hook: the tracer has nothing to say of it. What nobody got, the stack ended."""
    return PacketOutcome(f"packet {cookie}", cookie, Fate("delivered" if arrived else "consumed"), (), run.sent.get(cookie, 0))


def _taken(packet: PacketOutcome) -> bool:
    """Whether the stack that an ICMP error was meant for took it. Older kernels do not say where an skb was consumed."""
    reason = packet.fate.reason
    return packet.fate.kind == "consumed" and (reason is None or reason.rpartition(" ")[2] in _ICMP_ENDS)
