"""Steps of an NFQUEUE listener."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from harness.netfilter import Verdict, VerdictKind
from harness.scenario.keys import COOKIE_MAX
from harness.scenario.reader import Value, fail, suggest
from harness.scenario.scope import Scope
from harness.scenario.step import DRAWN, Facts, Step, flushed, no_packets, no_rules, no_sinks, none_wait, nothing, nowhere, same_topology
from harness.scenario.verdicts import U32_MAX, raw_verdict, raw_verdict_json

__all__ = ("COPY_RANGE_MAX", "Answer", "CopyMode", "HangUp", "Listen")

CopyMode = Literal["none", "meta", "packet"]

COPY_RANGE_MAX = 0xFFFF
_QUEUE_MAX = 0xFFFF
_COPY_MODES: dict[str, CopyMode] = {"none": "none", "meta": "meta", "packet": "packet"}

_FACTS = Facts(flushed=flushed, touches=nowhere, allocates=nothing, sends=no_packets, sinks=no_sinks, queues=none_wait, redirects=False,
               needs=(), rules=no_rules, modules=False, baseline=False, leaves=same_topology, not_drawn=DRAWN)


@dataclass(frozen=True, slots=True)
class Listen(Step):
    """A listener binds a queue of the namespace (``NFQNL_CFG_CMD_BIND``); from then on packets queued to it wait for an :class:`Answer`.

    :param queue: number
    :param maxlen: most packets that wait; more are dropped. ``None``: the kernel's 1024
    :param copy: what the listener gets of a packet; ``none`` lets no packet in
    :param copy_range: bytes of it at most, with the copy ``packet``
    :param fail_open: what finds no room goes on as if accepted (``NFQA_CFG_F_FAIL_OPEN``)
    """

    netns: str
    queue: int
    maxlen: int | None = None
    copy: CopyMode = "packet"
    copy_range: int = COPY_RANGE_MAX
    fail_open: bool = False

    do = "listen"
    facts = _FACTS

    @classmethod
    def read(cls, value: Value) -> Listen:
        value.keys(("do", "netns", "queue"), ("maxlen", "copy", "copy_range", "fail_open"))
        return cls(
            netns=value["netns"].string(),
            queue=_queue(value),
            maxlen=value["maxlen"].integer(0, U32_MAX) if "maxlen" in value else None,
            copy=_COPY_MODES[value["copy"].choice(_COPY_MODES)] if "copy" in value else "packet",
            copy_range=value["copy_range"].integer(1, COPY_RANGE_MAX) if "copy_range" in value else COPY_RANGE_MAX,
            fail_open=value["fail_open"].boolean() if "fail_open" in value else False,
        )

    def write(self) -> dict[str, Any]:
        return {"netns": self.netns, "queue": self.queue, "maxlen": self.maxlen, "copy": self.copy,
                "copy_range": self.copy_range if self.copy == "packet" else None, "fail_open": self.fail_open or None}

    def check(self, scope: Scope, path: str) -> None:
        scope.netns(self.netns, f"{path}.netns")
        for hook in scope.private.values():
            verdict = Verdict.decode(hook.verdict)
            if hook.netns == self.netns and verdict.kind is VerdictKind.QUEUE and verdict.queue == self.queue:
                fail(f"{path}.queue",
                     f'a hook in the private array "{hook.array}" queues to {self.queue}: the packet of a raw-run cannot wait',
                     "choose another queue")
        scope.listening.add((self.netns, self.queue))


@dataclass(frozen=True, slots=True)
class Answer(Step):
    """The listener answers a packet (``NFQNL_MSG_VERDICT``): ``nf_reinject`` gets its verdict.

    :param verdict: any u32
    :param cookie: of the packet; ``None``: the one that has waited longest
    """

    netns: str
    queue: int
    verdict: int = VerdictKind.ACCEPT
    cookie: int | None = None

    do = "answer"
    facts = _FACTS

    @classmethod
    def read(cls, value: Value) -> Answer:
        value.keys(("do", "netns", "queue"), ("verdict", "cookie"))
        return cls(
            netns=value["netns"].string(),
            queue=_queue(value),
            verdict=raw_verdict(value["verdict"]) if "verdict" in value else int(VerdictKind.ACCEPT),
            cookie=value["cookie"].integer(1, COOKIE_MAX) if "cookie" in value else None,
        )

    def write(self) -> dict[str, Any]:
        return {"netns": self.netns, "queue": self.queue, "verdict": raw_verdict_json(self.verdict), "cookie": self.cookie}

    def check(self, scope: Scope, path: str) -> None:
        _check_heard(scope, self, path)
        if self.cookie is not None:
            scope.awaited.append((f"{path}.cookie", self.cookie))


@dataclass(frozen=True, slots=True)
class HangUp(Step):
    """The listener's socket closes, as it does when the listener dies: what waits is dropped."""

    netns: str
    queue: int

    do = "hang-up"
    facts = _FACTS

    @classmethod
    def read(cls, value: Value) -> HangUp:
        value.keys(("do", "netns", "queue"))
        return cls(value["netns"].string(), _queue(value))

    def write(self) -> dict[str, Any]:
        return {"netns": self.netns, "queue": self.queue}

    def check(self, scope: Scope, path: str) -> None:
        _check_heard(scope, self, path)
        scope.listening.remove((self.netns, self.queue))


def _queue(value: Value) -> int:
    return value["queue"].integer(0, _QUEUE_MAX)


def _check_heard(scope: Scope, step: Answer | HangUp, path: str) -> None:
    scope.netns(step.netns, f"{path}.netns")
    if (step.netns, step.queue) not in scope.listening:
        known = [str(queue) for netns, queue in scope.listening if netns == step.netns]
        hint = suggest(str(step.queue), known, what="listened to")
        fail(f"{path}.queue", f"nobody listens to queue {step.queue} of {step.netns} here", hint)
