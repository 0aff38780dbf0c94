"""What an NFQUEUE listener says, and later hooks: ``nf_reinject`` and ``nf_iterate`` (``net/netfilter/nf_queue.c``)."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from harness.conformance.expect import BY_STACK, Answered, At, Crosses, Queue, Returns
from harness.conformance.queue import IN, Line, hooks, queue_to, resumed, sent, slow
from harness.conformance.rule import Rule, Script, script
from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome.fate import FateKind
from harness.outcome.types import NF_REINJECT
from harness.scenario.steps.hooks import Register, RegisterMany
from harness.scenario.steps.packets import Send
from harness.scenario.steps.queue import Answer, Listen
from harness.scenario.topology import BRIDGE, ROUTER

__all__ = ("RULES",)

_V4, _V6, _BR = Family.IPV4, Family.IPV6, Family.BRIDGE
_ACCEPT, _DROP, _STOLEN, _REPEAT, _STOP = (Verdict(kind) for kind in (
    VerdictKind.ACCEPT, VerdictKind.DROP, VerdictKind.STOLEN, VerdictKind.REPEAT, VerdictKind.STOP))
_HIGH = 0x8000_0000
_UNKNOWN = 0x42


def _answered(name: str, verdict: int, *walk: At, fate: FateKind = "delivered", more: Sequence[Line] = (), **reinjected: int) -> Script:
    """One packet waits in queue 7 and is answered with *verdict*."""
    return script(
        name,
        Listen("host", 7),
        *hooks(**reinjected),
        *sent(1, slow("a q"), *walk, fate=fate),
        Queue("host", 7, 1, 1),
        Answer("host", 7, verdict),
        Returns(0),
        *more,
    )


def _every_point(pf: Family) -> Script:
    """A packet from a client through a router waits at one point after the other, and goes on there."""
    points = (("client", "OUTPUT"), ("client", "POSTROUTING"), ("router", "PREROUTING"), ("router", "FORWARD"),
              ("router", "POSTROUTING"), ("server", "PREROUTING"), ("server", "INPUT"))
    names = [f"{netns}-{hook}" for netns, hook in points]
    lines: list[Line] = [Listen(netns, 7) for netns in ("client", "router", "server")]
    for cookie, (name, (netns, hook)) in enumerate(zip(names, points, strict=True), 1):
        lines += [Register(f"before-{name}", netns, pf, hook, -1), Register(name, netns, pf, hook, 0, queue_to(7), cookie=cookie),
                  Register(f"after-{name}", netns, pf, hook, 1)]
    for cookie, (queued, (at, _)) in enumerate(zip(names, points, strict=True), 1):
        walk: list[At] = []
        for name, (netns, hook) in zip(names, points, strict=True):
            if name == queued:
                walk += [At(netns, hook, f"before-{name} {name}", 0, pf, loop="nf_hook_slow"),
                         At(netns, hook, f"after-{name}", 1, pf, loop=NF_REINJECT)]
            else:
                walk.append(At(netns, hook, f"before-{name} {name} after-{name}", 1, pf, loop="nf_hook_slow"))
        lines += [Send("client", "server", cookie, pf, source_port=40000 + cookie), Returns(0), Crosses(tuple(walk)),
                  Answer(at, 7, cookie=cookie), Returns(0)]
    return script(f"queue.reinject-accept, {pf.name}", *lines, topology=ROUTER)


def _bridge() -> Script:
    """A packet that a bridge forwards waits at one of the bridge's points after the other."""
    points = ("PREROUTING", "FORWARD", "POSTROUTING")
    lines: list[Line] = [Listen("bridge", 7)]
    for cookie, hook in enumerate(points, 1):
        lines += [Register(hook, "bridge", _BR, hook, 0, queue_to(7), cookie=cookie), Register(f"after-{hook}", "bridge", _BR, hook, 1)]
    for cookie, queued in enumerate(points, 1):
        walk: list[At] = []
        for hook in points:
            if hook == queued:
                walk += [At("bridge", hook, hook, 0, _BR), At("bridge", hook, f"after-{hook}", 1, _BR, start=0, loop=NF_REINJECT)]
            else:
                walk.append(At("bridge", hook, f"{hook} after-{hook}", 1, _BR))
        lines += [Send("left", "right", cookie, source_port=40000 + cookie), Crosses(tuple(walk)),
                  Answer("bridge", 7, cookie=cookie), Returns(0)]
    return script("queue.reinject-bridge", *lines, topology=BRIDGE)


