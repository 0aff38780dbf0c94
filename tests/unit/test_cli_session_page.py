"""``trace --html``: a page that says what the text says, and runs nothing that came from a packet, a chain or a namespace."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from harness.backends.observer import Complaints
from harness.cli import session_page
from harness.cli.session_page import page
from harness.cli.sessions import Seen
from harness.errors import KernelDied
from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome.fate import Fate
from harness.outcome.types import Change, HookCall, Missed, Outcome, PacketOutcome, Registration, Relation, RulesetRule, Slot, Traversal
from harness.walks.filter import filter_of
from tests.unit.test_cli_html import Page

ACCEPT, DROP = Verdict(VerdictKind.ACCEPT), Verdict(VerdictKind.DROP, errno=1)
NASTY = """</script><script>alert(1)</script><img src=x onerror='a("b")'>&amp;{{ 7 * 7 }}"""


def crossed(netns: str, hook: int, *calls: HookCall, **more: Any) -> Traversal:
    return Traversal(Family.IPV4, hook, netns, "in0", "out0", calls, -1 if DROP in [call.verdict for call in calls] else 1, **more)


def chain(verdict: Verdict, name: str = "inet fw forward", **more: Any) -> HookCall:
    return HookCall(2, "nft_do_chain_inet", "nf_tables", -5, verdict, 12_345, chain=name, **more)


#: Dropped in the second namespace that it met hooks in, and delivered.
DROPPED = PacketOutcome("UDP 10.0.1.2:7 > 10.0.2.2:9, 60 bytes", None, Fate("dropped", 1, "NETFILTER_DROP in nft_do_chain"), (
    crossed("client", 4, chain(ACCEPT, "inet fw out"), time=1_500_000),
    crossed("router", 2, chain(DROP, rule=RulesetRule(7, "forward", "udp dport 9 drop")), changed=(Change("TTL", "64", "63"),)),
), number=1)
DELIVERED = PacketOutcome("ICMP 10.0.1.1 > 10.0.1.2, 56 bytes", None, Fate("delivered", reason="icmp_rcv"), (
    crossed("router", 3, chain(ACCEPT, calls=(chain(ACCEPT, "ip nat output"),))), crossed("client", 1, chain(ACCEPT, "inet fw in"))),
    number=2, relation=Relation("answer to", 1))
UNROUTED = PacketOutcome("UDP x", None, Fate("dropped by the stack", reason="IP_INNOROUTES in ip_rcv"), (crossed("router", 0),), number=3)
SOLICITATION = PacketOutcome("ARP", None, Fate("consumed"), (crossed("client", 0),), kind="arp request", number=4)


def session(*packets: PacketOutcome, **more: Any) -> Seen:
    of_all = ("doubts", "lost_events", "blind", "registrations")
    observed = Outcome(packets=packets, **{key: more.pop(key) for key in of_all if key in more})
    return replace(Seen({"release": "6.12.1", "accelerator": "tcg"}, ["sh", "-c", "nft -f x"], 0, observed, observed, Complaints()), **more)


def shown(*packets: PacketOutcome, **more: Any) -> Page:
    return Page(page(session(*packets, **more)))


def packets(found: Page) -> list[dict[str, str | None]]:
    return [attributes for tag, attributes in found.elements if tag == "details"]


def test_every_element_that_is_opened_is_closed() -> None:
    assert shown(DROPPED, DELIVERED, UNROUTED, SOLICITATION).open == []


def test_registrations_have_a_list_and_a_walk_tells_which_array_it_met() -> None:
    hook = Slot(0, NASTY, "nf_tables", 0, chain="inet fw out")
    made = Registration(1, "registered", 1_500, Family.IPV4, 2, "router", "", hook, 0, NASTY, 41, (NASTY,), 3, 1, (), (hook,), 0, 1)
    missed = (Missed(1, "registered", "inet fw out", before=True),)
    late = replace(DROPPED, traversals=(replace(DROPPED.traversals[0], generation=0, missed=missed),))
    found = shown(late, registrations=(made,))
    assert found.open == []
    assert "registered inet fw out at router FORWARD, priority 0" in found.text
    assert "generation 0 → 1, slots 0 → 1, nf_hooks_needed 3" in found.text
    assert "old array: inet fw out, registered before it began (registration 1), came too late for it" in found.text
    assert not any(tag in ("img", "script") for tag, attributes in found.elements if "src" in attributes)


def test_that_registrations_are_not_seen_is_told_first_and_last() -> None:
    text = shown(DROPPED, complaints=Complaints(unregistered="no function x")).text
    assert text.count("registrations of hooks are not seen on this kernel: no function x") == 2


def test_a_packet_s_line_has_its_namespaces_its_end_and_who_decided() -> None:
    found = shown(DROPPED, DELIVERED)
    line = next(line for line in found.text.splitlines() if "UDP 10.0.1.2:7" in line)
    assert line == ("10.001500 sclient → routerUDP 10.0.1.2:7 > 10.0.2.2:9, 60 bytesdropped (EPERM)"
                    "inet fw forward at router FORWARD rule 7: udp dport 9 drop")


def test_a_walk_has_every_call_of_every_namespace() -> None:
    text = " ".join(shown(DROPPED, DELIVERED).text.split())
    assert ("POSTROUTING client in in0, out out0 2-5inet fw out nft_do_chain_inet [nf_tables]ACCEPT12,345 returned 1 "
            "FORWARD router in in0, out out0 on its way here: TTL 64 → 63"
            "2-5inet fw forward nft_do_chain_inet [nf_tables]↳ rule 7: udp dport 9 dropDROP(EPERM)12,345 returned -EPERM "
            "dropped (EPERM) NETFILTER_DROP in nft_do_chain") in text
    assert "answer to packet 1" in text
    assert "2.2-5ip nat output nft_do_chain_inet [nf_tables]ACCEPT12,345 2-5inet fw forward" in text


def test_a_packet_s_path_is_of_elements_that_are_there() -> None:
    found = shown(DROPPED, DELIVERED)
    ids = {attributes["id"] for _, attributes in found.elements if "id" in attributes}
    paths = [str(one["data-path"]).split() for one in packets(found)]
    assert [len(path) for path in paths] == [9, 11]  # five places and the ways between them, six places
    assert {part for path in paths for part in path} <= ids


@pytest.mark.parametrize(("name", "wanted"), [
    ("data-end", ["dropped", "delivered", "dropped by the stack", "consumed"]),
    ("data-decider", ["inet fw forward at router FORWARD", "no hook", "the stack", "no hook"]),
    ("data-tone", ["bad", "good", "bad", "other"]),
])
def test_packets_can_be_told_apart_by_end_and_decider(name: str, wanted: list[str]) -> None:
    assert [one[name] for one in packets(shown(DROPPED, DELIVERED, UNROUTED, SOLICITATION))] == wanted


def test_each_end_and_decider_can_be_chosen() -> None:
    found = shown(DROPPED, DELIVERED, UNROUTED)
    chosen = {str(attributes["value"]) for tag, attributes in found.elements if tag == "option"} - {""}
    assert chosen == {str(one[name]) for one in packets(found) for name in ("data-end", "data-decider")}


def test_what_nobody_asked_for_is_marked() -> None:
    found = shown(DROPPED, SOLICITATION)
    assert ["data-noise" in one for one in packets(found)] == [False, True]
    assert "noise (1)" in found.text


def test_text_of_any_origin_is_no_html() -> None:
    call = chain(DROP, NASTY, rule=RulesetRule(1, NASTY, f'drop comment "{NASTY}"'), changed=(Change("mark", NASTY, NASTY),))
    nasty = PacketOutcome(NASTY, None, Fate("dropped", 1, NASTY), (replace(crossed(NASTY, 0, call), indev=NASTY, outdev=NASTY, loop=NASTY),
                          crossed("b", 0, replace(call, function=NASTY, module=NASTY, chain=None, label=NASTY))), number=1)
    seen = session(nasty, doubts=(NASTY,), blind=((NASTY, NASTY),), argv=[NASTY], facts={"release": NASTY, "accelerator": NASTY},
                   complaints=Complaints((NASTY,), NASTY, (NASTY,), NASTY, NASTY), died=KernelDied(NASTY, console_tail=NASTY))
    found, tame = Page(page(seen, filter_of("dropped"))), shown(DROPPED, DELIVERED)
    assert found.open == []
    assert found.text.count(NASTY) > 15
    assert [tag for tag, _ in found.elements if tag in ("script", "img")] == ["script"]
    assert not [name for _, attributes in found.elements for name in attributes if name.startswith("on")]
    assert {tag for tag, _ in found.elements} - {tag for tag, _ in tame.elements} <= {"pre", "h2"}


def test_what_moves_the_cursor_or_turns_the_direction_of_writing_is_shown_as_an_escape() -> None:
    text = page(session(replace(DROPPED, packet="a\x1b[1m\x00b\u202ec\ud800")))
    assert r"a\x1b[1m\x00b\u202ec\ud800" in text
    assert text.encode()


def test_it_needs_nothing_but_itself() -> None:
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)|<link|src=", page(session(DROPPED, DELIVERED)))


def test_doubts_are_its_first_word_and_its_last() -> None:
    found = shown(DROPPED, lost_events=2, blind=(("nf_hook_slow_list", "the kernel calls through memory"),))
    lines = [line for line in found.text.splitlines() if line]
    said = ["inconclusive: 2 events lost; nf_hook_slow_list ran, and its calls are not seen: the kernel calls through memory",
            "hooks that nf_hook_slow_list calls are not seen: the kernel calls through memory"]
    assert (lines[3:5], lines[-2:]) == (said, said)
    assert [attributes.get("class") for _, attributes in found.elements].count("told doubtful") == 2


def test_a_session_without_packets_says_so() -> None:
    found = shown()
    assert found.open == []
    assert "no hook point that has a hook was crossed" in found.text
    assert found.text.count("traced: 0 packets, 0 hook calls") == 2
    assert not {"svg", "details", "select"} & {tag for tag, _ in found.elements}


def test_what_the_filter_does_not_want_is_counted() -> None:
    seen = session(DROPPED, DELIVERED)
    text = Page(page(replace(seen, shown=Outcome(packets=(DROPPED,))), filter_of("dropped"))).text
    assert ("packets that match dropped" in text, "… and 1 packet that the filter does not want" in text) == (True, True)
    assert "ICMP" not in text


def test_what_a_browser_could_not_hold_is_left_out_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_page, "LISTED", 3)
    monkeypatch.setattr(session_page, "WALKS", 1)
    found = shown(DELIVERED, replace(DELIVERED, number=5), DROPPED, UNROUTED)
    assert [one["id"] for one in packets(found)] == ["p2", "p5", "p1"]
    assert found.text.count("The walk is left out.") == 2
    assert "returned -EPERM" in found.text  # what was dropped comes first
    assert "… and 1 more packet, which the picture counts and the list leaves out: trace --read FILE FILTER" in found.text
    assert "2 packets listed without walks" in found.text


def test_the_traversals_that_did_not_obey_core_are_told() -> None:
    text = Page(page(session(DROPPED), None, (9, ()))).text
    assert "9 traversals obeyed core.c, none did not" in text


def test_a_kernel_that_died_is_told() -> None:
    assert shown(DROPPED, died=KernelDied("the kernel panicked", console_tail="")).text.count("the kernel panicked") == 2


def test_a_session_that_was_read_again_makes_the_same_page() -> None:
    from harness.outcome import codec  # noqa: PLC0415

    seen = session(DROPPED, DELIVERED)
    again = codec.from_json({**json.loads(json.dumps(codec.to_json(seen.observed))), "steps": ()})
    assert page(replace(seen, observed=again, shown=again)) == page(seen)
