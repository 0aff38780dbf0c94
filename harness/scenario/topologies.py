"""JSON of topologies, and what makes sense of them."""

from __future__ import annotations

import re
from typing import Any

from harness.netfilter import Family
from harness.scenario.addresses import ip_address, ip_interface, ip_network
from harness.scenario.reader import Value, fail, quote, suggest
from harness.scenario.topology import LOOPBACK, TOPOLOGIES, Bridge, Interface, Link, Route, Topology, VethEnd, Vlan

__all__ = ("check_end", "check_netns_name", "check_topology", "end", "end_json", "topology", "topology_json")

_NETNS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")

#: Families that ``br_netfilter`` has a setting for.
_BRIDGED = ("IPV4", "IPV6", "ARP")


def topology(value: Value) -> Topology:
    """Read a topology: the name of a built-in one, or its parts.

    :raises UserError: with the path of what is wrong
    """
    if isinstance(value.value, str):
        if value.value not in TOPOLOGIES:
            value.fail(f"unknown topology {value.value!r}", suggest(value.value, TOPOLOGIES, what="built in"))
        return TOPOLOGIES[value.value]
    value.keys(("namespaces",), ("name", "links", "dummies", "routes", "forwarding", "vlans", "bridges", "first"))
    return Topology(
        name=value["name"].line() if "name" in value else "own",
        namespaces=tuple(netns.string() for netns in value["namespaces"]),
        links=tuple(map(_link, value["links"])) if "links" in value else (),
        dummies=tuple(map(_dummy, value["dummies"])) if "dummies" in value else (),
        routes=tuple(map(_route, value["routes"])) if "routes" in value else (),
        forwarding=tuple(netns.string() for netns in value["forwarding"]) if "forwarding" in value else (),
        vlans=tuple(map(_vlan, value["vlans"])) if "vlans" in value else (),
        bridges=tuple(map(_bridge, value["bridges"])) if "bridges" in value else (),
        first=value["first"].string() if "first" in value else None,
    )


def _link(value: Value) -> Link:
    value.keys(("a", "b"), ("gro",))
    return Link(end(value["a"]), end(value["b"]), value["gro"].boolean() if "gro" in value else False)


def _dummy(value: Value) -> VethEnd:
    value.keys(("netns", "device"))
    return VethEnd(value["netns"].string(), value["device"].string())


def end(value: Value) -> VethEnd:
    """Read one end of a veth pair, with its addresses."""
    value.keys(("netns", "device"), ("addresses",))
    return VethEnd(value["netns"].string(), value["device"].string(), _strings(value, "addresses"))


def _strings(value: Value, key: str) -> tuple[str, ...]:
    return tuple(each.string() for each in value[key]) if key in value else ()


def _vlan(value: Value) -> Vlan:
    value.keys(("netns", "device", "link", "id"), ("addresses",))
    return Vlan(value["netns"].string(), value["device"].string(), value["link"].string(), value["id"].integer(1, 4094),
                _strings(value, "addresses"))


def _bridge(value: Value) -> Bridge:
    value.keys(("netns", "device", "ports"), ("addresses", "netfilter"))
    netfilter = [Family[each.choice(_BRIDGED)] for each in value["netfilter"]] if "netfilter" in value else []
    return Bridge(value["netns"].string(), value["device"].string(), _strings(value, "ports"), _strings(value, "addresses"),
                  tuple(netfilter))


def _route(value: Value) -> Route:
    value.keys(("netns", "destination", "via"))
    return Route(value["netns"].string(), value["destination"].string(), value["via"].string())


def end_json(end: VethEnd) -> dict[str, Any]:
    """JSON of one end of a veth pair."""
    return {"netns": end.netns, "device": end.device, "addresses": list(end.addresses)}


def topology_json(topology: Topology) -> dict[str, Any]:
    """JSON of a topology, in full."""
    return {
        "name": topology.name,
        "namespaces": list(topology.namespaces),
        "links": [{"a": end_json(link.a), "b": end_json(link.b), "gro": link.gro} for link in topology.links],
        **({"dummies": [{"netns": end.netns, "device": end.device} for end in topology.dummies]} if topology.dummies else {}),
        "routes": [{"netns": route.netns, "destination": route.destination, "via": route.via} for route in topology.routes],
        "forwarding": list(topology.forwarding),
        "vlans": [{"netns": vlan.netns, "device": vlan.device, "link": vlan.link, "id": vlan.id, "addresses": list(vlan.addresses)}
                  for vlan in topology.vlans],
        "bridges": [{"netns": bridge.netns, "device": bridge.device, "ports": list(bridge.ports), "addresses": list(bridge.addresses),
                     "netfilter": [family.name for family in bridge.netfilter]} for bridge in topology.bridges],
        **({"first": topology.first} if topology.first else {}),
    }


