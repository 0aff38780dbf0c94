"""Outcome ↔ JSON: how a guest's observation reaches the host, and what ``--json`` prints."""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, cast, get_args

from harness.netfilter import Family, Verdict, VerdictKind, errno_name, hook_name, hook_number
from harness.outcome.diff import Comparison
from harness.outcome.fate import Fate, FateKind
from harness.outcome.types import (
    Change,
    Connection,
    Evaluated,
    HookCall,
    Missed,
    Outcome,
    PacketOutcome,
    QueueState,
    RawOutcome,
    Registration,
    Relation,
    Ruleset,
    RulesetRule,
    Slot,
    StepOutcome,
    Traversal,
)

__all__ = ("from_json", "registration_json", "report", "to_json", "verdict_from_text")

_VERDICT = re.compile(
    r"(?P<kind>[A-Z]+)(?P<number>\d{1,3})?(?:\((?P<argument>[A-Z0-9]+)(?P<bypass>, bypass)?\))?(?:\+(?P<rest>0x[0-9a-f]+))?"
)


def to_json(outcome: Outcome) -> dict[str, Any]:
    """What :func:`json.dumps` takes and :func:`from_json` makes an equal outcome of."""
    return {
        "steps": [_step_json(step) for step in outcome.steps],
        "packets": [_packet_json(packet) for packet in outcome.packets],
        "lost_events": outcome.lost_events,
        "doubts": list(outcome.doubts),
        "blind": dict(outcome.blind),
        **({"log": list(outcome.log)} if outcome.log else {}),
        **({} if outcome.began is None else {"began": outcome.began}),
        **({"registrations": list(map(registration_json, outcome.registrations))} if outcome.registrations else {}),
        **({"rulesets": list(map(asdict, outcome.rulesets))} if outcome.rulesets else {}),
    }


def from_json(document: Mapping[str, Any]) -> Outcome:
    """The outcome that a JSON document describes.

    :raises ValueError, KeyError, TypeError: it was not :func:`to_json` that wrote it
    """
    return Outcome(
        steps=tuple(_step(step) for step in document["steps"]),
        packets=tuple(_packet(packet) for packet in document["packets"]),
        lost_events=int(document["lost_events"]),
        doubts=tuple(document["doubts"]),
        blind=tuple(document.get("blind", {}).items()),
        log=tuple(document.get("log", ())),
        began=document.get("began"),
        registrations=tuple(map(_registration, document.get("registrations", ()))),
        rulesets=tuple(Ruleset(**{**each, "listed": tuple(each["listed"])}) for each in document.get("rulesets", ())),
    )


def report(*, kernel: Mapping[str, Any], scenario: str, observed: Outcome, comparison: Comparison) -> dict[str, Any]:
    """The object that ``run --json`` prints.

    :param kernel: at least ``release``, how it is accelerated, and its profile
    """
    return {
        "kernel": dict(kernel),
        "scenario": scenario,
        "verdict": comparison.verdict,
        "differences": [
            {"where": one.where, "predicted": one.predicted, "observed": one.observed, "explanation": one.explanation}
            for one in comparison.differences
        ],
        "reasons": list(comparison.reasons),
        **to_json(observed),
    }


def _step_json(step: StepOutcome) -> dict[str, Any]:
    slots = {key: [_slot_json(slot) for slot in array] for key, array in step.slots}
    raw = step.raw and {"returned": step.raw.returned, "called": list(step.raw.called), "users": step.raw.users,
                        **({"altered": step.raw.altered} if step.raw.altered else {})}
    return {"step": step.step, "errno": _errno_json(step.errno), "slots": slots, "raw": raw, "splats": list(step.splats),
            "facts": dict(step.facts), "disputes": list(step.disputes),
            "queues": {key: asdict(state) for key, state in step.queues}}


def _step(document: Mapping[str, Any]) -> StepOutcome:
    slots = tuple((key, tuple(map(_slot, array))) for key, array in document["slots"].items())
    raw = document.get("raw")
    return StepOutcome(document["step"], _errno(document["errno"]), slots,
                       raw and RawOutcome(raw["returned"], tuple(raw["called"]), raw["users"], raw.get("altered", 0)),
                       tuple(document.get("splats", ())), tuple(document.get("facts", {}).items()), tuple(document.get("disputes", ())),
                       tuple((key, QueueState(**state)) for key, state in document.get("queues", {}).items()))


