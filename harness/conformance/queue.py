"""NFQUEUE with a listener: ``nf_queue`` and ``nf_reinject`` (``nf_queue.c``), and what core does to packets that wait (l.421)."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from harness.conformance.expect import Answers, Array, At, Expectation, Finds, Queue, Splats, Walk
from harness.conformance.rule import Rule, Script, script
from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome.types import NF_REINJECT
from harness.scenario.steps import AddLink, AddNetns, Answer, DeleteNetns, HangUp, Listen, Register, Send, Step, Unregister
from harness.scenario.topology import BRIDGE, ROUTER, End

__all__ = ("RULES",)

_V4, _V6, _BR = Family.IPV4, Family.IPV6, Family.BRIDGE
_IN = ("host", _V4, "INPUT")
_ACCEPT, _DROP, _STOLEN, _REPEAT, _STOP = (Verdict(kind) for kind in (
    VerdictKind.ACCEPT, VerdictKind.DROP, VerdictKind.STOLEN, VerdictKind.REPEAT, VerdictKind.STOP))
_HIGH = 0x8000_0000
_UNKNOWN = 0x42

Line = Step | Expectation


def _queue(number: int, *, bypass: bool = False) -> Verdict:
    return Verdict(VerdictKind.QUEUE, queue=number, bypass=bypass)


def _send(cookie: int, *at: At, fate: str = "delivered", errno: int = 0) -> tuple[Line, ...]:
    """A packet to the host, and all of its walk there."""
    return (Send("peer", "host", cookie, source_port=40000 + cookie),
            Walk(at, fate, errno))  # type: ignore[arg-type]


def _slow(hooks: str, returned: int = 0) -> At:
    return At("host", "INPUT", hooks, returned, start=0, loop="nf_hook_slow")


def _resumed(hooks: str, returned: int = 1, *, start: int = 1) -> At:
    return At("host", "INPUT", hooks, returned, start=start, loop=NF_REINJECT)


def _hooks(**reinjected: int) -> tuple[Register, ...]:
    """``a q b c`` at INPUT, of which ``q`` queues to 7. :param reinjected: what one says to nf_reinject, REPEAT twice"""
    verdicts = {"a": _ACCEPT, "q": _queue(7), "b": _ACCEPT, "c": _ACCEPT}
    return tuple(
        Register(name, *_IN, priority, verdict, reinjected=reinjected.get(name),
                 times=2 if reinjected.get(name) == VerdictKind.REPEAT else None)
        for priority, (name, verdict) in enumerate(verdicts.items()))


def _answered(name: str, verdict: int, *walk: At, fate: str = "delivered", more: Sequence[Line] = (), **reinjected: int) -> Script:
    """One packet waits in queue 7 and is answered with *verdict*."""
    return script(
        name,
        Listen("host", 7),
        *_hooks(**reinjected),
        *_send(1, _slow("a q"), *walk, fate=fate),
        Queue("host", 7, 1, 1),
        Answer("host", 7, verdict),
        Answers(0),
        *more,
    )


def _every_point(pf: Family) -> Script:
    """A packet from a client through a router waits at one point after the other, and goes on there."""
    points = (("client", "OUTPUT"), ("client", "POSTROUTING"), ("router", "PREROUTING"), ("router", "FORWARD"),
              ("router", "POSTROUTING"), ("server", "PREROUTING"), ("server", "INPUT"))
    names = [f"{netns}-{hook}" for netns, hook in points]
    lines: list[Line] = [Listen(netns, 7) for netns in ("client", "router", "server")]
    for cookie, (name, (netns, hook)) in enumerate(zip(names, points, strict=True), 1):
        lines += [Register(name, netns, pf, hook, 0, _queue(7), cookie=cookie), Register(f"after-{name}", netns, pf, hook, 1)]
    for cookie, (queued, (at, _)) in enumerate(zip(names, points, strict=True), 1):
        walk: list[At] = []
        for name, (netns, hook) in zip(names, points, strict=True):
            if name == queued:
                walk += [At(netns, hook, name, 0, pf, loop="nf_hook_slow"), At(netns, hook, f"after-{name}", 1, pf, loop=NF_REINJECT)]
            else:
                walk.append(At(netns, hook, f"{name} after-{name}", 1, pf, loop="nf_hook_slow"))
        lines += [Send("client", "server", cookie, pf, source_port=40000 + cookie), Answers(0), Walk(tuple(walk)),
                  Answer(at, 7, cookie=cookie), Answers(0)]
    return script(f"queue.reinject-accept, {pf.name}", *lines, topology=ROUTER)


def _bridge() -> Script:
    """A packet that a bridge forwards waits at one of the bridge's points after the other."""
    points = ("PREROUTING", "FORWARD", "POSTROUTING")
    lines: list[Line] = [Listen("bridge", 7)]
    for cookie, hook in enumerate(points, 1):
        lines += [Register(hook, "bridge", _BR, hook, 0, _queue(7), cookie=cookie), Register(f"after-{hook}", "bridge", _BR, hook, 1)]
    for cookie, queued in enumerate(points, 1):
        walk: list[At] = []
        for hook in points:
            if hook == queued:
                walk += [At("bridge", hook, hook, 0, _BR), At("bridge", hook, f"after-{hook}", 1, _BR, start=0, loop=NF_REINJECT)]
            else:
                walk.append(At("bridge", hook, f"{hook} after-{hook}", 1, _BR))
        lines += [Send("left", "right", cookie, source_port=40000 + cookie), Walk(tuple(walk)),
                  Answer("bridge", 7, cookie=cookie), Answers(0)]
    return script("queue.reinject-bridge", *lines, topology=BRIDGE)


