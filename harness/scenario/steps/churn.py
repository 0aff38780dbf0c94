"""Hooks that come and go while packets are under way."""

from __future__ import annotations

from dataclasses import dataclass

from harness.netfilter import Family
from harness.scenario.steps.hooks import Register

__all__ = ("CHURN_COOKIE", "Churn", "torn")

CHURN_COOKIE = 1 << 62
"""The first of its packets' cookies; no other packet's is as large."""


@dataclass(frozen=True, slots=True)
class Churn:
    """A hook is registered and unregistered, over and over, on one processor, while another one sends datagrams through its point.

    The step finds how many datagrams were ``sent`` and ``arrived``, how many ``rounds`` there were, and how many traversals were
    ``torn``: what was called at the point is not what one of the two arrays has.

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

    @property
    def register(self) -> Register:
        """One registration."""
        return Register(self.id, self.netns, self.pf, self.hook, self.priority, device=self.device)


def torn(called: list[str], before: list[str], own: str) -> bool:
    """Whether a traversal called something else than the hooks of an array without the hook *own*, or of the one with it.

    :param called: the scenario's hooks, in the order of their calls; :param before: those that stay, in the order of the array
    """
    return [name for name in called if name != own] != before or called.count(own) > 1
