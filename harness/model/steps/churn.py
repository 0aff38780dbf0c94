"""Hooks that come and go while packets are under way: a packet meets one array or the other."""

from __future__ import annotations

from harness.model.path import Packet, Record, sendto
from harness.model.run import Run
from harness.model.steps.hooks import hook_ops
from harness.netfilter import Family, hook_number
from harness.outcome.types import PacketOutcome, StepOutcome
from harness.scenario.routing import first_address, source_address
from harness.scenario.steps.churn import CHURN_COOKIE, Churn, torn

__all__ = ("churn",)


def churn(run: Run, index: int, step: Churn) -> StepOutcome:
    net, ops = run.nets[step.netns], hook_ops(step.register, run.nets)
    run.registers[step.id] = step.register
    pf, hook = _point(step)
    before = [slot.label for _, slots in run.arrays(step.netns, pf, hook, step.device) for slot in slots if slot.label]
    sent = arrived = wrong = 0
    for number in range(max(step.packets, step.rounds)):
        if number < step.rounds:
            run.core.nf_register_net_hook(net, ops)
        if number < step.packets:
            packet = _send(run, step, CHURN_COOKIE + number)
            sent += packet.sent_errno == 0
            arrived += packet.fate.kind == "delivered"
            wrong += sum(torn(called, before, step.id) for called in _calls(packet, step))
        if number < step.rounds:
            run.core.nf_unregister_net_hook(net, ops)
    facts = {"sent": sent, "arrived": arrived, "rounds": step.rounds, "torn": wrong}
    return StepOutcome(index, 0, run.arrays(step.netns, step.pf, step.hook, step.device), facts=tuple(sorted(facts.items())))


def _send(run: Run, step: Churn, cookie: int) -> PacketOutcome:
    topology = run.stack.topology
    to = first_address(topology, step.to, Family.IPV4)
    assert to is not None  # noqa: S101 - a scenario is checked
    packet = Packet(walk=Record("udp", ""), cookie=cookie, kind="udp", protocol="IPV4", source=source_address(topology, step.source, to),
                    destination=to, size=32)
    sendto(run.stack, step.source, packet)
    return packet.walk.outcome(cookie)


def _calls(packet: PacketOutcome, step: Churn) -> list[list[str]]:
    """Our hooks that were called in each traversal of the step's point."""
    pf, hook = _point(step)
    return [[call.label for call in one.calls if call.label is not None] for one in packet.traversals
            if (one.netns, one.pf, one.hook) == (step.netns, pf, hook_number(pf, hook))]


def _point(step: Churn) -> tuple[Family, str]:
    """Where an IPv4 packet meets the hook."""
    if step.pf is Family.INET:
        return (Family.NETDEV, "INGRESS") if step.device is not None else (Family.IPV4, step.hook)
    return step.pf, step.hook
