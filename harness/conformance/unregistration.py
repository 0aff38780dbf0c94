"""Unregistration: ``nf_remove_net_hook``, ``__nf_hook_entries_try_shrink``, ``nf_unregister_net_hook`` (l.222-264, 368-433)."""

from __future__ import annotations

from harness.conformance.expect import Array, At, Crosses
from harness.conformance.rule import Rule, script
from harness.netfilter import Family
from harness.scenario.steps.hooks import Dump, Register, Unregister
from harness.scenario.steps.packets import Send

__all__ = ("RULES",)

_V4, _V6 = Family.IPV4, Family.IPV6
_IN = ("host", _V4, "INPUT")

RULES = (
    Rule("unregister.shrinks", "N hooks become N-1 slots: no dummy is left and the order is kept, whichever goes.", (
        script(
            "unregister.shrinks",
            *(Register(name, *_IN, priority) for name, priority in (("a", 1), ("b", 2), ("c", 2), ("d", 3), ("e", 4))),
            Array(*_IN, "a c b d e"),
            Unregister("b"),
            Array(*_IN, "a c d e"),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INPUT", "a c d e"),)),
            Unregister("a"),
            Array(*_IN, "c d e"),
            Unregister("e"),
            Array(*_IN, "c d"),
            Send("peer", "host", cookie=2, source_port=40001),
            Crosses((At("host", "INPUT", "c d"),)),
        ),
    )),
    Rule("unregister.last", "When the last hook goes the head is empty again: there is nothing to dump, and packets pass.", (
        script(
            "unregister.last",
            Register("only", *_IN),
            Register("pre", "host", _V4, "PREROUTING"),
            Unregister("only"),
            Array(*_IN, ""),
            Dump(*_IN),
            Array(*_IN, ""),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "PREROUTING", "pre"),)),
            Register("new", *_IN),
            Array(*_IN, "new"),
            Send("peer", "host", cookie=2, source_port=40001),
            Crosses((At("host", "PREROUTING", "pre"), At("host", "INPUT", "new"))),
        ),
    )),
    Rule("unregister.elsewhere", "Unregistering a hook leaves its neighbours at other points, families and namespaces alone.", (
        script(
            "unregister.elsewhere",
            Register("goes", *_IN),
            Register("hook", "host", _V4, "PREROUTING"),
            Register("family", "host", _V6, "INPUT"),
            Register("netns", "peer", _V4, "INPUT"),
            Register("device", "host", Family.NETDEV, "INGRESS", device="eth0"),
            Unregister("goes"),
            Array(*_IN, ""),
            Dump("host", _V4, "PREROUTING"),
            Array("host", _V4, "PREROUTING", "hook"),
            Dump("host", _V6, "INPUT"),
            Array("host", _V6, "INPUT", "family"),
            Dump("peer", _V4, "INPUT"),
            Array("peer", _V4, "INPUT", "netns"),
            Dump("host", Family.NETDEV, "INGRESS", "eth0"),
            Array("host", Family.NETDEV, "INGRESS", "device", "eth0"),
        ),
    ), needs=("netdev",)),
    Rule("inet.unregister", "Unregistering an NFPROTO_INET hook takes it out of IPV4 and IPV6.", (
        script(
            "inet.unregister",
            Register("both", "host", Family.INET, "INPUT", 0),
            Register("v4", *_IN, 1),
            Register("v6", "host", _V6, "INPUT", -1),
            Unregister("both"),
            Array(*_IN, "v4"),
            Array("host", _V6, "INPUT", "v6"),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INPUT", "v4"),)),
            Send("peer", "host", cookie=2, pf=_V6),
            Crosses((At("host", "INPUT", "v6", pf=_V6),)),
        ),
    )),
    Rule("inet.unregister-last", "An NFPROTO_INET hook that was alone leaves both arrays empty.", (
        script(
            "inet.unregister-last",
            Register("both", "host", Family.INET, "INPUT", 0),
            Unregister("both"),
            Array(*_IN, ""),
            Array("host", _V6, "INPUT", ""),
        ),
    )),
)
