"""``nfharness trace --example``: each shows what its first line says."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from harness.cli.examples import described

pytestmark = pytest.mark.slow

_DEADLINE_S = 600
#: Example → what ``--short`` prints of it, in this order.
SHOWN = {
    "bridge": [r"UDP 10.9.0.1.* > 10.9.0.2:9.* switch BRIDGE FORWARD",
               r"UDP 10.9.0.1.* > 10.9.0.3:9.*dropped.* by bridge filter forward.*not to the third"],
    "copy": [r"UDP 10.0.1.2.*dropped by the stack", r"copy of packet 1"],
    "docker": [r"TCP \[S\] 10.0.1.2:\d+ > 10.0.1.1:8080.*delivered",
               r"TCP \[S\] 10.0.1.66:\d+ > 10.0.1.1:8080.*dropped.* by ip filter FORWARD.*banned"],
    "flowtable": [r"router NETDEV INGRESS, PREROUTING, FORWARD, POSTROUTING  delivered", r"router NETDEV INGRESS  delivered"],
    "fragments": [r"absorbed by ipv4_conntrack_defrag", r"router PREROUTING, FORWARD, POSTROUTING"],
    "kube-proxy": [r"TCP \[S\] 10.0.1.2:\d+ > 172.30.0.41:80.*delivered",
                   r"TCP \[S\] 10.0.1.2:\d+ > 172.30.0.42:80.*rejected.* by ip kube-proxy filter-prerouting"],
    "nat": [r"TCP \[S\] 10.0.1.2:\d+ > 10.0.1.1:8080.*delivered", r"TCP \[SA\] 10.0.2.2:80 > 10.0.2.1"],
    "order": [r"> 10.0.2.2:9,.*dropped.* by ip second forward.*here it ends", r"> 10.0.2.2:10,.*router FORWARD, POSTROUTING"],
    "queue": [r"> 10.0.2.2:9,.*dropped: queue 1 has no listener.* by inet filter forward.*queue to 1",
              r"> 10.0.2.2:10,.*router FORWARD, POSTROUTING"],
    "reject": [r"> 10.0.2.2:53,.*rejected.*no DNS", r"answer to packet 1", r"> 10.0.2.2:25,.*rejected.*no mail", r"answer to packet 3"],
    "stack": [r"> 198.51.100.1:9.*dropped by the stack", r"> 10.0.1.1:9.*dropped by the stack", r"192.0.2.7.*dropped by the stack"],
    "vxlan": [r"ICMP echo request 10.7.0.1 > 10.7.0.2.*router FORWARD, POSTROUTING, server INPUT, INPUT  delivered", r"ICMP echo reply"],
}


def trace(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", "trace", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_DEADLINE_S)


def test_each_example_is_told_of() -> None:
    assert list(described()) == list(SHOWN)
    assert [line.split()[0] for line in trace("--example").stdout.splitlines()] == list(SHOWN)


@pytest.mark.parametrize("name", SHOWN)
def test_an_example_shows_what_it_says(name: str) -> None:
    done = trace("--short", "--limit", "0", "--example", name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(".*".join(f"(?:{pattern})" for pattern in SHOWN[name]), done.stdout, re.DOTALL), done.stdout
    assert done.stdout.splitlines()[-1].startswith("traced: "), done.stdout


def test_an_example_can_be_started_from() -> None:
    script = trace("--example", "order", "--script").stdout
    done = subprocess.run([sys.executable, "-m", "harness", "trace", "--short", "--", "sh"], input=script, capture_output=True, text=True,
                          check=False, timeout=_DEADLINE_S)
    assert "by ip second forward" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(("arguments", "message"), [
    (["--example", "dokker"], "there is no example 'dokker'"),
    (["--script", "--", "true"], "--script prints an example"),
    (["--example", "nat", "--", "true"], "--example is the COMMAND"),
    (["--backend", "local", "--example", "nat"], "--example is the COMMAND"),
])
def test_wrong_usage_is_told(arguments: list[str], message: str) -> None:
    done = trace(*arguments)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
