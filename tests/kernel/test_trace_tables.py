"""The tracer names the rule of an xtables table that decided, by its number in its chain."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator

import pytest
from scapy.layers.l2 import ARP, Ether

from harness.guest import conntrack, traffic
from harness.guest.topology import Network, built
from harness.guest.tracing import tracer
from harness.netfilter import VerdictKind
from harness.outcome import describe
from harness.outcome.types import HookCall
from harness.scenario.topology import PAIR
from harness.trace.capture import Capture
from harness.trace.tables import FUNCTIONS
from harness.walks.assembly import assembled

COOKIE = 4712
ADDRESSES = {"iptables": "10.0.0.1", "ip6tables": "fd00::1"}
FAMILIES = tuple(ADDRESSES)
MODULES = (*(f"{kind}table_{table}" for kind in ("ip", "ip6") for table in ("raw", "mangle", "nat", "filter")), "arptable_filter")


@pytest.fixture(autouse=True)
def _sees_tables() -> None:
    found = tracer().tables
    if missing := FUNCTIONS.keys() - found.ends.keys():
        pytest.skip(f"tables: {[found.unseen.get(function, f'no function {function}') for function in sorted(missing)]}")


@pytest.fixture(autouse=True)
def _tables_go() -> Iterator[None]:
    """Older kernels make a table in every namespace that there is as soon as its module comes."""
    before = conntrack.loaded().keys()
    yield
    for name in MODULES:
        if name not in before:
            conntrack.unload(name)


@pytest.fixture
def network(_tables_go: None) -> Iterator[Network]:
    """Namespaces ``peer`` and ``host``, which are gone before the tables' modules are."""
    with built(PAIR) as network:
        yield network


@pytest.fixture(autouse=True)
def sinks(network: Network) -> Iterator[traffic.Sinks]:
    with traffic.Sinks() as sinks:
        for family in (socket.AF_INET, socket.AF_INET6):
            sinks.add_udp(network.namespaces["host"], family, 9)
        yield sinks


def run(network: Network, *commands: str) -> None:
    with network.namespaces["host"].inside():
        for command in commands:
            subprocess.run(command.split(), check=True, timeout=60)


def seen(network: Network, send: Callable[[], object], *, hook: str = "INPUT") -> dict[str, HookCall]:
    """The calls of xtables' tables at the hook points of that name in ``host``, by the table's name."""
    with Capture(tracer()) as capture:
        send()
    names = [(0, namespace.inum, name) for name, namespace in network.namespaces.items()]
    found = assembled(capture.recording(namespaces=names))
    assert (found.doubts, found.lost_events) == ((), 0)
    calls = [call for packet in found.packets for traversal in packet.traversals if traversal.netns == "host"
             for call in traversal.calls]
    return {table: call for outer in calls for call in (*outer.calls, outer)
            for table, _, point in [(call.chain or "").rpartition(" ")] if table.startswith(("iptables", "ip6tables", "arptables"))
            if point == hook}


def datagram(network: Network, command: str = "iptables") -> Callable[[], object]:
    return lambda: traffic.send_udp(network.namespaces["peer"], ADDRESSES[command], 9, traffic.payload(32, COOKIE))


def words(call: HookCall) -> tuple[int, str, str] | None:
    return call.rule and call.rule[:3]


@pytest.mark.parametrize("command", FAMILIES)
@pytest.mark.parametrize(("rules", "decided"), [
    (("INPUT -p udp --dport 8 -j ACCEPT", "INPUT -p udp --dport 9 -j DROP"), (2, "INPUT", "-j DROP")),
    (("INPUT -p udp --dport 9 -j ACCEPT", "INPUT -j DROP"), (1, "INPUT", "-j ACCEPT")),
    (("INPUT -p udp", "INPUT -p udp --dport 9 -j REJECT"), (2, "INPUT", "-j REJECT")),
    (("deep -j RETURN", "other -p udp --dport 8 -j DROP", "other", "other -j DROP", "INPUT -j deep", "INPUT -j other", "INPUT -j ACCEPT"),
     (3, "other", "-j DROP")),
    (("deep -p tcp", "deep -j DROP", "other -g deep", "INPUT -j other"), (2, "deep", "-j DROP")),
    (("other -j RETURN", "INPUT -j other", "INPUT -j other", "INPUT -j DROP"), (3, "INPUT", "-j DROP")),
], ids=["second", "accept", "without-target", "chain", "goto", "returned"])
def test_the_rule_that_decided_is_counted_in_its_chain(network: Network, command: str, rules: tuple[str, ...],
                                                       decided: tuple[int, str, str]) -> None:
    run(network, f"{command}-legacy -N deep", f"{command}-legacy -N other", *(f"{command}-legacy -A {rule}" for rule in rules))
    call = seen(network, datagram(network, command))[f"{command} filter"]
    assert (words(call), call.policy) == (decided, False)