ANSWERS = (
    Rule("queue.reinject-accept", "A packet that its listener accepts goes on with the next hook; each later hook runs once, then okfn.", (
        _answered("queue.reinject-accept", VerdictKind.ACCEPT, _resumed("b c"), more=(Queue("host", 7, 0, 1),)),
        _every_point(_V4),
        _every_point(_V6),
    )),
    Rule("queue.reinject-bridge", "A packet that waits at a bridge's point goes on there, also at PREROUTING, whose loop is another one.",
         (_bridge(),), needs=("bridge",)),
    Rule("queue.reinject-drop", "A packet that its listener drops, or a hook behind, is freed; no errno is left to tell.", (
        _answered("queue.reinject-drop", VerdictKind.DROP, _resumed("", 0), fate="dropped"),
        _answered("queue.reinject-drop, with an errno", Verdict(VerdictKind.DROP, errno.EACCES).encode(), _resumed("", 0), fate="dropped"),
        _answered("queue.reinject-drop, by a hook", VerdictKind.ACCEPT, _resumed("b", 0), fate="dropped",
                  b=Verdict(VerdictKind.DROP, errno.EACCES).encode()),
        script(
            "queue.reinject-drop, at OUTPUT",
            Listen("host", 7),
            Register("queue", "host", _V4, "OUTPUT", 0, _queue(7)),
            Register("after", "host", _V4, "OUTPUT", 1),
            Send("host", "peer", 1),
            Answers(0),
            Walk((At("host", "OUTPUT", "queue", 0), At("host", "OUTPUT", "", 0, loop=NF_REINJECT)), "dropped"),
            Answer("host", 7, VerdictKind.DROP),
        ),
    )),
    Rule("queue.reinject-repeat", "REPEAT from the listener calls the hook that queued again; from a hook behind, that one again.", (
        _answered("queue.reinject-repeat", VerdictKind.REPEAT, _resumed("q", 0), _resumed("b c"),
                  more=(Queue("host", 7, 1, 2), Answer("host", 7), Answers(0), Queue("host", 7, 0, 2))),
        _answered("queue.reinject-repeat, then it accepts", VerdictKind.REPEAT, _resumed("q b c"), q=VerdictKind.ACCEPT),
        _answered("queue.reinject-repeat, by a hook", VerdictKind.ACCEPT, _resumed("b b b c"), b=VerdictKind.REPEAT),
        script(
            "queue.reinject-repeat, what was not queued",
            Listen("host", 7),
            Register("q", *_IN, 0, _queue(7), cookie=1),
            Register("b", *_IN, 1, reinjected=VerdictKind.REPEAT, times=1),
            *_send(2, _slow("q b", 1)),
            *_send(1, _slow("q"), _resumed("b b", start=0)),
            Answer("host", 7), Answers(0),
        ),
        _answered("queue.reinject-repeat, both", VerdictKind.REPEAT, _resumed("q", 0), fate="dropped", q=VerdictKind.REPEAT),
    )),
    Rule("queue.reinject-queue", "QUEUE from the listener or from a hook behind queues the packet again, where it says.", (
        _answered("queue.reinject-queue, the same", _queue(7).encode(), _resumed("", 0), _resumed("b c"),
                  more=(Queue("host", 7, 1, 2), Answer("host", 7), Answers(0))),
        script(
            "queue.reinject-queue, another",
            Listen("host", 7), Listen("host", 8),
            *_hooks(),
            *_send(1, _slow("a q"), _resumed("", 0), _resumed("b c")),
            Answer("host", 7, _queue(8).encode()),
            Queue("host", 7, 0, 1), Queue("host", 8, 1, 1),
            Answer("host", 8), Answers(0),
            Queue("host", 8, 0, 1),
        ),
        script(
            "queue.reinject-queue, by a hook",
            Listen("host", 7), Listen("host", 8),
            *_hooks(b=_queue(8).encode()),
            *_send(1, _slow("a q"), _resumed("b", 0), _resumed("c", start=2)),
            Answer("host", 7),
            Queue("host", 8, 1, 1),
            Answer("host", 8), Answers(0),
        ),
        _answered("queue.reinject-queue, where nobody listens", _queue(9).encode(), _resumed("", 0), fate="dropped"),
        _answered("queue.reinject-queue, bypass", _queue(9, bypass=True).encode(), _resumed("b c")),
        _answered("queue.reinject-queue, bypass by a hook", VerdictKind.ACCEPT, _resumed("b c"), b=_queue(9, bypass=True).encode()),
    )),
    Rule("queue.reinject-stop", "STOP from the listener or from a hook behind: okfn runs, later hooks do not.", (
        _answered("queue.reinject-stop", VerdictKind.STOP, _resumed("")),
        _answered("queue.reinject-stop, by a hook", VerdictKind.ACCEPT, _resumed("b"), b=VerdictKind.STOP),
        _answered("queue.reinject-stop, with high bits", _HIGH | VerdictKind.STOP, _resumed("")),
    )),
    Rule("queue.reinject-stolen", "STOLEN from a hook behind: neither later hooks nor okfn run, and core does not free the skb.", (
        _answered("queue.reinject-stolen", VerdictKind.ACCEPT, _resumed("b", 0), fate="stolen", b=VerdictKind.STOLEN),
    )),
    Rule("queue.reinject-high-bits", "To nf_reinject all of a verdict counts: ACCEPT with bits above it skips later hooks, REPEAT frees.", (
        _answered("queue.reinject-high-bits, accept", _HIGH | VerdictKind.ACCEPT, _resumed("")),
        _answered("queue.reinject-high-bits, accept by a hook", VerdictKind.ACCEPT, _resumed("b"), b=_HIGH | VerdictKind.ACCEPT),
        _answered("queue.reinject-high-bits, repeat", _HIGH | VerdictKind.REPEAT, _resumed("", 0), fate="dropped"),
        _answered("queue.reinject-high-bits, repeat by a hook", VerdictKind.ACCEPT, _resumed("b", 0), fate="dropped",
                  b=_HIGH | VerdictKind.REPEAT),
    )),
    Rule("queue.reinject-unknown", "A hook's verdict that nf_reinject has no case for frees the skb; a listener's is refused.", (
        _answered("queue.reinject-unknown, by a hook", VerdictKind.ACCEPT, _resumed("b", 0), fate="dropped", b=_UNKNOWN),
        script(
            "queue.reinject-unknown, by the listener",
            Listen("host", 7),
            *_hooks(),
            *_send(1, _slow("a q"), _resumed("b c")),
            Answer("host", 7, _UNKNOWN), Answers(errno.EINVAL),
            Answer("host", 7, VerdictKind.STOLEN), Answers(errno.EINVAL),
            Queue("host", 7, 1, 1),
            Answer("host", 7), Answers(0),
        ),
    )),
)

