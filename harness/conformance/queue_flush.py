"""What core does to packets that wait for an NFQUEUE listener (l.421), and where they go on when the array has changed."""

from __future__ import annotations

import errno

from harness.conformance.expect import Array, At, Crosses, Finds, Queue, Returns, Splats
from harness.conformance.queue import IN, Line, hooks, queue_to, resumed, sent, slow
from harness.conformance.rule import Rule, Script, script
from harness.model.foreign import Foreign
from harness.netfilter import PRIORITY_MAX, Family, VerdictKind, hook_number
from harness.outcome.types import NF_REINJECT, Slot, point_key
from harness.scenario.step import Step
from harness.scenario.steps.batches import UnregisterAbsent
from harness.scenario.steps.bpf import BpfLink, BpfUnlink
from harness.scenario.steps.hooks import Nft, Register, RegisterMany, Unregister
from harness.scenario.steps.namespaces import AddLink, AddNetns, DeleteNetns
from harness.scenario.steps.packets import Send
from harness.scenario.steps.queue import Answer, Listen
from harness.scenario.topology import VethEnd

__all__ = ("RULES",)

_V4, _V6 = Family.IPV4, Family.IPV6
_NOT_FOUND = "hook not found, pf 2 num 1"
_POINTS = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
_CHAIN = "table ip t { chain c { type filter hook forward priority 0; policy accept; }; }"
_AT_FORWARD = point_key("host", _V4, hook_number(_V4, "FORWARD"))


def _unregistered(name: str) -> Script:
    return script(
        f"queue.hook-unregistered-meanwhile, {name}",
        Listen("host", 7),
        *hooks(),
        *sent(1, slow("a q"), resumed("", 0), fate="dropped"),
        Unregister(name),
        Array(*IN, " ".join(one for one in "aqbc" if one != name)),
        Queue("host", 7, 0, 1),
        Answer("host", 7), Returns(errno.ENOENT),
    )


def _flushed(name: str, other: Register, *, dropped: bool, rule: str = "unregister.flushes-queue") -> Script:
    """A packet waits, and a hook goes somewhere else."""
    return _waits(f"{rule}, {name}", other, Unregister(other.id), dropped=dropped)


def _waits(name: str, other: Step | None, *meanwhile: Line, dropped: bool, foreign: Foreign | None = None) -> Script:
    """A packet waits while something is done.

    :param other: a hook somewhere else, registered before
    :param dropped: whether the packet is freed, which waits on otherwise
    """
    lines: tuple[Line, ...] = (Queue("host", 7, 0, 1), Answer("host", 7), Returns(errno.ENOENT)) if dropped else (
        Queue("host", 7, 1, 1), Answer("host", 7), Returns(0))
    return script(
        name,
        Listen("host", 7),
        *hooks(), *((other,) if other else ()),
        *sent(1, slow("a q"), resumed("", 0) if dropped else resumed("b c"), fate="dropped" if dropped else "delivered"),
        *meanwhile,
        *lines,
        foreign=foreign,
    )


def _slot_gone(rule: str, *splats: str) -> tuple[Script, ...]:
    """Packets whose slot is beyond the end of the array when they are dropped."""
    return (
        script(
            f"{rule}, the only hook",
            Listen("host", 7),
            Register("q", *IN, 0, queue_to(7)),
            *sent(1, slow("q"), resumed("", 0, start=0), fate="dropped"),
            Unregister("q"), Splats(splats),
            Array(*IN, ""),
            Queue("host", 7, 0, 1),
        ),
        script(
            f"{rule}, a shorter array",
            Listen("host", 7),
            Register("a", *IN, -1),
            Register("q", *IN, 0, queue_to(7)),
            *sent(1, slow("a q"), resumed("", 0), fate="dropped"),
            Unregister("a"), Splats(splats),
            Array(*IN, "q"),
            Queue("host", 7, 0, 1),
        ),
    )