def _answered_by_the_stack(pf: Family) -> Script:
    """An echo request that waited at INPUT, and a packet that waited at PREROUTING, whose ttl runs out behind it."""
    return script(
        f"queue.reinject-answer, {pf.name}",
        Listen("router", 7), Listen("server", 7),
        Register("in", "server", pf, "INPUT", 0, queue_to(7)), Register("out", "server", pf, "OUTPUT"),
        Register("client", "client", pf, "INPUT"),
        Send("client", "server", 1, pf, kind="echo"),
        Crosses((At("server", "INPUT", "in", 0, pf), At("server", "INPUT", "", 1, pf, loop=NF_REINJECT))),
        Crosses((At("server", "OUTPUT", "out", 1, pf), At("client", "INPUT", "client", 1, pf)), nth=1),
        Answer("server", 7, cookie=1), Returns(0),
        Register("pre", "router", pf, "PREROUTING", 0, queue_to(7)), Register("post", "router", pf, "POSTROUTING"),
        Send("client", "server", 2, pf, ttl=1),
        Crosses((At("router", "PREROUTING", "pre", 0, pf), At("router", "PREROUTING", "", 1, pf, loop=NF_REINJECT)), BY_STACK),
        Crosses((At("router", "POSTROUTING", "post", 1, pf), At("client", "INPUT", "client", 1, pf)), BY_STACK, nth=1), Answered(1),
        Answer("router", 7, cookie=2), Returns(0),
        topology=ROUTER,
    )


