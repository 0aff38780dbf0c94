"""BPF programs as hooks, ▲ from 6.4 on: ``nf_hook_entries_grow`` gives each of them a priority of its own."""

from __future__ import annotations

import errno

from harness.conformance.expect import Answers, Array, At, Walk
from harness.conformance.rule import Rule, script
from harness.netfilter import Family, Verdict, VerdictKind
from harness.scenario.steps import BpfLink, BpfUnlink, Register, Send, Unregister

__all__ = ("RULES",)

_V4 = Family.IPV4
_IN = ("host", _V4, "INPUT")
_OUT = ("peer", _V4, "OUTPUT")

RULES = (
    Rule("bpf.taken-priority", "A BPF link gets -EBUSY at a priority that another hook at the point has, and fits at any other.", (
        script(
            "bpf.taken-priority",
            Register("ordinary", *_IN, 0),
            BpfLink("taken", *_IN, 0),
            Answers(errno.EBUSY),
            Array(*_IN, "ordinary"),
            BpfLink("free", *_IN, 1),
            Answers(0),
            BpfLink("of-a-link", *_IN, 1),
            Answers(errno.EBUSY),
            BpfLink("other-point", "host", _V4, "PREROUTING", 0),
            Answers(0),
            BpfLink("other-family", "host", Family.IPV6, "INPUT", 0),
            Answers(0),
            Send("peer", "host", cookie=1),
            Walk((At("host", "INPUT", "ordinary"),)),
            Unregister("ordinary"),
            BpfLink("now-free", *_IN, 0),
            Answers(0),
            BpfUnlink("free"),
            BpfLink("free-again", *_IN, 1),
            Answers(0),
        ),
    ), needs=("bpf_link",)),
    Rule("bpf.shared-priority", "An ordinary hook may have the priority of a BPF link: the newest runs first, as always.", (
        script(
            "bpf.shared-priority",
            BpfLink("link", *_OUT, 0, Verdict(VerdictKind.DROP)),
            Register("newer", *_OUT, 0),
            Answers(0),
            Register("after", *_OUT, 1),
            Array(*_OUT, "newer after"),
            Send("peer", "host", cookie=1),
            Answers(errno.EPERM),
            Walk((At("peer", "OUTPUT", "newer", returned=-errno.EPERM),), "dropped", errno.EPERM),
            BpfUnlink("link"),
            Send("peer", "host", cookie=2, source_port=40001),
            Walk((At("peer", "OUTPUT", "newer after"),)),
        ),
    ), needs=("bpf_link",)),
)
