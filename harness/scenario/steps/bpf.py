"""Steps with BPF programs as hooks."""

from __future__ import annotations

import errno
from dataclasses import dataclass, replace
from typing import Any

from harness.netfilter import HOOK_POINTS, PRIORITY_MAX, PRIORITY_MIN, Family, Verdict, VerdictKind
from harness.scenario.reader import Value, fail, quote, suggest
from harness.scenario.scope import Scope
from harness.scenario.step import (
    DRAWN,
    Facts,
    Known,
    Point,
    Step,
    flushed,
    no_packets,
    no_rules,
    no_sinks,
    none_wait,
    nothing,
    same_topology,
)
from harness.scenario.steps.hooks import ACCEPT, Register
from harness.scenario.verdicts import verdict, verdict_json

__all__ = ("BpfLink", "BpfUnlink")

_FAMILIES = {family.name: family for family in (Family.IPV4, Family.IPV6)}


def _its_point(step: BpfLink, _known: Known) -> tuple[Point, ...]:
    return (Register("", step.netns, step.pf, step.hook),)


def _point_of_the_link(step: BpfUnlink, known: Known) -> tuple[Point, ...]:
    """None of a link that was refused."""
    return _its_point(known.links[step.id][0], known) if step.id in known.links else ()


_FACTS = Facts(flushed=flushed, touches=_its_point, allocates=nothing, sends=no_packets, sinks=no_sinks, queues=none_wait, redirects=False,
               needs=(), rules=no_rules, modules=False, baseline=False, leaves=same_topology, not_drawn=DRAWN)


@dataclass(frozen=True, slots=True)
class BpfLink(Step):
    """``BPF_LINK_CREATE``: a program of type ``BPF_PROG_TYPE_NETFILTER`` becomes a hook, since 6.4.

    Core takes it only at a priority that no other hook at the point has. In dumps and walks it is ``nf_hook_run_bpf``.

    :param id: the scenario's name for the link
    :param pf: IPV4 or IPV6
    :param priority: neither of the two ends, which ``bpf_nf_check_pf_and_hooks`` keeps for others
    :param verdict: ACCEPT, or DROP with EPERM, of every packet: the verifier lets a program say nothing else
    """

    id: str
    netns: str
    pf: Family
    hook: str
    priority: int = 0
    verdict: Verdict = ACCEPT

    do = "bpf-link"
    facts = _FACTS

    @classmethod
    def read(cls, value: Value) -> BpfLink:
        value.keys(("do", "id", "netns", "pf", "hook"), ("priority", "verdict"))
        pf = _FAMILIES[value["pf"].choice(_FAMILIES)]
        return cls(
            id=value["id"].line(),
            netns=value["netns"].string(),
            pf=pf,
            hook=value["hook"].choice(HOOK_POINTS[pf]),
            priority=value["priority"].integer(PRIORITY_MIN + 1, PRIORITY_MAX - 1) if "priority" in value else 0,
            verdict=verdict(value["verdict"]) if "verdict" in value else ACCEPT,
        )

    def write(self) -> dict[str, Any]:
        return {"id": self.id, "netns": self.netns, "pf": self.pf.name, "hook": self.hook, "priority": self.priority,
                "verdict": None if self.verdict == ACCEPT else verdict_json(self.verdict)}

    def check(self, scope: Scope, path: str) -> None:
        scope.netns(self.netns, f"{path}.netns")
        drops = self.verdict.kind is VerdictKind.DROP and self.verdict.errno in (0, errno.EPERM)
        if self.verdict != ACCEPT and not drops:
            fail(f"{path}.verdict", "the verifier lets a program only accept, or drop without an errno",
                 'write {"kind": "drop"}')
        scope.new_ids((self.id,), path)
        scope.links[self.id] = self


@dataclass(frozen=True, slots=True)
class BpfUnlink(Step):
    """The link is closed: its hook is unregistered.

    :param id: that of an earlier :class:`BpfLink`
    """

    id: str

    do = "bpf-unlink"
    facts = replace(_FACTS, touches=_point_of_the_link)

    @classmethod
    def read(cls, value: Value) -> BpfUnlink:
        value.keys(("do", "id"))
        return cls(value["id"].line())

    def write(self) -> dict[str, Any]:
        return {"id": self.id}

    def check(self, scope: Scope, path: str) -> None:
        if scope.links.pop(self.id, None) is None:
            fail(f"{path}.id", f"{quote(self.id)} is no link that is there at this step", suggest(self.id, scope.links, what="links here"))
