"""Situations from people's work, and the right answer to what was asked about each, on the oldest and the newest kernel.

All that can stand in one guest stand in one session: a packet of each is known by its port. What ends a kernel, its probes or its modules
has a session for itself (``test_trace.py``).
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import harness.cli.examples
from harness.cli.recorded import Recorded
from harness.walks.explain import explained, places

pytestmark = pytest.mark.slow

_DEADLINE_S = 900
_NETWORK = Path(harness.cli.examples.__file__).with_suffix("") / "network.sh"

#: Two managers' chains at one priority, jumps, refusals, NAT, a proxy, a queue, a copy.
RULES = """\
table inet docker { chain forward { type filter hook forward priority 0; policy accept; counter; }; }
table inet admin { chain forward { type filter hook forward priority 0; policy accept; udp dport 33 drop comment "no games"; }; }
table inet calico { chain forward { type filter hook forward priority 0; policy accept; counter; }; }
table inet one {
  chain deeper { counter drop comment "the culprit"; }
  chain deep { ip saddr 10.0.1.2 counter jump deeper; }
  chain svc { tcp dport 41 reject with tcp reset; udp dport 53 reject with icmpx port-unreachable; udp dport 9 jump deep; }
  chain base { type filter hook forward priority -10; jump svc; }
}
table ip nat {
  chain pre { type nat hook prerouting priority dstnat; iifname "to-client" tcp dport 8080 dnat to 10.0.2.2:80; }
  chain post { type nat hook postrouting priority srcnat; oifname "to-server" tcp dport 80 masquerade; }
}
table ip b { chain pre { type nat hook prerouting priority -101; udp dport 7 dnat to 10.0.2.2:71; }; }
table ip c { chain pre { type nat hook prerouting priority -99; udp dport 7 redirect to :70; }; }
table inet tp {
  chain pre { type filter hook prerouting priority mangle; udp dport 5353 tproxy ip to 127.0.0.1:12348 meta mark set 1 accept; }
}
table ip ips {
  chain forward { type filter hook forward priority 20;
    udp dport 1001 queue num 1; udp dport 1003 meta mark 1 accept; udp dport 1003 queue num 3; }
}
table ip copies { chain pre { type filter hook prerouting priority raw; udp dport 7000 dup to 10.0.2.2 device "to-server"; }; }
"""

#: Answers REPEAT with a mark to the first packet of queue 3, and ACCEPT to the second.
LISTENER = r'''
import socket, struct
queue = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
queue.bind((0, 0))
def attribute(kind, data): return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)
def say(kind, body):
    body = struct.pack(">BBH", 2, 0, 3) + body
    queue.send(struct.pack("=IHHII", 16 + len(body), 3 << 8 | kind, 1, 0, 0) + body)
say(2, attribute(1, struct.pack(">BBH", 1, 0, 2)))
say(2, attribute(2, struct.pack(">IB", 0xFFFF, 2)))
print("listening", flush=True)
for verdict in (4, 1):
    while True:
        data = queue.recv(65535)
        if struct.unpack_from("=H", data, 4)[0] == 3 << 8: break
    at = 20
    while at < len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if kind & 0x7FFF == 1: number, = struct.unpack_from(">I", data, at + 4)
        at += length + 3 & ~3
    say(1, attribute(2, struct.pack(">II", verdict, number)) + attribute(3, struct.pack(">I", 1)))
'''
PROXY = r'''
import socket
proxy = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
proxy.setsockopt(socket.SOL_IP, 19, 1)
proxy.bind(("127.0.0.1", 12348))
proxy.recv(100)
'''
SCRIPT = """\
. ./network.sh
$router nft -f rules.nft
$router iptables-legacy -t raw -A PREROUTING -p udp --dport 5000 -j ACCEPT
$router iptables-legacy -t mangle -A FORWARD -p udp --dport 5000 -j MARK --set-mark 7
$router iptables-legacy -A FORWARD -p udp --dport 5000 -j DROP
$router ip rule add fwmark 1 dport 5353 lookup 100
$router ip route add local 0.0.0.0/0 dev lo table 100
ip -n client addr add 10.77.0.1/32 dev lo
ip -n client link add vx7 type vxlan id 7 dstport 4789 local 10.0.1.2 remote 10.0.2.2 dev eth0
ip -n server link add vx7 type vxlan id 7 dstport 4789 local 10.0.2.2 remote 10.0.1.2 dev eth0
ip -n client addr add 10.7.0.1/24 dev vx7; ip -n client link set vx7 up
ip -n server addr add 10.7.0.2/24 dev vx7; ip -n server link set vx7 up
$server nft 'table ip in { chain in { type filter hook input priority 0; }; }'
$server socat TCP4-LISTEN:80,fork,reuseaddr /dev/null & server_pid=$!
$router python3 proxy.py & proxy_pid=$!
$router python3 listener.py > listening &
ready() { $server ss -Hltn sport = 80 | grep -q . && $router ss -Hlun sport = 12348 | grep -q . && grep -q . listening; }
for _ in $(seq 1000); do ready && break; sleep .1; done
send() { echo hello | timeout 20 $client socat -u STDIN UDP4:$1 || true; }
send 10.0.2.2:33
send 10.0.2.2:53
send 10.0.2.2:9
timeout 20 $client socat -u /dev/null TCP4:10.0.2.2:41 || true
timeout 20 $client socat -u /dev/null TCP4:10.0.1.1:8080
send 10.0.1.1:7
send 10.0.2.2:5353; timeout 20 tail --pid=$proxy_pid -f /dev/null || true
send 10.0.2.2:5353
send 10.0.2.2:1001
send 10.0.2.2:1003
send 10.0.1.1:7000
send 10.0.2.2:5000
$client ping -c1 -W5 10.7.0.2
send 198.51.100.1:1
send 10.0.2.2:3,ip-ttl=1
$router sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.to-client.rp_filter=1
send 10.0.2.2:2,bind=10.77.0.1
$router sysctl -qw net.ipv4.ip_forward=0
send 10.0.2.2:4
sleep 1
kill $server_pid
"""
FILES = {"rules.nft": RULES, "listener.py": LISTENER, "proxy.py": PROXY}

#: Question → what the packet is known by in its line of ``--short``, and what that line tells.
SHORT = {
    "02, 40: did it arrive?":
        (r"TCP \[S\] 10.0.1.2:\d+ > 10.0.1.1:8080", r"router PREROUTING, FORWARD, POSTROUTING, server INPUT  delivered"),
    "33: which of three tables at one priority dropped?":
        (r"> 10.0.2.2:33,", r"dropped \(EPERM\) by inet admin forward, rule \d+: .*no games"),
    "41: which rule rejected?":
        (r"> 10.0.2.2:53,", r"rejected .*by inet one base, rule \d+ of svc, from rule \d+: udp dport 53 reject"),
    "41: which rule dropped?":
        (r"> 10.0.2.2:9,", r"dropped \(EPERM\) by inet one base, rule \d+ of deeper, from rule \d+ and \d+ and \d+: .*the culprit"),
    "41: which rule sent a reset?": (r"TCP \[S\] 10.0.1.2:\d+ > 10.0.2.2:41,", r"rejected .*rule \d+ of svc, .*tcp reset"),
    "36: where did the first DNAT lead?": (r"> 10.0.1.1:7,", r"router PREROUTING, FORWARD, POSTROUTING, server INPUT"),
    "08: what became of it in a queue without a listener?": (r"> 10.0.2.2:1001,", r"dropped: queue 1 has no listener(?!, or)"),
    "17: which of two worlds of iptables dropped?": (r"> 10.0.2.2:5000,", r"dropped .*by iptables filter FORWARD"),
    "13: no route": (r"> 198.51.100.1:1,", r"router PREROUTING  dropped by the stack"),
    "13: the TTL runs out": (r"> 10.0.2.2:3,", r"router PREROUTING  dropped by the stack"),
    "44: strict rp_filter": (r"10.77.0.1:\d+ > 10.0.2.2:2,", r"router PREROUTING  dropped by the stack"),
    "44: forwarding is off": (r"> 10.0.2.2:4,", r"router PREROUTING  dropped by the stack"),
}
#: The same of its whole walk.
WALKS = {
    "02: the packet at each point": (r"> 10.0.1.1:8080,", r"DNAT 10.0.1.1:8080 → 10.0.2.2:80 by ip nat pre"),
    "40: who masqueraded?": (r"> 10.0.1.1:8080,", r"SNAT 10.0.1.2:\d+ → 10.0.2.1:\d+ by ip nat post"),
    "36: which of two DNATs won, and to what?": (r"> 10.0.1.1:7,", r"DNAT 10.0.1.1:7 → 10.0.2.2:71 by ip b pre"),
    "05: what did tproxy find?": (r"> 10.0.2.2:5353,", r"mark 0x0 → 0x1, socket none → found"),
    "38: what did the listener answer?": (r"> 10.0.2.2:1003,", r"answered REPEAT after [\d.]+ (?:ms|µs|s)\n.*mark 0x0 → 0x1"),
    "17: the tables by their names":
        (r"> 10.0.2.2:5000,", r"(?s)iptables raw PREROUTING.*iptables mangle FORWARD.*mark 0x0 → 0x7.*iptables filter FORWARD .*DROP"),
    "32: which leg is encapsulated?":
        (r"ICMP echo request 10.7.0.1 >", r"(?s)client  out vx7.*84 bytes → UDP 10.0.1.2:\d+ > 10.0.2.2:4789,.* → ICMP echo request"),
}


def trace(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", "trace", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=_DEADLINE_S, check=False)


@pytest.fixture(scope="module", params=["5.10", "7.3"])
def recording(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session of all cases on a kernel."""
    directory = tmp_path_factory.mktemp("cases")
    for name, content in FILES.items():
        (directory / name).write_text(content)
    files = (argument for path in (_NETWORK, *(directory / name for name in FILES)) for argument in ("--file", str(path)))
    done = trace("--kernel", request.param, "--json", *files, "--", "sh", "-c", SCRIPT)
    found = directory / "session.json"
    found.write_text(done.stdout)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"] == "traced"
    return found


