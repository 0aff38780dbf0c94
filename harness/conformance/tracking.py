"""Core's way to connection tracking (l.539-606), NAT's inner loop over raw arrays, and the mark that keeps copies from being copied."""

from __future__ import annotations

import errno
from dataclasses import replace

from harness.conformance.expect import BY_STACK, At, Crosses, Finds, Returns, Splats
from harness.conformance.rule import Rule, script
from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome.facts import duplicated, port, tracked
from harness.scenario.steps.conntrack import ConntrackTuple, CtRead, CtRun, KernelModule, Tee, Track
from harness.scenario.steps.hooks import Nft, Register
from harness.scenario.steps.nat import Redirect
from harness.scenario.steps.packets import Send
from harness.scenario.steps.queue import Answer, Listen
from harness.scenario.topology import PAIR, ROUTER, SINGLE

__all__ = ("RULES",)

_V4 = Family.IPV4
_ABSENT = KernelModule("nf_conntrack", loaded=False)
_CONNTRACK, _CTNETLINK, _NAT = KernelModule("nf_conntrack"), KernelModule("nf_conntrack_netlink"), KernelModule("nf_nat")
_FLOW = ConntrackTuple("10.0.0.2", 40000, "10.0.0.1", 9)
_OTHER = ConntrackTuple("10.0.0.2", 40001, "10.0.0.1", 9)
_LO = ConntrackTuple("10.0.0.2", 40002, "10.0.0.2", 9)
_WENT = ConntrackTuple("10.0.0.2", 40000, "10.0.0.1", 20)
_RELATED_ONLY = "table ip related { chain out { type filter hook output priority 0; ct state related accept; drop; }; }"
_NO_CALLS = (0, 0, 0, 0)
_CORE = "net/netfilter/core.c"


def _pointers(**leads: bool) -> Finds:
    return Finds(tuple((name, "set" if each else "NULL") for name, each in leads.items()), more=True)


_ZONE = Finds((("nf_ct_zone_dflt", "0, flags 0, dir 3"),), more=True)
_NONE = _pointers(nf_ct_hook=False, nfnl_ct_hook=False, nf_nat_hook=False)

