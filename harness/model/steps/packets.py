"""Steps that send packets."""

from __future__ import annotations

from collections.abc import Mapping

from harness.model.path import Packet
from harness.model.run import Run
from harness.model.slow import Skb
from harness.model.steps.handler import Handler
from harness.outcome.types import StepOutcome
from harness.scenario.routing import source_address
from harness.scenario.steps import Send, destination, packet_summary

__all__ = ("HANDLERS",)


def _send(run: Run, index: int, step: Send) -> StepOutcome:
    """Send the packet, then whatever the stacks answer, one packet after the other."""
    topology = run.stack.topology
    _, to = destination(topology, step)
    source = source_address(topology, step.source, to)
    packet = Packet(Skb(step.cookie), "udp" if step.kind == "udp" else "echo request", source, to, step.size,
                    packet_summary(topology, step), step.ttl)
    fate = run.stack.sendto(step.source, packet)
    run.packets.append(packet.outcome(fate))
    while run.stack.answers:
        sender, answer = run.stack.answers.pop(0)
        fate = run.stack.sendto(sender, answer)
        answer.sent_errno = 0  # nobody called sendto()
        run.packets.append(answer.outcome(fate))
    return StepOutcome(index, packet.sent_errno)


HANDLERS: Mapping[type, Handler] = {Send: _send}
