"""A packet's walk, in the terms that a test compares: hook points and calls; its fate is a :class:`harness.outcome.fate.Fate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.netfilter import HOOK_POINTS, errno_name, hook_name
from harness.outcome import describe
from harness.outcome.types import OURS, HookCall, PacketOutcome, Traversal
from harness.pytest_plugin.mistakes import chosen

__all__ = ("Call", "Visit", "Walk")


@dataclass(frozen=True, slots=True)
class Call:
    """One call of one hook function.

    :param name: ours by its name, nft's and xtables' by table and chain, others by their function
    :param verdict: ``"ACCEPT"``, ``"DROP"``, ``"STOLEN"``, ``"QUEUE"`` …
    :param errno: that the verdict carries, 0 for none
    :param ns: nanoseconds it took, the probe's own cost included
    :param chain: of nft's, the base chain with its family: ``inet admin forward``; of xtables' ``iptables filter FORWARD``
    :param calls: that it made in its own loop: NAT's hook those of nat chains
    :param rule: of nft's, the rule that did not accept the packet, as nft lists it: ``udp dport 53 drop``; ``None`` if the policy did not,
        if all was accepted, or if the kernel does not tell
    """

    name: str
    function: str
    module: str | None
    priority: int | None
    verdict: str
    errno: int
    slot: int
    ns: int | None
    chain: str | None = None
    calls: tuple[Call, ...] = ()
    rule: str | None = None

    def __str__(self) -> str:
        said = f"{self.chain or self.name} {self.verdict}" + (f"({errno_name(self.errno)})" if self.errno else "")
        return f"{said}, rule '{self.rule}'" if self.rule else said


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
        """The names of the calls, in order."""
        return [call.name for call in self.calls]

    def __str__(self) -> str:
        return f"{self.netns} {self.pf} {self.hook}: {', '.join(map(str, self.calls)) or 'no call'}"


class Walk:
    """What one packet met.

    :ivar packet: its headers, for a reader
    :ivar fate: what became of it, to be compared with ``Dropped()`` and the like (:mod:`harness.outcome.fate`)
    :ivar reason: the kernel's drop reason or the function that ended it, for a reader
    :ivar visits: hook points, in order
    :ivar sent_errno: what ``sendto()`` failed with, 0 if it did not
    :ivar answers: walks of the packets that answer this one
    """

    def __init__(self, outcome: PacketOutcome, answers: Sequence[Walk] = ()) -> None:
        self.outcome = outcome
        self.packet = outcome.packet
        self.fate = outcome.fate
        self.reason = outcome.fate.reason
        self.visits = tuple(map(_visit, outcome.traversals))
        self.sent_errno = outcome.sent_errno
        self.answers = tuple(answers)

    def at(self, hook: str, *, netns: object = None, pf: str | None = None) -> Visit:
        """The first visit of a hook point.

        :param netns: a host of the lab, or its name; any by default
        :param pf: ``"ipv4"``, ``"netdev"`` …; any by default
        :raises AssertionError: the packet did not cross it
        :raises Mistake: no hook point is called so
        """
        known = {name: name for points in HOOK_POINTS.values() for name in points} | {visit.hook: visit.hook for visit in self.visits}
        hook = chosen("hook point", hook, known)
        found = [visit for visit in self.visits if visit.hook == hook and str(netns or visit.netns) == visit.netns
                 and (pf or visit.pf).upper() == visit.pf]
        where = f" of {netns}" if netns else ""
        assert found, f"the packet did not cross {hook}{where}; it crossed {', '.join(self.points) or 'no hook point that has a hook'}"  # noqa: S101
        return found[0]

    @property
    def decided(self) -> str:
        """Who brought the packet to its end, in words: the hook with its verdict, or what the kernel says of it."""
        end = describe.fate(self.fate)
        visit = self.visits[-1] if self.visits else None
        if visit and visit.calls and self.fate.kind in ("dropped", "rejected", "stolen", "queued", "segmented"):
            end += f" at {visit.netns} {visit.pf} {visit.hook} by {visit.calls[-1]}"
        return f"{end}: {self.reason}" if self.reason else end

    @property
    def points(self) -> list[str]:
        """``netns PF HOOK`` of each visit, in order."""
        return [f"{visit.netns} {visit.pf} {visit.hook}" for visit in self.visits]

    def __repr__(self) -> str:
        errno = f", sendto() failed with {errno_name(self.sent_errno)}" if self.sent_errno else ""
        return f"<walk of {self.packet}: {'; '.join(self.points)}; {describe.fate(self.fate)}{errno}>"


def _visit(traversal: Traversal) -> Visit:
    return Visit(traversal.netns, traversal.pf.name, hook_name(traversal.pf, traversal.hook), traversal.indev, traversal.outdev,
                 tuple(map(_call, traversal.calls)), traversal.returned)


def _call(call: HookCall) -> Call:
    chain = call.chain and call.chain.partition(" ")[2]  # less the family
    name = call.label or chain or ("?" if call.function == OURS else call.function)
    return Call(name, call.function, call.module, call.priority, call.verdict.kind.name, call.verdict.errno, call.index, call.ns,
                call.chain, tuple(map(_call, call.calls)), (call.rule.text or None) if call.rule else None)
