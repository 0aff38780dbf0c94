"""One executor for many scenarios: each finds the kernel as if it were the first."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from harness.errors import GuestError
from harness.guest import raw
from harness.guest.executor import Executor
from harness.guest.ground import Ground
from harness.guest.module import Hook, HookModule, HookRefused
from harness.guest.netns import DIRECTORY
from harness.guest.topology import Network
from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome import Outcome
from harness.pytest_plugin.lab import Lab
from harness.scenario import Scenario, Step
from harness.scenario.steps.hooks import Nft, Register
from harness.scenario.steps.packets import Send
from harness.scenario.steps.raw import RawInsert
from harness.scenario.topology import PAIR

ACCEPT = Verdict(VerdictKind.ACCEPT)
RULESET = "table ip t { chain c { type filter hook input priority 2; policy accept; }; }"
FILTER = "table ip left { chain c { type filter hook input priority 7; policy accept; }; }"


def scenario(*steps: Step) -> Scenario:
    return Scenario("test", "", PAIR, steps)


USUAL = scenario(
    Register("one", "host", Family.IPV4, "INPUT", 1), Register("two", "host", Family.IPV4, "INPUT", 0), Send("peer", "host", 1),
    RawInsert("raw", "host", "a"),
)


def told(outcome: Outcome) -> object:
    """What of an outcome is the same whenever it is run again."""
    walks = [[(one.netns, one.hook, [(call.label, call.verdict) for call in one.calls], one.returned) for one in packet.traversals]
             for packet in outcome.packets if packet.cookie is not None]
    return outcome.steps, walks, outcome.doubts, outcome.lost_events


@pytest.fixture
def executor(nfharness_ko: None) -> Iterator[Executor]:
    with Executor() as opened:
        yield opened


def namespaces() -> set[str]:
    return {path.name for path in DIRECTORY.iterdir()} if DIRECTORY.exists() else set()


def test_a_warning_while_a_scenario_is_taken_away_is_its_own(executor: Executor, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    clear = Ground.clear

    def warned(ground: Ground) -> None:
        clear(ground)
        ground.modules["host"].del_absent_hook(Family.IPV6, 2)

    with monkeypatch.context() as patched, lab.expect_splat("net/netfilter/core.c", harmless=True):
        patched.setattr(Ground, "clear", warned)
        first = executor.execute(USUAL)
    second = executor.execute(USUAL)
    assert [step.splats for step in first.steps if step.splats] == [first.steps[-1].splats]
    (summary,) = first.steps[-1].splats
    assert "net/netfilter/core.c" in summary or "hook not found" in summary
    assert not any(step.splats for step in second.steps)


def test_the_second_run_is_the_first_one_again_in_the_same_namespaces(executor: Executor) -> None:
    first = executor.execute(USUAL)
    there = namespaces()
    assert told(executor.execute(USUAL)) == told(first)
    assert namespaces() == there


def test_hooks_private_arrays_and_counts_of_one_scenario_are_not_those_of_the_next(executor: Executor) -> None:
    executor.execute(USUAL)
    outcome = executor.execute(scenario(Register("h", "host", Family.IPV4, "INPUT"), RawInsert("r", "host", "a"), Send("peer", "host", 2)))
    slots = {key: [slot.label for slot in array if slot.label] for step in outcome.steps[1:] for key, array in step.slots}
    assert slots == {"host/IPV4/INPUT": ["h"], "host/raw/a": ["r"]}
    assert [packet.cookie for packet in outcome.packets if packet.cookie] == [2]
    assert outcome.doubts == ()


def test_nothing_is_there_when_it_has_ended(nfharness_ko: None) -> None:
    before = namespaces()
    with Executor() as opened:
        opened.execute(USUAL)
        assert namespaces() > before
    assert namespaces() == before


def test_what_somebody_has_left_in_the_namespaces_is_an_error(executor: Executor) -> None:
    executor.execute(USUAL)
    host = next(name for name in namespaces() if name.endswith("-host"))
    subprocess.run(["ip", "netns", "exec", host, "nft", FILTER], check=True)
    with pytest.raises(GuestError, match="an earlier scenario has left host/IPV4/INPUT with other hooks"):
        executor.execute(USUAL)
    assert executor.execute(USUAL).doubts == (), "in its own namespaces"


def test_a_scenario_that_leaves_more_than_hooks_has_namespaces_of_its_own(executor: Executor) -> None:
    executor.execute(scenario(Nft("host", RULESET)))
    outcome = executor.execute(USUAL)
    assert all(slot.function == "nfharness_hook" for step in outcome.steps[1:] for _, array in step.slots for slot in array)


def test_one_dump_has_every_array_of_the_namespace(network: Network, module: HookModule) -> None:
    eth0 = network.ifindexes["host", "eth0"]
    before = module.all_slots().keys()
    for number, (pf, hook, ifindex) in enumerate([(Family.IPV4, 1, 0), (Family.IPV6, 4, 0), (Family.NETDEV, 0, eth0)], 1):
        module.add_hook(Hook(number, pf, hook, 0, ACCEPT, ifindex))
    raw.insert(module, raw.RawHook(9, 3, 0, VerdictKind.ACCEPT))
    found = module.all_slots()
    ours = {place: [slot.hook_id for slot in slots if slot.hook_id] for place, slots in found.items()}
    assert {place: ids for place, ids in ours.items() if ids} == {
        (Family.IPV4, 1, 0): [1], (Family.IPV6, 4, 0): [2], (Family.NETDEV, 0, eth0): [3], 3: [9]}
    assert found[Family.IPV4, 1, 0] == module.slots(Family.IPV4, 1)
    module.flush()
    assert module.all_slots().keys() == before


def test_one_dump_has_more_slots_than_fit_into_a_message(module: HookModule) -> None:
    module.add_hooks([Hook(number, Family.IPV4, 1, 0, ACCEPT) for number in range(1, 601)])
    assert [slot.hook_id for slot in module.all_slots()[Family.IPV4, 1, 0]] == list(range(600, 0, -1))


def test_flushing_empties_private_arrays_and_forgets_allocations_that_were_to_fail(module: HookModule) -> None:
    raw.insert(module, raw.RawHook(1, 0, 0, VerdictKind.ACCEPT))
    raw.insert(module, raw.RawHook(2, 1, 0, VerdictKind.ACCEPT))
    try:
        module.fail_next(0)
    except HookRefused:
        pytest.skip("this kernel's allocator takes no kretprobe")
    module.flush()
    assert (raw.slots(module, 0), raw.slots(module, 1)) == ([], [])
    module.add_hook(Hook(1, Family.IPV4, 1, 0, ACCEPT))