QUEUES = (
    Rule("queue.number", "The upper 16 bits of the verdict are the number of the queue that gets the packet, in the packet's namespace.", (
        script(
            "queue.number",
            *(Listen("host", number) for number in (0, 7, 65535)), Listen("peer", 7),
            *(Register(f"q{number}", *_IN, 0, _queue(number), cookie=cookie) for cookie, number in ((1, 0), (2, 7), (3, 65535))),
            *_send(1, _slow("q65535 q7 q0"), _resumed("", start=2)),
            Queue("host", 0, 1, 1), Queue("host", 7, 0, 0),
            *_send(2, _slow("q65535 q7"), _resumed("q0")),
            Queue("host", 7, 1, 1), Queue("peer", 7, 0, 0),
            *_send(3, _slow("q65535"), _resumed("q7 q0", start=0)),
            Queue("host", 65535, 1, 1),
            Answer("host", 65535, cookie=3), Answers(0),
            Answer("host", 0, cookie=1), Answers(0),
            Answer("host", 7, cookie=2), Answers(0),
            Answer("peer", 7), Answers(errno.ENOENT),
        ),
    )),
    Rule("queue.order", "Several packets wait; each is answered on its own, in any order.", (
        script(
            "queue.order",
            Listen("host", 7),
            *_hooks(),
            *_send(1, _slow("a q"), _resumed("", 0), fate="dropped"),
            *_send(2, _slow("a q"), _resumed("b c")),
            *_send(3, _slow("a q"), _resumed("")),
            Queue("host", 7, 3, 3),
            Answer("host", 7, VerdictKind.ACCEPT, cookie=2),
            Queue("host", 7, 2, 3),
            Answer("host", 7, VerdictKind.STOP, cookie=3),
            Answer("host", 7, VerdictKind.DROP, cookie=1),
            Queue("host", 7, 0, 3),
            Answer("host", 7), Answers(errno.ENOENT),
        ),
    )),
    Rule("queue.bypass-listener", "The bypass flag changes nothing where somebody listens: the packet waits.", (
        script(
            "queue.bypass-listener",
            Listen("host", 7),
            Register("bypass", *_IN, 0, _queue(7, bypass=True)),
            Register("after", *_IN, 1),
            *_send(1, _slow("bypass"), _resumed("after", start=0)),
            Queue("host", 7, 1, 1),
            Answer("host", 7), Answers(0),
        ),
    )),
    Rule("queue.full", "A packet that finds no room is freed, the bypass flag or not; those that wait are not touched.", (
        script(
            "queue.full",
            Listen("host", 7, maxlen=1),
            *_hooks(),
            *_send(1, _slow("a q"), _resumed("b c")),
            *_send(2, _slow("a q"), fate="dropped"),
            Queue("host", 7, 1, 1, dropped=1),
            Answer("host", 7), Answers(0),
            *_send(3, _slow("a q"), _resumed("b c")),
            Queue("host", 7, 1, 2, dropped=1),
            Answer("host", 7, cookie=3), Answers(0),
        ),
        script(
            "queue.full, bypass",
            Listen("host", 7, maxlen=0),
            Register("bypass", *_IN, 0, _queue(7, bypass=True)),
            Register("after", *_IN, 1),
            *_send(1, _slow("bypass"), fate="dropped"),
            Queue("host", 7, 0, 0, dropped=1),
        ),
        script(
            "queue.full, a listener that takes no copy",
            Listen("host", 7, copy="none"),
            Register("bypass", *_IN, 0, _queue(7, bypass=True)),
            Register("after", *_IN, 1),
            *_send(1, _slow("bypass"), fate="dropped"),
            Queue("host", 7, 0, 0),
        ),
    )),
    Rule("queue.fail-open", "A queue that fails open lets a packet that finds no room go on as if it had been accepted.", (
        script(
            "queue.fail-open",
            Listen("host", 7, maxlen=1, fail_open=True),
            *_hooks(),
            *_send(1, _slow("a q"), _resumed("b c")),
            *_send(2, _slow("a q"), _resumed("b c")),
            Queue("host", 7, 1, 1),
            Answer("host", 7, cookie=1), Answers(0),
        ),
    )),
    Rule("queue.listener-dies", "What waits for a listener that dies is freed; then nobody listens. Other queues go on.", (
        script(
            "queue.listener-dies",
            Listen("host", 7), Listen("host", 8),
            Register("other", *_IN, -1, _queue(8), cookie=3),
            Register("bypass", *_IN, -1, _queue(7, bypass=True), cookie=5),
            *_hooks(),
            *_send(1, _slow("bypass other a q"), _resumed("", 0, start=3), fate="dropped"),
            *_send(2, _slow("bypass other a q"), _resumed("", 0, start=3), fate="dropped"),
            *_send(3, _slow("bypass other"), _resumed("a q", 0), fate="dropped"),
            HangUp("host", 7),
            Queue("host", 8, 1, 1),
            *_send(4, _slow("bypass other a q"), fate="dropped"),
            *_send(5, _slow("bypass other a q"), fate="dropped"),
            Answer("host", 8), Answers(0),
            Listen("host", 7), Answers(0),
            Queue("host", 7, 0, 0),
        ),
    )),
    Rule("queue.one-listener", "A queue has one listener: a second one is refused and changes nothing.", (
        script(
            "queue.one-listener",
            Listen("host", 7),
            *_hooks(),
            *_send(1, _slow("a q"), _resumed("b c")),
            Listen("host", 7, maxlen=0), Answers(errno.EPERM),
            Queue("host", 7, 1, 1),
            Answer("host", 7), Answers(0),
        ),
    )),
)