RULES = (
    Rule("ct.absent", "Without nf_conntrack core's pointers are NULL: no tuple is found, nothing attached, not even to a connection.", (
        script(
            "ct.absent", _ABSENT,
            CtRead(), _NONE,
            CtRun("host", _FLOW, track=True), Finds(tracked(None, None, 0, _NO_CALLS, 0)),
            CtRun("host", _FLOW, own=("connection",)), Finds(tracked(None, None, 1, _NO_CALLS, 0)),
            Splats(),
            topology=SINGLE,
        ),
    ), needs=("conntrack_module",)),
    Rule("ct.hooks", "A tuple is the hook's answer; attach is called for what is tracked or is not to be, and only then; destroy once.", (
        script(
            "ct.hooks", _ABSENT,
            CtRun("host", _FLOW, own=("hooks",)), Finds(tracked(_FLOW, None, 0, (1, 0, 0, 0), 0)),
            CtRun("host", _FLOW, own=("connection", "hooks")), Finds(tracked(_FLOW, "NEW", 2, (1, 1, 0, 1), 0)),
            CtRun("host", _FLOW, own=("untracked", "hooks")), Finds(tracked(_FLOW, "UNTRACKED", 0, (1, 1, 0, 0), 0)),
            CtRun("host", _FLOW, own=("untracked",)), Finds(tracked(None, None, 0, _NO_CALLS, 0)),
            CtRead(), _NONE,
            _CONNTRACK,
            CtRun("host", _FLOW, own=("hooks",)), Returns(errno.EBUSY),
            Splats(),
            topology=SINGLE,
        ),
    ), needs=("conntrack_module",)),
    Rule("ct.closing", "A connection that a reset ends is closed by the hook's set_closing, once; no connection and no hook are nothing.", (
        script(
            "ct.closing", _ABSENT,
            CtRun("host", _FLOW, own=("connection", "hooks"), close=True), Finds(tracked(_FLOW, "NEW", 2, (1, 1, 0, 1), 0, closings=1)),
            CtRun("host", _FLOW, own=("hooks",), close=True), Finds(tracked(_FLOW, None, 0, (1, 0, 0, 0), 0, closings=0)),
            CtRun("host", _FLOW, own=("connection",), close=True), Finds(tracked(None, None, 1, _NO_CALLS, 0, closings=0)),
            CtRun("host", _FLOW, close=True), Finds(tracked(None, None, 0, _NO_CALLS, 0, closings=0)),
            Track("host"),
            CtRun("host", _FLOW, track=True, close=True), Finds(tracked(_FLOW, "RELATED_REPLY", 2, _NO_CALLS, 0, closings=0)),
            Splats(),
            topology=SINGLE,
        ),
    ), needs=("conntrack_module", "ct_closing")),
    Rule("ct.closing-tracked", "With nf_conntrack a reset leaves a connection that has no states to close as it is.", (
        script(
            "ct.closing-tracked", _ABSENT,
            Track("host"),
            CtRun("host", _FLOW, track=True, close=True), Finds(tracked(_FLOW, "RELATED_REPLY", 2, _NO_CALLS, 0, closings=0)),
            CtRun("host", _FLOW, close=True), Finds(tracked(None, None, 0, _NO_CALLS, 0, closings=0)),
            Send("peer", "host", 1, source_port=_FLOW.source_port, port=_FLOW.port),
            CtRun("host", _FLOW, track=True, close=True), Finds(tracked(_FLOW, "RELATED_REPLY", 3, _NO_CALLS, 1, closings=0)),
            Splats(),
        ),
    ), needs=("ct_closing",)),
    Rule("ct.orphan", "A connection that nobody is there to destroy: core warns, each time, and leaves it.", (
        script(
            "ct.orphan", _ABSENT,
            CtRun("host", _FLOW, own=("connection",)), Splats(),
            CtRun("host", _FLOW, own=("connection", "orphan")), Finds(tracked(None, None, 1, _NO_CALLS, 0)), Splats((_CORE, _CORE)),
            CtRun("host", _FLOW, own=("connection", "hooks")), Finds(tracked(_FLOW, "NEW", 2, (1, 1, 0, 1), 0)), Splats(),
            _CONNTRACK,
            CtRun("host", _FLOW, own=("connection", "orphan")), Returns(errno.EBUSY), Splats(),
            topology=SINGLE,
        ),
    ), needs=("conntrack_module", "orphans_warn")),
    Rule("ct.present", "With nf_conntrack a packet's tuple is its connection's, and what it triggers gets that connection, related.", (
        script(
            "ct.present", _ABSENT,
            Track("host"),
            CtRead(), _pointers(nf_ct_hook=True),
            CtRun("host", _FLOW), Finds(tracked(None, None, 0, _NO_CALLS, 0)),
            CtRun("host", _FLOW, track=True), Finds(tracked(_FLOW, "RELATED_REPLY", 2, _NO_CALLS, 0)),
            Send("peer", "host", 1, source_port=_FLOW.source_port, port=_FLOW.port),
            CtRun("host", _FLOW), Finds(tracked(_FLOW.inverted(), None, 0, _NO_CALLS, 1)),
            CtRun("host", _FLOW.inverted()), Finds(tracked(_FLOW, None, 0, _NO_CALLS, 1)),
            CtRun("host", _OTHER), Finds(tracked(None, None, 0, _NO_CALLS, 1)),
            CtRun("host", _FLOW, track=True), Finds(tracked(_FLOW, "RELATED_REPLY", 3, _NO_CALLS, 1)),
            CtRun("host", _FLOW.inverted(), track=True), Finds(tracked(_FLOW.inverted(), "RELATED", 3, _NO_CALLS, 1)),
            CtRun("host", _FLOW, track=True), Finds(tracked(_FLOW, "RELATED_REPLY", 3, _NO_CALLS, 1)),  # established: answered
            Splats(),
            topology=PAIR,
        ),
        script(
            "ct.present, in two namespaces", _ABSENT,
            Track("peer"), Track("host"),
            Send("peer", "host", 1, source_port=_FLOW.source_port, port=_FLOW.port),
            CtRun("peer", _FLOW), Finds(tracked(_FLOW.inverted(), None, 0, _NO_CALLS, 1)),
            CtRun("host", _FLOW), Finds(tracked(_FLOW.inverted(), None, 0, _NO_CALLS, 1)),
            Send("peer", "10.0.0.2", 2, source_port=_LO.source_port, port=_LO.port),
            CtRun("peer", _LO), Finds(tracked(_LO.inverted(), None, 0, _NO_CALLS, 2)),
            CtRun("host", _LO), Finds(tracked(None, None, 0, _NO_CALLS, 1)),
            Splats(),
        ),
        script(
            "ct.present, not in the table yet", _ABSENT,
            Track("host"),
            Listen("host", 7), Register("queue", "host", _V4, "INPUT", 0, Verdict(VerdictKind.QUEUE, queue=7)),
            Send("peer", "host", 1, source_port=_FLOW.source_port, port=_FLOW.port),
            CtRun("host", _FLOW), Finds(tracked(None, None, 0, _NO_CALLS, 1)),
            Answer("host", 7), Returns(0),
            CtRun("host", _FLOW), Finds(tracked(_FLOW.inverted(), None, 0, _NO_CALLS, 1)),
        ),
    )),
    Rule("ct.goes", "nf_conntrack goes with connections in its table: they go first, and core's pointers after them.", (
        script(
            "ct.goes", _ABSENT,
            Track("host"),
            Send("peer", "host", 1, source_port=_FLOW.source_port, port=_FLOW.port),
            CtRun("host", _FLOW), Finds(tracked(_FLOW.inverted(), None, 0, _NO_CALLS, 1)),
            _ABSENT, Splats(),
            CtRead(), _NONE,
            CtRun("host", _FLOW), Finds(tracked(None, None, 0, _NO_CALLS, 0)),
            CtRun("host", _FLOW, own=("connection", "hooks")), Finds(tracked(_FLOW, "NEW", 2, (1, 1, 0, 1), 0)),
            _CONNTRACK,
            CtRun("host", _FLOW), Finds(tracked(None, None, 0, _NO_CALLS, 0)),
            Splats(),
        ),
    ), needs=("conntrack_module",)),
    Rule("ct.icmp-error", "An ICMP error is related to the packet that it is about, whose connection no table has yet.", (
        script(
            "ct.icmp-error", _ABSENT,
            Track("router"),
            Nft("router", _RELATED_ONLY),
            Register("out", "router", _V4, "OUTPUT", 10),
            Send("client", "server", 1, ttl=1),
            Crosses((), BY_STACK),
            Crosses((At("router", "OUTPUT", "out"),), BY_STACK, nth=1),
            CtRun("router", ConntrackTuple("10.0.1.2", 40000, "10.0.2.2", 9), track=True),
            Finds(tracked(ConntrackTuple("10.0.1.2", 40000, "10.0.2.2", 9), "RELATED_REPLY", 2, _NO_CALLS, 0)),
            topology=ROUTER,
        ),
    )),
    Rule("ct.zone-default", "nf_ct_zone_dflt is zone 0 in both directions, with and without nf_conntrack.", (
        script(
            "ct.zone-default", _ABSENT,
            CtRead(), _ZONE,
            _CONNTRACK,
            CtRead(), _ZONE,
            topology=SINGLE,
        ),
    )),
    Rule("nat.hook", "nf_nat_hook is there as long as NAT is, nfnl_ct_hook as long as ctnetlink is, and neither without conntrack.", (
        script(
            "nat.hook", _ABSENT,
            CtRead(), _NONE,
            _CONNTRACK,
            CtRead(), _pointers(nf_ct_hook=True, nfnl_ct_hook=False, nf_nat_hook=False),
            _NAT,
            CtRead(), _pointers(nf_ct_hook=True, nfnl_ct_hook=False, nf_nat_hook=True),
            _CTNETLINK,
            CtRead(), _pointers(nf_ct_hook=True, nfnl_ct_hook=True, nf_nat_hook=True),
            KernelModule("nf_nat", loaded=False),
            CtRead(), _pointers(nf_ct_hook=True, nfnl_ct_hook=True, nf_nat_hook=False),
            _ABSENT,
            CtRead(), _NONE,
            Splats(),
            topology=SINGLE,
        ),
    ), needs=("conntrack_module", "conntrack_glue")),
    Rule("nat.order", "NAT's chains run by ascending priority, equal ones newest first; the first that binds a connection decides.", (
        script(
            "nat.order",
            Redirect("host", 20, priority=0),
            Send("peer", "host", 1, source_port=40001), Finds(port(20)),
            Redirect("host", 21, priority=10),
            Send("peer", "host", 2, source_port=40002), Finds(port(20)),
            Redirect("host", 22, priority=-10),
            Send("peer", "host", 3, source_port=40003), Finds(port(22)),
            Redirect("host", 23, priority=-10),
            Send("peer", "host", 4, source_port=40004), Finds(port(23)),
            Redirect("host", 24, priority=-20, port=8),
            Send("peer", "host", 5, source_port=40005), Finds(port(23)),
            Send("peer", "host", 6, source_port=40005, port=8), Finds(port(24)),
            Send("peer", "host", 7, source_port=40001), Finds(port(20)),
            Send("peer", "host", 8, source_port=40006, port=7), Finds(port(7)),
        ),
    ), needs=("redirect",)),
    Rule("nat.tuple", "A redirected connection is found by what was asked for and by its answer from where it went, by nothing else.", (
        script(
            "nat.tuple", _ABSENT,
            Track("host"),
            Redirect("host", _WENT.port, port=_FLOW.port),
            CtRead(), _pointers(nf_ct_hook=True, nf_nat_hook=True),
            Send("peer", "host", 1, source_port=_FLOW.source_port, port=_FLOW.port), Finds(port(_WENT.port)),
            CtRun("host", _FLOW), Finds(tracked(_WENT.inverted(), None, 0, _NO_CALLS, 1)),
            CtRun("host", _WENT.inverted()), Finds(tracked(_FLOW, None, 0, _NO_CALLS, 1)),
            CtRun("host", _WENT), Finds(tracked(None, None, 0, _NO_CALLS, 1)),
            CtRun("host", _FLOW.inverted()), Finds(tracked(None, None, 0, _NO_CALLS, 1)),
            CtRun("host", _FLOW, track=True), Finds(tracked(_FLOW, "RELATED_REPLY", 3, _NO_CALLS, 1)),
            CtRun("host", _WENT.inverted(), track=True), Finds(tracked(_WENT.inverted(), "RELATED", 3, _NO_CALLS, 1)),
            Send("peer", "host", 2, source_port=_OTHER.source_port, port=7), Finds(port(7)),
            CtRun("host", replace(_OTHER, port=7)), Finds(tracked(replace(_OTHER, port=7).inverted(), None, 0, _NO_CALLS, 2)),
            Splats(),
        ),
    ), needs=("redirect",)),
    Rule("tee.duplicated", "A copy that nft sends is not copied again where it comes by.", (
        script("tee.duplicated", Tee("host", "peer"), Finds(duplicated(2)), Tee("host", "peer"), Finds(duplicated(2)), Splats()),
    ), needs=("tee",)),
)
