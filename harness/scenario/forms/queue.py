"""JSON of the steps of an NFQUEUE listener."""

from __future__ import annotations

from typing import Any

from harness.netfilter import Verdict, VerdictKind
from harness.scenario.forms.form import Form, Scope
from harness.scenario.forms.hooks import COOKIE_MAX
from harness.scenario.forms.verdicts import U32_MAX, raw_verdict, raw_verdict_json
from harness.scenario.reader import Value, fail, suggest
from harness.scenario.steps import COPY_RANGE_MAX, Answer, HangUp, Listen

__all__ = ("FORMS", "QUEUE_MAX")

QUEUE_MAX = 0xFFFF
_COPY_MODES = ("none", "meta", "packet")


def _queue(value: Value) -> int:
    return value["queue"].integer(0, QUEUE_MAX)


def _listen(value: Value) -> Listen:
    value.keys(("do", "netns", "queue"), ("maxlen", "copy", "copy_range", "fail_open"))
    return Listen(
        netns=value["netns"].string(),
        queue=_queue(value),
        maxlen=value["maxlen"].integer(0, U32_MAX) if "maxlen" in value else None,
        copy=value["copy"].choice(_COPY_MODES) if "copy" in value else "packet",  # type: ignore[arg-type]
        copy_range=value["copy_range"].integer(1, COPY_RANGE_MAX) if "copy_range" in value else COPY_RANGE_MAX,
        fail_open=value["fail_open"].boolean() if "fail_open" in value else False,
    )


def _answer(value: Value) -> Answer:
    value.keys(("do", "netns", "queue"), ("verdict", "cookie"))
    return Answer(
        netns=value["netns"].string(),
        queue=_queue(value),
        verdict=raw_verdict(value["verdict"]) if "verdict" in value else int(VerdictKind.ACCEPT),
        cookie=value["cookie"].integer(1, COOKIE_MAX) if "cookie" in value else None,
    )


def _hang_up(value: Value) -> HangUp:
    value.keys(("do", "netns", "queue"))
    return HangUp(value["netns"].string(), _queue(value))


def _listen_json(step: Listen) -> dict[str, Any]:
    return {"netns": step.netns, "queue": step.queue, "maxlen": step.maxlen, "copy": step.copy,
            "copy_range": step.copy_range if step.copy == "packet" else None, "fail_open": step.fail_open or None}


def _answer_json(step: Answer) -> dict[str, Any]:
    return {"netns": step.netns, "queue": step.queue, "verdict": raw_verdict_json(step.verdict), "cookie": step.cookie}


def _check_listen(scope: Scope, step: Listen, path: str) -> None:
    scope.netns(step.netns, f"{path}.netns")
    for hook in scope.private.values():
        verdict = Verdict.decode(hook.verdict)
        if hook.netns == step.netns and verdict.kind is VerdictKind.QUEUE and verdict.queue == step.queue:
            fail(f"{path}.queue", f'a hook in the private array "{hook.array}" queues to {step.queue}: the packet of a raw-run cannot wait',
                 "choose another queue")
    scope.listening.add((step.netns, step.queue))


def _check_heard(scope: Scope, step: Answer | HangUp, path: str) -> None:
    scope.netns(step.netns, f"{path}.netns")
    if (step.netns, step.queue) not in scope.listening:
        known = [str(queue) for netns, queue in scope.listening if netns == step.netns]
        mend = suggest(str(step.queue), known, what="listened to")
        fail(f"{path}.queue", f"nobody listens to queue {step.queue} of {step.netns} here", mend)
    if isinstance(step, HangUp):
        scope.listening.remove((step.netns, step.queue))
    elif step.cookie is not None:
        scope.awaited.append((f"{path}.cookie", step.cookie))


FORMS: tuple[Form[Any], ...] = (
    Form("listen", Listen, _listen, _listen_json, _check_listen),
    Form("answer", Answer, _answer, _answer_json, _check_heard),
    Form("hang-up", HangUp, _hang_up, lambda step: {"netns": step.netns, "queue": step.queue}, _check_heard),
)
