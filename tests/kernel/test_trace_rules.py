"""The tracer names the rule of nftables' that decided, whichever kind of expression gave the verdict."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator

import pytest

from harness.guest import traffic
from harness.guest.listing import with_rules
from harness.guest.topology import Network
from harness.guest.tracing import tracer
from harness.netfilter import VerdictKind
from harness.outcome import describe
from harness.outcome.types import HookCall, PacketOutcome
from harness.pytest_plugin.kernel import RunningKernel
from harness.trace.capture import Capture
from harness.walks.assembly import assembled

COOKIE = 4711
CHAIN = "type filter hook input priority 0; policy accept;"


@pytest.fixture(autouse=True)
def _names_rules() -> None:
    if why := tracer().undecided:
        pytest.skip(f"rules: {why}")


@pytest.fixture(autouse=True)
def sinks(network: Network) -> Iterator[traffic.Sinks]:
    with traffic.Sinks() as sinks:
        sinks.add_udp(network.namespaces["host"], socket.AF_INET, 9)
        yield sinks


def load(network: Network, ruleset: str) -> None:
    with network.namespaces["host"].inside():
        subprocess.run(["nft", "-f", "-"], input=ruleset, text=True, check=True, timeout=60)


def walked(network: Network, ruleset: str) -> PacketOutcome:
    load(network, ruleset)
    with Capture(tracer()) as capture:
        traffic.send_udp(network.namespaces["peer"], "10.0.0.1", 9, traffic.payload(32, COOKIE))
    names = [(0, namespace.inum, name) for name, namespace in network.namespaces.items()]
    paths = {name: namespace.path for name, namespace in network.namespaces.items()}
    seen = assembled(with_rules(capture.recording(namespaces=names), paths))
    assert (seen.doubts, seen.lost_events) == ((), 0)
    return next(packet for packet in seen.packets if packet.cookie == COOKIE)


def of_chains(packet: PacketOutcome) -> list[HookCall]:
    calls = [call for traversal in packet.traversals for call in traversal.calls]
    return [call for outer in calls for call in (*outer.calls, outer) if call.chain]


@pytest.mark.parametrize(("rules", "chain", "words"), [
    ("counter; udp dport 8 accept; udp dport 9 counter drop comment \"the culprit\";", "mine",
     'udp dport 9 counter drop comment "the culprit"'),
    ("udp dport 9 accept;", "mine", "udp dport 9 accept"),
    ("udp dport vmap { 8 : accept, 9 : drop };", "mine", "udp dport vmap { 8 : accept, 9 : drop }"),
    ("limit rate 1000/second; reject;", "mine", "reject"),
    ("udp dport 9 queue flags bypass to 7;", "mine", "udp dport 9 queue flags bypass to 7"),
    ("udp dport 9 jump other; accept;", "deep", "counter drop"),
    ("udp dport vmap { 9 : goto other }; accept;", "deep", "counter drop"),
], ids=["immediate", "accept", "vmap", "reject", "queue", "jump", "vmap-goto"])
def test_the_rule_that_decided_is_named(network: Network, rules: str, chain: str, words: str) -> None:
    packet = walked(network, f"table ip t {{ chain deep {{ counter drop; }}; chain other {{ ip saddr 10.0.0.2 jump deep; }}\n"
                             f"chain mine {{ {CHAIN} {rules} }}; }}")
    call, = of_chains(packet)
    assert call.rule is not None
    assert (call.chain, call.rule.chain, call.rule.text) == ("ip t mine", chain, words)
    assert len(call.rule.via) == (2 if chain == "deep" else 0)


@pytest.mark.parametrize("rules", [
    "", "counter;", "udp dport 8 drop;", "udp dport 9 jump other;", "limit rate 1000/second log;", "return;",
    "udp dport { 9, 10 } counter;",
])
def test_the_policy_decided_where_no_rule_did(network: Network, rules: str) -> None:
    packet = walked(network, "table ip t { chain other { udp dport 8 accept; }\n"
                             f"chain mine {{ type filter hook input priority 0; policy drop; {rules} }}; }}")
    call, = of_chains(packet)
    assert (call.policy, call.rule, call.verdict.kind is VerdictKind.ACCEPT) == (True, None, False)
    assert describe.decided_by(call) == "its policy: no rule gave a verdict"


def test_each_chain_at_a_point_has_a_decision_of_its_own(network: Network) -> None:
    packet = walked(network, "table ip t {\n"
                    "chain first { type filter hook input priority -5; udp dport 9 accept; }\n"
                    "chain second { type filter hook input priority 0; counter; }\n"
                    "chain third { type filter hook input priority 5; ip protocol udp counter drop; }\n}")
    found = [(call.chain, call.rule and call.rule.text, call.policy) for call in of_chains(packet)]
    assert found == [("ip t first", "udp dport 9 accept", False), ("ip t second", None, True),
                     ("ip t third", "ip protocol udp counter drop", False)]


@pytest.mark.parametrize(("egress", "words", "policy"), [
    ("", None, True), ("udp dport 9 accept;", "udp dport 9 accept", False), ("udp dport 9 drop;", "udp dport 9 drop", False),
], ids=["nothing", "accept", "drop"])
def test_a_rule_that_sends_the_packet_on_to_a_device_with_a_chain_decided(
        network: Network, kernel: RunningKernel, egress: str, words: str | None, policy: bool) -> None:
    kernel.require(probe="netdev_egress")
    with network.namespaces["host"].inside():
        for command in ("ip link add mirror type dummy", "ip link set mirror up"):
            subprocess.run(command.split(), check=True, timeout=60)
    packet = walked(network, "table netdev t {\n"
                    "chain in { type filter hook ingress device eth0 priority 0; jump deep; }\n"
                    "chain deep { udp dport 9 fwd to mirror; }\n"
                    f"chain out {{ type filter hook egress device mirror priority 0; {egress} }};\n}}")
    found = [(call.chain, call.rule and call.rule.text, call.policy) for call in of_chains(packet)]
    assert sorted(found) == [("netdev t in", "udp dport 9 fwd to \"mirror\"", False), ("netdev t out", words, policy)]
    outer = next(call for call in of_chains(packet) if call.chain == "netdev t in")
    assert outer.rule is not None
    assert len(outer.rule.via) == 1


def test_the_rule_that_translated_is_named_and_what_it_made_of_the_packet(network: Network) -> None:
    packet = walked(network, "table ip t {\n"
                    "chain one { type nat hook prerouting priority -101; udp dport 8 redirect to :7; }\n"
                    "chain two { type nat hook prerouting priority -100; udp dport 9 redirect to :7; }\n}")
    first, second, outer = of_chains(packet)[:2] + [call for traversal in packet.traversals for call in traversal.calls if call.calls]
    assert (first.policy, second.rule and second.rule.text) == (True, "udp dport 9 redirect to :7")
    assert describe.changed_by(outer) == "DNAT 10.0.0.1:9 → 10.0.0.1:7 by ip t two"


def test_a_rule_that_went_before_it_was_listed_keeps_its_handle(network: Network) -> None:
    load(network, f"table ip t {{ chain mine {{ {CHAIN} udp dport 9 drop; }}; }}")
    with Capture(tracer()) as capture:
        traffic.send_udp(network.namespaces["peer"], "10.0.0.1", 9, traffic.payload(32, COOKIE))
        load(network, f"flush ruleset; table ip t {{ chain mine {{ {CHAIN} udp dport 8 accept; }}; }}")
    names = [(0, namespace.inum, name) for name, namespace in network.namespaces.items()]
    paths = {name: namespace.path for name, namespace in network.namespaces.items()}
    packet = next(one for one in assembled(with_rules(capture.recording(namespaces=names), paths)).packets if one.cookie == COOKIE)
    call, = of_chains(packet)
    assert call.rule is not None
    assert (call.rule.handle > 0, call.rule.text) == (True, "")
