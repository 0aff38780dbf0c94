"""The verdict loop: what runs, what it returns, who has the skb."""

from __future__ import annotations

import errno
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.entries import DUMMY_OPS
from harness.model.slow import nf_drop_geterr, nf_hook_slow
from harness.model.structures import Context, HookOps, HookState, Net, QueueEntry, Skb
from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome.profile import KernelProfile
from tests.strategies import verdicts

NEW, OLD = KernelProfile(stolen_errno=True), KernelProfile(stolen_errno=False)


def hooks(*answers: Verdict) -> list[HookOps]:
    return [HookOps(lambda _ops, _context, answer=answer: answer, f"hook_{index}", None, Family.IPV4, 0, index)  # type: ignore[misc]
            for index, answer in enumerate(answers)]


@dataclass
class Handler:
    """:param answer: whether it takes packets, as ``outfn`` says it"""

    answer: int

    def outfn(self, entry: QueueEntry, _queuenum: int) -> int:
        if self.answer == 0:
            entry.context.skb.state = "queued"
        return self.answer

    def nf_hook_drop(self, _net: Net) -> None:
        raise AssertionError


def run(array: list[HookOps], s: int = 0, profile: KernelProfile = NEW, handler: int = -errno.ESRCH) -> tuple[int, list[int], str]:
    """What the loop returns, the indexes that were called, the skb's state."""
    context = Context(Skb(), HookState(Family.IPV4, 0, "netns"))
    ret = nf_hook_slow(context, array, s, profile=profile, handler=Handler(handler))
    return ret, [call.index for call in context.calls], context.skb.state


ACCEPT = Verdict(VerdictKind.ACCEPT)


def test_accept_by_all_runs_each_once_in_order_and_lets_okfn_run() -> None:
    assert run(hooks(ACCEPT, ACCEPT, ACCEPT)) == (1, [0, 1, 2], "in flight")


@pytest.mark.parametrize(("verdict", "returned"), [
    (Verdict(VerdictKind.DROP), -errno.EPERM),
    (Verdict(VerdictKind.DROP, errno.EHOSTUNREACH), -errno.EHOSTUNREACH),
    (Verdict(VerdictKind.DROP, 0x7FFF), -0x7FFF),
    (Verdict(VerdictKind.DROP, 0xFFFF), 1),
])
def test_drop_frees_the_skb_and_returns_its_errno(verdict: Verdict, returned: int) -> None:
    assert run(hooks(ACCEPT, verdict, ACCEPT)) == (returned, [0, 1], "freed")


def test_stolen_returns_0_and_leaves_the_skb_to_the_thief() -> None:
    assert run(hooks(Verdict(VerdictKind.STOLEN), ACCEPT)) == (0, [0], "stolen")


def test_stolen_with_an_errno_returns_it_on_newer_kernels_only() -> None:
    stolen = hooks(Verdict(VerdictKind.STOLEN, errno.EPERM), ACCEPT)
    assert run(stolen, profile=NEW) == (-errno.EPERM, [0], "stolen")
    assert run(stolen, profile=OLD) == (0, [0], "stolen")


def test_queue_without_a_listener_drops_and_returns_0() -> None:
    assert run(hooks(Verdict(VerdictKind.QUEUE, queue=3), ACCEPT)) == (0, [0], "freed")


def test_queue_without_a_listener_but_with_bypass_goes_on_with_the_next_hook() -> None:
    assert run(hooks(Verdict(VerdictKind.QUEUE, bypass=True), ACCEPT)) == (1, [0, 1], "in flight")
    assert run(hooks(Verdict(VerdictKind.QUEUE, bypass=True))) == (1, [0], "in flight")


def test_queue_with_a_listener_waits() -> None:
    assert run(hooks(Verdict(VerdictKind.QUEUE, bypass=True), ACCEPT), handler=0) == (0, [0], "queued")


def test_bypass_helps_against_a_missing_listener_only() -> None:
    assert run(hooks(Verdict(VerdictKind.QUEUE, bypass=True), ACCEPT), handler=-errno.ENOMEM) == (0, [0], "freed")


@pytest.mark.parametrize("kind", [VerdictKind.REPEAT, VerdictKind.STOP])
def test_unconventional_verdicts_end_the_loop_and_nobody_frees_the_skb(kind: VerdictKind) -> None:
    assert run(hooks(Verdict(kind), ACCEPT)) == (0, [0], "leaked")


def test_a_start_index_skips_the_hooks_before_it() -> None:
    assert run(hooks(Verdict(VerdictKind.DROP), ACCEPT, ACCEPT), s=1) == (1, [1, 2], "in flight")
    assert run(hooks(ACCEPT), s=1) == (1, [], "in flight")


def test_a_dummy_slot_accepts() -> None:
    assert run([DUMMY_OPS, *hooks(ACCEPT)]) == (1, [0, 0 + 1], "in flight")


def naive(answers: list[Verdict], stolen_errno: bool) -> tuple[int, int]:
    """Returned value and number of calls: the first verdict that is neither ACCEPT nor a bypassed QUEUE decides."""
    for count, verdict in enumerate(answers, start=1):
        if verdict.kind is VerdictKind.DROP:
            return -(verdict.errno or errno.EPERM), count
        if verdict.kind is VerdictKind.STOLEN:
            return -verdict.errno if stolen_errno else 0, count
        if verdict.kind is VerdictKind.QUEUE and not verdict.bypass:
            return 0, count
    return 1, len(answers)


@given(st.lists(verdicts, max_size=8), st.booleans())
def test_the_first_decisive_verdict_ends_the_loop(answers: list[Verdict], stolen_errno: bool) -> None:
    returned, called, state = run(hooks(*answers), profile=KernelProfile(stolen_errno=stolen_errno))
    assert (returned, called) == (naive(answers, stolen_errno)[0], list(range(naive(answers, stolen_errno)[1])))
    assert (state == "in flight") == (returned == 1)


@given(st.integers(0, 0xFFFF))
def test_drop_geterr_is_the_negative_of_the_signed_upper_half(number: int) -> None:
    signed = int.from_bytes(number.to_bytes(2, "big"), "big", signed=True)
    assert nf_drop_geterr(Verdict(VerdictKind.DROP, number)) == -signed
