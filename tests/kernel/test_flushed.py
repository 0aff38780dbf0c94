"""The fact ``flushed`` of a kind of step, on a real kernel: namespaces that are kept for the next scenario are as they were built."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from harness.errors import GuestError
from harness.guest.executor import Executor
from harness.guest.ground import Ground, without_idle_addresses
from harness.guest.inventory import Inventory
from harness.guest.netns import Namespace
from harness.outcome import KernelProfile
from harness.pytest_plugin.kernel import RunningKernel
from harness.scenario.step import KINDS, Scenario, Step, flushed, stays
from tests.kernel.scripts import shortest

pytestmark = pytest.mark.usefixtures("nfharness_ko")

_NETWORK = Path("/proc/thread-self/net")
_BY_ITSELF = ("fdb_max", "nf_conntrack_count", "nf_conntrack_max")
"""Settings that the kernel changes."""


@pytest.fixture(scope="module")
def profile(kernel: RunningKernel) -> KernelProfile:
    return kernel.profile


def kept(scenario: Scenario) -> bool:
    """Whether the scenario leaves its namespaces to the next one."""
    return all(step.facts.flushed(step) for step in scenario.steps)


def kept_though_it_fails(kind: type[Step], scenario: Scenario) -> bool:
    """Whether it does so with a step of that kind in which an allocation fails."""
    return kept(scenario) and any(isinstance(step, kind) and step.common("fail") for step in scenario.steps)


def settings() -> set[str]:
    """Sysctls of the calling thread's namespace. An emulated guest's Python would take seconds to open the thousand files."""
    done = subprocess.run(["grep", "-rs", "", "/proc/sys/net"], stdout=subprocess.PIPE, text=True, check=False)  # some cannot be read
    return {line for line in done.stdout.splitlines() if line.partition(":")[0].rpartition("/")[2] not in _BY_ITSELF}


def standing(namespace: Namespace) -> set[str]:
    """What stands in a namespace: devices, addresses, routes, rules, neighbours, queueing disciplines, listeners, settings."""
    with namespace.inside():
        devices = {f"device {line.split(':')[0].strip()}" for line in (_NETWORK / "dev").read_text().splitlines()[2:]}
        queues = _NETWORK / "netfilter/nfnetlink_queue"
        listeners = {f"listener {line.split()[0]}" for line in queues.read_text().splitlines()} if queues.exists() else set()
        return {*devices, *listeners, *map(str, Inventory().read()), *settings()}


def left_by(scenarios: Iterable[Scenario]) -> dict[str, dict[str, set[str]]]:
    """What stands in namespaces after a scenario and did not before, or the other way round, by name and kinds of the scenario.

    :raises GuestError: the executor itself finds something left when it lends the namespaces again
    """
    found: dict[str, dict[str, set[str]]] = {}
    stood: dict[str, set[str]] = {}
    stands: Ground | None = None
    with Executor() as executor:
        for scenario in scenarios:
            topology = without_idle_addresses(scenario).topology
            with executor._grounds.borrowed(topology, keep=True) as ground:
                if ground is not stands:
                    stands, stood = ground, everywhere(ground)
            executor.execute(scenario)
            with executor._grounds.borrowed(topology, keep=True) as again:
                assert again is ground, f"{scenario.name} did not keep its namespaces"
                now = everywhere(again)
            if differs := {name: stood[name] ^ now[name] for name in stood if stood[name] != now[name]}:
                found[f"{scenario.name} ({', '.join(sorted({step.do for step in scenario.steps}))})"] = differs
            stood = now
    return found


def everywhere(ground: Ground) -> dict[str, set[str]]:
    return {name: standing(namespace) for name, namespace in ground.network.namespaces.items()}


@pytest.mark.may_warn(r"net/netfilter/(core|nf_queue)\.c|hook not found")
def test_kinds_that_say_flushed_leave_namespaces_as_they_found_them(profile: KernelProfile) -> None:
    chosen: list[Scenario] = []
    for kind in KINDS.values():
        if not any(isinstance(step, kind) for scenario in chosen for step in scenario.steps) and (one := shortest(kind, profile, kept)):
            chosen.append(one)
    chosen += [one for kind in KINDS.values() if (one := shortest(kind, profile, partial(kept_though_it_fails, kind)))]
    assert left_by(sorted(chosen, key=lambda one: without_idle_addresses(one).topology.name)) == {}


@pytest.mark.parametrize("do", ["sysctl", "device-add", "nft"])
def test_a_kind_that_says_flushed_and_is_not_is_noticed(do: str, profile: KernelProfile, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = KINDS[do]
    assert kind.facts.flushed is stays
    monkeypatch.setattr(kind, "facts", replace(kind.facts, flushed=flushed))
    scenario = shortest(kind, profile, kept)
    assert scenario is not None
    found: object
    try:
        found = left_by([scenario])
    except GuestError as error:
        found = error
    assert found
