"""JSON of the steps with private arrays."""

from __future__ import annotations

from typing import Any

from harness.netfilter import Verdict, VerdictKind
from harness.scenario.forms.form import Form, Scope, line_of
from harness.scenario.forms.hooks import fail_json, fail_of, priority
from harness.scenario.forms.verdicts import U32_MAX, raw_verdict, raw_verdict_json
from harness.scenario.reader import Value, fail, quote, suggest
from harness.scenario.steps import COUNT_MAX, RawAlter, RawDelete, RawInsert, RawRun

__all__ = ("FORMS",)


def _raw_insert(value: Value) -> RawInsert:
    value.keys(("do", "id", "netns", "array"), ("priority", "verdict", "count", "fail"))
    return RawInsert(
        id=value["id"].line(),
        netns=value["netns"].string(),
        array=value["array"].line(),
        priority=priority(value),
        verdict=raw_verdict(value["verdict"]) if "verdict" in value else int(VerdictKind.ACCEPT),
        count=value["count"].integer(1, COUNT_MAX) if "count" in value else 1,
        fail=fail_of(value),
    )


def _raw_delete(value: Value) -> RawDelete:
    value.keys(("do", "id"), ("array", "fail"))
    return RawDelete(value["id"].line(), value["array"].line() if "array" in value else None, fail_of(value))


def _raw_alter(value: Value) -> RawAlter:
    value.keys(("do", "id", "priority"))
    return RawAlter(value["id"].line(), priority(value))


def _raw_run(value: Value) -> RawRun:
    value.keys(("do", "netns", "array"), ("start",))
    return RawRun(value["netns"].string(), value["array"].line(), value["start"].integer(0, U32_MAX) if "start" in value else 0)


def _raw_insert_json(step: RawInsert) -> dict[str, Any]:
    return {"id": step.id, "netns": step.netns, "array": step.array, "priority": step.priority,
            "verdict": raw_verdict_json(step.verdict), "count": step.count, **fail_json(step)}


def _check_insert(scope: Scope, step: RawInsert, path: str) -> None:
    scope.netns(step.netns, f"{path}.netns")
    if step.fail and step.count > 1:
        fail(f"{path}.fail", "allocations fail for one hook only", "leave count away")
    scope.new_ids(step.ids, path)
    line_of(step.array, f"{path}.array", "name for an array")
    verdict = Verdict.decode(step.verdict)
    if verdict.kind is VerdictKind.QUEUE and (step.netns, verdict.queue) in scope.listening:
        fail(f"{path}.verdict", f"somebody listens to queue {verdict.queue} of {step.netns}: the packet of a raw-run cannot wait",
             "queue to another one, or hang up before")
    scope.private.update(dict.fromkeys(step.ids, step))
    scope.arrays.add((step.netns, step.array))


def _check_inserted(scope: Scope, step: RawAlter | RawDelete, path: str) -> None:
    if step.id not in scope.private:
        fail(f"{path}.id", f"{quote(step.id)} is no hook in a private array before this step",
             suggest(step.id, scope.private, what="inserted"))


def _check_delete(scope: Scope, step: RawDelete, path: str) -> None:
    _check_inserted(scope, step, path)
    hook = scope.private[step.id]
    if step.array is None:
        del scope.private[step.id]
    elif step.array == hook.array:
        fail(f"{path}.array", f"{quote(step.id)} is in this array", "remove the key, or name another array")
    else:
        _check_array(scope, hook.netns, step.array, path)


def _check_run(scope: Scope, step: RawRun, path: str) -> None:
    scope.netns(step.netns, f"{path}.netns")
    _check_array(scope, step.netns, step.array, path)


def _check_array(scope: Scope, netns: str, array: str, path: str) -> None:
    if (netns, array) not in scope.arrays:
        known = [name for holder, name in scope.arrays if holder == netns]
        fail(f"{path}.array", f"no step before has put a hook into an array {quote(array)} of {netns}",
             suggest(array, known, what="arrays"))


FORMS: tuple[Form[Any], ...] = (
    Form("raw-insert", RawInsert, _raw_insert, _raw_insert_json, _check_insert),
    Form("raw-delete", RawDelete, _raw_delete, lambda step: {"id": step.id, "array": step.array, **fail_json(step)}, _check_delete),
    Form("raw-alter", RawAlter, _raw_alter, lambda step: {"id": step.id, "priority": step.priority}, _check_inserted),
    Form("raw-run", RawRun, _raw_run, lambda step: {"netns": step.netns, "array": step.array, "start": step.start}, _check_run),
)
