"""What ``check --list`` and ``check --explain`` show."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, assert_never

from harness.cli.say import say
from harness.conformance.coverage import FUNCTIONS, Branch, core_lines, functions_of
from harness.conformance.expect import Answered, Array, Crosses, Expectation, Finds, PrivateArray, Queue, Ran, Returns, Splats
from harness.conformance.report import lines_of
from harness.conformance.rule import Rule, Script
from harness.conformance.statements import pinned
from harness.model.predict import predict
from harness.netfilter import errno_name
from harness.outcome import codec, describe
from harness.outcome.types import Outcome
from harness.scenario.codec import to_json

__all__ = ("explain", "list_coverage")


def list_coverage(rules: Sequence[Rule], as_json: bool) -> None:
    """Function of the pinned core.c → branches → rules, and what none of the chosen rules covers."""
    wanted = {rule.id for rule in rules}
    if as_json:
        print(json.dumps({
            "rules": list(map(_rule_json, rules)),
            "functions": [{"function": one.name, "lines": list(one.lines), "rules": [rule for rule in one.rules if rule in wanted],
                           "branches": [{"lines": list(branch.lines), "what": branch.what,
                                         "rules": [rule for rule in branch.rules if rule in wanted],
                                         "uncovered": branch.uncovered or None} for branch in one.branches]} for one in FUNCTIONS],
        }, indent=1))
        return
    for function in FUNCTIONS:
        say(f"{function.name}  l.{lines_of([function.lines])}")
        for branch in function.branches:
            own = [rule for rule in branch.rules if rule in wanted]
            say(f"  {branch!s:>8}  {branch.what}")
            say(f"            {'uncovered: ' + branch.uncovered if branch.uncovered else ', '.join(own) or '(other rules)'}")
    branches = [branch for function in FUNCTIONS for branch in function.branches]
    covered = sum(bool(wanted & set(branch.rules)) for branch in branches)
    say(f"{len(FUNCTIONS)} functions, {len(branches)} branches, {covered} covered by {len(rules)} rules")


def explain(rules: Sequence[Rule], as_json: bool) -> None:
    """Show each rule with its core.c lines, its scripts and the model's answer, for a current kernel to which it applies."""
    if as_json:
        explained = [{**_rule_json(rule), "scripts": [_script_json(rule, one) for one in rule.scripts]} for rule in rules]
        print(json.dumps(explained, indent=1))
        return
    for number, rule in enumerate(rules):
        if number:
            say("")
        say(f"{rule.id}: {rule.sentence}")
        for function in FUNCTIONS:
            for branch in function.branches:
                if rule.id in branch.rules:
                    say(f"  l.{branch}  {function.name}: {branch.what}", *_quoted(branch))
        if rule.needs:
            say(f"  needs the probe {', '.join(rule.needs)}")
        for one in rule.scripts:
            say(*_script(rule, one))


def _quoted(branch: Branch) -> Iterator[str]:
    """The lines of the core.c that the rules were read from, of a branch that is not newer than that."""
    if not branch.newer:
        first, last = branch.lines
        yield from (f"    {number:>4}  {pinned().lines[number - 1].expandtabs(8)}".rstrip() for number in range(first, last + 1))


def _rule_json(rule: Rule) -> dict[str, Any]:
    return {"rule": rule.id, "sentence": rule.sentence, "needs": list(rule.needs), "functions": list(functions_of(rule.id)),
            "core_lines": [list(lines) for lines in core_lines(rule.id)]}


def _script_json(rule: Rule, script: Script) -> dict[str, Any]:
    return {"scenario": to_json(script.scenario), "expects": [{"step": at, "what": _expectation(one)} for at, one in script.expected],
            "model": codec.to_json(predict(script.scenario, rule.profile, script.foreign))}


def _script(rule: Rule, script: Script) -> Iterator[str]:
    outcome = predict(script.scenario, rule.profile, script.foreign)
    scenario = to_json(script.scenario)
    yield f"  script {script.scenario.name}, topology {json.dumps(scenario['topology'], ensure_ascii=False)}"
    for number, (step, document) in enumerate(zip(script.scenario.steps, scenario["steps"], strict=True)):
        yield f"    {json.dumps(document, ensure_ascii=False)}"
        yield from (f"      expects {_expectation(one)}" for at, one in script.expected if at == number)
        yield f"      model   {_answer(outcome, number, step.traffic.cookie)}"


def _expectation(expected: Expectation) -> str:
    told: str
    match expected:
        case Answered():
            told = f"answered {expected.times} time{'' if expected.times == 1 else 's'}"
        case Returns():
            told = errno_name(expected.errno) if expected.errno else "success"
        case Array() | PrivateArray():
            told = f"{_place(expected)}: {_cut(expected.hooks) or 'empty'}"
        case Finds():
            told = f"finds {describe.facts(expected.facts)}"
        case Queue():
            told = f"{expected.netns}, queue {expected.number}: {describe.queue(expected.state)}"
        case Ran():
            end = describe.returned(expected.returned)
            told = f"{_cut(expected.hooks) or 'no hook'} → {end}, the skb {'freed' if expected.freed else 'not freed'}"
        case Splats():
            told = f"the kernel warns: {'; '.join(expected.splats)}" if expected.splats else "no splat"
        case Crosses():
            end = f"{expected.fate} ({errno_name(expected.errno)})" if expected.errno else expected.fate
            end += f", {expected.reason}" if expected.reason else ""
            told = _cut("; ".join([*map(str, expected.at), end]))
        case _:
            assert_never(expected)
    return told


def _place(expected: Array | PrivateArray) -> str:
    if isinstance(expected, PrivateArray):
        return f"{expected.netns}, private array {expected.array}"
    return " ".join(filter(None, (expected.netns, expected.pf.name, expected.hook, expected.device)))


def _answer(outcome: Outcome, number: int, cookie: int | None) -> str:
    step = next(one for one in outcome.steps if one.step == number)
    parts = [describe.errno(step.errno)]
    if step.raw is not None:
        parts.append(_cut(describe.raw(step.raw)))
    parts += [f"{name} {value}" for name, value in step.facts]
    parts += [f"splat: {splat}" for splat in step.splats]
    parts += [f"{key}: {describe.queue(state)}" for key, state in step.queues]
    parts += [f"{key}: {_cut(describe.slots(slots))}" for key, slots in step.slots]
    if cookie is not None:
        packet = next(one for one in outcome.packets if one.cookie == cookie)
        parts += [f"{one.netns} {describe.point(one)}: {_cut(describe.calls(one.calls))} → {describe.returned(one.returned)}"
                  for one in packet.traversals]
        parts.append(describe.fate(packet.fate))
    return "; ".join(parts)


def _cut(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:90]} … {text[-90:]}"
