"""Namespaces and devices that come and go: ``netfilter_net_init``, ``netfilter_net_exit`` (l.608-648), and the static keys (l.37-40)."""

from __future__ import annotations

import errno

from harness.conformance.expect import Array, At, Crosses, Finds, PrivateArray, Returns, Splats
from harness.conformance.rule import Rule, Script, script
from harness.netfilter import Family
from harness.outcome.facts import NO_PROC
from harness.scenario.steps.batches import RegisterAgain, UnregisterAbsent
from harness.scenario.steps.bpf import BpfLink, BpfUnlink
from harness.scenario.steps.hooks import Dump, Register, RegisterMany, Unregister
from harness.scenario.steps.namespaces import AddDevice, AddLink, AddNetns, DeleteDevice, DeleteNetns, Keys, MoveDevice
from harness.scenario.steps.packets import Send
from harness.scenario.steps.raw import RawInsert
from harness.scenario.topology import VethEnd

__all__ = ("RULES",)

_V4, _V6, _INET, _NETDEV = Family.IPV4, Family.IPV6, Family.INET, Family.NETDEV
_IN = ("host", _V4, "INPUT")
_LATER_IN = ("later", _V4, "INPUT")
_LINK = AddLink(VethEnd("later", "eth0", ("10.0.9.1/24",)), VethEnd("host", "to-later", ("10.0.9.2/24",)))
_GONE = Finds.of(netns="gone", proc="gone")


def _keys(*, more: bool = False, ingress: int = 0, egress: int = 0, **counts: int) -> Finds:
    """Expect what static keys count.

    :param counts: ``IPV4_INPUT=1``
    :param more: there are others: a security module's
    :param ingress: of ``ingress_needed_key``
    :param egress: of ``egress_needed_key``
    """
    found = {name.replace("_", " "): count for name, count in counts.items()}
    found |= {name: count for name, count in (("ingress_needed_key", ingress), ("egress_needed_key", egress)) if count}
    return Finds(tuple(sorted(found.items())), more)


def _dummy_at(rule: str, hook: str) -> Script:
    """One of two hooks of a device leaves a dummy, which goes with the other."""
    point = "host", _NETDEV, hook
    return script(
        f"{rule}, of a device",
        Register("goes", *point, device="eth0"),
        Register("stays", *point, device="eth0"),
        Unregister("goes", fail=(0,)),
        Array(*point, "stays dummy", "eth0"),
        Keys(),
        Finds(((f"NETDEV {hook}", 1), (f"{hook.lower()}_needed_key", 1))),
        Unregister("stays"),
        Keys(),
        Finds(()),
    )


def _dies(rule: str, pf: Family, hook: str, counted: Finds) -> Script:
    """A device dies with two hooks on it."""
    return script(
        rule,
        AddDevice("host", "doomed"),
        Register("one", "host", pf, hook, device="doomed"),
        Register("two", "host", pf, hook, 5, device="doomed"),
        Keys(),
        counted,
        DeleteDevice("host", "doomed"),
        Returns(0),
        Splats(),
        Keys(),
        Finds(()),
    )


_FIVE = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
_POINTS = [(pf, hook) for pf, of_family in ((_V4, _FIVE), (_V6, _FIVE), (Family.BRIDGE, _FIVE),
                                            (Family.ARP, ("INPUT", "OUTPUT", "FORWARD"))) for hook in of_family]
"""All that are no device's."""

