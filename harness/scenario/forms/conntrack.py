"""JSON of the steps with connection tracking."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

from harness.netfilter import Family
from harness.scenario.forms.form import Form, Scope
from harness.scenario.reader import Value, fail, quote, suggest
from harness.scenario.routing import first_address, lookup
from harness.scenario.steps.conntrack import KERNEL_MODULES, OWN, CtRead, CtRun, Flow, KernelModule, Tee, Track

__all__ = ("FORMS",)


def _kernel_module(value: Value) -> KernelModule:
    value.keys(("do", "name", "loaded"))
    return KernelModule(value["name"].choice(KERNEL_MODULES), value["loaded"].boolean())


def _track(value: Value) -> Track:
    value.keys(("do", "netns"))
    return Track(value["netns"].string())


def _ct_read(value: Value) -> CtRead:
    value.keys(("do",))
    return CtRead()


def _ct_run(value: Value) -> CtRun:
    value.keys(("do", "netns", "source", "source_port", "destination", "port"), ("track", "own"))
    flow = Flow(_ipv4(value["source"]), value["source_port"].integer(1, 65535),
                _ipv4(value["destination"]), value["port"].integer(1, 65535))
    own = tuple(each.choice(OWN) for each in value["own"]) if "own" in value else ()
    return CtRun(value["netns"].string(), flow, value["track"].boolean() if "track" in value else False, own)


def _tee(value: Value) -> Tee:
    value.keys(("do", "netns", "to"))
    return Tee(value["netns"].string(), value["to"].string())


def _ipv4(value: Value) -> str:
    try:
        return str(IPv4Address(value.string()))
    except ValueError:
        value.fail(f"{quote(value.value)} is no IPv4 address", 'write it like "10.0.0.2"')


def _ct_run_json(step: CtRun) -> dict[str, Any]:
    flow = step.flow
    return {"netns": step.netns, "source": flow.source, "source_port": flow.source_port, "destination": flow.destination,
            "port": flow.port, "track": step.track or None, "own": list(step.own) or None}


def _check_kernel_module(scope: Scope, step: KernelModule, path: str) -> None:
    if step == KernelModule("nf_conntrack", loaded=False):
        scope.tracking_known = True
    _check_known(scope, path)


def _check_track(scope: Scope, step: Track, path: str) -> None:
    scope.netns(step.netns, f"{path}.netns")


def _check_ct_read(scope: Scope, _step: CtRead, path: str) -> None:
    _check_known(scope, path)


def _check_ct_run(scope: Scope, step: CtRun, path: str) -> None:
    scope.netns(step.netns, f"{path}.netns")
    _check_known(scope, path)
    if len(set(step.own)) < len(step.own):
        fail(f"{path}.own", "says the same twice", "remove one of the two")
    if "orphan" in step.own and set(step.own) != {"connection", "orphan"}:
        fail(f"{path}.own", "an orphan is the module's connection, without the module's hooks", 'write ["connection", "orphan"]')
    if step.track and step.own:
        fail(f"{path}.own", "track is about nf_conntrack's own connections", "remove one of the two keys")


def _check_known(scope: Scope, path: str) -> None:
    if not scope.tracking_known:
        fail(path, "no step before says whether nf_conntrack is loaded",
             'begin with {"do": "kernel-module", "name": "nf_conntrack", "loaded": false}')


def _check_tee(scope: Scope, step: Tee, path: str) -> None:
    topology = scope.topology
    scope.netns(step.netns, f"{path}.netns")
    scope.netns(step.to, f"{path}.to")
    address = first_address(topology, step.to, Family.IPV4)
    hop = lookup(topology, step.netns, address) if address and step.to != step.netns else None
    if hop is None or hop.via != address:
        neighbours = {topology.peer(end.netns, end.device).netns for end in topology.ends(step.netns)}
        fail(f"{path}.to", f"{quote(step.to)} is not at the other end of a link of {step.netns} with IPv4 addresses",
             suggest(step.to, neighbours, what="neighbours"))


FORMS: tuple[Form[Any], ...] = (
    Form("kernel-module", KernelModule, _kernel_module, lambda step: {"name": step.name, "loaded": step.loaded}, _check_kernel_module),
    Form("track", Track, _track, lambda step: {"netns": step.netns}, _check_track),
    Form("ct-read", CtRead, _ct_read, lambda _step: {}, _check_ct_read),
    Form("ct-run", CtRun, _ct_run, _ct_run_json, _check_ct_run),
    Form("tee", Tee, _tee, lambda step: {"netns": step.netns, "to": step.to}, _check_tee),
)
