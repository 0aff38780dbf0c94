"""Batches, the same ops twice, and what is not there: ``nf_register_net_hooks`` (l.473-500) and the warnings of l.266-312, 386-416."""

from __future__ import annotations

import errno

from harness.conformance.expect import Array, At, Crosses, Returns, Splats
from harness.conformance.rule import Rule, Script, script
from harness.netfilter import Family
from harness.scenario.steps.batches import RegisterAgain, RegisterBatch, UnregisterAbsent, UnregisterBatch
from harness.scenario.steps.hooks import Dump, Register, Unregister
from harness.scenario.steps.packets import Send

__all__ = ("RULES",)

_V4, _V6 = Family.IPV4, Family.IPV6
_IN = ("host", _V4, "INPUT")
_WARNING = "net/netfilter/core.c"
_FOREIGN = "of another namespace"


def _bad(rule: str, pf: Family, hook: str) -> Script:
    """A number behind a family's last point."""
    return script(
        f"{rule}, {pf.name} {hook}",
        RegisterBatch("host", (Register("bad", "host", pf, hook),)),
        Returns(errno.EINVAL),
        Splats((_WARNING,)),
    )


def _warns_once(rule: str, pf: Family, hook: str) -> Script:
    """Core is called twice with what it warns of once."""
    return script(
        f"{rule}, {pf.name} {hook}, twice: one warning",
        UnregisterAbsent("host", pf, hook, times=2),
        Splats((_WARNING,)),
    )


def _empty(rule: str, pf: Family, hook: str) -> Script:
    return script(f"{rule}, {pf.name} {hook}", UnregisterAbsent("host", pf, hook), Splats((_WARNING,)))


_MANY = [f"h{number}" for number in range(260)]