NAMESPACES = (
    Rule("pernet.proc", "Each new namespace has a new /proc/net/netfilter, which is gone with it.", (
        script(
            "pernet.proc",
            AddNetns("later"),
            Finds.of(proc="own"),
            AddNetns("latest"),
            Finds.of(proc="own"),
            DeleteNetns("later"),
            _GONE,
            AddNetns("later"),
            Finds.of(proc="own"),
            DeleteNetns("latest"),
            _GONE,
            DeleteNetns("later"),
            _GONE,
        ),
    )),
    Rule("pernet.enomem", "No memory for a namespace's /proc/net/netfilter: -ENOMEM, a line in the log, none is left; the next has it.", (
        script(
            "pernet.enomem",
            AddNetns("later", fail=(0,)),
            Returns(errno.ENOMEM),
            Finds.of(log=NO_PROC),
            Splats(),
            Register("in", *_IN),
            Array(*_IN, "in"),
            AddNetns("later"),
            Finds.of(proc="own"),
            Register("later-in", "later", *_IN[1:]),
            Array("later", *_IN[1:], "later-in"),
            AddNetns("latest", fail=(0,)),
            Returns(errno.ENOMEM),
            Finds.of(log=NO_PROC),
            DeleteNetns("later"),
            _GONE,
        ),
    ), needs=("failing_allocations",)),
    Rule("pernet.empty", "A namespace made later starts with every head empty, whatever its neighbours have.", (
        script(
            "pernet.empty",
            Register("host", *_IN),
            RegisterMany("many", "host", _V6, "OUTPUT", 8),
            AddNetns("later"),
            *(line for pf in (_V4, _V6) for hook in ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING") for line in (
                Dump("later", pf, hook), Array("later", pf, hook, ""))),
            Dump("later", _NETDEV, "INGRESS", "lo"),
            Array("later", _NETDEV, "INGRESS", "", "lo"),
        ),
    ), needs=("netdev",)),
    Rule("pernet.isolated", "A namespace made later does not see its neighbours' packets, nor they its own.", (
        script(
            "pernet.isolated",
            AddNetns("later"),
            _LINK,
            Register("host", *_IN),
            Register("later", *_LATER_IN),
            Array(*_LATER_IN, "later"),
            Send("host", "later", cookie=1),
            Crosses((At("later", "INPUT", "later", indev="eth0"),)),
            Send("later", "10.0.9.2", cookie=2),
            Crosses((At("host", "INPUT", "host", indev="to-later"),)),
            Send("peer", "host", cookie=3, source_port=40001),
            Crosses((At("host", "INPUT", "host", indev="eth0"),)),
        ),
    )),
    Rule("pernet.exit", "A namespace dies with hooks of every kind: they are unregistered, no warning, and the kernel frees it.", (
        script(
            "pernet.exit",
            AddNetns("later"),
            _LINK,
            Keys(),
            Register("host", *_IN),
            Register("v4", *_LATER_IN),
            Register("v4-too", *_LATER_IN, 5),
            Register("v6", "later", _V6, "FORWARD"),
            Register("both", "later", _INET, "OUTPUT"),
            Register("ingress", "later", _NETDEV, "INGRESS", device="eth0"),
            Register("peer-of-it", "host", _NETDEV, "INGRESS", device="to-later"),
            RawInsert("private", "later", "own"),
            PrivateArray("later", "own", "private"),
            Send("host", "later", cookie=1),
            Crosses((At("later", "INGRESS", "ingress", pf=_NETDEV), At("later", "INPUT", "v4 v4-too"))),
            Keys(),
            DeleteNetns("later"),
            _GONE,
            Splats(),
            Keys(),
            _keys(IPV4_INPUT=1),
            Send("peer", "host", cookie=2, source_port=40001),
            Crosses((At("host", "INPUT", "host"),)),
            AddNetns("later"),
            Dump(*_LATER_IN),
            Array(*_LATER_IN, ""),
        ),
    ), needs=("netdev", "static_keys")),
    Rule("pernet.exit-twice", "A namespace dies with the same ops registered twice: both go, and nothing counts them any more.", (
        script(
            "pernet.exit-twice",
            AddNetns("later"),
            Register("twice", *_LATER_IN),
            Register("between", *_LATER_IN),
            RegisterAgain("twice"),
            Array(*_LATER_IN, "twice between twice"),
            Register("both", "later", _INET, "OUTPUT"),
            RegisterAgain("both"),
            Register("ingress", "later", _NETDEV, "INGRESS", device="lo"),
            RegisterAgain("ingress"),
            Keys(),
            _keys(IPV4_INPUT=3, IPV4_OUTPUT=2, IPV6_OUTPUT=2, NETDEV_INGRESS=2, ingress=2, more=True),
            DeleteNetns("later"),
            _GONE,
            Splats(),
            Keys(),
            Finds(()),
        ),
    ), needs=("netdev", "static_keys")),
    Rule("pernet.exit-layer-2", "A namespace dies with hooks of ARP and BRIDGE: they are unregistered, and nothing counts them any more.", (
        script(
            "pernet.exit-layer-2",
            AddNetns("later"),
            *(Register(f"{pf.name}-{name}", "later", pf, hook) for pf, hook in ((Family.ARP, "OUTPUT"), (Family.BRIDGE, "FORWARD"))
              for name in ("one", "two")),
            Keys(),
            _keys(ARP_OUTPUT=2, BRIDGE_FORWARD=2, more=True),
            DeleteNetns("later"),
            _GONE,
            Splats(),
            Keys(),
            Finds(()),
        ),
    ), needs=("arp", "bridge", "static_keys")),
    Rule("pernet.exit-devices", "A namespace dies with hooks at each point of its devices: they are unregistered, nothing counts them.", (
        script(
            "pernet.exit-devices",
            AddNetns("later"),
            _LINK,
            *(Register(f"{device}-{pf.name}-{hook}", "later", pf, hook, device=device) for device in ("lo", "eth0")
              for pf, hook in ((_NETDEV, "INGRESS"), (_NETDEV, "EGRESS"), (_INET, "INGRESS"))),
            Keys(),
            _keys(NETDEV_INGRESS=4, NETDEV_EGRESS=2, ingress=4, egress=2, more=True),
            DeleteNetns("later"),
            _GONE,
            Splats(),
            Keys(),
            Finds(()),
        ),
    ), needs=("netdev", "static_keys", "netdev_egress", "inet_ingress")),
    Rule("pernet.exit-dummies", "A namespace dies with dummies in its arrays: it is freed all the same.", (
        script(
            "pernet.exit-dummies",
            AddNetns("later"),
            Register("goes", *_LATER_IN),
            Register("stays", *_LATER_IN, 1),
            Unregister("goes", fail=(0,)),
            Array(*_LATER_IN, "dummy stays"),
            DeleteNetns("later"),
            _GONE,
            Splats(),
        ),
    ), needs=("failing_allocations",)),
)

