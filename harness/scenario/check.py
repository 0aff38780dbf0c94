"""Whether a scenario makes sense as a whole: names that exist, ids used once, addresses that lead somewhere."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from ipaddress import ip_address, ip_interface, ip_network
from typing import NamedTuple

from harness.netfilter import HOOK_POINTS, Family, VerdictKind
from harness.scenario.reader import fail, quote, suggest
from harness.scenario.routing import family_of
from harness.scenario.steps import (
    BatchStep,
    Dump,
    Nft,
    RawDelete,
    RawInsert,
    RawRun,
    Register,
    RegisterAgain,
    RegisterBatch,
    RegisterMany,
    Scenario,
    Send,
    Unregister,
    UnregisterAbsent,
    UnregisterBatch,
    destination,
)
from harness.scenario.topology import LOOPBACK, End, Route, Topology

__all__ = ("check",)

_BATCH_MAX = 64
_NETNS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
_ID = re.compile(r"[^\s/](?:[^/]{0,62}[^\s/])?")


def check(scenario: Scenario) -> None:
    """:raises UserError: with the path of the first thing that makes no sense"""
    if not scenario.name or len(scenario.name) > 64:
        fail("name", "a scenario's name has 1 to 64 characters")
    _check_topology(scenario.topology)
    live: Counter[str] = Counter()
    batches: dict[str, tuple[str, ...]] = {}
    seen: dict[str, int] = {}
    cookies: dict[int, int] = {}
    raw = _RawHooks(scenario.topology)
    for index, step in enumerate(scenario.steps):
        path = f"steps[{index}]"
        match step:
            case Register():
                _check_point(scenario.topology, step, path)
                _check_new_ids((step.id,), path, seen)
                seen[step.id] = index
                live[step.id] = 1
            case RegisterMany():
                _check_many(scenario.topology, step, path, seen)
                names = [each.id for each in step.each()]
                seen |= dict.fromkeys(names, index)
                live.update(dict.fromkeys(names, 1))
            case Unregister():
                _check_live(step.id, path, live, seen)
                live -= Counter({step.id: 1})
            case RegisterBatch() | UnregisterBatch() | RegisterAgain() | UnregisterAbsent():
                _check_batch_step(scenario.topology, step, path, index, _Registered(live, batches, seen))
            case Send():
                _check_send(scenario.topology, step, path, cookies)
                cookies[step.cookie] = index
            case Dump():
                _check_point(scenario.topology, step, path)
                if step.pf is Family.INET and step.hook != "INGRESS":
                    fail(f"{path}.pf", "INET has no array of its own at this point", "dump IPV4 or IPV6, where INET hooks land")
            case Nft():
                _check_netns(scenario.topology, step.netns, f"{path}.netns")
            case RawInsert() | RawDelete() | RawRun():
                seen.update(dict.fromkeys(raw.check(step, path, seen), index))
    _check_cookies(scenario, cookies)


class _Registered(NamedTuple):
    """What the steps so far have registered. :param live: how often; :param batches: hook → all that came with it"""

    live: Counter[str]
    batches: dict[str, tuple[str, ...]]
    seen: dict[str, int]


def _check_live(name: str, path: str, live: Collection[str], seen: Mapping[str, int]) -> None:
    if name not in live:
        problem = "is already unregistered" if name in seen else "is no hook registered before this step"
        fail(f"{path}.id", f"{quote(name)} {problem}", suggest(name, live, what="registered here"))


def _check_batch_step(topology: Topology, step: BatchStep, path: str, index: int, known: _Registered) -> None:
    match step:
        case RegisterBatch():
            _check_netns(topology, step.netns, f"{path}.netns")
            if len(step.hooks) > _BATCH_MAX:
                fail(f"{path}.hooks", f"{len(step.hooks)} hooks are more than a batch may have ({_BATCH_MAX})", "make two of it")
            for number, hook in enumerate(step.hooks):
                _check_new_ids((hook.id,), f"{path}.hooks[{number}]", known.seen)
                _check_device(topology, hook, f"{path}.hooks[{number}]")
                known.seen[hook.id] = index
                known.live[hook.id] = 1
                known.batches[hook.id] = tuple(each.id for each in step.hooks)
        case UnregisterBatch():
            _check_live(step.id, path, known.live, known.seen)
            gone = next((name for name in known.batches.get(step.id, ()) if known.live[name] != 1), None)
            if step.id not in known.batches or gone is not None:
                fail(f"{path}.id", f"{quote(step.id)} came in no batch, or not all of it is registered once", "unregister them one by one")
            for name in known.batches[step.id]:
                del known.live[name]
        case RegisterAgain():
            _check_live(step.id, path, known.live, known.seen)
            known.live[step.id] += 1
        case UnregisterAbsent():
            _check_netns(topology, step.netns, f"{path}.netns")
            _check_device(topology, step, path)


def _check_device(topology: Topology, step: Register | UnregisterAbsent, path: str) -> None:
    devices = topology.devices(step.netns)
    if step.device is not None and step.device not in devices:
        fail(f"{path}.device", f"no device {quote(step.device)} in the namespace {quote(step.netns)}",
             suggest(step.device, devices, what="devices"))
    if step.device is not None and not (step.pf is Family.NETDEV or (step.pf is Family.INET and step.hook == "INGRESS")):
        fail(f"{path}.device", f"{step.pf.name} {step.hook} belongs to no device", "remove it; NETDEV and INET INGRESS have one")


def _check_many(topology: Topology, step: RegisterMany, path: str, seen: dict[str, int]) -> None:
    _check_point(topology, step, path)
    if not _ID.fullmatch(f"{step.id}.{step.count}"):
        fail(f"{path}.id", f"{quote(step.id)} is no hook id", "use 1 to 58 characters, no slash, no space at the ends")
    taken = next((each.id for each in step.each() if each.id in seen), None)
    if taken is not None:
        fail(f"{path}.id", f"{quote(taken)} is already the id of a hook of steps[{seen[taken]}]", "choose another id")


def _check_new_ids(ids: tuple[str, ...], path: str, seen: Mapping[str, int]) -> None:
    for name in ids:
        if not _ID.fullmatch(name):
            fail(f"{path}.id", f"{quote(name)} is no hook id", "use 1 to 64 characters, no slash, no space at the ends")
        if name in seen:
            fail(f"{path}.id", f"{quote(name)} is already the id of steps[{seen[name]}]", "choose another id")


class _RawHooks:
    """Private arrays that the steps so far have named, and the hooks in them."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._hooks: dict[str, RawInsert] = {}
        self._arrays: set[tuple[str, str]] = set()

    def check(self, step: RawInsert | RawDelete | RawRun, path: str, seen: Mapping[str, int]) -> tuple[str, ...]:
        """:returns: new ids"""
        match step:
            case RawInsert():
                self._insert(step, path, seen)
                return step.ids
            case RawDelete():
                self._delete(step, path)
            case RawRun():
                _check_netns(self._topology, step.netns, f"{path}.netns")
                self._check_array(step.netns, step.array, path)
        return ()

    def _insert(self, step: RawInsert, path: str, seen: Mapping[str, int]) -> None:
        _check_netns(self._topology, step.netns, f"{path}.netns")
        _check_new_ids(step.ids, path, seen)
        if not _ID.fullmatch(step.array):
            fail(f"{path}.array", f"{quote(step.array)} is no name for an array", "use 1 to 64 characters, no slash, no space at the ends")
        self._hooks.update(dict.fromkeys(step.ids, step))
        self._arrays.add((step.netns, step.array))

    def _delete(self, step: RawDelete, path: str) -> None:
        if step.id not in self._hooks:
            fail(f"{path}.id", f"{quote(step.id)} is no hook in a private array before this step",
                 suggest(step.id, self._hooks, what="inserted"))
        hook = self._hooks[step.id]
        if step.array is None:
            del self._hooks[step.id]
        elif step.array == hook.array:
            fail(f"{path}.array", f"{quote(step.id)} is in this array", "remove the key, or name another array")
        else:
            self._check_array(hook.netns, step.array, path)

    def _check_array(self, netns: str, array: str, path: str) -> None:
        if (netns, array) not in self._arrays:
            known = [name for holder, name in self._arrays if holder == netns]
            fail(f"{path}.array", f"no step before has put a hook into an array {quote(array)} of {netns}",
                 suggest(array, known, what="arrays"))


