"""Steps that send packets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from harness.guest import senders, traffic
from harness.guest.netns import Namespace
from harness.guest.run import Run, Sent
from harness.guest.steps.link import GROUPS
from harness.guest.topology import mac_of
from harness.outcome.facts import port
from harness.outcome.types import StepOutcome
from harness.scenario.routing import source_address
from harness.scenario.steps.packets import Send, destination, has_socket, neighbour
from harness.scenario.topology import Topology

__all__ = ("send",)


def send(run: Run, index: int, step: Send) -> StepOutcome:
    netns = run.network.namespaces[step.source]
    source, holder, to = _ends(run, run.topologies[index], step)
    with _to_a_group(run, run.topologies[index], step):
        errno = _sent(run, netns, step, (source, to))
    kind, parts = "udp" if step.kind == "udp" else "echo request", -(-step.size // (step.segment or step.size))
    run.sent[step.cookie] = Sent(errno, netns.name, run.network.namespaces[holder].name, kind, parts)
    run.watch.settle(step.cookie)
    if not run.redirects:
        return StepOutcome(index, errno)
    return StepOutcome(index, errno, facts=port(next((each.port for each in run.sinks.wait((), 0) if each.cookie == step.cookie), None)))


def _sent(run: Run, netns: Namespace, step: Send, ends: tuple[str, str]) -> int:
    """The errno of ``sendto()``, or 0."""
    source, to = ends
    if step.fragment or has_socket(step):
        return _send_large(netns, step, source, to)
    if step.kind == "udp":
        packet = senders.datagram(source, to, (step.source_port, step.port), size=step.size, cookie=step.cookie, ttl=step.ttl)
        return run.ground.senders.send_ip(netns, packet, to)
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    return run.ground.senders.send_echo(netns, senders.echo_request(family, step.size, step.cookie), to, step.ttl)


@contextmanager
def _to_a_group(run: Run, topology: Topology, step: Send) -> Iterator[None]:
    """Meanwhile the neighbour has a group's hardware address."""
    found = neighbour(topology, step) if step.group else None
    if step.group is None or found is None:
        yield
        return
    from pyroute2 import IPRoute  # noqa: PLC0415 - seconds in an emulated guest

    device, address = found
    (end,) = topology.segment(step.source, device)
    entry = {"family": socket.AF_INET6 if address.version == 6 else socket.AF_INET, "dst": str(address), "state": "permanent",
             "ifindex": run.ifindex(step.source, device)}
    with run.network.namespaces[step.source].inside(), IPRoute() as routes:
        routes.neigh("replace", lladdr=GROUPS[step.group], **entry)
        try:
            yield
        finally:
            routes.neigh("replace", lladdr=mac_of(topology, end), **entry)


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
