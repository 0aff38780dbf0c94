"""Packets that wait for an NFQUEUE listener: ``nf_queue``, queues and listeners."""

from __future__ import annotations

import errno

from harness.conformance.expect import At, Crosses, Expectation, Queue, Returns
from harness.conformance.rule import Rule, script
from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome.fate import FateKind
from harness.outcome.types import NF_REINJECT
from harness.scenario.step import Step
from harness.scenario.steps.hooks import Register
from harness.scenario.steps.packets import Send
from harness.scenario.steps.queue import Answer, HangUp, Listen

__all__ = ("IN", "RULES", "Line", "hooks", "queue_to", "resumed", "sent", "slow")

IN = ("host", Family.IPV4, "INPUT")

Line = Step | Expectation


def queue_to(number: int, *, bypass: bool = False) -> Verdict:
    """The verdict QUEUE to a queue of that number."""
    return Verdict(VerdictKind.QUEUE, queue=number, bypass=bypass)


def sent(cookie: int, *at: At, fate: FateKind = "delivered", errno: int = 0) -> tuple[Line, ...]:
    """A packet to the host, and all of its walk there."""
    return (Send("peer", "host", cookie, source_port=40000 + cookie),
            Crosses(at, fate, errno))


def slow(hooks: str, returned: int = 0) -> At:
    """The traversal that ``nf_hook_slow`` makes at INPUT of the host.

    :param hooks: labels, in the order of the calls
    """
    return At("host", "INPUT", hooks, returned, start=0, loop="nf_hook_slow")


def resumed(hooks: str, returned: int = 1, *, start: int = 1) -> At:
    """The traversal that ``nf_reinject`` goes on with at INPUT of the host.

    :param hooks: labels, in the order of the calls
    :param start: index of the slot at which it goes on
    """
    return At("host", "INPUT", hooks, returned, start=start, loop=NF_REINJECT)


def hooks(**reinjected: int) -> tuple[Register, ...]:
    """``a q b c`` at INPUT, of which ``q`` queues to 7.

    :param reinjected: what one says to nf_reinject, REPEAT twice
    """
    verdicts = {"a": Verdict(VerdictKind.ACCEPT), "q": queue_to(7), "b": Verdict(VerdictKind.ACCEPT), "c": Verdict(VerdictKind.ACCEPT)}
    return tuple(
        Register(name, *IN, priority, verdict, reinjected=reinjected.get(name),
                 times=2 if reinjected.get(name) == VerdictKind.REPEAT else None)
        for priority, (name, verdict) in enumerate(verdicts.items()))