def _check_cookies(scenario: Scenario, cookies: dict[int, int]) -> None:
    for index, step in enumerate(scenario.steps):
        if isinstance(step, Register) and step.cookie is not None and step.cookie not in cookies:
            fail(f"steps[{index}].cookie", f"no packet of the scenario carries the cookie {step.cookie}",
                 suggest(step.cookie, map(str, cookies), what="sent"))


def _check_netns(topology: Topology, netns: str, path: str) -> None:
    if netns not in topology.namespaces:
        fail(path, f"no namespace {quote(netns)} in the topology {quote(topology.name)}",
             suggest(netns, topology.namespaces, what="namespaces"))


def _check_point(topology: Topology, step: Register | RegisterMany | Dump, path: str) -> None:
    """A hook point that exists: a device where the point is a device's, and only there."""
    _check_netns(topology, step.netns, f"{path}.netns")
    if isinstance(step, Register) and step.verdict.kind is VerdictKind.QUEUE and not _can_queue(step):
        fail(f"{path}.verdict", f"no packet can be queued at {step.pf.name} {step.hook}", "queue at IPV4, IPV6 or BRIDGE")
    if step.hook not in HOOK_POINTS[step.pf]:
        mend = suggest(step.hook, HOOK_POINTS[step.pf], what="it has")
        fail(f"{path}.hook", f"{step.pf.name} has no hook point {quote(step.hook)}", mend)
    wanted = step.pf is Family.NETDEV or (step.pf is Family.INET and step.hook == "INGRESS")
    devices = topology.devices(step.netns)
    if wanted and step.device is None:
        problem = f'the key "device" is missing: {step.pf.name} {step.hook} belongs to a device'
        fail(path, problem, f"devices in {step.netns}: {', '.join(devices)}")
    if not wanted and step.device is not None:
        fail(f"{path}.device", f"{step.pf.name} {step.hook} belongs to no device", "remove it; NETDEV and INET INGRESS have one")
    if step.device is not None and step.device not in devices:
        fail(f"{path}.device", f"no device {quote(step.device)} in the namespace {quote(step.netns)}",
             suggest(step.device, devices, what="devices"))


