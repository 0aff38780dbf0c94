"""Steps that send packets."""

from __future__ import annotations

from harness.model.conntrack import nf_conntrack_put
from harness.model.path import Packet, Piece, Record, sendto, settle
from harness.model.run import Run
from harness.netfilter import Family
from harness.outcome.facts import port
from harness.outcome.types import StepOutcome
from harness.scenario.routing import source_address
from harness.scenario.steps.conntrack import ConntrackTuple
from harness.scenario.steps.packets import Send, destination, has_socket, packet_summary

__all__ = ("note", "send")


def send(run: Run, index: int, step: Send) -> StepOutcome:
    """Send the packet, then whatever the stacks answer, one packet after the other."""
    topology = run.stack.topology
    _, to = destination(topology, step)
    source = source_address(topology, step.source, to)
    packet = Packet(
        walk=Record("udp" if step.kind == "udp" else "echo request", packet_summary(topology, step)), cookie=step.cookie,
        kind="udp" if step.kind == "udp" else "echo request", protocol="IPV6" if step.pf is Family.IPV6 else "IPV4", source=source,
        destination=to, size=step.size, ttl=step.ttl,
        piece=Piece(0, last=False, size=step.fragment) if step.fragment else None, segment=step.segment,
        group=step.group is not None)
    if step.kind == "udp" and step.pf is Family.IPV4:
        packet.ct.flow = ConntrackTuple(str(source), step.source_port, str(to), step.port)
    packet.walk.has_socket = has_socket(step)
    sendto(run.stack, step.source, packet)
    note(run, packet)
    packet.walk.has_socket = False
    redirects = any(each.facts.redirects for each in run.scenario.steps)
    flow = packet.ct.flow if packet.walk.delivered else None
    return StepOutcome(index, packet.walk.sent_errno, facts=port(flow.port if flow else None) if redirects else ())


def note(run: Run, packet: Packet) -> None:
    """The packet, and whatever the stacks answer."""
    run.packets += (packet, *settle(run.stack))
    put_ended(run)


def put_ended(run: Run) -> None:
    """Packets that have come to an end let go of their connections."""
    for packet in run.packets:
        if packet.state != "queued":
            nf_conntrack_put(run.tracking, packet.ct)
