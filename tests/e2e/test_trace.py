"""``nfharness trace``, as it is typed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import UDP
from scapy.utils import PcapNgReader

from tests.e2e.test_pytest_plugin import marked

DEADLINE_S = 600

#: The default kernel; and the oldest and the newest one, for what kernels differ in.
EVERY = pytest.mark.parametrize("kernel", [(), *(pytest.param(("--kernel", series), marks=pytest.mark.slow) for series in ("5.10", "7.3"))],
                                ids=["default", "5.10", "7.3"])

RULES = """\
table ip t {
    chain in { type filter hook input priority 5; icmp type echo-request accept; udp dport 9 drop; }
    chain out { type filter hook output priority -5; }
}
"""
TWO_NAMESPACES = """\
set -e
ip netns add left
ip netns add right
ip -n left link add name veth-l type veth peer name veth-r netns right
ip -n left addr add 10.0.0.1/24 dev veth-l
ip -n right addr add 10.0.0.2/24 dev veth-r
ip -n left link set veth-l up
ip -n right link set veth-r up
ip netns exec right nft 'table ip t { chain in { type filter hook input priority 0; counter; }; }'
ip netns exec left ping -q -c1 -W5 10.0.0.2
ip netns del left
ip netns del right
"""


#: A proxy for what goes through to port 53; it ends after a datagram.
TPROXY = TWO_NAMESPACES.rpartition("ip netns del left")[0] + """\
ip -n right rule add fwmark 1 lookup 100
ip -n right route add local 0.0.0.0/0 dev lo table 100
ip netns exec right nft -f - <<'RULES'
table inet tp {
    chain pre { type filter hook prerouting priority mangle; udp dport 53 tproxy ip to 127.0.0.1:9053 meta mark set 1 accept; }
}
RULES
ip netns exec right python3 -c '
import socket
proxy = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
proxy.setsockopt(socket.SOL_IP, 19, 1)
proxy.bind(("127.0.0.1", 9053))
print(proxy.recv(100), flush=True)
' & proxy=$!
until ip netns exec right ss -Hlun sport = 9053 | grep -q .; do sleep .1; done
for which in intercepted missed; do
    echo $which | ip netns exec left socat -u - UDP:10.0.0.2:53
    wait $proxy || true
done
"""


def trace(arguments: Sequence[str], stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", "trace", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


def points(packet: dict[str, Any], priority: int) -> list[tuple[str, str]]:
    """Hook point and namespace of each call of hooks with a priority."""
    return [(traversal["hook"], traversal["netns"]) for traversal in packet["traversals"]
            for call in traversal["calls"] if call["priority"] == priority]


def test_a_ping_crosses_the_hooks_of_a_ruleset_from_standard_input() -> None:
    done = trace(["--json", "--", "sh", "-c", "nft -f - && ping -q -c1 127.0.0.1"], RULES)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["verdict"], document["exit_status"], document["lost_events"], document["doubts"]) == ("traced", 0, 0, [])
    request, reply = document["packets"]
    assert request["packet"].startswith("ICMP echo request 127.0.0.1 > 127.0.0.1")
    assert reply["packet"].startswith("ICMP echo reply 127.0.0.1 > 127.0.0.1")
    assert (points(request, -5), points(request, 5)) == ([("OUTPUT", "init")], [("INPUT", "init")])
    assert {call["function"] for traversal in request["traversals"] for call in traversal["calls"] if call["priority"] == 5} == {
        "nft_do_chain_ipv4"}
    assert "1 packets transmitted, 1 received" in done.stderr


def test_what_was_dropped_is_told_with_the_rule_in_a_line_and_in_each_file(tmp_path: Path) -> None:
    file, page, perfetto = tmp_path / "walks.pcapng", tmp_path / "walks.html", tmp_path / "walks.json"
    command = ["sh", "-c", "nft -f -; echo x | socat -u - UDP:127.0.0.1:9; true"]
    files = ["--pcapng", str(file), "--html", str(page), "--perfetto", str(perfetto)]
    done = trace(["--check", "--drops", "--short", *files, "--", *command], RULES)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith(" traversals obeyed core.c, none did not")
    by = "dropped (EPERM) by ip t in, rule 4: udp dport 9 drop"
    group, line = [line for line in done.stdout.splitlines() if "udp dport 9" in line]
    assert group.split() == ["1", "UDP", "127.0.0.1", ">", "127.0.0.1:9", "init", "INPUT", *by.split()]
    assert (line.startswith("packet 1  0.0"), line.endswith(f"INPUT  {by}")) == (True, True)
    with PcapNgReader(str(file)) as reader:
        last = [block for block in reader if UDP in block][-1]
    assert (last.sniffed_on, last[UDP].dport) == ("init INPUT", 9)
    assert b"rule 4: udp dport 9 drop" in b"".join(last.comments or ())
    assert "rule 4: udp dport 9 drop" in page.read_text()
    rules = [event["args"].get("rule") for event in json.loads(perfetto.read_text())["traceEvents"] if event["ph"] == "X"]
    assert rules.count("rule 4: udp dport 9 drop") == 1


def test_namespaces_have_their_names_even_when_they_are_gone(tmp_path: Path) -> None:
    script = tmp_path / "two.sh"
    script.write_text(TWO_NAMESPACES)
    done = trace(["--json", "--file", str(script), "--", "sh", "two.sh"])
    assert done.returncode == 0, done.stderr
    packets = json.loads(done.stdout)["packets"]
    request = next(packet for packet in packets if packet["packet"].startswith("ICMP echo request"))
    assert points(request, 0) == [("INPUT", "right")]
    assert {traversal["netns"] for packet in packets for traversal in packet["traversals"]} <= {"left", "right"}


@EVERY
def test_a_hook_keeps_its_name_when_its_module_has_gone_and_others_lie_in_its_place(kernel: Sequence[str]) -> None:
    script = """\
