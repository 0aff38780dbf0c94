"""What a kind of step says of itself, its facts, is what the model does in the scripts of the rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from harness.conformance import RULES
from harness.conformance.rule import PROBES, Noting, Rule
from harness.model import steps as model
from harness.model.path import Packet, Stack, ip
from harness.model.predict import predict
from harness.model.run import Run
from harness.netfilter import Family, VerdictKind
from harness.outcome import KernelProfile, Outcome, Slot
from harness.outcome.types import StepOutcome
from harness.scenario.step import (
    KINDS,
    Allocates,
    Scenario,
    Sink,
    Step,
    no_sinks,
    none_wait,
    nowhere,
    same_topology,
    topologies,
)
from harness.scenario.steps.conntrack import KernelModule
from harness.scenario.steps.hooks import Register
from harness.scenario.steps.namespaces import AddDevice
from harness.scenario.steps.nat import Redirect
from harness.scenario.steps.packets import Send

_LARGE = 100
"""Steps with more hooks than this say nothing new."""

_SINKS = Send.facts.sinks
_EITHER = {Family.INET: {Family.IPV4, Family.IPV6, Family.NETDEV}}


@dataclass(frozen=True)
class Did:
    """What a step did in the model.

    :param outside: points whose arrays it changed, which ``touches`` does not name; less those that come or go with it
    :param allocated: how often it asked for memory
    :param modules: kernel modules that came or went
    :param redirected: whether a redirection came
    :param unlike: namespaces whose devices are not those of ``leaves``
    """

    step: Step
    outside: frozenset[str]
    allocated: int
    modules: frozenset[str]
    redirected: bool
    unlike: frozenset[str]


def arrays(run: Run) -> dict[str, tuple[Slot, ...]]:
    return dict(run._array(netns, point) for netns, point in run._all_points())


def noted(did: list[Did], handler: Callable[[Run, int, Any], StepOutcome]) -> Callable[[Run, int, Any], StepOutcome]:
    """The model's function for a kind, which notes what it does."""

    def noting(run: Run, index: int, step: Step) -> StepOutcome:
        touched = {key for point in step.facts.touches(step, run)
                   for key, _ in run.arrays(point.device_netns or point.netns, point.pf, point.hook, point.device)}
        before, modules, redirected, alloc = arrays(run), set(run.tracking.modules), len(run.nat.heads), run.core.alloc
        allocations: list[int] = []

        def noted_alloc(entries: int) -> bool:
            allocations.append(entries)
            return alloc(entries)

        run.core.alloc = noted_alloc
        outcome = handler(run, index, step)
        run.core.alloc = alloc
        now, left = arrays(run), run.topologies[index + 1]
        devices = {name: set(net.devices) for name, net in run.nets.items()}
        did.append(Did(step, frozenset(key for key in before.keys() & now.keys() if before[key] != now[key]) - touched, len(allocations),
                       frozenset(modules ^ run.tracking.modules), len(run.nat.heads) != redirected,
                       frozenset(name for name in devices.keys() | set(left.namespaces)
                                 if name not in left.namespaces or devices.get(name) != set(left.devices(name)))))
        return outcome

    return noting


Arrived = set[tuple[str, str, int, int]]
"""Where packets came to their end: namespace, "udp" or "echo", version of IP, port."""


@dataclass(frozen=True)
class Seen:
    """What the model did in scenarios.

    :param did: all that steps did
    :param queued: by scenario, the families in which our hooks made packets wait, and those that the steps name
    :param arrived: by scenario, where packets came to their end and where sinks wait for them; the sinks without a packet, if each packet
        was delivered to where it was sent
    """

    did: list[Did]
    queued: list[tuple[str, set[Family], set[Family]]]
    arrived: list[tuple[str, Arrived, Arrived, Arrived]]


def seen(only: type[Step] | None = None) -> Seen:
    """Run the rules' scripts through the model.

    :param only: a kind that a script must have
    """
    found, came = Seen([], [], []), list[tuple[str, Packet]]()

    def delivering(stack: Stack, netns: str, packet: Packet) -> int:
        came.append((netns, packet))
        return deliver(stack, netns, packet)

    deliver = ip.ip_local_deliver_finish
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ip, "ip_local_deliver_finish", delivering)
        for kind, handler in model.HANDLERS.items():
            patch.setitem(model.HANDLERS, kind, noted(found.did, handler))
        for rule in RULES.values():
            for one in rule.scripts:
                steps = one.scenario.steps
                if (only is None or any(isinstance(step, only) for step in steps)) and \
                        all(getattr(step, "count", 1) < _LARGE for step in steps):
                    named = {family for step in steps for pf in step.facts.queues(step) for family in (pf, *_EITHER.get(pf, ()))}
                    came.clear()
                    outcome = predict(one.scenario, rule.profile, one.foreign)
                    found.queued.append((one.scenario.name, waited(outcome), named))
                    found.arrived.append((one.scenario.name, *met(one.scenario, outcome, came)))
    return found


