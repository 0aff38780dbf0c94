"""Steps with hooks at hook points, ours and others'."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness.netfilter import HOOK_POINTS, Family, Verdict, VerdictKind

__all__ = ("ACCEPT", "COUNT_MAX", "TIMES_MAX", "Dump", "Nft", "Register", "RegisterMany", "Unregister", "is_point")

ACCEPT = Verdict(VerdictKind.ACCEPT)

COUNT_MAX = 2048
"""Most hooks of one register-many: twice what fits at a point."""

TIMES_MAX = 64
"""``nf_reinject`` calls a hook that says REPEAT once more."""


@dataclass(frozen=True, slots=True)
class Register:
    """``nf_register_net_hook``.

    :param id: the scenario's name for the hook
    :param device: for NETDEV, and for INGRESS of INET
    :param cookie: the one packet that gets the verdict, others are accepted; ``None``: every packet gets it
    :param device_netns: of a batch's hook: another namespace, whose *device* is meant: core refuses it
    :param fail: core's allocations in this step that find no memory, counted from 0 (as in every step that has it)
    :param reinjected: the u32 that it returns instead where ``nf_reinject`` calls it
    :param times: so many calls get *reinjected*, the others ACCEPT; REPEAT needs it
    """

    id: str
    netns: str
    pf: Family
    hook: str
    priority: int = 0
    verdict: Verdict = ACCEPT
    device: str | None = None
    cookie: int | None = None
    device_netns: str | None = None
    fail: tuple[int, ...] = ()
    reinjected: int | None = None
    times: int | None = None


@dataclass(frozen=True, slots=True)
class RegisterMany:
    """``nf_register_net_hook`` for each of *count* hooks alike; those that come after a refused one are tried all the same.

    The step's errno is that of the first refusal; its array is read once, after the last.

    :param id: the hooks are called ``id.1`` to ``id.count``, in the order of their registration
    """

    id: str
    netns: str
    pf: Family
    hook: str
    count: int
    priority: int = 0
    device: str | None = None

    def each(self) -> Iterator[Register]:
        """The registrations, one by one."""
        for number in range(1, self.count + 1):
            yield Register(f"{self.id}.{number}", self.netns, self.pf, self.hook, self.priority, device=self.device)


@dataclass(frozen=True, slots=True)
class Unregister:
    """``nf_unregister_net_hook``. :param id: that of an earlier :class:`Register`; :param fail: as of :class:`Register`"""

    id: str
    fail: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Dump:
    """Read one hook point's array, slot by slot."""

    netns: str
    pf: Family
    hook: str
    device: str | None = None


@dataclass(frozen=True, slots=True)
class Nft:
    """Load a real nft ruleset: its hooks are foreign ones, which the model adopts from what was seen.

    :param ruleset: as ``nft -f`` reads it
    """

    netns: str
    ruleset: str


def is_point(pf: Family, hook: str, device: str | None) -> bool:
    """Whether a hook point is one: a number that the family has, and the device that it belongs to."""
    by_device = pf is Family.NETDEV or (pf is Family.INET and hook == "INGRESS")
    return hook in HOOK_POINTS.get(pf, {}) and by_device == (device is not None)