MEANWHILE = (
    Rule("queue.hook-registered-meanwhile", "nf_reinject walks the array that is there now, from the slot that queued: one that came "
         "behind is called, one that came before moves the hook that queued behind that slot, and it queues again.", (
        script(
            "queue.hook-registered-meanwhile, behind",
            Listen("host", 7),
            *hooks(),
            *sent(1, slow("a q"), resumed("new b c")),
            Register("new", *IN, 2),
            Array(*IN, "a q new b c"),
            Answer("host", 7), Returns(0),
        ),
        script(
            "queue.hook-registered-meanwhile, before",
            Listen("host", 7),
            *hooks(),
            *sent(1, slow("a q"), resumed("q", 0), resumed("b c", start=2)),
            Register("new", *IN, -1),
            Array(*IN, "new a q b c"),
            Queue("host", 7, 1, 1),
            Answer("host", 7), Returns(0),
            Queue("host", 7, 1, 2),
            Answer("host", 7), Returns(0),
        ),
        script(
            "queue.hook-registered-meanwhile, before, REPEAT",
            Listen("host", 7),
            *hooks(),
            *sent(1, slow("a q"), resumed("a q", 0), resumed("b c", start=2)),
            Register("new", *IN, -1),
            Answer("host", 7, VerdictKind.REPEAT), Returns(0),
            Answer("host", 7), Returns(0),
        ),
    )),
    Rule("queue.hook-unregistered-meanwhile", "A hook that goes takes the packets along that wait, whichever of the array it is.",
         tuple(map(_unregistered, "aqbc"))),
    Rule("unregister.flushes-queue-layer-2", "A removal at a point of ARP's or BRIDGE's frees what waits in the namespace, too.", (
        *(_flushed(pf.name, Register("other", "host", pf, "FORWARD"), dropped=True, rule="unregister.flushes-queue-layer-2")
          for pf in (Family.ARP, Family.BRIDGE)),
    ), needs=("arp", "bridge")),
    Rule("unregister.flushes-queue", "Whenever a removal replaces an array, everything that waits in the namespace is freed; "
         "what waits in others is not.", (
        _flushed("another point", Register("other", "host", _V4, "OUTPUT"), dropped=True),
        _flushed("another family", Register("other", "host", _V6, "FORWARD"), dropped=True),
        _flushed("both families", Register("other", "host", Family.INET, "FORWARD"), dropped=True),
        _flushed("a device", Register("other", "host", Family.NETDEV, "INGRESS", device="lo"), dropped=True),
        _flushed("another namespace", Register("other", "peer", _V4, "INPUT"), dropped=False),
        _waits("unregister.flushes-queue, a ruleset", Nft("host", _CHAIN), Nft("host", "delete table ip t"), dropped=True,
               foreign=Foreign({5: ((_AT_FORWARD, (Slot(0, "nft_do_chain_ipv4", "nf_tables", 0),)),), 7: ((_AT_FORWARD, ()),)})),
        _waits("unregister.flushes-queue, a long array", RegisterMany("other", "host", _V4, "FORWARD", 12), Unregister("other.6"),
               dropped=True),
        *(script(
            f"unregister.flushes-queue, each point of {pf.name}",
            Listen("host", 7),
            Register("q", *IN, 0, queue_to(7)),
            *(line for cookie, hook in enumerate(_POINTS, 1) for line in (
                *sent(cookie, slow("q"), resumed("", 0, start=0), fate="dropped"),
                Register(hook, "host", pf, hook, 1),
                Queue("host", 7, 1, cookie),
                Unregister(hook),
                Queue("host", 7, 0, cookie))),
        ) for pf in (_V4, _V6)),
        script(
            "unregister.flushes-queue, all queues",
            Listen("host", 7), Listen("host", 8), Listen("peer", 7),
            *hooks(),
            Register("other", "host", _V4, "PREROUTING", 0, queue_to(8), cookie=2),
            Register("far", "peer", _V4, "OUTPUT", 0, queue_to(7), cookie=3),
            Register("goes", "host", _V4, "POSTROUTING"),
            *sent(1, At("peer", "OUTPUT", "far"), At("host", "PREROUTING", "other"), slow("a q"), resumed("", 0), fate="dropped"),
            *sent(2, At("peer", "OUTPUT", "far"), At("host", "PREROUTING", "other", 0), At("host", "PREROUTING", "", 0, loop=NF_REINJECT),
                   fate="dropped"),
            *sent(3, At("peer", "OUTPUT", "far", 0), At("peer", "OUTPUT", "", 0, loop=NF_REINJECT), fate="dropped"),
            Unregister("goes"),
            Queue("host", 7, 0, 1), Queue("host", 8, 0, 1), Queue("peer", 7, 1, 1),
            Answer("peer", 7, VerdictKind.DROP), Returns(0),
        ),
    ), needs=("netdev",)),
    Rule("unregister.flushes-queue-egress", "A removal at a device's EGRESS frees what waits in the namespace, too.", (
        _flushed("EGRESS", Register("other", "host", Family.NETDEV, "EGRESS", device="eth0"), dropped=True,
                 rule="unregister.flushes-queue-egress"),
    ), needs=("netdev", "netdev_egress")),
    Rule("unregister.flushes-queue-inet", "A removal of an NFPROTO_INET hook at INGRESS frees what waits in the namespace, too.", (
        _flushed("INGRESS", Register("other", "host", Family.INET, "INGRESS", device="lo"), dropped=True,
                 rule="unregister.flushes-queue-inet"),
    ), needs=("netdev", "inet_ingress")),
    Rule("queue.hook-registered-elsewhere", "A hook that comes to another point, of whichever family, leaves what waits.", (
        _waits("queue.hook-registered-elsewhere", None,
               *(Register(f"{pf.name}-{hook}", "host", pf, hook, device=device) for pf, hook, device in (
                   (_V4, "OUTPUT", None), (_V6, "INPUT", None), (Family.INET, "FORWARD", None), (Family.ARP, "INPUT", None),
                   (Family.BRIDGE, "FORWARD", None), (Family.NETDEV, "INGRESS", "eth0"))),
               dropped=False),
    ), needs=("netdev", "arp", "bridge")),
    Rule("unregister.flushes-queue-bpf", "A BPF link that is closed frees what waits in the namespace as any removal does.", (
        _waits("unregister.flushes-queue-bpf", BpfLink("link", "host", _V4, "FORWARD", 0), BpfUnlink("link"), dropped=True),
    ), needs=("bpf_link",)),
)

