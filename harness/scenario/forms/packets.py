"""JSON of the steps that send packets."""

from __future__ import annotations

from typing import Any

from harness.netfilter import Family
from harness.scenario.addresses import ip_address, ip_interface
from harness.scenario.forms.form import Form, Scope
from harness.scenario.forms.hooks import COOKIE_MAX
from harness.scenario.reader import Value, fail, quote, suggest
from harness.scenario.routing import family_of
from harness.scenario.steps import COOKIE_BYTES, SIZE_MAX, WHOLE_MAX, Send, destination, last_piece

__all__ = ("FORMS",)

_PIECE_MIN = 64


def _send(value: Value) -> Send:
    value.keys(("do", "from", "to", "cookie"), ("pf", "kind", "size", "ttl", "source_port", "port", "fragment", "segment"))
    to = value["to"].string()
    echo = "kind" in value and value["kind"].choice(("udp", "echo")) == "echo"
    if echo:
        for key, what in (("source_port", "ports"), ("port", "ports"), ("fragment", "fragments of its own"), ("segment", "segments")):
            if key in value:
                value[key].fail(f"an echo request has no {what}", "remove it")
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
        fragment=value["fragment"].integer(_PIECE_MIN, WHOLE_MAX) if "fragment" in value else None,
        segment=value["segment"].integer(_PIECE_MIN, WHOLE_MAX) if "segment" in value else None,
    )


def _implied_family(to: str) -> Family:
    try:
        return family_of(ip_address(to))
    except ValueError:
        return Family.IPV4


def _send_json(step: Send) -> dict[str, Any]:
    return {"from": step.source, "to": step.to, "pf": step.pf.name, "kind": step.kind, "cookie": step.cookie, "size": step.size,
            "ttl": step.ttl, "source_port": step.source_port or None, "port": step.port or None, "fragment": step.fragment,
            "segment": step.segment}


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
        known = sorted({str(ip_interface(own).ip) for one in topology.interfaces() for own in one.addresses})
        fail(f"{path}.to", str(error), f"addresses: {', '.join(known) or 'none but those of lo'}")
    scope.new_cookie(step.cookie, f"{path}.cookie")
    _check_pieces(step, path)


def _check_pieces(step: Send, path: str) -> None:
    """Every piece of a packet must end with the cookie, of which it is full."""
    if step.kind == "echo" and step.size > WHOLE_MAX:
        fail(f"{path}.size", f"an echo request is sent whole, not in {step.size} bytes", f"write {WHOLE_MAX} or less, or send udp")
    if step.fragment and step.segment:
        fail(f"{path}.segment", "a packet goes in fragments or in segments", "remove one of the two")
    for key, value in (("size", step.size), ("fragment", step.fragment or 0), ("segment", step.segment or 0)):
        if (step.fragment or step.segment or step.size > WHOLE_MAX) and value % 8:
            fail(f"{path}.{key}", f"{value} is no multiple of 8, at which a packet is cut", f"write {value // 8 * 8}")
    if step.segment and not step.segment < step.size <= 64 * step.segment:
        fail(f"{path}.segment", f"{step.size} bytes are not 2 to 64 segments of {step.segment}", "change one of the two")
    last = last_piece(step)
    if last < COOKIE_BYTES:
        fail(f"{path}.size", f"the last piece of {step.size} bytes would have {last}, too few for the cookie", f"write {step.size - 8}")
    if step.fragment and step.fragment >= step.size + 8:
        fail(f"{path}.fragment", f"{step.size} bytes and the header of UDP fit into one", "make it smaller")


FORMS: tuple[Form[Any], ...] = (
    Form("send", Send, _send, _send_json, _check_send),
)