@pytest.fixture(scope="module")
def short(recording: Path) -> list[str]:
    return trace("--read", str(recording), "--short").stdout.splitlines()


@pytest.fixture(scope="module")
def walks(recording: Path) -> list[str]:
    return trace("--read", str(recording), "--limit", "0").stdout.split("\n\n")


@pytest.mark.parametrize("question", SHORT)
def test_a_line_has_the_right_answer(short: list[str], question: str) -> None:
    packet, answer = SHORT[question]
    own = [line for line in short if re.search(packet, line) and "answer to" not in line]
    assert own, "\n".join(short)
    assert re.search(answer, own[0]), own[0]


@pytest.mark.parametrize("question", WALKS)
def test_a_walk_has_the_right_answer(walks: list[str], question: str) -> None:
    packet, answer = WALKS[question]
    own = [walk for walk in walks if re.search(packet, walk.partition("\n")[0])]
    assert any(re.search(answer, walk) for walk in own), "\n\n".join(own or walks)


def test_a_copy_is_told_as_one_and_a_proxy_without_a_listener_intercepts_nothing(recording: Path) -> None:
    packets: list[dict[str, Any]] = json.loads(recording.read_text())["packets"]
    by_number = {packet["number"]: packet for packet in packets}
    copies = [by_number[packet["relation"]["packet"]] for packet in packets if (packet["relation"] or {}).get("kind") == "copy of"]
    assert any(":7000," in packet["packet"] for packet in copies)
    proxied = [packet for packet in packets if "10.0.2.2:5353," in packet["packet"]]
    assert [packet["fate"] == "delivered" and any(at["socket"] for at in packet["traversals"] if at["netns"] == "router")
            for packet in proxied] == [True, False]