@pytest.mark.parametrize("command", FAMILIES)
@pytest.mark.parametrize("policy", ["ACCEPT", "DROP"])
def test_the_policy_decided_where_no_rule_did(network: Network, command: str, policy: str) -> None:
    run(network, f"{command}-legacy -P INPUT {policy}", f"{command}-legacy -N other", f"{command}-legacy -A INPUT -p tcp -j DROP",
        f"{command}-legacy -A other -j RETURN", f"{command}-legacy -A INPUT -j other")
    call = seen(network, datagram(network, command))[f"{command} filter"]
    assert (words(call), call.policy, call.verdict.kind) == (None, True, VerdictKind[policy])


def test_each_table_at_a_point_has_its_rule_also_nat_s(network: Network) -> None:
    run(network, "iptables-legacy -t raw -A PREROUTING -p udp -j ACCEPT", "iptables-legacy -t mangle -A PREROUTING -j MARK --set-mark 7",
        "iptables-legacy -t nat -A PREROUTING -p tcp -j REDIRECT --to-ports 8",
        "iptables-legacy -t nat -A PREROUTING -p udp --dport 9 -j REDIRECT --to-ports 7")
    calls = seen(network, datagram(network), hook="PREROUTING")
    assert {table: words(call) for table, call in calls.items()} == {
        "iptables raw": (1, "PREROUTING", "-j ACCEPT"), "iptables mangle": None, "iptables nat": (2, "PREROUTING", "-j REDIRECT")}
    assert calls["iptables mangle"].policy


@pytest.mark.parametrize("command", FAMILIES)
def test_a_match_that_has_a_packet_dropped_is_told_by_its_rule(network: Network, command: str) -> None:
    """``udp_mt`` of x_tables drops what is too short for UDP's header, without asking the rule's target."""
    def tinygram() -> None:
        family = socket.AF_INET if command == "iptables" else socket.AF_INET6
        with network.namespaces["peer"].inside(), socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_UDP) as sender:
            sender.sendto(b"abc", (ADDRESSES[command], 0))

    run(network, f"{command}-legacy -A INPUT -p tcp -j ACCEPT", f"{command}-legacy -A INPUT -p udp --dport 9 -j ACCEPT",
        f"{command}-legacy -A INPUT -j DROP")
    call = seen(network, tinygram)[f"{command} filter"]
    assert (words(call), call.verdict.kind) == ((2, "INPUT", "one of its matches had the packet dropped"), VerdictKind.DROP)
    assert describe.decided_by(call) == "rule 2: one of its matches had the packet dropped"


def test_a_rule_of_arptables_is_counted_too(network: Network) -> None:
    run(network, "arptables-legacy -A INPUT --opcode 2 -j ACCEPT", "arptables-legacy -A INPUT --opcode 1 -j DROP")
    mac = "02:00:00:00:00:02"
    question = Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=mac, psrc="10.0.0.2", pdst="10.0.0.1")
    calls = seen(network, lambda: traffic.send_frame(network.namespaces["peer"], "eth0", question))
    assert words(calls["arptables filter"]) == (2, "INPUT", "-j DROP")


def test_a_rule_behind_more_than_are_counted_is_unknown(network: Network) -> None:
    rules = "\n".join(["*filter", *["-A INPUT -p tcp -j DROP"] * 1100, "-A INPUT -p udp -j DROP", "COMMIT", ""])
    with network.namespaces["host"].inside():
        subprocess.run(["iptables-legacy-restore"], input=rules, text=True, check=True, timeout=60)
    call = seen(network, datagram(network))["iptables filter"]
    assert (words(call), call.policy, call.verdict.kind) == (None, False, VerdictKind.DROP)


def test_a_table_that_goes_at_once_has_told_its_rule(network: Network) -> None:
    def sent_and_flushed() -> None:
        datagram(network)()
        run(network, "iptables-legacy -F INPUT", "iptables-legacy -A INPUT -j ACCEPT")

    run(network, "iptables-legacy -A INPUT -p tcp -j ACCEPT", "iptables-legacy -A INPUT -j DROP")
    assert words(seen(network, sent_and_flushed)["iptables filter"]) == (2, "INPUT", "-j DROP")
