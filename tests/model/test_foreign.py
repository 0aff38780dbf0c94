"""Foreign hooks: that they are there and what they answer is adopted, everything that follows is predicted."""

from __future__ import annotations

import errno
from dataclasses import replace

from harness.model import Foreign, predict, seen
from harness.netfilter import PRIORITY_MAX, Family, Verdict, VerdictKind
from harness.outcome import Fate, Outcome, PacketOutcome, Slot, StepOutcome, compare, point_key
from harness.outcome.types import BEFORE, OURS
from harness.scenario import BUILTIN, Scenario
from harness.scenario.steps.hooks import Dump, Nft, Register, Unregister
from harness.scenario.steps.packets import Send
from harness.scenario.topology import PAIR

V4 = Family.IPV4
INPUT = point_key("host", V4, 1)
NFT, CT = ("nft_do_chain_inet", "nf_tables", 0), ("nf_confirm", "nf_conntrack", PRIORITY_MAX)


def array(*hooks: tuple[str, str, int]) -> tuple[Slot, ...]:
    return tuple(Slot(index, *hook) for index, hook in enumerate(hooks))


def scenario(*steps: Nft | Register | Unregister | Dump | Send) -> Scenario:
    return Scenario("test", "", PAIR, steps)


def names(outcome: Outcome, step: int) -> list[str]:
    return [slot.label or slot.function for slot in dict(outcome.steps[step].slots)[INPUT]]


def test_a_foreign_hook_takes_the_place_that_core_gives_it() -> None:
    steps = scenario(Register("older", "host", V4, "INPUT"), Nft("host", "…"), Register("newer", "host", V4, "INPUT"),
                     Register("last", "host", V4, "INPUT", PRIORITY_MAX), Send("peer", "host", 1))
    outcome = predict(steps, foreign=Foreign({1: ((INPUT, array(NFT, CT)),)}))
    assert names(outcome, 1) == ["nft_do_chain_inet", "older", "nf_confirm"]
    assert [call.label or call.function for call in outcome.packets[0].traversals[0].calls] == [
        "newer", "nft_do_chain_inet", "older", "last", "nf_confirm"]


def test_hooks_that_every_namespace_is_born_with_are_adopted_before_the_first_step() -> None:
    apparmor = Slot(0, "apparmor_ip_postroute", None, -225)
    steps = scenario(Register("newer", "host", V4, "INPUT", -225), Send("peer", "host", 1))
    outcome = predict(steps, foreign=Foreign({BEFORE: ((INPUT, (apparmor,)),)}))
    assert outcome.steps[0] == StepOutcome(BEFORE, 0, ((INPUT, (apparmor,)),))
    assert [call.function for call in outcome.packets[0].traversals[0].calls] == [OURS, "apparmor_ip_postroute"]
    assert predict(steps, foreign=seen(outcome)) == outcome


def test_the_order_that_one_ruleset_brings_at_one_priority_is_adopted() -> None:
    first, second = ("a", "m", 0), ("b", "m", 0)
    outcome = predict(scenario(Nft("host", "…"), Dump("host", V4, "INPUT")), foreign=Foreign({0: ((INPUT, array(first, second)),)}))
    assert names(outcome, 1) == ["a", "b"]


def test_two_chains_with_the_same_function_and_priority_are_two_hooks_and_leave_one_by_one() -> None:
    arrays = {0: ((INPUT, array(NFT, NFT)),), 1: ((INPUT, array(NFT)),), 2: ((INPUT, ()),)}
    outcome = predict(scenario(Nft("host", "…"), Nft("host", "…"), Nft("host", "…")), foreign=Foreign(arrays))
    assert [names(outcome, step) for step in range(3)] == [["nft_do_chain_inet"] * 2, ["nft_do_chain_inet"], []]


def test_a_ruleset_that_reorders_our_hooks_would_be_noticed() -> None:
    steps = scenario(Register("one", "host", V4, "INPUT", 1), Register("two", "host", V4, "INPUT", 2), Nft("host", "…"))
    good = predict(steps, foreign=Foreign({2: ((INPUT, array(NFT)),)}))
    key, slots = good.steps[2].slots[0]
    bad = replace(good, steps=(*good.steps[:2], replace(good.steps[2], slots=((key, (slots[0], slots[2], slots[1])),))))
    assert compare(predict(steps, foreign=seen(bad)), bad).verdict == "different"


def drop_in_nft(outcome: Outcome, verdict: Verdict, returned: int) -> Outcome:
    """As if nft had given this verdict at INPUT."""
    packet = outcome.packets[0]
    one = packet.traversals[0]
    nth = [call.function for call in one.calls].index(NFT[0])
    calls = (*one.calls[:nth], replace(one.calls[nth], verdict=verdict))
    changed: PacketOutcome = replace(packet, traversals=(replace(one, calls=calls, returned=returned),),
                                     fate=Fate("stolen", -returned))
    return replace(outcome, packets=(changed,))


def test_what_follows_from_a_foreign_verdict_is_predicted() -> None:
    steps = scenario(Nft("host", "…"), Register("after", "host", V4, "INPUT", 1), Send("peer", "host", 1))
    accepted = predict(steps, foreign=Foreign({0: ((INPUT, array(NFT)),)}))
    observed = drop_in_nft(accepted, Verdict(VerdictKind.STOLEN, errno.EPERM), -errno.EPERM)
    predicted = predict(steps, foreign=seen(observed))
    assert predicted == observed
    assert [call.label for call in predicted.packets[0].traversals[0].calls] == [None]
    wrong = drop_in_nft(accepted, Verdict(VerdictKind.STOLEN, errno.EPERM), 0)
    assert compare(predict(steps, foreign=seen(wrong)), wrong).verdict == "different"


def test_a_foreign_hook_that_no_step_brought_is_a_difference() -> None:
    steps = BUILTIN["local-in"]
    observed = predict(steps)
    packet = observed.packets[0]
    one = packet.traversals[1]
    intruder = replace(one.calls[0], function="intruder", module="elsewhere", label=None, priority=99, index=2)
    changed = replace(packet, traversals=(packet.traversals[0], replace(one, calls=(*one.calls, intruder))))
    observed = replace(observed, packets=(changed, *observed.packets[1:]))
    (difference,) = compare(predict(steps, foreign=seen(observed)), observed).differences
    assert difference.where == "packet 1/host INPUT/call 2"
    assert difference.explanation == "intruder [elsewhere] is a foreign hook that came behind the scenario's back"


def test_what_the_executor_says_of_steps_that_are_no_nft_step_is_not_adopted() -> None:
    steps = scenario(Register("h", "host", V4, "INPUT"))
    observed = predict(steps, foreign=Foreign({0: ((INPUT, array(NFT)),)}))
    assert names(observed, 0) == ["h"]
