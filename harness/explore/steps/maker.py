"""How steps are drawn: what each module of this package says of those of its concern, and what several of them draw."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from hypothesis import strategies as st

from harness.netfilter import HOOK_POINTS, PRIORITY_MAX, PRIORITY_MIN, Family, Verdict, VerdictKind
from harness.outcome.profile import KernelProfile
from harness.scenario.scope import Scope
from harness.scenario.step import Step

__all__ = (
    "COOKIES", "QUEUES", "SORTS", "Drawn", "Maker", "Sort", "always", "as_it_is", "new_name", "point", "priorities", "returns", "verdicts",
)

Maker = Callable[[st.DrawFn, Scope], Step | None]
"""Draws a step that makes sense after those so far, or ``None`` if none does."""

Sort = Literal["anything", "direct", "packets", "queues", "upset"]
"""What a scenario is made of; of ``upset`` the topology changes and allocations fail."""

SORTS: tuple[Sort, ...] = get_args(Sort)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """How the steps of a concern are drawn. None of it has a default.

    :param makers: one that is there twice is drawn twice as often
    :param times: how many times over the makers are drawn in a scenario of each sort; none in one that is not named
    :param there: whether a kernel has such steps
    :param plainer: steps like one, a little plainer, beside those with defaults in it and fewer steps
    """

    makers: tuple[Maker, ...]
    times: Mapping[Sort, int]
    there: Callable[[KernelProfile], bool]
    plainer: Callable[[Any], Iterable[Step]]


def always(_profile: KernelProfile) -> bool:
    """``there`` of steps that every kernel has."""
    return True


def as_it_is(_step: Step) -> tuple[Step, ...]:
    """``plainer`` of a concern whose steps have no plainer forms but their defaults."""
    return ()


COOKIES = range(1, 9)
"""Of packets that hooks may wait for: the first ones of a scenario."""

QUEUES = (0, 7)
"""Those that listeners bind."""

ERRNOS = sorted({errno.EPERM, errno.ENOENT, errno.EACCES, errno.ENOBUFS, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EAGAIN})

#: Few values and often equal, with the ends of the range: what order depends on.
priorities = st.one_of(st.sampled_from([0, 1, -1, -300, PRIORITY_MIN, PRIORITY_MIN + 1, PRIORITY_MAX]),
                       st.integers(PRIORITY_MIN, PRIORITY_MAX))

verdicts = st.one_of(
    st.just(Verdict(VerdictKind.ACCEPT)),
    st.builds(Verdict, st.sampled_from([VerdictKind.DROP, VerdictKind.STOLEN]), errno=st.sampled_from([0, 0, 0, *ERRNOS])),
    st.builds(Verdict, st.just(VerdictKind.QUEUE), queue=st.one_of(st.sampled_from(QUEUES), st.integers(0, 0xFFFF)), bypass=st.booleans()),
)

#: What a hook function may return: any u32, most of them near the verdicts that there are. Of those that there are not the kernel warns,
#: which takes an emulated guest longer than anything else here.
returns = st.one_of(*[verdicts.map(Verdict.encode)] * 4, st.integers(0, 7), st.integers(0, 2**32 - 1))

_FAMILIES = st.sampled_from([Family.IPV4, Family.IPV4, Family.IPV6, Family.INET, Family.INET, Family.NETDEV, Family.NETDEV, Family.BRIDGE,
                              Family.ARP])
#: INET's at a device as often as at any other point, for a device has no others' hooks to hide what is wrong with it.
_HOOKS = {pf: st.sampled_from([*hooks, *["INGRESS"] * 2 * (pf is Family.INET)]) for pf, hooks in HOOK_POINTS.items()}


def new_name(scope: Scope, stem: str) -> str:
    """An id that no hook has."""
    return f"{stem}{scope.index}"


def point(draw: st.DrawFn, scope: Scope) -> tuple[str, Family, str, str | None]:
    """A hook point that is one: namespace, family, name, device."""
    netns = draw(st.sampled_from(scope.topology.namespaces))
    pf = draw(_FAMILIES)
    hook = draw(_HOOKS[pf])
    by_device = pf is Family.NETDEV or (pf is Family.INET and hook == "INGRESS")
    return netns, pf, hook, draw(st.sampled_from(scope.topology.devices(netns))) if by_device else None
