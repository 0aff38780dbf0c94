"""What a kind of step is, and what a scenario is made of.

A kind is one class in ``harness/scenario/steps/CONCERN.py``: its data, its JSON form, its sense check and its facts. What the step does is
a function of the kind's name (``raw-insert``: ``raw_insert``) in the file of the same concern in ``model/steps`` and in ``guest/steps``;
``explore/steps`` draws it. No other place lists the kinds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import Enum, auto
from importlib import import_module
from typing import Any, ClassVar, Literal, Protocol

from harness.netfilter import Family
from harness.scenario.reader import Value
from harness.scenario.scope import Scope
from harness.scenario.topology import Topology

__all__ = (
    "COMMON", "DRAWN", "KINDS", "Allocates", "Facts", "Known", "Point", "Scenario", "Sink", "Step", "Traffic", "arrays", "by_kind",
    "changed", "flushed", "lost_devices", "no_packets", "no_rules", "no_sinks", "none_wait", "nothing", "nowhere", "same_topology", "stays",
    "topologies", "unless_failing",
)


class Point(Protocol):
    """A hook point, as a hook names it.

    :ivar device_netns: the namespace of *device* if that is another one
    """

    @property
    def netns(self) -> str: ...
    @property
    def pf(self) -> Family: ...
    @property
    def hook(self) -> str: ...
    @property
    def device(self) -> str | None: ...
    @property
    def device_netns(self) -> str | None: ...


class Known(Protocol):
    """What an executor knows of earlier steps, by the ids of their hooks."""

    @property
    def registers(self) -> Mapping[str, Point]: ...
    @property
    def batches(self) -> Mapping[str, Sequence[Point]]: ...
    @property
    def links(self) -> Mapping[str, tuple[Any, Any]]: ...


class Allocates(Enum):
    """Allocations of core's in a step, which its key ``fail`` can make fail."""

    NOTHING = auto()
    ARRAYS = auto()
    NAMESPACE = auto()
    """One allocation, for the namespace that comes."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Packets that a step sends.

    :param cookie: of the one packet whose walk is shown; ``None`` if there is no such packet
    :param versions: of IP that the namespaces must have addresses of
    """

    cookie: int | None
    versions: frozenset[int]


@dataclass(frozen=True, slots=True)
class Sink:
    """A socket that packets are meant to end in: without it the kernel answers with an error.

    :param port: 0 for echo
    """

    netns: str
    kind: Literal["udp", "echo"]
    version: Literal[4, 6]
    port: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the rooms ask about a kind. No fact has a default: a kind without one of them is an error when its module is imported.

    :param flushed: whether ``HOOK_FLUSH`` and the end of its listeners and links leave a namespace as the step found it; if not, the
        scenario has its own namespaces
    :param touches: hooks at whose points the step is about to work
    :param allocates: allocations of core's that can fail
    :param sends: packets
    :param sinks: sockets that packets of the scenario need because of the step
    :param queues: families whose packets may wait for a listener because of the step
    :param redirects: whether ports of later packets change on their way
    :param needs: probes (``PROBES`` in ``harness/conformance/rule.py``) that must say yes for the step to be done at all; not those that
        the model reads, which predicts a refusal
    :param rules: namespaces in which the step leaves a ruleset
    :param modules: whether kernel modules come or go, which are put back after the scenario
    :param baseline: whether the step tells what has changed since before the first step: ``guest/steps`` then has a function
        ``NAME_baseline(run)``, called before the first step
    :param leaves: the topology that the step leaves behind
    :param not_drawn: why ``explore`` does not draw it; empty if it does
    """

    flushed: Callable[[Any], bool]
    touches: Callable[[Any, Known], Iterable[Point]]
    allocates: Callable[[Any], Allocates]
    sends: Callable[[Any], Traffic]
    sinks: Callable[[Any, Topology], Iterable[Sink]]
    queues: Callable[[Any], Iterable[Family]]
    redirects: bool
    needs: tuple[str, ...]
    rules: Callable[[Any], Iterable[str]]
    modules: bool
    baseline: bool
    leaves: Callable[[Any, Topology], Topology]
    not_drawn: str


#: Every kind of step by its name in JSON; complete once :mod:`harness.scenario.steps` is imported.
KINDS: dict[str, type[Step]] = {}


#: Data whose name means the same in every kind that has it (:class:`Step` says what): the types that it may have, and what a kind without
#: it answers.
COMMON: Mapping[str, tuple[tuple[str, ...], Any]] = {
    "cookie": (("int", "int | None"), None),
    "device": (("str", "str | None"), None),
    "fail": (("tuple[int, ...]",), ()),
    "id": (("str",), None),
    "netns": (("str",), None),
    "priority": (("int",), 0),
}


@dataclass(frozen=True, slots=True)
class Step:
    """Base of every kind.

    Rooms ask any step for the data in :data:`COMMON`, so a kind uses these names for nothing else:

    * ``cookie``: of the packet that the step sends; in a kind that sends none, of the packet that it waits for, which ``explore`` takes
      away with that packet
    * ``device``: a device's name in ``netns``; shrinking leaves it as it is
    * ``fail``: allocations of core's that the executors make fail in the step, by number from 0; only with the fact ``allocates``
    * ``id``: of a hook, in its own namespace's module, where a kind has no ``netns``
    * ``netns``: the namespace in which the step works, whose module lets its allocations fail
    * ``priority``: a hook's; shrinking makes all that are equal 0 together

    :cvar do: the kind's name in JSON
    :cvar concern: name of the file that the kind has in each room
    """

    do: ClassVar[str]
    facts: ClassVar[Facts]
    concern: ClassVar[str]

    def __init_subclass__(cls) -> None:
        """Look whether a kind of step has a name and all its facts, and data in the sense of :data:`COMMON`.

        :raises TypeError: the kind lacks something, has the name of another one, or data of another type than its name says
        """
        for name in ("do", "facts", "read", "write", "check"):
            if name not in cls.__dict__:
                raise TypeError(f"{cls.__module__}.{cls.__qualname__} has no {name!r}: see harness.scenario.step")
        for name, annotation in cls.__annotations__.items():
            if name in COMMON and annotation not in COMMON[name][0]:
                raise TypeError(f"{cls.__qualname__}.{name} is {annotation}, and {name!r} is {' or '.join(COMMON[name][0])} in every kind")
        other = KINDS.get(cls.do, cls)  # a dataclass with slots is made twice
        if (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(f"{cls.__qualname__} and {other.__qualname__} are both the step {cls.do!r}")
        cls.concern = cls.__module__.rpartition(".")[2]
        KINDS[cls.do] = cls

    @classmethod
    def read(cls, value: Value) -> Step:
        """A step from its JSON.

        :raises UserError: with the path of what is wrong
        """
        raise NotImplementedError

    def write(self) -> dict[str, Any]:
        """The keys of its JSON beside ``do``; one that is ``None`` is left out."""
        raise NotImplementedError

    def check(self, scope: Scope, path: str) -> None:
        """Note in *scope* what the step brings about, but for the topology that it leaves (the fact ``leaves``).

        :raises UserError: with the path of what makes no sense after the steps before it
        """
        raise NotImplementedError

    def common(self, name: str) -> Any:
        """The step's data of that name, or what :data:`COMMON` has for a kind without it.

        :raises KeyError: the name means nothing in particular
        """
        return getattr(self, name, COMMON[name][1])

    @property
    def traffic(self) -> Traffic:
        return self.facts.sends(self)

    def after(self, topology: Topology) -> Topology:
        """The topology that the step leaves behind."""
        return self.facts.leaves(self, topology)


@dataclass(frozen=True, slots=True)
class Scenario:
    """Steps on a topology, one after the other.

    :param summary: one line for a list
    """

    name: str
    summary: str
    topology: Topology
    steps: tuple[Step, ...]


DRAWN = ""
"""``not_drawn`` of a kind that is drawn."""


def flushed(_step: Step) -> bool:
    """``flushed`` of a kind whose namespaces can always be another scenario's afterwards."""
    return True


