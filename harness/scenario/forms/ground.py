"""JSON of the steps that change the ground."""

from __future__ import annotations

from typing import Any

from harness.scenario.addresses import Address, ip_interface
from harness.scenario.forms.form import Form, Scope
from harness.scenario.forms.hooks import fail_json, fail_of
from harness.scenario.forms.topologies import check_end, check_netns_name, end, end_json
from harness.scenario.reader import Value, fail, quote
from harness.scenario.routing import owner
from harness.scenario.steps import AddDevice, AddLink, AddNetns, DeleteDevice, DeleteNetns, Keys, MoveDevice
from harness.scenario.steps.ground import after, lost_devices
from harness.scenario.topology import LOOPBACK, End

__all__ = ("FORMS",)


def _netns(value: Value) -> str:
    value.keys(("do", "netns"))
    return value["netns"].string()


def _new_netns(value: Value) -> AddNetns:
    value.keys(("do", "netns"), ("fail",))
    return AddNetns(value["netns"].string(), fail_of(value))


def _device(value: Value) -> tuple[str, str]:
    value.keys(("do", "netns", "device"))
    return value["netns"].string(), value["device"].string()


def _link(value: Value) -> AddLink:
    value.keys(("do", "a", "b"))
    return AddLink(end(value["a"]), end(value["b"]))


def _move(value: Value) -> MoveDevice:
    value.keys(("do", "netns", "device", "to"))
    return MoveDevice(value["netns"].string(), value["device"].string(), value["to"].string())


def _keys(value: Value) -> Keys:
    value.keys(("do",))
    return Keys()


def _check_new_netns(scope: Scope, step: AddNetns, path: str) -> None:
    if step.netns in scope.topology.namespaces:
        fail(f"{path}.netns", f"there is a namespace {quote(step.netns)} already", "choose another name")
    check_netns_name(step.netns, f"{path}.netns")
    if any(step.fail):
        fail(f"{path}.fail", "core makes one allocation for a namespace", "write [0]")
    scope.topology = after(scope.topology, step)


def _check_netns_gone(scope: Scope, step: DeleteNetns, path: str) -> None:
    scope.netns(step.netns, f"{path}.netns")
    if len(scope.topology.namespaces) == 1:
        fail(f"{path}.netns", f"{quote(step.netns)} is the last namespace", "add another one first")
    for name in [name for name, netns in scope.links.items() if netns == step.netns]:
        fail(f"{path}.netns", f"the BPF link {quote(name)} keeps {quote(step.netns)} alive", "put a bpf-unlink before it")
    scope.listening = {one for one in scope.listening if one[0] != step.netns}
    _take(scope, step)


def _check_new_device(scope: Scope, step: AddDevice, path: str) -> None:
    check_end(scope.topology, End(step.netns, step.device), path)
    _check_name_is_free(scope, step.netns, step.device, f"{path}.device")
    scope.topology = after(scope.topology, step)


def _check_new_link(scope: Scope, step: AddLink, path: str) -> None:
    taken: dict[Address, str] = {}
    for side, one in (("a", step.a), ("b", step.b)):
        check_end(scope.topology, one, f"{path}.{side}")
        _check_name_is_free(scope, one.netns, one.device, f"{path}.{side}.device")
        for number, text in enumerate(one.addresses):
            address = ip_interface(text).ip
            holder = taken.get(address) or owner(scope.topology, address)
            if holder:
                fail(f"{path}.{side}.addresses[{number}]", f"{address} is already an address of {holder}",
                     "give every device an address of its own")
            taken[address] = one.netns
    if (step.a.netns, step.a.device) == (step.b.netns, step.b.device):
        fail(f"{path}.b.device", f"{step.b.netns} already has a device {quote(step.b.device)}", "choose another name")
    scope.topology = after(scope.topology, step)


def _check_device_gone(scope: Scope, step: DeleteDevice, path: str) -> None:
    _check_own_device(scope, step, path)
    _take(scope, step)


def _check_moved(scope: Scope, step: MoveDevice, path: str) -> None:
    _check_own_device(scope, step, path)
    scope.netns(step.to, f"{path}.to")
    _check_name_is_free(scope, step.to, step.device, f"{path}.to")
    _take(scope, step)


def _check_name_is_free(scope: Scope, netns: str, device: str, path: str) -> None:
    if device in scope.topology.devices(netns):
        fail(path, f"{netns} already has a device {quote(device)}", "choose another name")


def _check_own_device(scope: Scope, step: DeleteDevice | MoveDevice, path: str) -> None:
    scope.netns(step.netns, f"{path}.netns")
    scope.device(step.netns, step.device, f"{path}.device")
    if step.device == LOOPBACK:
        fail(f"{path}.device", "lo comes and goes with its namespace", "choose another device")


def _take(scope: Scope, step: DeleteNetns | DeleteDevice | MoveDevice) -> None:
    """The step's doing, with all that goes at the same time."""
    lost = lost_devices(scope.topology, step)
    scope.topology = after(scope.topology, step)
    for name, (netns, device) in scope.points.items():
        if netns not in scope.topology.namespaces or (netns, device) in lost:
            scope.live[name] = 0
    for name in [name for name, hook in scope.private.items() if hook.netns not in scope.topology.namespaces]:
        del scope.private[name]
    scope.arrays = {(netns, array) for netns, array in scope.arrays if netns in scope.topology.namespaces}


def _device_json(step: AddDevice | DeleteDevice) -> dict[str, Any]:
    return {"netns": step.netns, "device": step.device}


FORMS: tuple[Form[Any], ...] = (
    Form("netns-add", AddNetns, _new_netns, lambda step: {"netns": step.netns, **fail_json(step)}, _check_new_netns),
    Form("netns-delete", DeleteNetns, lambda value: DeleteNetns(_netns(value)), lambda step: {"netns": step.netns}, _check_netns_gone),
    Form("device-add", AddDevice, lambda value: AddDevice(*_device(value)), _device_json, _check_new_device),
    Form("link-add", AddLink, _link, lambda step: {"a": end_json(step.a), "b": end_json(step.b)}, _check_new_link),
    Form("device-delete", DeleteDevice, lambda value: DeleteDevice(*_device(value)), _device_json, _check_device_gone),
    Form("device-move", MoveDevice, _move, lambda step: {**_device_json(step), "to": step.to}, _check_moved),
    Form("keys", Keys, _keys, lambda _step: {}, lambda _scope, _step, _path: None),
)
