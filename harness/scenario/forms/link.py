"""JSON of the steps below IP."""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address
from typing import Any

from harness.scenario.forms.form import Form, Scope
from harness.scenario.forms.hooks import COOKIE_MAX
from harness.scenario.reader import Value, fail, quote, suggest
from harness.scenario.steps import BROADCAST, COOKIE_BYTES, UNKNOWN, WHOLE_MAX, Arp, Frame, asking_device
from harness.scenario.topology import LOOPBACK

__all__ = ("FORMS",)


def _arp(value: Value) -> Arp:
    value.keys(("do", "from", "sender", "target"))
    return Arp(value["from"].string(), _ipv4(value["sender"]), _ipv4(value["target"]))


def _ipv4(value: Value) -> str:
    try:
        return str(IPv4Address(value.string()))
    except AddressValueError:
        value.fail(f"{quote(value.value)} is no IPv4 address", 'ARP asks for one like "10.0.0.2"')


def _arp_json(step: Arp) -> dict[str, Any]:
    return {"from": step.source, "sender": step.sender, "target": step.target}


def _check_arp(scope: Scope, step: Arp, path: str) -> None:
    scope.netns(step.source, f"{path}.from")
    device = asking_device(scope.topology, step)
    if device is None:
        own = [address.partition("/")[0] for one in scope.topology.interfaces(step.source) for address in one.addresses]
        fail(f"{path}.sender", f"{step.sender} is no address of {step.source}", suggest(step.sender, own, what="addresses"))
    if step.target == step.sender:
        fail(f"{path}.target", f"{step.target} is the asker's own", "ask for a neighbour")
    if step.cookie in scope.cookies:
        fail(path, f"steps[{scope.cookies[step.cookie]}] is about these two addresses already", "ask for a pair of addresses once")
    scope.cookies[step.cookie] = scope.index


def _frame(value: Value) -> Frame:
    value.keys(("do", "from", "device", "to", "cookie"), ("vlan", "size"))
    return Frame(
        source=value["from"].string(),
        device=value["device"].string(),
        to=value["to"].string(),
        cookie=value["cookie"].integer(1, COOKIE_MAX),
        vlan=value["vlan"].integer(1, 4094) if "vlan" in value else None,
        size=value["size"].integer(COOKIE_BYTES, WHOLE_MAX) if "size" in value else 64,
    )


def _frame_json(step: Frame) -> dict[str, Any]:
    return {"from": step.source, "device": step.device, "to": step.to, "cookie": step.cookie, "vlan": step.vlan, "size": step.size}


def _check_frame(scope: Scope, step: Frame, path: str) -> None:
    topology = scope.topology
    scope.netns(step.source, f"{path}.from")
    scope.device(step.source, step.device, f"{path}.device")
    if step.device == LOOPBACK or not topology.segment(step.source, step.device):
        fail(f"{path}.device", f"{step.device} leads nowhere else", "choose a device of a link")
    known = [f"{one.netns}/{one.device}" for one in topology.interfaces()]
    if step.to not in (BROADCAST, UNKNOWN, *known):
        fail(f"{path}.to", f"{quote(step.to)} is nobody's address", suggest(step.to, [BROADCAST, UNKNOWN, *known], what="addresses"))
    scope.new_cookie(step.cookie, f"{path}.cookie")


FORMS: tuple[Form[Any], ...] = (
    Form("arp", Arp, _arp, _arp_json, _check_arp),
    Form("frame", Frame, _frame, _frame_json, _check_frame),
)