NOT_FLUSHED = (
    Rule("queue.refused", "A registration that is refused leaves what waits; where it takes INET's half out of IPV4 again, that removal "
         "frees what waits.", (
        _waits("queue.refused", None,
               Register("refused", "host", _V4, "FORWARD", fail=(0,)), Returns(errno.ENOMEM), dropped=False),
        _waits("queue.refused, by INET's other half", None,
               Register("both", "host", Family.INET, "FORWARD", fail=(1,)), Returns(errno.ENOMEM), dropped=True),
    ), needs=("failing_allocations",)),
    Rule("queue.not-found", "Unregistering what is not there replaces no array: what waits goes on waiting.", (
        script(
            "queue.not-found",
            Listen("host", 7),
            *hooks(),
            *sent(1, slow("a q"), resumed("b c")),
            UnregisterAbsent(*IN), Splats((_NOT_FOUND,)),
            Array(*IN, "a q b c"),
            Queue("host", 7, 1, 1),
            Answer("host", 7), Returns(0),
        ),
    )),
    Rule("queue.failed-shrink", "A removal that finds no memory for a smaller array leaves what waits; nf_reinject calls the dummy. "
         "The removal that takes the dummy along frees it.", (
        script(
            "queue.failed-shrink",
            Listen("host", 7),
            *hooks(),
            *sent(1, slow("a q"), resumed("c")),
            Unregister("b", fail=(0,)),
            Array(*IN, "a q dummy c"),
            Queue("host", 7, 1, 1),
            Answer("host", 7), Returns(0),
        ),
        script(
            "queue.failed-shrink, then with another",
            Listen("host", 7),
            *hooks(),
            *sent(1, slow("a q"), resumed("", 0), fate="dropped"),
            Unregister("b", fail=(0,)),
            Queue("host", 7, 1, 1),
            Unregister("c"),
            Array(*IN, "a q"),
            Queue("host", 7, 0, 1),
        ),
        script(
            "queue.failed-shrink, then what is not there",
            Listen("host", 7),
            *hooks(),
            *sent(1, slow("a q"), resumed("", 0), fate="dropped"),
            Unregister("c", fail=(0,)),
            Queue("host", 7, 1, 1),
            UnregisterAbsent(*IN), Splats((_NOT_FOUND,)),
            Array(*IN, "a q b"),
            Queue("host", 7, 0, 1),
        ),
        *(script(
            f"queue.failed-shrink, of INET's half of {stays.name}",
            Listen("host", 7),
            *hooks(),
            Register("stays", "host", stays, "FORWARD", 1),
            Register("both", "host", Family.INET, "FORWARD", 0),
            *sent(1, slow("a q"), resumed("", 0), fate="dropped"),
            Unregister("both", fail=(0,)),
            Array("host", stays, "FORWARD", "dummy stays"),
            Array("host", goes, "FORWARD", ""),
            Queue("host", 7, 0, 1),
        ) for stays, goes in ((_V4, _V6), (_V6, _V4))),
    ), needs=("failing_allocations",)),
    Rule("queue.dummies-go", "A registration leaves dummies behind and frees nothing that waits: nf_reinject goes on behind the slot that "
         "queued, whichever hook has it now, and frees a packet whose slot is beyond the end, whatever its listener says.", (
        script(
            "queue.dummies-go, a hook is passed over",
            Listen("host", 7),
            *hooks(),
            *sent(1, slow("a q"), resumed("c new")),
            Unregister("a", fail=(0,)),
            Register("new", *IN, PRIORITY_MAX),
            Array(*IN, "q b c new"),
            Queue("host", 7, 1, 1),
            Answer("host", 7), Returns(0),
        ),
        script(
            "queue.dummies-go, the slot is gone",
            Listen("host", 7),
            Register("x", *IN, -2), Register("y", *IN, -1), Register("q", *IN, 0, queue_to(7)),
            *sent(1, slow("x y q"), resumed("", 0, start=2), fate="dropped"),
            Unregister("x", fail=(0,)), Unregister("y", fail=(0,)),
            Register("new", *IN, PRIORITY_MAX),
            Array(*IN, "q new"),
            Queue("host", 7, 1, 1),
            Answer("host", 7), Returns(0),
            Queue("host", 7, 0, 1),
        ),
    ), needs=("failing_allocations",)),
)

