"""A packet's walk, in the terms that a test compares: fates, hook points, calls."""

from __future__ import annotations

import errno as errno_names
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.netfilter import Family, errno_name, hook_name
from harness.outcome import describe
from harness.outcome.types import OURS, Fate, HookCall, PacketOutcome, Traversal

__all__ = ("Call", "Consumed", "Delivered", "Dropped", "Queued", "Stolen", "Visit", "Walk")

Chains = Mapping[tuple[str, Family, int, int], str]
"""Namespace, family, hook number and slot → ``table chain``."""


def Delivered() -> Fate:  # noqa: N802 - a fate is compared as if it were a class of its own
    """The stack that the packet was meant for took it."""
    return Fate("delivered")


def Dropped(errno: int | str = "EPERM") -> Fate:  # noqa: N802
    """The verdict loop freed it. :param errno: what the loop returned, EPERM for a DROP that names none (``nf_hook_slow``)"""
    return Fate("dropped", number_of(errno))


def Stolen(errno: int | str = 0) -> Fate:  # noqa: N802
    """A hook took it; with an errno that is how newer nft drops."""
    return Fate("stolen", number_of(errno))


def Queued() -> Fate:  # noqa: N802
    """It waits for an NFQUEUE listener."""
    return Fate("queued")


def Consumed() -> Fate:  # noqa: N802
    """The stack ended it between two hook points."""
    return Fate("consumed")


def number_of(errno: int | str) -> int:
    """``"EPERM"`` → 1. :raises ValueError: no errno has that name"""
    if isinstance(errno, int):
        return errno
    number = getattr(errno_names, errno, None)
    if not isinstance(number, int):
        raise ValueError(f"no errno is called {errno}")
    return number


@dataclass(frozen=True, slots=True)
class Call:
    """One call of one hook function.

    :param name: ours by its name, nft's by table and chain, others by their function
    :param verdict: ``"ACCEPT"``, ``"DROP"``, ``"STOLEN"``, ``"QUEUE"`` …
    :param errno: that the verdict carries, 0 for none
    :param ns: nanoseconds it took, the probe's own cost included
    """

    name: str
    function: str
    module: str | None
    priority: int | None
    verdict: str
    errno: int
    slot: int
    ns: int | None


@dataclass(frozen=True, slots=True)
class Visit:
    """One run of the verdict loop over one hook point.

    :param returned: 1 if the packet goes on, 0 or a negative errno if not; ``None`` if it was not seen
    """

    netns: str
    pf: str
    hook: str
    indev: str
    outdev: str
    calls: tuple[Call, ...]
    returned: int | None

    @property
    def names(self) -> list[str]:
        """Of the calls, in order."""
        return [call.name for call in self.calls]


class Walk:
    """What one packet met.

    :ivar packet: its headers, for a reader
    :ivar fate: what became of it, to be compared with :func:`Dropped` and the like
    :ivar reason: the kernel's drop reason or the function that ended it, for a reader
    :ivar visits: hook points, in order
    :ivar sent_errno: what ``sendto()`` failed with, 0 if it did not
    :ivar answers: walks of the packets that answer this one
    """

    def __init__(self, outcome: PacketOutcome, chains: Chains, answers: Sequence[Walk] = ()) -> None:
        self.outcome = outcome
        self.packet = outcome.packet
        self.fate = replace(outcome.fate, reason=None)
        self.reason = outcome.fate.reason
        self.visits = tuple(_visit(traversal, chains) for traversal in outcome.traversals)
        self.sent_errno = outcome.sent_errno
        self.answers = tuple(answers)

    def at(self, hook: str, *, netns: object = None, pf: str | None = None) -> Visit:
        """The first visit of a hook point.

        :param netns: a host of the lab, or its name; any by default
        :param pf: ``"ipv4"``, ``"netdev"`` …; any by default
        :raises AssertionError: the packet did not cross it
        """
        found = [visit for visit in self.visits if visit.hook == hook.upper() and str(netns or visit.netns) == visit.netns
                 and (pf or visit.pf).upper() == visit.pf]
        where = f" of {netns}" if netns else ""
        assert found, f"the packet did not cross {hook}{where}; it crossed {', '.join(self.points) or 'no hook point that has a hook'}"  # noqa: S101
        return found[0]

    @property
    def points(self) -> list[str]:
        """``netns PF HOOK`` of each visit, in order."""
        return [f"{visit.netns} {visit.pf} {visit.hook}" for visit in self.visits]

    def __repr__(self) -> str:
        errno = f", sendto() failed with {errno_name(self.sent_errno)}" if self.sent_errno else ""
        return f"<walk of {self.packet}: {'; '.join(self.points)}; {describe.fate(self.fate)}{errno}>"


def _visit(traversal: Traversal, chains: Chains) -> Visit:
    def name(call: HookCall) -> str:
        chain = chains.get((traversal.netns, traversal.pf, traversal.hook, call.index))
        return call.label or chain or ("?" if call.function == OURS else call.function)

    calls = tuple(Call(name(call), call.function, call.module, call.priority, call.verdict.kind.name, call.verdict.errno, call.index,
                       call.ns) for call in traversal.calls)
    return Visit(traversal.netns, traversal.pf.name, hook_name(traversal.pf, traversal.hook), traversal.indev, traversal.outdev, calls,
                 traversal.returned)
