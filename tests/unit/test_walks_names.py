"""A name in a filter that no packet met is said, with the names that were met."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.backends.observer import Complaints
from harness.cli.sessions import Seen, remarks, tail
from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome.fate import Fate
from harness.outcome.types import HookCall, Outcome, PacketOutcome, Traversal
from harness.walks.filter import filter_of
from harness.walks.names import Name, Names

_INNER = HookCall(0, "nft_nat_do_chain", "nft_chain_nat", -100, Verdict(VerdictKind.ACCEPT), chain="ip nat pre")
_NAT = HookCall(0, "nf_nat_ipv4_pre_routing", "nf_nat", -100, Verdict(VerdictKind.ACCEPT), calls=(_INNER,))
_AT = Traversal(Family.IPV4, 0, "router", "eth0", "", (_NAT,), 1)
PACKET = PacketOutcome("packet 1", None, Fate("delivered"), (_AT,), number=1)


def _absent(text: str) -> tuple[str, ...]:
    names = Names()
    names.add(PACKET)
    return names.absent(filter_of(text).names)


@pytest.mark.parametrize(("text", "absent"), [
    ("netns ruter", "no packet crossed a hook point in a namespace named 'ruter': router"),
    ("not netns rout", "no packet crossed a hook point in a namespace named 'rout': router"),
    ("dev eth", "no packet crossed a hook point with a device named 'eth': eth0"),
    ("dropped or by 'inet filter'",
     "no hook that was called has 'inet filter' in its name: "
     "ip nat pre nft_nat_do_chain [nft_chain_nat], nf_nat_ipv4_pre_routing [nf_nat]"),
])
def test_a_name_that_no_packet_met_is_said(text: str, absent: str) -> None:
    assert _absent(text) == (absent,)


@pytest.mark.parametrize("text", [
    "netns router", "dev eth0", "by 'ip nat'", "called nf_nat_ipv4", "called nft_chain_nat", "dropped and mark 7"])
def test_a_name_that_was_met_is_not(text: str) -> None:
    assert _absent(text) == ()


def test_of_many_names_few_are_shown_and_of_too_many_none_is_called_absent() -> None:
    names = Names()
    for number in range(12):
        names.add(replace(PACKET, traversals=(replace(_AT, netns=f"c{number:02}"),)))
    sentence, = names.absent((Name("netns", "x"), Name("netns", "x")))
    assert sentence.endswith(": c00, c01, c02, c03, c04, c05, c06, c07 and 4 more")
    for number in range(1000):
        names.add(replace(PACKET, traversals=(replace(_AT, netns=f"d{number}"),)))
    assert names.absent((Name("netns", "x"), Name("dev", "x"))) == ("no packet crossed a hook point with a device named 'x': eth0",)


def test_a_session_says_it_in_text_and_in_json() -> None:
    seen = Seen({}, (), 0, Outcome(packets=(PACKET,)), Outcome(), Complaints(), sought=filter_of("netns ruter").names)
    said = ("no packet crossed a hook point in a namespace named 'ruter': router",)
    assert (said[0] in remarks(seen), tail(seen)["absent"]) == (True, list(said))
    silent = replace(seen, observed=Outcome(), sought=seen.sought)
    assert "absent" not in tail(silent)
