"""What a filter's words mean, how they are joined, and which of them are libpcap's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.errors import UserError
from harness.netfilter import Family, Verdict, VerdictKind
from harness.outcome.fate import Fate
from harness.outcome.types import Change, Connection, HookCall, PacketOutcome, Traversal
from harness.walks.filter import filter_of, joined

_ACCEPT, _DROP, _QUEUE = (Verdict(kind) for kind in (VerdictKind.ACCEPT, VerdictKind.DROP, VerdictKind.QUEUE))


def _call(verdict: Verdict, chain: str | None = None, ns: int = 1000, function: str = "nft_do_chain_inet", *inner: HookCall) -> HookCall:
    return HookCall(0, function, "nf_tables", 0, verdict, ns, chain=chain, calls=inner)


def _packet(number: int, fate: Fate, *traversals: Traversal) -> PacketOutcome:
    return PacketOutcome(packet=f"packet {number}", cookie=None, fate=fate, traversals=traversals, alive=0, number=number)


def _at(pf: Family, hook: int, netns: str, *calls: HookCall, indev: str = "", outdev: str = "", mark: int = 0,
        tracked: Connection | None = None) -> Traversal:
    return Traversal(pf, hook, netns, indev, outdev, calls, 1, mark=mark, tracked=tracked)


PACKETS = (
    _packet(1, Fate("dropped", 1),
            _at(Family.IPV4, 2, "router", _call(_ACCEPT, "inet a first"), _call(_DROP, "inet admin forward"), indev="eth0",
                tracked=Connection(1, 5, ("ASSURED",), "reply"))),
    _packet(2, Fate("dropped by the stack"), _at(Family.IPV6, 0, "host", replace(
        _call(_ACCEPT, "inet admin in", 2_000_000), changed=(Change("connection", "none", "new"), Change("zone", "0", "7"))), mark=7)),
    _packet(3, Fate("delivered"), _at(Family.IPV4, 0, "host", _call(_ACCEPT, None, 10, "nf_nat_ipv4_in", _call(_ACCEPT, "ip nat pre"))),
            _at(Family.IPV4, 1, "host", replace(_call(_QUEUE), changed=(
                Change("connection", "none", "new"), Change("status", "none", "SEEN_REPLY CONFIRMED"))), outdev="eth0")),
)


@pytest.mark.parametrize(("verdict", "drops"), [
    (_DROP, True), (Verdict(VerdictKind.STOLEN, errno=1), True), (Verdict(VerdictKind.STOLEN), False), (_ACCEPT, False)])
def test_a_drop_is_one_whichever_way_the_hook_says_it(verdict: Verdict, *, drops: bool) -> None:
    crossed = _packet(1, Fate("dropped", 1), _at(Family.IPV4, 1, "host", _call(verdict)))
    assert bool(filter_of("verdict drop").wanted((crossed,), {})) == drops


@pytest.mark.parametrize(("text", "numbers"), [
    ("dropped", [1, 2]),
    ("not dropped", [3]),
    ("delivered or dropped", [1, 2, 3]),
    ("by admin", [1]),
    ("by 'inet admin'", [1]),
    ("called admin", [1, 2]),
    ("called 'ip nat'", [3]),
    ("verdict queue", [3]),
    ("verdict DROP", [1]),
    ("family ipv6", [2]),
    ("point forward", [1]),
    ("netns host", [2, 3]),
    ("dev eth0", [1, 3]),
    ("mark 0x7", [2]),
    ("zone 5", [1]),
    ("zone 7", [2]),
    ("zone 0", [3]),
    ("status assured", [1]),
    ("status CONFIRMED", [3]),
    ("slower 1ms", [2]),
    ("slower 2s", []),
    ("netns host and not (mark 7 or dropped)", [3]),
    ("! netns host && dropped", [1]),
    ("netns router or netns host and mark 7", [2]),
    ("netns router or (netns host and mark 7)", [1, 2]),
])
def test_words_of_ours(text: str, numbers: list[int]) -> None:
    wanted = filter_of(text)
    assert (wanted.pcap, [packet.number for packet in wanted.wanted(PACKETS, {})]) == ({}, numbers)


@pytest.mark.parametrize(("text", "terms"), [
    ("host 10.0.0.1", {"host 10.0.0.1": 0}),
    ("dropped and host 10.0.0.1", {"host 10.0.0.1": 12}),
    ("tcp[13] & (2 | 4) != 0 and not (udp  port 53)", {"tcp[13] & (2 | 4) != 0": 0, "udp  port 53": 32}),
    ("ip6 or tcp[tcpflags] & tcp-syn != 0", {"ip6": 0, "tcp[tcpflags] & tcp-syn != 0": 7}),
])
def test_what_begins_with_none_of_them_is_libpcap_s(text: str, terms: dict[str, int]) -> None:
    assert dict(filter_of(text).pcap) == terms


def test_a_packet_matches_as_libpcap_says() -> None:
    wanted = filter_of("dropped and not host 10.0.0.1")
    assert [packet.number for packet in wanted.wanted(PACKETS, {"host 10.0.0.1": {1, 3}})] == [2]


@pytest.mark.parametrize(("text", "column", "problem"), [
    ("dropped and", 11, "a term is missing"),
    ("(dropped", 8, "a parenthesis is not closed"),
    ("dropped)", 7, "')' is not expected here"),
    ("dropped host 10.0.0.1", 8, "'host' is not expected here"),
    ("by", 2, "something is missing at the end"),
    ("verdict DORP", 8, "DORP is no verdict: one of ACCEPT, DROP, QUEUE, REPEAT, STOLEN, STOP"),
    ("point FORWAD", 6, "FORWAD is no hook point"),
    ("netns a and family inet6", 19, "inet6 is no family"),
    ("mark x", 5, "x is no number"),
    ("slower 5", 7, "5 is no time"),
    ("", 0, "a term is missing"),
])
def test_a_mistake_has_its_column(text: str, column: int, problem: str) -> None:
    with pytest.raises(UserError) as told:
        filter_of(text)
    _, shown, mark = str(told.value.hint).splitlines()
    assert problem in told.value.message
    assert (shown, mark) == (f"    {text}", f"    {' ' * column}^")


@pytest.mark.parametrize("nested", ["{} {}".format("not " * 3000, "dropped"), "(" * 3000 + "dropped" + ")" * 3000, "! (" * 3000])
def test_one_that_is_nested_too_deeply_is_a_mistake(nested: str) -> None:
    with pytest.raises(UserError, match="more than 100 words 'not' and parentheses stand in one another") as told:
        filter_of(nested)
    _, shown, mark = str(told.value.hint).splitlines()
    assert shown[len(mark) - 1] in "n(!"
    assert len(shown) < 130


@pytest.mark.parametrize(("text", "numbers"), [
    ("not " * 100 + "dropped", [1, 2]), ("not " * 99 + "dropped", [3]), ("(" * 100 + "dropped" + ")" * 100, [1, 2]),
    (" or ".join(["netns nowhere"] * 3000 + ["dropped"]), [1, 2]), (" and ".join(["not netns nowhere"] * 3000 + ["dropped"]), [1, 2]),
])
def test_a_long_one_is_as_good_as_a_short_one(text: str, numbers: list[int]) -> None:
    assert [packet.number for packet in filter_of(text).wanted(PACKETS, {})] == numbers


def test_arguments_keep_the_quotes_that_a_shell_took() -> None:
    assert joined(["dropped and by 'inet admin'"]) == "dropped and by 'inet admin'"
    assert joined(["dropped", "and", "by", "inet admin"]) == "dropped and by 'inet admin'"
    assert joined(["dropped", "or", "tcp port 80"]) == "dropped or tcp port 80"
