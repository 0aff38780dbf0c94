"""``nfharness trace``, as it is typed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

DEADLINE_S = 600

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


def test_namespaces_have_their_names_even_when_they_are_gone(tmp_path: Path) -> None:
    script = tmp_path / "two.sh"
    script.write_text(TWO_NAMESPACES)
    done = trace(["--json", "--file", str(script), "--", "sh", "two.sh"])
    assert done.returncode == 0, done.stderr
    packets = json.loads(done.stdout)["packets"]
    request = next(packet for packet in packets if packet["packet"].startswith("ICMP echo request"))
    assert points(request, 0) == [("INPUT", "right")]
    assert {traversal["netns"] for packet in packets for traversal in packet["traversals"]} <= {"left", "right"}


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
    assert "… and 9,999 more packets: --limit 0 prints all" in done.stdout
    # The kernel's ring buffer may refuse a record while another processor writes one: then that is said.
    assert done.stdout.splitlines()[-1].startswith(("traced: 10,000 packets, ", "inconclusive: "))


@pytest.mark.parametrize("arguments", [["--file", "no-such-file", "--", "true"], [], ["--limit", "-1", "--", "true"]])
def test_what_makes_no_sense_is_refused_at_once(arguments: list[str]) -> None:
    done = trace(arguments)
    assert (done.returncode, done.stdout) == (2, "")