def _slot_json(slot: Slot) -> dict[str, Any]:
    return {"index": slot.index, "function": slot.function, "module": slot.module, "priority": slot.priority, "dummy": slot.dummy,
            "label": slot.label, **({} if slot.chain is None else {"chain": slot.chain})}


def _slot(document: Mapping[str, Any]) -> Slot:
    return Slot(document["index"], document["function"], document["module"], document["priority"], document["dummy"],
                document["label"], document.get("chain"))


def registration_json(registration: Registration) -> dict[str, Any]:
    """A hook that was registered or unregistered."""
    arrays = {side: {"slots": count, "told": list(map(_slot_json, slots))} for side, count, slots in (
        ("before", registration.slots_before, registration.before), ("after", registration.slots_after, registration.after))}
    return {
        "registration": registration.number,
        "what": registration.what,
        "time": registration.time,
        "pf": registration.pf.name,
        "hook": hook_name(registration.pf, registration.point),
        "netns": registration.netns or None,
        "device": registration.device or None,
        "owner": _slot_json(registration.hook),
        "errno": _errno_json(registration.errno),
        "process": registration.process,
        "pid": registration.pid,
        "by": list(registration.by),
        "link": registration.link,
        "nf_hooks_needed": registration.key,
        "generation": registration.generation,
        **arrays,
    }


def _registration(document: Mapping[str, Any]) -> Registration:
    before, after = document["before"], document["after"]
    pf = Family[document["pf"]]
    return Registration(document["registration"], document["what"], document["time"], pf, _point(pf, document["hook"]),
                        document["netns"] or "", document["device"] or "", _slot(document["owner"]), _errno(document["errno"]),
                        document["process"], document["pid"], tuple(document["by"]), document["nf_hooks_needed"], document["generation"],
                        tuple(map(_slot, before["told"])), tuple(map(_slot, after["told"])), before["slots"], after["slots"],
                        document["link"])


def _point(pf: Family, name: str) -> int:
    """Number of a hook point."""
    return int(name[4:]) if re.fullmatch(r"HOOK\d+", name) else hook_number(pf, name)


def _packet_json(packet: PacketOutcome) -> dict[str, Any]:
    return {
        "packet": packet.packet,
        "number": packet.number,
        "relation": packet.relation and packet.relation._asdict(),
        "kind": packet.kind,
        "cookie": packet.cookie,
        "fate": packet.fate.kind,
        "errno": _errno_json(packet.fate.errno),
        "reason": packet.fate.reason,
        "sent_errno": _errno_json(packet.sent_errno),
        "alive": packet.alive,
        **({"lost_events": packet.lost_events} if packet.lost_events else {}),
        "traversals": [_traversal_json(traversal) for traversal in packet.traversals],
    }


def _packet(document: Mapping[str, Any]) -> PacketOutcome:
    kind = document["fate"]
    if kind not in get_args(FateKind):
        raise ValueError(f"no fate: {kind!r}")
    return PacketOutcome(
        packet=document["packet"],
        cookie=document["cookie"],
        fate=Fate(cast(FateKind, kind), _errno(document["errno"]), document["reason"]),
        traversals=tuple(map(_traversal, document["traversals"])),
        sent_errno=_errno(document["sent_errno"]),
        alive=document.get("alive", 0),
        kind=document["kind"],
        number=document.get("number", 0),
        relation=Relation(**document["relation"]) if document.get("relation") else None,
        lost_events=document.get("lost_events", 0),
    )


def _traversal_json(traversal: Traversal) -> dict[str, Any]:
    return {
        "pf": traversal.pf.name,
        "hook": hook_name(traversal.pf, traversal.hook),
        "netns": traversal.netns,
        "in": traversal.indev,
        "out": traversal.outdev,
        "okfn": traversal.okfn,
        "start": traversal.start,
        "loop": traversal.loop,
        "answer": None if traversal.answer is None else str(traversal.answer),
        "returned": traversal.returned,
        "packet": traversal.packet,
        "mark": traversal.mark,
        "connection": traversal.connection,
        "changed": [change._asdict() for change in traversal.changed],
        "head": traversal.head.hex(),
        "length": traversal.length,
        "slots": traversal.slots,
        "time": traversal.time,
        "waited": traversal.waited,
        "socket": traversal.socket,
        "tracked": traversal.tracked and traversal.tracked._asdict(),
        **({} if traversal.generation is None else {"generation": traversal.generation}),
        **({"missed": [change._asdict() for change in traversal.missed]} if traversal.missed else {}),
        "answered_by": traversal.answered_by,
        "calls": [_call_json(call) for call in traversal.calls],
    }


