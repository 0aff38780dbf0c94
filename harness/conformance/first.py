"""The machine's first network namespace: what core does in any other, it does there, and what other namespaces do leaves it alone.

core.c asks for ``init_net`` once, in ``netfilter_net_init`` (l.635), at boot. Everything else must not tell it from others, so some of the
scripts of other rules run there once more.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import replace

from harness.conformance import batches, devices, memory, namespaces, queue_flush, raw, registration, unregistration, verdicts
from harness.conformance.expect import Array, At, Crosses, Finds, Queue, Returns, Splats
from harness.conformance.queue import queue_to
from harness.conformance.rule import Rule, Script, script
from harness.netfilter import Family, VerdictKind
from harness.outcome.types import NF_REINJECT
from harness.scenario.steps.batches import RegisterBatch
from harness.scenario.steps.hooks import Dump, Register, Unregister
from harness.scenario.steps.namespaces import AddLink, AddNetns, DeleteNetns, Keys
from harness.scenario.steps.packets import Send
from harness.scenario.steps.queue import Answer, Listen
from harness.scenario.topology import FIRST, PAIR, SINGLE, VethEnd

__all__ = ("RULES",)

_V4, _V6, _NETDEV = Family.IPV4, Family.IPV6, Family.NETDEV
_IN, _POST = ("host", _V4, "INPUT"), ("host", _V4, "POSTROUTING")
_THERE = {PAIR: FIRST, SINGLE: replace(SINGLE, name="first-single", first="host")}
_CONCERNS = (batches, devices, memory, namespaces, queue_flush, raw, registration, unregistration, verdicts)
_OF_OTHERS = {one.scenario.name: one for concern in _CONCERNS for rule in concern.RULES for one in rule.scripts}


def _there(rule: str, *names: str) -> Iterator[Script]:
    """Scripts of other rules, in the first namespace."""
    for name in names:
        one = _OF_OTHERS[name]
        yield replace(one, scenario=replace(one.scenario, name=f"{rule}: {name}", topology=_THERE[one.scenario.topology]))


RULES = (
    Rule("first.order", "In the first namespace hooks come, run and go as in any, among those that stand there, and each counts.", (
        script(
            "first.order",
            Keys(),
            Finds(()),
            Register("before", *_POST, -300),
            Register("after", *_POST, 300),
            Array(*_POST, "before after"),
            Keys(),
            Finds.of(**{"IPV4 POSTROUTING": 2}),
            Send("host", "peer", cookie=1),
            Crosses((At("host", "POSTROUTING", "before after"),)),
            Unregister("before"),
            Array(*_POST, "after"),
            Send("host", "peer", cookie=2, source_port=40001),
            Crosses((At("host", "POSTROUTING", "after"),)),
            Unregister("after"),
            Array(*_POST, ""),
            Keys(),
            Finds(()),
            topology=FIRST,
        ),
        *_there("first.order", "order.ascending", "order.stable", "unregister.shrinks", "unregister.last"),
    ), needs=("static_keys",)),
    Rule("first.inet", "In the first namespace an NFPROTO_INET hook is in IPV4 and IPV6, and goes out of both.", (
        *_there("first.inet", "inet.unregister", "inet.fanout"),
    )),
    Rule("first.devices", "In the first namespace a device's hooks run for what it receives, and each counts.", (
        script(
            "first.devices",
            Register("lo", "host", _NETDEV, "INGRESS", device="lo"),
            Register("netdev", "host", _NETDEV, "INGRESS", 5, device="eth0"),
            Register("inet", "host", Family.INET, "INGRESS", device="eth0"),
            Array("host", _NETDEV, "INGRESS", "inet netdev", "eth0"),
            Keys(),
            Finds.of(**{"NETDEV INGRESS": 3, "ingress_needed_key": 3}),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INGRESS", "inet netdev", pf=_NETDEV),)),
            *(Unregister(name) for name in ("inet", "netdev", "lo")),
            Array("host", _NETDEV, "INGRESS", "", "lo"),
            Keys(),
            Finds(()),
            Send("peer", "host", cookie=2, source_port=40001),
            Crosses(()),
            topology=FIRST,
        ),
    ), needs=("netdev", "static_keys", "inet_ingress")),
    Rule("first.refused", "In the first namespace core refuses what it refuses in any; another one takes no hook on its devices.", (
        script(
            "first.refused, its device by another namespace",
            RegisterBatch("peer", (Register("foreign", "peer", _NETDEV, "INGRESS", device="eth0", device_netns="host"),)),
            Returns(errno.EINVAL),
            Splats(),
            Dump("host", _NETDEV, "INGRESS", "eth0"),
            Array("host", _NETDEV, "INGRESS", "", "eth0"),
            topology=FIRST,
        ),
        *_there("first.refused", "netdev.no-device", "unregister.empty-head", "netdev.foreign-device", "unregister.missing",
                "batch.rollback", "grow.enomem", "inet.enomem"),
    ), needs=("netdev", "failing_allocations")),
    Rule("first.verdicts", "In the first namespace verdicts are what they are in any, and a drop is told as one.", (
        *_there("first.verdicts", "drop.errno", "stolen", "queue.no-handler", "queue.bypass"),
    )),
    Rule("first.stolen", "In the first namespace STOLEN's errno is returned.", (
        *_there("first.stolen", "stolen.errno"),
    ), needs=("stolen_errno",)),
    Rule("first.private", "In the first namespace a private array and a list are crossed as in any.", (
        *_there("first.private", "unknown", "list.order"),
    ), needs=("unknown_verdict_warns",)),
    Rule("first.queue", "In the first namespace a removal frees what waits there, and one in another namespace does not.", (
        *_there("first.queue", "unregister.flushes-queue, another point", "unregister.flushes-queue, another namespace"),
    )),
    Rule("first.neighbours", "Another namespace that comes and dies with its hooks starts with none of the first one's, and leaves those, "
         "what they count, and what waits there.", (
        script(
            "first.neighbours",
            Listen("host", 7),
            Register("in", *_IN),
            Register("q", *_IN, 1, queue_to(7)),
            Register("both", "host", Family.INET, "FORWARD"),
            Register("arp", "host", Family.ARP, "OUTPUT"),
            Register("bridge", "host", Family.BRIDGE, "FORWARD"),
            Register("device", "host", _NETDEV, "INGRESS", device="eth0"),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INGRESS", "device", pf=_NETDEV), At("host", "INPUT", "in q", 0),
                     At("host", "INPUT", "", start=1, loop=NF_REINJECT))),
            Queue("host", 7, 1, 1),
            AddNetns("later"),
            Finds.of(proc="own"),
            Queue("host", 7, 1, 1),
            *(line for pf, hook in ((_V4, "INPUT"), (_V4, "FORWARD"), (_V6, "FORWARD"), (Family.ARP, "OUTPUT"), (Family.BRIDGE, "FORWARD"))
              for line in (Dump("later", pf, hook), Array("later", pf, hook, ""))),
            AddLink(VethEnd("later", "eth0", ("10.0.9.1/24",)), VethEnd("host", "to-later", ("10.0.9.2/24",))),
            Register("later-in", "later", *_IN[1:]),
            Register("later-both", "later", Family.INET, "FORWARD"),
            Register("later-device", "later", _NETDEV, "INGRESS", device="eth0"),
            Register("to-later", "host", _NETDEV, "INGRESS", device="lo"),
            Unregister("later-both"),
            Queue("host", 7, 1, 1),
            DeleteNetns("later"),
            Finds.of(netns="gone", proc="gone"),
            Splats(),
            Queue("host", 7, 1, 1),
            Dump(*_IN),
            Array(*_IN, "in q"),
            Dump("host", _V6, "FORWARD"),
            Array("host", _V6, "FORWARD", "both"),
            Keys(),
            Finds.of(**{"IPV4 INPUT": 2, "IPV4 FORWARD": 1, "IPV6 FORWARD": 1, "ARP OUTPUT": 1, "BRIDGE FORWARD": 1, "NETDEV INGRESS": 2,
                        "ingress_needed_key": 2}),
            Answer("host", 7, VerdictKind.ACCEPT),
            Returns(0),
            topology=FIRST,
        ),
    ), needs=("netdev", "arp", "bridge", "static_keys")),
)