def met(scenario: Scenario, outcome: Outcome, came: list[tuple[str, Packet]]) -> tuple[Arrived, Arrived, Arrived]:
    """Where packets of the scenario's steps came to their end, and the sinks that the steps name: all of them, and the idle ones."""
    sinks = {(sink.netns, str(sink.kind), int(sink.version), sink.port)
             for step, topology in zip(scenario.steps, topologies(scenario.topology, scenario.steps), strict=False)
             for sink in step.facts.sinks(step, topology)}
    sent = {step.cookie: step for step in scenario.steps if isinstance(step, Send)}
    ends = set()
    for netns, packet in came:
        if packet.walk.delivered and packet.cookie in sent and packet.kind in ("udp", "echo request", "echo reply"):
            port = packet.ct.flow.port if packet.ct.flow else sent[packet.cookie].port
            version = 6 if packet.pf is Family.IPV6 else 4
            ends.add((netns, "udp", version, port) if packet.kind == "udp" else (netns, "echo", version, 0))
    whole = all(packet.fate.kind == "delivered" for packet in outcome.packets) and not any(step.facts.redirects for step in scenario.steps)
    return ends, sinks, sinks - ends if whole else set()


def waited(outcome: Outcome) -> set[Family]:
    """Families of the traversals in which a hook of ours said QUEUE."""
    return {traversal.pf for packet in outcome.packets for traversal in packet.traversals for call in traversal.calls
            if call.label is not None and call.verdict.kind is VerdictKind.QUEUE}


def false(found: Seen) -> set[str]:
    """Facts that what was seen contradicts, each with its kind."""
    wrong = set()
    for did in found.did:
        facts, step = did.step.facts, did.step
        foreign = facts.modules or facts.redirects or any(facts.rules(step))  # a ruleset brings its hooks and modules
        wrong |= {f"{step.do}: touches" for _ in did.outside if not foreign}
        wrong |= {f"{step.do}: modules" for _ in did.modules if not foreign}
        wrong |= {f"{step.do}: leaves" for _ in did.unlike}
        wrong |= {f"{step.do}: redirects"} if did.redirected and not facts.redirects else set()
    wrong |= {f"{name}: sinks" for name, ends, sinks, idle in found.arrived if idle or not ends <= sinks}
    return wrong | {f"{name}: queues" for name, families, named in found.queued if not families <= named}


@pytest.fixture(scope="module")
def everything() -> Seen:
    return seen()


def test_what_a_kind_says_of_itself_is_what_the_model_does(everything: Seen) -> None:
    assert false(everything) == set()


@pytest.mark.parametrize("do", [do for do, kind in KINDS.items() if "fail" in kind.__annotations__])
def test_a_kind_whose_allocations_can_fail_allocates(do: str, everything: Seen) -> None:
    asked = [did for did in everything.did if did.step.do == do and did.step.facts.allocates(did.step) is not Allocates.NOTHING]
    assert any(did.allocated for did in asked), f"no rule has a step {do!r} for which the model asks for memory"


@pytest.mark.parametrize(("kind", "wrong", "told"), [
    (Register, {"touches": nowhere}, "register: touches"),
    (Register, {"queues": none_wait}, ": queues"),
    (AddDevice, {"leaves": same_topology}, "device-add: leaves"),
    (KernelModule, {"modules": False}, ": modules"),
    (Redirect, {"redirects": False}, "redirect: redirects"),
    (Send, {"sinks": no_sinks}, ": sinks"),
    (Send, {"sinks": lambda step, topology: (*_SINKS(step, topology), Sink(step.source, "udp", 4, 10))}, ": sinks"),
    (Redirect, {"sinks": no_sinks}, "nat.order: sinks"),
], ids=["touches", "queues", "leaves", "modules", "redirects", "no-sinks", "one-more", "not-redirected"])
def test_a_wrong_fact_is_noticed(kind: type[Step], wrong: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kind, "facts", replace(kind.facts, **wrong))
    assert any(one.endswith(told) for one in false(seen(kind)))


def read(probe: str) -> frozenset[str]:
    """Fields of the profile that a probe is."""
    noting = Noting(KernelProfile())
    PROBES[probe](noting)
    return frozenset(noting.noted)


def unpredicted(kind: type[Step]) -> set[str]:
    """What all rules with the kind need, and no prediction of their scripts asks for: the model takes it for granted."""
    def has(rule: Rule) -> bool:
        return any(isinstance(step, kind) for one in rule.scripts for step in one.scenario.steps)

    needed: set[str] | None = None
    for rule in filter(has, RULES.values()):
        failing = any(step.common("fail") for one in rule.scripts for step in one.scenario.steps)
        noting = Noting(rule.profile)
        for one in rule.scripts:
            predict(one.scenario, noting, one.foreign)
        blind = {probe for probe in rule.needs if not read(probe) & noting.noted} - ({"failing_allocations"} if failing else set())
        needed = blind if needed is None else needed & blind
    return needed or set()


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_kind_needs_what_its_rules_need_and_the_model_does_not_know(kind: type[Step]) -> None:
    assert set(kind.facts.needs) == unpredicted(kind)