modprobe iptable_filter; iptables-legacy -A INPUT -p udp --dport 1 -j DROP; ping -q -c1 127.0.0.1
iptables-legacy -F; modprobe -r iptable_filter; modprobe -r ip_tables; modprobe vxlan; modprobe ip_gre; ping -q -c1 127.0.0.1
"""
    done = trace([*kernel, "--json", "--", "sh"], script)
    assert done.returncode == 0, done.stderr
    calls = [call for packet in json.loads(done.stdout)["packets"] for traversal in packet["traversals"]
             if traversal["hook"] == "INPUT" for call in traversal["calls"]]
    # Up to 5.16 each table had its own function.
    assert {(call["function"], call["module"]) for call in calls} < {
        ("ipt_do_table", "ip_tables"), ("iptable_filter_hook", "iptable_filter")}
    assert len(calls) == 2


NAT = """\
table ip a { chain pre { type nat hook output priority -100; udp dport 7 counter dnat to 127.0.0.1:70; }; }
table ip b { chain pre { type nat hook output priority -100; udp dport 7 counter; }; }
table inet fw { chain in { type filter hook input priority 0; udp dport 70 counter drop; }; }
"""


def test_nat_chains_are_seen_in_the_call_of_nat_s_hook_and_every_base_chain_by_its_name() -> None:
    done = trace(["--json", "--", "sh", "-c", "nft -f - && echo | socat -u - UDP:127.0.0.1:7"], NAT)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["verdict"], document["blind"], document["unnamed"], document["undecided"]) == ("traced", {}, None, None)
    packet = document["packets"][0]
    named = [(traversal["hook"], call["function"], call["chain"], [(inner["function"], inner["chain"]) for inner in call["calls"]])
             for traversal in packet["traversals"] for call in traversal["calls"] if call["chain"] or call["calls"]]
    # b came last, so runs first; a's binds the connection.
    nat = [("nft_nat_do_chain", "ip b pre"), ("nft_nat_do_chain", "ip a pre")]
    assert named == [("OUTPUT", "nf_nat_ipv4_local_fn", None, nat), ("INPUT", "nft_do_chain_inet", "inet fw in", [])]


@EVERY
def test_probes_that_were_switched_off_meanwhile_make_it_inconclusive(kernel: Sequence[str]) -> None:
    script = """\
nft 'table ip t { chain in { type filter hook input priority 0; }; }'
mountpoint -q /sys/kernel/debug || mount -t debugfs d /sys/kernel/debug
echo 0 > /sys/kernel/debug/kprobes/enabled; ping -q -c1 127.0.0.1; echo 1 > /sys/kernel/debug/kprobes/enabled
"""
    done = trace([*kernel, "--", "sh"], script)
    lines = [line for line in done.stdout.splitlines() if line.startswith("inconclusive: the kernel's probes were switched off")]
    assert (done.returncode, len(lines), done.stdout.splitlines()[-1]) == (125, 2, lines[-1])


@EVERY
def test_a_panic_leaves_the_walks_until_then(kernel: Sequence[str]) -> None:
    script = """\
