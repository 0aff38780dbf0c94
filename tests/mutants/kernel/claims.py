"""Branches of ``harness/conformance/coverage.py`` that no fault stands for: what the table claims, a wrong kernel has to prove."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.conformance.coverage import FUNCTIONS, Branch, CoveredFunction
from harness.conformance.statements import CoreSource
from tests.mutants.kernel.fault import Fault, place

__all__ = ("NOT_CHOSEN", "unclaimed", "without_fault")

#: Branches that a kernel cannot be told to get wrong while it runs; a wrong model stands for each (``tests/mutants``).
NOT_CHOSEN = {
    ("nf_skb_duplicated", 34): "a definition; the statement that reads it is nf_dup_ipv4's",
    ("__nf_register_net_hook", 321): "a kernel that has ingress does not have the statement",
    ("nf_hook_slow", 511): "the first slot is its callers' to say",
    ("nf_nat_hook", 556): "a definition; nf_nat sets it",
    ("nf_ct_zone_dflt", 601): "a constant, not a statement",
    ("netfilter_init", 659): "it runs at boot, before a fault can be chosen",
    ("netfilter_init", 663): "it runs at boot, before a fault can be chosen",
}


def without_fault(faults: Sequence[Fault]) -> Iterator[tuple[CoveredFunction, Branch]]:
    """Branches with rules of which no fault names one, besides :data:`NOT_CHOSEN`."""
    for function, branch in _claimed():
        if not any(set(one.rules) & set(branch.rules) for one in faults):
            yield function, branch


def unclaimed(core: CoreSource, faults: Sequence[Fault]) -> Iterator[tuple[CoveredFunction, Branch]]:
    """Branches of which no fault in their own function of *core* names a rule, besides :data:`NOT_CHOSEN`."""
    text = "\n".join(core.lines) + "\n"
    lines = {one.name: [text.count("\n", 0, place(text, one.name, edit)[0]) + 1 for edit in one.edits] for one in faults}
    for function, branch in _claimed():
        first, last = (1, len(core.lines)) if branch.newer else core.body(function.name)
        naming = (one for one in faults if set(one.rules) & set(branch.rules))
        if not any(first <= line <= last for one in naming for line in lines[one.name]):
            yield function, branch


def _claimed() -> Iterator[tuple[CoveredFunction, Branch]]:
    for function in FUNCTIONS:
        for branch in function.branches:
            if branch.rules and (function.name, branch.lines[0]) not in NOT_CHOSEN:
                yield function, branch
