"""Drawing steps that make and end namespaces and devices."""

from __future__ import annotations

from hypothesis import strategies as st

from harness.explore.steps.maker import Drawn, always, as_it_is
from harness.scenario.scope import Scope
from harness.scenario.steps.namespaces import AddDevice, AddLink, AddNetns, DeleteDevice, DeleteNetns, Keys, MoveDevice
from harness.scenario.topology import LOOPBACK, VethEnd

__all__ = ("DRAWN", "keys")

_MOST = 5


def _add_netns(_draw: st.DrawFn, scope: Scope) -> AddNetns | None:
    return AddNetns(f"new{scope.index}") if len(scope.topology.namespaces) < _MOST else None


def _delete_netns(draw: st.DrawFn, scope: Scope) -> DeleteNetns | None:
    """One that no BPF link keeps alive."""
    kept = {link.netns for link in scope.links.values()}
    names = [name for name in scope.topology.namespaces if name not in kept]
    return DeleteNetns(draw(st.sampled_from(names))) if names and len(scope.topology.namespaces) > 1 else None


def _add_device(draw: st.DrawFn, scope: Scope) -> AddDevice:
    return AddDevice(draw(st.sampled_from(scope.topology.namespaces)), f"dev{scope.index}", draw(st.booleans()))


def _add_link(draw: st.DrawFn, scope: Scope) -> AddLink | None:
    names = scope.topology.namespaces
    if len(names) == 1:
        return None
    ends = [VethEnd(netns, f"veth{scope.index}", (f"10.{100 + scope.index}.0.{host}/24", f"fd00:{100 + scope.index}::{host}/64"))
            for host, netns in enumerate(draw(st.permutations(names))[:2], 1)]
    return AddLink(*ends)


def _devices(scope: Scope) -> list[tuple[str, str]]:
    return [(netns, device) for netns in scope.topology.namespaces for device in scope.topology.devices(netns) if device != LOOPBACK]


def _delete_device(draw: st.DrawFn, scope: Scope) -> DeleteDevice | None:
    devices = _devices(scope)
    return DeleteDevice(*draw(st.sampled_from(devices))) if devices else None


def _move_device(draw: st.DrawFn, scope: Scope) -> MoveDevice | None:
    ways = [(netns, device, to) for netns, device in _devices(scope) for to in scope.topology.namespaces
            if to != netns and device not in scope.topology.devices(to)]
    return MoveDevice(*draw(st.sampled_from(ways))) if ways else None


def keys(_draw: st.DrawFn, _scope: Scope) -> Keys:
    """What changes nothing, and tells of all that is registered."""
    return Keys()


#: A namespace that goes takes its hooks, its arrays and its directory of procfs along: most can be wrong there.
DRAWN = Drawn(
    makers=(_add_device, _add_link, *[_add_netns] * 2, _move_device, _delete_device, *[_delete_netns] * 3, keys),
    times={"upset": 2}, there=always, plainer=as_it_is)
