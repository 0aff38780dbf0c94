"""JSON of the steps that send packets."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface
from typing import Any

from harness.netfilter import Family
from harness.scenario.forms.form import Form, Scope
from harness.scenario.forms.hooks import COOKIE_MAX
from harness.scenario.reader import Value, fail, quote, suggest
from harness.scenario.routing import family_of
from harness.scenario.steps import COOKIE_BYTES, SIZE_MAX, Send, destination

__all__ = ("FORMS",)


def _send(value: Value) -> Send:
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
        cookie=value["cookie"].integer(1, COOKIE_MAX),
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


def _send_json(step: Send) -> dict[str, Any]:
    return {"from": step.source, "to": step.to, "pf": step.pf.name, "kind": step.kind, "cookie": step.cookie, "size": step.size,
            "ttl": step.ttl, "source_port": step.source_port or None, "port": step.port or None}


def _check_send(scope: Scope, step: Send, path: str) -> None:
    topology = scope.topology
    scope.netns(step.source, f"{path}.from")
    if step.to not in topology.namespaces:
        try:
            address = ip_address(step.to)
        except ValueError:
            fail(f"{path}.to", f"{quote(step.to)} is neither a namespace of the topology nor an address",
                 suggest(step.to, topology.namespaces, what="namespaces"))
        if family_of(address) is not step.pf:
            fail(f"{path}.pf", f"{step.to} is no {step.pf.name} address", f'write "{family_of(address).name}", or leave pf away')
    try:
        destination(topology, step)
    except ValueError as error:
        known = sorted({str(ip_interface(own).ip) for end in topology.ends() for own in end.addresses})
        fail(f"{path}.to", str(error), f"addresses: {', '.join(known) or 'none but those of lo'}")
    if step.cookie in scope.cookies:
        fail(f"{path}.cookie", f"{step.cookie} is already the cookie of steps[{scope.cookies[step.cookie]}]",
             "give every packet a cookie of its own")
    scope.cookies[step.cookie] = scope.index


FORMS: tuple[Form[Any], ...] = (
    Form("send", Send, _send, _send_json, _check_send),
)