def unless_failing(step: Step) -> bool:
    """``flushed`` of a kind with ``fail``: a shrink that fails leaves a dummy, which stays until another owner's hook comes or goes.
    """
    return not step.common("fail")


def stays(_step: Step) -> bool:
    """``flushed`` of a kind that leaves something in its namespaces."""
    return False


def nowhere(_step: Step, _known: Known) -> tuple[Point, ...]:
    """``touches`` of a kind that works at no hook point."""
    return ()


def nothing(_step: Step) -> Allocates:
    """``allocates`` of a kind without allocations that can fail."""
    return Allocates.NOTHING


def arrays(_step: Step) -> Allocates:
    """``allocates`` of a kind with which arrays of hooks come."""
    return Allocates.ARRAYS


def no_packets(_step: Step) -> Traffic:
    """``sends`` of a kind that sends none."""
    return Traffic(None, frozenset())


def no_sinks(_step: Step, _topology: Topology) -> tuple[Sink, ...]:
    """``sinks`` of a kind that needs none."""
    return ()


def none_wait(_step: Step) -> tuple[Family, ...]:
    """``queues`` of a kind that makes no packet wait."""
    return ()


def no_rules(_step: Step) -> tuple[str, ...]:
    """``rules`` of a kind that leaves no ruleset."""
    return ()


def same_topology(_step: Step, topology: Topology) -> Topology:
    """``leaves`` of a kind that leaves the topology as it is."""
    return topology


def by_kind(package: str, suffix: str = "", meant: Callable[[Facts], bool] = lambda _facts: True) -> dict[type[Step], Any]:
    """The function of its name in the module of its concern, for each kind.

    :param package: a room's ``steps``
    :param suffix: of the function's name
    :param meant: kinds with which facts have one
    :raises ImportError: a module or a function is missing
    """
    found = {}
    for kind in [kind for kind in KINDS.values() if meant(kind.facts)]:
        module, name = import_module(f"{package}.{kind.concern}"), kind.do.replace("-", "_") + suffix
        if not hasattr(module, name):
            raise ImportError(f"{module.__name__} has no function {name}, which does the step {kind.do!r}")
        found[kind] = getattr(module, name)
    return found


def changed(step: Step, change: Callable[[Step], Step]) -> Step:
    """The step after a change, which the steps that it is made of have gone through before: the hooks of a batch."""
    parts: dict[str, Any] = {}
    for field in fields(step):
        value = getattr(step, field.name)
        if isinstance(value, Step):
            parts[field.name] = changed(value, change)
        elif isinstance(value, tuple):
            parts[field.name] = tuple(changed(one, change) if isinstance(one, Step) else one for one in value)
    return change(replace(step, **parts))


def topologies(topology: Topology, steps: Iterable[Step]) -> tuple[Topology, ...]:
    """What each step finds, and at the end what is left."""
    found = [topology]
    for step in steps:
        found.append(step.after(found[-1]))
    return tuple(found)


def lost_devices(before: Topology, step: Step) -> tuple[tuple[str, str], ...]:
    """Namespace and name of the devices whose hooks a step takes along."""
    left = step.after(before)
    names = [(netns, device) for netns in before.namespaces for device in before.devices(netns)]
    return tuple((netns, device) for netns, device in names if netns not in left.namespaces or device not in left.devices(netns))