_LINK = AddLink(VethEnd("later", "eth0", ("10.0.9.1/24",)), VethEnd("host", "to-later", ("10.0.9.2/24",)))

GONE = (
    Rule("queue.slot-gone", "A removal that leaves no hook in the slot that queued a packet frees the packet, and nobody is warned.",
         _slot_gone("queue.slot-gone"), needs=("reinject_silent",)),
    Rule("queue.slot-gone-warns", "A removal that leaves no hook in the slot that queued a packet frees the packet; nf_reinject warns.",
         _slot_gone("queue.slot-gone-warns", "net/netfilter/nf_queue.c"), needs=("reinject_warns",)),
)

DYING = (
    Rule("pernet.exit-queued", "A namespace that dies while packets wait: with its listener, whose socket held it, all of it goes, and no "
         "packet is left.", (
        script(
            "pernet.exit-queued",
            AddNetns("later"),
            _LINK,
            Listen("later", 7),
            Register("in", "later", _V4, "INPUT", 0, queue_to(7)),
            Register("out", "later", _V4, "OUTPUT", 0, queue_to(7)),
            Send("host", "later", 1),
            Crosses((At("later", "INPUT", "in", 0), At("later", "INPUT", "", 0, loop=NF_REINJECT)), "dropped"),
            Send("later", "10.0.9.2", 2),
            Crosses((At("later", "OUTPUT", "out", 0), At("later", "OUTPUT", "", 0, loop=NF_REINJECT)), "dropped"),
            Queue("later", 7, 2, 2),
            DeleteNetns("later"),
            Finds.of(netns="gone", proc="gone"),
            Splats(),
        ),
    )),
)

RULES = (*MEANWHILE, *NOT_FLUSHED, *GONE, *DYING)
