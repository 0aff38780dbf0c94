"""Steps that send packets."""

from __future__ import annotations

import socket

from harness.guest import senders, traffic
from harness.guest.netns import Namespace
from harness.guest.run import Run, Sent
from harness.outcome.facts import port
from harness.outcome.types import StepOutcome
from harness.scenario.routing import source_address
from harness.scenario.steps.packets import Send, destination, has_socket
from harness.scenario.topology import Topology

__all__ = ("send",)


def send(run: Run, index: int, step: Send) -> StepOutcome:
    netns = run.network.namespaces[step.source]
    source, holder, to = _ends(run, run.topologies[index], step)
    if step.fragment or has_socket(step):
        errno = _send_large(netns, step, source, to)
    elif step.kind == "udp":
        packet = senders.datagram(source, to, (step.source_port, step.port), size=step.size, cookie=step.cookie, ttl=step.ttl)
        errno = run.ground.senders.send_ip(netns, packet, to)
    else:
        family = socket.AF_INET6 if ":" in to else socket.AF_INET
        errno = run.ground.senders.send_echo(netns, senders.echo_request(family, step.size, step.cookie), to, step.ttl)
    kind, parts = "udp" if step.kind == "udp" else "echo request", -(-step.size // (step.segment or step.size))
    run.sent[step.cookie] = Sent(errno, netns.name, run.network.namespaces[holder].name, kind, parts)
    run.watch.settle(step.cookie)
    if not run.redirects:
        return StepOutcome(index, errno)
    return StepOutcome(index, errno, facts=port(next((each.port for each in run.sinks.wait((), 0) if each.cookie == step.cookie), None)))


def _send_large(netns: Namespace, step: Send, source: str, to: str) -> int:
    """What is sent in pieces, or what the kernel cuts up: each piece ends with the cookie."""
    data = traffic.payload(step.size, step.cookie)
    if not step.fragment:
        return traffic.send_udp(netns, to, step.port, data, source_port=step.source_port, ttl=step.ttl, segment=step.segment)
    packet = traffic.udp_packet(source, to, step.source_port, step.port, data, ttl=step.ttl)
    return next(filter(None, [traffic.send_ip(netns, piece) for piece in traffic.fragments(packet, step.fragment)]), 0)


def _ends(run: Run, topology: Topology, step: Send) -> tuple[str, str, str]:
    """A packet's source, and the namespace and address that it goes to. Working them out takes longer than sending it."""
    key = id(topology), step.source, step.to, step.pf
    if key not in run.ends:
        holder, to = destination(topology, step)
        run.ends[key] = str(source_address(topology, step.source, to) or to), holder, str(to)
    return run.ends[key]
