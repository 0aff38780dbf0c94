"""The tracer sees every call of every hook, knows what became of the packet, and admits what it did not see."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from harness.guest import traffic
from harness.guest.module import Hook, HookModule
from harness.guest.netns import Namespace, create
from harness.guest.topology import Network
from harness.guest.tracing import tracer
from harness.netfilter import PRIORITY_MAX, PRIORITY_MIN, Family, Verdict, VerdictKind
from harness.outcome.types import HookCall, PacketOutcome
from harness.trace.capture import Capture
from harness.trace.kprobes import TRACEFS
from harness.trace.tracer import Counter
from harness.walks.assembly import assembled
from harness.walks.counts import Count, compare_calls
from harness.walks.events import End, Entry, Loss

pytestmark = pytest.mark.usefixtures("nfharness_ko")

PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING = range(5)
ACCEPT, STOLEN = Verdict(VerdictKind.ACCEPT), Verdict(VerdictKind.STOLEN)
COOKIE = 4711
EHOSTUNREACH = 113


@pytest.fixture
def sinks(network: Network) -> Iterator[traffic.Sinks]:
    with traffic.Sinks() as sinks:
        for namespace in network.namespaces.values():
            sinks.add_udp(namespace, socket.AF_INET, 9)
        yield sinks


def send(network: Network, cookie: int = COOKIE) -> int:
    return traffic.send_udp(network.namespaces["peer"], "10.0.0.1", 9, traffic.payload(32, cookie))


def walked(capture: Capture, network: Network, cookie: int = COOKIE) -> list[PacketOutcome]:
    sightings = [(0, namespace.inum, name) for name, namespace in network.namespaces.items()]
    seen = assembled(capture.recording(namespaces=sightings, labels={1: "one", 2: "two", 3: "three"}))
    assert (seen.doubts, seen.lost_events) == ((), 0)
    return [packet for packet in seen.packets if packet.cookie == cookie]


def ours(packet: PacketOutcome, hook: int) -> list[HookCall]:
    return [call for traversal in packet.traversals if traversal.hook == hook for call in traversal.calls if call.label]


def test_every_call_is_seen_with_its_slot_priority_and_verdict(network: Network, module: HookModule, sinks: traffic.Sinks) -> None:
    for number, priority in enumerate((PRIORITY_MAX, PRIORITY_MIN, -7), 1):
        module.add_hook(Hook(number, Family.IPV4, INPUT, priority, ACCEPT))
    with Capture(tracer()) as capture:
        send(network)
        sinks.wait((COOKIE,), 5)
    packet, = walked(capture, network)
    live = {slot.hook_id: slot.index for slot in module.slots(Family.IPV4, INPUT) if slot.hook_id}
    calls = ours(packet, INPUT)
    assert [(call.label, call.index, call.priority, call.verdict) for call in calls] == [
        ("two", live[2], PRIORITY_MIN, ACCEPT), ("three", live[3], -7, ACCEPT), ("one", live[1], PRIORITY_MAX, ACCEPT)]
    assert {(call.function, call.module) for call in calls} == {("nfharness_hook", "nfharness")}
    assert all(call.ns and call.ns < 10**9 for call in calls)


def test_one_walk_crosses_both_namespaces_though_one_is_nested_in_the_other(
    network: Network, module: HookModule, sinks: traffic.Sinks
) -> None:
    module.add_hook(Hook(1, Family.IPV4, PREROUTING, 0, ACCEPT))
    module.add_hook(Hook(2, Family.IPV4, INPUT, 0, ACCEPT))
    with HookModule(network.namespaces["peer"]) as peer, Capture(tracer()) as capture:
        peer.add_hook(Hook(3, Family.IPV4, OUTPUT, 0, ACCEPT))
        send(network)
        sinks.wait((COOKIE,), 5)
    packet, = walked(capture, network)
    points = [(traversal.netns, traversal.hook, traversal.indev, traversal.outdev, traversal.returned)
              for traversal in packet.traversals if any(call.label for call in traversal.calls)]
    assert points == [("peer", OUTPUT, "", "eth0", 1), ("host", PREROUTING, "eth0", "", 1), ("host", INPUT, "eth0", "", 1)]
    assert packet.packet.startswith("UDP 10.0.0.2:")


@pytest.mark.parametrize(("verdict", "kind", "errno"), [
    (Verdict(VerdictKind.DROP), "dropped", 1),
    (Verdict(VerdictKind.DROP, errno=EHOSTUNREACH), "dropped", EHOSTUNREACH),
    (STOLEN, "stolen", 0),
    (Verdict(VerdictKind.QUEUE, queue=7), "dropped", 0),
], ids=str)
def test_the_last_verdict_decides_the_fate(network: Network, module: HookModule, verdict: Verdict, kind: str, errno: int) -> None:
    module.add_hook(Hook(1, Family.IPV4, INPUT, -7, verdict))
    module.add_hook(Hook(2, Family.IPV4, INPUT, 7, ACCEPT))
    with Capture(tracer()) as capture:
        send(network)
    packet, = walked(capture, network)
    assert [(call.label, call.verdict) for call in ours(packet, INPUT)] == [("one", verdict)]
    assert (packet.fate.kind, packet.fate.errno, packet.traversals[-1].returned) == (kind, errno, -errno)


def test_a_queue_with_bypass_and_nobody_listening_goes_on(network: Network, module: HookModule, sinks: traffic.Sinks) -> None:
    module.add_hook(Hook(1, Family.IPV4, INPUT, -7, Verdict(VerdictKind.QUEUE, queue=7, bypass=True)))
    module.add_hook(Hook(2, Family.IPV4, INPUT, 7, ACCEPT))
    with Capture(tracer()) as capture:
        send(network)
        sinks.wait((COOKIE,), 5)
    packet, = walked(capture, network)
    assert [(call.label, call.index) for call in ours(packet, INPUT)] == [("one", 0), ("two", 1)]
    assert packet.traversals[-1].returned == 1


def test_an_answer_that_quotes_the_cookie_is_a_packet_of_its_own(network: Network, module: HookModule) -> None:
    module.add_hook(Hook(1, Family.IPV4, INPUT, 0, ACCEPT))
    module.add_hook(Hook(2, Family.IPV4, OUTPUT, 0, ACCEPT))
    with Capture(tracer()) as capture:
        traffic.send_echo(network.namespaces["peer"], "10.0.0.1", traffic.payload(32, COOKIE))
    request, reply = walked(capture, network)
    assert (request.packet.split(" 10.")[0], reply.packet.split(" 10.")[0]) == ("ICMP echo request", "ICMP echo reply")
    assert [len(ours(packet, INPUT)) for packet in (request, reply)] == [1, 0]
    assert [len(ours(packet, OUTPUT)) for packet in (request, reply)] == [0, 1]


def test_the_probes_see_as_many_calls_as_the_hooks_count_under_a_flood(
    network: Network, module: HookModule, flood: Callable[[Namespace, str], AbstractContextManager[None]]
) -> None:
    module.add_hook(Hook(2, Family.IPV4, INPUT, 0, ACCEPT))
    with Capture(tracer()) as capture:
        module.add_hook(Hook(1, Family.IPV4, INPUT, 0, ACCEPT))
        with flood(network.namespaces["peer"], "10.0.0.1"):
            while module.hook(1).calls <= 20:
                capture.drain(1)
        since, calls = time.monotonic_ns(), module.hook(1).calls
        counted = {1: Count(calls, since, time.monotonic_ns())}
    assert capture.doubts == ()
    assert compare_calls(capture.events(), counted) == ()
    assert capture.counters[Counter.TRAVERSALS] == capture.counters[Counter.EXITS]


def test_records_that_do_not_fit_are_counted_and_doubted(
    network: Network, flood: Callable[[Namespace, str], AbstractContextManager[None]], module: HookModule
) -> None:
    module.add_hook(Hook(1, Family.IPV4, INPUT, 0, STOLEN))
    module.add_hook(Hook(2, Family.IPV4, PREROUTING, 0, ACCEPT))
    with Capture(tracer()) as capture, flood(network.namespaces["peer"], "10.0.0.1"):
        # Stolen packets end quickly; the ring takes some 6,000 traversals, so this many certainly overflow it.
        while module.hook(1).calls < 12_000:
            os.sched_yield()
    assert capture.counters[Counter.LOST] > 0
    assert capture.lost_events >= capture.counters[Counter.LOST]
    assert capture.doubts == (f"{capture.counters[Counter.LOST]} records found no room in the ring buffer",)
    assert capture.counters[Counter.TRAVERSALS] == capture.counters[Counter.EXITS]
    losses = [event for event in capture.events() if isinstance(event, Loss)]
    assert sum(loss.records for loss in losses) == capture.counters[Counter.LOST]
    assert all(loss.time < loss.until for loss in losses)


def test_a_loss_marks_the_packets_that_were_under_way_and_no_others(
    network: Network, flood: Callable[[Namespace, str], AbstractContextManager[None]], module: HookModule
) -> None:
    def one(number: int) -> None:
        traffic.send_udp(network.namespaces["peer"], "10.0.0.1", 9, traffic.payload(32, number))
        skbs: set[int] = set()
        while not any(isinstance(event, End) and event.skb in skbs for event in capture.events()):
            capture.fresh(1)
            skbs |= {event.skb for event in capture.events() if isinstance(event, Entry) and event.cookie == number}
        while capture.drain():
            continue

    module.add_hook(Hook(1, Family.IPV4, INPUT, 0, STOLEN))
    with Capture(tracer()) as capture:
        one(2)
        with flood(network.namespaces["peer"], "10.0.0.1"):
            while module.hook(1).calls < 12_000:
                os.sched_yield()
        while capture.drain():
            continue
        one(3)
    marked = {packet.cookie: packet.lost_events > 0 for packet in assembled(capture.recording()).packets}
    assert (marked[2], marked[1], marked[3]) == (False, True, False)


def test_what_a_probe_hit_before_it_had_its_program_is_no_doubt(network: Network) -> None:
    class Late(Capture):
        def _arm(self, stack: ExitStack) -> None:
            tracefs = next(root for root in TRACEFS if (root / "kprobe_events").exists())
            probe = tracefs / "events" / tracer().kprobes.group / "gone" / "enable"
            before = tracer().kprobes.profile()["gone"].hits
            probe.write_text("1")
            create("late").delete()
            while tracer().kprobes.profile()["gone"].hits == before:
                os.sched_yield()
            probe.write_text("0")
            super()._arm(stack)

    with Late(tracer()) as capture:
        send(network)
    assert capture.doubts == ()


def test_nothing_is_armed_and_no_setting_is_changed_after_a_capture(network: Network) -> None:
    settings = [Path(path) for path in ("/sys/kernel/rcu_expedited", "/proc/sys/debug/kprobes-optimization")]
    before = [path.read_text() for path in settings]
    with Capture(tracer()) as first:
        pass
    assert [path.read_text() for path in settings] == before
    profile, seen = tracer().kprobes.profile(), list(first.events())
    send(network)
    assert tracer().kprobes.profile() == profile
    assert first.events() == seen


@pytest.mark.usefixtures("sinks")
def test_a_capture_sees_nothing_from_before_it(network: Network, module: HookModule) -> None:
    module.add_hook(Hook(1, Family.IPV4, INPUT, 0, ACCEPT))
    with Capture(tracer()):
        send(network, 1)
    with Capture(tracer()) as second:
        send(network, 2)
    assert walked(second, network, 1) == []
    assert len(walked(second, network, 2)) == 1


def test_a_second_capture_at_the_same_time_is_refused(in_child: Callable[[Callable[[], object]], str]) -> None:
    with Capture(tracer()):
        assert "another capture is under way" in in_child(Capture(tracer()).__enter__)
