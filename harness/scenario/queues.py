"""Built-in scenarios of NFQUEUE listeners."""

from __future__ import annotations

import errno

from harness.netfilter import Family, Verdict, VerdictKind
from harness.scenario.step import Scenario, Step
from harness.scenario.steps.hooks import Register, Unregister
from harness.scenario.steps.packets import Send
from harness.scenario.steps.queue import Answer, HangUp, Listen
from harness.scenario.topology import PAIR

__all__ = ("QUEUES",)

_V4 = Family.IPV4


def _scenario(name: str, summary: str, *steps: Step) -> Scenario:
    return Scenario(name, summary, PAIR, steps)


def _waits(cookie: int) -> Send:
    return Send("peer", "host", cookie, source_port=40000 + cookie)


QUEUES = (
    _scenario("queue", "packets wait for an NFQUEUE listener, which accepts, drops, repeats, queues again and stops",
          Listen("host", 7),
          Register("before", "host", _V4, "INPUT", -1),
          Register("queue", "host", _V4, "INPUT", 0, Verdict(VerdictKind.QUEUE, queue=7)),
          Register("after", "host", _V4, "INPUT", 1),
          _waits(1), Answer("host", 7),
          _waits(2), Answer("host", 7, VerdictKind.DROP),
          _waits(3), Answer("host", 7, VerdictKind.REPEAT), Answer("host", 7),
          _waits(4), Answer("host", 7, Verdict(VerdictKind.QUEUE, queue=7).encode()), Answer("host", 7),
          _waits(5), Answer("host", 7, VerdictKind.STOP),
          _waits(6), Answer("host", 7, 0x8000_0000 | VerdictKind.ACCEPT),
          _waits(7), Register("new", "host", _V4, "INPUT", -2), Answer("host", 7), Answer("host", 7),
          _waits(8), _waits(9), Answer("host", 7, VerdictKind.DROP, cookie=9), Unregister("new"), Answer("host", 7),
          _waits(10), HangUp("host", 7),
          _waits(11)),
    _scenario("queue-books", "two queues, one with room for one packet, one that fails open; a packet that still waits at the end",
          Listen("host", 7, maxlen=1), Listen("host", 8, maxlen=1, fail_open=True),
          Register("queue", "host", _V4, "INPUT", 0, Verdict(VerdictKind.QUEUE, queue=7)),
          Register("open", "host", _V4, "PREROUTING", 0, Verdict(VerdictKind.QUEUE, queue=8, bypass=True)),
          Register("drop", "host", _V4, "INPUT", 1, reinjected=Verdict(VerdictKind.DROP, errno=errno.EACCES).encode(), cookie=4),
          Register("again", "host", _V4, "INPUT", 2, reinjected=VerdictKind.REPEAT, times=2),
          _waits(1), _waits(2), Answer("host", 8), _waits(3), Answer("host", 7), Answer("host", 8), Answer("host", 7),
          _waits(4), Answer("host", 8), Answer("host", 7), Listen("host", 7),
          _waits(5), Answer("host", 8)),
)