def _unregistered(name: str) -> Script:
    return script(
        f"queue.hook-unregistered-meanwhile, {name}",
        Listen("host", 7),
        *_hooks(),
        *_send(1, _slow("a q"), _resumed("", 0), fate="dropped"),
        Unregister(name),
        Array(*_IN, " ".join(one for one in "aqbc" if one != name)),
        Queue("host", 7, 0, 1),
        Answer("host", 7), Answers(errno.ENOENT),
    )


def _flushed(name: str, other: Register, *, dropped: bool) -> Script:
    """A packet waits, and a hook goes somewhere else."""
    lines: tuple[Line, ...] = (Queue("host", 7, 0, 1), Answer("host", 7), Answers(errno.ENOENT)) if dropped else (
        Queue("host", 7, 1, 1), Answer("host", 7), Answers(0))
    return script(
        f"unregister.flushes-queue, {name}",
        Listen("host", 7),
        *_hooks(), other,
        *_send(1, _slow("a q"), _resumed("", 0) if dropped else _resumed("b c"), fate="dropped" if dropped else "delivered"),
        Unregister(other.id),
        *lines,
    )


MEANWHILE = (
    Rule("queue.hook-registered-meanwhile", "nf_reinject walks the array that is there by then, from the slot that queued: one that came "
         "behind is called, one that came before moves the hook that queued behind that slot, and it queues again.", (
        script(
            "queue.hook-registered-meanwhile, behind",
            Listen("host", 7),
            *_hooks(),
            *_send(1, _slow("a q"), _resumed("new b c")),
            Register("new", *_IN, 2),
            Array(*_IN, "a q new b c"),
            Answer("host", 7), Answers(0),
        ),
        script(
            "queue.hook-registered-meanwhile, before",
            Listen("host", 7),
            *_hooks(),
            *_send(1, _slow("a q"), _resumed("q", 0), _resumed("b c", start=2)),
            Register("new", *_IN, -1),
            Array(*_IN, "new a q b c"),
            Queue("host", 7, 1, 1),
            Answer("host", 7), Answers(0),
            Queue("host", 7, 1, 2),
            Answer("host", 7), Answers(0),
        ),
        script(
            "queue.hook-registered-meanwhile, before, REPEAT",
            Listen("host", 7),
            *_hooks(),
            *_send(1, _slow("a q"), _resumed("a q", 0), _resumed("b c", start=2)),
            Register("new", *_IN, -1),
            Answer("host", 7, VerdictKind.REPEAT), Answers(0),
            Answer("host", 7), Answers(0),
        ),
    )),
    Rule("queue.hook-unregistered-meanwhile", "A hook that goes takes the packets along that wait, whichever of the array it is.",
         tuple(map(_unregistered, "aqbc"))),
    Rule("unregister.flushes-queue", "Whenever a removal replaces an array, everything that waits in the namespace is freed; "
         "what waits in others is not.", (
        _flushed("another point", Register("other", "host", _V4, "OUTPUT"), dropped=True),
        _flushed("another family", Register("other", "host", _V6, "FORWARD"), dropped=True),
        _flushed("a device", Register("other", "host", Family.NETDEV, "INGRESS", device="lo"), dropped=True),
        _flushed("another namespace", Register("other", "peer", _V4, "INPUT"), dropped=False),
        script(
            "unregister.flushes-queue, all queues",
            Listen("host", 7), Listen("host", 8), Listen("peer", 7),
            *_hooks(),
            Register("other", "host", _V4, "PREROUTING", 0, _queue(8), cookie=2),
            Register("far", "peer", _V4, "OUTPUT", 0, _queue(7), cookie=3),
            Register("goes", "host", _V4, "POSTROUTING"),
            *_send(1, At("peer", "OUTPUT", "far"), At("host", "PREROUTING", "other"), _slow("a q"), _resumed("", 0), fate="dropped"),
            *_send(2, At("peer", "OUTPUT", "far"), At("host", "PREROUTING", "other", 0), At("host", "PREROUTING", "", 0, loop=NF_REINJECT),
                   fate="dropped"),
            *_send(3, At("peer", "OUTPUT", "far", 0), At("peer", "OUTPUT", "", 0, loop=NF_REINJECT), fate="dropped"),
            Unregister("goes"),
            Queue("host", 7, 0, 1), Queue("host", 8, 0, 1), Queue("peer", 7, 1, 1),
            Answer("peer", 7, VerdictKind.DROP), Answers(0),
        ),
    )),
)

