"""The rules: what ``net/netfilter/core.c`` promises, each with the lines that it comes from and the scripts that prove it.

The life of a rule: it is written in the file of its concern (``registration``, ``verdicts``, ``bridges`` …) as a sentence and scripts, in
which ``expect`` says by hand what must follow each step; ``coverage`` names it beside the branch of core.c that it proves; ``selection``
picks it, ``matrix`` runs it on each kernel's guests, ``judge`` compares what was seen with the model and with its expectations, and
``report`` tells. A difference is written to a ``bundle``, with what it is about in words (``promise``, ``statements``). ``points`` makes
rules of what holds at every hook point from the list of points.

Read ``rule``, ``expect``, ``verdicts`` as an example, then ``matrix`` and ``judge``. ``reference`` and ``profiles`` compare what a kernel
was found to do with Debian's kernel of its series; ``cases``, ``contrast`` and ``contrast_notes`` put two kernels side by side.
``collect`` takes files out of guests, ``gcov`` and ``reach`` make of them what each rule reaches. ``durations`` lets the longest rules
begin first, ``stress`` keeps kernels busy, and ``test_rules`` makes pytest items of rules. :data:`RULES` below is all rules, of the files
in ``_CONCERNS``.
"""

from __future__ import annotations

from harness.conformance import (
    batches,
    bpf,
    bridges,
    churn,
    devices,
    first,
    links,
    memory,
    namespaces,
    paths,
    pieces,
    points,
    queue,
    queue_flush,
    raw,
    registration,
    reinject,
    replaced,
    rulesets,
    settings,
    tracking,
    unregistration,
    verdicts,
)
from harness.conformance.rule import Rule, by_id

__all__ = ("RULES", "Rule")

_CONCERNS = (registration, points, bpf, unregistration, replaced, memory, verdicts, reinject, queue, queue_flush, devices, paths, links,
             pieces, bridges, settings, raw, batches, namespaces, first, rulesets, churn, tracking)

#: Every rule by its id, in the order of the pinned core.c.
RULES = by_id(rule for concern in _CONCERNS for rule in concern.RULES)
