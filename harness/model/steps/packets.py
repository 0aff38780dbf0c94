"""Steps that send packets."""

from __future__ import annotations

from collections.abc import Mapping

from harness.model.path import Packet, Piece, Walk, answered, sendto
from harness.model.run import Run
from harness.model.steps.handler import Handler
from harness.netfilter import Family
from harness.outcome.types import StepOutcome
from harness.scenario.routing import source_address
from harness.scenario.steps import Send, destination, packet_summary

__all__ = ("HANDLERS", "note")


def _send(run: Run, index: int, step: Send) -> StepOutcome:
    """Send the packet, then whatever the stacks answer, one packet after the other."""
    topology = run.stack.topology
    _, to = destination(topology, step)
    source = source_address(topology, step.source, to)
    packet = Packet(
        walk=Walk("udp" if step.kind == "udp" else "echo request", packet_summary(topology, step)), cookie=step.cookie,
        kind="udp" if step.kind == "udp" else "echo request", protocol="IPV6" if step.pf is Family.IPV6 else "IPV4", source=source,
        destination=to, size=step.size, ttl=step.ttl,
        piece=Piece(0, last=False, size=step.fragment) if step.fragment else None, segment=step.segment)
    sendto(run.stack, step.source, packet)
    note(run, packet)
    return StepOutcome(index, packet.walk.sent_errno)


def note(run: Run, packet: Packet) -> None:
    """The packet, and whatever the stacks answer."""
    run.packets += [one.walk.outcome(one.cookie) for one in (packet, *answered(run.stack))]


HANDLERS: Mapping[type, Handler] = {Send: _send}
