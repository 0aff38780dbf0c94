"""The ground that scenarios stand on: a topology that is built, with the module and the sockets in each namespace, and kept.

Building namespaces takes longer than most scenarios. A scenario whose steps leave nothing that the module cannot take away leaves
its ground to the next one of the same topology; what it stood on is looked at again before that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, replace
from typing import TypeVar

from harness.errors import GuestError
from harness.guest import first
from harness.guest.arrays import Arrays, all_arrays
from harness.guest.module import HookModule
from harness.guest.nfnetlink_hook import HookList
from harness.guest.senders import Senders
from harness.guest.topology import Network, built
from harness.guest.traffic import Sinks
from harness.scenario.addresses import ip_interface
from harness.scenario.step import Scenario, Step
from harness.scenario.topology import Bridge, Topology, VethEnd, Vlan

__all__ = ("Ground", "Grounds", "without_idle_addresses")

_KEPT = 8

T = TypeVar("T", VethEnd, Vlan, Bridge)


@dataclass(frozen=True, slots=True)
class Ground:
    """A topology that stands, with the module and the sockets in each namespace.

    :param lists: the kernel's own lists of hooks, by namespace; none if it has none
    :param before: the arrays of every namespace that were not empty when it was built
    """

    network: Network
    modules: dict[str, HookModule]
    lists: dict[str, HookList]
    sinks: Sinks
    senders: Senders
    before: Arrays
    stack: ExitStack

    def clear(self) -> None:
        """Take away every hook of ours, and what waits in the sockets."""
        for module in self.modules.values():
            module.flush()
        self.sinks.forget()


class Grounds:
    """The grounds that are kept, the one that was used last at the end. A context: afterwards nothing of any is left."""

    def __init__(self) -> None:
        self._kept: dict[Topology, Ground] = {}

    def __enter__(self) -> Grounds:
        return self

    def __exit__(self, *_: object) -> None:
        while self._kept:
            self._kept.popitem()[1].stack.close()

    @contextmanager
    def borrowed(self, topology: Topology, *, keep: bool) -> Iterator[Ground]:
        """A topology's ground, as it was when it was built.

        :param keep: whether :meth:`Ground.clear` is all that it needs to be so again
        :raises GuestError: it does not come up; or it was used before, and something is left there
        """
        ground = self._kept.pop(topology, None)
        if ground is None:
            if topology.bridges:  # br_netfilter puts its hooks into every namespace with a bridge when it is loaded, and takes them out
                self._give_up(lambda other: bool(other.bridges))
            if topology.first:
                self._give_up(lambda other: other.first is not None)
            ground = _build(topology)
        else:
            with _closed_on_error(ground):
                _verify(ground)
        with _closed_on_error(ground):
            yield ground
            if keep:
                ground.clear()
        if not keep:
            ground.stack.close()
            return
        self._kept[topology] = ground
        if len(self._kept) > _KEPT:
            self._kept.pop(next(iter(self._kept))).stack.close()

    def _give_up(self, those: Callable[[Topology], bool]) -> None:
        """Grounds that another one cannot stand beside."""
        for topology in list(filter(those, self._kept)):
            self._kept.pop(topology).stack.close()


@contextmanager
def _closed_on_error(ground: Ground) -> Iterator[None]:
    try:
        yield
    except BaseException:
        ground.stack.close()
        raise


def without_idle_addresses(scenario: Scenario) -> Scenario:
    """The scenario without the addresses that no packet of it needs: IPv6 alone would chatter across the hook points."""
    versions = {version for step in scenario.steps for version in step.traffic.versions}

    def trimmed(one: T) -> T:
        return replace(one, addresses=tuple(text for text in one.addresses if ip_interface(text).version in versions))

    topology = scenario.topology
    links = tuple(replace(link, a=trimmed(link.a), b=trimmed(link.b)) for link in topology.links)
    routes = tuple(route for route in topology.routes if ip_interface(route.via).version in versions)
    steps = tuple(replace(step, **{name: trimmed(end) for name, end in _ends(step)}) for step in scenario.steps)
    trimmed_topology = replace(topology, links=links, routes=routes, vlans=tuple(map(trimmed, topology.vlans)),
                               bridges=tuple(map(trimmed, topology.bridges)))
    return replace(scenario, topology=trimmed_topology, steps=steps)


def _ends(step: Step) -> Iterator[tuple[str, VethEnd]]:
    """Devices that a step brings, by the name that each has in the step."""
    for field in fields(step):
        value = getattr(step, field.name)
        if isinstance(value, VethEnd):
            yield field.name, value


def _build(topology: Topology) -> Ground:
    with ExitStack() as stack:
        network = stack.enter_context(built(topology))
        sinks = stack.enter_context(Sinks())
        senders = stack.enter_context(Senders())
        modules: dict[str, HookModule] = {}
        lists: dict[str, HookList] = {}
        stack.callback(_close, modules)
        stack.callback(_close, lists)
        for name, namespace in network.namespaces.items():
            modules[name] = HookModule(namespace)
            lists[name] = HookList(namespace)
        if topology.first:  # which does not die with what is in it
            stack.callback(first.emptied, modules[topology.first])
        if not next(iter(lists.values())).available():
            _close(lists)
            lists.clear()
        return Ground(network, modules, lists, sinks, senders, _not_empty(network, modules), stack.pop_all())


def _close(sockets: Mapping[str, HookModule | HookList]) -> None:
    for one in sockets.values():
        one.close()


def _not_empty(network: Network, modules: dict[str, HookModule]) -> Arrays:
    return tuple(sorted(array for name, module in modules.items() for array in all_arrays(module, network, name, {})))


def _verify(ground: Ground) -> None:
    """Look whether a topology is as it was when it was built.

    :raises GuestError: something is left of an earlier scenario
    """
    before, now = dict(ground.before), dict(_not_empty(ground.network, ground.modules))
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            hooks = ", ".join(slot.function for slot in now.get(key, ())) or "none"
            raise GuestError(f"an earlier scenario has left {key} with other hooks than it found there: {hooks}",
                             hint="run each scenario on its own with 'nfharness run' to see which one does")
    for name, module in ground.modules.items():
        if module.hooks():
            raise GuestError(f"an earlier scenario has left hooks in {name}")