def _can_queue(step: Register) -> bool:
    """``nf_reinject`` finds its way back to these families only."""
    return step.pf in (Family.IPV4, Family.IPV6, Family.BRIDGE) or (step.pf is Family.INET and step.device is None)


def _check_send(topology: Topology, step: Send, path: str, cookies: dict[int, int]) -> None:
    _check_netns(topology, step.source, f"{path}.from")
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
    if step.cookie in cookies:
        fail(f"{path}.cookie", f"{step.cookie} is already the cookie of steps[{cookies[step.cookie]}]",
             "give every packet a cookie of its own")


def _check_topology(topology: Topology) -> None:
    for index, netns in enumerate(topology.namespaces):
        path = f"topology.namespaces[{index}]"
        if not _NETNS.fullmatch(netns):
            fail(path, f"{quote(netns)} is no name for a namespace", "use letters, digits, - and _, 32 at most")
        if netns in topology.namespaces[:index]:
            fail(path, f"{quote(netns)} appears twice", "remove one of the two")
    if not topology.namespaces:
        fail("topology.namespaces", "a topology has at least one namespace")
    taken: set[tuple[str, str]] = set()
    for index, link in enumerate(topology.links):
        for side, end in (("a", link.a), ("b", link.b)):
            path = f"topology.links[{index}].{side}"
            _check_end(topology, end, path)
            if (end.netns, end.device) in taken:
                fail(f"{path}.device", f"{end.netns} already has a device {quote(end.device)}", "choose another name")
            taken.add((end.netns, end.device))
    _check_addresses_unique(topology)
    for index, netns in enumerate(topology.forwarding):
        _check_netns(topology, netns, f"topology.forwarding[{index}]")
    for index, route in enumerate(topology.routes):
        _check_route(topology, route, f"topology.routes[{index}]")


def _check_end(topology: Topology, end: End, path: str) -> None:
    _check_netns(topology, end.netns, f"{path}.netns")
    if not _DEVICE.fullmatch(end.device) or end.device in (LOOPBACK, "all", "default"):
        mend = "use letters, digits, . - and _, 15 at most; lo is taken"
        fail(f"{path}.device", f"{quote(end.device)} is no name for a veth device", mend)
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
    holders: dict[str, str] = {}
    for index, link in enumerate(topology.links):
        for side, end in (("a", link.a), ("b", link.b)):
            for position, address in enumerate(end.addresses):
                path = f"topology.links[{index}].{side}.addresses[{position}]"
                found = str(ip_interface(address).ip)
                if found in holders:
                    fail(path, f"{found} is already the address at {holders[found]}", "give every device an address of its own")
                holders[found] = path


def _check_route(topology: Topology, route: Route, path: str) -> None:
    _check_netns(topology, route.netns, f"{path}.netns")
    try:
        network = ip_network(route.destination)
    except ValueError:
        mend = 'write it like "10.0.2.0/24", host bits zero, or "0.0.0.0/0"'
        fail(f"{path}.destination", f"{quote(route.destination)} is no network", mend)
    try:
        via = ip_address(route.via)
    except ValueError:
        fail(f"{path}.via", f"{quote(route.via)} is no address", 'write it like "10.0.1.1"')
    neighbours = [str(ip_interface(own).ip) for end in topology.ends(route.netns)
                  for own in topology.peer(end.netns, end.device).addresses]
    if via.version != network.version or str(via) not in neighbours:
        problem = f"{route.via} is no IPv{network.version} address at the other end of a link of {route.netns}"
        fail(f"{path}.via", problem, suggest(route.via, neighbours, what="neighbours"))
