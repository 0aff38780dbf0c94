"""The guest's first network namespace in scenarios: it is lent, and given back as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.guest import ground as grounds
from harness.guest.executor import Executor
from harness.guest.module import HookModule
from harness.guest.netns import DIRECTORY, current_inum, iproute
from harness.guest.topology import built
from harness.netfilter import Family
from harness.outcome import Outcome
from harness.scenario import Scenario, Step
from harness.scenario.steps.hooks import Register, Unregister
from harness.scenario.steps.namespaces import AddDevice, AddNetns, DeleteNetns
from harness.scenario.steps.packets import Send
from harness.scenario.steps.sysctl import Sysctl
from harness.scenario.topology import FIRST

pytestmark = pytest.mark.usefixtures("nfharness_ko")

V4 = Family.IPV4
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


def devices() -> dict[str, int]:
    """Each device of the first namespace with its flags."""
    with iproute() as routes:
        return {link.get_attr("IFLA_IFNAME"): link["flags"] & 1 for link in routes.get_links()}


@pytest.fixture
def executor() -> Iterator[Executor]:
    with Executor() as opened:
        yield opened


def ran(executor: Executor, *steps: Step) -> Outcome:
    return executor.execute(Scenario("test", "", FIRST, steps))


def test_the_named_host_is_the_namespace_that_was_there_first() -> None:
    with built(FIRST) as network:
        assert network.namespaces["host"].inum == current_inum()
        assert network.namespaces["peer"].inum != current_inum()
        assert "eth0" in devices()


def test_it_has_its_devices_and_settings_back_afterwards_and_no_name() -> None:
    before, forwarding = devices(), FORWARDING.read_text()
    with Executor() as executor:
        outcome = ran(executor, AddDevice("host", "own0"), Sysctl("host", "net.ipv4.ip_forward", 1), Send("peer", "host", 1))
        assert [step.errno for step in outcome.steps] == [0] * 4
    assert (devices(), FORWARDING.read_text()) == (before, forwarding)
    assert [path for path in DIRECTORY.iterdir() if path.name.endswith("-host")] == []


def test_a_dummy_that_a_failed_shrink_left_goes_before_the_next_scenario() -> None:
    with Executor() as executor:
        outcome = ran(executor, Register("goes", "host", V4, "INPUT"), Register("stays", "host", V4, "INPUT", 1),
                      Unregister("goes", fail=(0,)))
        assert [slot.dummy for slot in dict(outcome.steps[-1].slots)["host/IPV4/INPUT"]] == [True, False]
    with HookModule() as module:
        assert [slot.function for slots in module.all_slots().values() for slot in slots if slot.dummy or slot.hook_id] == []


def test_hooks_that_a_scenario_leaves_are_gone_when_the_executor_fails(monkeypatch: pytest.MonkeyPatch, executor: Executor) -> None:
    monkeypatch.setattr(grounds.Ground, "clear", lambda _ground: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        ran(executor, Register("left", "host", V4, "INPUT"))
    with HookModule() as module:
        assert module.hooks() == []


def test_scenarios_with_other_addresses_find_it_free(executor: Executor) -> None:
    for pf in (V4, Family.IPV6, V4):
        outcome = ran(executor, Register("in", "host", pf, "INPUT"), Send("peer", "host", 1, pf))
        (walk,) = [packet.traversals for packet in outcome.packets if packet.cookie == 1]
        assert [call.label for call in walk[-1].calls if call.label] == ["in"]


def test_another_namespace_that_comes_leaves_its_hooks_alone(executor: Executor) -> None:
    outcome = ran(executor, Register("in", "host", V4, "INPUT"), AddNetns("later"), DeleteNetns("later"), Send("peer", "host", 1))
    assert [dispute for step in outcome.steps for dispute in step.disputes] == []
