"""A comparison of fates that fails shows the packet's walk and the hook that decided."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome.fate import Delivered, Dropped, DroppedByStack, Fate
from harness.outcome.types import HookCall, PacketOutcome, Traversal
from harness.pytest_plugin.guest.comparing import WALKED, Comparing, explained
from harness.pytest_plugin.walks import Walk

DROP = Verdict.decode(1 << 16 | VerdictKind.STOLEN)


def walk(fate: Fate, verdict: Verdict = DROP) -> Walk:
    gate = HookCall(0, "nfharness_hook", "nfharness", 0, Verdict(VerdictKind.ACCEPT), label="gate")
    traversal = Traversal(Family.IPV4, 2, "router", "a", "b", (gate, HookCall(1, "nft_do_chain", None, 0, verdict, label="newer")), -1)
    return Walk(PacketOutcome("UDP 10.0.1.2:1 > 10.0.2.2:53", 1, fate, (traversal,)))


def comparing(*walks: Walk) -> Comparing:
    hooks, stash = Comparing(), pytest.Stash()
    stash[WALKED] = list(walks)
    item: Any = SimpleNamespace(stash=stash)
    hooks.pytest_runtest_setup(item)
    return hooks


def test_the_walk_is_shown_and_the_hook_that_decided() -> None:
    other, own = walk(Dropped()), walk(Fate("dropped", 1, "NETFILTER_DROP in nft_do_chain"))
    assert comparing(other, own).pytest_assertrepr_compare("==", own.fate, Delivered()) == [
        'Dropped("EPERM") == Delivered()',
        "the walk of UDP 10.0.1.2:1 > 10.0.2.2:53",
        "  router IPV4 FORWARD: gate ACCEPT, newer STOLEN(EPERM)",
        "  dropped (EPERM) at router IPV4 FORWARD by newer STOLEN(EPERM): NETFILTER_DROP in nft_do_chain",
    ]


def test_what_the_stack_ended_no_hook_has_decided() -> None:
    own = walk(Fate("dropped by the stack", reason="ip_forward"), Verdict(VerdictKind.ACCEPT))
    lines = comparing(own).pytest_assertrepr_compare("==", Delivered(), own.fate)
    assert lines is not None
    assert lines[-1] == "  dropped by the stack: ip_forward"


def test_a_word_is_no_fate_and_the_fate_is_named() -> None:
    own = walk(Dropped())
    lines = comparing(own).pytest_assertrepr_compare("==", own.fate, "dropped by the stack")
    assert lines is not None
    assert lines[:3] == [
        "Dropped(\"EPERM\") == 'dropped by the stack'",
        "'dropped by the stack' is no fate; compare with DroppedByStack()",
        "the walk of UDP 10.0.1.2:1 > 10.0.2.2:53",
    ]
    lines = comparing(own).pytest_assertrepr_compare("==", own.fate, "lost")
    assert lines is not None
    assert lines[1].startswith("'lost' is no fate; fates are Delivered(), Dropped(), ")


def test_of_several_fates_none_is_the_walk_s() -> None:
    own = walk(Dropped())
    lines = comparing(own).pytest_assertrepr_compare("in", own.fate, (Delivered(), DroppedByStack()))
    assert lines is not None
    assert lines[0] == 'Dropped("EPERM") in (Delivered(), DroppedByStack())'
    assert lines[-1] == "  dropped (EPERM) at router IPV4 FORWARD by newer STOLEN(EPERM)"
    lines = comparing(own).pytest_assertrepr_compare("in", own.fate, ["delivered", "sent"])
    assert lines is not None
    assert lines[1:3] == ["'delivered' is no fate; compare with Delivered()", "'sent' is no fate; compare with Sent()"]


def test_a_base_chain_is_told_with_its_family() -> None:
    call = HookCall(0, "nft_do_chain_inet", "nf_tables", 0, Verdict(VerdictKind.QUEUE), chain="inet fence forward")
    traversal = Traversal(Family.IPV4, 2, "router", "a", "b", (call,), 0)
    own = Walk(PacketOutcome("UDP", 1, Fate("queued"), (traversal,)))
    assert (own.visits[0].names, own.visits[0].calls[0].chain) == (["fence forward"], "inet fence forward")
    assert list(explained([own]))[1:] == ["  router IPV4 FORWARD: inet fence forward QUEUE",
                                          "  queued at router IPV4 FORWARD by inet fence forward QUEUE"]


def test_other_comparisons_are_pytest_s() -> None:
    assert comparing().pytest_assertrepr_compare("==", 1, 2) is None
    assert comparing().pytest_assertrepr_compare("==", Delivered(), Dropped()) == ['Delivered() == Dropped("EPERM")']
