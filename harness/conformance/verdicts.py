"""Verdicts: ``nf_hook_slow`` (l.505-536), and what its callers make of its answer."""

from __future__ import annotations

import errno
from dataclasses import replace
from itertools import product

from harness.conformance.expect import At, Crosses, Returns
from harness.conformance.rule import Rule, Script, script
from harness.netfilter import Family, Verdict, VerdictKind, errno_name
from harness.outcome.fate import FateKind
from harness.scenario.steps.hooks import Register, RegisterMany
from harness.scenario.steps.packets import Send
from harness.scenario.topology import ROUTER

__all__ = ("RULES",)

_V4, _V6 = Family.IPV4, Family.IPV6
_IN = ("host", _V4, "INPUT")
_DROP, _STOLEN = Verdict(VerdictKind.DROP), Verdict(VerdictKind.STOLEN)
_MANY = " ".join(f"many.{number}" for number in range(12, 0, -1))


def _drop(number: int) -> Verdict:
    return Verdict(VerdictKind.DROP, errno=number)


def _ends_at_every_point(rule: str, pf: Family, verdict: Verdict, number: int, *, fate: FateKind = "dropped", reason: str = "") -> Script:
    """A packet from a client through a router ends at one point after the other; each time the points before it are crossed.

    :param number: errno that the loop returns there, negated
    :param reason: as of :class:`harness.conformance.expect.Crosses`
    """
    points = (("client", "OUTPUT"), ("client", "POSTROUTING"), ("router", "PREROUTING"), ("router", "FORWARD"),
              ("router", "POSTROUTING"), ("server", "PREROUTING"), ("server", "INPUT"))
    names = [f"{netns}-{hook}" for netns, hook in points]
    lines: list[Register | Send | Crosses | Returns] = []
    for cookie, (name, (netns, hook)) in enumerate(zip(names, points, strict=True), 1):
        lines.append(Register(name, netns, pf, hook, 0, verdict, cookie=cookie))
        lines.append(Register(f"after-{name}", netns, pf, hook, 1))
    for cookie, (name, (netns, hook)) in enumerate(zip(names, points, strict=True), 1):
        passed = tuple(At(netns, hook, f"{name} after-{name}", pf=pf)
                       for name, (netns, hook) in zip(names[:cookie - 1], points[:cookie - 1], strict=True))
        lines.append(Send("client", "server", cookie, pf, source_port=40000 + cookie))
        lines.append(Returns(number if netns == "client" else 0))
        lines.append(Crosses((*passed, At(netns, hook, name, -number, pf)), fate, number, reason=reason))
    return script(f"{rule}, {pf.name}", *lines, topology=ROUTER)


_PIECES = tuple(Send("host", "peer", 1, size=size, segment=segment, fragment=fragment) for size, segment, fragment in (
    (4000, 1000, None), (4000, None, None), (1200, None, 608)))
"""Kept together, too large for a device, in fragments."""
_ERRNOS = (errno.EHOSTUNREACH, errno.ECONNREFUSED, errno.ENETUNREACH, errno.EINVAL, errno.EACCES, errno.ENOENT, errno.EPERM)
"""ENOBUFS is not among them: UDP keeps it from the caller."""


def _each_errno() -> Script:
    """One packet for each errno; its dropper is the hook after those of the packets before it."""
    names = [errno_name(number) for number in _ERRNOS]
    lines: list[Register | Send | Crosses | Returns] = [Register("first", "host", _V4, "OUTPUT", -1)]
    for cookie, (name, number) in enumerate(zip(names, _ERRNOS, strict=True), 1):
        lines.append(Register(name, "host", _V4, "OUTPUT", cookie, _drop(number), cookie=cookie))
    for cookie, number in enumerate(_ERRNOS, 1):
        called = " ".join(["first", *names[:cookie]])
        lines += [Send("host", "peer", cookie, source_port=40000 + cookie), Returns(number),
                  Crosses((At("host", "OUTPUT", called, -number),), "dropped", number)]
    return script("drop.errno", *lines)

