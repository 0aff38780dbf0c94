"""The tracer sees hooks that are registered and unregistered, and which array each packet met."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from harness.guest import bpf, traffic
from harness.guest.module import Hook, HookModule, HookRefused
from harness.guest.topology import Network
from harness.guest.tracing import tracer
from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome import registration as words
from harness.outcome.types import Outcome, PacketOutcome, Registration, Slot
from harness.scenario.steps.bpf import BpfLink
from harness.trace.capture import Capture
from harness.walks.assembly import assembled

pytestmark = pytest.mark.usefixtures("nfharness_ko")

INPUT, OUTPUT = 1, 3
COOKIE = 4711
ANY = Hook(1, Family.IPV4, INPUT, -7, Verdict(VerdictKind.ACCEPT))


@pytest.fixture(autouse=True)
def _sees_registrations() -> None:
    if why := tracer().unregistered:
        pytest.skip(f"registrations: {why}")


@pytest.fixture
def sinks(network: Network) -> Iterator[traffic.Sinks]:
    with traffic.Sinks() as sinks:
        sinks.add_udp(network.namespaces["host"], socket.AF_INET, 9)
        yield sinks


def send(network: Network, cookie: int = COOKIE) -> None:
    traffic.send_udp(network.namespaces["peer"], "10.0.0.1", 9, traffic.payload(32, cookie))


def outcome(capture: Capture, network: Network) -> Outcome:
    found = assembled(capture.recording(namespaces=[(0, namespace.inum, name) for name, namespace in network.namespaces.items()]))
    assert (found.doubts, found.lost_events) == ((), 0)
    return found


def at(found: Outcome, netns: str, pf: Family = Family.IPV4, point: int = INPUT) -> list[Registration]:
    return [one for one in found.registrations if (one.netns, one.pf, one.point) == (netns, pf, point)]


def live(module: HookModule) -> list[tuple[int, str, str | None, int, bool]]:
    """The array as the module finds it in the kernel."""
    return [(slot.index, slot.function, slot.module, slot.priority, slot.dummy) for slot in module.slots(Family.IPV4, INPUT)]


def told(array: Sequence[Slot]) -> list[tuple[int, str, str | None, int, bool]]:
    return [(slot.index, slot.function, slot.module, slot.priority, slot.dummy) for slot in array]


def nft(network: Network, ruleset: str) -> None:
    with network.namespaces["host"].inside():
        subprocess.run(["nft", "-f", "-"], input=ruleset, text=True, check=True, timeout=60)


def packets(found: Outcome) -> list[PacketOutcome]:
    return [packet for packet in found.packets if packet.cookie is not None]


def test_the_arrays_before_and_after_are_those_that_the_module_finds(network: Network, module: HookModule) -> None:
    arrays = [live(module)]
    with Capture(tracer(), registrations=True) as capture:
        for number, priority in enumerate((-7, 7), 1):
            module.add_hook(Hook(number, Family.IPV4, INPUT, priority, ANY.verdict))
            arrays.append(live(module))
        module.del_hook(1)
        arrays.append(live(module))
        keys = module.keys()[Family.IPV4, INPUT]
    first, second, gone = at(outcome(capture, network), "host")
    assert [(one.what, one.hook.priority, one.hook.function, one.hook.module) for one in (first, second, gone)] == [
        ("registered", -7, "nfharness_hook", "nfharness"), ("registered", 7, "nfharness_hook", "nfharness"),
        ("unregistered", -7, "nfharness_hook", "nfharness")]
    assert [told(one.after) for one in (first, second, gone)] == arrays[1:]
    assert [told(one.before) for one in (first, second)] == arrays[:2]
    dummy = [place for place, slot in enumerate(gone.before) if slot.dummy]
    assert dummy == [gone.hook.index] == [place for place, slot in enumerate(arrays[2]) if slot[3] == -7]
    assert [one.generation for one in (first, second, gone)] == [1, 2, 3]
    assert [one.slots_after for one in (first, second, gone)] == [len(array) for array in arrays[1:]]
    assert [one.key for one in (first, second, gone)] == [keys, keys + 1, keys]


def test_who_did_it_is_the_process_and_the_function_that_called_core_c(network: Network, module: HookModule) -> None:
    with Capture(tracer(), registrations=True) as capture:
        module.add_hook(ANY)
        nft(network, "table inet fw { chain in { type filter hook input priority 5; }; }")
        nft(network, "delete table inet fw")
    ours, came, gone = at(outcome(capture, network), "host")
    assert (ours.pid, any(caller.endswith("[nfharness]") for caller in ours.by)) == (os.getpid(), True)
    assert [(one.process, one.hook.chain, one.hook.priority) for one in (came, gone)] == [("nft", "inet fw in", 5)] * 2
    assert all(any(caller.endswith("[nf_tables]") for caller in one.by) for one in (came, gone))
    assert "in nf_tables_" in words.who(came)
    assert came.time < gone.time


def test_an_inet_hook_is_registered_in_both_families(network: Network) -> None:
    with Capture(tracer(), registrations=True) as capture:
        nft(network, "table inet fw { chain in { type filter hook input priority 5; }; }")
        nft(network, "delete table inet fw")
    found = outcome(capture, network)
    for family in (Family.IPV4, Family.IPV6):
        assert [(one.what, one.hook.chain) for one in at(found, "host", family)] == [
            ("registered", "inet fw in"), ("unregistered", "inet fw in")]


def test_each_packet_says_which_generation_it_ran_on(network: Network, module: HookModule, sinks: traffic.Sinks) -> None:
    module.add_hook(ANY)
    with Capture(tracer(), registrations=True) as capture:
        for number in (1, 2, 3):
            send(network, number)
            sinks.wait((number,), 5)
            if number == 1:
                module.add_hook(Hook(2, Family.IPV4, INPUT, 7, ANY.verdict))
            elif number == 2:
                module.del_hook(1)
    found = outcome(capture, network)
    walks = [next(traversal for traversal in packet.traversals if (traversal.netns, traversal.hook) == ("host", INPUT))
             for packet in packets(found)]
    assert [(one.generation, one.missed) for one in walks] == [(0, ()), (1, ()), (2, ())]
    came, gone = at(found, "host")
    assert [len(walks[0].calls), len(walks[1].calls), len(walks[2].calls)] == [came.slots_before, came.slots_after, gone.slots_after]
    times = [walk.time for walk in walks]
    assert times[0] < came.time < times[1] < gone.time < times[2]  # type: ignore[operator]


def test_a_device_s_array_is_told_with_the_device(network: Network, sinks: traffic.Sinks) -> None:
    with Capture(tracer(), registrations=True) as capture:
        nft(network, "table netdev d { chain in { type filter hook ingress device eth0 priority 3; }; }")
        send(network)
        sinks.wait((COOKIE,), 5)
        nft(network, "delete table netdev d")
    found = outcome(capture, network)
    assert [(one.device, one.hook.chain, one.generation, one.slots_after) for one in at(found, "host", Family.NETDEV, 0)] == [
        ("eth0", "netdev d in", 1, 1), ("eth0", "netdev d in", 2, 0)]
    ingress, = (traversal for traversal in packets(found)[0].traversals if traversal.pf is Family.NETDEV)
    assert ingress.generation == 1


def test_nat_s_own_array_is_told_and_is_no_hook_point_s(network: Network) -> None:
    with Capture(tracer(), registrations=True) as capture:
        nft(network, "table ip n { chain post { type nat hook postrouting priority 100; }; }")
        nft(network, "delete table ip n")
    private = [one for one in outcome(capture, network).registrations if not one.netns]
    assert [(one.what, one.hook.chain, one.generation) for one in private] == [
        ("registered", "ip n post", None), ("unregistered", "ip n post", None)]
    assert "nf_nat_register_fn [nf_nat]" in private[0].by


def test_a_bpf_program_goes_by_its_id_and_by_that_of_its_link(network: Network) -> None:
    with Capture(tracer(), registrations=True) as capture:
        try:
            link = bpf.link(network.namespaces["host"], BpfLink("link", "host", Family.IPV4, "INPUT", 5))
        except OSError as error:
            pytest.skip(f"BPF programs as hooks: {error}")
        ids = dict(line.split() for line in Path(f"/proc/self/fdinfo/{link}").read_text().splitlines() if "_id:" in line)
        os.close(link)
    came, gone = at(outcome(capture, network), "host")
    assert [(one.hook.function, one.hook.chain) for one in (came, gone)] == [
        ("nf_hook_run_bpf", f"BPF program {ids['prog_id:']} nfharness")] * 2
    assert (came.link, gone.link) == (None, int(ids["link_id:"]))


def test_a_refused_registration_is_told(network: Network, module: HookModule) -> None:
    module.fail_next(0)
    with Capture(tracer(), registrations=True) as capture, pytest.raises(HookRefused):
        module.add_hook(ANY)
    refused, = at(outcome(capture, network), "host")
    assert (refused.errno, refused.generation, refused.slots_after) == (errno.ENOMEM, None, 0)


def test_a_dummy_that_found_no_memory_to_go_is_shown(network: Network, module: HookModule) -> None:
    assert module.add_hooks([ANY, Hook(2, Family.IPV4, INPUT, 7, ANY.verdict)]) == [None, None]
    with Capture(tracer(), registrations=True) as capture:
        module.fail_next(0)
        module.del_hook(1)
        array = live(module)
        module.add_hook(Hook(3, Family.IPV4, INPUT, 9, ANY.verdict))
    gone, came = at(outcome(capture, network), "host")
    assert (told(gone.after), [slot.dummy for slot in gone.after].count(True), gone.generation) == (array, 1, None)
    assert (told(came.before), [slot.dummy for slot in came.after].count(True), came.generation) == (array, 0, 1)


def test_two_tasks_at_once_are_told_apart(network: Network, module: HookModule) -> None:
    with Capture(tracer(), registrations=True) as capture:
        module.add_together(ANY, Hook(2, Family.IPV4, INPUT, 7, ANY.verdict))
        array = live(module)
    first, second = at(outcome(capture, network), "host")
    assert {first.hook.priority, second.hook.priority} == {-7, 7}
    assert told(first.after) == told(second.before)
    assert (told(second.after), first.generation, second.generation) == (array, 1, 2)


def test_of_an_array_with_many_slots_the_first_are_told_and_how_many_there_are(network: Network, module: HookModule) -> None:
    assert not any(module.add_hooks(Hook(number, Family.IPV4, INPUT, number, ANY.verdict) for number in range(1, 101)))
    with Capture(tracer(), registrations=True) as capture:
        module.add_hook(Hook(101, Family.IPV4, INPUT, 101, ANY.verdict))
    came, = at(outcome(capture, network), "host")
    count = len(live(module))
    assert (came.slots_before, came.slots_after, len(came.after)) == (count - 1, count, 64)
    assert told(came.after) == live(module)[:64]
    assert words.array(came.after, came.slots_after).endswith(f"… and {count - 64} more")


def test_without_asking_none_is_seen(network: Network, module: HookModule, sinks: traffic.Sinks) -> None:
    with Capture(tracer()) as capture:
        module.add_hook(ANY)
        send(network)
        sinks.wait((COOKIE,), 5)
    found = outcome(capture, network)
    assert (found.registrations, {traversal.generation for packet in found.packets for traversal in packet.traversals}) == ((), {None})