DEVICES = (
    Rule("device.dies", "A device dies with hooks on it: they are unregistered, those on other devices stay.", (
        script(
            "device.dies",
            AddDevice("host", "doomed"),
            Array("host", _NETDEV, "INGRESS", "", "doomed"),
            Register("other", "host", _NETDEV, "INGRESS", device="eth0"),
            Register("one", "host", _NETDEV, "INGRESS", device="doomed"),
            Register("two", "host", _NETDEV, "INGRESS", 5, device="doomed"),
            Array("host", _NETDEV, "INGRESS", "one two", "doomed"),
            Keys(),
            _keys(NETDEV_INGRESS=3, ingress=3),
            DeleteDevice("host", "doomed"),
            Returns(0),
            Splats(),
            Keys(),
            _keys(NETDEV_INGRESS=1, ingress=1),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INGRESS", "other", pf=_NETDEV),)),
            AddDevice("host", "doomed"),
            Array("host", _NETDEV, "INGRESS", "", "doomed"),
        ),
        script(
            "device.dies, and its peer",
            AddLink(VethEnd("peer", "far"), VethEnd("host", "near")),
            Register("near", "host", _NETDEV, "INGRESS", device="near"),
            Register("far", "peer", _NETDEV, "INGRESS", device="far"),
            DeleteDevice("host", "near"),
            Splats(),
            Keys(),
            Finds(()),
        ),
    ), needs=("netdev", "static_keys")),
    Rule("device.dies-egress", "A device dies with hooks at EGRESS: they are unregistered, and nothing counts them any more.", (
        _dies("device.dies-egress", _NETDEV, "EGRESS", _keys(NETDEV_EGRESS=2, egress=2)),
    ), needs=("netdev", "static_keys", "netdev_egress")),
    Rule("device.dies-inet", "A device dies with NFPROTO_INET hooks at INGRESS: they are unregistered, and nothing counts them any more.", (
        _dies("device.dies-inet", _INET, "INGRESS", _keys(NETDEV_INGRESS=2, ingress=2)),
    ), needs=("netdev", "static_keys", "inet_ingress")),
    Rule("device.moves", "A device that moves to another namespace leaves its hooks behind: its arrays are empty there.", (
        script(
            "device.moves",
            AddDevice("host", "mover"),
            Register("old", "host", _NETDEV, "INGRESS", device="mover"),
            MoveDevice("host", "mover", "peer"),
            Splats(),
            Array("peer", _NETDEV, "INGRESS", "", "mover"),
            Keys(),
            Finds(()),
            Register("new", "peer", _NETDEV, "INGRESS", device="mover"),
            Returns(0),
            Array("peer", _NETDEV, "INGRESS", "new", "mover"),
            MoveDevice("peer", "mover", "host"),
            Array("host", _NETDEV, "INGRESS", "", "mover"),
            Keys(),
            Finds(()),
        ),
    ), needs=("netdev", "static_keys")),
)