ACCEPT_AND_DROP = (
    Rule("accept.all", "Every hook runs once, in order; the loop returns 1 and the caller goes on with the same skb.", (
        script(
            "accept.all",
            *(Register(f"{hook}-{number}", "host", _V4, hook, number) for hook in ("PREROUTING", "INPUT") for number in (1, 2, 3)),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "PREROUTING", "PREROUTING-1 PREROUTING-2 PREROUTING-3"), At("host", "INPUT", "INPUT-1 INPUT-2 INPUT-3"))),
            Send("peer", "host", cookie=2, size=1400, source_port=40001),
            Crosses((At("host", "PREROUTING", "PREROUTING-1 PREROUTING-2 PREROUTING-3"), At("host", "INPUT", "INPUT-1 INPUT-2 INPUT-3"))),
        ),
    )),
    Rule("drop.eperm", "NF_DROP without an errno: -EPERM; later hooks and okfn do not run, sendto() at OUTPUT and POSTROUTING sees EPERM.",
         tuple(_ends_at_every_point("drop.eperm", pf, _DROP, errno.EPERM) for pf in (_V4, _V6))),
    Rule("drop.errno", "NF_DROP_ERR(-e): the loop returns -e, and sendto() at OUTPUT sees e.", (
        _each_errno(),
        script(
            "drop.errno, alone",
            Register("alone", *_IN, 0, _drop(errno.EACCES)),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INPUT", "alone", -errno.EACCES),), "dropped", errno.EACCES),
        ),
        *(_ends_at_every_point("drop.errno", pf, _drop(errno.EACCES), errno.EACCES) for pf in (_V4, _V6)),
    )),
    Rule("drop.reason", "The rest of the kernel is told of a drop: the packet is freed, not consumed, and the reason is NETFILTER_DROP.", (
        script(
            "drop.reason",
            Register("guard", *_IN, 0, _DROP, cookie=1),
            Register("refuses", *_IN, 0, _drop(errno.EHOSTUNREACH), cookie=2),
            Register("guard6", "host", _V6, "PREROUTING", 0, _DROP),
            Register("out", "host", _V4, "OUTPUT", 0, _DROP),
            Send("peer", "host", cookie=1, size=1400),
            Crosses((At("host", "INPUT", "refuses guard", -errno.EPERM),), "dropped", errno.EPERM, reason="NETFILTER_DROP"),
            Send("peer", "host", cookie=2, source_port=40001),
            Crosses((At("host", "INPUT", "refuses", -errno.EHOSTUNREACH),), "dropped", errno.EHOSTUNREACH, reason="NETFILTER_DROP"),
            Send("peer", "host", cookie=3, pf=_V6),
            Crosses((At("host", "PREROUTING", "guard6", -errno.EPERM, _V6),), "dropped", errno.EPERM, reason="NETFILTER_DROP"),
            Send("host", "peer", cookie=4),
            Crosses((At("host", "OUTPUT", "out", -errno.EPERM),), "dropped", errno.EPERM, reason="NETFILTER_DROP"),
        ),
        script(
            "drop.reason, behind many",
            RegisterMany("many", *_IN, 12),
            Register("guard", *_IN, 1, _DROP),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INPUT", f"{_MANY} guard", -errno.EPERM),), "dropped", errno.EPERM, reason="NETFILTER_DROP"),
        ),
        *(_ends_at_every_point("drop.reason", pf, _DROP, errno.EPERM, reason="NETFILTER_DROP") for pf in (_V4, _V6)),
    ), needs=("drop_reasons",)),
    Rule("drop.reason-whole", "The reason of a drop is that of any packet, also of one that will be segmented, of one in several pieces of "
         "memory, and of a fragment.", (
        script(
            "drop.reason-whole",
            *(Register(f"out{pf.name[-1]}", "host", pf, "OUTPUT", 0, _DROP) for pf in (_V4, _V6)),
            *(line for cookie, (pf, to, pieces) in enumerate(product((_V4, _V6), ("peer", "host"), _PIECES), 1) for line in (
                replace(pieces, to=to, cookie=cookie, pf=pf, source_port=40000 + cookie),
                Returns(errno.EPERM),
                Crosses((At("host", "OUTPUT", f"out{pf.name[-1]}", -errno.EPERM, pf),) * (2 if pieces.fragment else 1), "dropped",
                        errno.EPERM, reason="NETFILTER_DROP"))),
        ),
    ), needs=("drop_reasons",)),
    Rule("drop.only-its-packet", "A drop ends one packet's walk; the next packet crosses the same array from its start.", (
        script(
            "drop.only-its-packet",
            Register("first", *_IN, -1),
            Register("guard", *_IN, 0, _drop(errno.EHOSTUNREACH), cookie=2),
            Register("last", *_IN, 1),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INPUT", "first guard last"),)),
            Send("peer", "host", cookie=2, source_port=40001),
            Returns(0),
            Crosses((At("host", "INPUT", "first guard", -errno.EHOSTUNREACH),), "dropped", errno.EHOSTUNREACH),
            Send("peer", "host", cookie=3, source_port=40002),
            Crosses((At("host", "INPUT", "first guard last"),)),
        ),
    )),
    Rule("drop.first-decides", "Of two hooks that would drop, the first one's errno is returned; the other is not asked.", (
        script(
            "drop.first-decides",
            Register("second", "host", _V4, "OUTPUT", 0, _drop(errno.EACCES)),
            Register("first", "host", _V4, "OUTPUT", 0, _drop(errno.ENETUNREACH)),
            Send("host", "peer", cookie=1),
            Returns(errno.ENETUNREACH),
            Crosses((At("host", "OUTPUT", "first", -errno.ENETUNREACH),), "dropped", errno.ENETUNREACH),
        ),
    )),
)

