"""The facts ``rules`` and ``sinks`` of a kind of step, on a real kernel: where rulesets are left, and what has to wait for packets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from harness.guest import steps
from harness.guest.executor import Executor
from harness.guest.genetlink import Netlink
from harness.guest.netns import Namespace
from harness.guest.run import Run
from harness.model import predict
from harness.outcome import KernelProfile, Outcome
from harness.outcome.types import StepOutcome
from harness.pytest_plugin.kernel import RunningKernel
from harness.scenario.step import KINDS, Scenario, Step, no_rules, no_sinks
from harness.scenario.steps.nat import Redirect
from harness.scenario.steps.packets import Send
from harness.scenario.topology import PAIR
from tests.kernel.scripts import shortest

pytestmark = [pytest.mark.usefixtures("nfharness_ko"), pytest.mark.may_warn(r"net/netfilter/(core|nf_queue)\.c|hook not found")]

_NETLINK_NETFILTER, _GET_TABLES = 12, 10 << 8 | 1
"""``NFNL_SUBSYS_NFTABLES``, ``NFT_MSG_GETTABLE``."""
_EVERY_FAMILY = bytes(4)
"""``struct nfgenmsg``."""

Ruled = dict[str, list[tuple[set[str], set[str]]]]
"""By kind: the namespaces in which a step left a ruleset, and those of which it says so."""


@pytest.fixture(scope="module")
def profile(kernel: RunningKernel) -> KernelProfile:
    return kernel.profile


@pytest.fixture
def executor(nfharness_ko: None) -> Iterator[Executor]:
    with Executor() as opened:
        yield opened


def tables(namespace: Namespace) -> set[bytes]:
    """nftables' tables in a namespace, as the kernel tells them: by name, handle and how many chains are in it."""
    with namespace.inside(), Netlink(_NETLINK_NETFILTER) as netlink:
        return set(netlink.dump_bodies(_GET_TABLES, _EVERY_FAMILY))


def ruled(executor: Executor, scenarios: list[Scenario]) -> Ruled:
    """Run scenarios and look for rulesets before and after each step."""
    found: Ruled = defaultdict(list)

    def noting(run: Run, index: int, step: Step) -> StepOutcome:
        before = {name: tables(namespace) for name, namespace in run.network.namespaces.items()}
        outcome: StepOutcome = handlers[type(step)](run, index, step)
        came = {name for name, namespace in run.network.namespaces.items() if tables(namespace) - before.get(name, set())}
        found[step.do].append((came, set(step.facts.rules(step))))
        return outcome

    handlers: dict[type[Step], Any] = dict(steps.HANDLERS)
    with pytest.MonkeyPatch.context() as patch:
        for kind in handlers:
            patch.setitem(steps.HANDLERS, kind, noting)
        for scenario in scenarios:
            executor.execute(scenario)
    return found


def false(found: Ruled) -> dict[str, list[tuple[set[str], set[str]]]]:
    return {do: wrong for do, steps in found.items() if (wrong := [(came, said) for came, said in steps if came != said])}


@pytest.mark.slow
def test_a_kind_leaves_a_ruleset_where_it_says(executor: Executor, profile: KernelProfile) -> None:
    chosen: list[Scenario] = []
    for kind in KINDS.values():
        if not any(isinstance(step, kind) for scenario in chosen for step in scenario.steps) and (one := shortest(kind, profile)):
            chosen.append(one)
    found = ruled(executor, chosen)
    assert false(found) == {}
    assert {do for do, steps in found.items() if any(came for came, _ in steps)} == {"nft", "redirect", "track"}


@pytest.mark.parametrize(("do", "rules"), [("nft", no_rules), ("track", no_rules), ("tee", lambda step: (step.netns,))])
def test_a_wrong_namespace_of_a_ruleset_is_noticed(do: str, rules: Any, executor: Executor, profile: KernelProfile,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    kind = KINDS[do]
    monkeypatch.setattr(kind, "facts", replace(kind.facts, rules=rules))
    scenario = shortest(kind, profile)
    assert scenario is not None
    assert do in false(ruled(executor, [scenario]))


def delivered(outcome: Outcome) -> list[bool]:
    """Whether each packet with a cookie was taken. The kernel's answer to one that nobody takes carries its cookie, too."""
    return [packet.fate.kind == "delivered" for packet in outcome.packets if packet.cookie is not None]


@pytest.mark.parametrize(("kind", "sent"), [
    (Send, (Send("peer", "host", 1),)),
    (Send, (Send("peer", "host", 1, kind="echo"),)),
    (Redirect, (Redirect("host", to=20), Send("peer", "host", 1))),
], ids=["datagram", "echo", "redirected"])
def test_packets_need_the_sinks_of_a_kind(kind: type[Step], sent: tuple[Step, ...], executor: Executor, profile: KernelProfile,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = Scenario("test", "", PAIR, sent)
    expected = delivered(predict(scenario, profile))
    assert all(expected)
    with monkeypatch.context() as patch:  # first: sockets stay open in namespaces that are kept for the next scenario
        patch.setattr(kind, "facts", replace(kind.facts, sinks=no_sinks))
        assert delivered(executor.execute(scenario)) != expected
    assert delivered(executor.execute(scenario)) == expected
