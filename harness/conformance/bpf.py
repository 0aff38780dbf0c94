"""BPF programs as hooks, since 6.4: ``nf_hook_entries_grow`` gives each of them its own priority."""

from __future__ import annotations

import errno

from harness.conformance.expect import Array, At, Crosses, Returns
from harness.conformance.rule import Rule, script
from harness.model.foreign import Foreign
from harness.netfilter import Family, Verdict, VerdictKind, hook_number
from harness.outcome.types import Slot, point_key
from harness.scenario.steps.bpf import BpfLink, BpfUnlink
from harness.scenario.steps.hooks import Nft, Register, RegisterMany, Unregister
from harness.scenario.steps.packets import Send

__all__ = ("RULES",)

_V4 = Family.IPV4
_IN = ("host", _V4, "INPUT")
_OUT = ("peer", _V4, "OUTPUT")
_V6_FORWARD = ("host", Family.IPV6, "FORWARD")
_CHAIN = "table ip t { chain c { type filter hook input priority 5; policy accept; }; }"
_AT_INPUT = point_key("host", _V4, hook_number(_V4, "INPUT"))

RULES = (
    Rule("bpf.taken-priority", "A BPF link gets -EBUSY at a priority that another hook at the point has, and fits at any other.", (
        script(
            "bpf.taken-priority, not the last slot's",
            Register("low", *_IN, 0),
            Register("high", *_IN, 5),
            BpfLink("taken", *_IN, 0),
            Returns(errno.EBUSY),
            Array(*_IN, "low high"),
        ),
        script(
            "bpf.taken-priority, behind many, and below 0",
            RegisterMany("many", "host", _V4, "FORWARD", 20),
            Register("last", "host", _V4, "FORWARD", 7),
            Register("first", "host", _V4, "FORWARD", -7),
            BpfLink("taken", "host", _V4, "FORWARD", 7),
            Returns(errno.EBUSY),
            BpfLink("taken-too", "host", _V4, "FORWARD", -7),
            Returns(errno.EBUSY),
        ),
        script(
            "bpf.taken-priority",
            Register("ordinary", *_IN, 0),
            BpfLink("taken", *_IN, 0),
            Returns(errno.EBUSY),
            Array(*_IN, "ordinary"),
            BpfLink("free", *_IN, 1),
            Returns(0),
            BpfLink("of-a-link", *_IN, 1),
            Returns(errno.EBUSY),
            BpfLink("other-point", "host", _V4, "PREROUTING", 0),
            Returns(0),
            BpfLink("other-family", "host", Family.IPV6, "INPUT", 0),
            Returns(0),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INPUT", "ordinary"),)),
            Unregister("ordinary"),
            BpfLink("now-free", *_IN, 0),
            Returns(0),
            BpfUnlink("free"),
            BpfLink("free-again", *_IN, 1),
            Returns(0),
        ),
        script(
            "bpf.taken-priority, of IPV6",
            Register("ordinary", "host", Family.IPV6, "INPUT", 0),
            BpfLink("taken", "host", Family.IPV6, "INPUT", 0),
            Returns(errno.EBUSY),
            Array("host", Family.IPV6, "INPUT", "ordinary"),
            BpfLink("free", "host", Family.IPV6, "INPUT", 1),
            Returns(0),
        ),
    ), needs=("bpf_link",)),
    Rule("bpf.taken-by-a-chain", "A BPF link gets -EBUSY at a priority that a chain of nftables has; such a chain may have a link's.", (
        script(
            "bpf.taken-by-a-chain",
            BpfLink("link", *_IN, 5),
            Returns(0),
            Nft("host", _CHAIN),
            BpfUnlink("link"),
            BpfLink("taken", *_IN, 5),
            Returns(errno.EBUSY),
            BpfLink("free", *_IN, 6),
            Returns(0),
            foreign=Foreign({1: ((_AT_INPUT, (Slot(0, "nft_do_chain_ipv4", "nf_tables", 5),)),)}),
        ),
    ), needs=("bpf_link",)),
    Rule("bpf.same-program", "Of two BPF links that have their program in common, the one that is closed goes, and the other stays.", (
        script(
            "bpf.same-program",
            Register("between", *_IN, 3),
            BpfLink("low", *_IN, 0),
            Returns(0),
            BpfLink("high", *_IN, 5),
            Returns(0),
            BpfUnlink("high"),
            BpfLink("as-low", *_IN, 0),
            Returns(errno.EBUSY),
            BpfLink("as-high", *_IN, 5),
            Returns(0),
            Array(*_IN, "between"),
        ),
    ), needs=("bpf_link",)),
    Rule("bpf.full", "A BPF link at a full point gets -EBUSY, not -E2BIG, at a priority that another hook has; -E2BIG at any other.", (
        script(
            "bpf.full",
            RegisterMany("full", *_V6_FORWARD, 1024),
            BpfLink("taken", *_V6_FORWARD, 0),
            Returns(errno.EBUSY),
            BpfLink("free", *_V6_FORWARD, 1),
            Returns(errno.E2BIG),
        ),
    ), needs=("bpf_link",)),
    Rule("bpf.dummies", "A dummy has no priority that a BPF link could not take, and the link leaves it behind as any registration does.", (
        script(
            "bpf.dummies",
            Register("goes", *_IN, 0),
            Register("stays", *_IN, 5),
            Unregister("goes", fail=(0,)),
            Array(*_IN, "dummy stays"),
            BpfLink("of-a-hook", *_IN, 5),
            Returns(errno.EBUSY),
            Array(*_IN, "dummy stays"),
            BpfLink("link", *_IN, 0),
            Returns(0),
            Array(*_IN, "stays"),
        ),
    ), needs=("bpf_link", "failing_allocations")),
    Rule("bpf.shared-priority", "An ordinary hook may have the priority of a BPF link: the newest runs first, as always.", (
        script(
            "bpf.shared-priority",
            BpfLink("link", *_OUT, 0, Verdict(VerdictKind.DROP)),
            Register("newer", *_OUT, 0),
            Returns(0),
            Register("after", *_OUT, 1),
            Array(*_OUT, "newer after"),
            Send("peer", "host", cookie=1),
            Returns(errno.EPERM),
            Crosses((At("peer", "OUTPUT", "newer", returned=-errno.EPERM),), "dropped", errno.EPERM),
            BpfUnlink("link"),
            Send("peer", "host", cookie=2, source_port=40001),
            Crosses((At("peer", "OUTPUT", "newer after"),)),
        ),
    ), needs=("bpf_link",)),
)