RULES = (
    Rule("batch.all", "nf_register_net_hooks registers all hooks of a batch, nf_unregister_net_hooks takes all of them.", (
        script(
            "batch.all",
            Register("own", *_IN, 0),
            RegisterBatch("host", (Register("a", *_IN, 1), Register("b", *_IN, -1), Register("c", "host", _V6, "INPUT"))),
            Returns(0),
            Array(*_IN, "b own a"),
            Array("host", _V6, "INPUT", "c"),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INPUT", "b own a"),)),
            UnregisterBatch("a"),
            Array(*_IN, "own"),
            Array("host", _V6, "INPUT", ""),
            Splats(),
        ),
        script(
            "batch.all, of more than 256",
            RegisterBatch("host", tuple(Register(name, *_IN, 0) for name in reversed(_MANY))),
            Returns(0),
            Array(*_IN, " ".join(_MANY)),
            UnregisterBatch(_MANY[0]),
            Array(*_IN, ""),
        ),
    )),
    Rule("batch.unregister", "nf_unregister_net_hooks takes all of a batch out, wherever they are, and nothing else.", (
        script(
            "batch.unregister",
            Register("before", *_IN, -1),
            RegisterBatch("host", (Register("a", *_IN, 0), Register("b", "host", Family.INET, "INPUT", 0),
                                   Register("c", "host", _V4, "OUTPUT"), Register("d", *_IN, 0))),
            Register("after", *_IN, 1),
            Register("same", *_IN, 0),
            Array(*_IN, "before same d b a after"),
            Dump("host", _V6, "INPUT"),
            Array("host", _V6, "INPUT", "b"),
            UnregisterBatch("c"),
            Array(*_IN, "before same after"),
            Array("host", _V6, "INPUT", ""),
            Array("host", _V4, "OUTPUT", ""),
            Splats(),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INPUT", "before same after"),)),
        ),
    )),
    Rule("batch.rollback", "One hook of a batch is refused: those before it are gone again, and its errno is returned.", (
        script(
            "batch.rollback",
            Register("own", *_IN, 0),
            RegisterBatch("host", (Register("a", *_IN, -1), Register("b", "host", _V6, "INPUT"),
                                   Register("no-device", "host", Family.NETDEV, "INGRESS"), Register("c", *_IN, 1))),
            Returns(errno.EINVAL),
            Dump(*_IN),
            Array(*_IN, "own"),
            Dump("host", _V6, "INPUT"),
            Array("host", _V6, "INPUT", ""),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INPUT", "own"),)),
        ),
        script(
            "batch.rollback, one before it",
            RegisterBatch("host", (Register("a", *_IN), Register("no-device", "host", Family.NETDEV, "INGRESS"))),
            Returns(errno.EINVAL),
            Array(*_IN, ""),
        ),
        script(
            "batch.rollback, none before it",
            RegisterBatch("host", (Register("no-device", "host", Family.NETDEV, "INGRESS"), Register("a", *_IN))),
            Returns(errno.EINVAL),
            Array(*_IN, ""),
            Splats(),
        ),
        script(
            "batch.rollback, forty before it",
            Register("own", *_IN, 0),
            RegisterBatch("host", (*(Register(name, *_IN, 0) for name in _MANY[:40]),
                                   Register("no-device", "host", Family.NETDEV, "INGRESS"))),
            Returns(errno.EINVAL),
            Array(*_IN, "own"),
        ),
        script(
            "batch.rollback, of both halves of INET",
            Register("own", *_IN, 0),
            RegisterBatch("host", (Register("both", "host", Family.INET, "INPUT", -1),
                                   Register("no-device", "host", Family.NETDEV, "INGRESS"))),
            Returns(errno.EINVAL),
            Splats(),
            Dump(*_IN),
            Array(*_IN, "own"),
            Dump("host", _V6, "INPUT"),
            Array("host", _V6, "INPUT", ""),
        ),
    ), needs=("netdev",)),
    Rule("batch.empty", "A batch of no hooks is registered: 0.", (
        script("batch.empty", Register("own", *_IN), RegisterBatch("host", ()), Returns(0), Dump(*_IN), Array(*_IN, "own")),
    )),
    Rule("duplicate.same-ops", "The same ops registered twice take two slots and run twice; one unregistration takes one of them.", (
        script(
            "duplicate.same-ops",
            Register("twice", *_IN, 0),
            Register("between", *_IN, 0),
            RegisterAgain("twice"),
            Returns(0),
            Array(*_IN, "twice between twice"),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INPUT", "twice between twice"),)),
            Unregister("twice"),
            Array(*_IN, "between twice"),
            Unregister("twice"),
            Array(*_IN, "between"),
        ),
    )),
    Rule("unregister.missing", "Unregistering ops that are not at a point with hooks warns and leaves the hooks alone.", (
        script(
            "unregister.missing",
            Register("a", *_IN, 0),
            Register("b", *_IN, 1),
            UnregisterAbsent(*_IN),
            Splats(("hook not found, pf 2 num 1",)),
            Dump(*_IN),
            Array(*_IN, "a b"),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INPUT", "a b"),)),
        ),
        script(
            "unregister.missing, both halves of INET: one warning",
            Register("v4", *_IN),
            Register("v6", "host", _V6, "INPUT"),
            UnregisterAbsent("host", Family.INET, "INPUT"),
            Splats(("hook not found, pf 2 num 1",)),
            Dump(*_IN),
            Array(*_IN, "v4"),
            Dump("host", _V6, "INPUT"),
            Array("host", _V6, "INPUT", "v6"),
        ),
        script(
            "unregister.missing, of INET where IPV4 has no hooks",
            Register("v6", "host", _V6, "INPUT"),
            UnregisterAbsent("host", Family.INET, "INPUT"),
            Splats((_WARNING, "hook not found, pf 10 num 1")),
            Dump("host", _V6, "INPUT"),
            Array("host", _V6, "INPUT", "v6"),
        ),
        script(
            "unregister.missing, twice: one warning",
            Register("own", *_IN),
            UnregisterAbsent(*_IN, times=2),
            Splats(("hook not found, pf 2 num 1",)),
            Array(*_IN, "own"),
        ),
    )),
    Rule("unregister.missing-layer-2",
         "At ARP's and BRIDGE's points, too, unregistering what is not there warns and leaves the hooks alone.", (
        *(script(
            f"unregister.missing-layer-2, {pf.name}",
            Register("own", "host", pf, "INPUT"),
            UnregisterAbsent("host", pf, "INPUT"),
            Splats((warning,)),
            Dump("host", pf, "INPUT"),
            Array("host", pf, "INPUT", "own"),
        ) for pf, warning in ((Family.ARP, "hook not found, pf 3 num 0"), (Family.BRIDGE, "hook not found, pf 7 num 1"))),
    ), needs=("arp", "bridge")),
    Rule("unregister.empty-head", "Unregistering at a point without hooks warns, and nothing else.", (
        script(
            "unregister.empty-head",
            UnregisterAbsent(*_IN),
            Splats((_WARNING,)),
            Dump(*_IN),
            Array(*_IN, ""),
            Register("next", *_IN),
            Array(*_IN, "next"),
        ),
        script(
            "unregister.empty-head, both halves of INET: one warning",
            UnregisterAbsent("host", Family.INET, "INPUT"),
            Splats((_WARNING,)),
            Array(*_IN, ""),
            Array("host", _V6, "INPUT", ""),
        ),
        _warns_once("unregister.empty-head", *_IN[1:]),
        *(_empty("unregister.empty-head", pf, hook) for pf, hook in (
            (_V4, "PREROUTING"), (_V4, "FORWARD"), (_V6, "INPUT"), (_V6, "OUTPUT"))),
    )),
    Rule("unregister.empty-head-layer-2", "Unregistering at a point of ARP or BRIDGE without hooks warns, and nothing else.", (
        *(_empty("unregister.empty-head-layer-2", pf, hook) for pf, hook in ((Family.ARP, "OUTPUT"), (Family.BRIDGE, "PREROUTING"))),
    ), needs=("arp", "bridge")),
    Rule("head.bad-hook", "A hook number out of range: -EINVAL and a warning; nothing is registered.", (
        script(
            "head.bad-hook",
            Register("own", *_IN),
            RegisterBatch("host", (Register("bad", "host", _V4, "HOOK7"),)),
            Returns(errno.EINVAL),
            Splats((_WARNING,)),
            RegisterBatch("host", (Register("bad6", "host", _V6, "HOOK7"),)),
            Returns(errno.EINVAL),
            Dump(*_IN),
            Array(*_IN, "own"),
        ),
        *(_bad("head.bad-hook", *point) for point in ((_V4, "HOOK5"), (_V6, "HOOK5"), (Family.INET, "HOOK6"), (_V4, "HOOK257"))),
        *(_warns_once("head.bad-hook", pf, "HOOK7") for pf in (_V4, _V6)),
    )),
    Rule("head.bad-hook-arp", "ARP's first hook number out of range: -EINVAL and a warning.",
         (_bad("head.bad-hook-arp", Family.ARP, "HOOK3"), _warns_once("head.bad-hook-arp", Family.ARP, "HOOK3")), needs=("arp",)),
    Rule("head.bad-hook-bridge", "BRIDGE has a number for BROUTING and no point: -EINVAL and a warning.",
         (_bad("head.bad-hook-bridge", Family.BRIDGE, "HOOK5"), _warns_once("head.bad-hook-bridge", Family.BRIDGE, "HOOK5")),
         needs=("bridge",)),
    Rule("head.bad-family", "A family without hook points: -EINVAL and a warning; nothing is registered.", (
        script(
            "head.bad-family",
            Register("own", *_IN),
            RegisterBatch("host", (Register("a", *_IN), Register("bad", "host", Family(4), "HOOK1"))),
            Returns(errno.EINVAL),
            Splats((_WARNING,)),
            Dump(*_IN),
            Array(*_IN, "own"),
        ),
        _bad("head.bad-family", Family(0), "HOOK1"),
        _warns_once("head.bad-family", Family(4), "HOOK1"),
    )),
    Rule("unregister.no-point", "Unregistering at a point that there is not warns, and nothing else.", (
        script(
            "unregister.no-point",
            Register("own", *_IN),
            UnregisterAbsent("host", _V4, "HOOK7"),
            Splats((_WARNING,)),
            UnregisterAbsent("host", Family(4), "HOOK1"),
            Splats((_WARNING,)),
            Dump(*_IN),
            Array(*_IN, "own"),
        ),
    )),
    Rule("unregister.no-device", "Unregistering at a device's point without a device, or with another namespace's, only warns.", (
        script(
            "unregister.no-device",
            Register("own", "host", Family.NETDEV, "INGRESS", device="eth0"),
            UnregisterAbsent("host", Family.NETDEV, "INGRESS"),
            Splats((_WARNING,)),
            UnregisterAbsent("host", Family.NETDEV, "HOOK2", "eth0"),
            Splats((_WARNING,)),
            Dump("host", Family.NETDEV, "INGRESS", "eth0"),
            Array("host", Family.NETDEV, "INGRESS", "own", "eth0"),
        ),
        script(
            "unregister.no-device, INET",
            UnregisterAbsent("host", Family.INET, "INGRESS"),
            Splats((_WARNING,)),
        ),
        *(script(
            f"unregister.no-device, {pf.name} {_FOREIGN}",
            Register("own", "peer", Family.NETDEV, "INGRESS", device="eth0"),
            UnregisterAbsent("host", pf, "INGRESS", "eth0", device_netns="peer"),
            Splats((_WARNING,)),
            Dump("peer", Family.NETDEV, "INGRESS", "eth0"),
            Array("peer", Family.NETDEV, "INGRESS", "own", "eth0"),
        ) for pf in (Family.NETDEV, Family.INET)),
    ), needs=("netdev",)),
    Rule("unregister.no-device-egress", "Unregistering at EGRESS without a device, or with another namespace's, only warns.", (
        script(
            "unregister.no-device-egress",
            UnregisterAbsent("host", Family.NETDEV, "EGRESS"),
            Splats((_WARNING,)),
        ),
        script(
            f"unregister.no-device-egress, {_FOREIGN}",
            Register("own", "peer", Family.NETDEV, "EGRESS", device="eth0"),
            UnregisterAbsent("host", Family.NETDEV, "EGRESS", "eth0", device_netns="peer"),
            Splats((_WARNING,)),
            Dump("peer", Family.NETDEV, "EGRESS", "eth0"),
            Array("peer", Family.NETDEV, "EGRESS", "own", "eth0"),
        ),
    ), needs=("netdev", "netdev_egress")),
)
