"""What holds at every hook point: rules whose scripts are made from the list of points, so that none of them is left out.

``nf_hook_entry_head`` (l.266-312) finds another array for each of them; everything behind it is the same code.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.conformance.expect import Array, At, Crosses, Expectation, Finds, Queue, Returns, Splats
from harness.conformance.queue import queue_to
from harness.conformance.rule import Rule, script
from harness.netfilter import HOOK_POINTS, PRIORITY_MAX, PRIORITY_MIN, Family, VerdictKind, hook_number
from harness.outcome.types import NF_REINJECT
from harness.scenario.step import Step
from harness.scenario.steps.batches import RegisterBatch, UnregisterAbsent, UnregisterBatch
from harness.scenario.steps.hooks import Register
from harness.scenario.steps.namespaces import Keys
from harness.scenario.steps.packets import Send
from harness.scenario.steps.queue import Answer, Listen

__all__ = ("RULES",)

Line = Step | Expectation


def _lines(*lines: Line) -> tuple[Line, ...]:
    """Steps and expectations as they are: of different types they would be a tuple of objects to a type checker."""
    return lines


_V4, _INET, _NETDEV = Family.IPV4, Family.INET, Family.NETDEV
_QUEUES = ("host", _V4, "INPUT")
_PRIORITIES = (PRIORITY_MIN, -450, -400, -300, -225, -200, -175, -150, -100, 0, 50, 100, 200, 225, 300, PRIORITY_MAX)
"""Those that the kernel has names for: ``enum nf_ip_hook_priorities``, ``enum nf_br_hook_priorities`` and what stands between them."""


@dataclass(frozen=True, slots=True)
class NamedPoint:
    """A point of the namespace ``host``; a device's has the device."""

    pf: Family
    hook: str
    device: str | None = None

    def __str__(self) -> str:
        return "-".join(filter(None, (self.pf.name, self.hook, self.device)))

    def register(self, name: str, priority: int = 0, **more: Any) -> Register:
        """A hook called ``IPV4-INPUT-name``."""
        return Register(f"{self}-{name}", "host", self.pf, self.hook, priority, device=self.device, **more)

    def array(self, *names: str) -> Array:
        """Expect these hooks of :meth:`register` and the one that queues, which is the last one where it stands."""
        hooks = [name if name == "dummy" else f"{self}-{name}" for name in names]
        queues = ["q"] if (self.pf, self.hook) == _QUEUES[1:] else []
        return Array("host", _NETDEV if self.device else self.pf, self.hook, " ".join(hooks + queues), self.device)


@dataclass(frozen=True, slots=True)
class Group:
    """Points that the same kernels have.

    :param name: behind the name of a rule
    :param where: in its sentence
    """

    name: str
    where: str
    points: tuple[NamedPoint, ...]
    needs: tuple[str, ...]

    @property
    def counts(self) -> dict[str, int]:
        """What the static keys say if each point has one hook."""
        found: dict[str, int] = {}
        for point in self.points:
            names = [f"NETDEV {point.hook}", f"{point.hook.lower()}_needed_key"] if point.device else [f"{point.pf.name} {point.hook}"]
            for name in names:
                found[name] = found.get(name, 0) + 1
        return found


_DEVICES = ("eth0", "lo")
GROUPS = (
    Group("every-point", "At each point of IPV4, IPV6, ARP and BRIDGE, and at each device's INGRESS",
          (*(NamedPoint(_NETDEV, "INGRESS", device) for device in _DEVICES),
           *(NamedPoint(pf, hook) for pf in (_V4, Family.IPV6, Family.ARP, Family.BRIDGE) for hook in HOOK_POINTS[pf]
             if hook != "BROUTING")),
          ("netdev", "arp", "bridge")),
    Group("every-egress", "At each device's EGRESS, and at its INGRESS for NFPROTO_INET",
          (*(NamedPoint(_NETDEV, "EGRESS", device) for device in _DEVICES), *(NamedPoint(_INET, "INGRESS", device) for device in _DEVICES)),
          ("netdev", "netdev_egress", "inet_ingress")),
)


def _rules(promise: str, sentence: str, lines: Callable[[Group], Iterable[Line]], *needs: str) -> Iterator[Rule]:
    """A rule for each group of points.

    :param promise: the first part of its id
    :param sentence: goes on from :attr:`Group.where`
    """
    for group in GROUPS:
        name = f"{promise}-{group.name}"
        yield Rule(name, f"{group.where} {sentence}", (script(name, *lines(group)),), needs=(*group.needs, *needs))


def _waiting(lines: Iterable[Line], *, freed: bool) -> Iterator[Line]:
    """A packet waits meanwhile, at the end of IPV4's INPUT.

    :param freed: by *lines*; its listener drops it otherwise
    """
    yield Listen("host", 7)
    yield Register("q", *_QUEUES, PRIORITY_MAX, queue_to(7), cookie=1)
    yield Send("peer", "host", cookie=1)
    yield Crosses((At("host", "INPUT", "q", 0), At("host", "INPUT", "", 0, loop=NF_REINJECT)), "dropped")
    yield from lines
    if not freed:
        yield Answer("host", 7, VerdictKind.DROP)
        yield Returns(0)


