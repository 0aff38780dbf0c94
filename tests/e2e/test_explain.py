"""``nfharness trace --explain``: what it says of rules, held against the counters that the kernel keeps for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import harness.cli.examples
from harness.cli.explained import explain, to_json
from harness.cli.recorded import Recorded
from tests.e2e.test_trace import trace

#: Packets, by the chain that gets each alone: what leads there, and what sends it.
PACKETS = {
    "of_udp": ("udp dport 1001", "echo hello | socat -u - UDP:127.0.0.1:1001,sourceport=2001"),
    "of_tcp": ("tcp dport 1002", "socat -u /dev/null TCP:127.0.0.1:1002,sourceport=2002 || true"),
    "of_icmp": ("icmp type echo-request", "ping -q -c1 -W1 -t7 127.0.0.1"),
    "of_ip6": ("ip6 nexthdr icmpv6 icmpv6 type echo-request", "ping -q -c1 -W1 ::1"),
}
#: A counter behind each counts the packets for which it holds.
MATCHES = """\
ip saddr 127.0.0.1
ip saddr 127.0.0.0/8
ip saddr != 127.0.0.0/8
ip daddr 10.0.0.1-127.0.0.5
ip daddr { 10.0.0.0/8, 127.0.0.1 }
ip daddr != { 10.0.0.0/8, 192.168.0.0/16 }
ip saddr @hosts
ip saddr != @hosts
ip protocol udp
ip protocol { icmp, tcp }
ip ttl < 64
ip ttl >= 64
ip ttl { 7, 8 }
ip version 4
ip length < 60
ip dscp cs1
ip frag-off & 0x1fff != 0
ip frag-off & 0x4000 != 0
ip6 saddr ::1
ip6 daddr fd00::/8
ip6 hoplimit 64
ip6 nexthdr icmpv6
meta nfproto ipv4
meta nfproto ipv6
meta protocol ip
meta protocol ip6
meta l4proto tcp
meta l4proto { udp, icmp }
meta l4proto != icmpv6
meta length > 60
meta mark 0x12
meta mark & 0xf0 == 0x10
meta mark != 0x12
meta mark 1-0x20
meta mark { 0x11, 0x13 }
oifname "lo"
oifname "l*"
oifname != "lo"
oifname { "eth0", "l*" }
oifname @names
oif lo
iifname "lo"
iifname != "lo"
meta l4proto { tcp, udp } th dport 1001
meta l4proto { tcp, udp } th sport 2000-2010
tcp dport 1002
tcp dport != 1002
tcp dport { 22, 1000-1010 }
tcp dport @ports
udp dport @ports
udp dport != @ports
udp sport 2001
udp length 14
tcp flags syn
tcp flags & (fin | syn | rst | ack) == syn
tcp flags & (syn | ack) == ack
tcp flags != syn
tcp flags syn,ack
tcp window > 100
tcp sequence 0
icmp type echo-request
icmp type { echo-reply, destination-unreachable }
icmp code 0
icmpv6 type echo-request
icmpv6 type nd-neighbor-solicit
ct state new
ct state { new, established }
ct state != new
ct state established,related
ct state invalid
ct direction original
ct direction reply
ct status confirmed
ct status snat,dnat
ct zone 0
ct zone 3
ip saddr . udp dport { 127.0.0.1 . 1001 }
ip saddr . tcp dport @pairs
meta l4proto . oifname { tcp . "lo", udp . "eth0" }
ip saddr 127.0.0.1 tcp dport 1002 ct state new
ip saddr 127.0.0.1 meta mark 0x12 ip daddr != 127.0.0.1
ct mark 0
meta skuid 0
fib daddr type local
meta pkttype host
@th,16,16 1001
limit rate 10/second burst 5 packets
""".splitlines()
NEVER_TOLD = ("ct mark", "meta skuid", "fib", "meta pkttype", "limit")


def ruleset() -> str:
    rules = "\n".join(f"{match} counter" for match in MATCHES)
    chains = "\n".join(f"chain {name} {{\n{rules}\n}}" for name in PACKETS)
    jumps = "\n".join(f"{match} jump {name}" for name, (match, _) in PACKETS.items())
    return f"""table inet t {{
        set hosts {{ type ipv4_addr; flags interval; elements = {{ 10.0.0.0/8, 127.0.0.0-127.0.0.3 }}; }}
        set ports {{ type inet_service; elements = {{ 80, 1001 }}; }}
        set names {{ type ifname; elements = {{ "eth0", "lo" }}; }}
        set pairs {{ type ipv4_addr . inet_service; elements = {{ 127.0.0.1 . 1002 }}; }}
        {chains}
        chain out {{ type filter hook output priority 0; meta mark set 0x12; {jumps}
        }}
    }}
    """


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, int]]:
    """A recording, and how often each rule's counter counted, by the rule's handle."""
    directory = tmp_path_factory.mktemp("explained")
    (directory / "rules.nft").write_text(ruleset())
    script = "\n".join(("set -e", "nft -f rules.nft", *(send for _, send in PACKETS.values()), "nft -j -a list ruleset"))
    done = trace(["--json", "--file", str(directory / "rules.nft"), "--", "sh", "-c", script])
    assert done.returncode == 0, done.stderr
    recording = directory / "session.json"
    recording.write_text(done.stdout)
    listed = next(json.loads(line)["nftables"] for line in done.stderr.splitlines() if line.startswith('{"nftables"'))
    counts = {rule["handle"]: statement["counter"]["packets"] for rule in (one["rule"] for one in listed if "rule" in one)
              for statement in rule["expr"] if "counter" in statement}
    return recording, counts


def explained(recording: Path, number: int, at: str) -> dict[str, Any]:
    return to_json(explain(Recorded(recording).whole(), number, at))


@pytest.mark.parametrize(("chain", "kind"), [("of_udp", "udp"), ("of_tcp", "tcp"), ("of_icmp", "echo request"), ("of_ip6", "echo request")])
def test_a_rule_matched_where_its_counter_says_so(session: tuple[Path, dict[int, int]], chain: str, kind: str) -> None:
    recording, counts = session
    packets = json.loads(recording.read_text())["packets"]
    of_kind = [packet["number"] for packet in packets if packet["kind"] == kind and (("::1" in packet["packet"]) is (chain == "of_ip6"))]
    call, = explained(recording, of_kind[0], "inet t out")["calls"]
    rules = [rule for rule in call["rules"] if rule["chain"] == chain]
    assert len(rules) == len(MATCHES)
    told = {rule["text"]: (rule["state"], counts[rule["handle"]]) for rule in rules}
    assert {text: one for text, one in told.items() if one in (("matched", 0), ("not matched", 1))} == {}
    assert {text for text, one in told.items() if one[0] == "cannot tell" and not text.startswith(NEVER_TOLD)} == set()
    assert {counts[rule["handle"]] for rule in rules} == {0, 1}
    assert call["notes"] == [] or all("listing" in note for note in call["notes"])


def test_a_recording_explains_no_packet_that_it_has_not_and_no_chain_that_the_packet_met_not(session: tuple[Path, dict[int, int]]) -> None:
    recording, _ = session
    for options, message in ((["--explain", "99"], "the session has no packet 99"),
                             (["--explain", "1", "--at", "nowhere"], "packet 1 met no base chain of nftables' with 'nowhere'")):
        done = trace(["--read", str(recording), *options])
        assert done.returncode == 2
        assert message in done.stderr
        assert "hint: its last packet is" in done.stderr or "hint: it met inet t out" in done.stderr


#: Case 02 of a person's work: a published port, and a filter for it behind DNAT. Rules of iptables' stand in nftables here.
PUBLISHED = """\
. ./network.sh
$router sh -c '
iptables -t nat -A PREROUTING -i to-client -p tcp --dport 8080 -j DNAT --to 10.0.2.2:80
iptables -A FORWARD -p tcp --dport 8080 -j DROP
iptables -A FORWARD -m conntrack --ctstate DNAT -j ACCEPT
iptables -P FORWARD DROP'
$server socat TCP-LISTEN:80,fork,reuseaddr /dev/null &
until $server ss -Hltn sport = 80 | grep -q .; do sleep .1; done
$client socat -u /dev/null TCP:10.0.1.1:8080
kill $!
"""


def test_a_port_that_nat_has_changed_does_not_match_behind_it() -> None:
    network = Path(harness.cli.examples.__file__).with_suffix("") / "network.sh"
    done = trace(["--file", str(network), "--explain", "1", "--at", "FORWARD", "--", "sh", "-c", PUBLISHED])
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    rule = next(number for number, line in enumerate(lines) if "tcp dport 8080 counter" in line)
    assert lines[rule].lstrip().startswith("✗")
    assert lines[rule + 1].strip() == "not matched: tcp dport is 80"
    assert any("> 10.0.2.2:80," in line and line.startswith("the packet here:") for line in lines)
    assert "decided: accept" in lines[rule + 2]