def test_refusals_stand_under_what_they_answer(recording: Path) -> None:
    packets: list[dict[str, Any]] = json.loads(recording.read_text())["packets"]
    by_number = {packet["number"]: packet for packet in packets}
    answers = [packet for packet in packets if (packet["relation"] or {}).get("kind") == "answer to"]
    asked = [by_number[packet["relation"]["packet"]]["packet"].partition(" > ")[2].partition(",")[0] for packet in answers]
    answered = dict(zip(asked, (packet["packet"] for packet in answers), strict=True))
    assert answered["10.0.2.2:41"].startswith("TCP [RA] 10.0.2.2:41 >")
    assert answered["10.0.2.2:53"].startswith("ICMP destination unreachable")
    assert answered["10.0.2.2:3"].startswith("ICMP time exceeded")


def test_no_explanation_of_any_chain_that_any_packet_met_contradicts_what_the_kernel_did(recording: Path) -> None:
    session = Recorded(recording).whole()
    found = [explained(*place, session.observed.rulesets) for packet in session.observed.packets for place in places(packet)]
    states = [rule.state for one in found for rule in one.rules]
    assert {note for one in found for note in one.notes if "not fit" in note or "not listed" in note} == set()
    assert [rule for one in found for rule in one.rules if any(why.startswith("all that was compared holds") for why in rule.why)] == []
    # Whether tproxy found a socket is not recorded.
    assert (states.count("cannot tell"), states.count("matched") > 50, states.count("not matched") > 200) == (1, True, True)
