"""Steps with BPF programs as hooks."""

from __future__ import annotations

from dataclasses import dataclass

from harness.netfilter import Family, Verdict
from harness.scenario.steps.hooks import ACCEPT

__all__ = ("BpfLink", "BpfUnlink")


@dataclass(frozen=True, slots=True)
class BpfLink:
    """``BPF_LINK_CREATE``: a program of type ``BPF_PROG_TYPE_NETFILTER`` becomes a hook, ▲ from 6.4 on.

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


@dataclass(frozen=True, slots=True)
class BpfUnlink:
    """The link is closed: its hook is unregistered. :param id: that of an earlier :class:`BpfLink`"""

    id: str