nft 'table ip t { chain in { type filter hook input priority 0; }; }'; ping -q -c1 127.0.0.1; sleep 1; echo c > /proc/sysrq-trigger
"""
    done = trace([*kernel, "--json", "--", "sh"], script)
    document = json.loads(done.stdout)
    calls = [(packet["packet"].partition(" 127")[0], call["function"], call["chain"]) for packet in document["packets"]
             for traversal in packet["traversals"] if traversal["hook"] == "INPUT" for call in traversal["calls"]]
    assert calls == [("ICMP echo request", "nft_do_chain_ipv4", "ip t in"), ("ICMP echo reply", "nft_do_chain_ipv4", "ip t in")]
    assert (done.returncode, document["verdict"], document["exit_status"]) == (125, "inconclusive", None)
    assert any("sysrq" in line for line in document["console"])
    assert "Call Trace" in done.stderr


@pytest.mark.parametrize("options", [("--json",), (), ("--short",)], ids=["json", "tree", "short"])
def test_a_qemu_that_is_killed_leaves_the_walks_until_then(tmp_path: Path, options: Sequence[str]) -> None:
    script = "ping -q -c1 127.0.0.1 >&2; sleep 1; echo now >&2; sleep 60"
    command = [sys.executable, "-m", "harness", "trace", *options, "--", "sh", "-c", script]
    environment = {**os.environ, "NFHARNESS_MARK": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr
        assert any("now" in line for line in running.stderr)
        for pid, name in marked(tmp_path).items():
            if "qemu" in name:
                os.kill(pid, signal.SIGKILL)
        said, error = running.communicate(timeout=DEADLINE_S)
    assert ("ICMP echo request" in said, "ICMP echo reply" in said, running.returncode) == (True, True, 125), error
    assert "QEMU failed: what the guest did last may not be there" in said
    assert "QEMU was killed by SIGKILL" in error
    assert not options or "--short" in options or json.loads(said)["died"] in error


WARNS = """\
echo 512 > /proc/sys/kernel/tainted
echo '<4>WARNING: CPU: 0 PID: 1 at net/core/sock.c:1 sock_init+0x1/0x2' > /dev/kmsg
printf 'WARNING: x.c:1' > /proc/self/comm; echo 1 > /proc/sys/vm/drop_caches
"""


def test_what_the_kernel_s_log_and_taint_tell_is_told() -> None:
    done = trace(["--json", "--", "sh"], WARNS)
    document = json.loads(done.stdout)
    assert (document["verdict"], document["splats"], document["taint"]) == ("traced", ["x.c"], "W"), done.stderr
    assert any("sock_init" in line for line in document["log"])


def test_the_report_follows_the_output_of_the_command() -> None:
    done = trace(["--", "sh", "-c", "nft -f -; echo said; echo complained >&2; ping -c1 127.0.0.1 >/dev/null"], RULES)
    lines = done.stdout.splitlines()
    assert (lines[0], "complained" in done.stderr, done.returncode) == ("said", True, 0)
    assert lines[-1].startswith("traced: 2 packets, ")
    assert any(line.startswith("├─ INPUT  init  in lo") for line in lines)


def test_a_command_that_sends_nothing_is_told_what_is_missing() -> None:
    done = trace(["--", "true"])
    assert done.stdout.splitlines() == [
        "no hook point that has a hook was crossed: load a ruleset in COMMAND, for example with nft -f",
        "traced: 0 packets, 0 hook calls",
    ]


def test_the_exit_status_is_the_command_s() -> None:
    done = trace(["--", "sh", "-c", "exit 3"])
    assert (done.returncode, done.stdout.splitlines()[-1]) == (3, "traced: 0 packets, 0 hook calls")


def test_a_command_that_the_guest_has_not_is_127() -> None:
    done = trace(["--", "no-such-command"])
    assert (done.returncode, done.stdout) == (127, "")
    assert "nfharness: error: no-such-command: No such file or directory (in the guest)" in done.stderr.splitlines()


def test_an_interrupted_command_is_still_reported() -> None:
    command = [sys.executable, "-m", "harness", "trace", "--", "sh", "-c", "nft -f -; ping -q -c1 127.0.0.1; exec sleep 300"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdin is not None and running.stdout is not None
        running.stdin.write(RULES)
        running.stdin.close()
        for line in running.stdout:
            if line.startswith("rtt "):
                break
        running.send_signal(signal.SIGINT)
        report = running.stdout.read().splitlines()
    assert (running.returncode, report[-1].split(",")[0]) == (130, "traced: 2 packets")


def test_a_flood_is_read_while_it_goes_on() -> None:
    flood = "nft -f -; ping -q -f -c 5000 127.0.0.1 > /dev/null"
    done = trace(["--limit", "1", "--", "sh", "-c", flood], RULES)
    # On a busy host the ring may be full for a moment, and it refuses a record while another processor writes one: then that is said.
    last = done.stdout.splitlines()[-1]
    assert last.startswith(("traced: 10,000 packets, ", "inconclusive: "))
    assert "… and 9,999 more packets: --limit 0 prints all" in done.stdout or last.startswith("inconclusive: ")


@pytest.mark.parametrize("arguments", [["--file", "no-such-file", "--", "true"], [], ["--limit", "-1", "--", "true"],
                                       ["--bogus", "--", "true"]])
def test_what_makes_no_sense_is_refused_at_once(arguments: list[str]) -> None:
    done = trace(arguments)
    assert (done.returncode, done.stdout) == (2, "")


def test_a_filter_chooses_packets_by_words_of_ours_and_of_libpcap_s() -> None:
    words = ["point", "output", "and", "icmp[icmptype] = icmp-echo"]
    done = trace(["--json", *words, "--", "sh", "-c", "nft -f - && ping -q -c1 127.0.0.1"], RULES)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["filter"] == "point output and icmp[icmptype] = icmp-echo"
    assert [packet["packet"].split(" 127")[0] for packet in document["packets"]] == ["ICMP echo request"]


def test_what_a_filter_left_out_is_counted() -> None:
    done = trace(["dropped or icmp6", "--", "sh", "-c", "nft -f - && ping -q -c1 127.0.0.1"], RULES)
    assert "… and 2 packets that the filter does not want" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("traced: 2 packets")


@pytest.mark.parametrize(("words", "mark"), [("dropped and verdict DORP", 20), ("dropped and prot 80", 12)])
def test_a_filter_that_does_not_compile_is_refused_with_its_column(words: str, mark: int) -> None:
    done = trace([words, "--", "touch", "/nothing"])
    assert (done.returncode, done.stdout) == (2, "")
    assert f"\n    {words}\n    {' ' * mark}^\n" in done.stderr


def test_a_fresh_guest_wants_a_command() -> None:
    done = trace(["dropped"])
    assert (done.returncode, done.stdout) == (2, "")
    assert "COMMAND's, which stands behind --" in done.stderr


@pytest.mark.parametrize(("options", "first"), [((), "packet 1  ICMP echo request"), (("--json",), '{"packet": "ICMP echo request')])
def test_a_packet_is_shown_while_the_command_still_runs(options: tuple[str, ...], first: str, tmp_path: Path) -> None:
    rules = tmp_path / "rules.nft"
    rules.write_text(RULES)
    script = "nft -f rules.nft; ping -q -c1 127.0.0.1 >&2; exec sleep 300"
    command = [sys.executable, "-m", "harness", "trace", "--follow", *options, "--file", str(rules), "--", "sh", "-c", script]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as running:
        assert running.stdout is not None
        shown = next((line for line in running.stdout if line.startswith(first)), "")
        assert shown, "it came while sleep runs"
        running.send_signal(signal.SIGINT)
        rest = running.stdout.read()
    assert running.returncode == 130
    assert first not in rest, "it is shown once"
    assert '"verdict": "traced"' in rest if options else "traced: 2 packets" in rest


@pytest.mark.parametrize("options", [("--until", "verdict drop and dst port 9"), ("--count", "1", "dst port 9")])
def test_a_session_ends_with_what_it_waits_for(options: tuple[str, ...]) -> None:
    rules = "table inet t { chain in { type filter hook input priority 0; udp dport 9 drop; }; }"
    script = "nft -f -; while sleep 0.2; do echo x > /dev/udp/127.0.0.1/8; echo x > /dev/udp/127.0.0.1/9; done"
    done = trace([*options, "--short", "--", "bash", "-c", script], rules)
    assert done.returncode == 0, done.stderr
    assert any("127.0.0.1:9," in line and "dropped (EPERM) by inet t in" in line for line in done.stdout.splitlines())
    assert ("127.0.0.1:8," in done.stdout) == (options[0] == "--until"), "a filter chooses what is printed, --until does not"


def test_a_transparent_proxy_s_socket_is_found_or_not() -> None:
    done = trace(["--json", "udp port 53", "--", "sh"], TPROXY)
    assert done.returncode == 0, done.stderr
    intercepted, missed = json.loads(done.stdout)["packets"]
    sockets = [[at["socket"] for at in packet["traversals"] if at["netns"] == "right"] for packet in (intercepted, missed)]
    made = [[(change["what"], change["before"], change["after"]) for at in packet["traversals"] for call in at["calls"]
             for change in call["changed"]] for packet in (intercepted, missed)]
    assert (intercepted["fate"], sockets) == ("delivered", [[False, True], [False, False]])
    assert made == [[("mark", "0x0", "0x1"), ("socket", "none", "found")], []]


#: A chain that comes before the second ping and goes before the third.
COMES_AND_GOES = """\
ping -q -c1 127.0.0.1
nft 'table ip t { chain in { type filter hook input priority 5; }; }; table inet w { chain out { type filter hook output priority 0; }; }'
ping -q -c1 127.0.0.1
nft delete table ip t
ping -q -c1 127.0.0.1
"""


def test_registrations_stand_between_the_packets_in_every_form(tmp_path: Path) -> None:
    recording, page, pcapng, perfetto = (tmp_path / name for name in ("session.json", "walks.html", "walks.pcapng", "perfetto.json"))
    done = trace(["--registrations", "--follow", "--json", "--", "sh"], COMES_AND_GOES)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    came, gone = (line for line in lines if "registration" in line and line["owner"].get("chain") == "ip t in")
    assert [(one["what"], one["netns"], one["pf"], one["hook"], one["process"], one["owner"]["priority"]) for one in (came, gone)] == [
        ("registered", "init", "IPV4", "INPUT", "nft", 5), ("unregistered", "init", "IPV4", "INPUT", "nft", 5)]
    assert [(one["before"]["slots"], one["after"]["slots"], one["generation"]) for one in (came, gone)] == [(0, 1, 1), (1, 0, 2)]
    assert [slot["dummy"] for slot in gone["before"]["told"]] == [True]
    assert any(caller == "nf_tables_newchain [nf_tables]" for caller in came["by"])
    crossed = {(at["hook"], at["generation"]) for line in lines if "fate" in line for at in line["traversals"]}
    assert ("INPUT", 1) in crossed
    assert {generation for hook, generation in crossed if hook == "OUTPUT"} == {1}
    recording.write_text(done.stdout)
    files = ["--html", str(page), "--pcapng", str(pcapng), "--perfetto", str(perfetto)]
    tree, short = (trace(["--read", str(recording), *options]).stdout for options in (files, ["--short"]))
    said = "registered ip t in at init INPUT, priority 5"
    for text in (tree, short):
        places = [text.index(one) for one in ("packet 2", f"  {said}", "packet 3", f"un{said}", "packet 5")]
        assert places == sorted(places)
    assert f"registration {came['registration']}: " in pcapng.read_bytes().decode(errors="replace")
    assert f"un{said}" in page.read_text()
    named = [event["name"] for event in json.loads(perfetto.read_text())["traceEvents"] if event.get("cat") == "registration"]
    assert [name for name in named if "ip t in" in name] == [said, f"un{said}"]


def test_without_asking_registrations_are_not_seen() -> None:
    done = trace(["--json", "--", "sh"], COMES_AND_GOES)
    document = json.loads(done.stdout)
    assert (done.returncode, "registrations" in document) == (0, False)
    assert not any("generation" in at for packet in document["packets"] for at in packet["traversals"])


def test_a_connection_is_chosen_by_its_zone_and_its_status() -> None:
    rules = "table ip z { chain out { type filter hook output priority -300; udp dport 9 ct zone set 5; ct state new counter; }; }"
    script = "nft -f - ; for port in 8 9; do echo x | socat -u - UDP:127.0.0.1:$port; done; true"
    done = trace(["--json", "zone 5 and status confirmed and not icmp", "--", "bash", "-c", script], rules)
    assert done.returncode == 0, done.stderr
    packet, = json.loads(done.stdout)["packets"]
    tracked = [at["tracked"] for at in packet["traversals"] if at["tracked"]]
    assert packet["packet"].startswith("UDP")
    assert ":9," in packet["packet"]
    assert {one["zone"] for one in tracked} == {5}
    assert (tracked[-1]["direction"], "CONFIRMED" in tracked[-1]["status"], tracked[-1]["id"] > 0) == ("original", True, True)
