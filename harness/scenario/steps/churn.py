"""Hooks that come and go while packets are under way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.netfilter import HOOK_POINTS, Family
from harness.scenario.keys import COOKIE_MAX, check_point, device, family, point_json, priority
from harness.scenario.reader import Value, fail
from harness.scenario.routing import first_address, lookup
from harness.scenario.scope import Scope
from harness.scenario.step import Facts, Step, Traffic, no_rules, no_sinks, none_wait, nothing, nowhere, same_topology, stays
from harness.scenario.steps.hooks import Register

__all__ = ("CHURN_COOKIE", "Churn", "passed_by", "torn")

CHURN_COOKIE = COOKIE_MAX + 1
"""The first of its packets' cookies; no other packet's is as large."""

_ROUNDS_MAX, _PACKETS_MAX = 100_000, 2000


@dataclass(frozen=True, slots=True)
class Churn(Step):
    """A hook is registered and unregistered, over and over, on one processor, while another one sends datagrams through its point.

    The step finds how many datagrams were ``sent`` and ``arrived``, how many ``rounds`` there were, and how many traversals were
    ``torn``: what was called at the point is not what one of the two arrays has, or nothing was although other hooks stand there.

    :param rounds: registrations, and as many unregistrations; more as long as packets are under way
    :param source: sends the datagrams (``from`` in JSON) to the first IPv4 address of the namespace *to*
    :param packets: datagrams
    """

    id: str
    netns: str
    pf: Family
    hook: str
    source: str
    to: str
    rounds: int = 200
    packets: int = 100
    priority: int = 0
    device: str | None = None

    do = "churn"
    facts = Facts(
        flushed=stays, touches=nowhere, allocates=nothing, sends=lambda _step: Traffic(None, frozenset({4})), sinks=no_sinks,
        queues=none_wait, redirects=False, needs=(), rules=no_rules, modules=False, baseline=False, leaves=same_topology,
        not_drawn="what it shows takes thousands of rounds, not another scenario: the rules have those")

    @property
    def register(self) -> Register:
        """One registration."""
        return Register(self.id, self.netns, self.pf, self.hook, self.priority, device=self.device)

    @classmethod
    def read(cls, value: Value) -> Churn:
        value.keys(("do", "id", "netns", "pf", "hook", "from", "to"), ("priority", "device", "rounds", "packets"))
        pf = family(value["pf"])
        counts = {key: value[key].integer(1, most) for key, most in (("rounds", _ROUNDS_MAX), ("packets", _PACKETS_MAX)) if key in value}
        return cls(value["id"].line(), value["netns"].string(), pf, value["hook"].choice(HOOK_POINTS[pf]), value["from"].string(),
                   value["to"].string(), priority=priority(value), device=device(value), **counts)

    def write(self) -> dict[str, Any]:
        return {"id": self.id, **point_json(self), "priority": self.priority, "from": self.source, "to": self.to, "rounds": self.rounds,
                "packets": self.packets}

    def check(self, scope: Scope, path: str) -> None:
        check_point(scope, self, path)
        scope.new_ids((self.id,), path)
        for key, netns in (("from", self.source), ("to", self.to)):
            scope.netns(netns, f"{path}.{key}")
        address = first_address(scope.topology, self.to, Family.IPV4)
        if self.source == self.to or address is None or address.is_loopback or lookup(scope.topology, self.source, address) is None:
            fail(f"{path}.to", f"no IPv4 packet goes from {self.source} to {self.to}", "choose two namespaces with a route between them")


def torn(called: list[str], before: list[str], own: str) -> bool:
    """Whether a traversal called something else than the hooks of an array without the hook *own*, or of the one with it.

    :param called: the scenario's hooks, in the order of their calls
    :param before: those that stay, in the order of the array
    """
    return [name for name in called if name != own] != before or called.count(own) > 1


def passed_by(arrived: int, seen: int, *, stands: bool) -> int:
    """How many packets found no array at the point: ``nf_hook()`` calls nothing then, and there is no traversal to look at.

    :param arrived: packets that came to their destination
    :param seen: traversals of the point
    :param stands: other hooks are there all the time; without them an empty point is one of the two states
    """
    return max(0, arrived - seen) if stands and seen else 0