_WAITS, _GONE = Queue("host", 7, 1, 1), Queue("host", 7, 0, 1)


def _count(group: Group, each: int) -> Iterator[Line]:
    """The static keys, with so many hooks at each point."""
    counts = {name: count * each for name, count in group.counts.items()} if each else {}
    counts["IPV4 INPUT"] = counts.get("IPV4 INPUT", 0) + 1
    yield Keys()
    yield Finds.of(**counts)


def _refused(group: Group) -> Iterator[Line]:
    for point in group.points:
        yield point.register("none", fail=(0,))
        yield from _lines(Returns(errno.ENOMEM), point.array(), _WAITS)
    yield from _count(group, 0)
    for point in group.points:
        yield point.register("own")
        yield from _lines(Returns(0), point.array("own"), _WAITS)
        yield point.register("more", fail=(0,))
        yield from _lines(Returns(errno.ENOMEM), point.array("own"), _WAITS)
    yield from _count(group, 1)


def _missing(group: Group) -> Iterator[Line]:
    for point in group.points:
        yield point.register("own")
        yield UnregisterAbsent("host", point.pf, point.hook, point.device)
        yield Splats((f"hook not found, pf {point.pf:d} num {hook_number(point.pf, point.hook)}",))
        yield from _lines(point.array("own"), _WAITS)
    yield from _count(group, 1)


def _over_a_dummy(group: Group) -> Iterator[Line]:
    goes, stays = (RegisterBatch("host", tuple(point.register(name, priority) for point in group.points)) for name, priority in (
        ("goes", 0), ("stays", 1)))
    yield from _lines(goes, stays, UnregisterBatch(goes.hooks[0].id, fail=tuple(range(len(group.points)))))
    yield from _lines(Returns(0), *(point.array("dummy", "stays") for point in group.points), _WAITS)
    yield from _count(group, 1)
    for point in group.points:
        yield point.register("new", 1)
        yield from _lines(Returns(0), point.array("new", "stays"), _WAITS)
    yield from _count(group, 2)
    yield from _lines(UnregisterBatch(stays.hooks[0].id), *(point.array("new") for point in group.points), _GONE)
    yield from _count(group, 1)


def _batches(group: Group) -> Iterator[Line]:
    """One in the order of the points and one the other way round, so that each has each of the others behind it."""
    batches = [RegisterBatch("host", tuple(point.register(name) for point in points)) for name, points in (
        ("one", group.points), ("other", group.points[::-1]))]
    for names, batch in zip((("one",), ("other", "one")), batches, strict=True):
        yield from _lines(batch, Returns(0), *(point.array(*names) for point in group.points), _WAITS)
    yield from _count(group, 2)
    for names, batch in zip((("other",), ()), batches, strict=True):
        yield from _lines(UnregisterBatch(batch.hooks[0].id), Returns(0), *(point.array(*names) for point in group.points), Splats(), _GONE)
    yield from _count(group, 0)


def _named_priorities(group: Group) -> Iterator[Line]:
    """Every third priority, then those between them; once more the other way round."""
    mixed = [priority for first in range(3) for priority in _PRIORITIES[first::3]]
    for points in _families(group.points):
        yield RegisterBatch("host", tuple(point.register(f"{name}{priority}", priority) for name, order in (
            ("older", mixed), ("newer", mixed[::-1])) for priority in order for point in points))
        yield Returns(0)
        yield from (point.array(*(f"{name}{priority}" for priority in _PRIORITIES for name in ("newer", "older"))) for point in points)
        yield from _lines(Splats(), _WAITS)


def _families(points: Sequence[NamedPoint]) -> list[list[NamedPoint]]:
    return [[point for point in points if point.pf is pf] for pf in dict.fromkeys(point.pf for point in points)]


RULES = (
    *_rules("order.named-priorities", "hooks of equal priority run newest first, at each of the priorities that the kernel has names for.",
            lambda group: _waiting(_named_priorities(group), freed=False)),
    *_rules("grow.enomem", "a registration without memory is -ENOMEM: it counts nowhere, and leaves the array and what waits.",
            lambda group: _waiting(_refused(group), freed=False), "failing_allocations", "static_keys"),
    *_rules("grow.drops-dummies", "a registration leaves a dummy behind and counts as any; what waits goes with the next removal.",
            lambda group: _waiting(_over_a_dummy(group), freed=True), "failing_allocations", "static_keys"),
    *_rules("unregister.missing", "unregistering what is not there warns, and leaves the array, its count, and what waits.",
            lambda group: _waiting(_missing(group), freed=False), "static_keys"),
    *_rules("batch.unregister", "nf_unregister_net_hooks takes all of a batch out, whatever stands before it in the batch.",
            lambda group: _waiting(_batches(group), freed=True), "static_keys"),
)
