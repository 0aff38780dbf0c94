"""Bridges, VLANs, ARP, fragments and lists on a real kernel: packets go where the model says, and what cannot be seen is doubted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from harness.conformance import RULES
from harness.conformance.judge import judge
from harness.guest import tracing, traffic
from harness.guest.executor import Executor, execute
from harness.guest.module import Hook, HookModule
from harness.guest.netns import DIRECTORY
from harness.guest.settle import PacketWatch
from harness.guest.softirq import softirqs_first
from harness.guest.topology import Network, built, mac_of
from harness.model import predict, seen
from harness.netfilter import Family, Verdict, VerdictKind, hook_number
from harness.outcome import KernelProfile, Outcome, compare
from harness.pytest_plugin.kernel import RunningKernel
from harness.scenario import BUILTIN
from harness.scenario.layers import LAYERS
from harness.scenario.step import Scenario, Step
from harness.scenario.steps.hooks import Register
from harness.scenario.steps.link import Arp
from harness.scenario.steps.namespaces import DeleteDevice, MoveDevice
from harness.scenario.steps.packets import Send
from harness.scenario.topology import BRIDGE, BRIDGE_NETFILTER, ROUTER, ROUTER_GRO, VLAN
from harness.trace.capture import Capture
from harness.walks.events import Entry

pytestmark = pytest.mark.usefixtures("nfharness_ko")

BR_NETFILTER = Path("/sys/module/br_netfilter")


@pytest.fixture(scope="module")
def profile(kernel: RunningKernel) -> KernelProfile:
    return kernel.profile


def applies(name: str, profile: KernelProfile) -> bool:
    return {"vlan-egress": profile.netdev_egress, "fragments-egress": profile.netdev_egress, "list": profile.veth_gro}.get(name, True)


@pytest.mark.parametrize("name", [scenario.name for scenario in LAYERS])
def test_the_kernel_sends_packets_where_the_model_says(name: str, profile: KernelProfile) -> None:
    if not applies(name, profile):
        pytest.skip("a probe says that this kernel lacks what the scenario is about")
    observed = execute(BUILTIN[name])
    comparison = compare(predict(BUILTIN[name], profile, seen(observed)), observed)
    assert (comparison.verdict, comparison.differences, comparison.reasons) == ("conformant", (), ())


@pytest.mark.parametrize("steps", [
    (DeleteDevice("client", "eth0"), Arp("router", "10.0.2.1", "10.0.2.2"), Send("router", "server", 1)),
    (MoveDevice("router", "to-client", "server"), Arp("client", "10.0.1.2", "10.0.1.1"), Arp("client", "10.0.1.2", "10.0.2.1")),
], ids=["another link is gone", "the neighbour has moved"])
def test_who_asks_learns_what_the_model_says(steps: tuple[Step, ...], profile: KernelProfile) -> None:
    scenario = Scenario("asks", "", ROUTER, steps)
    observed = execute(scenario)
    comparison = compare(predict(scenario, profile, seen(observed)), observed)
    assert (comparison.verdict, comparison.differences, comparison.reasons) == ("conformant", (), ())


def test_br_netfilter_is_there_for_the_topology_that_wants_it_and_no_longer() -> None:
    with built(BRIDGE):
        assert not BR_NETFILTER.exists()
    with built(BRIDGE_NETFILTER):
        assert BR_NETFILTER.exists()
    assert not BR_NETFILTER.exists()


def test_a_bridge_is_kept_for_the_next_scenario_but_not_where_another_one_is_needed(profile: KernelProfile) -> None:
    if not profile.br_netfilter:
        pytest.skip("br_netfilter: this kernel has none")
    topologies, grounds = [BRIDGE, BRIDGE, BRIDGE_NETFILTER, BRIDGE_NETFILTER, BRIDGE], []
    with Executor() as executor:
        for topology in topologies:
            scenario = Scenario("kept", "", topology, (Register("h", "bridge", Family.BRIDGE, "FORWARD"), Send("left", "right", 1)))
            observed = executor.execute(scenario)
            comparison = compare(predict(scenario, profile, seen(observed)), observed)
            assert (comparison.verdict, comparison.differences, comparison.reasons) == ("conformant", (), ())
            assert BR_NETFILTER.exists() is (topology is BRIDGE_NETFILTER)
            grounds.append({path.name for path in DIRECTORY.iterdir()})
    assert [now == before for before, now in pairwise(grounds)] == [now is before for before, now in pairwise(topologies)]
    assert not BR_NETFILTER.exists()


def test_a_bridge_knows_its_neighbours_before_it_has_heard_of_them() -> None:
    from pyroute2 import IPRoute  # noqa: PLC0415 - seconds in an emulated guest

    with built(BRIDGE) as network, network.namespaces["bridge"].inside(), IPRoute() as routes:
        known = {entry.get_attr("NDA_LLADDR") for entry in routes.fdb("dump")}
    assert known >= {mac_of(BRIDGE, BRIDGE.interface(netns, "eth0")) for netns in ("left", "right", "third")}


def test_vlans_and_devices_with_gro_come_up_and_go() -> None:
    for topology in (VLAN, ROUTER_GRO):
        with built(topology) as network:
            assert {device for _, device in network.ifindexes} >= set(topology.devices(topology.namespaces[0]))


@contextmanager
def blind(loop: str) -> Iterator[None]:
    """Without the probes of a loop, as on a kernel that does not let them be placed."""
    tracer = tracing.tracer()
    programs, counted = dict(tracer.programs), tracer.counted
    tracer.programs = {name: fd for name, fd in programs.items() if not name.startswith(loop)}
    tracer.blind[loop] = "the test took its probes away"
    try:
        yield
    finally:
        tracer.programs, tracer.counted = programs, counted
        del tracer.blind[loop]


@pytest.mark.parametrize("rule", ["path.bridge-verdicts", "path.arp-forward"])
def test_a_loop_that_cannot_be_probed_is_doubted_not_passed(rule: str, profile: KernelProfile) -> None:
    """In the second no hook of ours is at the point, whose calls the module would count."""
    scenario = RULES[rule].scripts[0].scenario
    with blind("nf_hook_bridge_pre"):
        observed = execute(scenario)
    comparison = compare(predict(scenario, profile, seen(observed)), observed)
    assert comparison.verdict == "inconclusive"
    assert "nf_hook_bridge_pre: its calls are not seen: the test took its probes away" in comparison.reasons


def test_the_books_of_the_bridges_own_loop_balance() -> None:
    observed = _bridged(RULES["path.bridge"].scripts[-1].scenario.name)
    assert (observed.lost_events, observed.doubts) == (0, ())
    loops = {traversal.loop for packet in observed.packets for traversal in packet.traversals}
    assert loops == {"nf_hook_bridge_pre", "nf_hook_slow"}


def _bridged(name: str) -> Outcome:
    script, = (one for one in RULES["path.bridge"].scripts if one.scenario.name == name)
    return execute(script.scenario)


def test_frames_that_meet_no_hook_are_no_run_of_the_bridges_loop() -> None:
    with built(BRIDGE) as network:
        assert _runs_for_own_frames(network) == 0
        with HookModule(network.namespaces["bridge"]) as module:
            module.add_hook(Hook(1, Family.BRIDGE, hook_number(Family.BRIDGE, "PREROUTING"), 0, Verdict(VerdictKind.ACCEPT)))
            assert _runs_for_own_frames(network) == 3


def _runs_for_own_frames(network: Network) -> int:
    """How often a loop of hooks is run for three frames of a protocol that nobody else speaks: of others the kernel sends frames, too."""
    from scapy.layers.l2 import Ether  # noqa: PLC0415 - seconds in an emulated guest

    # Without its own source a bridge drops it before any hook.
    frame = Ether(src="02:00:00:00:00:01", dst="ff:ff:ff:ff:ff:ff", type=0x88B5) / traffic.payload(64, 1)
    with softirqs_first(), Capture(tracing.tracer()) as capture:
        for _ in range(3):
            traffic.send_frame(network.namespaces["left"], "eth0", frame)
    assert capture.doubts == ()
    return sum(isinstance(event, Entry) and event.protocol == 0x88B5 for event in capture.events())


def test_a_slow_guest_does_not_ask_twice_for_a_neighbour_that_does_not_answer(
        profile: KernelProfile, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel would ask again a second later, while the step still waits for the end of the first request."""
    at_once = PacketWatch.settle

    def late(watch: PacketWatch, cookie: int) -> None:
        time.sleep(1.5)
        at_once(watch, cookie)

    monkeypatch.setattr(PacketWatch, "settle", late)
    (script,) = RULES["drop.errno-arp"].scripts
    asked = [step for step in script.scenario.steps if isinstance(step, Arp)]
    judged = judge(script, profile, execute(script.scenario))
    assert asked
    assert judged.comparison.verdict == "conformant"