KEYS = (
    Rule("key.counts", "A point's static key counts its registrations in all namespaces; refused ones do not count.", (
        script(
            "key.counts",
            Register("host", *_IN),
            Register("peer", "peer", _V4, "INPUT"),
            Register("peer-too", "peer", _V4, "INPUT"),
            Register("both", "host", _INET, "FORWARD"),
            Keys(),
            _keys(IPV4_INPUT=3, IPV4_FORWARD=1, IPV6_FORWARD=1),
            Unregister("host"),
            Unregister("both"),
            Keys(),
            _keys(IPV4_INPUT=2),
            Send("peer", "host", cookie=1),
            Crosses(()),
            Send("host", "peer", cookie=2),
            Crosses((At("peer", "INPUT", "peer-too peer"),)),
            Unregister("peer"),
            Unregister("peer-too"),
            Keys(),
            Finds(()),
        ),
        script(
            "key.counts, of devices",
            Register("near", "host", _NETDEV, "INGRESS", device="eth0"),
            Register("far", "peer", _NETDEV, "INGRESS", device="eth0"),
            Keys(),
            _keys(NETDEV_INGRESS=2, ingress=2),
            Unregister("far"),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INGRESS", "near", pf=_NETDEV),)),
            Unregister("near"),
            Keys(),
            Finds(()),
            Send("peer", "host", cookie=2, source_port=40001),
            Crosses(()),
        ),
    ), needs=("netdev", "static_keys")),
    Rule("key.ingress", "An NFPROTO_INET hook at INGRESS counts as its device's.", (
        script(
            "key.ingress",
            Register("inet", "host", _INET, "INGRESS", device="eth0"),
            Keys(),
            _keys(NETDEV_INGRESS=1, ingress=1),
            Unregister("inet"),
            Keys(),
            Finds(()),
        ),
    ), needs=("netdev", "static_keys", "inet_ingress")),
    Rule("key.failed-shrink", "A hook that leaves a dummy behind does not count any more; nor does one that found no memory.", (
        script(
            "key.failed-shrink",
            Register("goes", *_IN),
            Register("stays", *_IN),
            Register("refused", *_IN, fail=(0,)),
            Keys(),
            _keys(IPV4_INPUT=2),
            Unregister("goes", fail=(0,)),
            Keys(),
            _keys(IPV4_INPUT=1),
        ),
        _dummy_at("key.failed-shrink", "INGRESS"),
    ), needs=("netdev", "static_keys", "failing_allocations")),
    Rule("key.failed-shrink-egress", "A hook at EGRESS that leaves a dummy behind does not count any more.", (
        _dummy_at("key.failed-shrink-egress", "EGRESS"),
    ), needs=("netdev", "static_keys", "netdev_egress", "failing_allocations")),
    Rule("key.egress", "Egress counts at its devices' static key, and ingress does not; the last unregistration turns it off.", (
        script(
            "key.egress",
            Register("near", "host", _NETDEV, "EGRESS", device="eth0"),
            Register("near-too", "host", _NETDEV, "EGRESS", device="eth0"),
            Register("far", "peer", _NETDEV, "EGRESS", device="eth0"),
            Keys(),
            _keys(NETDEV_EGRESS=3, egress=3),
            Register("in", "host", _NETDEV, "INGRESS", device="eth0"),
            Unregister("near"),
            Keys(),
            _keys(NETDEV_EGRESS=2, NETDEV_INGRESS=1, egress=2, ingress=1),
            UnregisterAbsent("host", _NETDEV, "EGRESS", "eth0"),
            Keys(),
            _keys(NETDEV_EGRESS=2, NETDEV_INGRESS=1, egress=2, ingress=1),
            Unregister("near-too"),
            Unregister("far"),
            Keys(),
            _keys(NETDEV_INGRESS=1, ingress=1),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INGRESS", "in", pf=_NETDEV),)),
            Unregister("in"),
            Keys(),
            Finds(()),
            Register("lo", "host", _NETDEV, "EGRESS", device="lo"),
            Keys(),
            _keys(NETDEV_EGRESS=1, egress=1),
        ),
    ), needs=("netdev", "static_keys", "netdev_egress")),
    Rule("key.layer-2", "ARP's and BRIDGE's points count at their static keys as any: each registration once, up and down.", (
        script(
            "key.layer-2",
            Register("arp", "host", Family.ARP, "INPUT"),
            Register("bridge", "host", Family.BRIDGE, "FORWARD"),
            Keys(),
            _keys(ARP_INPUT=1, BRIDGE_FORWARD=1),
            Unregister("arp"),
            Unregister("bridge"),
            Keys(),
            Finds(()),
        ),
    ), needs=("arp", "bridge", "static_keys")),
    Rule("key.every-point", "Each point of IPV4, IPV6, BRIDGE and ARP counts at its own static key and at no device's, up and down.", (
        script(
            "key.every-point",
            *(Register(f"{pf.name}-{hook}", "host", pf, hook) for pf, hook in _POINTS),
            Keys(),
            Finds.of(**{f"{pf.name} {hook}": 1 for pf, hook in _POINTS}),
            *(Unregister(f"{pf.name}-{hook}") for pf, hook in _POINTS),
            Keys(),
            Finds(()),
        ),
    ), needs=("arp", "bridge", "static_keys")),
    Rule("key.bpf", "A BPF link counts at its point's static key until it is closed.", (
        script(
            "key.bpf",
            BpfLink("link", *_IN, 0),
            Keys(),
            _keys(IPV4_INPUT=1),
            BpfUnlink("link"),
            Keys(),
            Finds(()),
        ),
    ), needs=("static_keys", "bpf_link")),
    Rule("key.device-down", "A hook at a device that is down counts as any.", (
        script(
            "key.device-down",
            AddDevice("host", "down0", up=False),
            Register("in", "host", _NETDEV, "INGRESS", device="down0"),
            Register("out", "host", _NETDEV, "EGRESS", device="down0"),
            Register("inet", "host", _INET, "INGRESS", device="down0"),
            Keys(),
            _keys(NETDEV_INGRESS=2, NETDEV_EGRESS=1, ingress=2, egress=1),
            *(Unregister(name) for name in ("in", "out", "inet")),
            Keys(),
            Finds(()),
        ),
    ), needs=("netdev", "static_keys", "netdev_egress", "inet_ingress")),
    Rule("key.missing", "Unregistering what is not there turns nothing off.", (
        script(
            "key.missing",
            Register("a", *_IN),
            Register("device", "host", _NETDEV, "INGRESS", device="eth0"),
            UnregisterAbsent(*_IN),
            UnregisterAbsent("host", _NETDEV, "INGRESS", "eth0"),
            Keys(),
            _keys(IPV4_INPUT=1, NETDEV_INGRESS=1, ingress=1),
        ),
        script(
            "key.missing, at a device without hooks",
            Register("other", "host", _NETDEV, "INGRESS", device="eth0"),
            UnregisterAbsent("host", _NETDEV, "INGRESS", "lo"),
            Splats(("net/netfilter/core.c",)),
            Keys(),
            _keys(NETDEV_INGRESS=1, ingress=1),
        ),
    ), needs=("netdev", "static_keys")),
    Rule("key.missing-inet", "Unregistering an NFPROTO_INET hook that is not at INGRESS turns nothing off.", (
        script(
            "key.missing-inet",
            Register("inet", "host", _INET, "INGRESS", device="eth0"),
            UnregisterAbsent("host", _INET, "INGRESS", "eth0"),
            Splats(("hook not found, pf 1 num 5",)),
            Keys(),
            _keys(NETDEV_INGRESS=1, ingress=1),
        ),
        script(
            "key.missing-inet, at a device without hooks",
            UnregisterAbsent("host", _INET, "INGRESS", "eth0"),
            Splats(("net/netfilter/core.c",)),
            Keys(),
            Finds(()),
        ),
    ), needs=("netdev", "static_keys", "inet_ingress")),
    Rule("key.refused-egress", "A registration that is refused turns nothing on, at egress neither.", (
        script(
            "key.refused-egress",
            Register("refused", "host", _NETDEV, "EGRESS", device="eth0", fail=(0,)),
            Returns(errno.ENOMEM),
            Keys(),
            Finds(()),
        ),
    ), needs=("netdev", "static_keys", "netdev_egress", "failing_allocations")),
    Rule("key.refused", "A registration that is refused turns nothing on: neither its point nor its devices' direction.", (
        script(
            "key.refused",
            Register("refused", *_IN, fail=(0,)),
            Register("refused-device", "host", _NETDEV, "INGRESS", device="eth0", fail=(0,)),
            Returns(errno.ENOMEM),
            Keys(),
            Finds(()),
            Register("first-half", "host", _INET, "INPUT", fail=(1,)),
            Returns(errno.ENOMEM),
            Keys(),
            Finds(()),
        ),
    ), needs=("netdev", "static_keys", "failing_allocations")),
)

RULES = (*NAMESPACES, *DEVICES, *KEYS)