RULES = (
    Rule("queue.number", "The upper 16 bits of the verdict are the number of the queue that gets the packet, in the packet's namespace.", (
        script(
            "queue.number",
            *(Listen("host", number) for number in (0, 7, 65535)), Listen("peer", 7),
            *(Register(f"q{number}", *IN, 0, queue_to(number), cookie=cookie) for cookie, number in ((1, 0), (2, 7), (3, 65535))),
            *sent(1, slow("q65535 q7 q0"), resumed("", start=2)),
            Queue("host", 0, 1, 1), Queue("host", 7, 0, 0),
            *sent(2, slow("q65535 q7"), resumed("q0")),
            Queue("host", 7, 1, 1), Queue("peer", 7, 0, 0),
            *sent(3, slow("q65535"), resumed("q7 q0", start=0)),
            Queue("host", 65535, 1, 1),
            Answer("host", 65535, cookie=3), Returns(0),
            Answer("host", 0, cookie=1), Returns(0),
            Answer("host", 7, cookie=2), Returns(0),
            Answer("peer", 7), Returns(errno.ENOENT),
        ),
    )),
    Rule("queue.order", "Several packets wait; each is answered on its own, in any order.", (
        script(
            "queue.order",
            Listen("host", 7),
            *hooks(),
            *sent(1, slow("a q"), resumed("", 0), fate="dropped"),
            *sent(2, slow("a q"), resumed("b c")),
            *sent(3, slow("a q"), resumed("")),
            Queue("host", 7, 3, 3),
            Answer("host", 7, VerdictKind.ACCEPT, cookie=2),
            Queue("host", 7, 2, 3),
            Answer("host", 7, VerdictKind.STOP, cookie=3),
            Answer("host", 7, VerdictKind.DROP, cookie=1),
            Queue("host", 7, 0, 3),
            Answer("host", 7), Returns(errno.ENOENT),
        ),
    )),
    Rule("queue.waits", "A packet that nobody answers waits: it does not go on, and core does not free it.", (
        script(
            "queue.waits",
            Listen("host", 7),
            *hooks(),
            *sent(1, slow("a q"), fate="queued"),
            *sent(2, slow("a q"), resumed("b c")),
            Answer("host", 7, cookie=2), Returns(0),
            Queue("host", 7, 1, 2),
        ),
    )),
    Rule("queue.bypass-listener", "The bypass flag changes nothing where the queue has a listener: the packet waits.", (
        script(
            "queue.bypass-listener",
            Listen("host", 7),
            Register("bypass", *IN, 0, queue_to(7, bypass=True)),
            Register("after", *IN, 1),
            *sent(1, slow("bypass"), resumed("after", start=0)),
            Queue("host", 7, 1, 1),
            Answer("host", 7), Returns(0),
        ),
    )),
    Rule("queue.full", "A packet that finds no room is freed, the bypass flag or not; those that wait are not touched.", (
        script(
            "queue.full",
            Listen("host", 7, maxlen=1),
            *hooks(),
            *sent(1, slow("a q"), resumed("b c")),
            *sent(2, slow("a q"), fate="dropped"),
            Queue("host", 7, 1, 1, dropped=1),
            Answer("host", 7), Returns(0),
            *sent(3, slow("a q"), resumed("b c")),
            Queue("host", 7, 1, 2, dropped=1),
            Answer("host", 7, cookie=3), Returns(0),
        ),
        script(
            "queue.full, bypass",
            Listen("host", 7, maxlen=0),
            Register("bypass", *IN, 0, queue_to(7, bypass=True)),
            Register("after", *IN, 1),
            *sent(1, slow("bypass"), fate="dropped"),
            Queue("host", 7, 0, 0, dropped=1),
        ),
        script(
            "queue.full, a listener that takes no copy",
            Listen("host", 7, copy="none"),
            Register("bypass", *IN, 0, queue_to(7, bypass=True)),
            Register("after", *IN, 1),
            *sent(1, slow("bypass"), fate="dropped"),
            Queue("host", 7, 0, 0),
        ),
    )),
    Rule("queue.fail-open", "A queue that fails open lets a packet that finds no room go on as if it had been accepted.", (
        script(
            "queue.fail-open",
            Listen("host", 7, maxlen=1, fail_open=True),
            *hooks(),
            *sent(1, slow("a q"), resumed("b c")),
            *sent(2, slow("a q"), resumed("b c")),
            Queue("host", 7, 1, 1),
            Answer("host", 7, cookie=1), Returns(0),
        ),
    )),
    Rule("queue.listener-dies", "What waits for a listener that dies is freed; then nobody listens. Other queues go on.", (
        script(
            "queue.listener-dies",
            Listen("host", 7), Listen("host", 8),
            Register("other", *IN, -1, queue_to(8), cookie=3),
            Register("bypass", *IN, -1, queue_to(7, bypass=True), cookie=5),
            *hooks(),
            *sent(1, slow("bypass other a q"), resumed("", 0, start=3), fate="dropped"),
            *sent(2, slow("bypass other a q"), resumed("", 0, start=3), fate="dropped"),
            *sent(3, slow("bypass other"), resumed("a q", 0), fate="dropped"),
            HangUp("host", 7),
            Queue("host", 8, 1, 1),
            *sent(4, slow("bypass other a q"), fate="dropped"),
            *sent(5, slow("bypass other a q"), fate="dropped"),
            Answer("host", 8), Returns(0),
            Listen("host", 7), Returns(0),
            Queue("host", 7, 0, 0),
        ),
    )),
    Rule("queue.one-listener", "A queue has one listener: a second one is refused and changes nothing.", (
        script(
            "queue.one-listener",
            Listen("host", 7),
            *hooks(),
            *sent(1, slow("a q"), resumed("b c")),
            Listen("host", 7, maxlen=0), Returns(errno.EPERM),
            Queue("host", 7, 1, 1),
            Answer("host", 7), Returns(0),
        ),
    )),
)
