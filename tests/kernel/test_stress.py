"""A kernel under stress: what is counted adds up, and each thing that should not be is noticed."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from harness.guest import churn, slabs, stress_tasks
from harness.guest.health import KernelLog
from harness.guest.module import Hook, HookModule
from harness.guest.stress import _phase, _standing, _Watched
from harness.guest.stress_tasks import KINDS, TASKS, World, open_places
from harness.netfilter import Family, Verdict, VerdictKind
from harness.pytest_plugin.kernel import RunningKernel

FORWARD, INPUT = 2, 1
CORE = "net/netfilter/core.c"
#: What ends with the first thing that is wrong may take long where the host is busy.
SECONDS, MOST_SECONDS = 4.0, 25.0


@pytest.fixture
def stressed(nfharness_ko: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[_Watched, dict[str, int]]]:
    """Runs every task for some seconds, and one more."""

    monkeypatch.setattr(churn, "_SECONDS", 2.0)
    monkeypatch.setattr(stress_tasks, "_SETTLE_S", 2.0)

    def run(one_more: Callable[[World, Random], None] | None = None, seconds: float = SECONDS) -> tuple[_Watched, dict[str, int]]:
        if one_more:
            monkeypatch.setitem(TASKS, "one more", (0, one_more))
        with _standing() as networks:
            places = open_places(networks)
        with KernelLog() as log:
            seen = _Watched(log)
            return seen, _phase(seen, "test", seconds, places)

    return run


def _waits(world: World) -> None:
    while world.goes_on():
        pass


def test_a_kernel_that_is_right_loses_nothing(
    stressed: Callable[..., tuple[_Watched, dict[str, int]]], kernel: RunningKernel,
) -> None:
    for seconds in (SECONDS, MOST_SECONDS):
        seen, counts = stressed(seconds=seconds)
        assert (seen.wrong, seen.doubts) == ([], [])
        if counts["hooks registered"] and counts["base chains added"] and (counts["BPF links made"] or not kernel.profile.bpf_link):
            break
    assert counts["hooks registered"] > 0
    assert counts["datagrams sent"] == sum(counts[kind] for kind in KINDS if kind.startswith("datagrams") and kind != "datagrams sent")
    assert counts["base chains added"] == counts["base chains deleted"] > 0
    assert counts["BPF links made"] == counts["BPF links closed"]
    assert (counts["BPF links made"] > 0) is kernel.profile.bpf_link


def test_a_datagram_that_nothing_of_the_stress_s_own_drops_is_lost(stressed: Callable[..., tuple[_Watched, dict[str, int]]]) -> None:
    def drop(world: World, _random: Random) -> None:
        with HookModule(world.namespace("router", "router")) as module:
            module.add_hook(Hook(9, Family.IPV4, FORWARD, 200, Verdict(VerdictKind.DROP)))
            _waits(world)

    seen, _ = stressed(drop, MOST_SECONDS)
    assert any("that nothing dropped" in line for line in seen.wrong), seen.wrong


def test_a_hook_that_is_not_called_is_noticed(stressed: Callable[..., tuple[_Watched, dict[str, int]]]) -> None:
    def steal(world: World, _random: Random) -> None:
        with HookModule(world.namespace("router", "router")) as module:
            module.add_hook(Hook(9, Family.IPV4, FORWARD, -301, Verdict(VerdictKind.DROP), cookie=1))
            _waits(world)

    seen, _ = stressed(steal, MOST_SECONDS)
    assert any("datagrams that one hook drops it dropped" in line for line in seen.wrong), seen.wrong


def test_a_queued_datagram_that_vanishes_is_noticed(stressed: Callable[..., tuple[_Watched, dict[str, int]]]) -> None:
    def drop(world: World, _random: Random) -> None:
        with HookModule(world.namespace("queued", "host")) as module:
            module.add_hook(Hook(9, Family.IPV4, INPUT, -1, Verdict(VerdictKind.DROP), cookie=103))
            _waits(world)

    seen, _ = stressed(drop, MOST_SECONDS)
    assert any("to a queue" in line and "are accounted for" in line for line in seen.wrong), seen.wrong


@pytest.mark.may_warn(CORE)
def test_a_splat_ends_it(stressed: Callable[..., tuple[_Watched, dict[str, int]]]) -> None:
    def warn(world: World, _random: Random) -> None:
        with HookModule(world.namespace("router", "router")) as module:
            module.del_absent_hook(Family.IPV6, FORWARD)
            _waits(world)

    seen, _ = stressed(warn, MOST_SECONDS)
    assert [line.partition(":")[0] for line in seen.wrong] == ["WARNING"]
    assert any("Call Trace:" in line for line in seen.lines)


def test_a_task_that_fails_leaves_a_doubt(stressed: Callable[..., tuple[_Watched, dict[str, int]]]) -> None:
    def fail(_world: World, _random: Random) -> None:
        raise SystemExit(3)

    seen, _ = stressed(fail, MOST_SECONDS)
    assert (seen.wrong, seen.doubts) == ([], ["the task one more ended with 3"])


def test_what_stays_allocated_is_noticed(nfharness_ko: None) -> None:
    before = slabs.objects()
    if before is None:
        pytest.skip("the kernel does not tell what its slab caches hold")
    assert slabs.grown(before, slabs.objects() or {}) == {}
    with HookModule() as module:
        for start in range(0, 3000, 500):  # a point has 1024 slots
            assert not any(module.add_hooks(Hook(start + number + 1, Family.IPV4, start // 600, 0, Verdict(VerdictKind.ACCEPT))
                                            for number in range(500)))
        grown = slabs.grown(before, slabs.objects() or {})
        module.flush()
    assert max(grown.values(), default=0) >= 2500, grown
    assert slabs.stays(before)[1] == {}