def check_topology(topology: Topology) -> None:
    """Check that all parts of a topology make sense together.

    :raises UserError: with the path of what makes no sense
    """
    for index, netns in enumerate(topology.namespaces):
        path = f"topology.namespaces[{index}]"
        check_netns_name(netns, path)
        if netns in topology.namespaces[:index]:
            fail(path, f"{quote(netns)} appears twice", "remove one of the two")
    if not topology.namespaces:
        fail("topology.namespaces", "a topology has at least one namespace")
    taken: set[tuple[str, str]] = set()
    kinds: tuple[tuple[str, tuple[Interface, ...]], ...] = (
        ("dummies", topology.dummies), ("vlans", topology.vlans), ("bridges", topology.bridges))
    ends: list[tuple[str, Interface]] = [
        *((f"topology.links[{index}].{side}", one)
          for index, link in enumerate(topology.links) for side, one in (("a", link.a), ("b", link.b))),
        *((f"topology.{kind}[{index}]", one) for kind, interfaces in kinds for index, one in enumerate(interfaces)),
    ]
    for path, one in ends:
        check_end(topology, one, path)
        if (one.netns, one.device) in taken:
            fail(f"{path}.device", f"{one.netns} already has a device {quote(one.device)}", "choose another name")
        taken.add((one.netns, one.device))
    _check_layers(topology)
    _check_addresses_unique(topology)
    if topology.first is not None:
        _check_netns(topology, topology.first, "topology.first")
    for index, netns in enumerate(topology.forwarding):
        _check_netns(topology, netns, f"topology.forwarding[{index}]")
    for index, route in enumerate(topology.routes):
        _check_route(topology, route, f"topology.routes[{index}]")


def check_netns_name(netns: str, path: str) -> None:
    """Check that a name can be a namespace's.

    :raises UserError: with the path, if it cannot
    """
    if not _NETNS.fullmatch(netns):
        fail(path, f"{quote(netns)} is no name for a namespace", "use letters, digits, - and _, 32 at most")


def _check_netns(topology: Topology, netns: str, path: str) -> None:
    if netns not in topology.namespaces:
        fail(path, f"no namespace {quote(netns)} in the topology {quote(topology.name)}",
             suggest(netns, topology.namespaces, what="namespaces"))


def check_end(topology: Topology, end: Interface, path: str) -> None:
    """Check that an end's namespace is there, its name can be a device's, and its addresses are addresses.

    :raises UserError: with the path of what is wrong
    """
    _check_netns(topology, end.netns, f"{path}.netns")
    if not _DEVICE.fullmatch(end.device) or end.device in (LOOPBACK, "all", "default"):
        hint = "use letters, digits, . - and _, 15 at most; lo is taken"
        fail(f"{path}.device", f"{quote(end.device)} is no name for a device", hint)
    for index, address in enumerate(end.addresses):
        where = f"{path}.addresses[{index}]"
        try:
            found = ip_interface(address)
        except ValueError:
            fail(where, f"{quote(address)} is no address with a prefix length", 'write it like "10.0.1.2/24"')
        if "/" not in address:
            prefix = 24 if found.version == 4 else 64
            fail(where, f"{quote(address)} has no prefix length", f'write it like "{address}/{prefix}"')
        if "%" in address or any((found.is_loopback, found.is_multicast, found.is_unspecified, found.is_link_local)):
            fail(where, f"{address} is no unicast address for a link", "choose one from 10.0.0.0/8 or fd00::/8")


def _check_addresses_unique(topology: Topology) -> None:
    places: list[tuple[str, Interface]] = [(f"topology.links[{index}].{side}", end) for index, link in enumerate(topology.links)
              for side, end in (("a", link.a), ("b", link.b))]
    places += [(f"topology.vlans[{index}]", vlan) for index, vlan in enumerate(topology.vlans)]
    places += [(f"topology.bridges[{index}]", bridge) for index, bridge in enumerate(topology.bridges)]
    holders: dict[str, str] = {}
    for place, interface in places:
        for position, address in enumerate(interface.addresses):
            path = f"{place}.addresses[{position}]"
            found = str(ip_interface(address).ip)
            if found in holders:
                fail(path, f"{found} is already the address at {holders[found]}", "give every device its own address")
            holders[found] = path


def _check_route(topology: Topology, route: Route, path: str) -> None:
    _check_netns(topology, route.netns, f"{path}.netns")
    try:
        network = ip_network(route.destination)
    except ValueError:
        hint = 'write it like "10.0.2.0/24", host bits zero, or "0.0.0.0/0"'
        fail(f"{path}.destination", f"{quote(route.destination)} is no network", hint)
    try:
        via = ip_address(route.via)
    except ValueError:
        fail(f"{path}.via", f"{quote(route.via)} is no address", 'write it like "10.0.1.1"')
    neighbours = [str(ip_interface(own).ip) for one in topology.interfaces(route.netns)
                  for other in topology.segment(one.netns, one.device) for own in other.addresses]
    if via.version != network.version or str(via) not in neighbours:
        problem = f"{route.via} is no IPv{network.version} address at the other end of a link of {route.netns}"
        fail(f"{path}.via", problem, suggest(route.via, neighbours, what="neighbours"))


def _check_layers(topology: Topology) -> None:
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
