"""A rule: one promise of ``net/netfilter/core.c``, with the scripts that prove it on a kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any

from harness.conformance.expect import Answered, Crosses, Expectation, unmet
from harness.errors import UserError
from harness.model.foreign import Foreign
from harness.model.predict import predict
from harness.netfilter import Family
from harness.outcome.diff import Difference
from harness.outcome.profile import KernelProfile
from harness.outcome.types import Outcome
from harness.scenario.check import check
from harness.scenario.step import Scenario, Step
from harness.scenario.topology import PAIR, Topology

__all__ = ("FORKS", "PROBES", "Noting", "Rule", "Script", "by_id", "script")

#: What a rule may need of a kernel, by the name of what was probed.
PROBES: dict[str, Callable[[KernelProfile], bool]] = {
    "arp": lambda profile: Family.ARP in profile.families,
    "drop_reasons": lambda profile: profile.drop_reasons,
    "failing_allocations": lambda profile: profile.failing_allocations,
    "bpf_link": lambda profile: profile.bpf_link,
    "br_netfilter": lambda profile: profile.br_netfilter,
    "bridge": lambda profile: Family.BRIDGE in profile.families and profile.bridge,
    "inet_ingress": lambda profile: profile.inet_ingress,
    "netdev": lambda profile: Family.NETDEV in profile.families,
    "netdev_absent": lambda profile: Family.NETDEV not in profile.families,
    "netdev_egress": lambda profile: profile.netdev_egress,
    "netdev_egress_absent": lambda profile: not profile.netdev_egress,
    "reinject_silent": lambda profile: not profile.reinject_warns,
    "reinject_warns": lambda profile: profile.reinject_warns == "net/netfilter/nf_queue.c",
    "hooks_validated": lambda profile: profile.hooks_validated,
    "orphans_warn": lambda profile: profile.orphans_warn,
    "static_keys": lambda profile: profile.static_keys,
    "stolen_errno": lambda profile: profile.stolen_errno,
    "unknown_verdict_warns": lambda profile: profile.unknown_verdict_warns,
    "conntrack_glue": lambda profile: profile.conntrack_glue,
    "ct_closing": lambda profile: profile.ct_closing,
    "conntrack_module": lambda profile: profile.conntrack_module,
    "redirect": lambda profile: profile.redirect,
    "tee": lambda profile: profile.tee,
    "unknown_verdict_silent": lambda profile: not profile.unknown_verdict_warns,
    "veth_gro": lambda profile: profile.veth_gro,
    "veth_segments": lambda profile: not profile.veth_udp_gso,
    "veth_udp_gso": lambda profile: profile.veth_udp_gso,
    "vlan": lambda profile: profile.vlan,
}

#: Those of what kernels do otherwise, rather than not at all: a scenario about it can be run, and predicted, where they say no.
FORKS = frozenset({
    "drop_reasons", "inet_ingress", "netdev_egress", "netdev_egress_absent", "reinject_silent", "reinject_warns", "stolen_errno",
    "unknown_verdict_silent", "unknown_verdict_warns",
})

#: Of those to which :class:`KernelProfile`'s own defaults, a current kernel, say no: what of a profile makes them say yes.
_OTHERWISE: dict[str, dict[str, Any]] = {
    "netdev_absent": {"families": tuple(family for family in Family if family is not Family.NETDEV), "inet_ingress": False},
    "netdev_egress_absent": {"netdev_egress": False},
    "reinject_warns": {"reinject_warns": "net/netfilter/nf_queue.c"},
    "unknown_verdict_silent": {"unknown_verdict_warns": False},
    "veth_segments": {"veth_udp_gso": False},
}


class Noting(KernelProfile):
    """A profile that notes which of its fields are read.

    :ivar noted: their names
    """

    noted: set[str]

    def __init__(self, profile: KernelProfile) -> None:
        super().__init__(**{one.name: getattr(profile, one.name) for one in fields(profile)})
        object.__setattr__(self, "noted", set())

    def __getattribute__(self, name: str) -> Any:
        if name in KernelProfile.__match_args__:
            object.__getattribute__(self, "noted").add(name)
        return object.__getattribute__(self, name)


@dataclass(frozen=True, slots=True)
class Script:
    """A scenario, and what is expected of it beyond agreement with the model.

    :param expected: by the number of the step
    :param foreign: hooks that its rulesets bring, for a prediction where there is no kernel to see them on
    """

    scenario: Scenario
    expected: tuple[tuple[int, Expectation], ...]
    foreign: Foreign = field(default_factory=Foreign)

    def unmet(self, outcome: Outcome) -> Iterator[Difference]:
        """The differences between an outcome, observed or predicted, and what is expected."""
        for number, expectation in self.expected:
            yield from unmet(number, self.scenario.steps[number], expectation, outcome)


def script(name: str, *lines: Step | Expectation, topology: Topology = PAIR, foreign: Foreign | None = None) -> Script:
    """A script from its lines: steps, and after each what is expected of it.

    :raises ValueError: an expectation before the first step, or one of packets after a step that sends none
    :raises UserError: the steps make no scenario
    """
    steps: list[Step] = []
    expected: list[tuple[int, Expectation]] = []
    for line in lines:
        if isinstance(line, Step):
            steps.append(line)
        elif not steps or (isinstance(line, Crosses | Answered) and steps[-1].traffic.cookie is None):
            raise ValueError(f"{name}: no step to expect {line} of")
        else:
            expected.append((len(steps) - 1, line))
    scenario = Scenario(name, "", topology, tuple(steps))
    try:
        check(scenario)
    except UserError as error:
        raise UserError(f"{name}: {error.message}", hint=error.hint) from error
    return Script(scenario, tuple(expected), foreign or Foreign())


@dataclass(frozen=True, slots=True)
class Rule:
    """A promise of core.c and what proves it.

    :param id: ``order.ascending``: what it is about, and what it says
    :param sentence: the promise
    :param scripts: each must be kept; run one after the other, in their own namespaces
    :param needs: those of :data:`PROBES` that must say yes for the rule to apply
    """

    id: str
    sentence: str
    scripts: tuple[Script, ...]
    needs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = set(self.needs) - PROBES.keys()
        if unknown or not self.scripts:
            raise ValueError(f"{self.id}: {'unknown probes ' + ', '.join(sorted(unknown)) if unknown else 'no script'}")

    @property
    def profile(self) -> KernelProfile:
        """The profile of a kernel to which the rule applies, as current as can be: for a prediction where there is no kernel."""
        return KernelProfile(**{name: value for need in self.needs for name, value in _OTHERWISE.get(need, {}).items()})

    def reads(self) -> frozenset[str]:
        """Fields of the profile that decide whether the rule applies, or what the model predicts of its scripts."""
        noting = Noting(self.profile)
        self.lacking(noting)
        for one in self.scripts:
            predict(one.scenario, noting, one.foreign)
        return frozenset(noting.noted)

    def lacking(self, profile: KernelProfile) -> str | None:
        """The first probe that says that the rule does not apply; ``None`` if it does."""
        return next((need for need in self.needs if not PROBES[need](profile)), None)

    def either_way(self) -> Rule:
        """The rule's scripts for kernels that have gone either way at a fork: what they are expected to do is the model's to say.

        The rule as it is, if it has a ruleset: nft refuses that where the kernel lacks what is in it.
        """
        if any(step.facts.rules(step) for one in self.scripts for step in one.scenario.steps):
            return self
        return replace(self, scripts=tuple(replace(one, expected=()) for one in self.scripts),
                       needs=tuple(need for need in self.needs if need not in FORKS))


def by_id(rules: Iterable[Rule]) -> dict[str, Rule]:
    """Rules by their ids, in their order.

    :raises ValueError: two rules have the same id, or two scripts the same name
    """
    found: dict[str, Rule] = {}
    scripts: dict[str, str] = {}
    for rule in rules:
        if rule.id in found:
            raise ValueError(f"two rules have the id {rule.id!r}")
        found[rule.id] = rule
        for name in (one.scenario.name for one in rule.scripts):
            if name in scripts:
                raise ValueError(f"a script of {scripts[name]!r} and one of {rule.id!r} are both called {name!r}")
            scripts[name] = rule.id
    return found