_LINK = AddLink(End("later", "eth0", ("10.0.9.1/24",)), End("host", "to-later", ("10.0.9.2/24",)))

DYING = (
    Rule("queue.failed-shrink", "A removal that finds no memory for a smaller array leaves what waits; nf_reinject calls the dummy.", (
        script(
            "queue.failed-shrink",
            Listen("host", 7),
            *_hooks(),
            *_send(1, _slow("a q"), _resumed("c")),
            Unregister("b", fail=(0,)),
            Array(*_IN, "a q dummy c"),
            Queue("host", 7, 1, 1),
            Answer("host", 7), Answers(0),
        ),
    ), needs=("failing_allocations",)),
    Rule("pernet.exit-queued", "A namespace that dies while packets wait: with its listener, whose socket held it, all of it goes, and no "
         "packet is left.", (
        script(
            "pernet.exit-queued",
            AddNetns("later"),
            _LINK,
            Listen("later", 7),
            Register("in", "later", _V4, "INPUT", 0, _queue(7)),
            Register("out", "later", _V4, "OUTPUT", 0, _queue(7)),
            Send("host", "later", 1),
            Walk((At("later", "INPUT", "in", 0), At("later", "INPUT", "", 0, loop=NF_REINJECT)), "dropped"),
            Send("later", "10.0.9.2", 2),
            Walk((At("later", "OUTPUT", "out", 0), At("later", "OUTPUT", "", 0, loop=NF_REINJECT)), "dropped"),
            Queue("later", 7, 2, 2),
            DeleteNetns("later"),
            Finds.of(netns="gone", proc="gone"),
            Splats(),
        ),
    )),
)

RULES = (*ANSWERS, *QUEUES, *MEANWHILE, *DYING)
