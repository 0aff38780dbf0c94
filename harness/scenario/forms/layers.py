"""What makes sense of VLANs and bridges: devices that stand on others."""

from __future__ import annotations

from harness.scenario.reader import fail, quote, suggest
from harness.scenario.topology import LOOPBACK, Bridge, Topology, Vlan

__all__ = ("BRIDGED", "check_layers")

#: Families that ``br_netfilter`` has a setting for.
BRIDGED = ("IPV4", "IPV6", "ARP")


def check_layers(topology: Topology) -> None:
    """Every VLAN has a device below it, every bridge has ports, and no frame can go in a circle. Names are unique already."""
    for index, vlan in enumerate(topology.vlans):
        _check_vlan(topology, vlan, f"topology.vlans[{index}]", topology.vlans[:index])
    for index, bridge in enumerate(topology.bridges):
        _check_bridge(topology, bridge, f"topology.bridges[{index}]", topology.bridges[:index])
    _check_circles(topology)


def _below(topology: Topology, netns: str, name: str, path: str) -> None:
    """A device that another one can stand on."""
    devices = [device for device in topology.devices(netns) if device != LOOPBACK]
    if name not in devices:
        fail(path, f"no device {quote(name)} in the namespace {quote(netns)}", suggest(name, devices, what="devices"))


def _check_vlan(topology: Topology, vlan: Vlan, path: str, earlier: tuple[Vlan, ...]) -> None:
    _below(topology, vlan.netns, vlan.link, f"{path}.link")
    if vlan.link in [one.device for one in topology.vlans if one.netns == vlan.netns and one not in earlier]:
        fail(f"{path}.link", f"{quote(vlan.link)} is a VLAN that comes later", "put it before this one")
    if any((one.netns, one.link, one.id) == (vlan.netns, vlan.link, vlan.id) for one in earlier):
        fail(f"{path}.id", f"{vlan.link} has a VLAN {vlan.id} already", "choose another id")


def _check_bridge(topology: Topology, bridge: Bridge, path: str, earlier: tuple[Bridge, ...]) -> None:
    if not bridge.ports:
        fail(f"{path}.ports", "a bridge has at least one port", "name a device of its namespace")
    for index, port in enumerate(bridge.ports):
        where = f"{path}.ports[{index}]"
        _below(topology, bridge.netns, port, where)
        if isinstance(topology.interface(bridge.netns, port), Bridge):
            fail(where, f"{quote(port)} is a bridge, which cannot be a port", "join the two with a link")
        if port in bridge.ports[:index] or any(one.netns == bridge.netns and port in one.ports for one in earlier):
            fail(where, f"{quote(port)} is a port already", "a device is a port once")
        if topology.interface(bridge.netns, port).addresses:
            fail(where, f"{quote(port)} has addresses, which nothing reaches while it is a port", "give them to the bridge")
    for one in earlier:
        if one.netns == bridge.netns and set(one.netfilter) != set(bridge.netfilter):
            fail(f"{path}.netfilter", f"{one.device} in the same namespace has another one", "it is one setting: let them agree")


def _check_circles(topology: Topology) -> None:
    """Bridges that are joined twice would send a broadcast round and round."""
    for index, bridge in enumerate(topology.bridges):
        for position, port in enumerate(bridge.ports):
            if any((one.netns, one.device) == (bridge.netns, bridge.device) for one in topology.segment(bridge.netns, port)):
                fail(f"topology.bridges[{index}].ports[{position}]", f"what leaves {bridge.device} by {quote(port)} comes back to it",
                     "a frame would go round for ever: take a link away")
