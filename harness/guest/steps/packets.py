"""Steps that send packets."""

from __future__ import annotations

import time
from collections.abc import Mapping

from harness.guest import traffic
from harness.guest.run import Run
from harness.guest.settle import settled
from harness.guest.steps.handler import Handler
from harness.outcome.types import StepOutcome
from harness.scenario.routing import source_address
from harness.scenario.steps import Send, destination

__all__ = ("HANDLERS",)

_SETTLE_SECONDS = 3.0


def _send(run: Run, index: int, step: Send) -> StepOutcome:
    topology = run.scenario.topology
    netns, to = run.network.namespaces[step.source], destination(topology, step)[1]
    data = traffic.payload(step.size, step.cookie)
    if step.kind == "udp":
        source = str(source_address(topology, step.source, to) or to)
        errno = traffic.send_ip(netns, traffic.udp_packet(source, str(to), step.source_port, step.port, data, ttl=step.ttl))
    else:
        errno = traffic.send_echo(netns, str(to), data, ttl=step.ttl)
    run.sent[step.cookie] = errno
    deadline = time.monotonic() + _SETTLE_SECONDS
    while not settled(run.capture, step.cookie, _arrived(run, step.cookie) or errno != 0) and time.monotonic() < deadline:
        continue
    return StepOutcome(index, errno)


def _arrived(run: Run, cookie: int) -> bool:
    return any(arrival.cookie == cookie for arrival in run.sinks.wait((), 0))


HANDLERS: Mapping[type, Handler] = {Send: _send}
