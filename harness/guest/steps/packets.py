"""Steps that send packets."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from harness.guest import senders, traffic
from harness.guest.netns import Namespace
from harness.guest.run import Run, Sent
from harness.guest.steps.handler import Handler
from harness.outcome.facts import port
from harness.outcome.types import StepOutcome
from harness.scenario.routing import source_address
from harness.scenario.steps import WHOLE_MAX, Redirect, Send, destination
from harness.scenario.topology import Topology

__all__ = ("HANDLERS",)


def _send(run: Run, index: int, step: Send) -> StepOutcome:
    netns = run.network.namespaces[step.source]
    source, holder, to = _ends(run.grounds[index], replace(step, cookie=0))
    if step.fragment or step.segment or step.size > WHOLE_MAX:
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
    redirects = any(isinstance(each, Redirect) for each in run.scenario.steps)
    arrived = next((arrival.port for arrival in run.sinks.wait((), 0) if arrival.cookie == step.cookie), None) if redirects else None
    return StepOutcome(index, errno, facts=port(arrived) if redirects else ())


def _send_large(netns: Namespace, step: Send, source: str, to: str) -> int:
    """What is sent in pieces, or what the kernel cuts up: each piece ends with the cookie."""
    data = traffic.payload(step.size, step.cookie)
    if not step.fragment:
        return traffic.send_udp(netns, to, step.port, data, source_port=step.source_port, ttl=step.ttl, segment=step.segment)
    packet = traffic.udp_packet(source, to, step.source_port, step.port, data, ttl=step.ttl)
    return next(filter(None, [traffic.send_ip(netns, piece) for piece in traffic.fragments(packet, step.fragment)]), 0)


@lru_cache(maxsize=256)
def _ends(topology: Topology, step: Send) -> tuple[str, str, str]:
    """A packet's source, and the namespace and address that it goes to. Working them out takes longer than sending it."""
    holder, to = destination(topology, step)
    return str(source_address(topology, step.source, to) or to), holder, str(to)


HANDLERS: Mapping[type, Handler] = {Send: _send}