def _traversal(document: Mapping[str, Any]) -> Traversal:
    pf = Family[document["pf"]]
    return Traversal(pf, _point(pf, document["hook"]), document["netns"], document["in"], document["out"],
                     tuple(map(_call, document["calls"])), document["returned"], document["okfn"], document["start"], document["loop"],
                     verdict_from_text(document["answer"]) if document.get("answer") else None, document.get("packet", ""),
                     document.get("mark", 0), document.get("connection", "none"), _changed(document),
                     bytes.fromhex(document.get("head", "")), document.get("length", 0), document.get("slots", 0),
                     document.get("time"), document.get("waited"), document.get("socket", False), _tracked(document.get("tracked")),
                     document.get("generation"), tuple(Missed(**change) for change in document.get("missed", ())),
                     document.get("answered_by"))


def _tracked(document: Mapping[str, Any] | None) -> Connection | None:
    return Connection(**{**document, "status": tuple(document["status"])}) if document else None


def _changed(document: Mapping[str, Any]) -> tuple[Change, ...]:
    return tuple(Change(**change) for change in document.get("changed", ()))


def _call_json(call: HookCall) -> dict[str, Any]:
    return {"index": call.index, "function": call.function, "module": call.module, "priority": call.priority, "label": call.label,
            "verdict": str(call.verdict), "ns": call.ns, "chain": call.chain, "calls": list(map(_call_json, call.calls)),
            "changed": [change._asdict() for change in call.changed], "rule": call.rule and call.rule._asdict(), "policy": call.policy,
            **({"evaluated": call.evaluated._asdict()} if call.evaluated else {}), **({"head": call.head.hex()} if call.head else {})}


def _call(document: Mapping[str, Any]) -> HookCall:
    return HookCall(document["index"], document["function"], document["module"], document["priority"],
                    verdict_from_text(document["verdict"]), document["ns"], document["label"], document.get("chain"),
                    tuple(map(_call, document.get("calls", ()))), _changed(document), _rule(document.get("rule")),
                    document.get("policy", False), _evaluated(document.get("evaluated")), bytes.fromhex(document.get("head", "")))


def _rule(document: Mapping[str, Any] | None) -> RulesetRule | None:
    return RulesetRule(document["handle"], document["chain"], document["text"], tuple(document["via"])) if document else None


def _evaluated(document: Mapping[str, Any] | None) -> Evaluated | None:
    return Evaluated(**{**document, "jumped": tuple(document["jumped"])}) if document else None


def verdict_from_text(text: str) -> Verdict:
    """The inverse of ``str(verdict)``.

    :raises ValueError: no verdict reads like that
    """
    found = _VERDICT.fullmatch(text)
    rest = int(found["rest"], 16) if found is not None and found["rest"] else 0
    if found is not None and found["kind"] == "VERDICT" and found["number"]:
        return Verdict(VerdictKind(int(found["number"])), rest=rest)
    if found is None or found["number"] or found["kind"] not in VerdictKind.__members__:
        raise ValueError(f"no verdict: {text!r}")
    kind = VerdictKind[found["kind"]]
    if found["argument"] is None:
        return Verdict(kind, rest=rest)
    if kind is VerdictKind.QUEUE:
        return Verdict(kind, queue=int(found["argument"]), bypass=found["bypass"] is not None, rest=rest)
    return Verdict(kind, errno=_errno(found["argument"]), rest=rest)


def _errno_json(number: int) -> str | None:
    return errno_name(number) if number else None


def _errno(name: str | None) -> int:
    """The number of an errno.

    :raises ValueError: neither a number nor a name that this system has
    """
    if name is None:
        return 0
    if name.isdigit():
        return int(name)
    number = getattr(errno, name, None)
    if not isinstance(number, int):
        raise ValueError(f"no errno: {name!r}")
    return number