STOLEN = (
    Rule("stolen", "NF_STOLEN: the loop returns 0, later hooks and okfn do not run, and core does not free the skb.", (
        script(
            "stolen",
            Register("before", "host", _V4, "PREROUTING", -1),
            Register("thief", "host", _V4, "PREROUTING", 0, _STOLEN, cookie=1),
            Register("after", "host", _V4, "PREROUTING", 1),
            Register("input", *_IN),
            Send("peer", "host", cookie=1),
            Returns(0),
            Crosses((At("host", "PREROUTING", "before thief", 0),), "stolen"),
            Send("peer", "host", cookie=2, source_port=40001),
            Crosses((At("host", "PREROUTING", "before thief after"), At("host", "INPUT", "input"))),
        ),
        script(
            "stolen, at OUTPUT",
            Register("thief", "host", _V4, "OUTPUT", 0, _STOLEN),
            Register("after", "host", _V4, "POSTROUTING", 1),
            Send("host", "peer", cookie=1),
            Returns(0),
            Crosses((At("host", "OUTPUT", "thief", 0),), "stolen"),
        ),
        *(_ends_at_every_point("stolen", pf, _STOLEN, 0, fate="stolen") for pf in (_V4, _V6)),
    )),
    Rule("stolen.errno", "NF_STOLEN with an errno in its upper bits: the loop returns that errno, and sendto() at OUTPUT sees it.", (
        script(
            "stolen.errno",
            Register("thief", "host", _V4, "OUTPUT", 0, Verdict(VerdictKind.STOLEN, errno=errno.EHOSTUNREACH), cookie=1),
            Register("in-thief", *_IN, 0, Verdict(VerdictKind.STOLEN, errno=errno.EACCES)),
            Send("host", "peer", cookie=1),
            Returns(errno.EHOSTUNREACH),
            Crosses((At("host", "OUTPUT", "thief", -errno.EHOSTUNREACH),), "stolen", errno.EHOSTUNREACH),
            Send("peer", "host", cookie=2),
            Returns(0),
            Crosses((At("host", "INPUT", "in-thief", -errno.EACCES),), "stolen", errno.EACCES),
        ),
        *(_ends_at_every_point("stolen.errno", pf, Verdict(VerdictKind.STOLEN, errno=errno.EACCES), errno.EACCES, fate="stolen")
          for pf in (_V4, _V6)),
    ), needs=("stolen_errno",)),
)

QUEUE = (
    Rule("queue.no-handler", "NF_QUEUE with nobody who listens: the packet is freed, the loop returns 0, later hooks do not run.", (
        script(
            "queue.no-handler",
            Register("before", *_IN, -1),
            Register("queue", *_IN, 0, Verdict(VerdictKind.QUEUE, queue=8)),
            Register("after", *_IN, 1),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INPUT", "before queue", 0),), "dropped"),
        ),
        script(
            "queue.no-handler, at OUTPUT",
            Register("queue", "host", _V4, "OUTPUT", 0, Verdict(VerdictKind.QUEUE, queue=8)),
            Register("post", "host", _V4, "POSTROUTING"),
            Send("host", "peer", cookie=1),
            Returns(0),
            Crosses((At("host", "OUTPUT", "queue", 0),), "dropped"),
        ),
    )),
    Rule("queue.bypass", "NF_QUEUE with the bypass flag and nobody who listens: the packet goes on at the next hook.", (
        script(
            "queue.bypass",
            Register("before", *_IN, -1),
            Register("bypass", *_IN, 0, Verdict(VerdictKind.QUEUE, queue=7, bypass=True)),
            Register("after", *_IN, 1),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INPUT", "before bypass after"),)),
        ),
        script(
            "queue.bypass, of the last hook",
            Register("bypass", *_IN, 0, Verdict(VerdictKind.QUEUE, queue=7, bypass=True)),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INPUT", "bypass"),)),
        ),
        script(
            "queue.bypass, two of them and then a drop",
            Register("first", *_IN, 0, Verdict(VerdictKind.QUEUE, queue=0, bypass=True)),
            Register("second", *_IN, 1, Verdict(VerdictKind.QUEUE, queue=65535, bypass=True)),
            Register("guard", *_IN, 2, _drop(errno.EACCES)),
            Send("peer", "host", cookie=1),
            Crosses((At("host", "INPUT", "first second guard", -errno.EACCES),), "dropped", errno.EACCES),
        ),
    )),
)

RULES = (*ACCEPT_AND_DROP, *STOLEN, *QUEUE)