RULES = (
    Rule("queue.reinject-accept", "A packet that its listener accepts goes on with the next hook; each later hook runs once, then okfn.", (
        _answered("queue.reinject-accept", VerdictKind.ACCEPT, resumed("b c"), more=(Queue("host", 7, 0, 1),)),
        _every_point(_V4),
        _every_point(_V6),
        script(
            "queue.reinject-accept, behind many",
            Listen("host", 7),
            RegisterMany("many", *IN, 260, -1),
            Register("q", *IN, 0, queue_to(7)),
            Register("b", *IN, 1),
            *sent(1, slow(" ".join(f"many.{number}" for number in range(260, 0, -1)) + " q"), resumed("b", start=260)),
            Answer("host", 7), Returns(0),
        ),
    )),
    Rule("queue.reinject-bridge", "A packet that waits at a bridge's point goes on there, also at PREROUTING, whose loop is another one.",
         (_bridge(),), needs=("bridge",)),
    Rule("queue.reinject-answer", "The stack answers a packet that had waited as any: an echo reply, an ICMP error, which cross hooks.",
         tuple(_answered_by_the_stack(pf) for pf in (_V4, _V6))),
    Rule("queue.reinject-drop", "A packet that its listener drops, or a hook behind, is freed; no errno is left to tell.", (
        _answered("queue.reinject-drop", VerdictKind.DROP, resumed("", 0), fate="dropped"),
        _answered("queue.reinject-drop, with an errno", Verdict(VerdictKind.DROP, errno.EACCES).encode(), resumed("", 0), fate="dropped"),
        _answered("queue.reinject-drop, by a hook", VerdictKind.ACCEPT, resumed("b", 0), fate="dropped",
                  b=Verdict(VerdictKind.DROP, errno.EACCES).encode()),
        script(
            "queue.reinject-drop, at OUTPUT",
            Listen("host", 7),
            Register("queue", "host", _V4, "OUTPUT", 0, queue_to(7)),
            Register("after", "host", _V4, "OUTPUT", 1),
            Send("host", "peer", 1),
            Returns(0),
            Crosses((At("host", "OUTPUT", "queue", 0), At("host", "OUTPUT", "", 0, loop=NF_REINJECT)), "dropped"),
            Answer("host", 7, VerdictKind.DROP),
        ),
    )),
    Rule("queue.reinject-repeat", "REPEAT from the listener calls the hook that queued again; from a hook behind, that one again.", (
        _answered("queue.reinject-repeat", VerdictKind.REPEAT, resumed("q", 0), resumed("b c"),
                  more=(Queue("host", 7, 1, 2), Answer("host", 7), Returns(0), Queue("host", 7, 0, 2))),
        _answered("queue.reinject-repeat, then it accepts", VerdictKind.REPEAT, resumed("q b c"), q=VerdictKind.ACCEPT),
        _answered("queue.reinject-repeat, by a hook", VerdictKind.ACCEPT, resumed("b b b c"), b=VerdictKind.REPEAT),
        script(
            "queue.reinject-repeat, what was not queued",
            Listen("host", 7),
            Register("q", *IN, 0, queue_to(7), cookie=1),
            Register("b", *IN, 1, reinjected=VerdictKind.REPEAT, times=1),
            *sent(2, slow("q b", 1)),
            *sent(1, slow("q"), resumed("b b", start=0)),
            Answer("host", 7), Returns(0),
        ),
        _answered("queue.reinject-repeat, both", VerdictKind.REPEAT, resumed("q", 0), fate="dropped", q=VerdictKind.REPEAT),
    )),
    Rule("queue.reinject-queue", "QUEUE from the listener or from a hook behind queues the packet again, where it says.", (
        _answered("queue.reinject-queue, the same", queue_to(7).encode(), resumed("", 0), resumed("b c"),
                  more=(Queue("host", 7, 1, 2), Answer("host", 7), Returns(0))),
        script(
            "queue.reinject-queue, another",
            Listen("host", 7), Listen("host", 8),
            *hooks(),
            *sent(1, slow("a q"), resumed("", 0), resumed("b c")),
            Answer("host", 7, queue_to(8).encode()),
            Queue("host", 7, 0, 1), Queue("host", 8, 1, 1),
            Answer("host", 8), Returns(0),
            Queue("host", 8, 0, 1),
        ),
        script(
            "queue.reinject-queue, by a hook",
            Listen("host", 7), Listen("host", 8),
            *hooks(b=queue_to(8).encode()),
            *sent(1, slow("a q"), resumed("b", 0), resumed("c", start=2)),
            Answer("host", 7),
            Queue("host", 8, 1, 1),
            Answer("host", 8), Returns(0),
        ),
        _answered("queue.reinject-queue, where nobody listens", queue_to(9).encode(), resumed("", 0), fate="dropped"),
        _answered("queue.reinject-queue, bypass", queue_to(9, bypass=True).encode(), resumed("b c")),
        _answered("queue.reinject-queue, bypass by a hook", VerdictKind.ACCEPT, resumed("b c"), b=queue_to(9, bypass=True).encode()),
    )),
    Rule("queue.reinject-stop", "STOP from the listener or from a hook behind: okfn runs, later hooks do not.", (
        _answered("queue.reinject-stop", VerdictKind.STOP, resumed("")),
        _answered("queue.reinject-stop, by a hook", VerdictKind.ACCEPT, resumed("b"), b=VerdictKind.STOP),
        _answered("queue.reinject-stop, with high bits", _HIGH | VerdictKind.STOP, resumed("")),
    )),
    Rule("queue.reinject-stolen", "STOLEN from a hook behind: neither later hooks nor okfn run, and core does not free the skb.", (
        _answered("queue.reinject-stolen", VerdictKind.ACCEPT, resumed("b", 0), fate="stolen", b=VerdictKind.STOLEN),
    )),
    Rule("queue.reinject-high-bits", "To nf_reinject all of a verdict counts: ACCEPT with bits above it skips later hooks, REPEAT frees.", (
        _answered("queue.reinject-high-bits, accept", _HIGH | VerdictKind.ACCEPT, resumed("")),
        _answered("queue.reinject-high-bits, accept by a hook", VerdictKind.ACCEPT, resumed("b"), b=_HIGH | VerdictKind.ACCEPT),
        _answered("queue.reinject-high-bits, repeat", _HIGH | VerdictKind.REPEAT, resumed("", 0), fate="dropped"),
        _answered("queue.reinject-high-bits, repeat by a hook", VerdictKind.ACCEPT, resumed("b", 0), fate="dropped",
                  b=_HIGH | VerdictKind.REPEAT),
    )),
    Rule("queue.reinject-unknown", "A hook's verdict that nf_reinject has no case for frees the skb; a listener's is refused.", (
        _answered("queue.reinject-unknown, by a hook", VerdictKind.ACCEPT, resumed("b", 0), fate="dropped", b=_UNKNOWN),
        script(
            "queue.reinject-unknown, by the listener",
            Listen("host", 7),
            *hooks(),
            *sent(1, slow("a q"), resumed("b c")),
            Answer("host", 7, _UNKNOWN), Returns(errno.EINVAL),
            Answer("host", 7, VerdictKind.STOLEN), Returns(errno.EINVAL),
            Queue("host", 7, 1, 1),
            Answer("host", 7), Returns(0),
        ),
    )),
)
