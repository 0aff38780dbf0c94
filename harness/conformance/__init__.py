"""The rules: what ``net/netfilter/core.c`` promises, each with the lines that it comes from and the scripts that prove it."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from harness.conformance import (
    batches,
    bpf,
    bridges,
    churn,
    devices,
    links,
    meanwhile,
    memory,
    namespaces,
    paths,
    pieces,
    private,
    queue,
    registration,
    rulesets,
    tracking,
    unregistration,
    verdicts,
    waiting,
)
from harness.conformance.rule import Rule
from harness.errors import UserError
from harness.scenario.reader import quote, suggest

__all__ = ("RULES", "Rule", "chosen")

_CONCERNS = (registration, bpf, unregistration, memory, verdicts, queue, waiting, meanwhile, devices, paths, links, pieces, bridges,
             private, batches, namespaces, rulesets, churn, tracking)

#: Every rule by its id, in the order of the seed.
RULES = {rule.id: rule for concern in _CONCERNS for rule in concern.RULES}


def chosen(patterns: Sequence[str]) -> tuple[Rule, ...]:
    """Rules by id, glob (``order.*``) or prefix (``order``), each once, in the order of the seed; all for no pattern.

    :raises UserError: a pattern that no rule matches
    """
    found: set[str] = set()
    for pattern in patterns:
        prefix = f"{pattern.rstrip('.')}."
        matching = {name for name in RULES if fnmatchcase(name, pattern)} or {name for name in RULES if name.startswith(prefix)}
        if not matching:
            raise UserError(f"no rule {quote(pattern)}", mend=suggest(pattern, RULES, what="rules"))
        found |= matching
    return tuple(rule for name, rule in RULES.items() if name in found or not patterns)
