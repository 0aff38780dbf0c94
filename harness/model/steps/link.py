"""Steps below IP."""

from __future__ import annotations

from ipaddress import IPv4Address

from harness.model.path import BROADCAST, Mac, Packet, Record, arp_solicit, mac_of, send_frame
from harness.model.run import Run
from harness.model.steps.packets import note
from harness.outcome.types import StepOutcome
from harness.scenario.steps.link import BROADCAST as TO_ALL
from harness.scenario.steps.link import MULTICAST, Arp, Frame, asking_device

__all__ = ("arp", "frame")


def arp(run: Run, index: int, step: Arp) -> StepOutcome:
    device = asking_device(run.stack.topology, step)
    assert device is not None  # noqa: S101 - a scenario is checked
    addresses = IPv4Address(step.sender), IPv4Address(step.target)
    note(run, arp_solicit(run.stack, step.source, device, addresses, cookie=step.cookie))
    run.stack.neighbours.update(run.stack.topology, (step.source, device), addresses[1])
    return StepOutcome(index)


def frame(run: Run, index: int, step: Frame) -> StepOutcome:
    topology = run.stack.topology
    mac: Mac = ("*", step.to)
    if step.to in (TO_ALL, MULTICAST):
        mac = BROADCAST
    elif "/" in step.to:
        netns, _, device = step.to.partition("/")
        mac = mac_of(topology, netns, device)
    walk = Record("frame", f"frame from {step.source}/{step.device} to {step.to}, {step.size} bytes")
    packet = Packet(walk=walk, cookie=step.cookie, kind="frame", protocol="other", size=step.size, mac=mac, vlan=step.vlan)
    send_frame(run.stack, step.source, step.device, packet)
    note(run, packet)
    return StepOutcome(index, walk.sent_errno)
