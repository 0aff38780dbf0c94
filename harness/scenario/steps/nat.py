"""Steps with address translation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from harness.scenario.reader import Value, fail
from harness.scenario.scope import Scope
from harness.scenario.step import Facts, Sink, Step, no_packets, none_wait, nothing, nowhere, same_topology, stays
from harness.scenario.steps.hooks import FOREIGN
from harness.scenario.topology import Topology

__all__ = ("Redirect",)

_PRIORITIES = (-199, 199)
"""nft refuses a nat chain at or before the priority of conntrack's hook (-200)."""


def _its_port(step: Redirect, _topology: Topology) -> Iterable[Sink]:
    return (Sink(step.netns, "udp", 4, step.to),)


@dataclass(frozen=True, slots=True)
class Redirect(Step):
    """A nat chain of nft's at IPv4 PREROUTING, in its own table: UDP datagrams to one port go to another, at this host.

    It is no hook of the hook point: NAT has one there for all of them, and calls theirs in its own loop (``nf_nat_inet_fn``) over
    an array that ``nf_hook_entries_insert_raw`` makes. A later ``send`` says which port its datagram came to.

    :param port: whose datagrams are redirected
    :param to: where
    """

    netns: str
    to: int
    priority: int = -100
    port: int = 9

    do = "redirect"
    facts = Facts(flushed=stays, touches=nowhere, allocates=nothing, sends=no_packets, sinks=_its_port, queues=none_wait, redirects=True,
                  needs=("redirect",), rules=lambda step: (step.netns,), modules=False, baseline=False, leaves=same_topology,
                  not_drawn=FOREIGN)

    @classmethod
    def read(cls, value: Value) -> Redirect:
        value.keys(("do", "netns", "to"), ("priority", "port"))
        return cls(
            netns=value["netns"].string(),
            to=value["to"].integer(1, 65535),
            priority=value["priority"].integer(*_PRIORITIES) if "priority" in value else -100,
            port=value["port"].integer(1, 65535) if "port" in value else 9,
        )

    def write(self) -> dict[str, Any]:
        return {"netns": self.netns, "priority": self.priority, "port": self.port, "to": self.to}

    def check(self, scope: Scope, path: str) -> None:
        scope.netns(self.netns, f"{path}.netns")
        if self.to == self.port:
            fail(f"{path}.to", f"{self.to} is the port that is redirected", "choose another one")
