"""The way back from a queue: what nf_reinject calls, and who has the packet then."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.model import predict
from harness.model.nfqnl import Nfqnl
from harness.model.queue import nf_reinject
from harness.model.structures import Context, HookOps, HookState, Net, QueueEntry, Skb
from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome import KernelProfile
from harness.scenario import Scenario
from harness.scenario.steps.hooks import Register, Unregister
from harness.scenario.steps.packets import Send
from harness.scenario.steps.queue import Listen
from harness.scenario.topology import PAIR

ACCEPT, DROP, STOLEN, REPEAT, STOP = (
    Verdict(kind) for kind in (VerdictKind.ACCEPT, VerdictKind.DROP, VerdictKind.STOLEN, VerdictKind.REPEAT, VerdictKind.STOP))
QUEUE, BYPASS = Verdict(VerdictKind.QUEUE, queue=7), Verdict(VerdictKind.QUEUE, queue=7, bypass=True)
HIGH = 0x8000_0000
KERNEL = KernelProfile()


def hooks(*answers: Verdict | list[Verdict]) -> list[HookOps]:
    """:param answers: of each hook, in turn or always the same"""
    def answering(given: Verdict | list[Verdict]) -> Callable[[HookOps, Context], Verdict]:
        return lambda _ops, _context: given.pop(0) if isinstance(given, list) else given
    return [HookOps(answering(given), f"hook_{index}", None, Family.IPV4, 1, index) for index, given in enumerate(answers)]


def reinject(array: list[HookOps] | None, verdict: Verdict, index: int = 0, profile: KernelProfile = KERNEL) -> tuple[int, list[int], str]:
    """What it returns, the slots that were called, who has the skb."""
    ended: list[bool] = []
    context = Context(Skb(), HookState(Family.IPV4, 1, "netns"), lambda: ended.append(True), reinjected=True)
    ret = nf_reinject(context, array, index, verdict, None, profile=profile)
    assert ret == len(ended)
    return ret, [call.index for call in context.calls], context.skb.state


@pytest.mark.parametrize(("verdict", "answer"), [
    (ACCEPT, (1, [1, 2], "in flight")),
    (DROP, (0, [], "freed")),
    (REPEAT, (1, [0, 1, 2], "in flight")),
    (STOP, (1, [], "in flight")),
    (QUEUE, (0, [], "freed")),
    (BYPASS, (1, [1, 2], "in flight")),
    (Verdict(VerdictKind.ACCEPT, rest=HIGH), (1, [], "in flight")),
    (Verdict(VerdictKind.REPEAT, rest=HIGH), (0, [], "freed")),
    (Verdict(VerdictKind.STOP, rest=HIGH), (1, [], "in flight")),
], ids=str)
def test_what_a_listener_says(verdict: Verdict, answer: tuple[int, list[int], str]) -> None:
    assert reinject(hooks(ACCEPT, ACCEPT, ACCEPT), verdict) == answer


@pytest.mark.parametrize(("verdict", "answer"), [
    (DROP, (0, [1], "freed")),
    (STOLEN, (0, [1], "stolen")),
    (STOP, (1, [1], "in flight")),
    (QUEUE, (0, [1], "freed")),
    (BYPASS, (1, [1, 2], "in flight")),
    (Verdict(VerdictKind.ACCEPT, rest=HIGH), (1, [1], "in flight")),
    (Verdict(VerdictKind(0x42)), (0, [1], "freed")),
], ids=str)
def test_what_a_later_hook_says(verdict: Verdict, answer: tuple[int, list[int], str]) -> None:
    assert reinject(hooks(QUEUE, verdict, ACCEPT), ACCEPT) == answer


def test_a_later_hook_that_repeats_is_called_until_it_does_not() -> None:
    assert reinject(hooks(QUEUE, [REPEAT, REPEAT, ACCEPT], ACCEPT), ACCEPT) == (1, [1, 1, 1, 2], "in flight")


def test_the_hook_that_queued_may_not_repeat_what_the_listener_repeats() -> None:
    assert reinject(hooks(REPEAT, ACCEPT), REPEAT) == (0, [0], "freed")


@pytest.mark.parametrize("array", [None, hooks(ACCEPT)])
@pytest.mark.parametrize("warns", ["", "net/netfilter/nf_queue.c"])
def test_a_slot_that_is_gone_frees_the_packet(array: list[HookOps] | None, warns: str) -> None:
    assert reinject(array, ACCEPT, index=1, profile=replace(KERNEL, reinject_warns=warns)) == (0, [], "freed")


@pytest.mark.parametrize("source", ["net/netfilter/nf_queue.c", "net/netfilter/nfnetlink_queue.c"])
def test_an_older_kernel_warns_once_of_slots_that_are_gone(source: str) -> None:
    steps = (Listen("host", 7), Register("q", "host", Family.INET, "INPUT", 0, QUEUE), Send("peer", "host", 1), Send("peer", "host", 2),
             Send("peer", "host", 3, Family.IPV6), Unregister("q"))
    outcome = predict(Scenario("gone", "", PAIR, steps), replace(KERNEL, reinject_warns=source))
    assert [step.splats for step in outcome.steps] == [()] * 5 + [(source,)]


class Listeners:
    """A queue handler, with what it gave back."""

    def __init__(self, *steps: Listen) -> None:
        self.back: list[tuple[int | None, Verdict]] = []
        self.nfqnl = Nfqnl(lambda entry, verdict: self.back.append((entry.context.skb.cookie, verdict)))
        assert [self.nfqnl.recv_config(step) for step in steps] == [0] * len(steps)

    def queue(self, cookie: int, number: int = 7) -> int:
        return self.nfqnl.outfn(QueueEntry(Context(Skb(cookie), HookState(Family.IPV4, 1, "host")), 0), number)


def test_packets_come_back_one_by_one_in_any_order() -> None:
    listeners = Listeners(Listen("host", 7))
    assert [listeners.queue(cookie) for cookie in (1, 2, 3)] == [0, 0, 0]
    assert listeners.nfqnl.recv_verdict("host", 7, STOP, 2) == 0
    assert listeners.nfqnl.recv_verdict("host", 7, ACCEPT, None) == 0
    assert listeners.back == [(2, STOP), (1, ACCEPT)]


@pytest.mark.parametrize(("step", "number", "err"), [
    (Listen("host", 7), 8, -errno.ESRCH),
    (Listen("peer", 7), 7, -errno.ESRCH),
    (Listen("host", 7, copy="none"), 7, -errno.EINVAL),
    (Listen("host", 7, maxlen=0), 7, -errno.ENOBUFS),
    (Listen("host", 7, maxlen=0, fail_open=True), 7, 0),
])
def test_who_takes_no_packet_says_why(step: Listen, number: int, err: int) -> None:
    assert Listeners(step).queue(1, number) == err


def test_what_fails_open_comes_back_accepted_at_once() -> None:
    listeners = Listeners(Listen("host", 7, maxlen=0, fail_open=True))
    listeners.queue(1)
    assert listeners.back == [(1, ACCEPT)]


@pytest.mark.parametrize("verdict", [STOLEN, Verdict(VerdictKind(6))])
def test_a_verdict_that_no_listener_may_give_leaves_the_packet_waiting(verdict: Verdict) -> None:
    listeners = Listeners(Listen("host", 7))
    listeners.queue(1)
    assert listeners.nfqnl.recv_verdict("host", 7, verdict, None) == -errno.EINVAL
    assert listeners.nfqnl.recv_verdict("host", 7, ACCEPT, None) == 0


def test_a_removal_empties_the_queues_of_its_namespace_only_and_their_listeners_do_not_know() -> None:
    listeners = Listeners(Listen("host", 7), Listen("host", 8), Listen("peer", 7))
    listeners.queue(1)
    listeners.queue(2, 8)
    listeners.nfqnl.nf_hook_drop(Net("peer"))
    assert listeners.back == []
    listeners.nfqnl.nf_hook_drop(Net("host"))
    assert listeners.back == [(1, DROP), (2, DROP)]
    assert listeners.nfqnl.recv_verdict("host", 7, ACCEPT, 1) == -errno.ENOENT


def test_one_socket_listens_to_a_queue_and_what_waits_is_dropped_with_it() -> None:
    listeners = Listeners(Listen("host", 7))
    assert listeners.nfqnl.recv_config(Listen("host", 7)) == -errno.EPERM
    listeners.queue(1)
    listeners.nfqnl.release("host", 7)
    assert (listeners.back, listeners.queue(2)) == ([(1, DROP)], -errno.ESRCH)
