"""Scenario ↔ JSON. What is read is checked in full: a scenario that comes out of here makes sense."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from harness.netfilter import HOOK_POINTS, PRIORITY_MAX, PRIORITY_MIN, Family, Verdict, VerdictKind, errno_name
from harness.scenario.check import check
from harness.scenario.reader import Value, parse, suggest
from harness.scenario.routing import family_of
from harness.scenario.steps import (
    ACCEPT,
    COOKIE_BYTES,
    COUNT_MAX,
    SIZE_MAX,
    BatchStep,
    Dump,
    Nft,
    RawDelete,
    RawInsert,
    RawRun,
    RawStep,
    Register,
    RegisterAgain,
    RegisterBatch,
    RegisterMany,
    Scenario,
    Send,
    Step,
    Unregister,
    UnregisterAbsent,
    UnregisterBatch,
)
from harness.scenario.topology import TOPOLOGIES, End, Link, Route, Topology

__all__ = ("dumps", "from_json", "loads", "to_json")

_COOKIE_MAX = 2**64 - 1
_VERDICTS = {"accept": VerdictKind.ACCEPT, "drop": VerdictKind.DROP, "stolen": VerdictKind.STOLEN, "queue": VerdictKind.QUEUE}
_VERDICT_NAMES = {kind: name for name, kind in _VERDICTS.items()}
_RAW_VERDICTS = {**_VERDICTS, "repeat": VerdictKind.REPEAT, "stop": VerdictKind.STOP}
_U32_MAX = 2**32 - 1
_ERRNOS = {name: number for name, number in vars(errno).items() if name.startswith("E") and isinstance(number, int)}


def loads(text: str) -> Scenario:
    """:raises UserError: not JSON, or not a scenario that makes sense; the message has the place"""
    return from_json(parse(text).value)


def dumps(scenario: Scenario) -> str:
    """JSON that :func:`loads` reads back as an equal scenario."""
    return json.dumps(to_json(scenario), indent=2, ensure_ascii=False) + "\n"


def from_json(document: object) -> Scenario:
    """:raises UserError: the document is no scenario that makes sense"""
    value = Value(document)
    value.keys(("name", "topology", "steps"), ("summary",))
    scenario = Scenario(
        name=value["name"].line(),
        summary=value["summary"].line() if "summary" in value else "",
        topology=_topology(value["topology"]),
        steps=tuple(_step(step) for step in value["steps"]),
    )
    check(scenario)
    return scenario


def to_json(scenario: Scenario) -> dict[str, Any]:
    """The scenario as :func:`json.dumps` takes it; a built-in topology by its name."""
    topology = scenario.topology
    builtin = TOPOLOGIES.get(topology.name) == topology
    return {
        "name": scenario.name,
        "summary": scenario.summary,
        "topology": topology.name if builtin else _topology_json(topology),
        "steps": [_step_json(step) for step in scenario.steps],
    }


def _topology(value: Value) -> Topology:
    if isinstance(value.value, str):
        if value.value not in TOPOLOGIES:
            value.fail(f"unknown topology {value.value!r}", suggest(value.value, TOPOLOGIES, what="built in"))
        return TOPOLOGIES[value.value]
    value.keys(("namespaces",), ("name", "links", "routes", "forwarding"))
    return Topology(
        name=value["name"].line() if "name" in value else "own",
        namespaces=tuple(netns.string() for netns in value["namespaces"]),
        links=tuple(map(_link, value["links"])) if "links" in value else (),
        routes=tuple(map(_route, value["routes"])) if "routes" in value else (),
        forwarding=tuple(netns.string() for netns in value["forwarding"]) if "forwarding" in value else (),
    )


def _link(value: Value) -> Link:
    value.keys(("a", "b"))
    return Link(_end(value["a"]), _end(value["b"]))


def _end(value: Value) -> End:
    value.keys(("netns", "device"), ("addresses",))
    addresses = tuple(address.string() for address in value["addresses"]) if "addresses" in value else ()
    return End(value["netns"].string(), value["device"].string(), addresses)


def _route(value: Value) -> Route:
    value.keys(("netns", "destination", "via"))
    return Route(value["netns"].string(), value["destination"].string(), value["via"].string())


def _topology_json(topology: Topology) -> dict[str, Any]:
    def end(end: End) -> dict[str, Any]:
        return {"netns": end.netns, "device": end.device, "addresses": list(end.addresses)}

    return {
        "name": topology.name,
        "namespaces": list(topology.namespaces),
        "links": [{"a": end(link.a), "b": end(link.b)} for link in topology.links],
        "routes": [{"netns": route.netns, "destination": route.destination, "via": route.via} for route in topology.routes],
        "forwarding": list(topology.forwarding),
    }


def _family(value: Value) -> Family:
    return Family[value.choice(Family.__members__)]


def _verdict(value: Value) -> Verdict:
    if isinstance(value.value, str):
        return Verdict(_VERDICTS[value.choice(_VERDICTS)])
    value.keys(("kind",), ("errno", "queue", "bypass"))
    kind = _VERDICTS[value["kind"].choice(_VERDICTS)]
    for key, kinds in (("errno", ("drop", "stolen")), ("queue", ("queue",)), ("bypass", ("queue",))):
        if key in value and _VERDICT_NAMES[kind] not in kinds:
            value[key].fail(f"{_VERDICT_NAMES[kind]} carries no {key}", f"remove it; {' and '.join(kinds)} can carry one")
    return Verdict(
        kind,
        errno=_errno(value["errno"]) if "errno" in value else 0,
        queue=value["queue"].integer(0, 0xFFFF) if "queue" in value else 0,
        bypass=value["bypass"].boolean() if "bypass" in value else False,
    )


def _errno(value: Value) -> int:
    if isinstance(value.value, int) and not isinstance(value.value, bool):
        name = errno_name(value.value) if value.value else "0"
        value.fail(f"an errno is given by its name, not as {value.value}",
                   f'write "{name}"' if name in _ERRNOS else "write its name, such as \"EPERM\"")
    name = value.string()
    if name.lstrip("-") in _ERRNOS and name not in _ERRNOS:
        value.fail(f"{name!r}: an errno has no sign here, the kernel's minus is added", f'write "{name.lstrip("-")}"')
    if name not in _ERRNOS:
        value.fail(f"unknown errno {name!r}", suggest(name, _ERRNOS, what="names") if len(name) < 20 else None)
    return _ERRNOS[name]


def _verdict_json(verdict: Verdict) -> str | dict[str, Any]:
    found: dict[str, Any] = {"kind": _VERDICT_NAMES[verdict.kind]}
    if verdict.errno:
        found["errno"] = errno_name(verdict.errno)
    if verdict.queue:
        found["queue"] = verdict.queue
    if verdict.bypass:
        found["bypass"] = True
    return found if len(found) > 1 else str(found["kind"])


def _step(value: Value) -> Step:
    if "do" not in value:
        value.fail('the key "do" is missing', f"it names the step: {', '.join(_STEPS)}")
    do = value["do"].string()
    if do not in _STEPS:
        value["do"].fail(f"unknown step {do!r}", suggest(do, _STEPS, what="steps"))
    return _STEPS[do](value)


def _register(value: Value) -> Step:
    value.keys(("do", "id", "netns", "pf", "hook"), ("priority", "verdict", "device", "cookie"))
    return _hook(value, value["netns"].string(), _family(value["pf"]), value["hook"].choice(HOOK_POINTS[_family(value["pf"])]))


def _hook(value: Value, netns: str, pf: Family, hook: str) -> Register:
    return Register(
        id=value["id"].line(),
        netns=netns,
        pf=pf,
        hook=hook,
        priority=value["priority"].integer(PRIORITY_MIN, PRIORITY_MAX) if "priority" in value else 0,
        verdict=_verdict(value["verdict"]) if "verdict" in value else ACCEPT,
        device=value["device"].string() if "device" in value else None,
        cookie=value["cookie"].integer(1, _COOKIE_MAX) if "cookie" in value else None,
    )


def _register_many(value: Value) -> Step:
    value.keys(("do", "id", "netns", "pf", "hook", "count"), ("priority", "device"))
    pf = _family(value["pf"])
    return RegisterMany(
        id=value["id"].line(),
        netns=value["netns"].string(),
        pf=pf,
        hook=value["hook"].choice(HOOK_POINTS[pf]),
        count=value["count"].integer(1, COUNT_MAX),
        priority=value["priority"].integer(PRIORITY_MIN, PRIORITY_MAX) if "priority" in value else 0,
        device=value["device"].string() if "device" in value else None,
    )


def _unregister(value: Value) -> Step:
    value.keys(("do", "id"))
    return Unregister(value["id"].line())


def _send(value: Value) -> Step:
    value.keys(("do", "from", "to", "cookie"), ("pf", "kind", "size", "ttl", "source_port", "port"))
    to = value["to"].string()
    echo = "kind" in value and value["kind"].choice(("udp", "echo")) == "echo"
    if echo:
        for key in ("source_port", "port"):
            if key in value:
                value[key].fail("an echo request has no ports", "remove it")
    return Send(
        source=value["from"].string(),
        to=to,
        cookie=value["cookie"].integer(1, _COOKIE_MAX),
        pf=Family[value["pf"].choice(("IPV4", "IPV6"))] if "pf" in value else _implied_family(to),
        kind="echo" if echo else "udp",
        size=value["size"].integer(COOKIE_BYTES, SIZE_MAX) if "size" in value else 32,
        ttl=value["ttl"].integer(1, 255) if "ttl" in value else 64,
        source_port=0 if echo else value["source_port"].integer(1, 65535) if "source_port" in value else 40000,
        port=0 if echo else value["port"].integer(1, 65535) if "port" in value else 9,
    )


def _implied_family(to: str) -> Family:
    try:
        return family_of(ip_address(to))
    except ValueError:
        return Family.IPV4


def _dump(value: Value) -> Step:
    value.keys(("do", "netns", "pf", "hook"), ("device",))
    pf = _family(value["pf"])
    device = value["device"].string() if "device" in value else None
    return Dump(value["netns"].string(), pf, value["hook"].choice(HOOK_POINTS[pf]), device)


def _nft(value: Value) -> Step:
    value.keys(("do", "netns", "ruleset"))
    return Nft(value["netns"].string(), value["ruleset"].string())


def _any_hook(value: Value, pf: Family) -> str:
    """A hook point, or ``HOOK<n>``."""
    if isinstance(value.value, str) and re.fullmatch(r"HOOK\d{1,9}", value.value):
        return value.value
    return value.choice(HOOK_POINTS[pf])


def _register_batch(value: Value) -> Step:
    value.keys(("do", "netns", "hooks"))
    netns, hooks = value["netns"].string(), []
    for each in value["hooks"]:
        each.keys(("id", "pf", "hook"), ("priority", "verdict", "device", "cookie"))
        pf = _family(each["pf"])
        hooks.append(_hook(each, netns, pf, _any_hook(each["hook"], pf)))
    return RegisterBatch(netns, tuple(hooks))


def _unregister_batch(value: Value) -> Step:
    value.keys(("do", "id"))
    return UnregisterBatch(value["id"].line())


def _register_again(value: Value) -> Step:
    value.keys(("do", "id"))
    return RegisterAgain(value["id"].line())


def _unregister_absent(value: Value) -> Step:
    value.keys(("do", "netns", "pf", "hook"), ("device",))
    pf = _family(value["pf"])
    device = value["device"].string() if "device" in value else None
    return UnregisterAbsent(value["netns"].string(), pf, _any_hook(value["hook"], pf), device)


def _raw_verdict(value: Value) -> int:
    """A verdict as elsewhere, ``repeat``, ``stop``, or the number that the hook returns."""
    if isinstance(value.value, int):
        return value.integer(0, _U32_MAX)
    if isinstance(value.value, str):
        return _RAW_VERDICTS[value.choice(_RAW_VERDICTS)]
    return _verdict(value).encode()


def _raw_verdict_json(number: int) -> int | str | dict[str, Any]:
    names = {int(kind): name for name, kind in _RAW_VERDICTS.items()}
    verdict = Verdict.decode(number)
    if number in names:
        return names[number]
    if verdict.kind not in _VERDICT_NAMES or verdict.encode() != number or (verdict.errno and errno_name(verdict.errno) not in _ERRNOS):
        return number
    return _verdict_json(verdict)


def _raw_insert(value: Value) -> Step:
    value.keys(("do", "id", "netns", "array"), ("priority", "verdict", "count"))
    return RawInsert(
        id=value["id"].line(),
        netns=value["netns"].string(),
        array=value["array"].line(),
        priority=value["priority"].integer(PRIORITY_MIN, PRIORITY_MAX) if "priority" in value else 0,
        verdict=_raw_verdict(value["verdict"]) if "verdict" in value else int(VerdictKind.ACCEPT),
        count=value["count"].integer(1, COUNT_MAX) if "count" in value else 1,
    )


def _raw_delete(value: Value) -> Step:
    value.keys(("do", "id"), ("array",))
    return RawDelete(value["id"].line(), value["array"].line() if "array" in value else None)


def _raw_run(value: Value) -> Step:
    value.keys(("do", "netns", "array"), ("start",))
    return RawRun(value["netns"].string(), value["array"].line(), value["start"].integer(0, _U32_MAX) if "start" in value else 0)


_STEPS: dict[str, Callable[[Value], Step]] = {
    "register": _register, "register-many": _register_many, "unregister": _unregister, "send": _send, "dump": _dump, "nft": _nft,
    "raw-insert": _raw_insert, "raw-delete": _raw_delete, "raw-run": _raw_run,
    "register-batch": _register_batch, "unregister-batch": _unregister_batch, "register-again": _register_again,
    "unregister-absent": _unregister_absent,
}


def _step_json(step: Step) -> dict[str, Any]:
    match step:
        case Register():
            found = {"do": "register", "id": step.id, "netns": step.netns, "pf": step.pf.name, "hook": step.hook,
                     "priority": step.priority, "verdict": _verdict_json(step.verdict), "device": step.device,
                     "cookie": step.cookie}
        case RegisterMany():
            found = {"do": "register-many", "id": step.id, "netns": step.netns, "pf": step.pf.name, "hook": step.hook,
                     "count": step.count, "priority": step.priority, "device": step.device}
        case Unregister():
            found = {"do": "unregister", "id": step.id}
        case Send():
            found = {"do": "send", "from": step.source, "to": step.to, "pf": step.pf.name, "kind": step.kind, "cookie": step.cookie,
                     "size": step.size, "ttl": step.ttl, "source_port": step.source_port or None, "port": step.port or None}
        case Dump():
            found = {"do": "dump", "netns": step.netns, "pf": step.pf.name, "hook": step.hook, "device": step.device}
        case Nft():
            found = {"do": "nft", "netns": step.netns, "ruleset": step.ruleset}
        case _:
            found = _other_json(step)
    return {key: value for key, value in found.items() if value is not None}


def _other_json(step: RawStep | BatchStep) -> dict[str, Any]:
    found: dict[str, Any]
    match step:
        case RegisterBatch():
            found = {"do": "register-batch", "netns": step.netns, "hooks": [
                {key: given for key, given in _step_json(hook).items() if key not in ("do", "netns")} for hook in step.hooks]}
        case UnregisterBatch():
            found = {"do": "unregister-batch", "id": step.id}
        case RegisterAgain():
            found = {"do": "register-again", "id": step.id}
        case UnregisterAbsent():
            found = {"do": "unregister-absent", "netns": step.netns, "pf": step.pf.name, "hook": step.hook, "device": step.device}
        case RawInsert():
            found = {"do": "raw-insert", "id": step.id, "netns": step.netns, "array": step.array, "priority": step.priority,
                     "verdict": _raw_verdict_json(step.verdict), "count": step.count}
        case RawDelete():
            found = {"do": "raw-delete", "id": step.id, "array": step.array}
        case RawRun():
            found = {"do": "raw-run", "netns": step.netns, "array": step.array, "start": step.start}
    return found
